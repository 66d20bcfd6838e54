//! All checks, in the order in which they are played and reported.
//!
//! A row says which clause it holds a target to, how hard that clause is, what is sent, and what is
//! expected; its function plays it. Rows of one family stand together, in one file.
//!
//! Invariant: ids are unique and stay what they are: kept reports are compared by them.

mod answers;
mod auth;
mod expiry;
mod forwarding;
mod link;
mod malformed;
mod peer;
mod websocket;

use super::answer::Answer;
use super::peers::{Peers, Stop};

/// How hard a clause is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// The RFC demands it, in that word or by saying what the protocol is.
    Must,
    /// The RFC recommends it, or gives a code its meaning without demanding its use.
    Should,
    /// The RFCs leave it open: what the target does is told and not judged.
    Open,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Open => "open",
        }
    }
}

/// What a check cannot be played without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Needs {
    /// The target.
    Target,
    /// A second account, to see what is forwarded.
    Receiver,
    /// A WebSocket.
    WebSocket,
}

/// One thing that is looked at.
pub(super) struct Check {
    pub(super) id: &'static str,
    pub(super) clause: &'static str,
    pub(super) level: Level,
    pub(super) needs: Needs,
    pub(super) sent: &'static str,
    pub(super) expected: &'static str,
    pub(super) play: fn(&mut Peers) -> Played,
}

/// What came.
pub(super) struct Came {
    /// Whether it is what was expected; of no weight where the clause is open.
    pub(super) is_expected: bool,
    pub(super) text: String,
    /// What the target wrote for the eye.
    pub(super) message: Option<String>,
}

/// How a check went.
pub(super) type Played = Result<Came, Stop>;

impl Came {
    fn new(is_expected: bool, text: impl Into<String>) -> Self {
        Self { is_expected, text: text.into(), message: None }
    }

    /// An answer, which is expected if `is_expected`.
    fn answer(is_expected: bool, answer: &Answer) -> Self {
        Self { is_expected, text: answer.to_string(), message: answer.message() }
    }

    /// A PREPARE that is to be refused: expected if it is, and nothing of it is forwarded.
    fn refused(answer: &Answer, is_forwarded: bool) -> Self {
        if is_forwarded {
            return Self::new(false, "it was forwarded");
        }
        Self::answer(answer.reject().is_some(), answer)
    }

    /// The same in other words.
    fn saying(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// What an open clause finds.
    fn told(text: impl Into<String>) -> Self {
        Self::new(true, text)
    }
}

/// The check of a plain payment, which all that need a receiver rest on.
pub(super) const PLAIN: &str = "forward.fulfill";

/// Families of checks.
const FAMILIES: &[&[Check]] = &[
    auth::CHECKS,
    link::CHECKS,
    websocket::CHECKS,
    malformed::CHECKS,
    peer::CHECKS,
    forwarding::CHECKS,
    answers::CHECKS,
    expiry::CHECKS,
];

/// Every check.
pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_each_row_says_what_it_sends_and_expects() {
        assert!(all().any(|check| check.id == PLAIN));
        let mut ids = HashSet::new();
        for check in all() {
            assert!(ids.insert(check.id), "{} stands there twice", check.id);
            assert!(check.id.contains('.') && check.id.is_ascii(), "{}", check.id);
            assert!(check.id != PLAIN || check.needs == Needs::Receiver);
            for words in [check.clause, check.sent, check.expected] {
                assert!(!words.is_empty() && !words.ends_with('.'), "{}: {words:?}", check.id);
            }
        }
    }
}
