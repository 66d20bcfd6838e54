//! `m2ctl settlement`: what a running `m2-settle` does, and what it is told to.
//!
//! One line goes to its control socket, one comes back; `docs/settlement.md` is the contract of both. What it
//! answers is not trusted: it is read up to a limit, and shown without what could move a cursor.

mod ask;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::output::{Failure, Verdict};
use ask::ask;

/// What can be asked of a settlement process.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How each account and chain is, and what waits. Exit status 1 if something has to be looked at: a
    /// paused account, a chain that is not seen, a close that is not answered yet.
    Status(Subject),
    /// Every payment channel with its deposits and its state; a close that is disputed among them.
    Channels(Subject),
    /// Every claim: given and acknowledged, held, credited and redeemed.
    Claims(Subject),
    /// What settling has cost: transactions, gas, money for each claim that was redeemed.
    Cost(Subject),
    /// Have the switch freeze now what it owes an account, whatever its threshold; it is paid then.
    Pay(OfAccount),
    /// Redeem now what an account's payment channels hold, worth the fee or not.
    Redeem(OfAccount),
    /// End an account's payment channels: at once, if the peer agrees.
    Close(Close),
    /// Take a frozen amount back, if no claim that was signed pays any of it. The switch owes it again.
    Cancel(Cancel),
    /// End the pause of an account, which a deposit that vanished has brought about. Its limits in the switch
    /// are yours to restore.
    Resume(OfAccount),
}

#[derive(Args, Debug)]
pub(crate) struct Subject {
    /// The control_socket of m2-settle's configuration
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OfAccount {
    /// As the switch names it
    account: String,
    #[command(flatten)]
    subject: Subject,
}

#[derive(Args, Debug)]
pub(crate) struct Close {
    /// As the switch names it
    account: String,
    /// Ask the chain, not the peer: what is left of the deposit comes back when the window has passed
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    subject: Subject,
}

#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// 32 hexadecimal digits
    key: String,
    #[command(flatten)]
    subject: Subject,
}

/// Runs a command.
///
/// # Errors
///
/// When nobody answers, or with a no.
pub(crate) fn run(command: &Command) -> Result<Verdict, Failure> {
    match command {
        Command::Status(subject) => show::shown(subject, show::status),
        Command::Channels(subject) => show::shown(subject, show::channels),
        Command::Claims(subject) => show::shown(subject, show::claims),
        Command::Cost(subject) => show::shown(subject, show::cost),
        Command::Pay(it) => {
            let answer = ask(&it.subject.socket, &json!({ "cmd": "pay", "account": it.account }))?;
            let text = match answer["amount"].as_str() {
                Some(amount) => format!(
                    "{amount} units are frozen under the key {}",
                    answer["key"].as_str().unwrap_or_default()
                ),
                None => "nothing is owed".to_owned(),
            };
            show::done(&it.subject, &answer, &text)
        }
        Command::Redeem(it) => {
            let answer =
                ask(&it.subject.socket, &json!({ "cmd": "redeem", "account": it.account }))?;
            show::done(&it.subject, &answer, "what is held is redeemed")
        }
        Command::Close(it) => {
            let how = if it.alone { "alone" } else { "together" };
            let request = json!({ "cmd": "close", "account": it.account, "how": how });
            let answer = ask(&it.subject.socket, &request)?;
            let text = if it.alone {
                "a close is asked for: `channels` shows until when claims count"
            } else {
                "the peer is asked to agree: `channels` shows how far it is"
            };
            show::done(&it.subject, &answer, text)
        }
        Command::Cancel(it) => {
            let answer = ask(&it.subject.socket, &json!({ "cmd": "cancel", "key": it.key }))?;
            show::done(&it.subject, &answer, "the frozen amount is owed again")
        }
        Command::Resume(it) => {
            let answer =
                ask(&it.subject.socket, &json!({ "cmd": "resume", "account": it.account }))?;
            show::done(
                &it.subject,
                &answer,
                "the account is no longer paused; its limits are yours to restore",
            )
        }
    }
}
