//! How a run is driven: by the clock or by answers, and what it does while there is nothing to do.

use std::num::NonZeroU32;

use clap::Args;

use crate::engine::{Drive, Pace};
use crate::limits;
use crate::report::{CLOSED_LOOP, OPEN_LOOP};

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct DriveArgs {
    /// Closed loop: keep N PREPAREs in flight, over all ends, and send the next when one is
    /// answered. The rate is then the target's own, and its stalls do not show as they would to
    /// those who come at their own time. So --rate has no place beside it.
    #[arg(long, value_name = "N", value_parser = window)]
    #[arg(conflicts_with = "rate", allow_negative_numbers = true)]
    window: Option<NonZeroU32>,
    /// Look for work again at once when there is none, rather than sleep: takes a core for itself.
    #[arg(long)]
    spin: bool,
}

impl DriveArgs {
    pub(super) fn drive(self) -> Drive {
        Drive { pace: self.window.map_or(Pace::Open, Pace::Closed), spin: self.spin }
    }

    /// What a report says of it.
    pub(super) fn method(self) -> &'static str {
        if self.window.is_some() { CLOSED_LOOP } else { OPEN_LOOP }
    }
}

/// A number of PREPAREs in flight that one end has request ids for.
pub(super) fn window(text: &str) -> Result<NonZeroU32, String> {
    let window =
        text.parse().ok().filter(|it: &NonZeroU32| it.get() as usize <= limits::IN_FLIGHT_MAX);
    window.ok_or_else(|| format!("write a whole number from 1 to {}", limits::IN_FLIGHT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_from_one_to_as_many_as_there_are_ids() {
        for (text, taken) in [("0", false), ("1", true), ("1048576", true), ("1048577", false)] {
            assert_eq!(window(text).is_ok(), taken, "{text}");
        }
        assert!(window("many").unwrap_err().contains("from 1 to 1048576"));
    }
}
