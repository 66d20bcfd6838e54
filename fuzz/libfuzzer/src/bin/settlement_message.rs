//! libFuzzer on the target `settlement_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::settlement_message::settlement_message(data));
