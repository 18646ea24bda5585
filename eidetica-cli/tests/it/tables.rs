//! Tables by command, elements of lists, and stores of kinds that the program does not know.

#[path = "../../../eidetica/examples/grow_only_set/set.rs"]
mod set;

use eidetica::{Instance, crdt::RowRange};
use serde_json::{Value, json};

use self::set::{GrowOnlySet, members};
use crate::device::{Device, text};

/// Adds a row to the table `todos`; its id.
fn add(device: &Device, row: &Value) -> String {
    let row = row.to_string();
    let put = ["put", "notes", "todos", "-", &row, "--kind", "table"];
    text(&device.done(&put).line()["key"])
}

#[test]
fn rows_and_their_fields_are_put_read_and_removed() {
    let device = Device::empty();
    device.create("notes");
    let id = add(
        &device,
        &json!({"title": "tea", "of": {"n": 1}, "tags": ["a"]}),
    );
    let on = |args: &[&str], path: &str, rest: &[&str]| {
        let path = format!("{id}{path}");
        let args = [args, &["notes", "todos", &path], rest].concat();
        device.done(&args).line()
    };
    assert_eq!(on(&["get"], ".title", &[]), "tea");
    assert_eq!(on(&["put"], ".tags.-", &["\"b\""]), "b");
    assert_eq!(on(&["put"], ".of.deep.er", &["5"]), 5);
    assert_eq!(on(&["del"], ".tags.0", &[]), "a");
    assert_eq!(on(&["del"], ".title", &[]), "tea");
    let row = json!({"of": {"n": 1, "deep": {"er": 5}}, "tags": ["b"]});
    assert_eq!(on(&["get"], "", &[]), row);
    let whole = json!({"title": "milk"});
    assert_eq!(on(&["put"], "", &[&whole.to_string()]), whole);
    let listed = device.done(&["list", "notes", "todos"]).line();
    assert_eq!(listed, json!({"key": id, "value": whole}));
    assert_eq!(on(&["del"], "", &[]), whole);
    assert!(device.done(&["list", "notes", "todos"]).lines().is_empty());
}

