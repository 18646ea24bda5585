//! Owns the entry point of the fuzz target `ticket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::ticket(data);
});
