//! Owns the entry point of the fuzz target `table_payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::table_payload(data);
});
