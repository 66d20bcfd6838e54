//! The log: to standard error, as text or JSON, never per packet, and bounded where a peer could
//! make it grow.
//!
//! Lines that are evidence of money have a budget of their own, so that no flood of others leaves
//! them out.

use std::io;
use std::time::{Duration, Instant};

use m2_core::{Intent, KeyNews, Notice, Unrecorded, UnrecordedFulfill};
use m2_journal::Health;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat, LogSection};
use crate::shard::message::Event;

/// Starts the log.
pub(crate) fn start(section: LogSection) {
    let builder =
        fmt().with_max_level(section.level).with_writer(|| Lossy).log_internal_errors(false);
    match section.format {
        LogFormat::Text => builder.with_target(false).with_ansi(false).init(),
        LogFormat::Json => builder.with_target(false).json().flatten_event(true).init(),
    }
}

/// Standard error, and nothing where it cannot be written: a log on a full disk, or whose reader is gone,
/// must not end the process that it tells of.
struct Lossy;

impl io::Write for Lossy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::Write::write_all(&mut io::stderr(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets a number of lines a second through and counts the rest.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// For whom it counts.
    what: &'static str,
    per_s: u32,
    second_began: Instant,
    told: u32,
    left_out_now: u64,
    left_out: u64,
}

impl Limiter {
    pub(crate) fn new(what: &'static str, per_s: u32) -> Self {
        Self { what, per_s, second_began: Instant::now(), told: 0, left_out_now: 0, left_out: 0 }
    }

    /// Logs, or counts.
    pub(crate) fn tell(&mut self, log: impl FnOnce()) {
        if self.second_began.elapsed() >= Duration::from_secs(1) {
            if self.left_out_now > 0 {
                let (lines, what) = (self.left_out_now, self.what);
                tracing::warn!(lines, what, "lines were left out of the log");
            }
            *self = Self { left_out: self.left_out, ..Self::new(self.what, self.per_s) };
        }
        if self.told < self.per_s {
            self.told += 1;
            log();
        } else {
            self.left_out_now += 1;
            self.left_out += 1;
        }
    }

    /// Lines left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Whether what an event tells may stand nowhere else: FULFILLs that came too late, that could not be
/// given to whom they are owed, or that went on without a record.
pub(crate) fn is_evidence(event: &Event) -> bool {
    match event {
        Event::Notice(Notice::LateFulfill { .. } | Notice::Undelivered { .. }) => true,
        Event::Down { fulfills_unsent, .. } => *fulfills_unsent > 0,
        Event::Journal(..) | Event::JournalComplaint(_) | Event::Unrecorded(_) => true,
        Event::Up(_)
        | Event::Notice(Notice::CreditExhausted { .. })
        | Event::Keys(_)
        | Event::TalkMessage { .. }
        | Event::TalkReply { .. }
        | Event::ShutdownCut { .. } => false,
    }
}

/// One event of the shard.
pub(crate) fn event(config: &Config, event: &Event) {
    let name = |account: m2_core::AccountId| &*config.accounts[account.0 as usize].name;
    match event {
        Event::Up(account) => tracing::info!(account = name(*account), "link up"),
        Event::Down { account, cause, prepares_unsent, fulfills_unsent } => {
            let account = name(*account);
            let cause = cause.text();
            if *fulfills_unsent > 0 {
                tracing::warn!(
                    account,
                    cause,
                    prepares_unsent,
                    fulfills_unsent,
                    "link down; the peer lacks FULFILLs that count"
                );
            } else {
                tracing::info!(account, cause, prepares_unsent, "link down");
            }
        }
        Event::ShutdownCut { in_flight } => tracing::warn!(
            in_flight,
            "shutdown_ms is up: packets still in flight are left without an answer"
        ),
        Event::Notice(notice) => self::notice(&name, notice),
        Event::Unrecorded(fulfills) => fulfills.iter().for_each(|one| unrecorded(&name, one)),
        // For whoever settles, and no line of the log.
        Event::TalkMessage { .. } | Event::TalkReply { .. } => {}
        Event::Keys(news) => news.iter().for_each(|one| key_news(&name, one)),
        Event::JournalComplaint(Some(complaint)) => {
            tracing::warn!(
                "the journal takes records, but keeps what it no longer needs: {complaint}"
            );
        }
        Event::JournalComplaint(None) => {
            tracing::info!("the journal's snapshots are written, and old files go again");
        }
        Event::Journal(Health::Ready, reason) => {
            tracing::info!("new packets are taken again: {reason}")
        }
        Event::Journal(Health::Refusing(_), reason) => {
            tracing::warn!("new packets are refused (T03): {reason}");
        }
        Event::Journal(Health::Failed, reason) => tracing::error!(
            "new packets are refused (T03), and the switch ends when those in flight have: {reason}"
        ),
    }
}

fn notice<'a>(name: &impl Fn(m2_core::AccountId) -> &'a str, notice: &Notice) {
    match notice {
        Notice::LateFulfill { evidence, recorded } => tracing::warn!(
            account = name(evidence.connection.account),
            request_id = evidence.request_id,
            fulfillment = %hex(&evidence.fulfillment),
            recorded,
            "a FULFILL came after its packet had expired: it changes no ledger"
        ),
        // See `control/exhausted.rs`.
        Notice::CreditExhausted { .. } => {}
        Notice::Undelivered { connection, request_id, amount, condition_head } => tracing::warn!(
            account = name(connection.account),
            request_id,
            amount,
            condition = %hex(condition_head),
            "a FULFILL that counts could not be delivered: its connection is gone"
        ),
    }
}

/// What is to be paid. How it ended is told by whoever paid it.
fn key_news<'a>(name: &impl Fn(m2_core::AccountId) -> &'a str, news: &KeyNews) {
    if let KeyNews::Frozen(Intent { account, key, amount, .. }) = news {
        let key = hex(&key.0);
        tracing::info!(account = name(*account), %key, amount, "an amount is to be paid");
    }
}

/// One packet that a crash may make us forget: who owes what for it, and where its record would stand.
fn unrecorded<'a>(name: &impl Fn(m2_core::AccountId) -> &'a str, fulfill: &UnrecordedFulfill) {
    let UnrecordedFulfill { stream, position, connection, request_id, amount, condition_head, why } =
        *fulfill;
    let why = match why {
        Unrecorded::Grace => "its PREPARE was about to expire (sync_grace_ms)",
        Unrecorded::Failed => "the journal has failed",
    };
    tracing::warn!(
        account = name(connection.account),
        request_id,
        amount,
        stream = stream.0,
        position,
        condition = %hex(&condition_head),
        why,
        "a FULFILL went on unrecorded"
    );
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limiter = Limiter::new("lines", 50);
        let mut told = 0;
        for _ in 0..1_000 {
            limiter.tell(|| told += 1);
        }
        assert!(told >= 50);
        assert_eq!(told + limiter.left_out(), 1_000);
    }
}
