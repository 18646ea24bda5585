//! Looking after data: what was dumped and restored, or lost and repaired, meets other devices as
//! before; a sealed key opens with its passphrase alone.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use eidetica::{
    Database, ErrorKind, Instance,
    store::{Backend, Key, KeyRange, Order, RedbBackend, RedbOptions, Space, WriteBatch},
};
use tokio::sync::oneshot;

use crate::devices::{TRANSPORTS, instance, join, listen, shared, write};

/// A database of 30 entries at `a`, which listens, that `b` may write.
async fn listening(
    a: &Instance,
    b: &Instance,
    transport: &str,
) -> (Database, Vec<eidetica::PeerAddress>) {
    let ours = shared(a, b).await;
    for i in 0..28 {
        write(&ours, &format!("list.{i}"), i).await;
    }
    let addresses = listen(a, transport).await;
    (ours, addresses)
}

#[tokio::test]
async fn a_sync_after_a_restore_transfers_no_entries() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let (ours, addresses) = listening(&a, &b, transport).await;
        let mut file = Vec::new();
        let databases = [ours.id()];
        let dumped = a.storage().dump(&databases, &mut file, |_| {}).await;
        dumped.unwrap();
        let restored = b.storage().restore(file.as_slice(), |_| {}).await.unwrap();
        assert_eq!(restored[0].stored, 30);
        let report = join(&b, &ours, &addresses).await;
        assert_eq!((report.received, report.sent, report.redundant), (0, 0, 0));
        let theirs = b.database(ours.id()).await.unwrap();
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);
        // And it goes on from there.
        write(&theirs, "title", "from b").await;
        assert_eq!(join(&b, &ours, &addresses).await.sent, 1);
    }
}

/// Flips a bit in the middle of the `n`th row of the log.
async fn damage(backend: &dyn Backend, n: usize) {
    let log = KeyRange {
        space: Space::Log,
        start: Vec::new(),
        end: None,
    };
    let snapshot = backend.snapshot().await.unwrap();
    let rows = snapshot
        .scan(&log, Order::Ascending, n + 1, usize::MAX)
        .await;
    let (key, mut value) = rows.unwrap().rows.remove(n);
    drop(snapshot);
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let mut batch = WriteBatch::new();
    batch.put(Key::new(Space::Log, key), value);
    let durability = eidetica::store::Durability::Immediate;
    backend.commit(batch, durability).await.unwrap();
}

#[tokio::test]
async fn what_a_repair_lost_a_sync_brings_back() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let (ours, addresses) = listening(&a, &b, transport).await;
        join(&b, &ours, &addresses).await;
        damage(&**b.storage().backend(), 20).await;
        let report = b.storage().repair(|_| {}).await.unwrap();
        assert_eq!((report.lost.len(), report.waiting.len()), (1, 9));
        join(&b, &ours, &addresses).await;
        let theirs = b.database(ours.id()).await.unwrap();
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);
        drop(theirs);
        // What was kept aside is here again, and goes.
        let report = b.storage().repair(|_| {}).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(b.storage().doctor().await.unwrap(), []);
    }
}

async fn open(path: &Path, passphrase: Option<&str>) -> Result<Instance, eidetica::Error> {
    let builder = Instance::builder().redb(path);
    match passphrase {
        Some(passphrase) => builder.passphrase(passphrase).open().await,
        None => builder.open().await,
    }
}

async fn refused(path: &Path, passphrase: Option<&str>) -> String {
    let error = open(path, passphrase).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Passphrase);
    error.to_string()
}

fn contains(path: &Path, secret: &[u8]) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(secret.len()).any(|bytes| bytes == secret)
}

