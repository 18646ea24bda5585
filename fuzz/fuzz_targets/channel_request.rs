//! Owns the entry point of the fuzz target `channel_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::channel_request(data);
});
