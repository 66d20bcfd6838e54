//! The receiving side: a function from a PREPARE to its answer.
//!
//! Whatever it needs to know of the sender rides in the packet, so it works as well in another
//! process. Each check has its own count; a packet that fails one is answered with F00, which no
//! kind of packet expects, so that the sender sees it too.

pub mod report;
mod served;

use m2_codec::ilp::{ErrorCode, Prepare};
use m2_codec::timestamp;

use crate::inband::{ANSWER_LEN, Key, NoQuestion};
use crate::payload::{Filling, Fulfiller, HEADER_LEN, Header, Kind};
use crate::workload::{Destinations, Flow};
use served::Served;

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

/// What a question under another seed is answered with.
const OTHER_SEED: &str = "a question of another seed";

/// What the receiver does with a PREPARE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply<'p> {
    /// A FULFILL, which carries back what the PREPARE's data began with.
    Fulfill {
        /// The preimage, or what stands in its place.
        fulfillment: [u8; 32],
        /// The header, where it stands in the PREPARE.
        data: &'p [u8],
    },
    /// A REJECT from the receiver's address.
    Reject {
        /// Its code.
        code: ErrorCode,
        /// Its message.
        message: &'static str,
        /// Its data: the header again, or nothing.
        data: &'p [u8],
    },
    /// A REJECT with F99 whose data is the answer to a question for books.
    Books(Box<[u8; ANSWER_LEN]>),
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
    /// How many PREPAREs it fulfilled, for each flow.
    pub fulfilled_counts: Vec<u64>,
    /// How often each [`Fault`] was seen.
    pub faults: [u64; Fault::ALL.len()],
}

impl Received {
    fn new(flow_count: usize) -> Self {
        Self {
            fulfilled_amounts: vec![0; flow_count],
            fulfilled_counts: vec![0; flow_count],
            ..Self::default()
        }
    }
}

/// One receiving end.
#[derive(Debug)]
pub struct Receiver {
    destinations: Option<Destinations>,
    /// What it counted so far; of many runs, in the one whose book is open.
    pub received: Received,
    /// What it takes to receive the runs of other processes.
    served: Option<Box<Served>>,
}

impl Receiver {
    /// The receiver at these addresses. An end that only sends has none, and finds fault with all.
    #[must_use]
    pub fn new(destinations: Option<Destinations>, flow_count: usize) -> Self {
        Self { destinations, received: Received::new(flow_count), served: None }
    }

    /// The receiver of any run of a seed, which keeps a book for each and tells it to who asks.
    #[must_use]
    pub fn of_many_runs(destinations: Option<Destinations>, flow_count: usize, key: Key) -> Self {
        Self { served: Some(Box::new(Served::new(key))), ..Self::new(destinations, flow_count) }
    }

    /// The runs that have a book here, the oldest first.
    pub fn runs(&self) -> impl Iterator<Item = u32> {
        self.served.iter().flat_map(|served| served.runs())
    }

    /// The book of one of many runs.
    #[must_use]
    pub fn book(&self, run: u32) -> Option<&Received> {
        self.served.as_ref()?.book(run, &self.received)
    }

    /// Of a receiver of many runs: the PREPAREs of no run that was known when they came. All had a
    /// fault.
    #[must_use]
    pub fn outside(&self) -> Option<&Received> {
        self.served.as_ref().map(|served| &served.outside)
    }

    /// Whether the book of this flow was asked for.
    #[must_use]
    pub fn was_asked(&self, run: u32, flow: u16) -> bool {
        self.served.as_ref().is_some_and(|served| served.was_asked(run, flow))
    }

    /// The run whose books were asked for since the last call.
    pub fn take_asked(&mut self) -> Option<u32> {
        self.served.as_mut()?.asked_now.take()
    }

