//! libFuzzer on the target `url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::url::url(data));
