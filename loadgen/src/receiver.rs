//! The receiving side: a function from a PREPARE to its answer.
//!
//! Whatever it needs to know of the sender rides in the packet, so it works as well in another
//! process. Each check has its own count; a packet that fails one is answered with F00, which no
//! kind of packet expects, so that the sender sees it too.

use m2_codec::ilp::{ErrorCode, Prepare};
use m2_codec::timestamp;

use crate::payload::{Filling, Fulfiller, HEADER_LEN, Header, Kind};
use crate::workload::{Destinations, Flow};

/// What both ends of a run agree on.
#[derive(Debug)]
pub struct Terms {
    /// Number of the run, in every packet of it.
    pub run: u32,
    /// Makes every fulfillment.
    pub fulfiller: Fulfiller,
    /// What stands behind the header of each packet's data.
    pub filling: Filling,
    /// The flows and their rates.
    pub flows: Vec<Flow>,
    /// Whether no connector stands between the ends: nobody shortens an expiry then.
    pub direct: bool,
}

/// What is wrong with a PREPARE that reached a receiver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Fault {
    /// No PREPARE, by its bytes.
    Malformed = 0,
    /// Its data is not of this run.
    Stranger = 1,
    /// Addressed to somebody else.
    Destination = 2,
    /// Data or condition are not what was sent.
    DataOrCondition = 3,
    /// The amount is not `floor(sent x num / den)`.
    Amount = 4,
    /// The expiry is not earlier than the one sent.
    ExpiryNotShortened = 5,
    /// The expiry has passed.
    ExpiryPast = 6,
    /// It was sent to an address that no route leads to.
    Unroutable = 7,
}

impl Fault {
    /// Every fault, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Stranger,
        Self::Destination,
        Self::DataOrCondition,
        Self::Amount,
        Self::ExpiryNotShortened,
        Self::ExpiryPast,
        Self::Unroutable,
    ];

    /// A name for reports, and the message of the REJECT.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed PREPARE",
            Self::Stranger => "not a packet of this run",
            Self::Destination => "addressed to somebody else",
            Self::DataOrCondition => "data or condition changed",
            Self::Amount => "amount is not floor(sent x num / den)",
            Self::ExpiryNotShortened => "expiry not shortened",
            Self::ExpiryPast => "expiry has passed",
            Self::Unroutable => "delivered though unroutable",
        }
    }
}

/// What the receiver does with a PREPARE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// A FULFILL, which carries back what the PREPARE's data began with.
    Fulfill {
        /// The preimage, or what stands in its place.
        fulfillment: [u8; 32],
        /// See [`Header::to_bytes`].
        data: [u8; HEADER_LEN],
    },
    /// A REJECT from the receiver's address.
    Reject {
        /// Its code.
        code: ErrorCode,
        /// Its message.
        message: &'static str,
        /// Its data.
        data: Option<[u8; HEADER_LEN]>,
    },
    /// No answer: the packet is to expire.
    Silence,
}

/// What one receiving end counted.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// PREPAREs that arrived.
    pub prepares: u64,
    /// PREPAREs it fulfilled.
    pub fulfilled: u64,
    /// Sum of what it fulfilled, for each flow of the workload.
    pub fulfilled_amounts: Vec<u128>,
    /// How often each [`Fault`] was seen.
    pub faults: [u64; Fault::ALL.len()],
}

/// One receiving end.
#[derive(Debug)]
pub struct Receiver {
    destinations: Option<Destinations>,
    /// What it counted so far.
    pub received: Received,
}

impl Receiver {
    /// The receiver at these addresses. An end that only sends has none, and finds fault with all.
    #[must_use]
    pub fn new(destinations: Option<Destinations>, flow_count: usize) -> Self {
        let received = Received { fulfilled_amounts: vec![0; flow_count], ..Received::default() };
        Self { destinations, received }
    }

