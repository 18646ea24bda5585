//! Looking after data from the command line: repair, dumps, size, passphrases, bad media.

use std::{
    fs,
    path::{Path, PathBuf},
};

use eidetica::store::{
    Backend, Durability, Key, KeyRange, Order, RedbBackend, RedbOptions, Space, WriteBatch,
};
use serde_json::json;

use crate::device::{Device, Outcome, text};

/// Changes rows of a device's data while nothing has it open.
fn change(device: &Device, change: impl AsyncFnOnce(&RedbBackend, &mut WriteBatch)) {
    let path = device.data().join("data.redb");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let backend = RedbBackend::open(path, RedbOptions::default()).unwrap();
        let mut batch = WriteBatch::new();
        change(&backend, &mut batch).await;
        backend.commit(batch, Durability::Immediate).await.unwrap();
    });
}

/// The last row of a space.
async fn last(backend: &RedbBackend, space: Space) -> (Key, Vec<u8>) {
    let range = KeyRange {
        space,
        start: Vec::new(),
        end: None,
    };
    let snapshot = backend.snapshot().await.unwrap();
    let scan = snapshot
        .scan(&range, Order::Descending, 1, 1)
        .await
        .unwrap();
    let (key, value) = scan.rows.into_iter().next().unwrap();
    (Key::new(space, key), value)
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
fn assert_says(outcome: &Outcome, code: i32, complaint: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert!(outcome.stderr.contains(complaint), "{outcome:?}");
}

#[test]
fn a_damaged_row_is_named_and_mended() {
    let device = Device::empty();
    device.create("notes");
    let before = device.info("notes");
    change(&device, async |backend, batch| {
        batch.remove(last(backend, Space::View).await.0);
    });
    let found = device.run(&["doctor"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(text(&found.line()["problems"][0]).contains("row is missing"));
    let repaired = device.done(&["doctor", "--repair"]).line();
    assert_eq!(repaired["ok"], true);
    assert_eq!(repaired["rebuilt"], json!([before["database"]]));
    assert_eq!(device.done(&["doctor"]).line()["ok"], true);
    assert_eq!(device.info("notes"), before);
}

#[test]
fn a_lost_entry_is_a_failure_that_names_it() {
    let device = Device::empty();
    device.create("notes");
    let tip = text(&device.info("notes")["tips"][0]);
    change(&device, async |backend, batch| {
        let (key, mut value) = last(backend, Space::Log).await;
        let middle = value.len() / 2;
        value[middle] ^= 1;
        batch.put(key, value);
    });
    let repaired = device.run(&["doctor", "--repair"]);
    assert_eq!(repaired.code, Some(1), "{repaired:?}");
    assert!(text(&repaired.line()["lost"][0]).contains(&tip));
    assert_eq!(device.done(&["doctor"]).line()["ok"], true);
    assert_eq!(device.info("notes")["entries"], 1);
}

#[test]
fn a_dump_is_restored_on_another_device() {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    a.create("more");
    let file = a.file("dump", "in the way");
    assert_says(&a.run(&["dump", &file]), 2, "--force");
    let dumped = a.done(&["dump", &file, "--force"]).line();
    assert_eq!(
        (&dumped["databases"], &dumped["entries"]),
        (&json!(2), &json!(4))
    );
    #[cfg(unix)]
    assert_eq!(mode(Path::new(&file)), 0o600);
    let restored = b.done(&["restore", &file]).lines();
    assert_eq!(restored.len(), 2);
    assert_eq!(restored[0]["stored"], 2);
    for db in ["notes", "more"] {
        assert_eq!(a.info(db), b.info(db));
    }
    // One alone, through a pipe.
    let c = Device::empty();
    let one = a.file("one", "");
    a.done(&["dump", &one, "notes", "--force"]);
    let piped = a.pipe(&["dump", "-", "notes"]);
    assert_eq!(piped, fs::read(&one).unwrap());
    assert_eq!(c.done(&["restore", &one]).lines().len(), 1);
    assert_eq!(c.run(&["db", "info", "more"]).code, Some(4));
    // Nothing is left beside it.
    let folder = PathBuf::from(&one);
    let names = crate::device::names(folder.parent().unwrap());
    assert!(!names.iter().any(|name| name.contains("new")), "{names:?}");
}

#[test]
fn what_is_no_dump_is_refused_with_what_is_wrong() {
    let device = Device::empty();
    device.create("notes");
    let file = device.file("dump", "");
    device.done(&["dump", &file, "--force"]);
    let whole = fs::read(&file).unwrap();
    let mut newer = whole.clone();
    newer[15] += 1;
    let cases = [
        ("cut", whole[..whole.len() - 1].to_vec(), "ends too early"),
        ("other", b"something else entirely".to_vec(), "no dump"),
        ("newer", newer, "use a newer program"),
        (
            "longer",
            [whole.as_slice(), b"x"].concat(),
            "follows its end",
        ),
    ];
    for (name, bytes, complaint) in cases {
        let path = device.file(name, bytes);
        assert_says(&device.run(&["restore", &path]), 1, complaint);
        assert_says(&Device::empty().run(&["restore", &path]), 1, complaint);
    }
    assert_says(
        &device.run(&["restore", "/no/such/file"]),
        4,
        "/no/such/file",
    );
    assert_says(
        &device.run(&["dump", "/no/such/folder/file"]),
        4,
        "/no/such",
    );
    assert_says(&device.run(&["dump", &file, "nothing"]), 4, "nothing");
    let mut serve = device.serve(&[]);
    serve.listening();
    assert_eq!(serve.ask("dump -")["code"], 2);
    assert_eq!(serve.ask("restore -")["code"], 2);
}

#[test]
fn compacting_prints_both_sizes_and_keeps_everything() {
    let device = Device::empty();
    device.create("notes");
    let before = device.info("notes");
    let sizes = device.done(&["compact"]).line();
    let (was, is) = (
        sizes["before"].as_u64().unwrap(),
        sizes["after"].as_u64().unwrap(),
    );
    assert!(is <= was && is > 0, "{sizes}");
    let file = fs::metadata(device.data().join("data.redb")).unwrap();
    assert!(file.len() <= was);
    assert_eq!(device.info("notes"), before);
}

#[test]
fn a_sealed_key_asks_for_its_passphrase() {
    let device = Device::empty();
    let key = device.key();
    device.create("notes");
    let first = device.file("first", "one two three\n");
    let second = device.file("second", "four");
    let empty = device.file("empty", "\n");
    assert_says(&device.run(&["passphrase", "set", &empty]), 2, "empty");
    let sealed = device.done(&["passphrase", "set", &first]).line();
    assert_eq!(sealed["sealed"], true);
    assert_says(&device.run(&["id"]), 3, "give its passphrase");
    assert_says(&device.run(&["doctor"]), 3, "passphrase");
    let wrong = device.run(&["id", "--passphrase-file", &second]);
    assert_says(&wrong, 3, "passphrase is wrong");
    let right = device.done(&["id", "--passphrase-file", &first]).line();
    assert_eq!(right["key"], key.as_str());
    let by_environment = device.run_with("EIDETICA_PASSPHRASE", "one two three", &["id"]);
    assert_eq!(by_environment.line()["key"], key.as_str());
    let changed = ["passphrase", "set", &second, "--passphrase-file", &first];
    assert_eq!(device.done(&changed).line()["sealed"], true);
    let removed = ["passphrase", "remove", "--passphrase-file", &second];
    assert_eq!(device.done(&removed).line()["sealed"], false);
    assert_eq!(device.key(), key);
}

#[test]
fn init_seals_the_key_if_there_is_a_passphrase() {
    let device = Device::empty();
    let made = device.run_with("EIDETICA_PASSPHRASE", "secret", &["init"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_says(&device.run(&["id"]), 3, "passphrase");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_data() {
    let device = Device::empty();
    device.key();
    assert_eq!(mode(&device.data()), 0o700);
    assert_eq!(mode(&device.data().join("data.redb")), 0o600);
}

#[test]
fn data_of_a_newer_format_says_what_to_do() {
    let device = Device::empty();
    device.create("notes");
    change(&device, async |_, batch| {
        let format = Key::new(Space::Sys, *b"format");
        batch.put(format, 99_u32.to_be_bytes().to_vec());
    });
    for command in [&["db", "list"][..], &["doctor", "--repair"], &["compact"]] {
        let outcome = device.run(command);
        assert_says(&outcome, 1, "data has format 99");
        assert!(outcome.stderr.contains("use a newer program"));
    }
    assert_eq!(device.run(&["doctor"]).line()["ok"], false);
}

/// A device that writes at most so many KiB beyond what its data file has.
#[cfg(target_os = "linux")]
mod full {
    use super::*;

    /// Rows that need more than that.
    fn rows() -> String {
        let text = "x".repeat(1000);
        let row = |n: u32| format!("{{\"id\":\"{n:06}\",\"text\":\"{text}{n}\"}}\n");
        (0..20_000).map(row).collect()
    }

    #[test]
    fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
        let device = Device::empty();
        device.create("notes");
        let file = device.file("rows.jsonl", rows());
        let size = fs::metadata(device.data().join("data.redb")).unwrap().len();
        let mut serve = device.spawn_limited(size / 1024 + 4096, &["serve"]);
        serve.listening();
        let import = format!("import notes rows {file} --key id --batch 100");
        let refused = serve.ask(&import);
        assert_eq!(refused["code"], 1, "{refused}");
        assert!(text(&refused["error"]).contains("make room"), "{refused}");
        // What was there before can be read, and checked.
        assert_eq!(serve.done("get notes app theme"), "dark");
        assert_eq!(serve.done("doctor")["ok"], true);
        let held = serve.done("db info notes")["entries"].as_u64().unwrap();
        assert!(held > 2, "some batches had room: {held}");

        serve.lift_limit();
        serve.done("put notes app theme '\"light\"'");
        assert_eq!(serve.done("db info notes")["entries"], held + 1);
        serve.done(&import);
        assert_eq!(serve.done("doctor")["ok"], true);
        drop(serve);
        let keys = device.done(&["list", "notes", "rows"]).lines().len();
        assert_eq!(keys, 20_000);
    }

    #[test]
    fn a_medium_that_cannot_be_written_is_said_so_and_left_as_it_is() {
        let device = Device::empty();
        device.create("notes");
        let data = device.data().join("data.redb");
        let before = fs::read(&data).unwrap();
        let outcome = device.run_unable_to_write(&["put", "notes", "app", "x", "1"]);
        assert_says(&outcome, 1, "on a medium that can be written");
        assert_eq!(fs::read(&data).unwrap(), before);
        assert_eq!(
            device.done(&["get", "notes", "app", "theme"]).line(),
            "dark"
        );
    }
}
