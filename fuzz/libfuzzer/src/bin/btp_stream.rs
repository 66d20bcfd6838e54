//! libFuzzer on the target `btp_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::btp_stream::btp_stream(data));
