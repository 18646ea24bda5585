//! Owns what one device keeps in one backend: its key, its databases, rows of the layers
//! above. What is in a database is `Database`'s.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use eidetica_core::{
    DatabaseId, Entropy, EntryBuilder, Payload, PublicKey, SecretKey, StoreName, Timestamp,
    VerifiedEntry, WallClock,
    authority::{AuthOperation, Level},
};
use eidetica_crdt::{Doc, DocOp, Path, Scalar};

use crate::{
    Backend, Database, Durability, KeyKeeper, KeyRange, Kinds, Offer, Order, Snapshot,
    StorageOptions, StoreError, StoreErrorKind, Subscription, WriteBatch,
    durable::Durable,
    engine::Engine,
    feed::{Feed, Filter},
    kind::doc_kind,
    row_ids::RowIds,
    rows::{self, DatabaseNo, DatabaseRow, FORMAT, corrupt},
    state::{SCAN_BYTES, scan_all},
};

/// Bytes of a database's name.
const MAX_DATABASE_NAME_BYTES: usize = 256;

/// One device's data.
#[derive(Debug, Clone)]
pub struct Storage {
    engine: Arc<Engine>,
    databases: Arc<Mutex<Databases>>,
    /// Held while a database is opened, so that it is opened once.
    opening: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Databases {
    open: BTreeMap<DatabaseId, Database>,
    /// The next number to give away; `None` when there is none left.
    next: Option<u32>,
}

impl Storage {
    /// Opens the data in a backend; makes a device key if there is none.
    ///
    /// # Errors
    /// The backend failed, the data is damaged or of a newer format, or the device key is kept
    /// otherwise than the options say.
    ///
    /// # Cancel safety
    /// Nothing is lost; open again.
    pub async fn open(
        backend: Arc<dyn Backend>,
        options: StorageOptions,
        clock: Arc<dyn WallClock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let snapshot = backend.snapshot().await?;
        let fixed = [rows::sys("format"), rows::sys("device")];
        let found = snapshot.get_many(&fixed).await?;
        let device = match found.as_slice() {
            [None, None] => create_device(&*backend, &*options.key_keeper, &*entropy).await?,
            [Some(format), Some(device)] => {
                check_format(format)?;
                options.key_keeper.unseal(device).await?
            }
            _ => return Err(corrupt("format")),
        };
        let next = next_number(&*snapshot).await?;
        drop(snapshot);
        let engine = Arc::new(Engine {
            backend,
            kinds: options.kinds,
            clock,
            entropy,
            device,
            durability: options.durability,
            checkpoint_entries: options.checkpoint_entries,
            void_entries: options.void_entries,
            cleared_rows: options.cleared_rows,
            feed: Feed::default(),
            durable: Durable::default(),
            sources: Arc::default(),
            row_ids: RowIds::default(),
        });
        let databases = Arc::new(Mutex::new(Databases {
            open: BTreeMap::new(),
            next,
        }));
        Ok(Self {
            engine,
            databases,
            opening: Arc::default(),
        })
    }

    /// The device key.
    pub fn device_key(&self) -> &SecretKey {
        &self.engine.device
    }

    /// The device's identity.
    pub fn public_key(&self) -> PublicKey {
        self.engine.device.public()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn kinds(&self) -> &Kinds {
        &self.engine.kinds
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.engine.backend
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.engine.random()
    }

    /// The databases that are here, ascending by id.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn databases(&self) -> Result<Vec<DatabaseId>, StoreError> {
        let snapshot = self.engine.backend.snapshot().await?;
        let found = scan_all(&*snapshot, rows::database_keys()).await?;
        found
            .iter()
            .map(|(key, _)| {
                let id = key.last_chunk().ok_or_else(|| corrupt("db"))?;
                Ok(DatabaseId::from(eidetica_core::EntryId::from_bytes(*id)))
            })
            .collect()
    }

    /// Creates a database with this device as its first admin.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the name is empty or over 256 bytes, or the backend
    /// failed.
    ///
    /// # Cancel safety
    /// The database is created whole or not at all.
    pub async fn create_database(&self, name: &str) -> Result<Database, StoreError> {
        let admin = AuthOperation::set(self.public_key(), Level::Admin(0), "");
        self.create(name, &self.engine.device, &[admin]).await
    }

