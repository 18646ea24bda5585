//! Owns what is done while a peer is there: exchanges by turns, live sync beside them, and
//! noticing that the peer is not there any more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::{Arrival, DatabaseId, PublicKey};
use eidetica_store::Database;
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use crate::{
    SyncErrorKind, SyncReport, SyncStatus,
    background::{
        Context,
        breaker::Permission,
        live::{Channel, Live, LivePlace, follow, lift},
        overlap::Overlap,
        peer_task::{PeerTask, Plan, Told},
        status::{Phase, SyncEventKind},
    },
    engine::{Connection, Direction, Exchange, Progress, SyncError, exchange},
    timer::within,
};

/// How often entries under way are told of.
const TICK: Duration = Duration::from_millis(200);
/// How long live sync waits for other databases to be ready, so that it does not begin anew for each.
const GATHER: Duration = Duration::from_millis(300);
/// Live sync that ends by itself begins anew, but not more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a peer may take to say that it is still there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Events of live sync that wait to be told.
const LIVE_EVENTS: usize = 64;

/// Why a peer is left.
pub(super) enum Parting {
    /// Nothing is wanted of it any more.
    Idle,
    /// Background sync is over.
    Over(Option<oneshot::Sender<()>>),
    /// It is not there any more, or cannot be worked with.
    Lost(SyncError),
}

/// What has ended.
enum Ended {
    Exchange(Result<SyncReport, SyncError>),
    Live(Channel, Result<(), SyncError>),
    SignOfLife(Result<(), SyncError>),
}

/// What a task is for.
#[derive(Clone, Copy)]
enum Job {
    Exchange(DatabaseId),
    Live(Channel),
    SignOfLife,
}

/// An exchange under way.
struct Exchanging {
    task: AbortHandle,
    progress: Arc<Progress>,
    /// What was held here when it began: what came later is for live sync.
    held: Arrival,
}

/// Live sync in one direction: the databases and the task.
#[derive(Default)]
struct LiveTask {
    databases: Vec<LivePlace>,
    task: Option<AbortHandle>,
    /// Since when it is to be begun with other databases.
    changed: Option<Instant>,
    /// When it is to be begun with them.
    due: Option<Instant>,
    not_before: Option<Instant>,
    /// Whether the peer does not know live sync.
    is_unsupported: bool,
}

/// A peer that is there.
pub(super) struct Connected<'a> {
    task: &'a mut PeerTask,
    connection: Connection,
    work: JoinSet<Ended>,
    jobs: HashMap<Id, Job>,
    exchanges: BTreeMap<DatabaseId, Exchanging>,
    /// Up to where of the log here the peer has been told.
    told_up_to: BTreeMap<DatabaseId, Arrival>,
    /// How much of what live sync moves both have from others.
    overlaps: BTreeMap<DatabaseId, Overlap>,
    down: LiveTask,
    up: LiveTask,
    live: (mpsc::Sender<Live>, mpsc::Receiver<Live>),
    is_checking: bool,
}

impl<'a> Connected<'a> {
    pub(super) fn new(task: &'a mut PeerTask, connection: Connection) -> Self {
        Self {
            task,
            connection,
            work: JoinSet::new(),
            jobs: HashMap::new(),
            exchanges: BTreeMap::new(),
            told_up_to: BTreeMap::new(),
            overlaps: BTreeMap::new(),
            down: LiveTask::default(),
            up: LiveTask::default(),
            live: mpsc::channel(LIVE_EVENTS),
            is_checking: false,
        }
    }

    /// Works with the peer until it is lost, not wanted any more, or everything is over.
    pub(super) async fn run(mut self) -> Parting {
        let context = Arc::clone(&self.task.context);
        loop {
            self.begin_exchanges().await;
            let now = context.now();
            self.refresh(Channel::Down, now);
            self.refresh(Channel::Up, now);
            if self.task.schedule.databases().next().is_none() {
                return Parting::Idle;
            }
            let wake = self.wakes(now);
            let parting = tokio::select! {
                biased;
                told = self.task.told.recv() => match told {
                    Some(Told::Stop(answer)) => {
                        self.finish().await;
                        Some(Parting::Over(Some(answer)))
                    }
                    Some(told) => self.take(told),
                    None => Some(Parting::Over(None)),
                },
                Some(ended) = self.work.join_next_with_id() => self.ended(ended),
                Some(event) = self.live.1.recv() => self.happened(event),
                () = context.sleep_until(wake) => self.show_progress(),
            };
            if let Some(parting) = parting {
                return parting;
            }
        }
    }

