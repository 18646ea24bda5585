//! Owns a world: devices that sync over a simulated network while everything goes wrong that a
//! seed thinks of, and what must hold once nothing does any more. What goes wrong is `trouble`'s,
//! what must hold `checks`'.

mod checks;
mod device;
mod driver;
mod edits;
mod told;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use eidetica_core::{DatabaseId, EntryId, authority::Level};
use eidetica_store::Durability;
use eidetica_sync::SyncConfig;

use self::{
    device::{Device, Fault, WrongClock},
    driver::{Mode, Route, Seen},
};
use crate::{
    SimClock,
    sim::{Dice, SimNet, simulate},
};

/// Milliseconds by which a clock is wrong at most: a year.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;
/// Entries of one commit of sync, few enough that streams are of several.
const BATCH: usize = 16;
/// From one exchange in the background to the next, so short that a world sees some.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long all devices may take to agree once nothing is wrong any more: 30 s is what a peer may be
/// silent in an exchange, and 29 s what somebody takes who dials in vain just then and comes back; the
/// rest is for the exchanges that follow.
const HEALING: Duration = Duration::from_secs(35);
/// How long everything together may take.
const END: Duration = Duration::from_secs(4 * 60 * 60);
/// Lines of the log that a failure shows.
const SHOWN: usize = 60;

/// Several devices with one or two databases in common, from a seed.
///
/// ```no_run
/// use eidetica_testkit::sim::World;
///
/// let report = World::new(7).run().unwrap_or_else(|failure| panic!("{failure}"));
/// assert!(report.entries > 0);
/// ```
#[derive(Debug, Clone)]
pub struct World {
    seed: u64,
    config: SyncConfig,
}

/// What happened in a world in which all went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldReport {
    /// Entries that all devices have in the end.
    pub entries: u64,
    /// Bytes that went over the network.
    pub bytes: u64,
    /// Requests that were sent.
    pub exchanges: u64,
    /// How much time passed in the world.
    pub time: Duration,
    /// How much of it until all devices agreed on what has an effect, since anything was last in
    /// the way.
    pub healing: Duration,
    /// What happened, line by line.
    pub log: Vec<String>,
}

/// What went wrong in a world that must not, with the seed that shows it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldFailure {
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
    /// What happened before, line by line.
    pub log: Vec<String>,
}

impl fmt::Display for WorldFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, log } = self;
        for line in &log[log.len().saturating_sub(SHOWN)..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "world {seed} fails: {what}")?;
        write!(f, "again: cargo xtask sim --seed {seed}")
    }
}

impl std::error::Error for WorldFailure {}

impl World {
    /// A world in which the seed decides everything.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            config: SyncConfig::new(),
        }
    }

    /// Sets sync up in another way on every device. Its timer, batch and interval are the world's
    /// all the same.
    #[must_use]
    pub fn with_config(mut self, config: SyncConfig) -> Self {
        self.config = config;
        self
    }

    /// Lets it all happen.
    ///
    /// # Errors
    /// Something does not hold that must; the same seed fails again in the same way.
    pub fn run(&self) -> Result<WorldReport, WorldFailure> {
        let clock = SimClock::default();
        let net = SimNet::new(self.seed, Arc::new(clock.clone()));
        let result = simulate(&clock, async {
            let end = clock.sleep(END);
            tokio::select! {
                biased;
                result = self.live(&clock, &net) => result,
                () = end => Err(Fault::new("it does not end")),
            }
        });
        let log = net.log();
        match result {
            Ok((entries, healing)) => Ok(WorldReport {
                entries,
                healing,
                bytes: net.bytes(),
                exchanges: net.exchanges(),
                time: clock.passed(),
                log,
            }),
            Err(Fault(what)) => Err(WorldFailure {
                seed: self.seed,
                what,
                log,
            }),
        }
    }

    /// The entries that there are in the end, and how long it took to agree on them.
    async fn live(&self, clock: &SimClock, net: &SimNet) -> Result<(u64, Duration), Fault> {
        let mut running = Run::begin(self, clock, net).await?;
        running.trouble().await?;
        running.heal().await?;
        let healing = running.agree().await?;
        running.calm().await?;
        Ok((running.check().await?, healing))
    }
}

/// Entries by their ids.
type IdSet = Arc<BTreeSet<EntryId>>;

/// A world under way.
struct Run {
    config: SyncConfig,
    clock: SimClock,
    net: SimNet,
    dice: Dice,
    devices: Vec<Device>,
    databases: Vec<DatabaseId>,
    mode: Mode,
    /// What drivers have seen so far.
    seen: Arc<Seen>,
    /// Who dials whom.
    routes: BTreeSet<Route>,
    /// Who may be removed, also all at the same time.
    removable: BTreeSet<usize>,
    /// Whether the second device is an administrator, too.
    has_second_admin: bool,
    /// How often a device broke down or its disk failed.
    breakdowns: u64,
    /// The entries with an effect that a device had when its tips had this digest.
    with_effect: BTreeMap<(usize, DatabaseId), ([u8; 32], IdSet)>,
    /// What others had of each device when it last lost power.
    given_away: Vec<BTreeSet<EntryId>>,
}

