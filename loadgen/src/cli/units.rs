//! Ratios on the command line.

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
    fn ratios_stay_in_their_range() {
        assert_eq!((share("0"), share("0.001")), (Ok(0.0), Ok(0.001)));
        assert_eq!(width("0.05"), Ok(0.05));
        for text in ["1", "-0.1", "5%", "NaN", "inf", ""] {
            assert!(share(text).is_err() && width(text).is_err(), "{text}");
        }
        assert!(width("0").is_err());
    }
}
