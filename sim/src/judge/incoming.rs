//! What must come of a vector of requests: the incoming half's checks as a list of conditions, in
//! the order of ARCHITECTURE.md, and what its holds do to the books.

use core::ops::Range;

use m2_codec::address::{self, Scheme};
use m2_codec::ilp::{self, Prepare};
use m2_codec::{ildcp, oer};
use m2_core::{ConnectionId, Durability, JournalState, Now, Refusal, Relation};

use crate::books::{Ending, Hop, State};
use crate::coverage::Fault;
use crate::endpoint::head;
use crate::net::Net;
use crate::port::Log;
use crate::tariff::NoWorth;

/// A request as it was handed to a core.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) connection: ConnectionId,
    pub(crate) request_id: u32,
    pub(crate) range: Range<usize>,
}

/// What must become of a request.
enum Verdict {
    /// Nothing: its connection is not the account's any more.
    Stale,
    Refused(Refusal),
    /// The FULFILL of a peer protocol.
    Told(Vec<u8>),
    Forwarded(Box<Hop>),
}

/// A PREPARE on its way to the checks that money has.
struct Routable<'a> {
    amount: u64,
    expires_at_ms: u64,
    destination: &'a [u8],
    condition: [u8; 32],
    packet: Vec<u8>,
    may_reflect: bool,
}

const ECHO: &[u8] = b"ECHOECHOECHOECHO";

impl Net {
    /// Judges a vector of requests.
    pub(crate) fn judge_requests(&mut self, core: usize, now: Now, inputs: &[Input], bytes: &[u8]) {
        let mut local = Vec::new();
        self.take_packet_tokens(core, now, inputs);
        for input in inputs {
            let Input { connection, request_id, .. } = input;
            match self.foretell_request(core, now, input, &bytes[input.range.clone()], local.len())
            {
                Verdict::Stale => self.coverage.saw(Fault::StaleRequest),
                Verdict::Refused(refusal) => {
                    self.expect_refusal(core, *connection, *request_id, refusal);
                }
                Verdict::Told(fulfill) => self.expect_answer(*connection, *request_id, &fulfill),
                Verdict::Forwarded(hop) => {
                    let hop = self.hold_in(*hop);
                    if self.hops[hop].core_out == core {
                        local.push(hop);
                    } else {
                        self.expect_forward(core, hop);
                    }
                }
            }
        }
        let mut refused = Vec::new();
        for hop in local {
            if !self.judge_outgoing(core, now, hop) {
                refused.push(hop);
            }
        }
        for hop in refused {
            self.take_answer(now, hop);
        }
        self.expect_no_more();
    }

    /// Every request of a live connection costs a token, whatever it is.
    fn take_packet_tokens(&mut self, core: usize, now: Now, inputs: &[Input]) {
        self.unpaid.clear();
        let node = &mut self.nodes[self.shards[core].switch];
        for input in inputs {
            let account = &mut node.accounts[input.connection.account.0 as usize];
            let is_live = account.live == Some(input.connection.epoch.get());
            let mut is_paid = true;
            if let Some(tokens) = account.packets.as_mut().filter(|_| is_live) {
                is_paid = tokens.has(1, now.mono_ns);
                if is_paid {
                    tokens.take(1, now.mono_ns);
                }
            }
            self.unpaid.push(!is_paid);
        }
        self.unpaid.reverse();
    }

