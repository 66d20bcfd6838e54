//! A workload: who sends what to whom, how fast and for how long, from one TOML file.
//!
//! The file is read in two steps: serde takes it apart (an unknown key is an error there), then
//! everything that could make a run senseless is checked, so that a [`Workload`] can be run as it
//! is. Every error names the line, what is wrong, and what to write instead.
//!
//! `docs/m2-load.md` describes the keys.

mod explain;
mod file;

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use m2_codec::address::{Address, AddressError};
use m2_codec::url::{BtpUrl, UrlError};
use serde::Deserialize;
use toml::Spanned;

use crate::limits;
use crate::payload::{Fulfillment, HEADER_LEN, Kind};
use crate::schedule::Schedule;
use crate::traffic::{Alias, Mix, PER_MILLE, Span, Traffic};
use file::{EndTable, File, FlowTable, TrafficTable};

/// A workload that can be run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// PREPAREs a second, over all flows.
    pub rate_per_s: u64,
    /// How long they are sent.
    pub seconds: u64,
    /// What they look like.
    pub traffic: Traffic,
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
    /// Where PREPAREs for it are addressed to. A receiver has one.
    pub address: Option<Address>,
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

impl Workload {
    /// Reads the file at `path`. `chosen_seed` is taken where neither file nor command line name
    /// one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or describes nothing that can be run.
    pub fn load(
        path: &Path,
        overrides: Overrides,
        chosen_seed: u64,
    ) -> Result<Self, WorkloadError> {
        let refused = |why: &dyn fmt::Display| {
            WorkloadError(format!(
                "cannot read the workload {}: {why}; give --workload the path of a TOML file",
                path.display()
            ))
        };
        let len_max = limits::WORKLOAD_LEN_MAX;
        let text = read_at_most(path, len_max + 1).map_err(|error| refused(&error))?;
        if text.len() > len_max {
            return Err(refused(&format_args!("it has more than {len_max} bytes")));
        }
        Self::parse(&text, &path.display().to_string(), overrides, chosen_seed)
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
        check(&file, &source, overrides, chosen_seed)
    }

