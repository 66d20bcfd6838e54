//! `m2-signer`: keeps the key of an account on an EVM chain, and signs what `m2-settle` asks it for.
//!
//! `m2-settle` starts it by the command line that its operator configured, best as another user (`sudo -u`,
//! `doas -u`), so that the key is readable to that one alone. What is said on stdin and stdout stands in
//! `signer/serve.rs`.
//!
//! Invariant: it opens its key file and nothing else, and speaks to nobody but who has started it.

#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use alloy::primitives::Address;
use clap::Parser;
use m2_settle::signer::{Key, Policy, serve};

/// Signs claims, agreements and transactions that it is asked for on stdin.
#[derive(Debug, Parser)]
#[command(name = "m2-signer", version)]
struct Arguments {
    /// A file of 64 hexadecimal digits, which only its owner may read
    #[arg(long)]
    key_file: PathBuf,
    /// Sign for this chain alone
    #[arg(long)]
    chain_id: Option<u64>,
    /// Sign for this contract alone: its claims, calls of it, approvals of it
    #[arg(long)]
    contract: Option<Address>,
}

fn main() -> ExitCode {
    let Arguments { key_file, chain_id, contract } = Arguments::parse();
    let policy = Policy { chain_id, contract };
    let served = Key::read(&key_file).and_then(|key| {
        serve(&key, policy, io::stdin().lock(), io::stdout().lock())
            .map_err(|error| format!("stdin or stdout: {error}"))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("m2-signer: {sentence}");
            ExitCode::FAILURE
        }
    }
}
