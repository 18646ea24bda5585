//! Owns the supervisor: which peers have a task. It follows the rows of peers and relationships, and
//! owes nothing beside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eidetica_core::{DatabaseId, PublicKey};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{
    background::{
        Context,
        joins::pursue_joins,
        peer_task::{PeerTask, Plan, Told},
        schedule::Wanted,
    },
    engine::{SyncError, WeakSync},
    timer::within,
};

/// Commands that wait for the supervisor at most; whoever has more waits.
const COMMANDS: usize = 64;
/// What a task may be told before it has taken it.
const TOLD: usize = 16;
/// How long a task may take to answer, beside what exchanges may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long after rows could not be read they are read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// The rows have changed; answers once the tasks have been told.
    Adopt(oneshot::Sender<Result<(), SyncError>>),
    /// Exchange now: with one peer or all, one database or all. Whether there is such a one.
    Exchange(Option<PublicKey>, Option<DatabaseId>, oneshot::Sender<bool>),
    NetworkChanged,
    /// End all tasks; answers when they have ended.
    Stop(oneshot::Sender<()>),
}

/// One task for each peer with which something is to be synced.
pub(crate) struct BackgroundSync {
    context: Arc<Context>,
    commands: mpsc::Receiver<Command>,
    peers: BTreeMap<PublicKey, Peer>,
    /// When the rows, which could not be read, are read again.
    again_at: Option<Instant>,
    /// Ends with this.
    _joins: JoinSet<()>,
}

struct Peer {
    /// What it was told last.
    plan: Plan,
    told: mpsc::Sender<Told>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BackgroundSync {
    /// Starts the supervisor; it ends when what this returns is dropped.
    pub(crate) fn start(context: Arc<Context>, sync: WeakSync) -> mpsc::Sender<Command> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let mut joins = JoinSet::new();
        joins.spawn(pursue_joins(sync, Arc::clone(&context.config.timer)));
        let supervisor = Self {
            context,
            commands,
            peers: BTreeMap::new(),
            again_at: None,
            _joins: joins,
        };
        tokio::spawn(supervisor.run());
        sender
    }

    async fn run(mut self) {
        let context = Arc::clone(&self.context);
        loop {
            let command = tokio::select! {
                biased;
                command = self.commands.recv() => command,
                () = context.links.peers().changed() => {
                    self.follow().await;
                    continue;
                }
                () = context.sleep_until(self.again_at) => {
                    self.follow().await;
                    continue;
                }
            };
            match command {
                Some(Command::Adopt(answer)) => {
                    let adopted = self.adopt().await;
                    // Whoever asked may have gone; so below.
                    let _ = answer.send(adopted);
                }
                Some(Command::Exchange(peer, database, answer)) => {
                    let _ = answer.send(self.exchange(peer, database).await);
                }
                Some(Command::NetworkChanged) => {
                    for peer in self.peers.values() {
                        peer.tell(Told::NetworkChanged).await;
                    }
                }
                Some(Command::Stop(answer)) => {
                    self.stop().await;
                    let _ = answer.send(());
                    return;
                }
                None => return,
            }
        }
    }

    /// Adopts what nobody waits for.
    async fn follow(&mut self) {
        if let Err(error) = self.adopt().await {
            tracing::error!(%error, "what is known of peers cannot be read");
        }
    }

    /// Makes the tasks those that the rows ask for, or will do so when the rows can be read.
    async fn adopt(&mut self) -> Result<(), SyncError> {
        let plans = self.plans().await;
        self.again_at = plans.is_err().then(|| self.context.now() + READ_AGAIN);
        self.set_tasks(plans?).await;
        Ok(())
    }

    async fn set_tasks(&mut self, plans: BTreeMap<PublicKey, Plan>) {
        let at = self.context.storage.now();
        self.peers.retain(|key, _| {
            let is_wanted = plans.contains_key(key);
            if !is_wanted {
                self.context.board.leave(*key, at);
            }
            is_wanted
        });
        let mut taking = Vec::new();
        for (key, plan) in plans {
            let begun = self.peers.remove(&key);
            let mut peer = match begun.filter(|peer| !peer.task.is_finished()) {
                Some(peer) if peer.plan == plan => {
                    self.peers.insert(key, peer);
                    continue;
                }
                Some(peer) => peer,
                None => self.begin(key),
            };
            let (answer, taken) = oneshot::channel();
            peer.tell(Told::Plan(plan.clone(), answer)).await;
            peer.plan = plan;
            self.peers.insert(key, peer);
            taking.push(taken);
        }
        let all = async {
            for taken in taking {
                // A task that has ended does nothing any more.
                let _ = taken.await;
            }
        };
        // Whoever is slower takes the plan a little later.
        let _ = within(&*self.context.config.timer, LAST_WORDS, all).await;
    }

    /// What is wanted of each peer.
    async fn plans(&self) -> Result<BTreeMap<PublicKey, Plan>, SyncError> {
        let rows = self.context.links.peers();
        let mut plans: BTreeMap<PublicKey, Plan> = BTreeMap::new();
        let mut resting = BTreeSet::new();
        for peer in rows.all().await? {
            let addresses = peer.addresses.iter().map(|known| known.address.clone());
            let plan = plans.entry(peer.key).or_default();
            plan.addresses = addresses.collect();
            if peer.is_paused {
                resting.insert(peer.key);
            }
        }
        for (database, peer, terms) in rows.terms().await? {
            let Some(plan) = plans.get_mut(&peer) else {
                continue;
            };
            if terms.is_paused || resting.contains(&peer) {
                plan.paused.push(database);
                continue;
            }
            let wanted = Wanted {
                direction: terms.direction,
                priority: terms.priority,
            };
            plan.databases.insert(database, wanted);
        }
        // Nobody is looked for without an address: such a peer comes by itself.
        plans.retain(|_, plan| {
            let is_wanted = !plan.databases.is_empty() || !plan.paused.is_empty();
            is_wanted && !plan.addresses.is_empty()
        });
        Ok(plans)
    }

    fn begin(&self, key: PublicKey) -> Peer {
        let (told, telling) = mpsc::channel(TOLD);
        let task = PeerTask::new(Arc::clone(&self.context), key, telling);
        Peer {
            plan: Plan::default(),
            told,
            task: tokio::spawn(task.run()),
        }
    }

    async fn exchange(&self, key: Option<PublicKey>, database: Option<DatabaseId>) -> bool {
        let mut is_told = false;
        for (_, peer) in self
            .peers
            .iter()
            .filter(|(k, _)| key.is_none_or(|key| **k == key))
        {
            let databases = &peer.plan.databases;
            if database.is_none_or(|id| databases.contains_key(&id)) {
                peer.tell(Told::Exchange(database)).await;
                is_told = true;
            }
        }
        is_told
    }

    /// Ends every task, all at one time.
    async fn stop(&mut self) {
        let mut ending = Vec::with_capacity(self.peers.len());
        for peer in self.peers.values() {
            let (sender, over) = oneshot::channel();
            peer.tell(Told::Stop(sender)).await;
            ending.push(over);
        }
        let all = async {
            for over in ending {
                // A task that has ended already answers nothing.
                let _ = over.await;
            }
        };
        let time = self.context.config.grace + LAST_WORDS;
        // What has not ended by then is aborted, which cuts it where it is.
        let _ = within(&*self.context.config.timer, time, all).await;
        self.peers.clear();
    }
}

impl Peer {
    async fn tell(&self, told: Told) {
        // A task that has ended begins anew with the next plan.
        let _ = self.told.send(told).await;
    }
}
