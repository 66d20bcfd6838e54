//! What must come of a Forward, of answers, of time, and of frames that never left: the outgoing
//! half, who alone decides how a packet ends.

use core::ops::Range;

use m2_codec::ilp::{self, Fulfill, PacketType, Reject};
use m2_core::{ConnectionId, Durability, JournalState, Now, Refusal};

use crate::books::{Ending, Hop, State, Written};
use crate::coverage::Fault;
use crate::endpoint::sha256;
use crate::net::Net;

/// An answer as it was handed to a core.
#[derive(Clone, Debug)]
pub(crate) struct ResponseIn {
    pub(crate) connection: ConnectionId,
    pub(crate) request_id: u32,
    pub(crate) says: Says,
}

/// What kind of answer.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Packet(Range<usize>),
    Empty,
    ErrorTemporary,
    ErrorOther,
}

/// What an answer says of a packet.
struct Said {
    hop: usize,
    /// How the packet ends by it, if it was in flight.
    ending: Option<Ending>,
    /// It hashes right, and does not count.
    opens_late: bool,
}

impl Net {
    /// The outgoing half's checks on a packet in state `Forwarding`. Whether it left; if not, its
    /// answer is decided.
    pub(crate) fn judge_outgoing(&mut self, core: usize, now: Now, hop: usize) -> bool {
        match self.foretell_outgoing(core, now, hop) {
            Ok(epoch) => {
                self.leave(core, hop, epoch);
                true
            }
            Err(refusal) => {
                self.hops[hop].packet = Vec::new();
                self.decide(hop, Ending::Refused(refusal));
                false
            }
        }
    }

    fn foretell_outgoing(&mut self, core: usize, now: Now, hop: usize) -> Result<u32, Refusal> {
        let Hop { switch, account_out, amount_out, deadline_ns, core_out, .. } = self.hops[hop];
        let leaves_record = self.leaves_record(hop);
        assert!(core_out == core, "hold: a Forward was taken by the wrong shard");
        if now.mono_ns >= deadline_ns {
            self.coverage.saw(Fault::ForwardExpired);
            return Err(Refusal::TimedOutBetweenShards);
        }
        let plan = &self.plan.switches[switch];
        let account = &self.nodes[switch].accounts[account_out as usize];
        let epoch = account.live.ok_or(Refusal::LinkDown)?;
        let room = self.log.rooms.get(self.rooms_seen);
        let (asked, has_room) = *room.expect("refusal: nobody looked at the next hop's egress");
        self.rooms_seen += 1;
        let is_its = asked.account.0 == account_out && asked.epoch.get() == epoch;
        assert!(
            is_its,
            "refusal: the egress of {asked:?} was looked at, not that of {account_out}"
        );
        let limits = &account.plan.limits;
        let shard = &self.shards[core];
        let (words, more) = (&account.words, i128::from(amount_out));
        let value_max = limits.in_flight_value_max.map_or(i128::MAX, i128::from);
        let payable = words.held_out - words.balance + words.frozen + more;
        let refusals = [
            (!has_room, Refusal::EgressBusy),
            (account.count_out >= limits.in_flight_packets_max, Refusal::CountOutFull),
            (amount_out > 0 && words.held_out + more > value_max, Refusal::ValueOutFull),
            (shard.flying.len() >= plan.slots as usize, Refusal::NoSlot),
            (leaves_record && !self.has_record_room(core), Refusal::NoRecord),
            (amount_out > 0 && payable > account.payable_max, Refusal::PayableExceeded),
        ];
        match refusals.into_iter().find(|(is_so, _)| *is_so) {
            Some((_, refusal)) => Err(refusal),
            None => Ok(epoch),
        }
    }

