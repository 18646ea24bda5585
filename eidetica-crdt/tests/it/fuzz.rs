//! Owns the short run of the fuzz targets of the kinds.

use eidetica_testkit::fuzz::{self, smoke};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

#[test]
fn doc_payload() {
    smoke(CORPUS, "doc_payload", fuzz::doc_payload);
}

#[test]
fn table_payload() {
    smoke(CORPUS, "table_payload", fuzz::table_payload);
}
