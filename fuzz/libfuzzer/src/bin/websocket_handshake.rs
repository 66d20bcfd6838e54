//! libFuzzer on the target `websocket_handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::websocket::websocket_handshake(data));
