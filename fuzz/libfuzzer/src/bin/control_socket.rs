//! libFuzzer on the target `control_socket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| m2_fuzz::target::control_socket::control_socket(data));
