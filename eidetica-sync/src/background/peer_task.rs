//! Owns one peer in the background: finding it, staying with it, and coming back after whatever
//! went wrong. What is done while it is there is `connected`'s.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use eidetica_core::{DatabaseId, PublicKey};
use eidetica_transport::PeerAddress;
use tokio::sync::{mpsc, oneshot};

use crate::{
    SyncErrorKind, SyncStatus,
    background::{
        Context, SyncFailure,
        backoff::Backoff,
        breaker::{Breaker, Permission},
        connected::{Connected, Parting},
        dial::dial,
        follower::Follower,
        schedule::{Schedule, Wanted},
        status::{Phase, SyncEventKind},
    },
    engine::SyncError,
    meter::{self, Present},
};

/// What is wanted of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The databases that do not rest.
    pub(crate) databases: BTreeMap<DatabaseId, Wanted>,
    /// Those that a user wants to rest.
    pub(crate) paused: Vec<DatabaseId>,
    /// Where to look for it, best first.
    pub(crate) addresses: Vec<PeerAddress>,
}

/// What a peer's task is told. Once nobody is left who could tell, it ends.
#[derive(Debug)]
pub(crate) enum Told {
    /// This is wanted from now on; answers when nothing else is done any more.
    Plan(Plan, oneshot::Sender<()>),
    /// Exchange this database, or all, now.
    Exchange(Option<DatabaseId>),
    /// The network is another one: what was out of reach may not be any more.
    NetworkChanged,
    /// End what is under way, but for exchanges that are soon done; answers when it is over.
    Stop(oneshot::Sender<()>),
}

/// One peer.
pub(crate) struct PeerTask {
    pub(super) context: Arc<Context>,
    pub(super) peer: PublicKey,
    plan: Plan,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) schedule: Schedule,
    backoff: Backoff,
    pub(super) breaker: Breaker,
}

/// Why a wait ended.
enum Woken {
    /// The time has come, or something has changed: go on.
    GoOn,
    Over(Option<oneshot::Sender<()>>),
}

impl PeerTask {
    pub(crate) fn new(context: Arc<Context>, peer: PublicKey, told: mpsc::Receiver<Told>) -> Self {
        let schedule = Schedule::new(
            context.config.exchanges,
            context.config.interval,
            context.config.retries,
        );
        Self {
            backoff: Backoff::default(),
            breaker: Breaker::default(),
            context,
            peer,
            plan: Plan::default(),
            told,
            schedule,
        }
    }

    /// Runs until told to stop, or until nobody is left who could tell.
    pub(crate) async fn run(mut self) {
        let answer = loop {
            let woken = match self.try_once().await {
                Ok(woken) => woken,
                Err(error) => self.rest_after(&error).await,
            };
            if let Woken::Over(answer) = woken {
                break answer;
            }
        };
        for database in self.schedule.databases().collect::<Vec<_>>() {
            self.show(database, SyncStatus::Stopped);
        }
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
    }

    /// Looks for the peer and stays with it, until something fails or has changed.
    async fn try_once(&mut self) -> Result<Woken, SyncError> {
        let addresses = self.plan.addresses.clone();
        let databases: Vec<_> = self.schedule.databases().collect();
        if databases.is_empty() {
            return Ok(self.wait(None).await);
        }
        for database in databases {
            self.show(database, SyncStatus::Connecting);
        }
        let (context, peer) = (Arc::clone(&self.context), self.peer);
        let dialled = tokio::select! {
            biased;
            woken = self.woken() => return Ok(woken),
            dialled = dial(&context, peer, &addresses) => dialled,
        };
        let dialled = dialled.inspect_err(|error| {
            if error.kind() == SyncErrorKind::Protocol {
                self.breaker = self.breaker.violated(context.now());
            }
        })?;
        self.backoff = Backoff::default();
        let now = self.context.now();
        self.schedule.reconnected(now);
        let _present = Present::connection();
        match Connected::new(self, dialled).run().await {
            Parting::Idle => Ok(Woken::GoOn),
            Parting::Over(answer) => Ok(Woken::Over(answer)),
            Parting::Lost(error) => Err(error),
        }
    }

