//! The outgoing half: everything that concerns the next hop, and who alone decides how a packet
//! ends.
//!
//! A `Forward` is checked, gets a hold, a slot and a record reserved, and leaves with its amount,
//! expiry and request id rewritten. Its answer, its expiry or the loss of an unsent frame ends it,
//! whichever comes first, and every `Forward` gets exactly one `Answer`, be it of this shard's
//! incoming half or of another's.
//!
//! Invariants: an account's `in_flight_out` counts the slots toward it; a commit needs nothing that
//! was not reserved before the hold.

use arrayvec::ArrayVec;
use m2_codec::ilp::{self, ForwardedPrepare, Fulfill, PacketType, Reject};

use crate::account::{Durability, Limits};
use crate::ids::{AccountId, ConnectionId, Now};
use crate::incoming::past_value_cap;
use crate::limits::BATCH_MAX;
use crate::message::{Answer, Forward, Notice, Outcome, Recorded};
use crate::record::{LateFulfill, PairRecord, Record};
use crate::refusal::Refusal;
use crate::slots::{After, Pending, Slot};
use crate::switch::{Egress, Response, ResponseBody, Switch, SwitchConfig};

impl Switch {
    /// Sends the packet of a `Forward` to its next hop, or answers why not.
    pub(crate) fn take_forward(
        &mut self,
        now: Now,
        forward: Forward,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        match self.check_outgoing(now, &forward, egress) {
            Ok(connection_out) => self.send_prepare(now, forward, connection_out, packet, egress),
            Err(refusal) => {
                let Forward { hold_in, origin, amount_out, .. } = forward;
                let (shard_out, outcome) = (self.config.shard, Outcome::Refused(refusal));
                let answer = Answer { hold_in, origin, shard_out, amount_out, outcome };
                self.answers.push_back(answer);
            }
        }
    }

    /// Every check of the outgoing half, in order. Writes nothing.
    fn check_outgoing(
        &mut self,
        now: Now,
        forward: &Forward,
        egress: &impl Egress,
    ) -> Result<ConnectionId, Refusal> {
        let account = &self.accounts[forward.account_out.index()];
        let Limits { in_flight_packets_max, in_flight_value_max, .. } = account.config.limits;
        let amount = forward.amount_out;
        if now.mono_ns >= forward.deadline_ns {
            return Err(Refusal::TimedOutBetweenShards);
        }
        let connection_out = account.connection().ok_or(Refusal::LinkDown)?;
        if !egress.below_half(connection_out) {
            return Err(Refusal::EgressBusy);
        }
        if account.in_flight_out >= in_flight_packets_max {
            return Err(Refusal::CountOutFull);
        }
        if past_value_cap(account.ledger.held_out(), amount, in_flight_value_max) {
            return Err(Refusal::ValueOutFull);
        }
        if !self.slots.has_room(now.mono_ns) {
            return Err(Refusal::NoSlot);
        }
        if self.wants_record(forward) && !self.records.has_room() {
            return Err(Refusal::NoRecord);
        }
        account.ledger.check_hold_out(amount).map_err(|_| Refusal::PayableExceeded)?;
        Ok(connection_out)
    }

    /// Holds, takes a slot, rewrites and sends: nothing here fails.
    fn send_prepare(
        &mut self,
        now: Now,
        forward: Forward,
        connection_out: ConnectionId,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        let record_place = self
            .wants_record(&forward)
            .then(|| self.records.reserve().expect("check_outgoing() found room"));
        let account = &mut self.accounts[forward.account_out.index()];
        account.in_flight_out += 1;
        account.counters.prepares_out += 1;
        let pending = Pending {
            hold_in: forward.hold_in,
            hold_out: account.ledger.hold_out(forward.amount_out),
            origin: forward.origin,
            record_place,
        };
        let expires_at = self.timestamps.write(forward.expires_at_ms);
        let Forward { amount_out, condition, deadline_ns, .. } = forward;
        let id = self.slots.insert(now.mono_ns, condition, deadline_ns, connection_out, pending);
        egress.prepare(connection_out, id, ForwardedPrepare::new(packet, amount_out, expires_at));
    }

