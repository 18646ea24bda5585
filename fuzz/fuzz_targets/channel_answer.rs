//! Owns the entry point of the fuzz target `channel_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_testkit::fuzz::channel_answer(data);
});