    fn foretell_request(
        &mut self,
        core: usize,
        now: Now,
        input: &Input,
        bytes: &[u8],
        waiting: usize,
    ) -> Verdict {
        let switch = self.shards[core].switch;
        let is_unpaid = self.unpaid.pop().expect("one for each request");
        let account = &mut self.nodes[switch].accounts[input.connection.account.0 as usize];
        if account.live != Some(input.connection.epoch.get()) {
            return Verdict::Stale;
        }
        if is_unpaid {
            return Verdict::Refused(Refusal::PacketRate);
        }
        let prepare = match Prepare::new_checked(bytes) {
            Ok(prepare) => prepare,
            Err(error) => return Verdict::Refused(Refusal::InvalidPacket { error }),
        };
        if now.utc_ms >= prepare.expires_at_ms() {
            return Verdict::Refused(Refusal::ExpiredOnArrival);
        }
        let own = format!("test.s{switch}");
        let is_peer = prepare.destination().starts_with(b"peer.");
        let is_own = prepare.destination() == own.as_bytes();
        if is_peer || is_own {
            if !account.own.has(1, now.mono_ns) {
                return Verdict::Refused(Refusal::OwnAnswerRate);
            }
            account.own.take(1, now.mono_ns);
        }
        if is_peer {
            return self.foretell_peer(switch, input, &prepare);
        }
        let mut routable = Routable {
            amount: prepare.amount(),
            expires_at_ms: prepare.expires_at_ms(),
            destination: prepare.destination(),
            condition: *prepare.condition(),
            packet: bytes[..prepare.packet_len()].to_vec(),
            may_reflect: self.plan.switches[switch].reflect,
        };
        if is_own {
            let source = match echo_source(prepare.data(), own.as_bytes()) {
                Ok(source) => source,
                Err(refusal) => return Verdict::Refused(refusal),
            };
            let (amount, condition) = (prepare.amount(), prepare.condition());
            routable.packet.clear();
            let data = [ECHO, &[1]].concat();
            let out = &mut routable.packet;
            ilp::put_prepare(out, amount, prepare.expires_at(), condition, source, &data);
            routable.destination = source;
            routable.may_reflect = true;
        }
        match self.admit(core, now, input, routable, waiting) {
            Ok(hop) => Verdict::Forwarded(Box::new(hop)),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    fn foretell_peer(&self, switch: usize, input: &Input, prepare: &Prepare<&[u8]>) -> Verdict {
        let account = &self.nodes[switch].accounts[input.connection.account.0 as usize];
        let refusals = [
            (prepare.amount() != 0, Refusal::PeerProtocolAmount),
            (prepare.destination() != b"peer.config", Refusal::PeerProtocolUnknown),
            (*prepare.condition() != ildcp::PEER_CONDITION, Refusal::PeerProtocolCondition),
            (account.plan.relation != Relation::Child, Refusal::NotAChild),
        ];
        if let Some((_, refusal)) = refusals.into_iter().find(|(is_so, _)| *is_so) {
            return Verdict::Refused(refusal);
        }
        let asset = &self.plan.assets[usize::from(account.asset)];
        let mut data = Vec::new();
        let address = format!("test.s{switch}.a{}", input.connection.account.0);
        oer::put_octet_string(&mut data, address.as_bytes());
        data.push(asset.scale);
        oer::put_octet_string(&mut data, asset.code.as_bytes());
        let mut fulfill = Vec::new();
        ilp::put_fulfill(&mut fulfill, &[0; 32], &data);
        Verdict::Told(fulfill)
    }

    /// The checks from routing on, in order; `waiting` is how many of the vector go to the shard's own
    /// outgoing half already.
    fn admit(
        &mut self,
        core: usize,
        now: Now,
        input: &Input,
        packet: Routable<'_>,
        waiting: usize,
    ) -> Result<Hop, Refusal> {
        let switch = self.shards[core].switch;
        let plan = &self.plan.switches[switch];
        let node = &self.nodes[switch];
        let shard = &self.shards[core];
        let account_in = input.connection.account.0;
        let account = &node.accounts[account_in as usize];
        let limits = &account.plan.limits;
        let amount = packet.amount;

        if address::scheme(packet.destination) != Scheme::Test {
            return Err(Refusal::SchemeNotServed);
        }
        if amount > limits.packet_amount_max {
            let maximum = limits.packet_amount_max;
            return Err(Refusal::PacketAmount { received: amount, maximum });
        }
        let ways = &node.ways[shard.table];
        let account_out = ways.next_hop(packet.destination).ok_or(Refusal::NoRoute)?;
        if account_out == account_in && !packet.may_reflect {
            return Err(Refusal::BackToSender);
        }
        let out = &node.accounts[account_out as usize];
        let tariff = &node.tariffs[shard.version as usize - 1];
        let converted = tariff.convert(account.asset, out.asset, amount);
        let amount_out = converted.map_err(|error| match error {
            NoWorth::Unknown => Refusal::NoRate,
            NoWorth::TooSmall => Refusal::ConvertedTooSmall,
            NoWorth::TooLarge { maximum } => {
                Refusal::ConvertedTooLarge { received: amount, maximum }
            }
        })?;
        let less_margin = packet.expires_at_ms.saturating_sub(u64::from(plan.margin_ms));
        let expires_at_ms = less_margin.min(now.utc_ms + u64::from(plan.hold_ms_max));
        if expires_at_ms < now.utc_ms + u64::from(plan.remaining_ms_min).max(1) {
            return Err(Refusal::ExpiryTooShort);
        }
        let core_out = self.core_of(switch, account_out);
        let shard_out = core_out - node.first_core;
        let more = i128::from(amount);
        let words = &account.words;
        let has_forward_room = if core_out == core {
            waiting < plan.rings.forwards
        } else {
            let ring = &self.shards[core_out].forwards[core - node.first_core];
            ring.len() + self.staged[shard_out] < plan.forward_ring
        };
        let value_max = limits.in_flight_value_max.map_or(i128::MAX, i128::from);
        let lacks_tokens =
            account.amount.as_ref().is_some_and(|tokens| !tokens.has(amount, now.mono_ns));
        let refusals = [
            (shard.is_draining, Refusal::Draining),
            (
                account.plan.durability != Durability::None && shard.journal != JournalState::Ready,
                Refusal::JournalUnavailable,
            ),
            (account.count_in >= limits.in_flight_packets_max, Refusal::CountInFull),
            (amount > 0 && words.held_in + more > value_max, Refusal::ValueInFull),
            (!has_forward_room, Refusal::ForwardRingFull),
            (shard.under_way[shard_out] >= plan.rings.answers, Refusal::AnswerRingFull),
            (
                amount > 0
                    && words.balance - words.prepaid + words.held_in + more > account.balance_max,
                Refusal::CreditExhausted,
            ),
            (lacks_tokens, Refusal::MoneyRate),
        ];
        if let Some((_, refusal)) = refusals.into_iter().find(|(is_so, _)| *is_so) {
            if refusal == Refusal::ForwardRingFull && core_out != core {
                self.coverage.saw(Fault::ForwardRingFull);
            }
            return Err(refusal);
        }
        let lasts_ns = (expires_at_ms - now.utc_ms) * 1_000_000;
        let tag = *self.tags.get(&head(&packet.condition)).expect("bytes: conditions are known");
        Ok(Hop {
            tag,
            switch,
            core_in: core,
            core_out,
            account_in,
            epoch_in: input.connection.epoch.get(),
            wire_in: account.wires[input.connection.epoch.get() as usize - 1],
            id_in: input.request_id,
            amount_in: amount,
            account_out,
            epoch_out: 0,
            wire_out: 0,
            id_out: 0,
            amount_out,
            version: shard.version,
            condition: packet.condition,
            expires_at_ms,
            held_ns: now.mono_ns,
            deadline_ns: now.mono_ns + lasts_ns,
            decided_at_ms: 0,
            position: None,
            packet: packet.packet,
            state: State::Forwarding,
            wants_evidence: false,
        })
    }

    /// Holds for the sender of an admitted packet.
    fn hold_in(&mut self, hop: Hop) -> usize {
        let Hop { switch, core_in, core_out, account_in, amount_in, tag, held_ns, .. } = hop;
        let node = &mut self.nodes[switch];
        let account = &mut node.accounts[account_in as usize];
        account.words.held_in += i128::from(amount_in);
        account.count_in += 1;
        if let Some(tokens) = &mut account.amount {
            tokens.take(amount_in, held_ns);
        }
        let shard_out = core_out - node.first_core;
        self.shards[core_in].under_way[shard_out] += 1;
        self.touched.push((switch, account_in));
        let is_across = core_in != core_out;
        self.coverage.saw(if is_across { Fault::CrossShard } else { Fault::SameShard });
        self.coverage.hops += 1;
        let visited = &mut self.packets[tag as usize].visited;
        if *visited & 1 << switch != 0 {
            self.coverage.saw(Fault::Looped);
        }
        *visited |= 1 << switch;
        self.hops.push(hop);
        self.live_hops.insert(self.hops.len() - 1);
        self.hops.len() - 1
    }

    /// The packet must have been handed to another shard, as it came.
    fn expect_forward(&mut self, core: usize, hop: usize) {
        let node = &self.nodes[self.shards[core].switch];
        let Hop { account_in, account_out, amount_in, amount_out, core_out, .. } = self.hops[hop];
        let shard_out = core_out - node.first_core;
        self.staged[shard_out] += 1;
        let forwards = self.log.forwards.get(self.forwards_seen);
        let (to, forward, range) = forwards.expect("hold: a packet was not forwarded");
        self.forwards_seen += 1;
        assert!(usize::from(to.0) == shard_out, "hold: a Forward went to the wrong shard");
        assert!(
            forward.account_in().0 == account_in && forward.account_out().0 == account_out,
            "hold: a Forward names the wrong accounts"
        );
        assert!(forward.amount_in() == amount_in, "amount: a Forward holds another amount");
        assert!(
            forward.amount_out() == amount_out,
            "amount: {amount_in} became {} and not {amount_out}",
            forward.amount_out()
        );
        assert!(
            self.log.bytes[range.clone()] == self.hops[hop].packet,
            "bytes: a packet changed before it was forwarded"
        );
        self.new_forwards.push(hop);
    }

    /// Nothing left but what was foretold.
    pub(crate) fn expect_no_more(&mut self) {
        let Log { prepares, answers, forwards, backs, .. } = &self.log;
        assert!(self.prepares_seen == prepares.len(), "hold: a PREPARE left that nobody sent");
        assert!(self.answers_seen == answers.len(), "equation 4: an answer that nobody waits for");
        assert!(self.forwards_seen == forwards.len(), "hold: a Forward of no packet");
        assert!(self.backs_seen == backs.len(), "equation 4: an Answer of no packet");
    }

    pub(crate) fn decide(&mut self, hop: usize, ending: Ending) {
        self.hops[hop].state = State::Answering(ending);
    }
}

/// Whom an echo goes back to.
fn echo_source<'a>(data: &'a [u8], own: &[u8]) -> Result<&'a [u8], Refusal> {
    let rest = data.strip_prefix(ECHO).ok_or(Refusal::OwnAddress)?;
    let Some((0, rest)) = rest.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(Refusal::InvalidEcho);
    };
    let range = oer::octet_string(rest, 0, 1023).map_err(|_| Refusal::InvalidEcho)?;
    let source = &rest[range];
    let is_good = address::check(source).is_ok() && !source.starts_with(b"peer.") && source != own;
    if is_good { Ok(source) } else { Err(Refusal::InvalidEcho) }
}
