//! Owns the short run of the fuzz targets of the protocol and the channel.

use eidetica_testkit::fuzz::{self, smoke};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");

#[test]
fn request() {
    smoke(CORPUS, "request", fuzz::request);
}

#[test]
fn answer() {
    smoke(CORPUS, "answer", fuzz::answer);
}

#[test]
fn data_stream() {
    smoke(CORPUS, "data_stream", fuzz::data_stream);
}

#[test]
fn ticket() {
    smoke(CORPUS, "ticket", fuzz::ticket);
}

#[test]
fn channel_request() {
    smoke(CORPUS, "channel_request", fuzz::channel_request);
}

#[test]
fn channel_answer() {
    smoke(CORPUS, "channel_answer", fuzz::channel_answer);
}
