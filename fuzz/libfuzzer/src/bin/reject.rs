//! libFuzzer on the target `reject`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::packet::reject(data));
