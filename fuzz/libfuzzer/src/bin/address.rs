//! libFuzzer on the target `address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::address::address(data));
