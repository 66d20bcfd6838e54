//! The incoming half: everything that concerns the peer who sent the PREPARE.
//!
//! A request is admitted by one straight list of checks, each a refusal of its own; then money is
//! held and a `Forward` handed to the outgoing half, which may be another shard's. When its `Answer`
//! comes back, the hold becomes balance or is released, and the answer goes to the very connection
//! that asked.
//!
//! Invariants: an account's `in_flight_in` counts the packets whose `Forward` or `Answer` exists, and
//! those whose FULFILL is withheld; a snapshot of rates counts those that it converted until their
//! `Answer` is taken, and stays until there are none.

use core::ops::Range;

use arrayvec::ArrayVec;
use m2_codec::address;
use m2_codec::ilp::{self, Prepare};

use crate::account::{Account, Durability};
use crate::gate::LegIn;
use crate::ids::{AccountId, ConnectionId, Now, ShardId};
use crate::ledger::Words;
use crate::limits::{BATCH_MAX, EXHAUSTION_TOLD_EVERY_NS, EXHAUSTIONS_TOLD_MAX};
use crate::message::{Answer, Conversion, Forward, Notice, Origin, Outcome};
use crate::own;
use crate::rates::ConversionError;
use crate::refusal::Refusal;
use crate::switch::{Egress, Request, Response, Switch};
use crate::withheld::condition_head;

/// What a request is, before anything is decided about it.
pub(crate) struct Parsed<'a> {
    /// The PREPARE, unless its sender sends too many packets a second or it is none.
    prepare: Result<Prepare<&'a [u8]>, Refusal>,
    /// Where its destination's candidates stand among those of the vector.
    candidates: Range<usize>,
}

/// A PREPARE that is well-formed, in time, and to be routed: what the further checks look at.
struct Routable<'a> {
    connection: ConnectionId,
    request_id: u32,
    amount: u64,
    expires_at_ms: u64,
    condition: &'a [u8; 32],
    destination: &'a [u8],
    /// Of the destination, as in [`Parsed`].
    candidates: Range<usize>,
    /// An echo goes back to whom it came from.
    may_reflect: bool,
    /// The PREPARE as it came, or as we made it.
    packet: &'a [u8],
}

/// What admitting a PREPARE was decided with, and what its `Forward` will say.
struct Admission {
    account_out: AccountId,
    /// Whose it is.
    shard_out: ShardId,
    amount_out: u64,
    conversion: Conversion,
    expires_at_ms: u64,
}

