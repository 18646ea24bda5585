//! Owns the short run of this crate's fuzz target.

use eidetica_testkit::fuzz::smoke;
use eidetica_transport_quic::fuzz;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

#[test]
fn quic_key() {
    smoke(CORPUS, "quic_key", fuzz::raw_key);
}
