//! Owns what is shown: three devices that hold a project's history, got from one another. The
//! history as such is `history`'s.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use eidetica::{
    Database, DatabaseTicket, EntryId, Instance, Level, SyncReport, Value,
    core::{SecretKey, Timestamp, WallClock, limits::MAX_AUTH_OPERATIONS},
};
use tokio::time::Instant;

use super::history::{Commit, History, Tree};

/// The store that holds the tree.
const STORE: &str = "files";
/// Commits whose tree is compared with the file's.
const CHECKED: usize = 20;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was done.
#[derive(Debug)]
pub(crate) struct Report {
    /// Entries written, one a commit.
    pub(crate) commits: usize,
    /// Of these, those with several parents.
    pub(crate) merges: usize,
    /// Keys that signed them.
    pub(crate) authors: usize,
    /// Commits at which the last device's tree was compared with the file's.
    pub(crate) checked: usize,
    /// How long the first device wrote.
    pub(crate) writing: Duration,
    /// How the second device got them.
    pub(crate) over_quic: SyncReport,
    /// How the third device got them from the second.
    pub(crate) over_http: SyncReport,
    /// How long the comparing took.
    pub(crate) checking: Duration,
}

/// Writes a history on one device, hands it on to a second over QUIC and from there to a third
/// over HTTP, and compares what they read with the file.
pub(crate) async fn replay(history: &History, folder: &Path) -> Outcome<Report> {
    let clock = Arc::new(CommitClock::default());
    let first = device(folder, "first").clock(clock.clone()).open().await?;
    let second = device(folder, "second").open().await?;
    let third = device(folder, "third").open().await?;

    let began = Instant::now();
    let database = first.create_database("history").await?;
    let authors: Vec<_> = (0..history.authors())
        .map(|_| SecretKey::from_bytes(&first.storage().random()))
        .collect();
    let mut levels: BTreeMap<_, _> = authors
        .iter()
        .map(|key| (key.public(), Level::Write))
        .collect();
    levels.extend([&second, &third].map(|device| (device.public_key(), Level::Read)));
    grant(&database, levels).await?;
    let entries = write(history, &database, &authors, &clock).await?;
    let writing = began.elapsed();

    let over_quic = hand_on(&first, "quic", &second, &database).await?;
    let over_http = hand_on(&second, "http", &third, &database).await?;

    let began = Instant::now();
    let expected = history.tree(history.commits.len() - 1);
    ensure(
        expected == history.last,
        "the file's changes lead to its final tree",
    )?;
    for device in [&first, &second, &third] {
        let held = device.database(database.id()).await?;
        let is_same = held.frontier().digest == database.frontier().digest;
        ensure(is_same, "every device holds the same entries")?;
        let tree = to_tree(held.doc(STORE)?.get("").await?)?;
        ensure(tree == history.last, "every device reads the final tree")?;
    }
    let received = third.database(database.id()).await?;
    let checked = check_past(history, &entries, &received).await?;
    for device in [first, second] {
        device.sync().stop().await;
    }
    Ok(Report {
        commits: entries.len(),
        merges: history.commits.iter().filter(|c| is_merge(c)).count(),
        authors: authors.len(),
        checked,
        writing,
        over_quic,
        over_http,
        checking: began.elapsed(),
    })
}

fn device(folder: &Path, name: &str) -> eidetica::InstanceBuilder {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Instance::builder()
        .redb(folder.join(format!("{name}.redb")))
        .listen_quic(any_port)
        .listen_http(any_port)
}

async fn grant(database: &Database, levels: BTreeMap<eidetica::PublicKey, Level>) -> Outcome<()> {
    let levels: Vec<_> = levels.into_iter().collect();
    for levels in levels.chunks(MAX_AUTH_OPERATIONS) {
        let mut tx = database.transaction().await?;
        for (key, level) in levels {
            tx.set_permission(*key, *level, "");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Writes every commit as an entry of its author with the commit's parents.
async fn write(
    history: &History,
    database: &Database,
    authors: &[SecretKey],
    clock: &CommitClock,
) -> Outcome<Vec<EntryId>> {
    let grants = database.frontier().tips;
    let mut entries: Vec<EntryId> = Vec::with_capacity(history.commits.len());
    for (number, commit) in history.commits.iter().enumerate() {
        clock.set(commit.time);
        let parents: Vec<_> = match commit.parents.is_empty() {
            true => grants.clone(),
            false => commit
                .parents
                .iter()
                .map(|parent| entries[*parent])
                .collect(),
        };
        let tx = database.transaction_at(&parents).await?;
        let tx = tx.with_author(authors[commit.author].clone());
        let files = tx.doc(STORE)?;
        for (path, content) in &commit.changes {
            // A path is one key, whatever it holds.
            let path = eidetica::Path::root().key(path)?;
            match content {
                Some(content) => files.set(path, content.as_str()).await?,
                None => _ = files.delete(path).await?,
            }
        }
        if is_merge(commit) {
            let merged = to_tree(files.get("").await?)?;
            ensure(
                merged == history.tree(number),
                "a merge needs no further change",
            )?;
        }
        entries.push(tx.commit().await?);
    }
    Ok(entries)
}

fn is_merge(commit: &Commit) -> bool {
    commit.parents.len() > 1
}

/// Lets one device get the database from another over one transport.
async fn hand_on(
    from: &Instance,
    transport: &str,
    to: &Instance,
    database: &Database,
) -> Outcome<SyncReport> {
    let addresses = from.sync().accept_connections(transport).await?;
    let ticket = DatabaseTicket::new(database.id(), addresses)?;
    Ok(to.sync().join(&ticket, Duration::ZERO).await?)
}

/// Compares the tree at commits spread over the history with the file's; how many.
async fn check_past(history: &History, entries: &[EntryId], database: &Database) -> Outcome<usize> {
    for i in 0..CHECKED {
        let number = i * (entries.len() - 1) / (CHECKED - 1);
        let then = database.at(&entries[number..=number]).await?;
        let tree = to_tree(then.doc(STORE)?.get("").await?)?;
        let is_same = tree == history.tree(number);
        ensure(
            is_same,
            format!("the tree at commit {number} is the file's"),
        )?;
    }
    Ok(CHECKED)
}

fn to_tree(value: Option<Value>) -> Outcome<Tree> {
    let Some(value) = value else {
        return Ok(Tree::new());
    };
    let files = value.as_map().ok_or("the store is a map")?.iter();
    let files = files.map(|(path, content)| {
        let content = content.as_text().ok_or("contents are text")?;
        Ok((path.clone(), content.to_owned()))
    });
    files.collect()
}

fn ensure(holds: bool, claim: impl Into<String>) -> Outcome<()> {
    match holds {
        true => Ok(()),
        false => Err(format!("does not hold: {}", claim.into()).into()),
    }
}

/// Shows the time of the commit that is being written.
#[derive(Debug, Default)]
struct CommitClock(AtomicU64);

impl CommitClock {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Relaxed);
    }
}

impl WallClock for CommitClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Relaxed) * 1000)
    }
}
