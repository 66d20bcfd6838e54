//! How a FULFILL that a record stands for gets to its sender: at once, when the record is durable, or
//! when it cannot wait any longer.
//!
//! The ledger is committed when the `Answer` is taken, whatever becomes of the FULFILL. While it waits
//! it counts in its account's `in_flight_in`: so a slow disk ends in T03, and never in more FULFILLs
//! than fit. A FULFILL that has waited is given only while its link's egress is under half of its cap;
//! else it waits in its account's backlog until there is room, so that what a slow disk lets go at
//! once closes no link, and a peer that does not read waits alone.
//!
//! Invariant: each FULFILL is given once, on the very connection that its PREPARE came from, or
//! counted as undelivered once.

use std::collections::VecDeque;

use m2_codec::ilp::Fulfill;

use crate::bytes::{Bytes, Span};
use crate::gate::{JournalState, LegIn, Passage};
use crate::ids::{AccountId, ConnectionId, Now, ShardId};
use crate::limits::BATCH_MAX;
use crate::message::{Notice, Recorded};
use crate::switch::{Egress, Switch};
use crate::verify::sha256_of_32;

/// A FULFILL that went to its sender before its record was durable: a crash may forget what it says
/// we are owed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnrecordedFulfill {
    /// In whose stream its record stands.
    pub stream: ShardId,
    /// Where.
    pub position: u64,
    /// Where the PREPARE came from.
    pub connection: ConnectionId,
    /// Under which id.
    pub request_id: u32,
    /// What its sender owes us, in units of its account.
    pub amount: u64,
    /// First 16 bytes of its condition, as in its record: by them the sender's books name it too.
    pub condition_head: [u8; 16],
    /// Why it did not wait.
    pub why: Unrecorded,
}

/// See [`UnrecordedFulfill`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unrecorded {
    /// Its sender's expiry was near.
    Grace,
    /// The journal had failed.
    Failed,
}

/// Legs of packets: how many, and what they add up to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Legs {
    /// How many.
    pub count: u64,
    /// Units of the account.
    pub value: u128,
}

impl Legs {
    pub(crate) fn add(&mut self, amount: u64) {
        self.count += 1;
        self.value += u128::from(amount);
    }

    pub(crate) fn sub(&mut self, amount: u64) {
        assert!(self.count > 0, "a leg counts until it is recorded, or given");
        self.count -= 1;
        self.value -= u128::from(amount);
    }
}

/// FULFILLs that may go and wait for room in the egress of their link.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    fulfills: VecDeque<(LegIn, Span)>,
    bytes: Bytes,
}

impl Backlog {
    fn push(&mut self, leg: LegIn, packet: &[u8]) {
        let span = self.bytes.push(packet);
        self.fulfills.push_back((leg, span));
    }

    fn pop(&mut self) -> Option<(LegIn, Span)> {
        let (leg, span) = self.fulfills.pop_front()?;
        self.bytes.free(span);
        Some((leg, span))
    }

    pub(crate) fn legs(&self) -> impl Iterator<Item = &LegIn> {
        self.fulfills.iter().map(|(leg, _)| leg)
    }
}

impl Switch {
    /// All records of a stream below `position` are durable: what waited for them is given out. A
    /// position that is not above the last one changes nothing, and none does when the journal has
    /// failed.
    ///
    /// # Panics
    ///
    /// If the stream is this shard's own and has no such record.
    pub fn durable(&mut self, stream: ShardId, position: u64, egress: &mut impl Egress) {
        let is_own = stream == self.config.shard;
        assert!(!is_own || position <= self.appended, "what is durable was appended before");
        if !self.gate.advance(stream, position) {
            return;
        }
        while let Some((leg, fulfill)) = self.gate.take_durable(stream) {
            self.account_of(&leg).unrecorded_in.sub(leg.amount);
            if let Some(fulfill) = fulfill {
                self.let_go(leg, fulfill, egress);
            }
        }
        while is_own && let Some((account, amount)) = self.take_recorded_out(position) {
            self.accounts[account.index()].unrecorded_out.sub(amount);
        }
    }

