//! What left, packet by packet: to whom, under which id, and every byte of it.

use m2_codec::ilp::{ErrorCode, Reject};
use m2_codec::timestamp;
use m2_core::{ConnectionId, Now, Refusal};

use crate::books::{Ending, Hop, State};
use crate::coverage::Fault;
use crate::net::Net;

/// Bytes of amount and expiry: all that a hop may change.
const REWRITTEN: usize = 8 + 17;

impl Net {
    /// The next answer that left is that one.
    pub(crate) fn expect_answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        let answer = self.log.answers.get(self.answers_seen);
        let (seen_to, seen_id, range) = answer.unwrap_or_else(|| {
            panic!("answer: none went to {to:?} under {request_id}, {} were due", packet.len())
        });
        self.answers_seen += 1;
        assert!(*seen_to == to, "answer: it went to {seen_to:?}, its PREPARE came from {to:?}");
        assert!(*seen_id == request_id, "answer: under id {seen_id}, not {request_id}");
        let seen = &self.log.bytes[range.clone()];
        assert!(seen == packet, "bytes: an answer changed: {seen:?}, not {packet:?}");
        assert!(self.is_live(to), "answer: to a connection that is gone");
    }

    /// The next answer that left is a REJECT of the switch's own, for that reason.
    pub(crate) fn expect_refusal(
        &mut self,
        core: usize,
        to: ConnectionId,
        request_id: u32,
        refusal: Refusal,
    ) {
        *self.refused.entry((core, refusal.name())).or_default() += 1;
        let answer = self.log.answers.get(self.answers_seen);
        let (seen_to, seen_id, range) = answer.unwrap_or_else(|| {
            panic!("refusal: {} was due to {to:?} under {request_id}", refusal.name())
        });
        self.answers_seen += 1;
        assert!(*seen_to == to, "answer: it went to {seen_to:?}, its PREPARE came from {to:?}");
        assert!(*seen_id == request_id, "answer: under id {seen_id}, not {request_id}");
        let bytes = &self.log.bytes[range.clone()];
        let Ok(seen) = Reject::new_checked(bytes) else {
            panic!("refusal: {} was due, {bytes:?} went", refusal.name());
        };
        let is_it = seen.code() == refusal.code() && seen.message() == refusal.message().as_bytes();
        assert!(
            is_it,
            "refusal: {} ({}) was due, not {} {}",
            refusal.name(),
            refusal.code(),
            seen.code(),
            seen.message().escape_ascii()
        );
        let switch = self.shards[core].switch;
        assert!(seen.triggered_by() == format!("test.s{switch}").as_bytes(), "refusal: by whom");
        let is_f08 = seen.code() == ErrorCode::F08_AMOUNT_TOO_LARGE;
        let data = match refusal {
            Refusal::PacketAmount { received, maximum }
            | Refusal::ConvertedTooLarge { received, maximum } => {
                [received.to_be_bytes(), maximum.to_be_bytes()].concat()
            }
            _ => Vec::new(),
        };
        assert!(seen.data() == data, "refusal: data of {} (F08: {is_f08})", refusal.name());
    }

    /// The next PREPARE that left is that of a hop, changed in amount and expiry alone.
    pub(crate) fn expect_prepare(&mut self, hop: usize, to: ConnectionId) -> u32 {
        let prepare = self.log.prepares.get(self.prepares_seen);
        let (seen_to, request_id, range) = prepare.expect("hold: a PREPARE did not leave");
        self.prepares_seen += 1;
        assert!(*seen_to == to, "hold: a PREPARE left on {seen_to:?}, not on {to:?}");
        let seen = &self.log.bytes[range.clone()];
        let Hop { amount_in, amount_out, expires_at_ms, packet, .. } = &self.hops[hop];
        assert!(seen.len() == packet.len(), "bytes: a PREPARE got longer or shorter");
        let start = match packet[1] {
            len if len < 0x80 => 2,
            prefix => 2 + usize::from(prefix - 0x80),
        };
        let end = start + REWRITTEN;
        let is_same = seen[..start] == packet[..start] && seen[end..] == packet[end..];
        assert!(is_same, "bytes: a PREPARE changed in more than amount and expiry");
        let amount = u64::from_be_bytes(*seen[start..].first_chunk().expect("8 bytes"));
        assert!(amount == *amount_out, "amount: {amount_in} became {amount}, not {amount_out}");
        let digits: &[u8; 17] = seen[start + 8..].first_chunk().expect("17 digits");
        assert!(
            *digits == timestamp::write(*expires_at_ms),
            "expiry: {} is not {expires_at_ms}",
            digits.escape_ascii()
        );
        *request_id
    }

    /// A packet ends for its sender: what was held becomes balance or is nothing, and the answer
    /// goes to the very connection that asked, or to nobody, or waits.
    pub(crate) fn take_answer(&mut self, now: Now, hop: usize) {
        let state = core::mem::replace(&mut self.hops[hop].state, State::Done);
        let State::Answering(ending) = state else {
            panic!("equation 4: a packet in state {state:?} was answered");
        };
        self.live_hops.remove(&hop);
        let Hop { switch, core_in, core_out, account_in, amount_in, amount_out, .. } =
            self.hops[hop];
        let Hop { tag, epoch_in, wire_in, id_in, position, .. } = self.hops[hop];
        let node = &mut self.nodes[switch];
        self.shards[core_in].under_way[core_out - node.first_core] -= 1;
        let account = &mut node.accounts[account_in as usize];
        account.words.held_in -= i128::from(amount_in);
        let is_live = account.live == Some(epoch_in);
        let asset = usize::from(account.asset);
        let asset_out = node.accounts[self.hops[hop].account_out as usize].asset;
        self.touched.push((switch, account_in));
        let to = self.connection(account_in, epoch_in);
        if matches!(ending, Ending::Fulfilled(_)) {
            self.nodes[switch].accounts[account_in as usize].owe(i128::from(amount_in));
            self.totals[asset].in_rings -= i128::from(amount_in);
            self.open(wire_in, id_in, tag, amount_in);
            let pair = (core_in, asset, usize::from(asset_out), self.hops[hop].version);
            let total = self.pairs.entry(pair).or_default();
            total.0 += u128::from(amount_in);
            total.1 += u128::from(amount_out);
        }
        match ending {
            Ending::Fulfilled(packet) if position.is_some() => {
                return self.pass_fulfill(now, hop, packet);
            }
            Ending::Fulfilled(packet) | Ending::Rejected(packet) if is_live => {
                self.expect_answer(to, id_in, &packet);
            }
            Ending::Refused(refusal) if is_live => self.expect_refusal(core_in, to, id_in, refusal),
            Ending::Fulfilled(_) => {
                self.undelivered += 1;
                self.coverage.saw(Fault::Undelivered);
            }
            Ending::Rejected(_) => self.coverage.saw(Fault::RejectUndelivered),
            Ending::Refused(refusal) => {
                *self.refused.entry((core_in, refusal.name())).or_default() += 1;
                self.coverage.saw(Fault::RejectUndelivered);
            }
        }
        self.nodes[switch].accounts[account_in as usize].count_in -= 1;
    }

    /// A decided packet of another shard's account: its end must have been handed to that shard.
    pub(crate) fn expect_back(&mut self, hop: usize) {
        let back = self.log.backs.get(self.backs_seen);
        let (to, answer, range) = back.expect("equation 4: an Answer was dropped");
        self.backs_seen += 1;
        let Hop { switch, core_in, account_in, amount_in, state, .. } = &self.hops[hop];
        let first = self.nodes[*switch].first_core;
        assert!(usize::from(to.0) == core_in - first, "answer: it went to the wrong shard");
        let is_its = answer.account_in().0 == *account_in && answer.amount_in() == *amount_in;
        assert!(is_its, "answer: for another packet between shards");
        let State::Answering(ending) = state else {
            panic!("equation 4: an Answer for a packet that is not decided");
        };
        let packet: &[u8] = match ending {
            Ending::Fulfilled(packet) | Ending::Rejected(packet) => packet,
            Ending::Refused(_) => &[],
        };
        assert!(
            self.log.bytes[range.clone()] == *packet,
            "bytes: an answer changed between shards"
        );
        let is_fulfilled = matches!(ending, Ending::Fulfilled(_));
        assert!(answer.is_fulfilled() == is_fulfilled, "hold: the wrong end between shards");
        self.new_backs.push(hop);
    }

    pub(crate) fn connection(&self, account: u32, epoch: u32) -> ConnectionId {
        let epoch = epoch.try_into().expect("epochs begin at 1");
        ConnectionId { account: m2_core::AccountId(account), epoch }
    }
}
