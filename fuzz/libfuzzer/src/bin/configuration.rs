//! libFuzzer on the target `configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::configuration::configuration(data));
