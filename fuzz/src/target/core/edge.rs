//! What leaves the core: links that are full or not, rings between shards, and what was sent.
//!
//! Invariant, asserted where a packet leaves: it is one that came, goes where it must, and differs
//! from what came in nothing but amount, expiry and id; no request is answered twice.

use std::collections::VecDeque;

use m2_codec::ilp::{ForwardedPrepare, Fulfill, Reject};
use m2_core::{Answer, ConnectionId, Egress, Forward, ShardId, sha256_of_32};

use super::world::{ACCOUNTS, HOLD_MS_MAX, MARGIN_MS, REMAINING_MS_MIN, converted, preimage_of};
use crate::reference;

/// A request that was handed in.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) connection: ConnectionId,
    pub(super) request_id: u32,
    /// Its bytes as they came.
    pub(super) packet: Vec<u8>,
    /// Of the rates that its shard had.
    pub(super) rate_version: u32,
    /// When it was handed in.
    pub(super) utc_ms: u64,
    pub(super) answered: bool,
    pub(super) forwarded: bool,
}

/// A PREPARE that left.
pub(super) struct Left {
    pub(super) connection: ConnectionId,
    pub(super) request_id: u32,
    /// What opens its condition.
    pub(super) preimage: [u8; 32],
}

pub(super) struct Edge {
    pub(super) live: [Option<ConnectionId>; ACCOUNTS],
    pub(super) full: [bool; ACCOUNTS],
    pub(super) asked: Vec<Asked>,
    pub(super) left: Vec<Left>,
    /// By the shard that they go to.
    pub(super) forwards: [VecDeque<(Forward, Vec<u8>)>; 2],
    pub(super) answers: [VecDeque<(Answer, Vec<u8>)>; 2],
    pub(super) forwards_max: usize,
}

impl Egress for Edge {
    fn below_half(&self, to: ConnectionId) -> bool {
        !self.full[to.account.0 as usize]
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        let packet = &bytes[..];
        assert!(self.is_live(to) && self.below_half(to), "a PREPARE to a link that cannot take it");
        let prepare = reference::prepare(packet).expect("what leaves is a PREPARE");
        assert_eq!((prepare.packet_len, prepare.behind), (packet.len(), 0));
        let twin = self.left.iter().any(|it| (it.connection, it.request_id) == (to, request_id));
        assert!(!twin, "two PREPAREs leave under one id");
        // An echo is made by the switch: it bears the condition of its request, and no tag.
        if let Some(tag) = tag(prepare.data) {
            self.compare(tag, to, &prepare);
        }
        let preimage = preimage_of(prepare.condition);
        self.left.push(Left { connection: to, request_id, preimage });
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        assert!(self.is_live(to), "an answer to a link that is gone");
        let fulfillment = match Fulfill::new_checked(packet) {
            Ok(fulfill) => Some(*fulfill.fulfillment()),
            Err(_) => {
                assert!(Reject::new_checked(packet).is_ok(), "an answer is one or the other");
                None
            }
        };
        let opens = |asked: &Asked| {
            fulfillment.is_none_or(|fulfillment| {
                reference::prepare(&asked.packet)
                    .is_some_and(|prepare| sha256_of_32(&fulfillment) == *prepare.condition)
            })
        };
        // Under an id that was used twice, which of the two a REJECT ends is not to be seen.
        let of_this_id =
            |asked: &&mut Asked| (asked.connection, asked.request_id) == (to, request_id);
        let mut asked: Vec<_> = self.asked.iter_mut().filter(of_this_id).collect();
        assert!(
            asked.iter().any(|asked| opens(asked)),
            "an answer to nothing, or a wrong preimage"
        );
        asked.sort_by_key(|asked| !opens(asked));
        let open = asked.into_iter().find(|asked| !asked.answered);
        open.expect("a second answer").answered = true;
    }

    fn forward_room(&self, to: ShardId) -> bool {
        self.forwards[usize::from(to.0)].len() < self.forwards_max
    }

    fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        assert!(self.forward_room(to), "a Forward that has no room");
        self.forwards[usize::from(to.0)].push_back((forward, packet.to_vec()));
    }

    fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        self.answers[usize::from(to.0)].push_back((answer, packet.to_vec()));
    }
}

impl Edge {
    pub(super) fn is_live(&self, connection: ConnectionId) -> bool {
        self.live[connection.account.0 as usize] == Some(connection)
    }

    /// Holds a PREPARE that left against the one that came.
    fn compare(&mut self, tag: usize, to: ConnectionId, out: &reference::Prepare<'_>) {
        let asked = &mut self.asked[tag];
        assert!(!asked.forwarded, "a PREPARE leaves twice");
        asked.forwarded = true;
        let came = reference::prepare(&asked.packet).expect("only a PREPARE is forwarded");
        assert_eq!(
            (out.destination, out.condition, out.data),
            (came.destination, came.condition, came.data),
            "a hop changes amount and expiry alone"
        );
        let from = asked.connection.account;
        let amount = converted(came.amount, from, to.account, asked.rate_version);
        assert_eq!(u128::from(out.amount), amount, "amount_out");
        let shortened = came.expires_at_ms.saturating_sub(MARGIN_MS);
        assert_eq!(out.expires_at_ms, shortened.min(asked.utc_ms + HOLD_MS_MAX), "expires_at");
        assert!(out.expires_at_ms >= asked.utc_ms + REMAINING_MS_MIN, "it had to be refused");
    }
}

/// The position in [`Edge::asked`] that the data of a PREPARE of ours ends with.
pub(super) fn tag(data: &[u8]) -> Option<usize> {
    let tag = data.strip_prefix(b"tag ")?;
    Some(usize::from(u16::from_be_bytes(tag.try_into().ok()?)))
}
