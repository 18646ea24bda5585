//! Owns reading the entries of damaged logs again: whatever can be decoded and verified goes the
//! ordinary way into its database. Which logs those are is the survey's to say.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use eidetica_core::{Arrival, DatabaseId, EntryId, SignedEntry, VerifiedEntry, verify_batch};

use super::{Repair, RepairProgress};
use crate::{
    Database, Offer, Refusal, Snapshot, Source, Space, Storage, StoreError, StoreErrorKind,
    WriteBatch,
    doctor::{Rows, payload_bytes},
    node::StoredRow,
    nodes::Nodes,
    rows::{self, DatabaseNo, Head, IndexState, ViewRow},
    state::{SCAN_BYTES, ViewName, scan_all},
};

/// Entries verified and offered at once.
const CHUNK_ENTRIES: usize = 1024;
/// Missing rows that are told of one gap; a damaged key can make a gap of any length.
const MAX_MISSING: usize = 1000;

/// Where the entries of a database go.
pub(super) struct Target {
    pub(super) database: Database,
    /// Whether it is a new number, filled for a damaged database; else the database is sound.
    pub(super) is_staged: bool,
    /// Whether an entry found its place.
    pub(super) is_filled: bool,
}

/// What became of the entries of a number.
pub(super) struct Salvaged {
    pub(super) number: DatabaseNo,
    /// The database of those that can be read.
    pub(super) of: Option<DatabaseId>,
    pub(super) lost: BTreeMap<Arrival, Lost>,
    pub(super) waiting: Vec<(DatabaseId, EntryId)>,
    pub(super) refused: Vec<Refusal>,
    stored: u64,
    /// The arrival that should come next, where that is known.
    next: Option<Arrival>,
    /// How many entries there should be, where that is known.
    count: Option<u64>,
}

/// An entry that cannot be read.
pub(super) struct Lost {
    pub(super) id: Option<EntryId>,
    pub(super) rule: String,
}

/// An entry of a log.
struct Piece {
    arrival: Arrival,
    source: Source,
    /// Arrival distances to the parents.
    parents: Vec<u64>,
    entry: SignedEntry,
}

