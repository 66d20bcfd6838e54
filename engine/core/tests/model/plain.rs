//! The plain model: a list of packets, and five words an account of which two are summed anew each
//! time. It knows positions only as sums of what was fulfilled, credited, reversed and settled.

use std::collections::{BTreeMap, HashSet};

use m2_codec::ilp::ErrorCode;
use m2_core::ledger::Words;
use m2_core::{AccountId, ConnectionId, Now, Rings, Settle};

use crate::history::{ACCOUNTS, Ask, Says};
use crate::support::xrp_for_two;

pub(crate) const SLOTS: u32 = 6;
/// Request ids are generation and index; six slots take three bits of index.
pub(crate) const INDEX_MASK: u32 = 7;
pub(crate) const RINGS: Rings = Rings { forwards: 3, answers: 7, records: 9 };
/// When accounts 1 and 2 are paid by themselves.
pub(crate) const SETTLE: [Settle; 2] =
    [Settle { threshold: 30, to: 10 }, Settle { threshold: 1, to: 0 }];
pub(crate) const MARGIN_MS: u64 = 1_000;
pub(crate) const REMAINING_MS_MIN: u64 = 1_000;
pub(crate) const HOLD_MS_MAX: u64 = 8_000;
pub(crate) const PACKET_AMOUNT_MAX: u64 = 50;
pub(crate) const IN_FLIGHT_MAX: usize = 4;
pub(crate) const VALUE_MAX: i128 = 90;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    InFlight,
    Fulfilled,
    NotFulfilled { evidence_taken: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: ConnectionId,
    pub(crate) id_in: u32,
    pub(crate) to: ConnectionId,
    pub(crate) id_out: u32,
    pub(crate) amount_in: u64,
    pub(crate) amount_out: u64,
    pub(crate) rate_version: u32,
    pub(crate) deadline_ns: u64,
    pub(crate) preimage: [u8; 32],
    pub(crate) state: State,
}

/// What the switch should send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    Prepare { to: (u32, u32), amount: u64, expires_at_ms: u64, preimage_byte: u8 },
    Fulfill { to: (u32, u32), id: u32 },
    Reject { to: (u32, u32), id: u32, code: ErrorCode },
}

pub(crate) fn key(connection: ConnectionId) -> (u32, u32) {
    (connection.account.0, connection.epoch.get())
}

pub(crate) struct Model {
    /// Everything ever forwarded, oldest first.
    pub(crate) packets: Vec<Packet>,
    /// `balance`, `frozen`, `prepaid`; what is held is summed from the packets.
    pub(crate) words: Vec<Words>,
    /// What fulfilled packets, credits, reversals and settled amounts add up to.
    pub(crate) positions: Vec<i128>,
    pub(crate) limits: Vec<(i128, i128)>,
    pub(crate) links: Vec<Option<ConnectionId>>,
    pub(crate) full: HashSet<u32>,
    pub(crate) draining: bool,
    pub(crate) records_waiting: usize,
    pub(crate) unmatched: u64,
    pub(crate) late: u64,
    pub(crate) undelivered: u64,
    pub(crate) reflect: bool,
    pub(crate) rate_version: u32,
    /// By version of the rates and direction (0 is from USD to XRP): amounts in and out.
    pub(crate) pairs: BTreeMap<(u32, usize), (u128, u128)>,
    pub(crate) now: Now,
    pub(crate) next_id: u32,
}

