//! A workload: who sends what to whom, how fast and for how long, from one TOML file.
//!
//! The file is read in two steps: serde takes it apart (an unknown key is an error there), then
//! everything that could make a run senseless is checked, so that a [`Workload`] can be run as it
//! is. Every error names the line, what is wrong, and what to write instead.
//!
//! `docs/m2-load-workloads.md` describes the keys.

mod check;
mod destinations;
mod explain;
mod file;
mod target;

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use m2_codec::address::Address;
use m2_codec::url::BtpUrl;
use serde::Deserialize;

use crate::limits;
use crate::named::{self, Named};
use crate::payload::{Fulfillment, Kind};
use crate::schedule::{self, Phase, Process, Schedule};
use crate::traffic::{Plan, Traffic};
pub use destinations::Destinations;
use file::File;
pub use target::Target;

/// A workload that can be run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many PREPAREs a second, over all flows, and for how long.
    pub phases: Vec<Phase>,
    /// How they follow each other.
    pub process: Process,
    /// What they look like.
    pub traffic: Traffic,
    /// Whether file or command line name the seed of `traffic`: else it was chosen.
    pub has_seed: bool,
    /// How a packet's fulfillment follows from it.
    pub fulfillment: Fulfillment,
    /// How many packets are sent over and over; none if each is unique.
    pub repeat: Option<NonZeroU64>,
    /// The two or more accounts that the generator plays.
    pub ends: Vec<End>,
    /// Who pays whom.
    pub flows: Vec<Flow>,
    /// Destination of the packets that no route shall lead to.
    pub unroutable: Address,
}

/// One account of the target, played by us.
#[derive(Clone, Debug)]
pub struct End {
    /// Its name, also among the target's accounts.
    pub name: String,
    /// Where to connect.
    pub url: BtpUrl,
    /// What to show there.
    pub token: Token,
    /// What it does.
    pub role: Role,
    /// Asset code and scale, for the reader of the report.
    pub asset: String,
    /// Where PREPAREs for it are addressed to. A receiver has such addresses.
    pub destinations: Option<Destinations>,
}

/// Which way an end's PREPAREs go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It sends.
    Send,
    /// It receives.
    Receive,
    /// It does both on one connection.
    Both,
}

impl Role {
    fn sends(self) -> bool {
        self != Self::Receive
    }

    fn receives(self) -> bool {
        self != Self::Send
    }
}

/// A token, kept out of logs and error texts.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token that came from elsewhere than a workload.
    #[must_use]
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// The token in a file; a line break at its end is dropped.
    ///
    /// # Errors
    ///
    /// A sentence, when the file cannot be read or holds no token.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read_at_most(path, limits::TOKEN_LEN_MAX + 3)
            .map_err(|error| format!("{}: {error}; it must hold the token", path.display()))?;
        let token = text.trim_end_matches(['\r', '\n']);
        match token.len() {
            0 => Err(format!("{} is empty; it must hold the token", path.display())),
            1..=limits::TOKEN_LEN_MAX => Ok(Self(token.to_owned())),
            _ => Err(format!("{} is too long to be a token", path.display())),
        }
    }

    /// The token itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// PREPAREs from one end to another.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Index of the sending end.
    pub from: usize,
    /// Index of the receiving end.
    pub to: usize,
    /// The receiver must get `floor(amount x num / den)`.
    pub num: u64,
    /// See `num`.
    pub den: u64,
}

impl Flow {
    /// What the receiver must get of `amount`. `None` past 2^64 - 1.
    #[must_use]
    pub fn converted(&self, amount: u64) -> Option<u64> {
        let exact = u128::from(amount) * u128::from(self.num) / u128::from(self.den);
        u64::try_from(exact).ok()
    }
}

/// What the command line says instead of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// `--seconds`
    pub seconds: Option<u64>,
    /// `--rate`
    pub rate_per_s: Option<u64>,
    /// `--seed`
    pub seed: Option<u64>,
}

/// Why a workload cannot be run: one sentence with file, line, cause and fix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkloadError(String);

