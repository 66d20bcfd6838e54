//! A rate as an operator writes it, `"2.5"`, as a ratio of two integers: exact, with no float.

use core::fmt;

/// Why a text is not a rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DecimalError {
    /// Something other than digits with at most one point between them.
    NotDecimal,
    /// Nothing would go out.
    Zero,
    /// As a reduced fraction it needs more than 64 bits above or below.
    TooLong,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDecimal => "must be digits with at most one point between them, as in \"2.5\"",
            Self::Zero => "must be above zero",
            Self::TooLong => "has too many digits: write at most 19",
        })
    }
}

/// `"2.5"` is `(5, 2)`: reduced, neither part zero.
pub(super) fn ratio(text: &str) -> Result<(u64, u64), DecimalError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(DecimalError::NotDecimal),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut numerator = 0_u128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        numerator = numerator
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(u128::from(byte - b'0')))
            .ok_or(DecimalError::TooLong)?;
    }
    if numerator == 0 {
        return Err(DecimalError::Zero);
    }
    let places = u32::try_from(fraction.len()).map_err(|_| DecimalError::TooLong)?;
    let denominator = 10_u128.checked_pow(places).ok_or(DecimalError::TooLong)?;
    let divisor = greatest_common_divisor(numerator, denominator);
    let part = |value: u128| u64::try_from(value / divisor).map_err(|_| DecimalError::TooLong);
    Ok((part(numerator)?, part(denominator)?))
}

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_becomes_its_reduced_fraction() {
        assert_eq!(ratio("2.5"), Ok((5, 2)));
        assert_eq!(ratio("1"), Ok((1, 1)));
        assert_eq!(ratio("1.000"), Ok((1, 1)));
        assert_eq!(ratio("007"), Ok((7, 1)));
        assert_eq!(ratio("0.1"), Ok((1, 10)));
        assert_eq!(ratio("0.333333333333333333"), Ok((333_333_333_333_333_333, 10_u64.pow(18))));
        assert_eq!(ratio("18446744073709551615"), Ok((u64::MAX, 1)));
    }

    #[test]
    fn what_is_not_a_decimal_is_refused() {
        for text in ["", ".", ".5", "5.", "1.2.3", "-1", "+1", "1e3", "1_000", " 1", "1/2", "٣"] {
            assert_eq!(ratio(text), Err(DecimalError::NotDecimal), "{text:?}");
        }
        for text in ["0", "0.0", "000.000"] {
            assert_eq!(ratio(text), Err(DecimalError::Zero), "{text:?}");
        }
    }

    #[test]
    fn what_needs_more_than_64_bits_is_refused_not_rounded() {
        assert_eq!(ratio("18446744073709551616"), Err(DecimalError::TooLong));
        assert_eq!(ratio("0.00000000000000000001"), Err(DecimalError::TooLong));
        assert_eq!(ratio(&"9".repeat(60)), Err(DecimalError::TooLong));
        assert_eq!(ratio(&format!("0.{}1", "0".repeat(60))), Err(DecimalError::TooLong));
    }
}
