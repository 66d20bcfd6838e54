//! libFuzzer on the target `prepare`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::packet::prepare(data));