    /// Its own address, from which it answers; empty if it only sends.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        self.destinations.as_ref().map_or(&b""[..], |it| it.receiver().as_bytes())
    }

    /// Checks a PREPARE and says what to answer.
    #[inline]
    pub fn receive(
        &mut self,
        packet: &[u8],
        utc_ms: u64,
        terms: &Terms,
        times: &mut timestamp::Cache,
    ) -> Reply {
        self.received.prepares += 1;
        match self.check(packet, utc_ms, terms, times) {
            Ok(accepted) => self.answer(&accepted),
            Err(fault) => {
                self.received.faults[fault as usize] += 1;
                let code = ErrorCode::F00_BAD_REQUEST;
                Reply::Reject { code, message: fault.name(), data: None }
            }
        }
    }

    fn check(
        &self,
        packet: &[u8],
        utc_ms: u64,
        terms: &Terms,
        times: &mut timestamp::Cache,
    ) -> Result<Accepted, Fault> {
        let prepare = Prepare::new_checked_cached(packet, times).map_err(|_| Fault::Malformed)?;
        let header = Header::read(prepare.data())
            .filter(|header| header.run == terms.run)
            .ok_or(Fault::Stranger)?;
        let flow = terms.flows.get(usize::from(header.flow)).ok_or(Fault::Stranger)?;
        if header.kind == Kind::Unroutable {
            return Err(Fault::Unroutable);
        }
        if !self.destinations.as_ref().is_some_and(|own| own.contains(prepare.destination())) {
            return Err(Fault::Destination);
        }
        let fulfillment = terms
            .fulfiller
            .check(&header, prepare.data(), prepare.condition(), &terms.filling)
            .ok_or(Fault::DataOrCondition)?;
        if flow.converted(header.amount) != Some(prepare.amount()) {
            return Err(Fault::Amount);
        }
        // A packet that is sent more than once cannot say which expiry it was sent with.
        let comparable = header.expires_at_ms > 0 && !terms.direct;
        if comparable && prepare.expires_at_ms() >= header.expires_at_ms {
            return Err(Fault::ExpiryNotShortened);
        }
        if prepare.expires_at_ms() <= utc_ms {
            return Err(Fault::ExpiryPast);
        }
        Ok(Accepted { header, amount: prepare.amount(), fulfillment })
    }

    fn answer(&mut self, accepted: &Accepted) -> Reply {
        let Accepted { header, amount, fulfillment } = accepted;
        let data = header.to_bytes();
        match header.kind {
            Kind::Fulfilled => {
                self.received.fulfilled += 1;
                self.received.fulfilled_amounts[usize::from(header.flow)] += u128::from(*amount);
                Reply::Fulfill { fulfillment: *fulfillment, data }
            }
            Kind::WrongFulfillment => {
                Reply::Fulfill { fulfillment: fulfillment.map(|byte| !byte), data }
            }
            Kind::Rejected => {
                let (code, message) =
                    (ErrorCode::F99_APPLICATION_ERROR, "rejected, as its sender wished");
                Reply::Reject { code, message, data: Some(data) }
            }
            Kind::Expired => Reply::Silence,
            Kind::Unroutable => unreachable!("check() found fault with it"),
        }
    }
}

/// A PREPARE with which nothing is wrong.
struct Accepted {
    header: Header,
    amount: u64,
    fulfillment: [u8; 32],
}

#[cfg(test)]
mod tests {
    use m2_codec::ilp::put_prepare;

    use super::*;
    use crate::payload::{Fulfillment, Proof, condition};

    const NOW_MS: u64 = 1_795_000_000_000;
    const BOB: &[u8] = b"test.m2m.bob";

    fn bob() -> Destinations {
        Destinations::own(std::str::from_utf8(BOB).unwrap().parse().unwrap())
    }

    fn terms() -> Terms {
        let flow = Flow { from: 0, to: 1, num: 5, den: 2 };
        Terms {
            run: 77,
            fulfiller: Fulfiller::new(1, Fulfillment::Stream),
            filling: Filling::new(1),
            flows: vec![flow],
            direct: false,
        }
    }

    /// A PREPARE as the connector delivers it, with each property open to spoiling.
    struct Delivered {
        header: Header,
        destination: &'static [u8],
        amount: u64,
        expires_at_ms: u64,
        flipped_data: Option<usize>,
        flipped_condition: bool,
    }

    fn delivered(kind: Kind) -> Delivered {
        let header = Header {
            kind,
            flow: 0,
            run: 77,
            sequence: 5,
            amount: 11,
            expires_at_ms: NOW_MS + 5_000,
        };
        Delivered {
            header,
            destination: BOB,
            amount: 27,
            expires_at_ms: NOW_MS + 4_000,
            flipped_data: None,
            flipped_condition: false,
        }
    }

