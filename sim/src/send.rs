//! What endpoints send: PREPAREs of every amount, expiry and destination, and what is none.

use fastrand::Rng;
use m2_codec::btp::{self, FrameType};
use m2_codec::{ildcp, ilp, oer, timestamp};

use crate::coverage::Fault;
use crate::dice::{dice, mix, often, one_of};
use crate::endpoint::{Asked, NO_TAG, Packet, head, sha256};
use crate::net::{MS, Net, START_UTC_MS};
use crate::plan::End;

/// Bytes that an endpoint lets wait before it sends no more.
const WAITING_MAX: usize = 200_000;

impl Net {
    /// An endpoint sends some PREPAREs.
    pub(crate) fn send(&mut self, [from, to, count, salt]: [u64; 4]) {
        let from = self.endpoint(from);
        // Another one; at times the address is its own all the same.
        let others = self.endpoints.len() as u64 - 1;
        let step = 1 + usize::try_from(to % others).expect("a few");
        let to = (from + step) % self.endpoints.len();
        for number in 0..1 + count % 8 {
            self.send_one(from, to, mix(salt, number));
        }
    }

    fn send_one(&mut self, from: usize, to: usize, salt: u64) {
        let Some(wire) = self.ready_wire(from) else { return };
        let dice = &mut dice(&[self.plan.seed, salt, 0x5e4d]);
        let tag = u32::try_from(self.packets.len()).expect("some hundreds");
        let mut preimage = [0; 32];
        for (index, part) in preimage.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(
                &mix(self.plan.seed, u64::from(tag) << 8 | index as u64).to_be_bytes(),
            );
        }
        let condition = sha256(&preimage);
        let amount = self.amount(dice, from);
        let (destination, data) = self.destination(dice, from, to, tag);
        let expires_at = self.expiry(dice, from);

        let mut packet = Vec::new();
        let expires_at = timestamp::write(expires_at);
        ilp::put_prepare(
            &mut packet,
            amount,
            &expires_at,
            &condition,
            destination.as_bytes(),
            &data,
        );
        if often(dice, 20) {
            self.coverage.saw(Fault::JunkBehind);
            packet.extend_from_slice(b"junk behind");
        }
        let think_ns = one_of(dice, &[0, 30_000, MS, 20 * MS, 400 * MS]);
        let manner = self.manner(salt);
        self.packets.push(Packet { preimage, manner, think_ns, visited: 0 });
        self.tags.insert(head(&condition), tag);

