//! libFuzzer on the target `ildcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::ildcp::ildcp(data));