    /// Takes what is wanted now, and shows what is not wanted any more.
    pub(super) fn adopt(&mut self, plan: Plan) {
        let now = self.context.now();
        let gone = self.schedule.set(&plan.databases, now);
        for database in gone {
            if !plan.paused.contains(&database) {
                self.show(database, SyncStatus::Stopped);
            }
        }
        for database in &plan.paused {
            self.show(*database, SyncStatus::Paused);
        }
        self.plan = plan;
    }

    /// Waits after a failure for as long as it takes, unless something changes.
    async fn rest_after(&mut self, error: &SyncError) -> Woken {
        let now = self.context.now();
        let until = match error.kind() {
            SyncErrorKind::Versions => now + self.context.config.interval,
            _ => {
                let (retries, chance) = (&self.context.config.retries, self.context.chance());
                self.backoff = self.backoff.failed(retries, now, chance);
                meter::backed_off();
                self.backoff.until(now).unwrap_or(now)
            }
        };
        let until = match self.breaker.permission(now) {
            Permission::Not(closed) => until.max(closed),
            Permission::Free | Permission::Trial => until,
        };
        let databases: Vec<_> = self.schedule.databases().collect();
        let mut follower = Follower::of_all(&self.context.hub, self.peer, &databases);
        let until = match follower {
            // What is new goes both ways over its own connection.
            Some(_) => until.max(now + self.context.config.interval),
            None => until,
        };
        tracing::debug!(peer = %self.peer, %error, "peer lost");
        for database in databases {
            self.show_failure(database, error, until);
        }
        let context = Arc::clone(&self.context);
        let gone = async {
            match &mut follower {
                Some(follower) => follower.gone(&context).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            woken = self.wait(Some(until)) => woken,
            () = gone => Woken::GoOn,
        }
    }

    /// Waits until something is wanted, or until then.
    async fn wait(&mut self, until: Option<Instant>) -> Woken {
        let context = Arc::clone(&self.context);
        tokio::select! {
            biased;
            woken = self.woken() => woken,
            () = context.sleep_until(until) => Woken::GoOn,
        }
    }

    /// Waits until something is told.
    async fn woken(&mut self) -> Woken {
        match self.told.recv().await {
            Some(Told::Plan(plan, answer)) => {
                self.adopt(plan);
                // Whoever asked may have gone.
                let _ = answer.send(());
                Woken::GoOn
            }
            Some(Told::Exchange(_) | Told::NetworkChanged) => {
                self.backoff = Backoff::default();
                Woken::GoOn
            }
            Some(Told::Stop(answer)) => Woken::Over(Some(answer)),
            None => Woken::Over(None),
        }
    }

    /// Shows a failure and when it is tried again.
    pub(super) fn show_failure(&self, database: DatabaseId, error: &SyncError, until: Instant) {
        let failure = SyncFailure::from(error);
        self.tell(database, SyncEventKind::Failed(failure.clone()));
        let reason = failure.message.clone();
        self.show(
            database,
            match failure.kind {
                SyncErrorKind::Refused => SyncStatus::Refused { reason },
                SyncErrorKind::Versions => SyncStatus::NeedsUpgrade { reason },
                _ => SyncStatus::Backoff {
                    until: self.context.wall_time(until),
                    error: failure,
                },
            },
        );
    }

    pub(super) fn show(&self, database: DatabaseId, status: SyncStatus) {
        self.show_phase(database, Phase::Still(status));
    }

    pub(super) fn show_phase(&self, database: DatabaseId, phase: Phase) {
        let at = self.context.storage.now();
        self.context.board.set(self.peer, database, phase, at);
    }

    pub(super) fn tell(&self, database: DatabaseId, kind: SyncEventKind) {
        let at = self.context.storage.now();
        self.context.board.tell(self.peer, database, kind, at);
    }
}
