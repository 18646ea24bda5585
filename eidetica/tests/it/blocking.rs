//! The API without async: outside and inside runtimes, from many threads, and what closing leaves.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use eidetica::{
    DatabaseTicket, Durability, ErrorKind, Instance, InstanceBuilder, Level, Notice, Value,
    blocking::{BlockingDatabase, BlockingInstance},
    store::StoreErrorKind,
    transport::{MemoryNetwork, MemoryTransport},
};

/// As long as a test waits for what it expects.
const LIMIT: Duration = Duration::from_secs(20);

fn instance() -> BlockingInstance {
    Instance::builder().open_blocking().unwrap()
}

fn in_file(file: &Path) -> InstanceBuilder {
    Instance::builder().redb(file)
}

fn write(database: &BlockingDatabase, path: &str, value: impl Into<Value>) {
    let tx = database.transaction().unwrap();
    tx.doc("notes").unwrap().set(path, value).unwrap();
    tx.commit().unwrap();
}

fn read(database: &BlockingDatabase, path: &str) -> Option<Value> {
    database.doc("notes").unwrap().get(path).unwrap()
}

/// Opens, writes, reads and closes.
fn round() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let instance = in_file(&file).open_blocking().unwrap();
    let database = instance.create_database("test").unwrap();
    // More polls than a task has in its budget.
    for n in 0..200 {
        write(&database, "n", n);
    }
    assert_eq!(read(&database, "n"), Some(199.into()));
    assert_eq!(database.log(1000).unwrap().len(), 201);
}

#[test]
fn documents_have_lists_counters_and_types_of_the_program() {
    let database = instance().create_database("test").unwrap();
    let tx = database.transaction().unwrap();
    let notes = tx.doc("notes").unwrap();
    let json = serde_json::json!({"a": [1, null]});
    notes.set_as("json", &json).unwrap();
    notes.push_many("l", [1, 2, 4]).unwrap();
    notes.insert("l", 2, 3).unwrap();
    assert_eq!(notes.remove("l", 0).unwrap(), Value::from(1));
    notes.increment("n", 2).unwrap();
    notes
        .update("m", |m| m.unwrap_or_else(|| 7.into()))
        .unwrap();
    tx.commit().unwrap();
    let notes = database.doc("notes").unwrap();
    assert_eq!(notes.get_as::<Vec<u8>>("l").unwrap(), Some(vec![2, 3, 4]));
    assert_eq!(notes.list_len("l").unwrap(), 3);
    let whole: Option<serde_json::Value> = notes.get_as("").unwrap();
    let expected = serde_json::json!({"json": json, "l": [2, 3, 4], "m": 7, "n": 2});
    assert_eq!(whole, Some(expected));
}

#[test]
fn calls_outside_a_runtime_return_when_they_are_done() {
    round();
}

#[tokio::test]
async fn calls_inside_a_runtime_of_one_thread_return_when_they_are_done() {
    round();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_inside_a_runtime_of_many_threads_return_when_they_are_done() {
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(async { round() })).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_instance_opened_with_async_is_used_without() {
    let instance = Instance::builder().open().await.unwrap();
    let blocking = instance.blocking().unwrap();
    let database = blocking.create_database("test").unwrap();
    write(&database, "title", "x");
    let same = instance.database(database.id()).await.unwrap();
    let title = same.doc("notes").unwrap().get("title").await.unwrap();
    assert_eq!(title, Some("x".into()));
    assert_eq!(blocking.find_database("test").unwrap().id(), database.id());
    drop((instance, same));
    assert_eq!(read(&database, "title"), Some("x".into()));
}

#[test]
fn many_threads_write_at_once_and_every_commit_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let builder = in_file(&folder.path().join("data.redb"));
    let instance = builder.open_blocking().unwrap();
    let database = instance.create_database("test").unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let database = &database;
            scope.spawn(move || {
                for n in 0..25 {
                    write(database, &format!("t{thread}.n{n}"), n);
                    let tx = database.transaction().unwrap();
                    let seen = tx
                        .doc("notes")
                        .unwrap()
                        .get(format!("t{thread}.n{n}").as_str());
                    assert_eq!(seen.unwrap(), Some(n.into()));
                }
            });
        }
    });
    for thread in 0..8 {
        for n in 0..25 {
            let path = format!("t{thread}.n{n}");
            assert_eq!(read(&database, &path), Some(n.into()), "{path}");
        }
    }
}

