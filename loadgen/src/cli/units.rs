//! Numbers on the command line: each that does not fit is told with those that do.

use crate::limits;

/// PREPAREs a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    whole(text, limits::RATE_PER_S_MAX)
}

/// Seconds of a run.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    whole(text, limits::SECONDS_MAX)
}

fn whole(text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("write a whole number from 1 to {most}"))
}

/// A share of a whole: from 0 up to, not with, 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    ratio(text, 0.0..1.0)
        .ok_or_else(|| "give a ratio from 0 to less than 1, as in 0.001".to_owned())
}

/// A relative width.
pub(super) fn width(text: &str) -> Result<f64, String> {
    ratio(text, 0.0001..1.0).ok_or_else(|| "give a ratio from 0.0001 to less than 1".to_owned())
}

fn ratio(text: &str, allowed: std::ops::Range<f64>) -> Option<f64> {
    text.parse().ok().filter(|ratio| allowed.contains(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_seconds_are_whole_and_no_more_than_a_run_can_keep() {
        assert_eq!((rate("1"), rate("20000000")), (Ok(1), Ok(20_000_000)));
        assert_eq!(seconds("86400"), Ok(86_400));
        for text in ["0", "-5", "5.5", "many", "", "20000001", "99999999999999999999999"] {
            let sentence = "write a whole number from 1 to 20000000".to_owned();
            assert_eq!(rate(text), Err(sentence), "{text}");
        }
        assert!(seconds("86401").unwrap_err().ends_with("from 1 to 86400"));
    }

    #[test]
    fn ratios_stay_in_their_range() {
        assert_eq!((share("0"), share("0.001")), (Ok(0.0), Ok(0.001)));
        assert_eq!(width("0.05"), Ok(0.05));
        for text in ["1", "-0.1", "5%", "NaN", "inf", ""] {
            assert!(share(text).is_err() && width(text).is_err(), "{text}");
        }
        assert!(width("0").is_err());
    }
}
