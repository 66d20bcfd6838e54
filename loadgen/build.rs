//! Tells the program what it was built with, for the reports it writes.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let words = version.unwrap_or_default();
    println!("cargo::rustc-env=M2_LOAD_RUSTC={}", words.lines().next().unwrap_or_default());
    println!("cargo::rustc-env=M2_LOAD_PROFILE={}", env::var("PROFILE").unwrap_or_default());
}
