//! libFuzzer on the target `timestamp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::timestamp::timestamp(data));
