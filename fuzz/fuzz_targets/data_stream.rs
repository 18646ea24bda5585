//! Owns the entry point of the fuzz target `data_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::data_stream(data);
});
