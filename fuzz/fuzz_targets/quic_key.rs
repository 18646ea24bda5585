//! Owns the entry point of the fuzz target `quic_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    eidetica_transport_quic::fuzz::raw_key(data);
});
