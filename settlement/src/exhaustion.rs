//! Peers that have no credit left with the switch, as it says: packets of theirs stop until they pay.
//!
//! Invariant: an account has an alarm a minute at the most, and the first is not put off.

use std::collections::BTreeMap;

use m2_settlement::event::Now;

use crate::limits::EXHAUSTION_TOLD_EVERY_MS;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Exhaustion {
    /// How often the switch has said so of accounts that settle here.
    pub(crate) count: u64,
    /// When an alarm was told last.
    told: BTreeMap<String, Now>,
    /// When the switch was last to credit an account for what its peer has given.
    paid: BTreeMap<String, Now>,
}

impl Exhaustion {
    /// A peer has paid.
    pub(crate) fn paid(&mut self, account: &str, now: Now) {
        self.paid.insert(account.to_owned(), now);
    }

    /// An account has no credit left. Gives the alarm, if it is time for one.
    pub(crate) fn note(&mut self, account: &str, now: Now) -> Option<String> {
        self.count += 1;
        // A clock that was set back puts no alarm off.
        let since_ms = self.told.get(account).and_then(|at| now.0.checked_sub(at.0));
        if since_ms.is_some_and(|since_ms| since_ms < EXHAUSTION_TOLD_EVERY_MS) {
            return None;
        }
        self.told.insert(account.to_owned(), now);
        let since = match self.paid.get(account) {
            Some(at) => format!("it paid {} s ago", now.0.saturating_sub(at.0) / 1_000),
            None => "it has paid nothing since this process started".to_owned(),
        };
        Some(format!("the peer has no credit left and its packets are refused: {since}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_then_one_a_minute_with_how_long_it_has_not_paid() {
        let mut exhaustion = Exhaustion::default();
        let start = 1_700_000_000_000;
        let mut note = |account: &str, after_ms| exhaustion.note(account, Now(start + after_ms));
        let first = note("bob", 0).unwrap();
        assert!(first.ends_with("it has paid nothing since this process started"), "{first}");
        assert_eq!(note("bob", 59_999), None);
        assert!(note("carol", 59_999).is_some());
        exhaustion.paid("bob", Now(start + 30_000));
        let again = exhaustion.note("bob", Now(start + 60_000)).unwrap();
        assert!(again.ends_with("it paid 30 s ago"), "{again}");
        assert_eq!(exhaustion.note("bob", Now(start + 60_000)), None);
        assert!(exhaustion.note("bob", Now(start)).is_some(), "the clock was set back");
        assert_eq!(exhaustion.count, 6);
    }
}
