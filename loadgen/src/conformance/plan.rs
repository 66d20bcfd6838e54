//! What a run is told: where the target is, who we are there, and how long to wait.
//!
//! Invariant: a [`Plan`] can be played as it is; whatever makes that senseless was refused here, in
//! a sentence that holds no token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use m2_codec::address::Address;
use m2_codec::url::BtpUrl;

use super::checks;
use crate::workload::{End, Role, Token};

/// The command line of `m2-load conformance`.
#[derive(Args, Debug)]
pub struct ConformanceArgs {
    /// Where we send: btp+ws://NAME:TOKEN@HOST:PORT/PATH, btp+tcp://..., btp+unix://...
    #[arg(long, value_name = "URL")]
    target: String,
    /// A file with the token, instead of the one in the URL.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A second account of the target, where we receive. Without it what is forwarded cannot be
    /// seen, and half of the checks do not apply.
    #[arg(long, value_name = "URL")]
    receiver: Option<String>,
    /// A file with the receiver's token, instead of the one in its URL.
    #[arg(long, value_name = "FILE", requires = "receiver")]
    receiver_token_file: Option<PathBuf>,
    /// The address that the target routes to the receiver; asked for by IL-DCP if left out.
    #[arg(long, value_name = "ADDRESS", requires = "receiver")]
    receiver_address: Option<String>,
    /// An address that no route of the target leads to.
    #[arg(long, value_name = "ADDRESS")]
    unroutable: Option<String>,
    /// Units in a PREPARE.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    amount: u64,
    /// The receiver gets floor(amount x NUM / DEN); 1/1 unless IL-DCP tells of two assets.
    #[arg(long, value_name = "NUM/DEN")]
    rate: Option<String>,
    /// The largest amount that the target takes from us in one packet, if it has a limit.
    #[arg(long, value_name = "N")]
    packet_amount_max: Option<u64>,
    /// How long an answer may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    wait_ms: u64,
    /// The time given to packets that are left without an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 4000)]
    silent_expiry_ms: u64,
    /// What the report calls the target.
    #[arg(long, value_name = "TEXT", default_value = "target")]
    name: String,
    /// Plays only this check, or the checks of this family (the first part of an id); may be given
    /// more than once.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Prints the report as JSON, and nothing else on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes the report as JSON to this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,
}

/// A run that can be played.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) name: String,
    pub(super) sender: End,
    pub(super) receiver: Option<End>,
    pub(super) receiver_address: Option<Address>,
    pub(super) unroutable: Option<Address>,
    pub(super) amount: u64,
    pub(super) rate: Option<(u64, u64)>,
    pub(super) packet_amount_max: Option<u64>,
    pub(super) wait: Duration,
    pub(super) silent: Duration,
    only: Vec<String>,
}

impl Plan {
    /// Checks a command line.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong and what to write instead.
    pub fn new(args: &ConformanceArgs) -> Result<Self, String> {
        let sender = end("target", &args.target, args.token_file.as_deref())?;
        let receiver = match &args.receiver {
            Some(url) => Some(end("receiver", url, args.receiver_token_file.as_deref())?),
            None => None,
        };
        if receiver.as_ref().is_some_and(|receiver| is_same_account(receiver, &sender)) {
            return Err(
                "--receiver is the account of --target; it must be another account of the \
                        same connector"
                    .into(),
            );
        }
        let plan = Self {
            name: args.name.clone(),
            sender,
            receiver,
            receiver_address: address("--receiver-address", args.receiver_address.as_deref())?,
            unroutable: address("--unroutable", args.unroutable.as_deref())?,
            amount: within("--amount", args.amount, 2, u64::MAX / 2)?,
            rate: args.rate.as_deref().map(rate).transpose()?,
            packet_amount_max: args.packet_amount_max,
            wait: Duration::from_millis(within("--wait-ms", args.wait_ms, 100, 60_000)?),
            silent: Duration::from_millis(within(
                "--silent-expiry-ms",
                args.silent_expiry_ms,
                500,
                30_000,
            )?),
            only: args.only.clone(),
        };
        let is_known = |only: &&String| checks::all().any(|check| is_meant(check.id, only));
        match args.only.iter().find(|only| !is_known(only)) {
            Some(only) => Err(format!(
                "--only {only}: there is no such check, and no such family; families are {}",
                families().join(", ")
            )),
            None => Ok(plan),
        }
    }

    /// Whether a check is to be played.
    pub(super) fn plays(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| is_meant(id, only))
    }
}

/// Whether `only` is the id or its family.
fn is_meant(id: &str, only: &str) -> bool {
    id == only || id.split('.').next() == Some(only)
}

/// The first parts of all ids, in the order of the checks.
fn families() -> Vec<&'static str> {
    let mut found = Vec::new();
    for check in checks::all() {
        let family = check.id.split('.').next().unwrap_or(check.id);
        if !found.contains(&family) {
            found.push(family);
        }
    }
    found
}

fn is_same_account(one: &End, other: &End) -> bool {
    one.url == other.url && one.token == other.token
}

fn end(role: &str, url: &str, token_file: Option<&Path>) -> Result<End, String> {
    let url: BtpUrl = url.parse().map_err(|error| {
        format!(
            "--{role}: {error}; write one like btp+ws://alice:token@127.0.0.1:7768/, \
             btp+tcp://alice:token@127.0.0.1:7769 or btp+unix://alice:token@/run/btp.sock"
        )
    })?;
    let in_file = token_file.map(Token::read).transpose()?;
    let token = match (url.token.clone().map(Token::new), in_file) {
        (Some(_), Some(_)) => {
            return Err(format!(
                "--{role} has a token in its URL and another in a file; leave one out"
            ));
        }
        (Some(token), None) | (None, Some(token)) => token,
        (None, None) => {
            let file = if role == "target" { "--token-file" } else { "--receiver-token-file" };
            return Err(format!(
                "--{role} has no token; write btp+ws://name:token@host, or give {file}"
            ));
        }
    };
    let name = url.username.clone().unwrap_or_default();
    Ok(End { name, url, token, role: Role::Both, asset: String::new(), destinations: None })
}

fn address(option: &str, text: Option<&str>) -> Result<Option<Address>, String> {
    let Some(text) = text else { return Ok(None) };
    let read = text.parse::<Address>();
    read.map(Some).map_err(|error| {
        format!("{option} '{text}' is no ILP address: {error}; write one like test.connector.bob")
    })
}

fn rate(text: &str) -> Result<(u64, u64), String> {
    let parts =
        text.split_once('/').and_then(|(num, den)| Some((num.parse().ok()?, den.parse().ok()?)));
    parts.filter(|&(num, den): &(u64, u64)| num > 0 && den > 0).ok_or_else(|| {
        format!("--rate '{text}' is no ratio of two whole numbers above 0; write one like 5/2")
    })
}

fn within(option: &str, value: u64, min: u64, max: u64) -> Result<u64, String> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{option} {value} is out of range; it takes {min} to {max}"))
    }
}