        let me = &mut self.endpoints[from];
        me.next_id += 1;
        let mut request_id = me.next_id;
        if often(dice, 30) {
            let reused = request_id - dice.u32(1..request_id.min(4));
            if me.asked.get(&(wire, reused)).is_some_and(|asked| !asked.is_answered()) {
                self.coverage.saw(Fault::ReusedId);
            }
            request_id = reused;
        }
        let asked = Asked { tag, amount };
        self.endpoints[from].sent.push((request_id, asked, packet.clone()));
        self.ask(from, wire, request_id, asked, &packet);
    }

    /// An earlier PREPARE once more.
    pub(crate) fn repeat(&mut self, from: u64, which: u64) {
        let from = self.endpoint(from);
        let Some(wire) = self.ready_wire(from) else { return };
        let sent = &self.endpoints[from].sent;
        let recent = &sent[sent.len().saturating_sub(6)..];
        if recent.is_empty() {
            return;
        }
        let index = usize::try_from(which % recent.len() as u64).expect("a few");
        let (request_id, asked, packet) = recent[index].clone();
        self.packets[asked.tag as usize].visited = 0;
        self.coverage.saw(Fault::RepeatedPrepare);
        self.ask(from, wire, request_id, asked, &packet);
    }

    fn ask(&mut self, from: usize, wire: usize, request_id: u32, asked: Asked, packet: &[u8]) {
        self.coverage.sent += 1;
        self.endpoints[from].asked.entry((wire, request_id)).or_default().open.push(asked);
        let out = self.wires[wire].pipes[1].egress();
        btp::put_ilp(out, FrameType::Message, request_id, packet);
        self.pump(wire, 1);
    }

    fn amount(&mut self, dice: &mut Rng, from: usize) -> u64 {
        let link = self.endpoints[from].link;
        let End::Account { switch, account } = self.plan.links[link].ends[0] else {
            unreachable!("a switch is at the other end");
        };
        let account = &self.nodes[switch].accounts[account as usize];
        let unit = self.plan.unit(account.asset);
        let maximum = account.plan.limits.packet_amount_max;
        let words = account.words;
        let credit = account.balance_max - (words.balance - words.prepaid + words.held_in);
        let edge =
            |dice: &mut Rng, limit: u64| limit.saturating_add(dice.u64(..3)).saturating_sub(1);
        match dice.u32(..1000) {
            0..25 => {
                self.coverage.saw(Fault::AmountZero);
                0
            }
            25..35 => {
                self.coverage.saw(Fault::AmountHuge);
                u64::MAX
            }
            35..60 => {
                self.coverage.saw(Fault::AmountEdge);
                edge(dice, maximum)
            }
            60..75 => {
                self.coverage.saw(Fault::AmountEdge);
                edge(dice, u64::try_from(credit.max(1)).unwrap_or(u64::MAX)).min(maximum)
            }
            75..85 => u64::MAX / dice.u64(2..1_000),
            85..105 => 1,
            _ => 1 + dice.u64(..unit * 2),
        }
    }

    fn destination(
        &mut self,
        dice: &mut Rng,
        from: usize,
        to: usize,
        tag: u32,
    ) -> (String, Vec<u8>) {
        let mut data = tag.to_be_bytes().to_vec();
        let len = if often(dice, 6) {
            self.coverage.saw(Fault::LongData);
            dice.usize(1_000..32_700)
        } else {
            dice.usize(..100)
        };
        data.resize(4 + len, 0x5a);
        let switch = dice.usize(..self.plan.switches.len());
        let address = match dice.u32(..1000) {
            0..10 => "test.nowhere.at.all".to_owned(),
            10..20 => one_of(dice, &["g.s0", "private.s0.e1", "local.a", "self.b"]).to_owned(),
            20..28 => format!("test.s{switch}"),
            28..36 => format!("test.s{switch}.unknown"),
            36..46 => self.address(from),
            46..70 => {
                self.coverage.saw(Fault::Echo);
                data = b"ECHOECHOECHOECHO\0".to_vec();
                oer::put_octet_string(&mut data, self.address(from).as_bytes());
                format!("test.s{switch}")
            }
            70..75 => "peer.route.control".to_owned(),
            _ => self.address(to) + one_of(dice, &["", "", ".till.7"]),
        };
        (address, data)
    }

    fn expiry(&mut self, dice: &mut Rng, from: usize) -> u64 {
        let link = self.endpoints[from].link;
        let End::Account { switch, .. } = self.plan.links[link].ends[0] else {
            unreachable!("a switch is at the other end");
        };
        let plan = &self.plan.switches[switch];
        let now_ms = self.now(switch).utc_ms;
        let edge = u64::from(plan.margin_ms + plan.remaining_ms_min)
            + (self.plan.links[link].delay_ns[1] + plan.poll_ns) / MS;
        let hops = self.plan.switches.len() as u64;
        match dice.u32(..1000) {
            0..15 => {
                self.coverage.saw(Fault::ExpiryPast);
                now_ms - dice.u64(..5_000)
            }
            15..35 => {
                self.coverage.saw(Fault::ExpiryEdge);
                now_ms + edge + dice.u64(..12)
            }
            35..45 => {
                self.coverage.saw(Fault::ExpiryFar);
                timestamp::MS_MAX
            }
            45..80 => now_ms + dice.u64(..1_500),
            _ => START_UTC_MS + self.now_ns / MS + hops * 250 + 2_500 + dice.u64(..10_000),
        }
    }

    /// Requests that a switch answers itself, and some that only look so.
    pub(crate) fn send_own(&mut self, [from, kind, count, _]: [u64; 4]) {
        let from = self.endpoint(from);
        let count = if count % 16 == 0 { 115 } else { 1 + count % 4 };
        for number in 0..count {
            let Some(wire) = self.ready_wire(from) else { return };
            let link = self.endpoints[from].link;
            let End::Account { switch, .. } = self.plan.links[link].ends[0] else { return };
            let own = format!("test.s{switch}");
            let echo = b"ECHOECHOECHOECHO";
            let peer = ildcp::PEER_CONDITION;
            let (amount, condition, to, data) = match (kind + number) % 8 {
                0 => (0, peer, "peer.unknown", vec![]),
                1 => (5, peer, "peer.config", vec![]),
                2 => (0, [9; 32], "peer.config", vec![]),
                3 => (1, [9; 32], own.as_str(), b"hello".to_vec()),
                4 => (1, [9; 32], own.as_str(), [&echo[..], b"\x02\x05test."].concat()),
                5 => (1, [9; 32], own.as_str(), [&echo[..], b"\0\x09test..bad"].concat()),
                _ => (0, peer, "peer.config", vec![]),
            };
            self.coverage.saw(Fault::ChildConfig);
            let expires_at = timestamp::write(self.now(switch).utc_ms + 5_000);
            let mut packet = Vec::new();
            ilp::put_prepare(&mut packet, amount, &expires_at, &condition, to.as_bytes(), &data);
            self.ask_untagged(from, wire, &packet);
        }
    }

    /// What is no PREPARE, or no frame.
    pub(crate) fn send_garbage(&mut self, [from, salt, ..]: [u64; 4]) {
        let from = self.endpoint(from);
        let Some(wire) = self.ready_wire(from) else { return };
        let mut packet = Vec::new();
        let expires_at = timestamp::write(self.now_ns / MS + START_UTC_MS + 5_000);
        ilp::put_prepare(&mut packet, 1, &expires_at, &[1; 32], b"test.s0.e0", b"data");
        match salt % 8 {
            0 => packet.truncate(packet.len() - 1),
            1 => packet[0] = 13,
            2 => packet[2 + 8 + 5] = b'9',
            3 => packet[2 + 57 + 1] = b'!',
            4 => packet[1] = 0x81,
            5 => packet.clear(),
            6 => {
                // Known types, unknown contents: a switch answers with an error or not at all.
                self.coverage.saw(Fault::BrokenFrame);
                self.wires[wire].pipes[1].egress().extend_from_slice(&[6, 0, 0, 0, 9, 2, 1, 9]);
                return self.pump(wire, 1);
            }
            _ => {
                self.coverage.saw(Fault::BrokenFrame);
                self.wires[wire].pipes[1].egress().extend_from_slice(&[0xff; 16]);
                return self.pump(wire, 1);
            }
        }
        self.coverage.saw(Fault::MalformedRequest);
        self.ask_untagged(from, wire, &packet);
    }

    fn ask_untagged(&mut self, from: usize, wire: usize, packet: &[u8]) {
        let me = &mut self.endpoints[from];
        me.next_id += 1;
        let request_id = me.next_id;
        self.ask(from, wire, request_id, Asked { tag: NO_TAG, amount: 0 }, packet);
    }

    fn endpoint(&self, number: u64) -> usize {
        usize::try_from(number % self.endpoints.len() as u64).expect("a few")
    }

    pub(crate) fn address(&self, endpoint: usize) -> String {
        let link = self.endpoints[endpoint].link;
        let End::Account { switch, .. } = self.plan.links[link].ends[0] else {
            unreachable!("a switch is at the other end");
        };
        format!("test.s{switch}.e{endpoint}")
    }

    /// A connection that it can send on, unless too much waits there.
    fn ready_wire(&self, endpoint: usize) -> Option<usize> {
        let wire = self.endpoints[endpoint].wire?;
        let end = self.wires[wire].ends[1];
        let is_ready =
            end.is_up && !end.is_over && self.wires[wire].pipes[1].waiting() < WAITING_MAX;
        is_ready.then_some(wire)
    }
}