    /// Its own address, from which it answers; empty if it only sends.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        self.destinations.as_ref().map_or(&b""[..], |it| it.receiver().as_bytes())
    }

    /// Checks a PREPARE and says what to answer.
    #[inline]
    pub fn receive<'p>(
        &mut self,
        packet: &'p [u8],
        utc_ms: u64,
        terms: &Terms,
        times: &mut timestamp::Cache,
    ) -> Reply<'p> {
        let run = match &self.served {
            Some(served) => served.open,
            None => Some(terms.run),
        };
        let checked = match self.check(packet, utc_ms, terms, times, run) {
            Err(Fault::Stranger | Fault::Malformed) if self.served.is_some() => {
                match self.stranger(packet, utc_ms, terms, times) {
                    Ok(checked) => checked,
                    Err(reply) => return reply,
                }
            }
            checked => checked,
        };
        self.received.prepares += 1;
        match checked {
            Ok(accepted) => self.answer(&accepted),
            Err(fault) => {
                self.received.faults[fault as usize] += 1;
                Self::refusal(fault.name())
            }
        }
    }

    /// A packet that is not of the run whose book is open: of another run, whose book is opened, a
    /// question for one, or of no run that is known.
    #[cold]
    fn stranger<'p>(
        &mut self,
        packet: &'p [u8],
        utc_ms: u64,
        terms: &Terms,
        times: &mut timestamp::Cache,
    ) -> Result<Result<Accepted<'p>, Fault>, Reply<'p>> {
        let prepare = Prepare::new_checked(packet).ok();
        let run = prepare.as_ref().and_then(|it| Header::read(it.data())).map(|header| header.run);
        let checked = self.check(packet, utc_ms, terms, times, run);
        let served = self.served.as_mut().expect("the caller has looked");
        if let (None, Some(prepare)) = (run, &prepare) {
            match served.answer(prepare.data(), &mut self.received) {
                Ok(answer) => return Err(Reply::Books(Box::new(answer.to_bytes(&served.key)))),
                Err(NoQuestion::OtherSeed) => return Err(Self::refusal(OTHER_SEED)),
                Err(NoQuestion::Other) => {}
            }
        }
        match (run, &checked) {
            (Some(run), Ok(_)) => served.turn_to(run, &mut self.received),
            (Some(run), Err(_)) if served.knows(run) => served.turn_to(run, &mut self.received),
            (_, Err(fault)) => {
                served.outside.prepares += 1;
                served.outside.faults[*fault as usize] += 1;
                return Err(Self::refusal(fault.name()));
            }
            (None, Ok(_)) => unreachable!("check() finds fault with what has no run"),
        }
        Ok(checked)
    }

    fn refusal<'p>(message: &'static str) -> Reply<'p> {
        Reply::Reject { code: ErrorCode::F00_BAD_REQUEST, message, data: b"" }
    }

    fn check<'p>(
        &self,
        packet: &'p [u8],
        utc_ms: u64,
        terms: &Terms,
        times: &mut timestamp::Cache,
        run: Option<u32>,
    ) -> Result<Accepted<'p>, Fault> {
        let prepare = Prepare::new_checked_cached(packet, times).map_err(|_| Fault::Malformed)?;
        let header = Header::read(prepare.data())
            .filter(|header| Some(header.run) == run)
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
        let amount = prepare.amount();
        let data = &prepare.into_data()[..HEADER_LEN];
        Ok(Accepted { header, data, amount, fulfillment })
    }

    fn answer<'p>(&mut self, accepted: &Accepted<'p>) -> Reply<'p> {
        let Accepted { header, data, amount, fulfillment } = accepted;
        match header.kind {
            Kind::Fulfilled => {
                self.received.fulfilled += 1;
                self.received.fulfilled_counts[usize::from(header.flow)] += 1;
                self.received.fulfilled_amounts[usize::from(header.flow)] += u128::from(*amount);
                Reply::Fulfill { fulfillment: *fulfillment, data }
            }
            Kind::WrongFulfillment => {
                Reply::Fulfill { fulfillment: fulfillment.map(|byte| !byte), data }
            }
            Kind::Rejected => {
                let (code, message) =
                    (ErrorCode::F99_APPLICATION_ERROR, "rejected, as its sender wished");
                Reply::Reject { code, message, data }
            }
            Kind::Expired => Reply::Silence,
            Kind::Unroutable => unreachable!("check() found fault with it"),
        }
    }
}

/// A PREPARE with which nothing is wrong.
struct Accepted<'p> {
    header: Header,
    /// The header, where it stands.
    data: &'p [u8],
    amount: u64,
    fulfillment: [u8; 32],
}

#[cfg(test)]
mod tests;
