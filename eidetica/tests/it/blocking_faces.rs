//! The blocking API has what the one with async has, method by method.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Types with async, and those without.
const FACES: [(&str, &str); 16] = [
    ("Instance", "BlockingInstance"),
    ("Database", "BlockingDatabase"),
    ("DatabaseAt", "BlockingDatabaseAt"),
    ("Transaction", "BlockingTransaction"),
    ("DocStore", "BlockingDocStore"),
    ("DocDraft", "BlockingDocDraft"),
    ("SettingsStore", "BlockingSettingsStore"),
    ("Table", "BlockingTable"),
    ("TableDraft", "BlockingTableDraft"),
    ("Query", "BlockingQuery"),
    ("CrdtStore", "BlockingCrdtStore"),
    ("CrdtDraft", "BlockingCrdtDraft"),
    ("Difference", "BlockingDifference"),
    ("Changes", "BlockingChanges"),
    ("Sync", "BlockingSync"),
    ("SyncHandle", "BlockingSyncHandle"),
];

/// What has no blocking form, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("Instance", "builder"),            // `InstanceBuilder::open_blocking`
    ("Instance", "blocking"),           // is the way here
    ("Instance", "storage"),            // by `instance()`
    ("Transaction", "add_rows"),        // for the layers above the store
    ("Sync", "with_config"),            // is the composition root's
    ("Sync", "new"),                    // is the composition root's
    ("Database", "source"),             // for the layers above the store
    ("Difference", "with_chunk_bytes"), // for the layers above the store
    ("Database", "watch"),              // a channel of tokio; `subscribe` tells the same
];

/// The public methods of each type in the sources of a folder. Sources are formatted, so an `impl`
/// begins and ends at the margin.
fn methods(folder: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            methods(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut of = None;
        let mut is_waiting = false;
        for line in text.lines() {
            if line.starts_with("impl") && !line.contains(" for ") {
                of = implementor(line);
            } else if line == "}" {
                of = None;
            }
            let code = line.trim_start();
            is_waiting = (is_waiting || code == "waiting! {") && line != "    }";
            let public = code.strip_prefix("pub ").or(is_waiting.then_some(code));
            let function = public.map(|code| code.strip_prefix("async ").unwrap_or(code));
            let name = function.and_then(|code| code.strip_prefix("fn "));
            if let (Some(of), Some(name)) = (&of, name) {
                let end = name.find(['(', '<']).unwrap();
                let of: &mut BTreeSet<_> = found.entry(String::clone(of)).or_default();
                of.insert(name[..end].to_owned());
            }
        }
    }
}

/// The name of the type that a line `impl<…> Name<…> {` is of.
fn implementor(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let mut depth = 0;
    let after_generics = rest.find(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c == ' '
    });
    let name = rest[after_generics?..].trim_start();
    let end = name.find(|c: char| !c.is_alphanumeric())?;
    Some(name[..end].to_owned())
}

#[test]
fn no_method_is_forgotten() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    methods(&here.join("src"), &mut found);
    methods(&here.join("../eidetica-store/src"), &mut found);
    methods(&here.join("../eidetica-sync/src"), &mut found);
    let mut missing = BTreeSet::new();
    for (with, without) in FACES {
        let (with_async, blocking) = (&found[with], &found[without]);
        let lacking = with_async.difference(blocking).map(String::as_str);
        missing.extend(lacking.map(|method| (with, method)));
    }
    assert_eq!(missing, BTreeSet::from(LEFT_OUT));
    // That it finds methods of each form.
    assert!(found["DocDraft"].contains("insert_many"));
    assert!(found["BlockingDocDraft"].contains("insert_many"));
    assert!(found["Table"].contains("add_index"));
}
