//! Senders and receivers: plain scripts around packets that the switch carries, each followed from its
//! PREPARE to what its sender was told.

use std::collections::HashMap;

use m2_codec::ilp::{self, ErrorCode, Prepare};
use m2_codec::timestamp;
use m2_core::{ConnectionId, Durability, PairRecord};

use super::machine::Message;
use super::plan::{Plan, destination};
use crate::dice::mix;
use crate::endpoint::sha256;

/// What a receiver does with a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Fulfill,
    /// Twice.
    FulfillTwice,
    /// Once its time is up.
    FulfillLate,
    /// With the preimage of another condition.
    FulfillWrongly,
    Reject,
    Silence,
}

/// A packet, as its peers know it.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: u64,
    pub(crate) preimage: [u8; 32],
    /// The first half of its condition.
    pub(crate) head: [u8; 16],
    pub(crate) fate: Fate,
    /// In which life it was sent.
    pub(crate) life: u64,
    /// Of the sender's account.
    pub(crate) durability: Durability,
    /// Where the receiver got it, under which id, and when it expires there.
    pub(crate) arrived: Option<(ConnectionId, u32, u64)>,
    /// How often the receiver has answered.
    pub(crate) answers: u32,
    /// What its sender was told; written when a socket has it.
    pub(crate) told: Option<Told>,
    /// When its shard gave that answer out.
    pub(crate) given_ns: u64,
    /// As what the switch has listed it.
    pub(crate) listed: Vec<Listed>,
}

/// What a sender was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    Fulfilled,
    Rejected,
}

/// Why a switch listed a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listed {
    /// Its FULFILL went without its record: time was nearly up.
    Graced,
    /// Its FULFILL went without its record: the journal had failed.
    Unrecorded,
    /// There was nobody to give its FULFILL to.
    Undelivered,
}

/// All packets of a history, in all lives.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    pub(crate) all: Vec<Packet>,
    by_condition: HashMap<[u8; 16], usize>,
    /// Of this life: by the sender's connection and id.
    by_request: HashMap<(ConnectionId, u32), usize>,
}

impl Packets {
    /// A new packet under this id: the bytes of its PREPARE.
    pub(crate) fn send(
        &mut self,
        plan: &Plan,
        connection: ConnectionId,
        packet: Packet,
        expires_at_ms: u64,
    ) -> (u32, Vec<u8>) {
        let number = self.all.len();
        let request_id = u32::try_from(number).expect("some hundreds");
        let condition = sha256(&packet.preimage);
        let mut bytes = Vec::new();
        ilp::put_prepare(
            &mut bytes,
            packet.amount,
            &timestamp::write(expires_at_ms),
            &condition,
            destination(packet.to).as_bytes(),
            &plan.seed.to_be_bytes(),
        );
        self.by_condition.insert(head(&condition), number);
        self.by_request.insert((connection, request_id), number);
        self.all.push(packet);
        (request_id, bytes)
    }

    /// The process is gone, and with it every connection.
    pub(crate) fn forget_connections(&mut self) {
        self.by_request.clear();
    }

    pub(crate) fn of_condition(&self, head: [u8; 16]) -> usize {
        *self
            .by_condition
            .get(&head)
            .unwrap_or_else(|| panic!("journal: a pair of nobody's packet"))
    }

    pub(crate) fn of_request(&self, connection: ConnectionId, request_id: u32) -> usize {
        let found = self.by_request.get(&(connection, request_id));
        *found.unwrap_or_else(|| panic!("answer: {connection:?} has asked nothing as {request_id}"))
    }

    /// A receiver reads a PREPARE.
    pub(crate) fn arrive(&mut self, plan: &Plan, to: ConnectionId, id: u32, bytes: &[u8]) -> usize {
        let prepare = Prepare::new_checked(bytes).expect("what is forwarded is well-formed");
        let number = self.of_condition(head(prepare.condition()));
        let packet = &mut self.all[number];
        let amount = plan.converted(packet.from, packet.to, packet.amount);
        assert!(prepare.amount() == amount, "amount: {} arrived, not {amount}", prepare.amount());
        assert!(packet.arrived.is_none(), "hold: packet {number} arrived twice");
        packet.arrived = Some((to, id, prepare.expires_at_ms()));
        number
    }

    /// A sender's socket has an answer.
    pub(crate) fn answered(&mut self, answer: &Message) -> (usize, Told) {
        let number = self.of_request(answer.connection, answer.request_id);
        let packet = &mut self.all[number];
        packet.given_ns = answer.at_ns;
        let told = match ilp::Fulfill::new_checked(&answer.bytes) {
            Ok(fulfill) => {
                assert!(*fulfill.fulfillment() == packet.preimage, "answer: another's fulfillment");
                Told::Fulfilled
            }
            Err(_) => Told::Rejected,
        };
        let before = packet.told.replace(told);
        assert!(before.is_none(), "answer: packet {number} was {before:?}, and is {told:?}");
        (number, told)
    }

