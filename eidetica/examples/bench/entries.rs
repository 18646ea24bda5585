//! Owns the entries that are measured with: small ones, signed ahead of time, in bulk.

use std::{path::Path, sync::Arc};

use eidetica::{
    Database, DatabaseId, EntryId, Instance, Level, OsEntropy, PublicKey, SystemClock,
    core::{
        EntryBuilder, Height, Kind, Payload, SecretKey, SignedEntry, StoreName, Timestamp,
        VerifiedEntry, verify_batch,
    },
    crdt::{Crdt, Doc, DocOp, Path as DocPath, Scalar},
    store::{Backend, Offer, Storage, StorageOptions},
};

use crate::Outcome;

/// The store that small entries change.
pub(crate) const STORE: &str = "notes";
/// Entries committed at once, as in a sync.
pub(crate) const CHUNK: usize = 4000;
/// Keys that take turns in signing.
const AUTHORS: u8 = 8;

/// A chain of small entries, each by the next of a few authors on top of the one before.
pub(crate) struct Chain {
    database: Database,
    authors: Vec<SecretKey>,
    tip: EntryId,
    height: Height,
    next: u64,
    /// How many places they write to, in turns.
    places: u64,
}

impl Chain {
    /// Grants the authors and begins on top of that. Each entry writes to a place of its own.
    pub(crate) async fn begin(database: Database) -> Outcome<Self> {
        Self::begin_in(database, u64::MAX).await
    }

    /// As `begin`, the entries taking turns among so many places.
    pub(crate) async fn begin_in(database: Database, places: u64) -> Outcome<Self> {
        let authors: Vec<_> = (1..=AUTHORS)
            .map(|n| SecretKey::from_bytes(&[n; 32]))
            .collect();
        grant(
            &database,
            authors.iter().map(SecretKey::public),
            Level::Write,
        )
        .await?;
        let tips = database.frontier().tips;
        let tip = *tips.first().ok_or("a database has a tip")?;
        let place = database.find(&[tip]).await?;
        let (_, height) = place[0].ok_or("a tip is here")?;
        Ok(Self {
            database,
            authors,
            tip,
            height,
            next: 0,
            places,
        })
    }

    /// Adds entries until the chain has `len`; the bytes of those added.
    pub(crate) async fn grow(&mut self, len: u64) -> Outcome<u64> {
        let mut bytes = 0;
        while self.next < len {
            let mut entries = Vec::new();
            while self.next < len && entries.len() < CHUNK {
                let entry = self.sign()?;
                bytes += canonical_bytes(&entry);
                entries.push(entry);
            }
            ingest(&self.database, entries).await?;
        }
        Ok(bytes)
    }

    fn sign(&mut self) -> Outcome<SignedEntry> {
        let n = self.next;
        let author = &self.authors[n as usize % self.authors.len()];
        let operation = DocOp::Set {
            path: DocPath::root().key(&note(n % self.places))?,
            value: Scalar::Text(format!("what note {n} says")),
        };
        let kind = Kind::new(Doc::KIND)?;
        let payload = Payload::encode_operations(kind, Doc::version(&operation), &[operation])?;
        let timestamp = Timestamp::from_millis(1_700_000_000_000 + n * 1000);
        let entry = EntryBuilder::child(self.database.id(), [self.tip], self.height, timestamp)
            .with_seq(n / self.authors.len() as u64)
            .with_change(StoreName::new(STORE)?, payload)
            .sign(author)?;
        self.tip = entry.id();
        self.height = entry.header().height;
        self.next += 1;
        Ok(entry)
    }
}

/// The key of a place that a chain writes to.
pub(crate) fn note(place: u64) -> String {
    format!("note-{place:07}")
}

/// Makes a file with a database of so many entries that write to so many places.
pub(crate) async fn grow(file: &Path, entries: u64, places: u64) -> Outcome<DatabaseId> {
    let instance = open(file).await?;
    let database = instance.create_database("bench").await?;
    let id = database.id();
    let mut chain = Chain::begin_in(database, places).await?;
    chain.grow(entries).await?;
    Ok(id)
}

/// The data of a file, without an instance around it.
pub(crate) async fn storage(backend: Arc<dyn Backend>) -> Outcome<Storage> {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    Ok(Storage::open(backend, StorageOptions::default(), clock, entropy).await?)
}

/// An instance with a redb file that listens on any port of this machine.
pub(crate) async fn open(file: &Path) -> Outcome<Instance> {
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let instance = Instance::builder().redb(file);
    Ok(instance
        .listen_quic(any_port)
        .listen_http(any_port)
        .open()
        .await?)
}

/// Gives keys a level.
pub(crate) async fn grant(
    database: &Database,
    keys: impl IntoIterator<Item = PublicKey>,
    level: Level,
) -> Outcome<()> {
    let mut tx = database.transaction().await?;
    for key in keys {
        tx.set_permission(key, level, "");
    }
    tx.commit().await?;
    Ok(())
}

/// Verifies entries and commits them at once.
pub(crate) async fn ingest(database: &Database, entries: Vec<SignedEntry>) -> Outcome<()> {
    let count = entries.len() as u64;
    let entries = verify_batch(entries).into_iter();
    let offer = Offer {
        entries: entries.collect::<Result<Vec<VerifiedEntry>, _>>()?,
        ..Offer::default()
    };
    match database.ingest(offer).await? {
        report if report.stored == count => Ok(()),
        report => Err(format!("not everything was stored: {report:?}").into()),
    }
}

/// Bytes of an entry in its canonical form, payloads included.
pub(crate) fn canonical_bytes(entry: &SignedEntry) -> u64 {
    let payloads = entry.payloads().iter().flatten();
    let payloads: usize = payloads.map(|payload| payload.len()).sum();
    (entry.core_bytes().len() + payloads) as u64
}
