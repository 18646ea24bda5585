//! Owns the entry point of the fuzz target `http_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_transport_http::fuzz::answer_body(data);
});