    fn leave(&mut self, core: usize, hop: usize, epoch: u32) {
        let Hop { switch, account_out, amount_out, deadline_ns, .. } = self.hops[hop];
        let to = self.connection(account_out, epoch);
        let id_out = self.expect_prepare(hop, to);
        let account = &mut self.nodes[switch].accounts[account_out as usize];
        account.words.held_out += i128::from(amount_out);
        account.count_out += 1;
        let wire_out = account.wires[epoch as usize - 1];
        self.touched.push((switch, account_out));
        let leaves_record = self.leaves_record(hop);
        let shard = &mut self.shards[core];
        shard.places += usize::from(leaves_record);
        let other = shard.flying.insert(id_out, hop);
        assert!(other.is_none(), "hold: two packets in flight under one request id");
        shard.by_id.insert(id_out, hop);
        let slot = id_out & (self.plan.switches[switch].slots.next_power_of_two() - 1);
        if let Some(before) = shard.by_slot.insert(slot, hop) {
            // What was kept of it is gone.
            let before = &mut self.hops[before];
            assert!(before.state != State::Flying, "hold: two packets in one slot");
            before.wants_evidence = false;
        }
        shard.due.insert((deadline_ns, hop));
        let it = &mut self.hops[hop];
        it.state = State::Flying;
        (it.epoch_out, it.wire_out, it.id_out) = (epoch, wire_out, id_out);
        it.packet = Vec::new();
    }

    /// Judges a Forward taken out of the ring between two shards.
    pub(crate) fn judge_forwarded(&mut self, core: usize, now: Now, hop: usize) {
        if now.mono_ns < self.hops[hop].held_ns {
            self.coverage.saw(Fault::ClockBehind);
        }
        if !self.judge_outgoing(core, now, hop) {
            self.expect_back(hop);
        }
        self.expect_no_more();
    }

    /// Judges an Answer taken out of the ring from that shard.
    pub(crate) fn judge_answered(&mut self, core: usize, now: Now, from: usize, hop: usize) {
        let hop = self.twin(core, from, hop);
        self.take_answer(now, hop);
        self.expect_no_more();
    }

    /// Packets of one account and amount that expired together are told apart only where they are
    /// answered: the one of them that the answer is for.
    fn twin(&mut self, core: usize, from: usize, hop: usize) -> usize {
        let timed_out = State::Answering(Ending::Refused(Refusal::TimedOut));
        let answer = self.log.answers.first().map(|(to, request_id, _)| (*to, *request_id));
        let fits = |hop: usize| {
            let Hop { account_in, epoch_in, id_in, .. } = self.hops[hop];
            let to = self.connection(account_in, epoch_in);
            answer.map_or_else(|| !self.is_live(to), |answer| answer == (to, id_in))
        };
        if self.hops[hop].state != timed_out || fits(hop) {
            return hop;
        }
        let it = &self.hops[hop];
        let is_twin = |other: &&crate::net::AnswerItem| {
            let other_hop = &self.hops[other.hop];
            other_hop.state == timed_out
                && (other_hop.account_in, other_hop.amount_in) == (it.account_in, it.amount_in)
                && fits(other.hop)
        };
        let Some(place) = self.shards[core].answers[from].iter().position(|item| is_twin(&item))
        else {
            return hop;
        };
        core::mem::replace(&mut self.shards[core].answers[from][place].hop, hop)
    }

    /// Judges a vector of answers.
    pub(crate) fn judge_responses(
        &mut self,
        core: usize,
        now: Now,
        batch: &[ResponseIn],
        bytes: &[u8],
    ) {
        let mut ended = Vec::new();
        for response in batch {
            let packet: &[u8] = match &response.says {
                Says::Packet(range) => &bytes[range.clone()],
                _ => &[],
            };
            let Some(Said { hop, ending, opens_late }) =
                self.foretell_response(core, now, response, packet)
            else {
                continue;
            };
            if let Some(ending) = ending {
                self.finish(now, hop, ending);
                ended.push(hop);
            }
            if opens_late && self.hops[hop].wants_evidence {
                self.keep_evidence(core, hop);
            }
        }
        self.pass_on(now, &ended);
        self.expect_no_more();
    }

