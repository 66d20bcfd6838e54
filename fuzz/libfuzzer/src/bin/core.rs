//! libFuzzer on the target `core`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::core::core(data));