    fn receive(delivered: &Delivered) -> (Reply, Received) {
        let (terms, mut data) = (terms(), Vec::new());
        terms.filling.put_data(&mut data, &delivered.header, 50);
        let mut condition = terms.fulfiller.proof(&data).condition;
        if let Some(index) = delivered.flipped_data {
            data[index] ^= 1;
        }
        condition[31] ^= u8::from(delivered.flipped_condition);
        let mut packet = Vec::new();
        let expires_at = timestamp::write(delivered.expires_at_ms);
        let (amount, destination) = (delivered.amount, delivered.destination);
        put_prepare(&mut packet, amount, &expires_at, &condition, destination, &data);
        let mut receiver = Receiver::new(Some(bob()), 1);
        let reply = receiver.receive(&packet, NOW_MS, &terms, &mut timestamp::Cache::new());
        (reply, receiver.received)
    }

    /// What a packet of this kind is fulfilled with.
    fn proof(kind: Kind) -> Proof {
        let (terms, mut data) = (terms(), Vec::new());
        terms.filling.put_data(&mut data, &delivered(kind).header, 50);
        terms.fulfiller.proof(&data)
    }

    #[test]
    fn a_fulfilled_packet_is_counted_with_the_amount_received() {
        let (reply, received) = receive(&delivered(Kind::Fulfilled));
        let fulfillment = proof(Kind::Fulfilled).fulfillment;
        let data = delivered(Kind::Fulfilled).header.to_bytes();
        assert_eq!(reply, Reply::Fulfill { fulfillment, data });
        assert_eq!((received.fulfilled, received.fulfilled_amounts), (1, vec![27]));
    }

    #[test]
    fn the_other_kinds_are_answered_as_the_sender_wished_and_pay_nothing() {
        let (reply, received) = receive(&delivered(Kind::Rejected));
        let Reply::Reject { code, data, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(code, ErrorCode::F99_APPLICATION_ERROR);
        assert_eq!(data, Some(delivered(Kind::Rejected).header.to_bytes()));
        assert_eq!(received.fulfilled_amounts, [0]);

        let (reply, received) = receive(&delivered(Kind::WrongFulfillment));
        let Reply::Fulfill { fulfillment, .. } = reply else { panic!("{reply:?}") };
        assert_ne!(condition(&fulfillment), proof(Kind::WrongFulfillment).condition);
        assert_eq!(received.fulfilled_amounts, [0]);

        let (reply, received) = receive(&delivered(Kind::Expired));
        assert_eq!(reply, Reply::Silence);
        assert_eq!((received.prepares, received.faults), (1, [0; 8]));
    }

    #[test]
    fn each_fault_is_named_and_answered_with_f00() {
        let good = || delivered(Kind::Fulfilled);
        let other_run = Header { run: 78, ..good().header };
        let other_flow = Header { flow: 1, ..good().header };
        for (fault, spoiled) in [
            (Fault::Stranger, Delivered { header: other_run, ..good() }),
            (Fault::Stranger, Delivered { header: other_flow, ..good() }),
            (Fault::Stranger, Delivered { flipped_data: Some(0), ..good() }),
            (Fault::Destination, Delivered { destination: b"test.m2m.bo", ..good() }),
            (Fault::DataOrCondition, Delivered { flipped_data: Some(15), ..good() }),
            (Fault::DataOrCondition, Delivered { flipped_data: Some(49), ..good() }),
            (Fault::DataOrCondition, Delivered { flipped_condition: true, ..good() }),
            (Fault::Amount, Delivered { amount: 28, ..good() }),
            (Fault::Amount, Delivered { amount: 26, ..good() }),
            (Fault::ExpiryNotShortened, Delivered { expires_at_ms: NOW_MS + 5_000, ..good() }),
            (Fault::ExpiryPast, Delivered { expires_at_ms: NOW_MS, ..good() }),
            (Fault::Unroutable, delivered(Kind::Unroutable)),
        ] {
            let (reply, received) = receive(&spoiled);
            let (code, message) = (ErrorCode::F00_BAD_REQUEST, fault.name());
            assert_eq!(reply, Reply::Reject { code, message, data: None });
            assert_eq!(received.faults[fault as usize], 1, "{fault:?}");
            assert_eq!(received.fulfilled_amounts, [0]);
        }
    }

    #[test]
    fn bytes_that_are_no_prepare_are_a_fault_too() {
        let mut receiver = Receiver::new(Some(bob()), 1);
        let _ = receiver.receive(b"\x0d\x00", NOW_MS, &terms(), &mut timestamp::Cache::new());
        assert_eq!(receiver.received.faults[Fault::Malformed as usize], 1);
    }
}