    /// What an answer says, if it is for a packet that left on this very connection. It ends one that
    /// is in flight, as it says if it came in time.
    fn foretell_response(
        &mut self,
        core: usize,
        now: Now,
        response: &ResponseIn,
        packet: &[u8],
    ) -> Option<Said> {
        let hop = *self.shards[core].by_id.get(&response.request_id)?;
        let Hop { switch, account_out, epoch_out, wire_out, id_out, tag, .. } = self.hops[hop];
        if response.connection != self.connection(account_out, epoch_out) {
            return None;
        }
        if self.nodes[switch].accounts[account_out as usize].live != Some(epoch_out) {
            self.coverage.saw(Fault::OldAnswer);
        }
        let judged = judge(response, packet, &self.hops[hop].condition);
        let is_right = matches!(judged, Ending::Fulfilled(_));
        let is_flying = self.hops[hop].state == State::Flying;
        if is_flying && now.mono_ns < self.hops[hop].deadline_ns {
            return Some(Said { hop, ending: Some(judged), opens_late: false });
        }
        // Too late, or a second one: it changes no ledger.
        if is_flying && now.mono_ns == self.hops[hop].deadline_ns {
            self.coverage.saw(Fault::AtDeadline);
        }
        if is_right {
            let link = self.wires[wire_out].link;
            if let Some(open) = self.links[link].open.get_mut(&(wire_out, id_out, tag)) {
                open.is_late = true;
            }
        }
        let ending = is_flying.then_some(Ending::Refused(Refusal::TimedOut));
        Some(Said { hop, ending, opens_late: is_right })
    }

    /// A late FULFILL is evidence: once, and it leaves a record if one is free.
    fn keep_evidence(&mut self, core: usize, hop: usize) {
        self.hops[hop].wants_evidence = false;
        self.late_count += 1;
        if self.has_record_room(core) {
            self.write(core, Written::Late(hop));
        }
    }

    /// Every packet whose time is up has ended, in whatever order; `true` if all was as it must be.
    pub(crate) fn judge_ticks(&mut self, core: usize, now: Now) {
        let due: Vec<usize> =
            self.shards[core].due.range(..(now.mono_ns + 1, 0)).map(|(_, hop)| *hop).collect();
        for hop in &due {
            self.finish(now, *hop, Ending::Refused(Refusal::TimedOut));
        }
        // They came in an order of the core's: each goes with the packet that it fits.
        let mut left = due;
        let mut overdue = self.overdue(core, now);
        while let Some((to, request_id, range)) = self.log.answers.get(self.answers_seen).cloned() {
            if ilp::packet_type(&self.log.bytes[range]) == Some(PacketType::Fulfill) {
                self.take_overdue(&mut overdue, to, request_id);
                continue;
            }
            let fits = |hop: &usize| {
                let Hop { account_in, epoch_in, id_in, core_in, .. } = self.hops[*hop];
                core_in == core
                    && self.connection(account_in, epoch_in) == to
                    && id_in == request_id
            };
            let Some(found) = left.iter().position(fits) else { break };
            let hop = left.swap_remove(found);
            self.take_answer(now, hop);
        }
        while let Some((to, answer, _)) = self.log.backs.get(self.backs_seen) {
            let (shard, account, amount) = (to.0, answer.account_in().0, answer.amount_in());
            let fits = |hop: &usize| {
                let Hop { switch, account_in, amount_in, core_in, .. } = self.hops[*hop];
                core_in != core
                    && core_in - self.nodes[switch].first_core == usize::from(shard)
                    && (account_in, amount_in) == (account, amount)
            };
            let Some(found) = left.iter().position(fits) else { break };
            let hop = left.swap_remove(found);
            self.expect_back(hop);
        }
        // What is left has a sender whose connection is gone, or an answer was forgotten.
        self.pass_on(now, &left);
        self.judge_left(overdue);
        self.expect_no_more();
    }

    /// Judges a frame that was called back before a byte of it was sent.
    pub(crate) fn judge_unsent(&mut self, core: usize, now: Now, to: ConnectionId, id: u32) {
        let hop = self.shards[core].flying.get(&id).copied();
        if let Some(hop) = hop {
            let Hop { account_out, epoch_out, deadline_ns, .. } = self.hops[hop];
            if self.connection(account_out, epoch_out) == to {
                self.coverage.saw(Fault::NeverSent);
                let is_late = now.mono_ns >= deadline_ns;
                let refusal = if is_late { Refusal::TimedOut } else { Refusal::NotSent };
                self.finish(now, hop, Ending::Refused(refusal));
                self.hops[hop].wants_evidence = false;
                self.pass_on(now, &[hop]);
            }
        }
        self.expect_no_more();
    }