    /// Begins the exchanges whose turn it is.
    async fn begin_exchanges(&mut self) {
        let context = Arc::clone(&self.task.context);
        while let Some((database, direction)) = self.task.schedule.next(context.now()) {
            self.task.schedule.began(&database);
            let attached = context.storage.attach(database).await;
            let replica = match attached {
                Ok(replica) => replica,
                Err(error) => {
                    self.failed(database, &error.into());
                    continue;
                }
            };
            let progress = Arc::new(Progress::default());
            let held = Arrival(replica.frontier().count);
            let task = self.work.spawn(run_exchange(
                Arc::clone(&context),
                self.connection.clone(),
                replica,
                self.task.peer,
                direction,
                Arc::clone(&progress),
            ));
            self.jobs.insert(task.id(), Job::Exchange(database));
            let exchanging = Exchanging {
                task,
                progress,
                held,
            };
            self.exchanges.insert(database, exchanging);
        }
    }

    /// When there is something to do although nothing happens.
    fn wakes(&self, now: Instant) -> Option<Instant> {
        let tick = (!self.exchanges.is_empty()).then(|| now + TICK);
        let live = [&self.down, &self.up].map(|live| live.due);
        [self.task.schedule.wakes(), tick, live[0], live[1]]
            .into_iter()
            .flatten()
            .min()
    }

    fn show_progress(&mut self) -> Option<Parting> {
        for (database, exchanging) in &self.exchanges {
            if exchanging.progress.total() > 0 {
                let phase = Phase::Transferring(Arc::clone(&exchanging.progress));
                self.task.show_phase(*database, phase);
            }
        }
        None
    }

