//! Packets between real sockets: every transport, framing in full, bad packets.

mod support;

use support::{Switch, pay};

#[test]
fn a_packet_is_fulfilled_between_any_two_transports() {
    let switch = Switch::start("", "");
    let mut total = 0;
    for from in ["ws", "tcp", "unix"] {
        for to in ["ws", "tcp", "unix"] {
            let mut alice = switch.peer(from, "alice");
            let mut bob = switch.peer(to, "bob");
            pay(&mut alice, &mut bob, "test.m2m.bob.x", 1_000);
            total += 1_000;
        }
    }
    assert_eq!(switch.account("alice", "balance"), total.to_string());
    assert_eq!(switch.account("bob", "balance"), format!("-{total}"));
    assert_eq!(switch.account("alice", "held_in"), "0");
    assert_eq!(switch.counter("packets", "pairs_fulfilled"), 9);
}
