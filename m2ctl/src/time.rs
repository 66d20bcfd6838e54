//! Instants on the command line and in what is printed: milliseconds since 1970, or RFC 3339.

use m2_codec::timestamp;

/// An instant as a user writes it: milliseconds since 1970, or RFC 3339 with any offset. What is
/// finer than a millisecond is dropped.
///
/// # Errors
///
/// A sentence that says how to write one.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ms = if is_number { text.parse().ok() } else { parse_rfc_3339(text) };
    ms.filter(|ms| *ms <= timestamp::MS_MAX).ok_or_else(|| {
        "no such time: write it as 2026-11-21T18:40:00.123Z, or as milliseconds since 1970".into()
    })
}

/// `2026-11-21T18:40:00.123Z`; the bare number where no calendar of ours has it.
pub(crate) fn text(ms: u64) -> String {
    if ms > timestamp::MS_MAX {
        return ms.to_string();
    }
    String::from_utf8_lossy(&timestamp::rfc_3339(ms)).into_owned()
}

fn parse_rfc_3339(text: &str) -> Option<u64> {
    let (moment, rest) = text.split_at_checked("2026-11-21T18:40:00".len())?;
    let pattern = b"0000-00-00T00:00:00";
    let mut digits = [b'0'; timestamp::LEN];
    let mut places = digits.iter_mut();
    for (byte, pattern) in moment.bytes().zip(pattern) {
        match pattern {
            b'0' => *places.next()? = byte,
            // The RFC allows a small letter, and a space for reading.
            b'T' if matches!(byte, b't' | b' ') => {}
            mark if *mark == byte => {}
            _ => return None,
        }
    }
    let (fraction, offset) = split_fraction(rest)?;
    for (place, digit) in places.zip(fraction.bytes()) {
        *place = digit;
    }
    let here_ms = i64::try_from(timestamp::parse(&digits)?).ok()?;
    u64::try_from(here_ms - offset_ms(offset)?).ok()
}

/// The digits of a second's fraction, and what stands behind.
fn split_fraction(rest: &str) -> Option<(&str, &str)> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(("", rest)) };
    let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then(|| fraction.split_at(count))
}

fn offset_ms(offset: &str) -> Option<i64> {
    if matches!(offset, "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |text: &str, most: i64| {
        let is_right = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_right && *number <= most)
    };
    let ms = (number(hours, 23)? * 60 + number(minutes, 59)?) * 60_000;
    match offset.as_bytes()[0] {
        b'+' => Some(ms),
        b'-' => Some(-ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_and_rfc_3339_are_the_same_instant() {
        for same in [
            "1748781045678",
            "2025-06-01T12:30:45.678Z",
            "2025-06-01t12:30:45.678999z",
            "2025-06-01 14:30:45.678+02:00",
            "2025-05-31T23:00:45.678-13:30",
        ] {
            assert_eq!(parse(same), Ok(1_748_781_045_678), "{same}");
        }
        assert_eq!(parse("2025-06-01T12:30:45Z"), Ok(1_748_781_045_000));
        assert_eq!(parse("2025-06-01T12:30:45.6Z"), Ok(1_748_781_045_600));
        assert_eq!(parse(&text(1_748_781_045_678)), Ok(1_748_781_045_678));
        assert_eq!(text(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn what_is_no_time_is_refused_and_never_a_panic() {
        let right = "2025-06-01T12:30:45.678+02:00";
        for end in 0..right.len() {
            let is_ms = right[..end].parse::<u64>().is_ok();
            assert_eq!(parse(&right[..end]).is_ok(), is_ms, "{}", &right[..end]);
        }
        for wrong in [
            "now",
            "253402300800000",
            "99999999999999999999999",
            "2025-02-30T12:30:45Z",
            "2025-06-01T12:30:45",
            "2025-06-01T12:30:45.Z",
            "2025-06-01T12:30:45+24:00",
            "2025-06-01T12:30:45+2:000",
            "2025-06-01T12:30:45é00:00",
            "2025-06-01T12:30:4é",
            "2025/06/01T12:30:45Z",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
