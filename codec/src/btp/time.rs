//! The time of an ERROR: `YYYYMMDDHHMMSS[.f]Z` with up to three digits of fraction.
//!
//! Peers write three digits; the RFC allows fewer and knows no trailing zeros. We write three and
//! read what is either. A time that cannot be read drops nothing: the ERROR still answers (C5).

use crate::timestamp;

/// Bytes of a time as we write it.
pub const LEN: usize = 19;

/// Reads a time as milliseconds since 1970, or `None` if it is in no form that the RFC knows.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    let (seconds, rest) = text.split_first_chunk::<14>()?;
    let fraction = match rest {
        [b'Z'] => &[],
        [b'.', fraction @ .., b'Z'] if (1..=3).contains(&fraction.len()) => fraction,
        _ => return None,
    };
    let mut digits = [b'0'; timestamp::LEN];
    digits[..14].copy_from_slice(seconds);
    digits[14..14 + fraction.len()].copy_from_slice(fraction);
    timestamp::parse(&digits)
}

/// Writes an instant with three digits of fraction.
///
/// # Panics
///
/// If `ms` is beyond [`timestamp::MS_MAX`].
#[must_use]
pub fn write(ms: u64) -> [u8; LEN] {
    let digits = timestamp::write(ms);
    let mut text = *b"YYYYMMDDHHMMSS.mmmZ";
    text[..14].copy_from_slice(&digits[..14]);
    text[15..18].copy_from_slice(&digits[14..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c05_times_have_three_digits_when_written_and_up_to_three_when_read() {
        assert_eq!(&write(1_514_132_072_200), b"20171224161432.200Z");
        for text in ["20171224161432.200Z", "20171224161432.20Z", "20171224161432.2Z"] {
            assert_eq!(parse(text.as_bytes()), Some(1_514_132_072_200), "{text}");
        }
        assert_eq!(parse(b"20171224161432.002Z"), Some(1_514_132_072_002));
        assert_eq!(parse(b"20171224161432Z"), Some(1_514_132_072_000));
        for text in [
            "",
            "Z",
            "garbage",
            "20171224161432",
            "20171224161432.Z",
            "20171224161432.2000Z",
            "20171224161432,279Z",
            "20171224161432.2xZ",
            "20161231235960.852Z",
            "2017-12-24T16:14:32.279Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