    fn take(&mut self, told: Told) -> Option<Parting> {
        let now = self.task.context.now();
        match told {
            Told::Plan(plan, answer) => {
                self.adopt(plan, now);
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
            Told::Exchange(Some(database)) => self.task.schedule.ask(&database, now, false),
            Told::Exchange(None) => {
                for database in self.task.schedule.databases().collect::<Vec<_>>() {
                    self.task.schedule.ask(&database, now, false);
                }
            }
            Told::NetworkChanged => self.check(),
            Told::Stop(_) => {}
        }
        None
    }

    /// Takes what is wanted now, and ends at once what is not any more.
    fn adopt(&mut self, plan: Plan, now: Instant) {
        let before: BTreeMap<_, _> = self.task.schedule.directions().collect();
        self.task.adopt(plan);
        let wanted: BTreeMap<_, _> = self.task.schedule.directions().collect();
        self.exchanges.retain(|database, exchanging| {
            let is_wanted = wanted.get(database) == before.get(database);
            if !is_wanted {
                exchanging.task.abort();
            }
            is_wanted
        });
        self.task
            .schedule
            .not_under_way(|id| self.exchanges.contains_key(id));
        self.refresh(Channel::Down, now);
        self.refresh(Channel::Up, now);
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> Option<Parting> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let job = self.jobs.remove(&id)?;
        // One that was given up may have ended before it noticed, when another is under way for it.
        let is_current = match job {
            Job::Exchange(database) => {
                let exchanging = self.exchanges.get(&database);
                exchanging.is_some_and(|exchanging| exchanging.task.id() == id)
            }
            Job::Live(channel) => {
                let task = self.live_of(channel).task.as_ref();
                task.is_some_and(|task| task.id() == id)
            }
            Job::SignOfLife => true,
        };
        if !is_current {
            return None;
        }
        let ended = match (ended, job) {
            (Ok((_, ended)), _) => ended,
            (Err(error), _) if error.is_cancelled() => return None,
            (Err(error), job) => panicked(&error, job),
        };
        match (job, ended) {
            (Job::Exchange(database), Ended::Exchange(result)) => self.exchanged(database, result),
            (_, Ended::Live(channel, result)) => self.live_ended(channel, result),
            (_, Ended::SignOfLife(result)) => {
                self.is_checking = false;
                result.err().map(Parting::Lost)
            }
            (_, Ended::Exchange(_)) => None,
        }
    }

    fn exchanged(
        &mut self,
        database: DatabaseId,
        result: Result<SyncReport, SyncError>,
    ) -> Option<Parting> {
        let exchanging = self.exchanges.remove(&database)?;
        match result {
            Ok(report) => {
                let now = self.task.context.now();
                self.task.schedule.succeeded(&database, now);
                self.task.breaker = self.task.breaker.succeeded(now);
                self.told_up_to.insert(database, exchanging.held);
                let synced = SyncEventKind::Synced(Box::new(report));
                self.task.tell(database, synced);
                self.task.show(database, SyncStatus::CaughtUp);
                None
            }
            Err(error) => {
                if is_of_the_link(&error) && exchanging.progress.done() > 0 {
                    self.task.schedule.moved(&database);
                }
                self.failed(database, &error);
                self.is_closed().then_some(Parting::Lost(error))
            }
        }
    }

    /// Whether the peer broke the protocol so often that it is left alone.
    fn is_closed(&self) -> bool {
        let now = self.task.context.now();
        matches!(self.task.breaker.permission(now), Permission::Not(_))
    }

    /// An exchange of a database failed.
    fn failed(&mut self, database: DatabaseId, error: &SyncError) {
        let now = self.task.context.now();
        let until = match error.kind() {
            SyncErrorKind::Refused | SyncErrorKind::Versions => {
                self.task.schedule.refused(&database, now);
                now
            }
            kind => {
                if kind == SyncErrorKind::Protocol {
                    self.task.breaker = self.task.breaker.violated(now);
                }
                let chance = self.task.context.chance();
                self.task.schedule.failed(&database, now, chance)
            }
        };
        self.task.show_failure(database, error, until);
        if is_of_the_link(error) {
            self.check();
        }
    }

    /// Asks for a sign of life, if that is not being done.
    fn check(&mut self) {
        if std::mem::replace(&mut self.is_checking, true) {
            return;
        }
        let context = Arc::clone(&self.task.context);
        let connection = self.connection.clone();
        let task = self.work.spawn(async move {
            let greeted = within(
                &*context.config.timer,
                SIGN_OF_LIFE,
                context.links.greet(&connection),
            );
            let result = greeted.await.unwrap_or_else(|_| {
                let message = "the peer gives no sign of life";
                Err(SyncError::new(SyncErrorKind::Unreachable, message))
            });
            Ended::SignOfLife(result.map(|_| ()))
        });
        self.jobs.insert(task.id(), Job::SignOfLife);
    }

    /// Begins live sync anew where other databases are ready for it than it is under way for.
    fn refresh(&mut self, channel: Channel, now: Instant) {
        let takes = match channel {
            Channel::Down => Direction::pulls,
            Channel::Up => Direction::pushes,
        };
        let current = self.task.schedule.current().filter(|(_, d)| takes(*d));
        let place = |(database, _)| LivePlace {
            database,
            overlaps: self.overlaps.get(&database).is_some_and(|o| o.is_much()),
        };
        let wanted: Vec<_> = current.map(place).collect();
        let is_settled = self.exchanges.is_empty();
        let live = self.live_of(channel);
        if !live.is_due(&wanted, is_settled, now) {
            return;
        }
        live.end();
        live.databases.clone_from(&wanted);
        (live.changed, live.due) = (None, None);
        if wanted.is_empty() {
            return;
        }
        let from = |id: &DatabaseId| self.told_up_to.get(id).copied().unwrap_or_default();
        let places = wanted.iter().map(|place| (*place, from(&place.database)));
        let places: Vec<_> = places.collect();
        let (context, peer) = (Arc::clone(&self.task.context), self.task.peer);
        let (connection, events) = (self.connection.clone(), self.live.0.clone());
        let task = self.work.spawn(async move {
            let result = match channel {
                Channel::Down => {
                    let following = follow(&context, &connection, peer, wanted, &events);
                    Box::pin(following).await
                }
                Channel::Up => lift(&context, &connection, peer, places, &events).await,
            };
            Ended::Live(channel, result)
        });
        self.jobs.insert(task.id(), Job::Live(channel));
        let live = self.live_of(channel);
        live.task = Some(task);
        live.not_before = Some(now + PAUSE);
    }

    fn live_of(&mut self, channel: Channel) -> &mut LiveTask {
        match channel {
            Channel::Down => &mut self.down,
            Channel::Up => &mut self.up,
        }
    }

    fn live_ended(&mut self, channel: Channel, result: Result<(), SyncError>) -> Option<Parting> {
        let now = self.task.context.now();
        let live = self.live_of(channel);
        live.task = None;
        live.changed = Some(now);
        let error = result.err()?;
        tracing::debug!(peer = %self.task.peer, %error, "live sync ended");
        if error.is_unsupported() {
            // The exchanges go on at their interval.
            self.live_of(channel).is_unsupported = true;
            return None;
        }
        if error.kind() == SyncErrorKind::Protocol {
            self.task.breaker = self.task.breaker.violated(now);
            if self.is_closed() {
                return Some(Parting::Lost(error));
            }
        }
        self.check();
        None
    }

    /// Something happened in live sync.
    fn happened(&mut self, event: Live) -> Option<Parting> {
        let now = self.task.context.now();
        match event {
            Live::Received {
                database,
                entries,
                redundant,
                bytes,
                refused,
            } => {
                let received = SyncEventKind::Received {
                    entries,
                    redundant,
                    bytes,
                };
                self.task.tell(database, received);
                if !refused.is_empty() {
                    self.task.tell(database, SyncEventKind::Refused(refused));
                }
                self.moved(database, entries, redundant);
            }
            Live::Sent {
                database,
                entries,
                redundant,
                bytes,
                up_to,
            } => {
                self.told_up_to.insert(database, up_to);
                self.moved(database, entries - redundant, redundant);
                if entries > 0 {
                    self.task
                        .tell(database, SyncEventKind::Sent { entries, bytes });
                }
            }
            Live::Behind(database) => self.task.schedule.ask(&database, now, true),
            Live::Refused(database, error) => {
                self.task.schedule.refused(&database, now);
                self.task.show_failure(database, &error, now);
            }
        }
        None
    }

    fn moved(&mut self, database: DatabaseId, new: u64, known: u64) {
        let overlap = self.overlaps.entry(database).or_default();
        *overlap = overlap.moved(new, known);
    }

    /// Lets exchanges end that are soon done.
    async fn finish(&mut self) {
        self.down.end();
        self.up.end();
        let context = Arc::clone(&self.task.context);
        let all = async {
            while !self.exchanges.is_empty()
                && let Some(ended) = self.work.join_next_with_id().await
            {
                self.ended(ended);
            }
        };
        // What is not done by then is cut; what was committed of it stays.
        let _ = within(&*context.config.timer, context.config.grace, all).await;
        self.work.shutdown().await;
    }
}

impl LiveTask {
    /// Whether it is to be begun anew, for these databases.
    fn is_due(&mut self, wanted: &[LivePlace], is_settled: bool, now: Instant) -> bool {
        if self.is_unsupported {
            self.due = None;
            return false;
        }
        if self.databases == wanted && (self.task.is_some() || wanted.is_empty()) {
            (self.changed, self.due) = (None, None);
            return false;
        }
        let changed = *self.changed.get_or_insert(now);
        let pause = self.not_before.unwrap_or(now);
        let before: BTreeSet<_> = self.databases.iter().map(|place| place.database).collect();
        let after: BTreeSet<_> = wanted.iter().map(|place| place.database).collect();
        let gathered = if is_settled {
            changed
        } else {
            changed + GATHER
        };
        let due = match self.task {
            None => gathered.max(pause),
            Some(_) if !before.is_subset(&after) => now,
            // Where only the way changes in which they are told of, others may soon follow.
            Some(_) if before == after => changed.max(pause),
            Some(_) => gathered,
        };
        self.due = Some(due);
        due <= now
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn run_exchange(
    context: Arc<Context>,
    connection: Connection,
    replica: Database,
    peer: PublicKey,
    direction: Direction,
    progress: Arc<Progress>,
) -> Ended {
    let peers = context.links.peers();
    let exchanged = async {
        let how = Exchange {
            direction,
            is_joining: peers.is_joining(&replica).await?,
            progress: &progress,
        };
        exchange(&connection, peers, &replica, peer, how).await
    };
    Ended::Exchange(exchanged.await)
}

/// Whether an error says more about the way to the peer than about one database.
fn is_of_the_link(error: &SyncError) -> bool {
    use SyncErrorKind::{Certificate, Interrupted, Unreachable, WrongPeer};
    matches!(
        error.kind(),
        Certificate | Interrupted | Unreachable | WrongPeer
    )
}

/// A mistake of this program in one task ends no other.
fn panicked(error: &JoinError, job: Job) -> Ended {
    tracing::error!(%error, "a task of sync ended");
    let error = SyncError::new(SyncErrorKind::Interrupted, error.to_string());
    match job {
        Job::Exchange(_) => Ended::Exchange(Err(error)),
        Job::Live(channel) => Ended::Live(channel, Err(error)),
        Job::SignOfLife => Ended::SignOfLife(Err(error)),
    }
}
