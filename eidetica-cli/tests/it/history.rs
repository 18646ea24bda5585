//! Commands about what was.

use serde_json::json;

use crate::device::{Device, text};

#[test]
fn what_was_is_shown_compared_and_brought_back() {
    let device = Device::empty();
    device.create("notes");
    device.done(&["put", "notes", "list", "/a", r#"{"n":1,"of":["x",[]]}"#]);
    let log = device.done(&["log", "notes", "--limit", "1"]).line();
    let old = text(&log["id"]).to_owned();
    let short = &old[..10];
    device.done(&["put", "notes", "list", "/a/n", "2"]);
    device.done(&["put", "notes", "list", "/b", "null"]);

    let shown = device.done(&["show", "notes", short]).line();
    assert_eq!((&shown["id"], &shown["void"]), (&log["id"], &false.into()));
    let change = &shown["changes"][0];
    assert_eq!(
        (&change["store"], &change["kind"]),
        (&"list".into(), &"doc".into())
    );
    let set = json!({"operation": "set", "path": "/a/n", "value": 1});
    let inserted = json!({"operation": "insert", "path": "/a/of", "value": ["x", []]});
    for operation in [set, inserted] {
        assert!(
            change["operations"]
                .as_array()
                .unwrap()
                .contains(&operation)
        );
    }

    let then = device.done(&["get", "notes", "list", "--at", short]).line();
    assert_eq!(then, json!({"a": {"n": 1, "of": ["x", []]}}));
    let differs = device.done(&["diff", "notes", short]).lines();
    let expected = [
        json!({"store": "list", "path": "/a/n", "before": 1, "after": 2}),
        json!({"store": "list", "path": "/b", "after": null}),
    ];
    assert_eq!(differs, expected);

    let held = device.done(&["revert", "notes", "list", "/a", "--at", short]);
    assert_eq!(held.line(), json!({"n": 1, "of": ["x", []]}));
    assert_eq!(device.done(&["get", "notes", "list", "a.n"]).line(), 1);
    assert_eq!(
        device.done(&["get", "notes", "list", "b"]).line(),
        json!(null)
    );
    device.done(&["revert", "notes", "list", "b", "--at", short]);
    assert_eq!(device.run(&["get", "notes", "list", "b"]).code, Some(4));
    let nothing = ["revert", "notes", "list", "b", "--at", short];
    assert_eq!(device.run(&nothing).code, Some(4));
}

#[test]
fn entries_are_found_by_a_unique_beginning_and_listed_by_store_and_author() {
    let device = Device::empty();
    device.create("notes");
    for n in 0..3 {
        device.done(&["put", "notes", "list", "n", &n.to_string()]);
    }
    assert_eq!(device.run(&["show", "notes", "zzzzzzzzzz"]).code, Some(4));
    assert_eq!(device.run(&["show", "notes", ""]).code, Some(2));
    let count = |args: &[&str]| {
        let args = [&["log", "notes"], args].concat();
        device.done(&args).lines().len()
    };
    assert_eq!(count(&["--store", "list"]), 3);
    assert_eq!(count(&["--store", "list", "--limit", "2"]), 2);
    assert_eq!(count(&["--store", "none"]), 0);
    let key = device.key();
    assert_eq!(count(&["--author", &key]), count(&[]));
    assert_eq!(count(&["--author", "ed25519:zzzzz"]), 0);
    let graph = device.done(&["graph", "notes", "--limit", "2"]).lines();
    assert_eq!(graph[0]["parents"][0], graph[1]["id"]);
}
