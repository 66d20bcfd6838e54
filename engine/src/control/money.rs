//! Orders about money, and how the journal is, as operators are told.

use m2_core::{Durability, JournalState, KeyError};
use m2_journal::recover::Recovered;
use serde_json::{Map, Value, json};

use super::Shared;
use super::request::Order;
use crate::clock;
use crate::journal::Words;
use crate::shard::Obeyed;

/// An order that was not obeyed, or is not known to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) text: String,
    /// The same order may be obeyed later; else somebody has to look at it.
    pub(super) again: bool,
}

impl Refusal {
    /// One that passes.
    pub(super) fn passing(text: &str) -> Self {
        Self { text: text.into(), again: true }
    }

    fn lasting(text: String) -> Self {
        Self { text, again: false }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let again = match error {
            KeyError::NoRecord | KeyError::Outstanding { .. } => true,
            KeyError::Full | KeyError::Differs { .. } | KeyError::Unknown => false,
        };
        Self { text: error.to_string(), again }
    }
}

/// Does what an operator asks for; the answer comes when its record is durable.
pub(super) async fn money(shared: &Shared, name: &str, order: Order) -> Result<Value, String> {
    let Obeyed { known, frozen, .. } =
        give(shared, name, order).await.map_err(|refusal| refusal.text)?;
    Ok(match order {
        Order::Freeze { .. } => json!({
            "ok": true,
            "known": known,
            "amount": frozen.map(|amount| amount.to_string()),
        }),
        Order::Limits { .. } => json!({ "ok": true }),
        _ => json!({ "ok": true, "known": known }),
    })
}

/// Gives an order, and waits until its record is durable.
///
/// # Errors
///
/// When it was not obeyed, or is not known to be recorded.
pub(super) async fn give(shared: &Shared, name: &str, order: Order) -> Result<Obeyed, Refusal> {
    let unknown = || format!("there is no account `{name}`: `accounts` names them all");
    let account = *shared.names.get(name).ok_or_else(|| Refusal::lasting(unknown()))?;
    let is_unrecorded = shared.config.accounts.iter().any(|it| it.durability == Durability::None);
    let is_recorded = shared.joints.words.is_some();
    // What was frozen before comes to its end, whatever an account has now.
    let ends = is_recorded && matches!(order, Order::Settled { .. } | Order::Cancelled { .. });
    if is_unrecorded && !ends && !matches!(order, Order::Limits { .. }) {
        // What a payment rests on would be forgotten, and the payment not.
        let text = "an account has durability = \"none\", and so no payment is recorded";
        return Err(Refusal::lasting(text.into()));
    }
    shared.order(account, order).await
}

/// What `journal` answers.
pub(super) fn journal(shared: &Shared) -> Value {
    let Some(words) = &shared.joints.words else {
        return json!({ "ok": true, "state": "none" });
    };
    let times = words.commit_times();
    let reason = match slow_ms(shared, words) {
        Some(ms) => format!("a write and flush of the journal has taken {ms} ms so far"),
        None => shared.journal_reason.borrow().clone(),
    };
    let streams: Vec<_> =
        (0..words.shards()).map(|stream| json!({ "durable": words.durable(stream) })).collect();
    json!({
        "ok": true,
        "state": state_word(state_of(shared, words)),
        "reason": reason,
        "complaint": *shared.journal_complaint.borrow(),
        "path": shared.config.journal.path,
        "recovered": shared.joints.recovered.as_deref().map(|it| recovered(shared, it)),
        "streams": streams,
        "commits": times.commits,
        "commit_us": {
            "p50": times.median_us,
            "p99": times.p99_us,
            "p99.9": times.p999_us,
            "max": times.longest_us,
        },
    })
}

/// What was read at the start.
fn recovered(shared: &Shared, recovered: &Recovered) -> Value {
    let perhaps: Map<String, Value> = recovered
        .undelivered
        .by_account
        .iter()
        .map(|(account, perhaps)| {
            let told = json!({ "count": perhaps.count, "value": perhaps.value.to_string() });
            (shared.name(*account).to_owned(), told)
        })
        .collect();
    let notes: Vec<_> = recovered.notes.iter().map(ToString::to_string).collect();
    json!({
        "generation": recovered.generation,
        "records": recovered.records,
        "notes": notes,
        "perhaps_undelivered": perhaps,
    })
}

/// How the journal is, in a word.
pub(super) fn state(shared: &Shared) -> &'static str {
    shared.joints.words.as_ref().map_or("none", |words| state_word(state_of(shared, words)))
}

/// As the journal thread tells it, unless that has been waiting for the disk for too long.
fn state_of(shared: &Shared, words: &Words) -> JournalState {
    let state = words.state();
    if state == JournalState::Ready && slow_ms(shared, words).is_some() {
        return JournalState::Refusing;
    }
    state
}

/// For how long a write has been under way, if that is too long.
fn slow_ms(shared: &Shared, words: &Words) -> Option<u64> {
    let now_ns = clock::mono_ns();
    let oldest = (0..words.shards()).map(|stream| words.commit_age_ns(stream, now_ns)).max();
    let ms = oldest.unwrap_or(0) / clock::NS_PER_MS;
    (ms > u64::from(shared.config.journal.slow_ms)).then_some(ms)
}

fn state_word(state: JournalState) -> &'static str {
    match state {
        JournalState::Ready => "ready",
        JournalState::Refusing => "refusing",
        JournalState::Failed => "failed",
    }
}