#[test]
fn wrong_places_in_tables_and_lists_are_refused_by_name() {
    let device = Device::empty();
    device.create("notes");
    let id = add(&device, &json!({"tags": ["a"]}));
    device.done(&["put", "notes", "app", "l", "[1,[]]"]);
    let before = device.info("notes");
    let none = "00000000-0000-0000-0000-000000000000";
    let (tag, key) = (format!("/{id}/tags/1"), format!("/{id}/tags/x"));
    for (args, code, complaint) in [
        (&["get", "notes", "todos"][..], 2, "read by rows"),
        (&["get", "notes", "todos", "x"], 2, "UUID"),
        (&["get", "notes", "todos", "a..b"], 2, "no path"),
        (&["get", "notes", "todos", none], 4, none),
        (&["get", "notes", "todos", "-"], 4, "nothing"),
        (
            &["get", "notes", "todos", &tag],
            4,
            "index=`1` elements=`1`",
        ),
        (&["get", "notes", "todos", &key], 4, "nothing"),
        (&["put", "notes", "todos", "-", "5"], 2, "JSON object"),
        (&["put", "notes", "todos", "/-/x", "5"], 4, "nothing"),
        (&["put", "notes", "todos", &tag, "5"], 4, "elements=`1`"),
        (&["put", "notes", "todos", &key, "5"], 2, "by number"),
        (&["del", "notes", "todos", none], 4, none),
        (&["del", "notes", "todos", &key], 4, "nothing"),
        (
            &["put", "notes", "todos", "x", "5", "--kind", "doc"],
            2,
            "another kind",
        ),
        (
            &["put", "notes", "new", "x", "5", "--kind", "set"],
            2,
            "table",
        ),
        (
            &["list", "notes", "app", "--kind", "table"],
            2,
            "another kind",
        ),
        (&["list", "notes", "todos", "--after", "x"], 2, "UUID"),
        (&["list", "notes", "--limit", "1"], 2, "STORE"),
        (
            &["get", "notes", "app", "/l/2"],
            4,
            "index=`2` elements=`2`",
        ),
        (&["get", "notes", "app", "/l/-"], 4, "nothing"),
        (&["put", "notes", "app", "/l/2", "5"], 4, "elements=`2`"),
        (&["put", "notes", "app", "/l/x", "5"], 2, "by number"),
        (&["del", "notes", "app", "/l/2"], 4, "elements=`2`"),
    ] {
        let outcome = device.run(args);
        assert_eq!(outcome.code, Some(code), "{args:?}: {outcome:?}");
        assert!(outcome.stderr.contains(complaint), "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
    assert_eq!(device.info("notes"), before);
}

#[test]
fn elements_of_lists_are_named_by_index() {
    let device = Device::empty();
    device.create("notes");
    device.done(&["put", "notes", "app", "l", r#"[1,{"x":[]},3]"#]);
    assert_eq!(device.done(&["get", "notes", "app", "/l/0"]).line(), 1);
    device.done(&["put", "notes", "app", "l.1.x.-", "7"]);
    device.done(&["put", "notes", "app", "/l/-", "4"]);
    device.done(&["put", "notes", "app", "/l/2", "\"three\""]);
    assert_eq!(device.done(&["del", "notes", "app", "/l/0"]).line(), 1);
    let list = device.done(&["get", "notes", "app", "l"]).line();
    assert_eq!(list, json!([{"x": [7]}, "three", 4]));
    // A number is a key where no list is.
    device.done(&["put", "notes", "app", "/m/0", "1"]);
    assert_eq!(
        device.done(&["get", "notes", "app", "m"]).line(),
        json!({"0": 1})
    );
}

#[test]
fn a_table_is_listed_in_pages_and_comes_back_from_its_export() {
    let device = Device::empty();
    device.create("notes");
    // More than are read at once.
    let rows: String = (0..2500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let file = device.file("rows.jsonl", &rows);
    device.done(&["import", "notes", "todos", &file, "--kind", "table"]);
    assert_eq!(device.done(&["export", "notes", "todos"]).stdout, rows);
    let keys = |args: &[&str]| {
        let listed = device.done(&[&["list", "notes", "todos"], args].concat());
        let keys = listed.lines().into_iter().map(|line| text(&line["key"]));
        keys.collect::<Vec<_>>()
    };
    let all = keys(&[]);
    assert_eq!(all.len(), 2500);
    assert_eq!(keys(&["--limit", "3"]), all[..3]);
    assert_eq!(keys(&["--after", &all[2], "--limit", "3"]), all[3..6]);
    assert_eq!(keys(&["--after", &all[2499]]), [""; 0]);

    let named = device.done(&["export", "notes", "todos", "--keys"]).stdout;
    let file = device.file("named.jsonl", &named);
    for kind in ["table", "doc"] {
        device.done(&["import", "notes", kind, &file, "--keys", "--kind", kind]);
        assert_eq!(
            device.done(&["export", "notes", kind, "--keys"]).stdout,
            named
        );
    }
    // Again, with ids in a field: the same rows, and nothing new.
    let fields = all[..2].iter().map(|id| format!("{{\"id\":\"{id}\"}}\n"));
    let file = device.file("fields.jsonl", fields.collect::<String>());
    device.done(&["import", "notes", "todos", &file, "--key", "id"]);
    assert_eq!(keys(&[]), all);
    let file = device.file("bad.jsonl", "{\"id\":\"x\"}");
    let refused = device.run(&["import", "notes", "todos", &file, "--key", "id"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("line 1"), "{refused:?}");

    // One id, written in two ways.
    let two = [all[0].to_uppercase(), all[0].clone()];
    let lines = two.map(|id| format!("{{\"id\":\"{id}\"}}\n")).concat();
    let file = device.file("twice.jsonl", lines);
    let refused = device.run(&["import", "notes", "todos", &file, "--key", "id"]);
    assert!(
        refused.stderr.contains("line 1 has the same key"),
        "{refused:?}"
    );

    let documents = device.done(&["export", "notes", "--kind", "doc"]).lines();
    assert_eq!(documents.len(), 1 + 2500);
    let tables = device.done(&["list", "notes", "--kind", "table"]).lines();
    assert_eq!(tables.len(), 2);
    let whole = device.done(&["export", "notes"]).lines();
    assert_eq!(whole.len(), 1 + 3 * 2500);
    let first = whole.iter().find(|line| line["store"] == "todos").unwrap();
    assert_eq!(first["key"], all[0].as_str());
}

#[test]
fn concurrent_fields_are_kept_and_named() {
    let (a, b) = (Device::empty(), Device::empty());
    a.create("notes");
    let id = add(&a, &json!({"title": "tea"}));
    a.done(&["grant", "notes", &b.key(), "write"]);
    let mut at_a = a.serve(&["--share", "notes"]);
    at_a.listening();
    b.done(&["join", &at_a.ticket()]);
    at_a.done(&format!("put notes todos {id}.title '\"milk\"'"));
    at_a.done(&format!("put notes todos {id}.due 1"));
    b.done(&["put", "notes", "todos", &format!("{id}.title"), "\"juice\""]);
    b.done(&["sync", "notes"]);
    let ours = at_a.done(&format!("get notes todos {id} --conflicts"));
    let theirs = b
        .done(&["get", "notes", "todos", &id, "--conflicts"])
        .line();
    assert_eq!(ours, theirs);
    let conflict = json!([{"path": "/title", "value": "milk"}]);
    assert_eq!(
        ours,
        json!({"value": {"title": "juice", "due": 1}, "conflicts": conflict})
    );
    let field = at_a.done(&format!("get notes todos {id}.title --conflicts"));
    assert_eq!(field, json!({"value": "juice", "conflicts": ["milk"]}));
}

#[test]
fn a_store_of_an_unknown_kind_is_listed_and_nothing_else_is_promised() {
    let device = Device::empty();
    device.create("notes");
    {
        let builder = Instance::builder().kind::<GrowOnlySet>();
        let file = device.data().join("data.redb");
        let notes = builder.redb(file).open_blocking().unwrap();
        let notes = notes.find_database("notes").unwrap();
        let tx = notes.transaction().unwrap();
        let seen = tx.store::<GrowOnlySet>("seen").unwrap();
        seen.apply("wren".to_owned()).unwrap();
        assert!(members(&seen.rows(&RowRange::all()).unwrap()).contains("wren"));
        // Two kinds in one store, as programs that disagree leave them.
        tx.doc("both").unwrap().set("x", 1).unwrap();
        tx.commit().unwrap();
        let tx = notes.transaction().unwrap();
        let both = tx.table::<eidetica::Value>("both").unwrap();
        both.insert(&eidetica::Value::empty_map()).unwrap();
        tx.commit().unwrap();
    }
    let stores = device.done(&["list", "notes"]).lines();
    let kinds: Vec<_> = stores
        .iter()
        .map(|s| (text(&s["store"]), text(&s["kind"])))
        .collect();
    let is = |store: &str, kind: &str| kinds.contains(&(store.to_owned(), kind.to_owned()));
    assert!(
        is("both", "doc") && is("both", "table") && stores.len() == 4,
        "{kinds:?}"
    );
    for args in [
        &["get", "notes", "seen", "x"][..],
        &["put", "notes", "seen", "x", "1"],
        &["del", "notes", "seen", "x"],
        &["list", "notes", "seen"],
        &["export", "notes", "seen"],
    ] {
        let outcome = device.run(args);
        assert_eq!(outcome.code, Some(1), "{args:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains("stores of this kind"),
            "{outcome:?}"
        );
    }
    assert!(device.run(&["export", "notes"]).stderr.contains("`seen`"));
    assert_eq!(device.run(&["get", "notes", "both", "x"]).code, Some(2));
    assert_eq!(
        device
            .done(&["get", "notes", "both", "x", "--kind", "doc"])
            .line(),
        1
    );
}