#[tokio::test]
async fn a_sealed_key_opens_with_its_passphrase_alone_and_stands_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let device = open(&path, None).await.unwrap();
    let key = device.public_key();
    let seed = device.storage().device_key().to_bytes();
    assert!(!device.is_sealed().await.unwrap());
    drop(device);
    // The control: without a passphrase the key is there to be read.
    assert!(contains(&path, &seed));

    let device = open(&path, Some("not asked for")).await.unwrap();
    assert!(!device.is_sealed().await.unwrap());
    device.set_passphrase(Some("first".into())).await.unwrap();
    assert!(device.is_sealed().await.unwrap());
    drop(device);
    assert!(!contains(&path, &seed));
    assert!(refused(&path, None).await.contains("give its passphrase"));
    assert!(refused(&path, Some("second")).await.contains("wrong"));

    let device = open(&path, Some("first")).await.unwrap();
    assert_eq!(device.public_key(), key);
    let sealed = device.storage().row(b"device").await.unwrap().unwrap();
    let sealed = &sealed[sealed.len() - 48..sealed.len() - 16];
    device.set_passphrase(Some("second".into())).await.unwrap();
    drop(device);
    // Whoever knows the first passphrase has nothing to try it on.
    assert!(!contains(&path, sealed) && !contains(&path, &seed));
    refused(&path, Some("first")).await;

    let device = open(&path, Some("second")).await.unwrap();
    device.set_passphrase(None).await.unwrap();
    drop(device);
    assert_eq!(open(&path, None).await.unwrap().public_key(), key);
}

#[tokio::test]
async fn new_data_is_sealed_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let device = open(&path, Some("secret")).await.unwrap();
    let seed = device.storage().device_key().to_bytes();
    drop(device);
    assert!(!contains(&path, &seed));
    refused(&path, None).await;
}

#[tokio::test]
async fn a_changed_sealed_row_is_refused_without_asking_for_much() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    drop(open(&path, Some("secret")).await.unwrap());
    let key = [Key::new(Space::Sys, *b"device")];
    let file = || RedbBackend::open(&path, RedbOptions::default()).unwrap();
    let row = file().snapshot().await.unwrap().get_many(&key).await;
    let row = row.unwrap().remove(0).unwrap();
    // The memory it asks for, the salt, the nonce, the key, the tag.
    for (place, kind) in [
        (1, ErrorKind::Data),
        (4, ErrorKind::Passphrase),
        (9, ErrorKind::Passphrase),
        (25, ErrorKind::Passphrase),
        (49, ErrorKind::Passphrase),
        (96, ErrorKind::Passphrase),
    ] {
        let mut changed = row.clone();
        changed[place] ^= 0x80;
        let mut batch = WriteBatch::new();
        batch.put(key[0].clone(), changed);
        let durability = eidetica::store::Durability::Immediate;
        file().commit(batch, durability).await.unwrap();
        let error = open(&path, Some("secret")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "byte {place}: {error}");
    }
}

#[tokio::test]
async fn compacting_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(&folder.path().join("data.redb"), None).await.unwrap();
    let database = device.create_database("notes").await.unwrap();
    for i in 0..20 {
        write(&database, "text", "x".repeat(100_000 + i)).await;
    }
    let digest = database.frontier().digest;
    let report = device.compact().await.unwrap();
    assert!(report.after <= report.before, "{report:?}");
    write(&database, "text", "short").await;
    assert_ne!(database.frontier().digest, digest);
    assert_eq!(device.storage().doctor().await.unwrap(), []);

    let in_memory = Instance::builder().open().await.unwrap();
    let refused = in_memory.compact().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// A file in memory that tells when it is written to, and waits until it may go on.
struct Slow {
    begun: Option<oneshot::Sender<()>>,
    go_on: mpsc::Receiver<()>,
    ended: mpsc::Sender<()>,
    writes: Arc<AtomicUsize>,
}

impl io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if let Some(begun) = self.begun.take() {
            begun.send(()).unwrap();
            // Ends with an error when the test ends early.
            let _ = self.go_on.recv();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.ended.send(());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_slow_file_holds_up_no_task_and_a_dump_that_nobody_waits_for_ends() {
    let instance = instance().await;
    let database = instance.create_database("test").await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (let_go, go_on) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let writes = Arc::default();
    let file = Slow {
        begun: Some(begun),
        go_on,
        ended,
        writes: Arc::clone(&writes),
    };
    let dumping = instance.clone();
    let databases = [database.id()];
    let dump = tokio::spawn(async move { dumping.dump(&databases, file, |_| {}).await });
    // The only thread of the runtime is free while the file waits.
    has_begun.await.unwrap();
    write(&database, "n", 1).await;
    dump.abort();
    assert!(dump.await.unwrap_err().is_cancelled());
    let_go.send(()).unwrap();
    has_ended.recv().unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}
