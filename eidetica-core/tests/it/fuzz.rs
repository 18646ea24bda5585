//! Owns the short run of the fuzz targets of the core.

use eidetica_testkit::fuzz::{self, smoke};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

#[test]
fn entry() {
    smoke(CORPUS, "entry", fuzz::entry);
}

#[test]
fn auth_payload() {
    smoke(CORPUS, "auth_payload", fuzz::auth_payload);
}

#[test]
fn text() {
    smoke(CORPUS, "text", fuzz::text);
}
