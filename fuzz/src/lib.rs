//! Laws that no input may break, as plain functions over bytes.
//!
//! ```text
//!   codec/tests/vectors --> seeds --> mutate --> target --> the law holds, or a panic says which not
//!                             '-----> libFuzzer ---^        (libfuzzer/, by cargo xtask fuzz)
//! ```
//!
//! The stable tests run every target over mutated seeds; `cargo xtask fuzz` runs one with libFuzzer,
//! and `results/` keeps what it ran. Invariant: a target depends on its bytes alone.

#![forbid(unsafe_code)]

pub mod mutate;
pub mod reference;
pub mod seeds;
pub mod target;

use seeds::Vectors;

/// A law and what it is tried on first.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As in `cargo xtask fuzz NAME`.
    pub name: &'static str,
    /// Panics where the law does not hold.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn(&Vectors) -> Vec<Vec<u8>>,
    /// Longest input that libFuzzer makes: enough for each branch, and short enough to be quick.
    pub len_max: usize,
}

impl Target {
    /// The inputs to begin with that are not too long for libFuzzer.
    #[must_use]
    pub fn short_seeds(&self, vectors: &Vectors) -> Vec<Vec<u8>> {
        let seeds = (self.seeds)(vectors);
        seeds.into_iter().filter(|seed| seed.len() <= self.len_max).collect()
    }
}

/// All targets; `libfuzzer/src/bin/` has a binary for each.
pub const TARGETS: &[Target] = &[
    Target { name: "oer", run: target::oer::oer, seeds: seeds::oer, len_max: 256 },
    Target { name: "address", run: target::address::address, seeds: seeds::address, len_max: 1100 },
    Target {
        name: "timestamp",
        run: target::timestamp::timestamp,
        seeds: seeds::timestamp,
        len_max: 108,
    },
    Target { name: "prepare", run: target::packet::prepare, seeds: seeds::packet, len_max: 1024 },
    Target {
        name: "prepare_rewrite",
        run: target::packet::prepare_rewrite,
        seeds: seeds::prepare_rewrite,
        len_max: 512,
    },
    Target { name: "fulfill", run: target::packet::fulfill, seeds: seeds::packet, len_max: 512 },
    Target { name: "reject", run: target::packet::reject, seeds: seeds::packet, len_max: 1024 },
    Target { name: "ildcp", run: target::ildcp::ildcp, seeds: seeds::ildcp, len_max: 512 },
    Target {
        name: "btp_stream",
        run: target::btp_stream::btp_stream,
        seeds: seeds::btp_stream,
        len_max: 320,
    },
    Target {
        name: "websocket_stream",
        run: target::websocket::websocket_stream,
        seeds: seeds::websocket_stream,
        len_max: 420,
    },
    Target {
        name: "websocket_handshake",
        run: target::websocket::websocket_handshake,
        seeds: seeds::websocket_handshake,
        len_max: 512,
    },
    Target { name: "url", run: target::url::url, seeds: seeds::url, len_max: 200 },
    Target {
        name: "configuration",
        run: target::configuration::configuration,
        seeds: seeds::configuration,
        len_max: 520,
    },
    Target {
        name: "control_socket",
        run: target::control_socket::control_socket,
        seeds: seeds::control_socket,
        len_max: 200,
    },
    Target {
        name: "settlement_message",
        run: target::settlement_message::settlement_message,
        seeds: seeds::settlement_message,
        len_max: 400,
    },
    Target { name: "core", run: target::core::core, seeds: seeds::core, len_max: 96 },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