impl Run {
    async fn begin(world: &World, clock: &SimClock, net: &SimNet) -> Result<Self, Fault> {
        let dice = Dice::new(world.seed.wrapping_mul(2).wrapping_add(1));
        let count = usize::try_from(dice.within(3..6)).expect("is small");
        let mut devices = Vec::new();
        for number in 0..count {
            let ahead = i64::try_from(dice.below(2 * YEAR)).expect("is a time") - YEAR as i64;
            let clock = WrongClock {
                time: clock.clone(),
                ahead,
            };
            let durability = match dice.below(3) {
                0 => Durability::Deferred,
                _ => Durability::Immediate,
            };
            net.note(format_args!("d{number} {durability:?} clock={ahead}"));
            devices.push(Device::new(number, world.seed, clock, durability).await?);
        }
        let routes = driver::routes(count, &dice);
        let mut run = Self {
            config: world
                .config
                .clone()
                .with_batch(BATCH)
                .with_interval(INTERVAL),
            clock: clock.clone(),
            net: net.clone(),
            has_second_admin: dice.below(2) == 0,
            breakdowns: 0,
            with_effect: BTreeMap::new(),
            mode: match dice.below(2) {
                0 => Mode::Calls,
                _ => Mode::Background,
            },
            seen: Arc::default(),
            removable: driver::removable(&routes, count, &dice),
            routes,
            dice,
            devices,
            databases: Vec::new(),
            given_away: vec![BTreeSet::new(); count],
        };
        for device in &mut run.devices {
            device.start(net, run.config.clone()).await?;
        }
        run.found().await?;
        (0..count).for_each(|number| run.drive(number));
        Ok(run)
    }

    /// Makes the databases on the first device, with all others as members.
    async fn found(&mut self) -> Result<(), Fault> {
        for number in 0..=self.dice.below(2) {
            let storage = self.storage(0)?.clone();
            let database = storage.create_database(&format!("b{number}")).await?;
            let mut tx = database.transaction().await?;
            for (number, device) in (1..).zip(&self.devices[1..]) {
                tx.set_permission(device.key, self.due_level(number), &device.name);
            }
            let root = tx.commit().await?;
            self.promise(0, root);
            self.databases.push(database.id());
            let edits = match self.dice.below(4) {
                0 => self.dice.within(20..200),
                _ => self.dice.below(10),
            };
            for _ in 0..edits {
                self.edit(0).await?;
            }
        }
        self.flush(0).await
    }

    fn note(&self, line: impl fmt::Display) {
        self.net.note(line);
    }

    /// The level that a device has while nobody has removed it.
    fn due_level(&self, number: usize) -> Level {
        match number {
            0 => Level::Admin(0),
            1 if self.has_second_admin => Level::Admin(1),
            _ => Level::Write,
        }
    }

    fn storage(&self, number: usize) -> Result<&eidetica_store::Storage, Fault> {
        let running = self.devices[number].running.as_ref();
        running
            .map(|running| &running.storage)
            .ok_or_else(|| Fault::new("the device is switched off"))
    }

    /// Takes note of what a commit has promised.
    fn promise(&mut self, number: usize, id: EntryId) {
        let device = &mut self.devices[number];
        match device.durability {
            Durability::Immediate => device.acknowledged.push(id),
            Durability::Deferred => device.unflushed.push(id),
        }
    }

    /// Starts a device on what its disk holds, and what makes it sync.
    async fn start(&mut self, number: usize) -> Result<(), Fault> {
        let config = self.config.clone();
        self.devices[number].start(&self.net, config).await?;
        self.check_given_away(number).await?;
        self.check_cursors(number).await?;
        self.drive(number);
        Ok(())
    }

    /// Lets a device write, if it can.
    async fn edit(&mut self, number: usize) -> Result<(), Fault> {
        let Some(running) = &self.devices[number].running else {
            return Ok(());
        };
        let database = match self.databases.is_empty() {
            // While they are being made.
            true => match running.storage.databases().await?.last() {
                Some(last) => *last,
                None => return Ok(()),
            },
            false => *self.dice.pick(&self.databases),
        };
        let storage = running.storage.clone();
        let name = self.devices[number].name.clone();
        match edits::edit(&storage, database, &self.clock, &self.dice).await {
            Ok(id) => {
                self.note(format_args!("{name} writes {}", id.to_short()));
                self.promise(number, id);
            }
            Err(error) => self.note(format_args!("{name} writes in vain: {error}")),
        }
        Ok(())
    }
}