    /// The switch lists a packet.
    pub(crate) fn list(&mut self, number: usize, why: Listed) {
        let listed = &mut self.all[number].listed;
        assert!(!listed.contains(&why), "journal: packet {number} was listed twice: {why:?}");
        listed.push(why);
    }

    /// A record of a pair is what became of its packet.
    pub(crate) fn check_pair(&self, plan: &Plan, life: u64, pair: &PairRecord) {
        let number = self.of_condition(pair.condition_head);
        let packet = &self.all[number];
        let Packet { from, to, amount, .. } = *packet;
        assert!(packet.life == life, "journal: packet {number} of another life is fulfilled");
        assert!(packet.answers > 0, "journal: packet {number} is fulfilled, and was not answered");
        let seen = (pair.account_in.0, pair.amount_in, pair.account_out.0, pair.amount_out);
        let wanted = (from, amount, to, plan.converted(from, to, amount));
        assert!(
            seen == wanted,
            "journal: the record of packet {number} is {seen:?}, not {wanted:?}"
        );
        assert!(pair.durability == packet.durability, "journal: durability of packet {number}");
    }

    /// Whether a pair of the packet with this FULFILL leaves no record.
    pub(crate) fn is_loose(&self, fulfill: &[u8]) -> bool {
        let fulfill = ilp::Fulfill::new_checked(fulfill).expect("it was looked at");
        let number = self.by_condition.get(&head(&sha256(fulfill.fulfillment())));
        number.is_some_and(|number| self.all[*number].durability == Durability::None)
    }

    /// Which packet a FULFILL is of, by its preimage.
    pub(crate) fn of_fulfill(&self, bytes: &[u8]) -> ([u8; 16], usize) {
        let fulfill = ilp::Fulfill::new_checked(bytes).expect("the core has read it");
        let head = head(&sha256(fulfill.fulfillment()));
        (head, self.of_condition(head))
    }

    /// Whether its receiver may answer now, and on which connection it would.
    pub(crate) fn may_answer(&self, number: usize, life: u64, utc_ms: u64) -> bool {
        let packet = &self.all[number];
        let Some((.., expires_at_ms)) = packet.arrived else { return false };
        let most = if packet.fate == Fate::FulfillTwice { 2 } else { 1 };
        // Nobody who knows what a restart is answers on a connection that is new. This one does.
        let is_old = packet.life < life;
        packet.answers < most
            && match packet.fate {
                Fate::Silence => false,
                Fate::FulfillLate => is_old || utc_ms >= expires_at_ms,
                _ => true,
            }
    }

    /// The answer of a receiver.
    pub(crate) fn answer(&mut self, number: usize) -> Vec<u8> {
        let packet = &mut self.all[number];
        packet.answers += 1;
        let mut bytes = Vec::new();
        match packet.fate {
            Fate::Reject => {
                let code = ErrorCode::F99_APPLICATION_ERROR;
                ilp::put_reject(&mut bytes, code, b"test.till", b"no", b"");
            }
            Fate::FulfillWrongly => ilp::put_fulfill(&mut bytes, &[7; 32], b""),
            _ => ilp::put_fulfill(&mut bytes, &packet.preimage, b""),
        }
        bytes
    }
}

impl Packet {
    /// The switch has listed that its FULFILL went without its record.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.listed.iter().any(|why| matches!(why, Listed::Graced | Listed::Unrecorded))
    }

    pub(crate) fn new(
        plan: &Plan,
        life: u64,
        number: usize,
        [from, to, amount, salt]: [u64; 4],
    ) -> Self {
        let count = u64::from(plan.account_count());
        let id = |number: u64| u32::try_from(number).expect("a few");
        let to = id((from % count + 1 + to % (count - 1)) % count);
        let from = id(from % count);
        let mut preimage = [0; 32];
        for (index, part) in preimage.chunks_exact_mut(8).enumerate() {
            let place = (number as u64) << 8 | index as u64;
            part.copy_from_slice(&mix(plan.seed, place).to_be_bytes());
        }
        let fate = match salt % 16 {
            0 => Fate::Silence,
            1 => Fate::Reject,
            2 => Fate::FulfillLate,
            3 => Fate::FulfillWrongly,
            4 => Fate::FulfillTwice,
            _ => Fate::Fulfill,
        };
        Self {
            from,
            to,
            amount: match amount % 16 {
                0 => amount,
                1 | 2 => amount % 20,
                _ => amount % 2_000,
            },
            head: head(&sha256(&preimage)),
            preimage,
            fate,
            life,
            durability: plan.accounts[from as usize].durability,
            arrived: None,
            answers: 0,
            told: None,
            given_ns: 0,
            listed: Vec::new(),
        }
    }
}

/// How long a sender gives a packet.
pub(crate) fn patience_ms(salt: u64) -> u64 {
    [2_500, 4_000, 10_000, 30_000][usize::try_from(salt / 16 % 4).expect("4")]
}

pub(crate) fn head(condition: &[u8; 32]) -> [u8; 16] {
    let (head, _) = condition.split_first_chunk().expect("32 are more than 16");
    *head
}