    /// Creates a database whose first admin is a key that is kept elsewhere: with it the way back is
    /// open when this device, the second admin, is lost or stolen.
    ///
    /// # Errors
    /// Those of [`Storage::create_database`].
    ///
    /// # Cancel safety
    /// The database is created whole or not at all.
    pub async fn create_database_with_recovery(
        &self,
        name: &str,
        recovery: &SecretKey,
    ) -> Result<Database, StoreError> {
        let admins = [
            AuthOperation::set(recovery.public(), Level::Admin(0), "recovery"),
            AuthOperation::set(self.public_key(), Level::Admin(1), ""),
        ];
        self.create(name, recovery, &admins).await
    }

    async fn create(
        &self,
        name: &str,
        author: &SecretKey,
        admins: &[AuthOperation],
    ) -> Result<Database, StoreError> {
        if name.is_empty() || name.len() > MAX_DATABASE_NAME_BYTES {
            let message = format!(
                "a database's name has 1 to 256 bytes. bytes=`{}`",
                name.len()
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let root = self.root(name, author, admins)?;
        let database = self.attach(DatabaseId::from(root.id())).await?;
        let offer = Offer {
            entries: vec![root],
            ..Offer::default()
        };
        let report = database.ingest(offer).await?;
        match report.stored {
            1 => Ok(database),
            _ => Err(corrupt("root")),
        }
    }

    fn root(
        &self,
        name: &str,
        author: &SecretKey,
        admins: &[AuthOperation],
    ) -> Result<VerifiedEntry, StoreError> {
        let invalid =
            |e: &dyn fmt::Display| StoreError::new(StoreErrorKind::Invalid, e.to_string());
        let path = Path::root().key("name").map_err(|e| invalid(&e))?;
        let set = DocOp::Set {
            path,
            value: Scalar::Text(name.to_owned()),
        };
        let settings =
            Payload::encode_operations(doc_kind(), <Doc as eidetica_crdt::Crdt>::VERSION, &[set])
                .map_err(|e| invalid(&e))?;
        let auth = AuthOperation::encode_payload(admins).map_err(|e| invalid(&e))?;
        EntryBuilder::root(self.engine.random(), self.engine.now())
            .with_change(StoreName::auth(), auth)
            .with_change(StoreName::settings(), settings)
            .sign_verified(author)
            .map_err(|e| invalid(&e))
    }

    /// A database that is here.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn database(&self, id: DatabaseId) -> Result<Database, StoreError> {
        // Asking for what is not here, as strangers may, leaves nothing in memory.
        let open = self.lock().open.get(&id).cloned();
        let database = match open {
            Some(database) => {
                database.catch_up().await?;
                Some(database)
            }
            None if self.row(&rows::database_key(&id).bytes).await?.is_some() => {
                Some(self.attach(id).await?)
            }
            None => None,
        };
        database
            .filter(|database| database.frontier().count > 0)
            .ok_or_else(|| {
                let message = format!("database is not here. database=`{id}`");
                StoreError::new(StoreErrorKind::NotFound, message)
            })
    }

    /// A database that may not be here yet: it has no entries until its root is ingested.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn attach(&self, id: DatabaseId) -> Result<Database, StoreError> {
        let _opening = self.opening.lock().await;
        self.open_held(id).await
    }

    /// [`Storage::attach`] for whoever holds opening.
    pub(crate) async fn open_held(&self, id: DatabaseId) -> Result<Database, StoreError> {
        let open = self.lock().open.get(&id).cloned();
        if let Some(database) = open {
            database.catch_up().await?;
            return Ok(database);
        }
        let snapshot = self.engine.backend.snapshot().await?;
        let row = snapshot.get_many(&[rows::database_key(&id)]).await?;
        let number = match row.into_iter().next().flatten() {
            Some(row) => rows::decode::<DatabaseRow>(&row, "db")?.number,
            None => self.take_number()?,
        };
        drop(snapshot);
        let database = Database::open(Arc::clone(&self.engine), id, number).await?;
        Ok(self.lock().open.entry(id).or_insert(database).clone())
    }