impl Switch {
    /// Takes the packet bucket of each request's sender, before anything is read of it, and reads what is
    /// left. What these requests will need of memory, and the `answers` that come before them, is asked
    /// for on the way: so many misses at once that they overlap, and not so many that asking waits. It is
    /// put in a place of the caller's: a vector that is returned is copied, all of it, whatever it holds.
    pub(crate) fn parse<'a>(
        &mut self,
        now: Now,
        batch: &'a [Request<'_>],
        answers: &[Response<'_>],
        parsed: &mut ArrayVec<Parsed<'a>, BATCH_MAX>,
    ) {
        self.candidates.clear();
        let mut answered = answers.iter().map(|answer| answer.request_id);
        for (nth, request) in batch.iter().enumerate() {
            let account = &mut self.accounts[request.connection.account.index()];
            let prepare = if account.may_send_packet(request.connection, now) {
                Prepare::new_checked_cached(request.packet, &mut self.timestamps)
                    .map_err(|error| Refusal::InvalidPacket { error })
            } else {
                Err(Refusal::PacketRate)
            };
            let start = self.candidates.len();
            if let Ok(prepare) = &prepare {
                self.routes.put_candidates(prepare.destination(), &mut self.candidates);
                self.routes.prefetch(&self.candidates[start..]);
            }
            self.slots.prefetch_free(nth);
            answered.next().into_iter().for_each(|id| self.slots.prefetch(id));
            parsed.push(Parsed { prepare, candidates: start..self.candidates.len() });
        }
        answered.for_each(|id| self.slots.prefetch(id));
    }

    /// Takes a vector of requests that was parsed.
    pub(crate) fn take_requests(
        &mut self,
        now: Now,
        batch: &[Request<'_>],
        parsed: &[Parsed<'_>],
        egress: &mut impl Egress,
    ) {
        self.own_forwards = 0;
        for (request, parsed) in batch.iter().zip(parsed) {
            self.take_request(now, request, parsed, egress);
        }
        self.apply_answers(now, egress);
    }

    /// Takes a request: it is forwarded, or answered by us.
    pub(crate) fn take_request(
        &mut self,
        now: Now,
        request: &Request<'_>,
        parsed: &Parsed<'_>,
        egress: &mut impl Egress,
    ) {
        let &Request { connection, request_id, .. } = request;
        let account = &mut self.accounts[connection.account.index()];
        if !account.is_live(connection) {
            self.counters.requests_stale += 1;
            return;
        }
        account.counters.requests_in += 1;
        match self.admit(now, request, parsed, egress) {
            Ok(Admitted::Forwarded) => {}
            Ok(Admitted::Answered) => {
                self.counters.own_fulfills += 1;
                egress.answer(connection, request_id, &self.scratch);
            }
            Err(refusal) => {
                if refusal == Refusal::CreditExhausted {
                    self.note_exhaustion(now, connection.account, parsed);
                }
                self.refuse(refusal, connection, request_id, egress);
            }
        }
    }

    /// Has somebody hear of an account whose credit is used up, though not of each packet.
    #[cold]
    fn note_exhaustion(&mut self, now: Now, account: AccountId, parsed: &Parsed<'_>) {
        let amount = parsed.prepare.as_ref().map_or(0, Prepare::amount);
        let of = &mut self.accounts[account.index()];
        let (balance_max, _) = of.ledger.limits();
        let is_due = now.mono_ns >= of.exhaustion_told_again_ns;
        // One that is given no credit has none to use up.
        if balance_max == 0 || !is_due || self.notices.len() >= EXHAUSTIONS_TOLD_MAX {
            return;
        }
        of.exhaustion_told_again_ns = now.mono_ns.saturating_add(EXHAUSTION_TOLD_EVERY_NS);
        let Words { balance, prepaid, held_in, .. } = of.ledger.words();
        let owed = balance - prepaid;
        self.note(Notice::CreditExhausted { account, amount, owed, held_in, balance_max });
    }

    /// The checks that come before routing; requests to ourselves part here.
    fn admit(
        &mut self,
        now: Now,
        request: &Request<'_>,
        parsed: &Parsed<'_>,
        egress: &mut impl Egress,
    ) -> Result<Admitted, Refusal> {
        let &Request { connection, request_id, .. } = request;
        let account = &mut self.accounts[connection.account.index()];
        let prepare = parsed.prepare.as_ref().map_err(|refusal| *refusal)?;
        if now.utc_ms >= prepare.expires_at_ms() {
            return Err(Refusal::ExpiredOnArrival);
        }

        let destination = prepare.destination();
        let is_peer_request = destination.starts_with(b"peer.");
        let is_to_us = destination == self.config.own_address.as_bytes();
        if (is_peer_request || is_to_us) && !account.own_answers.try_take(1, now.mono_ns) {
            return Err(Refusal::OwnAnswerRate);
        }
        if is_peer_request {
            self.answer_peer_request(connection, prepare)?;
            return Ok(Admitted::Answered);
        }
        let routable = Routable {
            connection,
            request_id,
            amount: prepare.amount(),
            expires_at_ms: prepare.expires_at_ms(),
            condition: prepare.condition(),
            destination,
            candidates: parsed.candidates.clone(),
            may_reflect: self.config.reflect,
            packet: prepare.as_packet(),
        };
        if is_to_us {
            self.echo(now, prepare, routable, egress)?;
        } else {
            self.forward(now, &routable, egress)?;
        }
        Ok(Admitted::Forwarded)
    }

    /// Checks, holds, and hands the packet to the outgoing half.
    fn forward(
        &mut self,
        now: Now,
        packet: &Routable<'_>,
        egress: &mut impl Egress,
    ) -> Result<(), Refusal> {
        let admission = self.check_forward(now, packet, egress)?;
        let shard_out = admission.shard_out;
        let forward = self.hold_for(now, packet, admission);
        if shard_out == self.config.shard {
            self.own_forwards += 1;
            self.take_forward(now, forward, packet.packet, egress);
        } else {
            egress.forward(shard_out, forward, packet.packet);
        }
        Ok(())
    }

    /// Holds what the sender is to pay, and reserves a place for the answer: nothing here fails.
    fn hold_for(&mut self, now: Now, packet: &Routable<'_>, admission: Admission) -> Forward {
        let &Routable { connection, request_id, amount, condition, .. } = packet;
        let Admission { account_out, shard_out, amount_out, conversion, expires_at_ms } = admission;
        let remaining_ns = (expires_at_ms - now.utc_ms) * 1_000_000;
        self.newest_rates().in_flight += 1;
        let answer_room = &mut self.answer_rooms[shard_out.index()];
        let answer_place = answer_room.reserve().expect("check_forward() found room");
        let account = &mut self.accounts[connection.account.index()];
        if let Some(bucket) = &mut account.amount {
            bucket.take(amount);
        }
        account.in_flight_in += 1;
        Forward {
            hold_in: account.ledger.hold_in(amount),
            origin: Origin { answer_place, connection, request_id, conversion },
            account_out,
            amount_out,
            condition: *condition,
            expires_at_ms,
            deadline_ns: now.mono_ns + remaining_ns,
        }
    }

    /// Every check of the incoming half, in order. Writes nothing.
    fn check_forward(
        &mut self,
        now: Now,
        packet: &Routable<'_>,
        egress: &impl Egress,
    ) -> Result<Admission, Refusal> {
        let &Routable { connection, amount, destination, .. } = packet;
        if !self.config.network.serves(address::scheme(destination)) {
            return Err(Refusal::SchemeNotServed);
        }
        let limits = self.accounts[connection.account.index()].config.limits;
        let maximum = limits.packet_amount_max;
        if amount > maximum {
            return Err(Refusal::PacketAmount { received: amount, maximum });
        }
        let account_out =
            self.next_hop(destination, packet.candidates.clone()).ok_or(Refusal::NoRoute)?;
        if account_out == connection.account && !packet.may_reflect {
            return Err(Refusal::BackToSender);
        }
        let (amount_out, conversion) = self.convert(connection, account_out, amount)?;
        let expires_at_ms = self.shortened_expiry(now, packet.expires_at_ms)?;
        if self.draining {
            return Err(Refusal::Draining);
        }
        let account = &mut self.accounts[connection.account.index()];
        if account.config.durability != Durability::None && !self.gate.admits() {
            return Err(Refusal::JournalUnavailable);
        }
        if account.in_flight_in >= limits.in_flight_packets_max {
            return Err(Refusal::CountInFull);
        }
        if past_value_cap(account.ledger.held_in(), amount, limits.in_flight_value_max) {
            return Err(Refusal::ValueInFull);
        }
        let shard_out = self.accounts[account_out.index()].config.shard;
        let forward_room = if shard_out == self.config.shard {
            self.own_forwards < self.config.rings.forwards
        } else {
            egress.forward_room(shard_out)
        };
        if !forward_room {
            return Err(Refusal::ForwardRingFull);
        }
        if !self.answer_rooms[shard_out.index()].has_room() {
            return Err(Refusal::AnswerRingFull);
        }
        let account = &mut self.accounts[connection.account.index()];
        account.ledger.check_hold_in(amount).map_err(|_| Refusal::CreditExhausted)?;
        if account.amount.as_mut().is_some_and(|bucket| !bucket.has(amount, now.mono_ns)) {
            return Err(Refusal::MoneyRate);
        }
        Ok(Admission { account_out, shard_out, amount_out, conversion, expires_at_ms })
    }

    fn next_hop(&self, destination: &[u8], candidates: Range<usize>) -> Option<AccountId> {
        self.routes.longest(destination, &self.candidates[candidates])
    }

    fn convert(
        &self,
        connection: ConnectionId,
        account_out: AccountId,
        amount: u64,
    ) -> Result<(u64, Conversion), Refusal> {
        let from = self.accounts[connection.account.index()].config.asset;
        let to = self.accounts[account_out.index()].config.asset;
        let rates = &self.rate_books.back().expect("one snapshot is always there").rates;
        if rates.pair_count() == 0 {
            return Err(Refusal::NoRate);
        }
        let amount_out = rates.convert(from, to, amount).map_err(|error| match error {
            ConversionError::NoRate => Refusal::NoRate,
            ConversionError::TooSmall => Refusal::ConvertedTooSmall,
            ConversionError::TooLarge { maximum } => {
                Refusal::ConvertedTooLarge { received: amount, maximum }
            }
        })?;
        let pair = u32::try_from(rates.pair(from, to)).expect("u16 x u16 pairs at most");
        Ok((amount_out, Conversion { rate_version: rates.version(), pair }))
    }

    /// What the next hop is given: the margin is ours, to bring the FULFILL back in time.
    fn shortened_expiry(&self, now: Now, expires_at_ms: u64) -> Result<u64, Refusal> {
        let margin_ms = u64::from(self.config.expiry_margin_ms);
        let hold_ms_max = u64::from(self.config.hold_ms_max);
        let shortened = expires_at_ms.saturating_sub(margin_ms).min(now.utc_ms + hold_ms_max);
        let earliest = now.utc_ms + u64::from(self.config.remaining_ms_min);
        if shortened < earliest || shortened <= now.utc_ms {
            return Err(Refusal::ExpiryTooShort);
        }
        Ok(shortened)
    }

    /// Puts the FULFILL for a `peer.*` request into the scratch buffer.
    fn answer_peer_request(
        &mut self,
        connection: ConnectionId,
        prepare: &Prepare<&[u8]>,
    ) -> Result<(), Refusal> {
        let account = &self.accounts[connection.account.index()];
        self.scratch.clear();
        own::answer_peer_request(prepare, account, &mut self.scratch)?;
        Ok(())
    }

    /// Turns an echo request into the PREPARE that goes back, and forwards it: same money, same lock,
    /// same time.
    fn echo(
        &mut self,
        now: Now,
        prepare: &Prepare<&[u8]>,
        request: Routable<'_>,
        egress: &mut impl Egress,
    ) -> Result<(), Refusal> {
        let source = own::echo_source(prepare.data(), self.config.own_address.as_bytes())?;
        let first = self.candidates.len();
        self.routes.put_candidates(source, &mut self.candidates);
        let mut built = core::mem::take(&mut self.built);
        built.clear();
        ilp::put_prepare(
            &mut built,
            prepare.amount(),
            prepare.expires_at(),
            prepare.condition(),
            source,
            own::ECHO_ANSWER,
        );
        let echo = Routable {
            destination: source,
            candidates: first..self.candidates.len(),
            may_reflect: true,
            packet: &built,
            ..request
        };
        let forwarded = self.forward(now, &echo, egress);
        self.built = built;
        forwarded
    }

    /// Ends every packet that this shard's outgoing half has ended by itself.
    pub(crate) fn apply_answers(&mut self, now: Now, egress: &mut impl Egress) {
        while let Some(answer) = self.answers.pop_front() {
            self.pass_answer(now, answer, &[], egress);
        }
    }

    /// Ends a packet, or hands its `Answer` to the shard that sent its `Forward`. `packet` is the FULFILL
    /// or REJECT to pass on.
    pub(crate) fn pass_answer(
        &mut self,
        now: Now,
        answer: Answer,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        let shard_in = self.accounts[answer.account_in().index()].config.shard;
        if shard_in == self.config.shard {
            self.apply_answer(now, answer, packet, egress);
        } else {
            egress.give_back(shard_in, answer, packet);
        }
    }

    /// Ends a packet. `packet` is the FULFILL or REJECT to pass on.
    pub(crate) fn apply_answer(
        &mut self,
        now: Now,
        answer: Answer,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        let is_fulfilled = answer.is_fulfilled();
        let Answer { hold_in, origin, shard_out, amount_out, outcome } = answer;
        let Origin { answer_place, connection, request_id, conversion } = origin;
        let amount = hold_in.amount();
        self.answer_rooms[shard_out.index()].give_back(answer_place);
        self.count_converted(conversion, amount, is_fulfilled.then_some(amount_out));
        let account = &mut self.accounts[connection.account.index()];
        assert!(account.in_flight_in > 0, "a packet counts until its answer is given");
        let is_live = account.is_live(connection);
        if is_fulfilled {
            account.ledger.commit_in(hold_in);
            count_fulfilled(account, amount);
        } else {
            account.ledger.release_in(hold_in);
        }
        if let Outcome::Recorded(recorded) = outcome {
            let position = recorded.position;
            let leg = LegIn { stream: shard_out, position, connection, request_id, amount };
            return self.pass_fulfill(now, leg, recorded, packet, egress);
        }
        account.in_flight_in -= 1;
        match outcome {
            Outcome::Fulfilled | Outcome::Rejected if is_live => {
                account.counters.rejects_out += u64::from(!is_fulfilled);
                egress.answer(connection, request_id, packet);
            }
            Outcome::Fulfilled => {
                let condition_head = condition_head(packet);
                self.note_undelivered(connection, request_id, amount, condition_head);
            }
            Outcome::Refused(refusal) if is_live => {
                self.refuse(refusal, connection, request_id, egress);
            }
            Outcome::Refused(refusal) => self.counters.count(&refusal),
            Outcome::Rejected | Outcome::Recorded(_) => {}
        }
    }

    /// A packet that was converted has ended. If it was fulfilled, it adds to the totals of its two
    /// assets, with what rounding kept of it.
    fn count_converted(&mut self, conversion: Conversion, amount_in: u64, amount_out: Option<u64>) {
        let Conversion { rate_version, pair } = conversion;
        let pair = pair as usize;
        let mut books = self.rate_books.iter_mut().rev();
        let book = books
            .find(|book| book.rates.version() == rate_version)
            .expect("a snapshot stays while packets converted by it are in flight");
        assert!(book.in_flight > 0, "a packet counts at its rates until its answer is taken");
        book.in_flight -= 1;
        if let Some(amount_out) = amount_out {
            let remainder = book.rates.remainder(pair, amount_in, amount_out);
            book.remainders[pair] += u128::from(remainder);
            let total = &mut self.pair_totals[pair];
            total.amount_in += u128::from(amount_in);
            total.amount_out += u128::from(amount_out);
        }
        if self.rate_books.len() > 1 {
            self.fold_old_rates();
        }
    }
}

/// What became of a request at once.
enum Admitted {
    /// A `Forward` is on its way.
    Forwarded,
    /// The scratch buffer has its FULFILL.
    Answered,
}

/// Whether `amount` more in flight would pass the account's cap, if it has one.
pub(crate) fn past_value_cap(held: i128, amount: u64, cap: Option<u64>) -> bool {
    amount != 0 && cap.is_some_and(|cap| held + i128::from(amount) > i128::from(cap))
}

fn count_fulfilled(account: &mut Account, amount: u64) {
    account.counters.fulfills_out += 1;
    account.counters.amount_fulfilled_in += u128::from(amount);
}
