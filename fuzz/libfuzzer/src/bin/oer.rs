//! libFuzzer on the target `oer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::oer::oer(data));