    /// What can be expected of the journal from now on. Once it has failed it stays so, and
    /// [`Self::tick`] gives out what is withheld, at most [`BATCH_MAX`] at a time.
    pub fn set_journal(&mut self, state: JournalState) {
        self.gate.set_journal(state);
    }

    /// The egress of this connection is under half of its cap: gives out what waited for that.
    /// [`Self::waits_for_room`] tells whether anything does.
    pub fn room(&mut self, connection: ConnectionId, egress: &mut impl Egress) {
        let account = &mut self.accounts[connection.account.index()];
        while account.is_live(connection)
            && egress.below_half(connection)
            && let Some((leg, span)) = account.backlog.pop()
        {
            assert!(leg.connection == connection, "a backlog goes with its connection");
            egress.answer(connection, leg.request_id, account.backlog.bytes.get(span));
            account.given(&leg);
            self.gate.backlogged -= 1;
            self.gate.count_given(span.len());
        }
    }

    /// Whether FULFILLs to this connection wait for room in its egress.
    #[must_use]
    pub fn waits_for_room(&self, connection: ConnectionId) -> bool {
        !self.accounts[connection.account.index()].backlog.fulfills.is_empty()
    }

    /// Takes out what was given to its sender without a durable record, each once. What accounts that
    /// are `Async` put at risk is not told here, it is counted by account.
    pub fn drain_unrecorded(&mut self, take: impl FnMut(UnrecordedFulfill)) {
        self.unrecorded.drain(..).for_each(take);
    }

    /// The `Answer` of a pair that leaves a record has been taken: its FULFILL goes on, or waits.
    pub(crate) fn pass_fulfill(
        &mut self,
        now: Now,
        leg: LegIn,
        recorded: Recorded,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        let applied = &mut self.applied[leg.stream.index()];
        assert!(leg.position >= *applied, "rings keep the order of a stream");
        *applied = leg.position + 1;

        let account = &mut self.accounts[leg.connection.account.index()];
        let durability = account.config.durability;
        let passage = self.gate.judge(now.mono_ns, durability, leg.stream, recorded);
        if passage != Passage::Durable {
            account.unrecorded_in.add(leg.amount);
        }
        let is_live = account.is_live(leg.connection);
        match passage {
            Passage::Withheld if is_live => {
                account.withheld.add(leg.amount);
                return self.gate.withhold(now.mono_ns, leg, recorded.grace_ns, packet);
            }
            Passage::Withheld | Passage::AtRisk | Passage::Graced => {
                self.gate.note(now.mono_ns, leg);
            }
            Passage::Durable | Passage::Unrecorded => {}
        }
        account.in_flight_in -= 1;
        if !is_live {
            let LegIn { connection, request_id, amount, .. } = leg;
            return self.note_undelivered(connection, request_id, amount, condition_head(packet));
        }
        egress.answer(leg.connection, leg.request_id, packet);
        match passage {
            Passage::Graced => {
                self.note_unrecorded(&leg, condition_head(packet), Unrecorded::Grace);
            }
            Passage::Unrecorded => {
                self.note_unrecorded(&leg, condition_head(packet), Unrecorded::Failed);
            }
            _ => {}
        }
    }

    /// Gives out what cannot wait any longer, at most as many as stand in a vector.
    pub(crate) fn release_due(&mut self, now: Now, egress: &mut impl Egress) {
        if self.gate.has_failed() {
            return self.release_all(egress);
        }
        let mut from = (0, 0);
        for _ in 0..BATCH_MAX {
            let due = self.gate.take_due(&mut from, now.mono_ns);
            let Some((leg, fulfill)) = due else { return };
            self.give_unrecorded(leg, fulfill, Unrecorded::Grace, egress);
        }
    }