    /// Whether a packet leaves a record if it is fulfilled.
    fn leaves_record(&self, hop: usize) -> bool {
        let Hop { switch, account_in, .. } = self.hops[hop];
        self.durability(switch, account_in) != Durability::None
    }

    /// Decided packets go to their senders: here, or by the ring to their shard.
    fn pass_on(&mut self, now: Now, ended: &[usize]) {
        for hop in ended {
            let Hop { core_in, core_out, .. } = self.hops[*hop];
            if core_in == core_out { self.take_answer(now, *hop) } else { self.expect_back(*hop) }
        }
    }

    /// A packet in flight ends: its slot is free, and what was held for the next hop is balance or
    /// nothing.
    fn finish(&mut self, now: Now, hop: usize, ending: Ending) {
        let it = &mut self.hops[hop];
        it.decided_at_ms = now.utc_ms;
        let is_fulfilled = matches!(ending, Ending::Fulfilled(_));
        it.wants_evidence = !is_fulfilled;
        let &mut Hop { switch, core_out, account_in, account_out, id_out, .. } = it;
        let &mut Hop { amount_in, amount_out, wire_out, tag, deadline_ns, .. } = it;
        self.decide(hop, ending);
        let leaves_record = self.leaves_record(hop);
        let shard = &mut self.shards[core_out];
        shard.places -= usize::from(leaves_record);
        shard.flying.remove(&id_out);
        shard.due.remove(&(deadline_ns, hop));
        let node = &mut self.nodes[switch];
        let account = &mut node.accounts[account_out as usize];
        account.words.held_out -= i128::from(amount_out);
        account.count_out -= 1;
        self.touched.push((switch, account_out));
        if !is_fulfilled {
            return;
        }
        account.words.balance -= i128::from(amount_out);
        if leaves_record {
            account.unrecorded_out.add(amount_out);
            if shard.journal != JournalState::Failed {
                shard.undurable_out.push_back(hop);
            }
        }
        account.position -= i128::from(amount_out);
        let asset_out = usize::from(account.asset);
        let asset_in = usize::from(node.accounts[account_in as usize].asset);
        self.totals[asset_in].pairs_in += i128::from(amount_in);
        self.totals[asset_in].in_rings += i128::from(amount_in);
        self.totals[asset_out].pairs_out += i128::from(amount_out);
        if leaves_record {
            let position = self.write(core_out, Written::Pair(hop));
            self.hops[hop].position = Some(position);
        } else {
            self.totals[asset_in].unwritten_in += i128::from(amount_in);
            self.totals[asset_out].unwritten_out += i128::from(amount_out);
        }
        let was_open = self.close(wire_out, id_out, tag, amount_out);
        assert!(was_open, "equation 3: a switch pays what its peer has not counted");
    }
}

/// What an answer says, by its bytes and the hash lock alone.
fn judge(response: &ResponseIn, packet: &[u8], condition: &[u8; 32]) -> Ending {
    let refusal = match response.says {
        Says::Empty => Refusal::MalformedAnswer,
        Says::ErrorTemporary => Refusal::LinkErrorTemporary,
        Says::ErrorOther => Refusal::LinkErrorOther,
        Says::Packet(_) => match ilp::packet_type(packet) {
            Some(PacketType::Fulfill) => match Fulfill::new_checked(packet) {
                Ok(fulfill) if sha256(fulfill.fulfillment()) == *condition => {
                    return Ending::Fulfilled(packet[..fulfill.packet_len()].to_vec());
                }
                Ok(_) => Refusal::WrongFulfillment,
                Err(_) => Refusal::MalformedAnswer,
            },
            Some(PacketType::Reject) => match Reject::new_checked(packet) {
                Ok(reject) => return Ending::Rejected(packet[..reject.packet_len()].to_vec()),
                Err(_) => Refusal::MalformedAnswer,
            },
            _ => Refusal::MalformedAnswer,
        },
    };
    Ending::Refused(refusal)
}
