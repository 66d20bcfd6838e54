//! libFuzzer on the target `fulfill`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::packet::fulfill(data));
