//! Owns the entry point of the fuzz target `text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::text(data);
});
