//! Real histories, by the code of the example `replay`.

#[path = "../../examples/replay/devices.rs"]
mod devices;
#[path = "../../examples/replay/history.rs"]
mod history;

use std::{path::Path, time::Duration};

use self::{
    devices::{Report, replay},
    history::History,
};

async fn replayed(name: &str) -> Report {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/history");
    let history = History::read(&file.join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let report = replay(&history, folder.path()).await.unwrap();
    for got in [&report.over_quic, &report.over_http] {
        // The root and two entries of grants come before the commits.
        assert!(got.received as usize >= report.commits + 2);
        assert!(got.refused.is_empty());
    }
    assert_eq!(report.checked, 20);
    // Each is seconds; a cost that grows with the history's square would be minutes.
    assert!(report.writing + report.checking < Duration::from_secs(120));
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_read_the_branched_history_of_automerge() {
    let report = replayed("automerge.jsonl.gz").await;
    assert_eq!(
        (report.commits, report.merges, report.authors),
        (1655, 129, 67)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_read_the_straight_history_of_redb() {
    let report = replayed("redb.jsonl.gz").await;
    assert_eq!(
        (report.commits, report.merges, report.authors),
        (1691, 0, 48)
    );
}
