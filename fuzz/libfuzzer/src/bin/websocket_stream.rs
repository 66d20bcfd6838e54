//! libFuzzer on the target `websocket_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::websocket::websocket_stream(data));