    /// When its packets are due.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule::constant(self.rate_per_s, self.seconds)
    }

    /// Where a packet of this flow and kind is addressed to.
    ///
    /// # Panics
    ///
    /// Never: a flow was checked to lead to an end that has an address.
    #[must_use]
    pub fn destination(&self, flow: &Flow, kind: Kind) -> &Address {
        if kind == Kind::Unroutable {
            return &self.unroutable;
        }
        self.ends[flow.to].address.as_ref().expect("a receiver has an address")
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
    fn error(&self, at: Range<usize>, cause_and_fix: &str) -> WorkloadError {
        let before = &self.text.as_bytes()[..at.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        WorkloadError(format!("{}:{line}: {cause_and_fix}", self.name))
    }
}

fn check(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
    chosen_seed: u64,
) -> Result<Workload, WorkloadError> {
    let rate_per_s = checked_rate(file, source, overrides)?;
    let seconds = checked_seconds(file, source, overrides)?;
    let ends = checked_ends(file, source)?;
    let amount = checked_amount(&file.traffic, source)?;
    let (flows, by_weight) = checked_flows(file, source, &ends, &amount)?;
    let expiry_ms = span(&(10_000..=30_000));
    let expiry_ms = checked_expiry(file.traffic.expiry_ms.as_ref(), source, expiry_ms)?;
    let silent_expiry_ms =
        checked_expiry(file.traffic.silent_expiry_ms.as_ref(), source, expiry_ms)?;
    let traffic = Traffic {
        seed: overrides.seed.or(file.seed).unwrap_or(chosen_seed),
        mix: checked_mix(file, source)?,
        amount,
        data_len: checked_data_len(&file.traffic, source)?,
        expiry_ms,
        silent_expiry_ms,
        flows: by_weight,
    };
    let repeat = checked_repeat(&file.traffic, source, &traffic)?;
    check_silent_in_flight(file, source, rate_per_s, seconds, &traffic)?;
    let unroutable = checked_unroutable(file, source, &ends, &flows)?;
    let fulfillment = file.traffic.fulfillment;
    Ok(Workload { rate_per_s, seconds, traffic, fulfillment, repeat, ends, flows, unroutable })
}

fn checked_rate(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<u64, WorkloadError> {
    let (rate, from) = match overrides.rate_per_s {
        Some(rate) => (rate, "--rate"),
        None => (*file.rate_per_s.get_ref(), "rate_per_s"),
    };
    if (1..=limits::RATE_PER_S_MAX).contains(&rate) {
        return Ok(rate);
    }
    let text = format!(
        "{from} is {rate}, which no run can keep; write a whole number from 1 to {}",
        limits::RATE_PER_S_MAX
    );
    Err(source.error(file.rate_per_s.span(), &text))
}

fn checked_seconds(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<u64, WorkloadError> {
    let (seconds, from) = match overrides.seconds {
        Some(seconds) => (seconds, "--seconds"),
        None => (*file.seconds.get_ref(), "seconds"),
    };
    if (1..=limits::SECONDS_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    let text =
        format!("{from} is {seconds}; write a whole number from 1 to {}", limits::SECONDS_MAX);
    Err(source.error(file.seconds.span(), &text))
}

fn checked_ends(file: &File, source: &Source<'_>) -> Result<Vec<End>, WorkloadError> {
    let mut ends: Vec<End> = Vec::with_capacity(file.ends.len());
    for table in &file.ends {
        let end = checked_end(table, source)?;
        if ends.iter().any(|other| other.name == end.name) {
            let text = format!(
                "two ends are named '{}'; an account has one connection, so give each its own",
                end.name
            );
            return Err(source.error(table.get_ref().name.span(), &text));
        }
        ends.push(end);
    }
    if ends.len() > limits::FLOWS_MAX {
        let text = format!("{} ends; at most {} are taken", ends.len(), limits::FLOWS_MAX);
        return Err(source.error(0..0, &text));
    }
    Ok(ends)
}

fn checked_end(table: &Spanned<EndTable>, source: &Source<'_>) -> Result<End, WorkloadError> {
    let end = table.get_ref();
    let name = end.name.get_ref();
    let (url, token) = checked_url(end, source)?;
    let address = match &end.address {
        Some(address) => Some(checked_address(address, source)?),
        None if end.role.receives() => {
            let text = format!(
                "end '{name}' receives and has no address; add address = \"...\", the ILP address \
                 that the target routes to it"
            );
            return Err(source.error(table.span(), &text));
        }
        None => None,
    };
    let asset = end.asset.clone();
    Ok(End { name: name.clone(), url, token, role: end.role, asset, address })
}

fn checked_url(end: &EndTable, source: &Source<'_>) -> Result<(BtpUrl, Token), WorkloadError> {
    let name = end.name.get_ref();
    let url: BtpUrl = end.url.get_ref().parse().map_err(|error: UrlError| {
        let text = format!(
            "url of end '{name}': {error}; write one like btp+ws://{name}@127.0.0.1:7768/, \
             btp+tcp://127.0.0.1:7769 or btp+unix:///run/btp.sock"
        );
        source.error(end.url.span(), &text)
    })?;
    let in_url = url.token.clone().map(Token);
    let token = match (&end.token, in_url) {
        (Some(_), Some(_)) => {
            let text = format!("end '{name}' has a token and another in its url; leave one out");
            return Err(source.error(end.url.span(), &text));
        }
        (Some(token), None) => token.clone(),
        (None, Some(token)) => token,
        (None, None) => {
            let text = format!(
                "end '{name}' has no token; add token = \"...\", or write btp+ws://name:token@host"
            );
            return Err(source.error(end.url.span(), &text));
        }
    };
    Ok((url, token))
}

fn checked_address(
    address: &Spanned<String>,
    source: &Source<'_>,
) -> Result<Address, WorkloadError> {
    address.get_ref().parse().map_err(|error: AddressError| {
        let text = format!(
            "'{}' is no ILP address: {error}; write one like test.connector.bob",
            address.get_ref()
        );
        source.error(address.span(), &text)
    })
}

fn checked_flows(
    file: &File,
    source: &Source<'_>,
    ends: &[End],
    amount: &Span,
) -> Result<(Vec<Flow>, Alias), WorkloadError> {
    if file.flows.is_empty() || file.flows.len() > limits::FLOWS_MAX {
        let text = format!(
            "{} flows; write at least one [[flows]] with from = and to =, and at most {}",
            file.flows.len(),
            limits::FLOWS_MAX
        );
        return Err(source.error(0..0, &text));
    }
    let mut flows = Vec::with_capacity(file.flows.len());
    let mut weights = Vec::with_capacity(file.flows.len());
    for table in &file.flows {
        let flow = checked_flow(table, source, ends, amount)?;
        let weight = &table.get_ref().weight;
        if !(1..=limits::FLOW_WEIGHT_MAX).contains(weight.get_ref()) {
            let text = format!("weight must be from 1 to {}", limits::FLOW_WEIGHT_MAX);
            return Err(source.error(weight.span(), &text));
        }
        weights.push(*weight.get_ref());
        flows.push(flow);
    }
    let by_weight = Alias::new(&weights).expect("2^12 weights of a million are a sum of 32 bits");
    Ok((flows, by_weight))
}

fn checked_flow(
    table: &Spanned<FlowTable>,
    source: &Source<'_>,
    ends: &[End],
    amount: &Span,
) -> Result<Flow, WorkloadError> {
    let file = table.get_ref();
    let from = end_named(&file.from, source, ends)?;
    let to = end_named(&file.to, source, ends)?;
    if !ends[from].role.sends() {
        let text = format!("end '{}' only receives; give it role = \"both\"", ends[from].name);
        return Err(source.error(file.from.span(), &text));
    }
    if !ends[to].role.receives() {
        let text = format!("end '{}' only sends; give it role = \"both\"", ends[to].name);
        return Err(source.error(file.to.span(), &text));
    }
    if from == to {
        let text = "a flow from an end to itself would be refused as unreachable; name two ends";
        return Err(source.error(table.span(), text));
    }
    let (num, den) = (*file.num.get_ref(), *file.den.get_ref());
    if num == 0 || den == 0 {
        return Err(source.error(table.span(), "num and den must be at least 1"));
    }
    let flow = Flow { from, to, num, den };
    let least = flow.converted(amount.least());
    if least.is_none_or(|least| least == 0) || flow.converted(amount.most()).is_none() {
        let text = format!(
            "amounts from {} to {} at {num}/{den} leave the receiver with 0 or with more than \
             2^64 - 1; change [traffic] amount, or num and den",
            amount.least(),
            amount.most()
        );
        return Err(source.error(table.span(), &text));
    }
    Ok(flow)
}

fn end_named(
    name: &Spanned<String>,
    source: &Source<'_>,
    ends: &[End],
) -> Result<usize, WorkloadError> {
    ends.iter().position(|end| end.name == *name.get_ref()).ok_or_else(|| {
        let known: Vec<&str> = ends.iter().map(|end| end.name.as_str()).collect();
        let text = format!(
            "no end is named '{}'; there are: {}",
            name.get_ref(),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        source.error(name.span(), &text)
    })
}

fn checked_amount(traffic: &TrafficTable, source: &Source<'_>) -> Result<Span, WorkloadError> {
    let fix = "write amount = [least, most], both at least 1 and least not above most";
    checked_range(traffic.amount.as_ref(), source, span(&(1..=1_000)), 1..=u64::MAX, fix)
}

fn checked_data_len(traffic: &TrafficTable, source: &Source<'_>) -> Result<Span, WorkloadError> {
    let header_len = HEADER_LEN as u64;
    let fix = format!(
        "write data_bytes = [least, most] from {HEADER_LEN} (what a packet carries to be checked) \
         to {}",
        limits::DATA_LEN_MAX
    );
    let allowed = header_len..=limits::DATA_LEN_MAX;
    checked_range(traffic.data_bytes.as_ref(), source, span(&(header_len..=120)), allowed, &fix)
}

fn checked_expiry(
    range: Option<&Spanned<Vec<u64>>>,
    source: &Source<'_>,
    default: Span,
) -> Result<Span, WorkloadError> {
    let fix = format!(
        "write an expiry range as [least, most] in milliseconds, from 1 to {}",
        limits::EXPIRY_MS_MAX
    );
    checked_range(range, source, default, 1..=limits::EXPIRY_MS_MAX, &fix)
}

fn checked_range(
    range: Option<&Spanned<Vec<u64>>>,
    source: &Source<'_>,
    default: Span,
    allowed: RangeInclusive<u64>,
    fix: &str,
) -> Result<Span, WorkloadError> {
    let Some(spanned) = range else { return Ok(default) };
    // A list of another length is no range, also where its first two numbers would make one.
    let &[least, most] = spanned.get_ref().as_slice() else {
        let sentence = explain::misfit_at(source.text, spanned.span().start);
        return Err(source.error(spanned.span(), &sentence));
    };
    if least <= most && allowed.contains(&least) && allowed.contains(&most) {
        return Ok(span(&(least..=most)));
    }
    Err(source.error(spanned.span(), &format!("[{least}, {most}] cannot be used; {fix}")))
}

/// A range that is known to hold values, and not 2^64 of them.
fn span(range: &RangeInclusive<u64>) -> Span {
    Span::new(range).expect("the least is not above the most, and not 0 where that is 2^64 - 1")
}

/// Repeated packets hold every share exactly if they are thousands, and fit in memory.
fn checked_repeat(
    table: &TrafficTable,
    source: &Source<'_>,
    traffic: &Traffic,
) -> Result<Option<NonZeroU64>, WorkloadError> {
    let Some(spanned) = &table.repeat else { return Ok(None) };
    let count = *spanned.get_ref();
    let is_mixed = traffic.mix.per_mille(Kind::Fulfilled) < PER_MILLE;
    if is_mixed && count % u64::from(PER_MILLE) != 0 {
        let text = format!(
            "repeat = {count} would not give each kind of [mix] its share; write a multiple of \
             {PER_MILLE}"
        );
        return Err(source.error(spanned.span(), &text));
    }
    let bytes = count.saturating_mul(traffic.data_len.most() + limits::BODY_OVERHEAD_LEN);
    NonZeroU64::new(count).filter(|_| bytes <= limits::REPEAT_BYTES_MAX).map(Some).ok_or_else(|| {
        let text = format!(
            "repeat is {count}; write a number from 1 to {}, which are {} MiB of packets with data \
             of {} bytes",
            limits::REPEAT_BYTES_MAX / (traffic.data_len.most() + limits::BODY_OVERHEAD_LEN),
            limits::REPEAT_BYTES_MAX >> 20,
            traffic.data_len.most()
        );
        source.error(spanned.span(), &text)
    })
}

fn checked_mix(file: &File, source: &Source<'_>) -> Result<Mix, WorkloadError> {
    let Some(spanned) = &file.mix else {
        return Ok(Mix::new([PER_MILLE, 0, 0, 0, 0]).expect("a thousand is a thousand"));
    };
    let mix = spanned.get_ref();
    let shares = [mix.fulfilled, mix.rejected, mix.expired, mix.wrong_fulfillment, mix.unroutable];
    Mix::new(shares).ok_or_else(|| {
        let sum: u64 = shares.iter().copied().map(u64::from).sum();
        let text = format!("the shares of [mix] add up to {sum}; they are per mille: make it 1000");
        source.error(spanned.span(), &text)
    })
}

/// Silent packets pile up until they expire; more than there are request ids would stop the run.
fn check_silent_in_flight(
    file: &File,
    source: &Source<'_>,
    rate_per_s: u64,
    seconds: u64,
    traffic: &Traffic,
) -> Result<(), WorkloadError> {
    let silent_per_mille = u64::from(traffic.mix.per_mille(Kind::Expired));
    let held_ms = traffic.silent_expiry_ms.most().min(seconds * 1_000);
    let in_flight = u128::from(rate_per_s) * u128::from(silent_per_mille) * u128::from(held_ms)
        / (u128::from(PER_MILLE) * 1_000);
    if in_flight <= limits::IN_FLIGHT_MAX as u128 / 2 {
        return Ok(());
    }
    let text = format!(
        "{in_flight} silent packets would be in flight at once, and half of {} is the most; lower \
         rate_per_s, [mix] expired or [traffic] silent_expiry_ms",
        limits::IN_FLIGHT_MAX
    );
    Err(source.error(file.rate_per_s.span(), &text))
}

/// Given, or made: a name in the receivers' own network that nobody has.
fn checked_unroutable(
    file: &File,
    source: &Source<'_>,
    ends: &[End],
    flows: &[Flow],
) -> Result<Address, WorkloadError> {
    if let Some(address) = &file.traffic.unroutable_address {
        return checked_address(address, source);
    }
    let receiver = ends[flows[0].to].address.as_ref().expect("a receiver has an address");
    let scheme = receiver.as_str().split('.').next().expect("split gives one part at least");
    Ok(format!("{scheme}.m2-load-unroutable").parse().expect("a scheme and one segment"))
}

#[cfg(test)]
mod tests;
