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

#[test]
fn rows_of_tables_are_compared_by_field_and_brought_back() {
    let device = Device::empty();
    device.create("notes");
    let add = |row: &str| {
        let put = ["put", "notes", "todos", "-", row, "--kind", "table"];
        text(&device.done(&put).line()["key"])
    };
    let (one, two) = (add(r#"{"a":1,"m":{"x":1,"y":2}}"#), add("{}"));
    let old = text(&device.done(&["log", "notes", "--limit", "1"]).line()["id"]);
    device.done(&["put", "notes", "todos", &format!("{one}.m.x"), "7"]);
    device.done(&["del", "notes", "todos", &format!("{one}.a")]);
    device.done(&["del", "notes", "todos", &two]);
    let three = add(r#"{"b":null}"#);
    let differs = device.done(&["diff", "notes", &old]).lines();
    let of = |path: String| json!({"store": "todos", "path": path});
    let with = |mut value: serde_json::Value, sides: &[(&str, serde_json::Value)]| {
        for (side, of) in sides {
            value[*side] = of.clone();
        }
        value
    };
    let expected = [
        with(of(format!("/{one}/a")), &[("before", json!(1))]),
        with(
            of(format!("/{one}/m/x")),
            &[("before", json!(1)), ("after", json!(7))],
        ),
        with(of(format!("/{two}")), &[("before", json!({}))]),
        with(of(format!("/{three}")), &[("after", json!({"b": null}))]),
    ];
    assert_eq!(differs, expected);
    let held = device
        .done(&["get", "notes", "todos", &one, "--at", &old])
        .line();
    assert_eq!(held, json!({"a": 1, "m": {"x": 1, "y": 2}}));
    device.done(&["revert", "notes", "todos", &one, "--at", &old]);
    assert_eq!(device.done(&["get", "notes", "todos", &one]).line(), held);
    device.done(&["revert", "notes", "todos", &three, "--at", &old]);
    assert_eq!(device.run(&["get", "notes", "todos", &three]).code, Some(4));
}

#[test]
fn the_log_since_an_entry_has_what_is_not_in_its_past() {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    a.done(&["grant", "notes", &b.key(), "write"]);
    let mut at_a = a.serve(&["--share", "notes"]);
    at_a.listening();
    b.done(&["join", &at_a.ticket()]);
    at_a.done("put notes app x 1");
    let theirs = b.done(&["put", "notes", "app", "y", "2"]);
    assert_eq!(theirs.line(), 2);
    let id = |device: &Device| text(&device.done(&["log", "notes", "--limit", "1"]).line()["id"]);
    let at_b = id(&b);
    b.done(&["sync", "notes"]);
    let log = b.done(&["log", "notes", "--limit", "2"]).lines();
    let from_a = log
        .iter()
        .map(|e| text(&e["id"]))
        .find(|id| *id != at_b)
        .unwrap();
    b.done(&["put", "notes", "app", "z", "3"]);
    let last = id(&b);
    let since = |ids: &[&str]| {
        let ids = ids.iter().flat_map(|id| ["--since", id]);
        let args: Vec<_> = ["log", "notes"].into_iter().chain(ids).collect();
        let entries = b.done(&args).lines();
        entries.iter().map(|e| text(&e["id"])).collect::<Vec<_>>()
    };
    // What came beside it counts, too.
    assert_eq!(since(&[&at_b]), [last.as_str(), &from_a]);
    assert_eq!(since(&[&at_b, &from_a]), [last.as_str()]);
    assert_eq!(since(&[&last]), [""; 0]);
    let limited = b.done(&["log", "notes", "--since", &at_b, "--limit", "1"]);
    assert_eq!(limited.line()["id"], last.as_str());
    assert_eq!(
        b.run(&["log", "notes", "--since", "zzzzzzzzzz"]).code,
        Some(4)
    );
}
