//! Commands on one device, and on two that share a database.

use serde_json::{Value, json};

use crate::device::{Device, text};

#[test]
fn init_makes_private_data_with_one_key_for_ever() {
    let device = Device::empty();
    let key = device.done(&["init"]).line();
    assert!(text(&key["key"]).starts_with("ed25519:"));
    assert_eq!(device.done(&["init"]).line(), key);
    assert_eq!(device.done(&["id"]).line(), key);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&device.data()), 0o700);
        assert_eq!(mode(&device.data().join("data.redb")), 0o600);
    }
}

#[test]
fn databases_are_found_by_id_beginning_and_name() {
    let device = Device::empty();
    let id = device.create("notes");
    let info = device.info(&id);
    assert_eq!(
        (&info["name"], &info["entries"]),
        (&"notes".into(), &2.into())
    );
    assert_eq!(info["tips"].as_array().unwrap().len(), 1);
    assert_eq!(text(&info["digest"]).len(), 64);
    assert!(info["bytes"].as_u64().unwrap() > 300);
    assert_eq!(device.info("notes"), info);
    assert_eq!(device.info(&id[..12]), info);
    assert_eq!(device.done(&["db", "list"]).line()["database"], id.as_str());
}

#[test]
fn values_are_put_read_listed_and_removed() {
    let device = Device::empty();
    device.create("notes");
    let list = json!([1, {"x": []}, [null, "y"]]);
    let value = json!({"n": -3, "x": 0.5, "deep": {"er": null, "a.b": true}, "list": list});
    let put = device.done(&["put", "notes", "app", "/one", &value.to_string()]);
    assert_eq!(put.line(), value);
    assert_eq!(device.done(&["get", "notes", "app", "one"]).line(), value);
    assert_eq!(
        device
            .done(&["get", "notes", "app", "/one/deep/a.b"])
            .line(),
        true
    );
    assert_eq!(device.done(&["put", "notes", "app", "n", "-3"]).line(), -3);
    assert_eq!(
        device.done(&["get", "notes", "_settings", "name"]).line(),
        "notes"
    );
    let keys = device.done(&["list", "notes", "app"]).lines();
    assert_eq!(
        keys,
        [
            json!({"key": "n"}),
            json!({"key": "one"}),
            json!({"key": "theme"})
        ]
    );
    assert_eq!(device.done(&["list", "notes"]).line()["store"], "app");
    assert_eq!(device.done(&["del", "notes", "app", "one"]).line(), value);
    assert_eq!(device.run(&["get", "notes", "app", "one"]).code, Some(4));
}