impl Model {
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(|packet| packet.state == State::InFlight)
    }

    pub(crate) fn held_in(&self, account: u32, waiting: &[Forward]) -> i128 {
        let flying = self.in_flight().filter(|packet| packet.from.account.0 == account);
        let waiting = waiting.iter().filter(|forward| forward.from.account.0 == account);
        flying.map(|packet| i128::from(packet.amount_in)).sum::<i128>()
            + waiting.map(|forward| i128::from(forward.amount_in)).sum::<i128>()
    }

    pub(crate) fn held_out(&self, account: u32) -> i128 {
        let flying = self.in_flight().filter(|packet| packet.to.account.0 == account);
        flying.map(|packet| i128::from(packet.amount_out)).sum()
    }

    pub(crate) fn words(&self) -> Vec<Words> {
        let words = |account: u32| Words {
            held_in: self.held_in(account, &[]),
            held_out: self.held_out(account),
            ..self.words[account as usize]
        };
        (0..ACCOUNTS).map(words).collect()
    }

    /// The incoming half's checks, as a list of conditions.
    pub(crate) fn refuses_in(
        &self,
        ask: &Ask,
        waiting: &[Forward],
    ) -> Result<(u64, u64), ErrorCode> {
        let Ask { from, to, amount, expires_in_ms } = *ask;
        let words = &self.words[from as usize];
        let held = self.held_in(from, waiting);
        let owed = words.balance - words.prepaid + held + i128::from(amount);
        let count = self.in_flight().filter(|packet| packet.from.account.0 == from).count()
            + waiting.iter().filter(|forward| forward.from.account.0 == from).count();
        let xrp = xrp_for_two(self.rate_version);
        let amount_out = match (from % 2, to % 2) {
            (0, 1) => amount * xrp / 2,
            (1, 0) => amount * 2 / xrp,
            _ => amount,
        };
        let lasts_ms = expires_in_ms.saturating_sub(MARGIN_MS).min(HOLD_MS_MAX);
        let refusals = [
            (expires_in_ms == 0, ErrorCode::R02_INSUFFICIENT_TIMEOUT),
            (amount > PACKET_AMOUNT_MAX, ErrorCode::F08_AMOUNT_TOO_LARGE),
            (from == to && !self.reflect, ErrorCode::F02_UNREACHABLE),
            (amount > 0 && amount_out == 0, ErrorCode::R01_INSUFFICIENT_SOURCE_AMOUNT),
            (lasts_ms < REMAINING_MS_MIN, ErrorCode::R02_INSUFFICIENT_TIMEOUT),
            (self.draining, ErrorCode::T03_CONNECTOR_BUSY),
            (count >= IN_FLIGHT_MAX, ErrorCode::T03_CONNECTOR_BUSY),
            (
                amount > 0 && held + i128::from(amount) > VALUE_MAX,
                ErrorCode::T04_INSUFFICIENT_LIQUIDITY,
            ),
            (waiting.len() >= RINGS.forwards, ErrorCode::T03_CONNECTOR_BUSY),
            (
                self.in_flight().count() + waiting.len() >= RINGS.answers,
                ErrorCode::T03_CONNECTOR_BUSY,
            ),
            (
                amount > 0 && owed > self.limits[from as usize].0,
                ErrorCode::T04_INSUFFICIENT_LIQUIDITY,
            ),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, code)) => Err(code),
            None => Ok((amount_out, lasts_ms)),
        }
    }

    /// What is to be frozen of an account, as it has come to its threshold.
    pub(crate) fn due(&self, account: usize) -> Option<i128> {
        let Settle { threshold, to } = *SETTLE.get(account.checked_sub(1)?)?;
        let Words { balance, frozen, .. } = self.words[account];
        let is_due = frozen == 0 && -balance >= i128::from(threshold);
        is_due.then(|| -balance - i128::from(to))
    }

    /// Each packet in flight has a place for its record.
    pub(crate) fn has_record_room(&self) -> bool {
        self.in_flight().count() + self.records_waiting < RINGS.records
    }

    /// The outgoing half's checks, as a list of conditions.
    pub(crate) fn refuses_out(&self, forward: &Forward) -> Result<ConnectionId, ErrorCode> {
        let to = forward.to;
        let amount = i128::from(forward.amount_out);
        let words = &self.words[to as usize];
        let held = self.held_out(to);
        let flying = self.in_flight().count();
        let refusals = [
            (self.links[to as usize].is_none(), ErrorCode::T01_PEER_UNREACHABLE),
            (self.full.contains(&to), ErrorCode::T02_PEER_BUSY),
            (
                self.in_flight().filter(|packet| packet.to.account.0 == to).count()
                    >= IN_FLIGHT_MAX,
                ErrorCode::T03_CONNECTOR_BUSY,
            ),
            (amount > 0 && held + amount > VALUE_MAX, ErrorCode::T04_INSUFFICIENT_LIQUIDITY),
            (flying >= SLOTS as usize, ErrorCode::T03_CONNECTOR_BUSY),
            (!self.has_record_room(), ErrorCode::T03_CONNECTOR_BUSY),
            (
                amount > 0
                    && held - words.balance + words.frozen + amount > self.limits[to as usize].1,
                ErrorCode::T04_INSUFFICIENT_LIQUIDITY,
            ),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, code)) => Err(code),
            None => Ok(self.links[to as usize].expect("the first refusal is for none")),
        }
    }

    /// A REJECT toward the sender of a packet, if the connection it came on still lives.
    pub(crate) fn reject_to(&self, to: ConnectionId, id: u32, code: ErrorCode) -> Option<Expected> {
        let live = self.links[to.account.index()] == Some(to);
        live.then_some(Expected::Reject { to: key(to), id, code })
    }

    /// What should come of a FULFILL in time: both legs.
    pub(crate) fn fulfill(&mut self, nth: usize) -> Option<Expected> {
        let packet = &mut self.packets[nth];
        packet.state = State::Fulfilled;
        let packet = packet.clone();
        let (from, to) = (packet.from.account.index(), packet.to.account.index());
        let (amount_in, amount_out) = (i128::from(packet.amount_in), i128::from(packet.amount_out));
        let from_prepaid = amount_in.min(self.words[from].prepaid);
        // What goes to the next hop is committed first; sender and next hop may be one account.
        self.words[to].balance -= amount_out;
        self.words[from].prepaid -= from_prepaid;
        self.words[from].balance += amount_in - from_prepaid;
        self.positions[from] += amount_in;
        self.positions[to] -= amount_out;
        self.records_waiting += 1;
        if from % 2 != to % 2 {
            let pair = self.pairs.entry((packet.rate_version, from % 2)).or_default();
            pair.0 += u128::from(packet.amount_in);
            pair.1 += u128::from(packet.amount_out);
        }
        if self.links[from] == Some(packet.from) {
            return Some(Expected::Fulfill { to: key(packet.from), id: packet.id_in });
        }
        self.undelivered += 1;
        None
    }

    pub(crate) fn end(
        &mut self,
        nth: usize,
        code: ErrorCode,
        evidence_taken: bool,
    ) -> Option<Expected> {
        self.packets[nth].state = State::NotFulfilled { evidence_taken };
        let packet = &self.packets[nth];
        self.reject_to(packet.from, packet.id_in, code)
    }

    /// What should come of one answer.
    pub(crate) fn answer(&mut self, nth: usize, says: Says, on: ConnectionId) -> Option<Expected> {
        let packet = self.packets[nth].clone();
        let reused = self.packets[nth + 1..]
            .iter()
            .any(|newer| newer.id_out & INDEX_MASK == packet.id_out & INDEX_MASK);
        if reused || on != packet.to {
            self.unmatched += 1;
            return None;
        }
        match packet.state {
            State::InFlight if self.now.mono_ns >= packet.deadline_ns => {
                let expected = self.end(nth, ErrorCode::R00_TRANSFER_TIMED_OUT, false);
                self.late_answer(nth, says);
                expected
            }
            State::InFlight => match says {
                Says::Fulfill => self.fulfill(nth),
                Says::Reject => self.end(nth, ErrorCode::F99_APPLICATION_ERROR, false),
                Says::WrongFulfill => self.end(nth, ErrorCode::F05_WRONG_CONDITION, false),
                Says::Garbage => self.end(nth, ErrorCode::T01_PEER_UNREACHABLE, false),
            },
            _ => {
                self.late_answer(nth, says);
                None
            }
        }
    }

    pub(crate) fn late_answer(&mut self, nth: usize, says: Says) {
        let packet = &mut self.packets[nth];
        if packet.state == (State::NotFulfilled { evidence_taken: false })
            && matches!(says, Says::Fulfill)
        {
            packet.state = State::NotFulfilled { evidence_taken: true };
            self.late += 1;
            if self.has_record_room() {
                self.records_waiting += 1;
            }
        } else {
            self.unmatched += 1;
        }
    }
}

pub(crate) trait IndexForTests {
    fn index(self) -> usize;
}

impl IndexForTests for AccountId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Admitted by the incoming half, not yet seen by the outgoing one.
pub(crate) struct Forward {
    pub(crate) from: ConnectionId,
    pub(crate) id_in: u32,
    pub(crate) to: u32,
    pub(crate) amount_in: u64,
    pub(crate) amount_out: u64,
    pub(crate) lasts_ms: u64,
    pub(crate) preimage: [u8; 32],
}
