//! Owns the entry point of the fuzz target `answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::answer(data);
});
