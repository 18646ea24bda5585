//! Owns the short run of this crate's fuzz target.

use eidetica_testkit::fuzz::smoke;
use eidetica_transport_http::fuzz;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

#[test]
fn http_answer() {
    smoke(CORPUS, "http_answer", fuzz::answer_body);
}