#[test]
fn dropping_the_last_handle_closes_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let mut id = None;
    for n in 0..10 {
        let instance = in_file(&file).open_blocking().unwrap();
        let database = match id {
            None => instance.create_database("test").unwrap(),
            Some(id) => instance.database(id).unwrap(),
        };
        id = Some(database.id());
        write(&database, &format!("n{n}"), n);
        let tx = database.transaction().unwrap();
        let again = in_file(&file).open_blocking().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::InUse);
        // In any order: the data is open as long as anything got from the instance.
        drop(instance);
        assert_eq!(read(&database, &format!("n{n}")), Some(n.into()));
        drop(database);
        tx.commit().unwrap();
    }
    let instance = in_file(&file).open_blocking().unwrap();
    let database = instance.database(id.unwrap()).unwrap();
    assert_eq!(database.log(100).unwrap().len(), 21);
}

#[tokio::test]
async fn the_data_can_be_closed_and_opened_again_inside_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let any_port = "127.0.0.1:0".parse().unwrap();
    for _ in 0..3 {
        let builder = in_file(&file).listen_quic(any_port).listen_http(any_port);
        let instance = builder.open_blocking().unwrap();
        for transport in ["quic", "http"] {
            let addresses = instance.sync().accept_connections(transport).unwrap();
            assert!(!addresses.is_empty());
        }
    }
    let instance = in_file(&file).open().await.unwrap();
    assert_eq!(instance.databases().await.unwrap(), []);
}

#[test]
fn closing_makes_grouped_commits_durable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let grouped = || in_file(&file).durability(Durability::Grouped(Duration::from_secs(3600)));
    let instance = grouped().open_blocking().unwrap();
    let database = instance.create_database("test").unwrap();
    let id = database.id();
    for n in 0..100 {
        write(&database, &format!("n{n}"), n);
    }
    assert_eq!(database.frontier().count, 1);
    drop((instance, database));
    let instance = grouped().open_blocking().unwrap();
    let database = instance.database(id).unwrap();
    assert_eq!(database.frontier().count, 101);
    write(&database, "more", true);
    instance.flush().unwrap();
    assert_eq!(database.frontier().count, 102);
}

#[test]
fn grouped_commits_become_durable_after_the_interval() {
    let folder = tempfile::tempdir().unwrap();
    let builder = in_file(&folder.path().join("data.redb"));
    let builder = builder.durability(Durability::Grouped(Duration::from_millis(20)));
    let instance = builder.open_blocking().unwrap();
    let database = instance.create_database("test").unwrap();
    write(&database, "title", "x");
    let mut durable = database.database().watch();
    let is_there = async { durable.wait_for(|summary| summary.count == 2).await.is_ok() };
    let is_there = instance.wait(async { tokio::time::timeout(LIMIT, is_there).await });
    assert!(is_there.unwrap());
}