impl WorkloadError {
    /// A sentence of its own.
    pub(crate) const fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The leading bytes of a file as text. A device or a pipe may have no end, and tells no length.
pub(crate) fn read_at_most(path: &Path, len_max: usize) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(len_max as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// The text of the file at `path`, or of the workload that ships under this name.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn text_at(path: &Path) -> Result<String, WorkloadError> {
    if let Some(named) = path.to_str().and_then(Named::find) {
        return Ok(named.text.to_owned());
    }
    let refused = |why: &dyn fmt::Display| {
        WorkloadError(format!(
            "cannot read the workload {}: {why}; give --workload the path of a TOML file, or one of {}",
            path.display(),
            named::names()
        ))
    };
    let len_max = limits::WORKLOAD_LEN_MAX;
    let text = read_at_most(path, len_max + 1).map_err(|error| refused(&error))?;
    if text.len() > len_max {
        return Err(refused(&format_args!("it has more than {len_max} bytes")));
    }
    Ok(text)
}

impl Workload {
    /// Reads the file at `path`, or the workload that ships under this name: a name has neither
    /// `/` nor `.`. `chosen_seed` is taken where neither file nor command line name one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or describes nothing that can be run.
    pub fn load(
        path: &Path,
        overrides: Overrides,
        chosen_seed: u64,
    ) -> Result<Self, WorkloadError> {
        Self::parse(&text_at(path)?, &path.display().to_string(), overrides, chosen_seed)
    }

    /// The same from the file's text; `name` stands in error texts.
    ///
    /// # Errors
    ///
    /// When the text describes nothing that can be run.
    pub fn parse(
        text: &str,
        name: &str,
        overrides: Overrides,
        chosen_seed: u64,
    ) -> Result<Self, WorkloadError> {
        let source = Source { text, name };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let sentence = explain::explain(text, at.start, error.message());
            source.error(at, &sentence)
        })?;
        check::check(&file, &source, overrides, chosen_seed)
    }

    /// When its packets are due.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule::new(&self.phases, self.process, self.traffic.seed)
    }

    /// How long packets are sent.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// PREPAREs a second, over all flows; where that changes, the mean rounded down.
    #[must_use]
    pub fn rate_per_s(&self) -> u64 {
        schedule::count(&self.phases) / self.seconds()
    }

    /// The same workload at one rate, whatever its phases were.
    #[must_use]
    pub fn at_rate(&self, rate_per_s: u64, seconds: u64) -> Self {
        Self { phases: vec![Phase::constant(rate_per_s, seconds)], ..self.clone() }
    }

    /// Where a packet is addressed to.
    #[must_use]
    #[inline]
    pub fn destination(&self, plan: &Plan) -> &[u8] {
        if plan.kind == Kind::Unroutable {
            return self.unroutable.as_bytes();
        }
        self.destinations(&self.flows[usize::from(plan.flow)]).at(plan.destination)
    }

    /// The own address of a flow's receiver, from which it answers.
    #[must_use]
    #[inline]
    pub fn receiver(&self, flow: &Flow) -> &Address {
        self.destinations(flow).receiver()
    }

    fn destinations(&self, flow: &Flow) -> &Destinations {
        let destinations = self.ends[flow.to].destinations.as_ref();
        destinations.expect("a flow was checked to lead to an end that has an address")
    }

    /// The longest time that any of its packets has, in milliseconds.
    #[must_use]
    pub fn expiry_ms_max(&self) -> u64 {
        let silent = self.traffic.mix.per_mille(Kind::Expired) > 0;
        let silent_ms = if silent { self.traffic.silent_expiry_ms.most() } else { 0 };
        silent_ms.max(self.traffic.expiry_ms.most())
    }
}

/// The text of a workload and its name, for errors.
struct Source<'a> {
    text: &'a str,
    name: &'a str,
}

impl Source<'_> {
    /// The folder that holds the file, from which the paths in it start.
    fn folder(&self) -> &Path {
        Path::new(self.name).parent().unwrap_or_else(|| Path::new(""))
    }

    fn error(&self, at: Range<usize>, cause_and_fix: &str) -> WorkloadError {
        let before = &self.text.as_bytes()[..at.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        WorkloadError(format!("{}:{line}: {cause_and_fix}", self.name))
    }
}

#[cfg(test)]
mod tests;
