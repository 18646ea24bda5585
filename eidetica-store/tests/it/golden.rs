//! Owns the bytes of every row of a small database, which pin the format of what is on disk.

use std::sync::Arc;

use eidetica_core::{PayloadHash, authority::AuthOperation};
use eidetica_crdt::{DocOp, Scalar};
use eidetica_store::{Backend, MemoryBackend, Offer, Space};
use eidetica_testkit::{
    arb::history::doc_change,
    entries::{auth_change, child, database_of, device_key, root},
    golden,
};

use crate::support::{at, block_on, offer, open, rows, set, store};

/// Values longer than this are kept as their hash.
const LONG: usize = 512;

#[test]
fn rows_have_the_golden_bytes_of_the_format() {
    let (admin, writer) = (device_key(0), device_key(1));
    let grant = AuthOperation::set(writer.public(), eidetica_core::authority::Level::Write, "w");
    let first = root(&admin, vec![auth_change(&[grant])]);
    let a = child(&admin, &[&first], at(1), set("a.b", 1));
    let b = child(&writer, &[&first], at(2), set("a", 2));
    let text = DocOp::Set {
        path: "long".parse().unwrap(),
        value: Scalar::Text("x".repeat(5000)),
    };
    let long = vec![doc_change(&store("notes"), &[text])];
    let merge = child(&writer, &[&a, &b], at(3), long);
    let remove = AuthOperation::set(writer.public(), eidetica_core::authority::Level::None, "w");
    let remove = child(&admin, &[&merge], at(4), vec![auth_change(&[remove])]);
    let void = child(&writer, &[&merge], at(5), set("c", 3));
    block_on(async {
        let backend = Arc::new(MemoryBackend::new());
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&first)).await.unwrap();
        let report = offer(&database, vec![first, a, b]).await;
        assert_eq!(report.stored, 3);
        let sent = Offer {
            entries: vec![merge, remove, void],
            source: database.source(&writer.public()).await.unwrap(),
            ..Offer::default()
        };
        assert_eq!(database.ingest(sent).await.unwrap().stored, 3);
        let mut lines = Vec::new();
        for space in Space::ALL {
            for (key, value) in rows(&*backend.snapshot().await.unwrap(), space).await {
                let value = match value.len() {
                    n if n > LONG => PayloadHash::of(&value).as_bytes().to_vec(),
                    _ => value,
                };
                lines.push((space.as_str(), key));
                lines.push(("  =", value));
            }
        }
        golden::check(env!("CARGO_MANIFEST_DIR"), "rows", lines);
    });
}