#[test]
fn concurrent_values_are_both_kept_until_somebody_decides() {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    a.done(&["grant", "notes", &b.key(), "write"]);
    let mut at_a = a.serve(&["--share", "notes"]);
    at_a.listening();
    b.done(&["join", &at_a.ticket()]);
    at_a.done(r#"put notes app theme '"light"'"#);
    b.done(&["put", "notes", "app", "theme", "\"blue\""]);
    b.done(&["sync", "notes"]);
    let ours = at_a.done("get notes app theme --conflicts");
    assert_eq!(ours, json!({"value": "blue", "conflicts": ["light"]}));
    let theirs = b
        .done(&["get", "notes", "app", "theme", "--conflicts"])
        .line();
    assert_eq!(ours, theirs);
    at_a.done(r#"put notes app theme '"grey"'"#);
    b.done(&["sync", "notes"]);
    let decided = b
        .done(&["get", "notes", "app", "theme", "--conflicts"])
        .line();
    assert_eq!(decided, json!({"value": "grey", "conflicts": []}));
}

fn rows(device: &Device, args: &[&str]) -> Vec<Value> {
    device.done(args).lines()
}

#[test]
fn an_export_gives_back_what_was_imported() {
    let device = Device::empty();
    device.create("notes");
    let text: String = (0..250)
        .map(|i| {
            format!("{{\"id\":\"{i:03}\",\"text\":\"é\\n\",\"x\":{{\"y\":null,\"z\":{i}}}}}\n")
        })
        .collect();
    let file = device.file("rows.jsonl", &text);
    let import = [
        "import", "notes", "rows", &file, "--key", "id", "--batch", "100",
    ];
    let committed = rows(&device, &import);
    assert_eq!(committed, [100, 200, 250].map(|n| json!({"committed": n})));
    let back = device.done(&["export", "notes", "rows"]);
    assert_eq!(back.stdout, text);
    let all = rows(&device, &["export", "notes"]);
    assert_eq!(
        all[0],
        json!({"store": "app", "key": "theme", "value": "dark"})
    );
    assert_eq!(all.len(), 251);

    let again = device.run_with_input(
        &["import", "notes", "copy", "-", "--key", "id"],
        &back.stdout,
    );
    assert_eq!(again.line(), json!({"committed": 250}));
    assert_eq!(device.done(&["export", "notes", "copy"]).stdout, text);
    assert_eq!(
        rows(&device, &["export", "notes", "app"]),
        [json!({"key": "theme", "value": "dark"})]
    );
}

#[test]
fn rows_without_a_key_get_ascending_names() {
    let device = Device::empty();
    device.create("notes");
    let file = device.file("rows.jsonl", "{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}");
    assert_eq!(
        rows(&device, &["import", "notes", "rows", &file]),
        [json!({"committed": 3})]
    );
    let back = rows(&device, &["export", "notes", "rows"]);
    assert_eq!(back, [1, 2, 3].map(|n| json!({"n": n})));
    let empty = device.file("none.jsonl", "");
    assert_eq!(
        rows(&device, &["import", "notes", "rows", &empty]),
        [json!({"committed": 0})]
    );
}

#[test]
fn a_batch_that_does_not_fit_in_an_entry_is_cut() {
    let device = Device::empty();
    device.create("notes");
    let row = |i: u32| format!("{{\"id\":{i},\"text\":\"{}\"}}\n", "x".repeat(300_000));
    let file = device.file("rows.jsonl", (0..8).map(row).collect::<String>());
    let committed = rows(&device, &["import", "notes", "rows", &file, "--key", "id"]);
    assert_eq!(committed, [3, 6, 8].map(|n| json!({"committed": n})));
    let row = format!("{{\"id\":9,\"text\":\"{}\"}}\n", "x".repeat(1_048_000));
    let file = device.file("rows.jsonl", row);
    device.done(&["import", "notes", "rows", &file, "--key", "id"]);
}

#[test]
fn the_log_and_the_members_show_who_did_what() {
    let (a, b) = (Device::empty(), Device::empty());
    let id = a.create("notes");
    let (a_key, b_key) = (a.key(), b.key());
    let granted = a
        .done(&["grant", "notes", &b_key, "admin", "--name", "bee"])
        .line();
    assert_eq!(
        granted,
        json!({"key": b_key, "level": "admin:1", "name": "bee"})
    );
    a.done(&["grant", "notes", "anyone", "read"]);
    let members = a.done(&["members", "notes"]).lines();
    let level = |key: &str| &members.iter().find(|m| m["key"] == key).unwrap()["level"];
    assert_eq!(
        [level(&a_key), level(&b_key), level("anyone")],
        ["admin:0", "admin:1", "read"]
    );

    let log = a.done(&["log", "notes"]).lines();
    assert_eq!(log.len(), 4);
    assert_eq!(
        (&log[3]["id"], &log[3]["height"]),
        (&id.as_str().into(), &0.into())
    );
    assert_eq!(log[0]["parents"], json!([log[1]["id"]]));
    assert_eq!(log[2]["stores"], json!(["app"]));
    assert_eq!(log[0]["author"], a_key.as_str());
    assert!(text(&log[0]["time"]).ends_with('Z'));
    assert_eq!(a.done(&["log", "notes", "--limit", "2"]).lines(), log[..2]);
}

#[test]
fn a_reader_cannot_write_and_is_told_so() {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    a.done(&["grant", "notes", &b.key(), "read"]);
    let at_a = a.serve(&["--share", "notes"]);
    at_a.listening();
    b.done(&["join", &at_a.ticket()]);
    let before = b.info("notes");
    let file = b.file("rows.jsonl", "{\"id\":1}");
    let b_key = b.key();
    for args in [
        &["put", "notes", "app", "x", "1"][..],
        &["del", "notes", "app", "theme"],
        &["import", "notes", "rows", &file],
        &["grant", "notes", &b_key, "write"],
        &["grant", "notes", &b_key, "admin"],
    ] {
        let outcome = b.run(args);
        assert_eq!(
            (outcome.code, &*outcome.stdout),
            (Some(3), ""),
            "{args:?}: {outcome:?}"
        );
        assert!(!outcome.stderr.is_empty());
    }
    assert_eq!(b.info("notes"), before);
    let peers = b.done(&["peers"]).line();
    assert_eq!(peers["key"], a_key(&before, &b));
}

/// The key of the database's creator.
fn a_key(info: &Value, device: &Device) -> Value {
    let members = device.done(&["members", &text(&info["database"])]).lines();
    members.iter().find(|m| m["level"] == "admin:0").unwrap()["key"].clone()
}

#[test]
fn the_environment_names_the_data_where_the_command_does_not() {
    let device = Device::empty();
    let key = device.done(&["id"]).stdout;
    let mut command = crate::device::program();
    command
        .env("EIDETICA_DATA", device.data())
        .args(["--json", "id"]);
    assert_eq!(crate::device::run(command, "").stdout, key);
}