    /// Keeps databases from being opened while it is held.
    pub(crate) async fn hold_opening(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Closes a database, so that it is opened anew when it is next asked for. Nothing else can
    /// have a handle of it then.
    pub(crate) fn close(&self, id: DatabaseId) -> Result<(), StoreError> {
        let mut databases = self.lock();
        if databases.open.get(&id).is_some_and(Database::is_shared) {
            let message = format!("database is in use here, let go of it. database=`{id}`");
            return Err(StoreError::new(StoreErrorKind::Busy, message));
        }
        databases.open.remove(&id);
        Ok(())
    }

    /// A number that no row has.
    pub(crate) fn take_number(&self) -> Result<DatabaseNo, StoreError> {
        let mut databases = self.lock();
        let number = databases.next.ok_or_else(|| corrupt("number"))?;
        databases.next = number.checked_add(1);
        Ok(DatabaseNo(number))
    }

    /// Lets numbers begin anew after those that rows have.
    pub(crate) async fn renumber(&self) -> Result<(), StoreError> {
        let snapshot = self.engine.backend.snapshot().await?;
        let next = next_number(&*snapshot).await?;
        let mut databases = self.lock();
        let open = databases.open.values().map(|open| open.number().0);
        let after_open = open.max().map_or(Some(0), |last| last.checked_add(1));
        databases.next = next.zip(after_open).map(|(stored, open)| stored.max(open));
        Ok(())
    }

    /// Reads a row of the layers above, by its name below `sys/`.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn row(&self, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.engine.backend.snapshot().await?;
        let key = crate::Key::new(crate::Space::Sys, name);
        Ok(snapshot.get_many(&[key]).await?.pop().flatten())
    }

    /// Reads the rows whose names start with `prefix`, in order.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn rows(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let snapshot = self.engine.backend.snapshot().await?;
        scan_all(&*snapshot, rows::prefix(crate::Space::Sys, prefix.to_vec())).await
    }

    /// Commits rows of the layers above, durably.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The batch is committed whole or not at all.
    pub async fn commit(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.engine
            .backend
            .commit(batch, Durability::Immediate)
            .await
    }

    /// Listens to what is changed in every database, from now on.
    pub fn subscribe(&self) -> Subscription {
        self.engine.feed.subscribe(Filter::default())
    }

    /// Makes everything committed durable.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// The flush may still happen.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let open: Vec<_> = self.lock().open.values().cloned().collect();
        let deferred: Vec<_> = open.iter().map(Database::to_flush).collect();
        self.engine.backend.flush().await?;
        for (database, summary) in open.iter().zip(deferred) {
            if let Some(summary) = summary {
                database.flushed(summary);
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Databases> {
        // A panic elsewhere leaves a map that is whole.
        self.databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number after all that any row has, also one that a crash or damage left over.
async fn next_number(snapshot: &dyn Snapshot) -> Result<Option<u32>, StoreError> {
    let mut last = None;
    for (_, row) in scan_all(snapshot, rows::database_keys()).await? {
        // What cannot be read is the doctor's to tell.
        last = last.max(
            rows::decode::<DatabaseRow>(&row, "db")
                .ok()
                .map(|row| row.number.0),
        );
    }
    for range in rows::numbered_ranges() {
        last = last.max(last_number(snapshot, range).await?);
    }
    Ok(last.map_or(Some(0), |last| last.checked_add(1)))
}

/// The last number of a range of keys that begin with one.
async fn last_number(
    snapshot: &dyn Snapshot,
    mut range: KeyRange,
) -> Result<Option<u32>, StoreError> {
    let name = range.start.len();
    loop {
        let scan = snapshot.scan(&range, Order::Descending, 1, SCAN_BYTES);
        let Some((key, _)) = scan.await?.rows.pop() else {
            return Ok(None);
        };
        match key[name..].first_chunk() {
            Some(number) => return Ok(Some(u32::from_be_bytes(*number))),
            None => range.end = Some(key),
        }
    }
}

async fn create_device(
    backend: &dyn Backend,
    keeper: &dyn KeyKeeper,
    entropy: &dyn Entropy,
) -> Result<SecretKey, StoreError> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let device = SecretKey::from_bytes(&seed);
    let mut batch = WriteBatch::new();
    batch.expect(rows::sys("device"), None);
    batch.put(rows::sys("format"), FORMAT.to_be_bytes().to_vec());
    batch.put(rows::sys("device"), keeper.seal(&device).await?);
    backend.commit(batch, Durability::Immediate).await?;
    Ok(device)
}

fn check_format(row: &[u8]) -> Result<(), StoreError> {
    let found = row
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| corrupt("format"))?;
    match found {
        FORMAT => Ok(()),
        newer => {
            let message = format!(
                "data has format {newer}, this program knows {FORMAT}: use a newer program"
            );
            Err(StoreError::new(StoreErrorKind::NewerFormat(newer), message))
        }
    }
}
