//! Numbers with a meaning on the command line: times, shares and widths.

/// A time with its unit, in nanoseconds.
pub(super) fn time_ns(text: &str) -> Result<u64, String> {
    let fix = "give a number and its unit, as in 500us, 2.5ms or 1s";
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(fix)?;
    let (number, unit) = text.split_at(at);
    let unit_ns = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(fix.to_owned()),
    };
    let ns: f64 = number.parse::<f64>().map_err(|_| fix)? * unit_ns;
    if !(1.0..=3.6e12).contains(&ns) {
        return Err("give a time from 1ns to 3600s".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 1 to 3.6e12
    let whole = ns.round() as u64;
    Ok(whole)
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
    fn a_time_has_a_unit() {
        for (text, ns) in
            [("500us", 500_000), ("2.5ms", 2_500_000), ("1s", 1_000_000_000), ("7ns", 7)]
        {
            assert_eq!(time_ns(text), Ok(ns));
        }
        for text in ["", "5", "us", "-1s", "1m", "1 s", "1.2.3s", "0ns", "3601s", "1e3s", "infs"] {
            assert!(time_ns(text).is_err(), "{text}");
        }
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