#[test]
fn each_local_commit_is_called_back_and_a_callback_may_read() {
    let instance = instance();
    let database = instance.create_database("test").unwrap();
    let (tell, told) = mpsc::channel();
    let reader = database.clone();
    let writes = instance.on_local_write(move |write| {
        let value = read(&reader, "n");
        tell.send((write.entry, value)).map_err(io::Error::other)?;
        assert_ne!(reader.log(1).unwrap().len(), 0);
        Err(io::Error::other("every call fails"))
    });
    for n in 0..5 {
        write(&database, "n", n);
        let (entry, value) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!(Some(&entry), database.frontier().tips.first());
        assert_eq!(value, Some(n.into()));
    }
    drop(writes);
    // The callback is gone with what it holds, and nobody sends any more.
    assert!(
        told.recv_timeout(LIMIT)
            .is_err_and(|e| e == mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn a_callback_under_way_does_not_keep_the_data_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let instance = in_file(&file).open_blocking().unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let (tell, told) = mpsc::channel();
    let _writes = instance.on_local_write(move |_| {
        tell.send(()).map_err(io::Error::other)?;
        // Waits until the test is over.
        gone.lock().unwrap().recv().map_err(io::Error::other)
    });
    instance.create_database("test").unwrap();
    told.recv_timeout(LIMIT).unwrap();
    drop(instance);
    assert_eq!(
        in_file(&file)
            .open_blocking()
            .unwrap()
            .databases()
            .unwrap()
            .len(),
        1
    );
    drop(go);
}

#[test]
fn a_subscription_gives_each_change_and_ends_with_the_data() {
    let instance = instance();
    let mut all = instance.subscribe();
    let database = instance.create_database("test").unwrap();
    let in_store = database.subscribe_to_store("notes").unwrap();
    let mut at_path = database.subscribe_to_path("notes", "a.b").unwrap();
    let listener = thread::spawn(move || {
        let entries = in_store.map(|notice| match notice {
            Notice::Change(change) => change.entry().unwrap(),
            other => panic!("{other:?}"),
        });
        entries.collect::<Vec<_>>()
    });
    let mut ids = Vec::new();
    for n in 0..10 {
        write(&database, "n", n);
        ids.extend(database.frontier().tips);
    }
    assert!(at_path.try_next().is_none());
    assert!(at_path.next_within(Duration::from_millis(1)).is_none());
    write(&database, "a.b", true);
    ids.extend(database.frontier().tips);
    assert!(at_path.next_within(LIMIT).is_some());
    drop((instance, database));
    assert_eq!(listener.join().unwrap(), ids);
    let counted = std::iter::from_fn(|| all.next()).count();
    assert_eq!(counted, ids.len() + 1);
    assert!(at_path.next_within(LIMIT).is_none());
}

#[test]
fn a_watch_shows_the_value_and_each_that_follows() {
    let instance = instance();
    let database = instance.create_database("test").unwrap();
    let mut watch = database.watch_path("notes", "n").unwrap();
    assert_eq!(watch.next().unwrap(), None);
    assert_eq!(watch.next_within(Duration::from_millis(1)).unwrap(), None);
    let writer = {
        let database = database.clone();
        thread::spawn(move || (0..10).for_each(|n| write(&database, "n", n)))
    };
    for n in 0..10 {
        assert_eq!(watch.next_within(LIMIT).unwrap(), Some(Some(n.into())));
    }
    writer.join().unwrap();
}

#[test]
fn history_is_read_and_branched() {
    let instance = instance();
    let database = instance.create_database("test").unwrap();
    write(&database, "n", 1);
    let before = database.frontier().tips;
    write(&database, "n", 2);
    assert_eq!(
        database
            .at(&before)
            .unwrap()
            .doc("notes")
            .unwrap()
            .get("n")
            .unwrap(),
        Some(1.into())
    );
    let tx = database.transaction_at(&before).unwrap();
    tx.doc("notes").unwrap().set("n", 3).unwrap();
    let branch = tx.commit().unwrap();
    let reading = database.doc("notes").unwrap().read("n").unwrap();
    assert_eq!(reading.conflicts.len(), 1);
    let restored = {
        let tx = database.transaction().unwrap();
        tx.doc("notes").unwrap().restore("n", &before).unwrap()
    };
    assert_eq!(restored, Some(1.into()));
    let changes = database.changes_of(&branch).unwrap().unwrap();
    assert_eq!(changes.id, branch);
    let mut since = database.changes_since(&before).unwrap();
    assert_eq!(since.next_chunk(10).unwrap().len(), 2);
    assert_eq!(database.diff(&before, &[branch]).unwrap().len(), 1);
    let unseen = database.difference(&before, Default::default()).unwrap();
    let mut unseen = unseen.within(&[branch]).unwrap();
    let ids = unseen.next_chunk(10).unwrap();
    assert_eq!(
        ids.iter().map(|(_, e)| e.id()).collect::<Vec<_>>(),
        [branch]
    );
    let tx = database.transaction().unwrap();
    tx.doc("notes").unwrap().get("n").unwrap();
    write(&database, "n", 4);
    tx.doc("notes").unwrap().set("m", 1).unwrap();
    let error = tx.commit_if_unchanged().unwrap_err();
    let is_conflict = matches!(error.kind(), StoreErrorKind::Conflict(_));
    assert!(is_conflict, "{error}");
}

#[test]
fn two_devices_converge_over_each_transport() {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let network = MemoryNetwork::new();
    let named = Arc::new(MemoryTransport::new(&network).with_name("a"));
    let builder = Instance::builder()
        .listen_quic(any_port)
        .listen_http(any_port);
    let a = builder.transport(named).open_blocking().unwrap();
    let database = a.create_database("test").unwrap();
    for transport in ["quic", "http", "memory"] {
        let b = instance();
        b.sync()
            .register_transport(Arc::new(MemoryTransport::new(&network)));
        let mut tx = database.transaction().unwrap();
        tx.set_permission(b.public_key(), Level::Write, transport);
        tx.commit().unwrap();
        let addresses = a.sync().accept_connections(transport).unwrap();
        assert_eq!(
            b.sync().connect_to_peer(&addresses[0]).unwrap(),
            a.public_key()
        );
        let listed = b.sync().discover_peer_databases(&addresses[0]).unwrap();
        assert_eq!(listed, [database.id()]);
        let ticket = DatabaseTicket::new(database.id(), addresses.clone()).unwrap();
        b.sync().join(&ticket, LIMIT).unwrap();
        let copy = b.database(database.id()).unwrap();
        write(&copy, transport, true);
        b.sync().sync_with_peer(copy.id(), &addresses[0]).unwrap();
        assert_eq!(read(&database, transport), Some(true.into()), "{transport}");
        let peers = b.sync().peers_of(copy.id()).unwrap();
        assert_eq!(peers.len(), 1);
        a.sync().stop();
    }
    let names: BTreeSet<_> = database.stores().unwrap();
    assert!(names.iter().any(|(store, _)| store.as_str() == "notes"));
}

#[test]
fn data_is_looked_after_without_async() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.redb");
    let instance = in_file(&file).open_blocking().unwrap();
    let database = instance.create_database("test").unwrap();
    for n in 0..50 {
        write(&database, "n", n);
    }
    assert_eq!(instance.doctor().unwrap(), []);
    assert!(instance.repair(|_| {}).unwrap().is_complete());
    let mut dump = Vec::new();
    let mut told = 0;
    let tell = |_| told += 1;
    let written = instance.dump(&[database.id()], &mut dump, tell).unwrap();
    assert_eq!(written, 51);
    assert!(told > 0);
    let other = self::instance();
    let restored = other.restore(dump.as_slice(), |_| {}).unwrap();
    assert_eq!(restored[0].stored, 51);
    let copy = other.database(database.id()).unwrap();
    assert_eq!(read(&copy, "n"), Some(49.into()));

    let tip = database.frontier().tips[0];
    let beginning = &tip.to_string()[..10];
    assert_eq!(database.ids_beginning(beginning, 2).unwrap(), [tip]);
    let log = database.log(3).unwrap();
    assert_eq!(database.log_before(log[0].0, 2).unwrap(), log[1..]);
    assert_eq!(database.sample(2).unwrap()[0], tip);
    let page = database.doc("notes").unwrap().page(None, 9).unwrap();
    assert_eq!(page, [("n".to_owned(), 49.into())]);

    assert!(!instance.is_sealed().unwrap());
    instance.set_passphrase(Some("open sesame".into())).unwrap();
    assert!(instance.is_sealed().unwrap());
    let compacted = instance.compact().unwrap();
    assert!(compacted.after <= compacted.before);
    drop((database, instance));
    assert_eq!(
        in_file(&file).open_blocking().unwrap_err().kind(),
        ErrorKind::Passphrase
    );
    let opened = in_file(&file)
        .passphrase("open sesame")
        .open_blocking()
        .unwrap();
    opened.set_passphrase(None).unwrap();
    drop(opened);
    assert!(in_file(&file).open_blocking().is_ok());
}