impl Repair<'_> {
    /// Reads every log that needs it, until no entry finds its place any more.
    pub(super) async fn salvage(
        &mut self,
        progress: &mut (dyn FnMut(RepairProgress) + Send),
    ) -> Result<Vec<Salvaged>, StoreError> {
        let sources = self.survey.sources.clone();
        let of = sources.values().sum();
        loop {
            let (mut salvaged, mut done) = (Vec::new(), 0);
            for (number, entries) in &sources {
                let mut tell = |read: u64| {
                    progress(RepairProgress {
                        entries: done + read,
                        of,
                    });
                };
                salvaged.push(self.salvage_number(*number, &mut tell).await?);
                done += entries;
            }
            let waits = salvaged.iter().any(|source| !source.waiting.is_empty());
            let stored = salvaged.iter().map(|source| source.stored).sum::<u64>();
            // What one log lacks, another may have brought, or the same one further on.
            if !waits || stored == 0 {
                return Ok(salvaged);
            }
        }
    }

    async fn salvage_number(
        &mut self,
        number: DatabaseNo,
        tell: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Salvaged, StoreError> {
        let mut salvaged = Salvaged {
            number,
            of: None,
            lost: BTreeMap::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
            stored: 0,
            // Of what belongs to no database, the beginning may have been removed already.
            next: self.survey.database_of(number).map(|_| Arrival(0)),
            count: None,
        };
        let head = self.head(number).await?;
        salvaged.count = head.as_ref().map(|head| head.count);
        let nodes = Nodes::new(number);
        let mut log = Rows::new(self.snapshot, rows::database_range(Space::Log, number));
        let mut read = 0;
        loop {
            let rows = log.next(CHUNK_ENTRIES).await?;
            if rows.is_empty() {
                break;
            }
            let (mut pieces, mut bytes) = (Vec::with_capacity(rows.len()), 0);
            for (key, value) in rows {
                read += 1;
                let piece = self.piece(&nodes, &mut salvaged, &key, &value).await?;
                bytes += piece
                    .as_ref()
                    .map_or(0, |piece| payload_bytes(&piece.entry));
                pieces.extend(piece);
                if bytes > SCAN_BYTES {
                    self.offer(&mut salvaged, std::mem::take(&mut pieces))
                        .await?;
                    bytes = 0;
                }
            }
            self.offer(&mut salvaged, pieces).await?;
            tell(read);
        }
        if let Some(head) = head {
            salvaged.pass_over(Arrival(head.count));
            for (arrival, id) in head.tips {
                salvaged.name(Some(arrival), id);
            }
        }
        self.name_tips(&mut salvaged).await?;
        Ok(salvaged)
    }

    /// An entry of the log, if it can be decoded.
    async fn piece(
        &self,
        nodes: &Nodes,
        salvaged: &mut Salvaged,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Piece>, StoreError> {
        if key.len() != rows::log_key(salvaged.number, Arrival(0)).bytes.len() {
            return Ok(None);
        }
        let arrival = Arrival(rows::last_u64(key)?);
        salvaged.pass_over(arrival);
        let row = match StoredRow::decode(value) {
            Ok(row) => row,
            Err(_) => return Ok(salvaged.lose(arrival, None, "row cannot be read")),
        };
        let is_known = self.survey.devices.contains(row.fields.source);
        let source = match is_known {
            true => row.fields.source,
            false => Source::REMOTE,
        };
        let parents = row.fields.parents.clone();
        let entry = match nodes.entry(self.snapshot, arrival, row).await {
            Ok(entry) => entry,
            Err(error) if *error.kind() == StoreErrorKind::Corrupt => {
                let rule = "entry cannot be read, or a payload of it is missing";
                return Ok(salvaged.lose(arrival, None, rule));
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Piece {
            arrival,
            source,
            parents,
            entry,
        }))
    }

    /// Verifies entries and offers them to their databases, in runs of one database and source.
    async fn offer(
        &mut self,
        salvaged: &mut Salvaged,
        pieces: Vec<Piece>,
    ) -> Result<(), StoreError> {
        let verdicts = verify_batch(pieces.iter().map(|piece| piece.entry.clone()).collect());
        let mut run: Option<(DatabaseId, Source, Vec<VerifiedEntry>)> = None;
        for (piece, verdict) in pieces.into_iter().zip(verdicts) {
            let entry = match verdict {
                Ok(entry) => entry,
                Err(error) => {
                    // Where only a payload is wrong, the entry still has its name.
                    let key = rows::id_key(salvaged.number, &piece.entry.id(), piece.arrival);
                    let is_indexed = self.snapshot.get_many(&[key]).await? != [None];
                    let id = is_indexed.then(|| piece.entry.id());
                    salvaged.lose::<()>(piece.arrival, id, &error.to_string());
                    continue;
                }
            };
            for (distance, id) in piece.parents.iter().zip(&entry.header().parents) {
                let parent = piece.arrival.0.checked_sub(*distance).map(Arrival);
                salvaged.name(parent, *id);
            }
            let of = entry.header().database(entry.id());
            match &mut run {
                Some((id, source, entries)) if *id == of && *source == piece.source => {
                    entries.push(entry);
                }
                _ => {
                    if let Some((id, source, entries)) = run.take() {
                        self.offer_run(salvaged, id, source, entries).await?;
                    }
                    run = Some((of, piece.source, vec![entry]));
                }
            }
        }
        match run {
            Some((id, source, entries)) => self.offer_run(salvaged, id, source, entries).await,
            None => Ok(()),
        }
    }

    async fn offer_run(
        &mut self,
        salvaged: &mut Salvaged,
        id: DatabaseId,
        source: Source,
        entries: Vec<VerifiedEntry>,
    ) -> Result<(), StoreError> {
        let offer = Offer {
            entries,
            source,
            ..Offer::default()
        };
        let target = self.target(id, salvaged.number).await?;
        let report = target.database.take_back(offer).await?;
        target.is_filled |= report.stored > 0;
        salvaged.of = Some(id);
        salvaged.stored += report.stored;
        salvaged.refused.extend(report.refused);
        let waiting = report.incomplete.into_iter().map(|entry| (id, entry.id));
        salvaged.waiting.extend(waiting);
        Ok(())
    }

    /// Where the entries of a database go that were found below a number.
    async fn target(
        &mut self,
        id: DatabaseId,
        found: DatabaseNo,
    ) -> Result<&mut Target, StoreError> {
        // Borrowed for the vacant place as long as it is filled.
        let (storage, snapshot) = (self.storage, self.snapshot);
        let is_staged = !self.survey.is_sound(&id);
        let entry = match self.targets.entry(id) {
            Entry::Occupied(target) => return Ok(target.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let database = match is_staged {
            false => storage.open_held(id).await?,
            true => {
                storage.close(id)?;
                let number = storage.take_number()?;
                let views = carry_over(storage, snapshot, found, number).await?;
                // Whoever listens has heard of these entries before.
                let engine = Arc::new(storage.engine().aside());
                Database::open_staged(engine, id, number, views).await?
            }
        };
        let target = Target {
            database,
            is_staged,
            is_filled: false,
        };
        Ok(entry.insert(target))
    }

    /// What should be there, if that can be read.
    async fn head(&self, number: DatabaseNo) -> Result<Option<Head>, StoreError> {
        let head = self.snapshot.get_many(&[rows::head_key(number)]).await?;
        let head = head.into_iter().next().flatten();
        Ok(head.and_then(|head| rows::decode(&head, "head").ok()))
    }

    /// Names the lost entries that were tips beyond those of the head.
    async fn name_tips(&self, salvaged: &mut Salvaged) -> Result<(), StoreError> {
        let tips = rows::database_range(Space::Tip, salvaged.number);
        for (key, value) in scan_all(self.snapshot, tips).await? {
            if let (Ok(arrival), Ok(id)) = (rows::last_u64(&key), rows::decode(&value, "tip")) {
                salvaged.name(Some(Arrival(arrival)), id);
            }
        }
        Ok(())
    }
}

/// Gives a new number what is local to this device and no entry tells: the indexes of tables, as
/// far as their declarations can be read. They begin empty and whole; ingest keeps them so.
async fn carry_over(
    storage: &Storage,
    snapshot: &dyn Snapshot,
    from: DatabaseNo,
    to: DatabaseNo,
) -> Result<BTreeMap<ViewName, ViewRow>, StoreError> {
    let (mut views, mut batch) = (BTreeMap::new(), WriteBatch::new());
    for (key, value) in scan_all(snapshot, rows::database_range(Space::Store, from)).await? {
        let name = rows::split_view_name(&key);
        let row = rows::decode::<ViewRow>(&value, "store");
        let (Some(name), Ok(mut row)) = (name, row) else {
            continue;
        };
        if row.indexes.is_empty() {
            continue;
        }
        for index in &mut row.indexes {
            index.state = IndexState::Ready;
        }
        let row = ViewRow {
            indexes: row.indexes,
            ..ViewRow::new(storage.kinds().version(&name.1))
        };
        batch.put(rows::view_key(to, &name.0, &name.1), rows::encode(&row));
        views.insert(name, row);
    }
    if !views.is_empty() {
        storage.commit(batch).await?;
    }
    Ok(views)
}

impl Salvaged {
    fn lose<T>(&mut self, arrival: Arrival, id: Option<EntryId>, rule: &str) -> Option<T> {
        let rule = rule.to_owned();
        self.lost.insert(arrival, Lost { id, rule });
        None
    }

    /// Goes on at an arrival; those between have no rows.
    fn pass_over(&mut self, arrival: Arrival) {
        let next = self.next.unwrap_or(arrival);
        let end = self.count.map_or(arrival.0, |count| count.min(arrival.0));
        for missing in (next.0..end).take(MAX_MISSING) {
            self.lose::<()>(Arrival(missing), None, "row is missing");
        }
        self.next = Some(Arrival(arrival.0.saturating_add(1)));
    }

    /// Says which entry stood somewhere, if it is lost.
    fn name(&mut self, arrival: Option<Arrival>, id: EntryId) {
        if let Some(lost) = arrival.and_then(|arrival| self.lost.get_mut(&arrival)) {
            lost.id = Some(id);
        }
    }
}
