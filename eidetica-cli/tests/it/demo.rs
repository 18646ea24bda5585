//! The demo: what a new user sees first.

use serde_json::Value;
use tempfile::TempDir;

use crate::device::{Outcome, names, program, run};

/// Runs the demo; whatever it leaves behind is found in its temporary folder.
fn demo(args: &[&str]) -> Outcome {
    let temporary = TempDir::new().unwrap();
    let mut command = program();
    command.env("TMPDIR", temporary.path());
    command.arg("demo").args(args);
    let outcome = run(command, "");
    assert_eq!(names(temporary.path()), [""; 0], "{outcome:?}");
    outcome
}

#[track_caller]
fn step<'a>(steps: &'a [Value], name: &str) -> &'a Value {
    let found = steps.iter().find(|step| step["step"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {steps:?}"))
}

#[test]
fn the_demo_ends_with_equal_devices_and_a_visible_conflict() {
    let outcome = demo(&["--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let steps = outcome.lines();
    assert_eq!(step(&steps, "import")["rows"], 1691);
    assert!(step(&steps, "join")["received"].as_u64() > Some(30));
    let compare = step(&steps, "compare");
    assert_eq!(compare["equal"], true);
    assert_eq!(compare["conflicts"].as_array().unwrap().len(), 1);
    assert!(
        steps
            .iter()
            .all(|step| step["step"] == "compare" || step["seconds"].is_f64())
    );
}

#[test]
fn the_demo_speaks_to_people_too() {
    let outcome = demo(&[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for word in [
        "1,691 rows",
        "over QUIC",
        "over HTTP",
        "equal",
        "kept beside it",
    ] {
        assert!(outcome.stdout.contains(word), "{word}: {outcome:?}");
    }
}

#[test]
fn the_demo_takes_data_of_the_users() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("rows.jsonl");
    let rows: String = (0..120)
        .map(|i| format!("{{\"n\":{i},\"x\":[{{}},{i}]}}\n"))
        .collect();
    std::fs::write(&file, rows).unwrap();
    let outcome = demo(&["--json", "--input", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(step(&outcome.lines(), "import")["rows"], 120);
}

#[test]
fn the_demo_says_what_is_wrong_with_its_input() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("{\"a\":1}\nnonsense\n", "line 2: it is not JSON"),
        ("[1]\n", "line 1: a row is a JSON object"),
        ("", "there are no rows"),
    ];
    for (text, complaint) in cases {
        let file = folder.path().join("rows.jsonl");
        std::fs::write(&file, text).unwrap();
        let outcome = demo(&["--input", file.to_str().unwrap()]);
        assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""));
        assert!(outcome.stderr.contains(complaint), "{outcome:?}");
    }
    let missing = demo(&["--input", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(missing.code, Some(4), "{missing:?}");
    assert!(missing.stderr.contains("none: "), "{missing:?}");
}