    /// Whether a pair of this packet would be recorded.
    fn wants_record(&self, forward: &Forward) -> bool {
        self.accounts[forward.account_in().index()].config.durability != Durability::None
    }

    /// Takes a vector of answers.
    pub(crate) fn take_responses(
        &mut self,
        now: Now,
        batch: &[Response<'_>],
        egress: &mut impl Egress,
    ) {
        let mut judged = ArrayVec::new();
        self.judge(batch, &mut judged);
        for (response, judged) in batch.iter().zip(&judged) {
            self.take_response(now, response, judged, egress);
        }
    }

    /// What each answer of a vector says, and to which slot. Their hash locks are tried together.
    fn judge(&self, batch: &[Response<'_>], judged: &mut ArrayVec<Judged, BATCH_MAX>) {
        let mut locks = Locks::default();
        for response in batch {
            let slot = self.slots.find(response.request_id);
            let verdict = read(&response.body).map(|(verdict, fulfillment)| {
                if let (Some(slot), Some(fulfillment)) = (slot, fulfillment) {
                    locks.fulfillments.push(fulfillment);
                    locks.conditions.push(&self.slots.get(slot).condition);
                }
                verdict
            });
            judged.push(Judged { slot, verdict });
        }
        let mut opens = self.hash_locks.opens(&locks.fulfillments, &locks.conditions);
        let tried = |one: &&mut Judged| {
            one.slot.is_some() && matches!(one.verdict, Ok(Verdict::Fulfill { .. }))
        };
        for one in judged.iter_mut().filter(tried) {
            if opens & 1 == 0 {
                one.verdict = Err(Refusal::WrongFulfillment);
            }
            opens >>= 1;
        }
    }

    /// Takes an answer: it ends its packet, or changes nothing.
    fn take_response(
        &mut self,
        now: Now,
        response: &Response<'_>,
        judged: &Judged,
        egress: &mut impl Egress,
    ) {
        let account = response.connection.account.index();
        let Some(slot_index) = judged.slot else {
            self.counters.answers_unknown += 1;
            self.accounts[account].counters.unmatched_answers += 1;
            return;
        };
        let slot = self.slots.get(slot_index);
        if slot.connection_out != response.connection {
            self.counters.answers_foreign += 1;
            self.accounts[account].counters.unmatched_answers += 1;
            return;
        }
        if !slot.in_flight() {
            self.take_late(now, slot_index, response, judged.verdict);
        } else if now.mono_ns >= slot.deadline_ns {
            // Its time is up, though no tick has come since.
            let answer = self.release(slot_index, After::Evidence, Refusal::TimedOut);
            self.accounts[account].counters.expired += 1;
            self.pass_answer(now, answer, &[], egress);
            self.take_late(now, slot_index, response, judged.verdict);
        } else {
            self.decide(now, slot_index, response, judged.verdict, egress);
        }
    }

    /// An answer in time, on the right connection, for a packet in flight.
    fn decide(
        &mut self,
        now: Now,
        slot_index: u32,
        response: &Response<'_>,
        verdict: Result<Verdict, Refusal>,
        egress: &mut impl Egress,
    ) {
        let counters = &mut self.accounts[response.connection.account.index()].counters;
        match verdict {
            Ok(Verdict::Fulfill { len }) => {
                counters.fulfills_in += 1;
                let answer = self.commit(now, slot_index);
                self.pass_answer(now, answer, response.body.leading(len), egress);
            }
            Ok(Verdict::Reject { len }) => {
                counters.rejects_in += 1;
                let answer = self.end(slot_index, After::Evidence, Outcome::Rejected);
                self.pass_answer(now, answer, response.body.leading(len), egress);
            }
            Err(refusal) => {
                counters.wrong_fulfillments += u64::from(refusal == Refusal::WrongFulfillment);
                let answer = self.release(slot_index, After::Evidence, refusal);
                self.pass_answer(now, answer, &[], egress);
            }
        }
    }

    /// Both legs become balance: this one here, the other where the `Answer` is taken; one record,
    /// if the sender's account wants records.
    fn commit(&mut self, now: Now, slot_index: u32) -> Answer {
        let Slot { condition, deadline_ns, .. } = self.slots.get(slot_index);
        let (condition_head, grace_ns) = (head_of(condition), self.grace_ns(*deadline_ns));
        let Pending { hold_in, hold_out, origin, record_place } =
            self.slots.take(slot_index, After::Nothing);
        let (amount_out, account_out) = (hold_out.amount(), hold_out.account());
        let account = &mut self.accounts[account_out.index()];
        account.in_flight_out -= 1;
        account.counters.amount_fulfilled_out += u128::from(amount_out);
        account.ledger.commit_out(hold_out);
        if account.ledger.is_due() {
            self.note_due(account_out);
        }
        self.counters.pairs_fulfilled += 1;

        let outcome = match record_place {
            None => Outcome::Fulfilled,
            Some(place) => {
                let record = PairRecord {
                    amount_in: hold_in.amount(),
                    amount_out,
                    decided_at_ms: now.utc_ms,
                    condition_head,
                    account_in: hold_in.account(),
                    account_out,
                    rate_version: origin.conversion.rate_version,
                    durability: self.accounts[hold_in.account().index()].config.durability,
                };
                let position = self.append(place, Record::Pair(record));
                self.note_leg_out(position, account_out, amount_out);
                Outcome::Recorded(Recorded { position, grace_ns })
            }
        };
        Answer { hold_in, origin, shard_out: self.config.shard, amount_out, outcome }
    }

    /// What we owe the next hop is not durable yet.
    fn note_leg_out(&mut self, position: u64, account_out: AccountId, amount_out: u64) {
        self.accounts[account_out.index()].unrecorded_out.add(amount_out);
        if !self.gate.has_failed() {
            self.legs_out.push_back((position, account_out, amount_out));
        }
    }

    /// When a FULFILL goes to its sender without its record: so long before the sender's own expiry,
    /// which lies behind the deadline that the next hop was given by the margin or more.
    fn grace_ns(&self, deadline_ns: u64) -> u64 {
        let SwitchConfig { expiry_margin_ms, sync_grace_ms, .. } = self.config;
        let expiry_ns = deadline_ns + u64::from(expiry_margin_ms) * 1_000_000;
        expiry_ns.saturating_sub(u64::from(sync_grace_ms) * 1_000_000)
    }

    /// Nothing is owed on either leg, and we say why.
    fn release(&mut self, slot_index: u32, after: After, refusal: Refusal) -> Answer {
        self.end(slot_index, after, Outcome::Refused(refusal))
    }

    /// Nothing is owed on either leg.
    fn end(&mut self, slot_index: u32, after: After, outcome: Outcome) -> Answer {
        let Pending { hold_in, hold_out, origin, record_place } =
            self.slots.take(slot_index, after);
        let amount_out = hold_out.amount();
        let account = &mut self.accounts[hold_out.account().index()];
        account.in_flight_out -= 1;
        account.ledger.release_out(hold_out);
        if let Some(place) = record_place {
            self.records.give_back(place);
        }
        Answer { hold_in, origin, shard_out: self.config.shard, amount_out, outcome }
    }

    /// An answer for a packet that has ended. It changes no ledger; a FULFILL that hashes right for
    /// a packet that we did not pay is kept as evidence, once.
    fn take_late(
        &mut self,
        now: Now,
        slot_index: u32,
        response: &Response<'_>,
        verdict: Result<Verdict, Refusal>,
    ) {
        let is_wanted = self.slots.get(slot_index).after == After::Evidence;
        let fulfillment = match verdict {
            Ok(Verdict::Fulfill { .. }) if is_wanted => fulfillment_of(&response.body),
            _ => {
                self.counters.answers_duplicate += 1;
                self.accounts[response.connection.account.index()].counters.unmatched_answers += 1;
                return;
            }
        };
        self.slots.close(slot_index);
        let evidence = LateFulfill {
            connection: response.connection,
            request_id: self.slots.id_of(slot_index),
            came_at_ms: now.utc_ms,
            fulfillment,
        };
        self.counters.late_fulfills += 1;
        self.accounts[response.connection.account.index()].counters.late_fulfills += 1;
        let place = self.records.reserve();
        let recorded = place.is_some();
        match place {
            Some(place) => {
                self.append(place, Record::LateFulfill(evidence));
            }
            None => self.counters.late_fulfills_unrecorded += 1,
        }
        self.note(Notice::LateFulfill { evidence, recorded });
    }

    /// Ends packets whose deadline has passed, at most as many as stand in a vector: a million that
    /// expire together must not keep answers that came in time from being taken in time.
    pub(crate) fn expire_due(&mut self, now: Now) {
        let mut from = 0;
        for _ in 0..BATCH_MAX {
            let Some(index) = self.slots.find_due(from, now.mono_ns) else { return };
            from = index;
            let account = self.slots.get(index).connection_out.account;
            self.accounts[account.index()].counters.expired += 1;
            let answer = self.release(index, After::Evidence, Refusal::TimedOut);
            self.answers.push_back(answer);
        }
    }

    /// Ends a packet that never left.
    pub(crate) fn unsent_out(&mut self, now: Now, connection: ConnectionId, request_id: u32) {
        let Some(index) = self.slots.find(request_id) else { return };
        let slot = self.slots.get(index);
        if slot.connection_out != connection || !slot.in_flight() {
            return;
        }
        let refusal = if now.mono_ns >= slot.deadline_ns {
            self.accounts[connection.account.index()].counters.expired += 1;
            Refusal::TimedOut
        } else {
            Refusal::NotSent
        };
        let answer = self.release(index, After::Nothing, refusal);
        self.answers.push_back(answer);
    }
}

/// What an answer says, by its bytes and the hash lock alone.
///
/// The hash lock is that of the slot at hand when its vector was judged. No slot gets another packet
/// before the whole vector is taken: only requests put packets into slots.
#[derive(Clone, Copy)]
struct Judged {
    /// That gave out its request id.
    slot: Option<u32>,
    verdict: Result<Verdict, Refusal>,
}

/// `len` is that of the packet; bytes that follow it go no further (protocol rule A7).
#[derive(Clone, Copy)]
enum Verdict {
    Fulfill { len: usize },
    Reject { len: usize },
}

/// Fulfillments of a vector and the conditions that they are to open.
#[derive(Default)]
struct Locks<'a> {
    fulfillments: ArrayVec<&'a [u8; 32], BATCH_MAX>,
    conditions: ArrayVec<&'a [u8; 32], BATCH_MAX>,
}

/// What an answer says by its bytes alone, and the fulfillment, if it has one.
fn read<'a>(body: &ResponseBody<'a>) -> Result<(Verdict, Option<&'a [u8; 32]>), Refusal> {
    let bytes = match body {
        ResponseBody::Packet(bytes) => *bytes,
        ResponseBody::Empty => return Err(Refusal::MalformedAnswer),
        ResponseBody::ErrorTemporary => return Err(Refusal::LinkErrorTemporary),
        ResponseBody::ErrorOther => return Err(Refusal::LinkErrorOther),
    };
    match ilp::packet_type(bytes) {
        Some(PacketType::Fulfill) => {
            let fulfill = Fulfill::new_checked(bytes).map_err(|_| Refusal::MalformedAnswer)?;
            let verdict = Verdict::Fulfill { len: fulfill.packet_len() };
            Ok((verdict, Some(fulfill.fulfillment())))
        }
        Some(PacketType::Reject) => {
            let reject = Reject::new_checked(bytes).map_err(|_| Refusal::MalformedAnswer)?;
            Ok((Verdict::Reject { len: reject.packet_len() }, None))
        }
        _ => Err(Refusal::MalformedAnswer),
    }
}

/// What a record has of a condition.
fn head_of(condition: &[u8; 32]) -> [u8; 16] {
    *condition.first_chunk().expect("32 bytes begin with 16")
}

/// The preimage of a response that was judged to be a FULFILL.
fn fulfillment_of(body: &ResponseBody<'_>) -> [u8; 32] {
    let ResponseBody::Packet(bytes) = body else {
        unreachable!("a FULFILL has bytes");
    };
    *Fulfill::new_checked(bytes).expect("judge() has read it").fulfillment()
}