    /// Nothing will be durable any more.
    fn release_all(&mut self, egress: &mut impl Egress) {
        for _ in 0..BATCH_MAX {
            match self.gate.take_any() {
                Some((leg, Some(fulfill))) => {
                    self.give_unrecorded(leg, fulfill, Unrecorded::Failed, egress);
                }
                Some((_, None)) => {}
                None => return,
            }
        }
    }

    fn give_unrecorded(
        &mut self,
        leg: LegIn,
        fulfill: Span,
        why: Unrecorded,
        egress: &mut impl Egress,
    ) {
        if self.account_of(&leg).is_live(leg.connection) {
            let condition_head = condition_head(self.gate.bytes(leg.stream, fulfill));
            self.note_unrecorded(&leg, condition_head, why);
        }
        self.let_go(leg, fulfill, egress);
    }

    /// Gives a FULFILL that was withheld to its sender, as soon as there is room.
    fn let_go(&mut self, leg: LegIn, fulfill: Span, egress: &mut impl Egress) {
        let LegIn { stream, connection, request_id, .. } = leg;
        let account = &mut self.accounts[connection.account.index()];
        let packet = self.gate.bytes(stream, fulfill);
        let is_live = account.is_live(connection);
        if is_live && !(account.backlog.fulfills.is_empty() && egress.below_half(connection)) {
            account.backlog.push(leg, packet);
            self.gate.backlogged += 1;
            return;
        }
        let lost = (!is_live).then(|| condition_head(packet));
        if is_live {
            egress.answer(connection, request_id, packet);
        }
        account.given(&leg);
        self.gate.count_given(fulfill.len());
        if let Some(condition_head) = lost {
            self.note_undelivered(leg.connection, leg.request_id, leg.amount, condition_head);
        }
    }

    /// The connection that an account's backlog waited for is gone.
    pub(crate) fn drop_backlog(&mut self, account: AccountId) {
        while let Some((leg, span)) = self.accounts[account.index()].backlog.pop() {
            let backlog = &self.accounts[account.index()].backlog;
            let condition_head = condition_head(backlog.bytes.get(span));
            self.account_of(&leg).given(&leg);
            self.gate.backlogged -= 1;
            self.gate.count_given(span.len());
            self.note_undelivered(leg.connection, leg.request_id, leg.amount, condition_head);
        }
    }

    pub(crate) fn note_undelivered(
        &mut self,
        connection: ConnectionId,
        request_id: u32,
        amount: u64,
        condition_head: [u8; 16],
    ) {
        self.accounts[connection.account.index()].counters.undelivered_fulfills += 1;
        self.counters.undelivered_fulfills += 1;
        self.note(Notice::Undelivered { connection, request_id, amount, condition_head });
    }

    fn note_unrecorded(&mut self, leg: &LegIn, condition_head: [u8; 16], why: Unrecorded) {
        let LegIn { stream, position, connection, request_id, amount } = *leg;
        match why {
            Unrecorded::Grace => self.counters.fulfills_graced += 1,
            Unrecorded::Failed => self.counters.fulfills_unrecorded += 1,
        }
        self.unrecorded.push(UnrecordedFulfill {
            stream,
            position,
            connection,
            request_id,
            amount,
            condition_head,
            why,
        });
    }

    /// The first outgoing leg of this shard's stream, if it is durable now.
    fn take_recorded_out(&mut self, durable: u64) -> Option<(AccountId, u64)> {
        let (position, account, amount) = *self.legs_out.front()?;
        if position >= durable {
            return None;
        }
        self.legs_out.pop_front();
        Some((account, amount))
    }

    fn account_of(&mut self, leg: &LegIn) -> &mut crate::account::Account {
        &mut self.accounts[leg.connection.account.index()]
    }
}

/// What the record of a FULFILL that we were given has of its condition.
pub(crate) fn condition_head(packet: &[u8]) -> [u8; 16] {
    let fulfill = Fulfill::new_checked(packet).expect("only a FULFILL that was checked is kept");
    let condition = sha256_of_32(fulfill.fulfillment());
    *condition.first_chunk().expect("a condition has 32 bytes")
}
