//! How often everything that can go wrong did: a run in which a fault never occurred proves nothing
//! about it.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! faults {
    ($($fault:ident $text:literal;)*) => {
        /// What was done to a network, or happened in it.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Fault { $($fault),* }

        const TEXTS: &[&str] = &[$($text),*];
    };
}

faults! {
    CutInFrame "connection lost at some byte under way";
    CutIdle "connection lost with nothing under way";
    NeverSent "frame of which no byte was sent when the connection was lost";
    Replaced "connection replaced by a second one";
    StaleRequest "request on a connection that was replaced";
    OldAnswer "answer on a replaced connection to what left on it";
    Undelivered "fulfilled for a connection that is gone";
    RejectUndelivered "refused or rejected for a connection that is gone";
    SplitFrame "frame that arrived in pieces";
    Overtaken "packet overtaken by a later one on another way";
    DeafPeer "peer that does not read";
    SilentPeer "peer that never answers";
    SlowPeer "peer that answers after the expiry";
    AtDeadline "answer in the very nanosecond of its deadline";
    StalledShard "shard that stands still";
    ForwardRingFull "ring of Forwards between shards full";
    ForwardExpired "Forward that expired between shards";
    AnswersHeldBack "answers not handed in: ring of their bytes full";
    EgressClosed "connection closed: egress past its cap";
    ClockSkew "switches whose clocks differ";
    ClockBehind "Forward taken by a shard whose clock is behind";
    ClockStep "wall clock stepped with packets in flight";
    RatesApart "shards of a switch at different rates";
    RatesInFlight "rates changed with packets in flight";
    RoutesChanged "routes changed";
    Looped "packet that passed a switch twice";
    WrongFulfillment "wrong fulfillment";
    DuplicateAnswer "second answer to one packet";
    RejectThenFulfill "REJECT, then FULFILL";
    FulfillThenReject "FULFILL, then REJECT";
    ForeignId "answer under the id of another packet";
    UnknownId "answer under an id of nobody";
    NewerConnection "answer on a newer connection of the same peer";
    OtherAccount "answer on a connection of another peer";
    MalformedAnswer "malformed answer";
    EmptyAnswer "answer without a packet";
    LinkError "BTP ERROR as answer";
    JunkBehind "bytes behind a packet";
    LateEvidence "late FULFILL kept as evidence";
    ReusedId "request id used twice at once";
    RepeatedPrepare "the same PREPARE twice";
    AmountZero "amount 0";
    AmountHuge "amount of 2^64 - 1";
    AmountEdge "amount at a limit, one above or below";
    ExpiryPast "expiry in the past";
    ExpiryEdge "expiry about where too little time is left";
    ExpiryFar "expiry in the year 9999";
    MalformedRequest "request that is no PREPARE";
    BrokenFrame "bytes that are no frame";
    LongData "data of 1 to 32 KiB";
    Echo "echo";
    ChildConfig "IL-DCP request";
    Withheld "FULFILL withheld until its record is durable";
    Graced "FULFILL given at its grace moment";
    GracedAtOnce "FULFILL that came behind its grace moment";
    AtRisk "async FULFILL given before its record is durable";
    RiskFull "async FULFILL beyond what may be at risk";
    DurableEarly "record durable before its Answer came";
    DurableAgain "position told that was no news";
    WithheldLost "withheld FULFILL whose connection is gone";
    Backlog "withheld FULFILL that waits for room in its link's egress";
    BacklogLost "connection lost that a FULFILL waited for room on";
    JournalSlow "journal that stands still";
    JournalRefusing "journal that refuses";
    JournalFailed "journal that fails";
    UnrecordedFulfill "FULFILL given as the journal has failed";
    Credit "credit";
    KeyTwice "credit or reversal told twice";
    KeyWithoutRecord "credit or reversal that found no free record";
    Reversal "reversal";
    Frozen "amount frozen";
    Settled "frozen amount settled";
    Cancelled "frozen amount cancelled";
    LimitsChanged "limits changed";
    PastLimit "account left past its limit";
    Draining "switch draining";
    CrossShard "packet between two shards";
    SameShard "packet within one shard";
}

/// Faults that mean something for a run of some hundred seeds; all but none.
const FAULT_COUNT: usize = TEXTS.len();

/// What a run has seen.
#[derive(Clone, Debug)]
pub struct Coverage {
    faults: [u64; FAULT_COUNT],
    /// By name: how often each refusal was answered.
    refusals: BTreeMap<&'static str, u64>,
    /// PREPAREs that endpoints sent.
    pub sent: u64,
    /// Of these, how many they got a FULFILL for.
    pub fulfilled: u64,
    /// And how many a REJECT.
    pub rejected: u64,
    /// PREPAREs that switches took in, each once a switch.
    pub hops: u64,
    /// Calls of the core, each judged.
    pub steps: u64,
    /// Seeds.
    pub seeds: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        let refusals = m2_core::Refusal::names().map(|(name, _)| (name, 0)).collect();
        let faults = [0; FAULT_COUNT];
        Self { faults, refusals, sent: 0, fulfilled: 0, rejected: 0, hops: 0, steps: 0, seeds: 0 }
    }
}

impl Coverage {
    /// Of one seed that nothing has happened in.
    pub(crate) fn of_one() -> Self {
        Self { seeds: 1, ..Self::default() }
    }

    pub(crate) fn saw(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(crate) fn refused(&mut self, name: &'static str, count: u64) {
        *self.refusals.entry(name).or_default() += count;
    }

    /// Adds what another part of the run has seen.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.faults.iter_mut().zip(other.faults) {
            *sum += count;
        }
        for (name, count) in &other.refusals {
            self.refused(name, *count);
        }
        self.sent += other.sent;
        self.fulfilled += other.fulfilled;
        self.rejected += other.rejected;
        self.hops += other.hops;
        self.steps += other.steps;
        self.seeds += other.seeds;
    }

    /// What never occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let faults = TEXTS.iter().zip(self.faults).filter(|(_, count)| *count == 0);
        let refusals = self.refusals.iter().filter(|(_, count)| **count == 0);
        let faults = faults.map(|(text, _)| (*text).to_owned());
        faults.chain(refusals.map(|(name, _)| format!("refusal {name}"))).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  refusal", "times")?;
        for (name, count) in &self.refusals {
            writeln!(f, "{count:>12}  {name}")?;
        }
        writeln!(f, "{:>12}  fault", "times")?;
        for (text, count) in TEXTS.iter().zip(self.faults) {
            writeln!(f, "{count:>12}  {text}")?;
        }
        Ok(())
    }
}
