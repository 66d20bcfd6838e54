//! Interledger timestamps (IL-RFC 30): `YYYYMMDDHHMMSSmmm`, 17 digits, UTC.
//!
//! Inside of the switch an instant is a count of milliseconds since 1970, so that it can be compared
//! and shortened. What is read is checked in full, days of the month and leap years included; a
//! 60th second is refused (A17).
//!
//! The expiries of a second mostly lie in a few minutes. So [`Cache`] remembers the first twelve
//! digits of minutes and is left with five: it answers as the plain functions do, in a fraction of
//! the time. Sixteen entries, because expiries straddle minutes and one entry would thrash.

/// Digits of a timestamp.
pub const LEN: usize = 17;

/// The last instant that has 17 digits: 9999-12-31 23:59:59.999.
pub const MS_MAX: u64 = 253_402_300_799_999;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Reads `digits` as milliseconds since 1970, or `None` if it is no date and time that exists.
///
/// An instant before 1970 reads as 0: it is a valid timestamp, and past for any clock of ours.
#[must_use]
pub fn parse(digits: &[u8; LEN]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        digits[from..to].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let (hour, minute, second, ms) =
        (number(8, 10), number(10, 12), number(12, 14), number(14, 17));
    let exists = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !exists {
        return None;
    }
    let Some(days) = days_since_1970(year, month, day) else { return Some(0) };
    Some(days * DAY_MS + (hour * 60 + minute) * MINUTE_MS + second * 1000 + ms)
}

/// Writes the instant `ms` milliseconds after the start of 1970.
///
/// # Panics
///
/// If `ms` is beyond [`MS_MAX`]: no sum of ours gets there.
#[must_use]
pub fn write(ms: u64) -> [u8; LEN] {
    assert!(ms <= MS_MAX, "an instant has four digits for its year");
    let mut digits = [0; LEN];
    digits[..12].copy_from_slice(&minute_digits(ms / MINUTE_MS));
    digits[12..].copy_from_slice(&rest_digits(ms % MINUTE_MS));
    digits
}

/// Bytes of an instant as [`rfc_3339`] writes it.
pub const RFC_3339_LEN: usize = 24;

/// Writes the instant as people read it, by RFC 3339: `2026-11-21T18:40:00.123Z`.
///
/// # Panics
///
/// As [`write()`].
#[must_use]
pub fn rfc_3339(ms: u64) -> [u8; RFC_3339_LEN] {
    let digits = write(ms);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let places = text.iter_mut().filter(|byte| **byte == b'0');
    for (place, digit) in places.zip(digits) {
        *place = digit;
    }
    text
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_400_YEARS: u64 = 146_097;

/// Days from 1 January 1970, or `None` before it.
///
/// Years are counted from 1 March, so that the leap day is the last of its year; then the days before
/// month `m` are `(153 * m + 2) / 5`, since five months from March on always have 153 days.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some(days - DAYS_TO_1970)
}

/// Year, month and day; the inverse of [`days_since_1970`].
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (cycle, day_of_cycle) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // A day is taken off for each leap day before it, so that 365 divides what is left.
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// `YYYYMMDDHHMM` of the minute that begins `minutes` after the start of 1970.
fn minute_digits(minutes: u64) -> [u8; 12] {
    let (year, month, day) = date_of(minutes / (24 * 60));
    let minute_of_day = minutes % (24 * 60);
    let pairs = [year / 100, year % 100, month, day, minute_of_day / 60, minute_of_day % 60]
        .map(two_digits);
    let mut digits = [0; 12];
    for (slot, pair) in digits.chunks_exact_mut(2).zip(pairs) {
        slot.copy_from_slice(&pair);
    }
    digits
}

/// `SSmmm` of the given millisecond of a minute.
#[inline]
fn rest_digits(ms: u64) -> [u8; 5] {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let ([s1, s2], [m1, m2], [_, m3]) =
        (two_digits(seconds), two_digits(ms / 10), two_digits(ms % 10));
    [s1, s2, m1, m2, m3]
}

/// Reads the last five of eight digits, the second and the millisecond, all at once.
///
/// The bytes of a word are the digits, the first one lowest. Three multiplications join neighbours:
/// digits to pairs, pairs to fours, fours to the number.
#[inline]
fn parse_rest(last: &[u8; 8]) -> Option<u64> {
    const MINUTE: u64 = 0xff_ffff;
    const ZEROS: u64 = u64::from_le_bytes([0, 0, 0, b'0', b'0', b'0', b'0', b'0']);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    /// What reaches the high bit with 10, and with 6 where the tens of the second stand.
    const TO_HIGH_BIT: u64 = u64::from_le_bytes([0, 0, 0, 0x7a, 0x76, 0x76, 0x76, 0x76]);

    // The lowest byte that is no digit has its high bit set, here or after the addition: no byte
    // below it borrows or carries. Bytes above it may be wrong, but they cannot clear that bit.
    let word = (u64::from_le_bytes(*last) & !MINUTE).wrapping_sub(ZEROS);
    if (word | word.wrapping_add(TO_HIGH_BIT)) & HIGH_BITS != 0 {
        return None;
    }
    let pairs = word.wrapping_mul(1 + (10 << 8)) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(1 + (100 << 16)) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(1 + (10_000 << 32)) >> 32)
}

/// The two digits of each number below 100.
static TWO_DIGITS: [[u8; 2]; 100] = {
    let mut digits = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        #[expect(clippy::cast_possible_truncation, reason = "below 100")]
        let (tens, ones) = ((value / 10) as u8, (value % 10) as u8);
        digits[value] = [b'0' + tens, b'0' + ones];
        value += 1;
    }
    digits
};

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below 100")]
fn two_digits(value: u64) -> [u8; 2] {
    TWO_DIGITS[value as usize]
}

const ENTRIES: usize = 16;

/// One minute: its digits, and when it begins.
#[derive(Clone, Copy, Debug)]
struct Minute {
    digits: [u8; 12],
    start_ms: u64,
}

impl Minute {
    /// The first minute of all: where it stands, it is as true as any other.
    const FIRST: Self = Self { digits: *b"197001010000", start_ms: 0 };
}

/// Reads and writes timestamps as [`parse`] and [`write()`] do, faster where minutes repeat.
#[derive(Clone, Debug)]
pub struct Cache {
    /// By the last two digits: reading knows no more before it has calculated.
    read: [Minute; ENTRIES],
    /// By the number of the minute.
    written: [Minute; ENTRIES],
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self { read: [Minute::FIRST; ENTRIES], written: [Minute::FIRST; ENTRIES] }
    }

    /// As [`parse`].
    #[inline]
    pub fn parse(&mut self, digits: &[u8; LEN]) -> Option<u64> {
        let minute: &[u8; 12] = digits.first_chunk().expect("12 of 17");
        // Neighbouring minutes of an hour fall on neighbouring entries.
        let index = usize::from(minute[10]) * 10 + usize::from(minute[11]);
        let entry = &self.read[index % ENTRIES];
        if entry.digits != *minute {
            return self.parse_and_keep(digits, index % ENTRIES);
        }
        let rest_ms = parse_rest(digits.last_chunk().expect("8 of 17"))?;
        Some(entry.start_ms + rest_ms)
    }

    #[cold]
    fn parse_and_keep(&mut self, digits: &[u8; LEN], index: usize) -> Option<u64> {
        let ms = parse(digits)?;
        // Before 1970 the minute has no start that could be kept.
        if ms > 0 {
            let minute = digits.first_chunk().expect("12 of 17");
            self.read[index] = Minute { digits: *minute, start_ms: ms - ms % MINUTE_MS };
        }
        Some(ms)
    }

    /// As [`write()`].
    ///
    /// # Panics
    ///
    /// If `ms` is beyond [`MS_MAX`].
    #[inline]
    pub fn write(&mut self, ms: u64) -> [u8; LEN] {
        assert!(ms <= MS_MAX, "an instant has four digits for its year");
        let minutes = ms / MINUTE_MS;
        let entry = &mut self.written[minutes as usize % ENTRIES];
        if entry.start_ms != minutes * MINUTE_MS {
            *entry = Minute { digits: minute_digits(minutes), start_ms: minutes * MINUTE_MS };
        }
        let mut digits = [0; LEN];
        digits[..12].copy_from_slice(&entry.digits);
        digits[12..].copy_from_slice(&rest_digits(ms - entry.start_ms));
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_every_day_from_1970_to_9999_is_read_and_written_alike() {
        let mut day_ms = 0;
        for year in 1970..=9999 {
            for month in 1..=12 {
                for day in 1..=days_of_month(year, month) {
                    let text = format!("{year:04}{month:02}{day:02}000000000");
                    let digits: &[u8; LEN] = text.as_bytes().try_into().unwrap();
                    assert_eq!(parse(digits), Some(day_ms), "{text}");
                    assert_eq!(&write(day_ms), digits);
                    day_ms += DAY_MS;
                }
            }
        }
        assert_eq!(day_ms, MS_MAX + 1);
    }

    #[test]
    fn a16_what_does_not_exist_is_refused() {
        for text in [
            "20250001123045678",
            "20251301123045678",
            "20250600123045678",
            "20250631123045678",
            "20250229123045678",
            "20240230123045678",
            "21000229123045678",
            "20250601240000000",
            "20250601236000000",
            "2025060112304567 ",
            "2025060112304567x",
            "-0250601123045678",
            "0x250601123045678",
            "00000000000000000",
        ] {
            let digits: &[u8; LEN] = text.as_bytes().try_into().unwrap();
            assert_eq!(parse(digits), None, "{text}");
            assert_eq!(Cache::new().parse(digits), None, "{text}");
        }
        assert!(parse(b"20240229235959999").is_some());
        assert!(parse(b"20000229000000000").is_some());
    }

    #[test]
    fn a17_the_sixtieth_second_is_refused() {
        assert_eq!(parse(b"20161231235960852"), None);
        let mut cache = Cache::new();
        assert_eq!(cache.parse(b"20161231235959852"), Some(1_483_228_799_852));
        assert_eq!(cache.parse(b"20161231235960852"), None);
    }

    #[test]
    fn a18_the_epoch_is_valid_and_what_lies_before_it_reads_as_the_epoch() {
        assert_eq!(parse(b"19700101000000000"), Some(0));
        assert_eq!(parse(b"19691231235959999"), Some(0));
        assert_eq!(parse(b"00000101000000000"), Some(0));
        assert_eq!(parse(b"00990101000000000"), Some(0));
        assert_eq!(parse(b"99991231235959999"), Some(MS_MAX));
        let mut cache = Cache::new();
        assert_eq!(cache.parse(b"19691231235959999"), Some(0));
        assert_eq!(cache.parse(b"19691231235959999"), Some(0));
        assert_eq!(cache.parse(b"19700101000000001"), Some(1));
    }

    #[test]
    fn a20_milliseconds_are_padded_and_years_have_four_digits() {
        assert_eq!(&write(0), b"19700101000000000");
        assert_eq!(&write(7), b"19700101000000007");
        assert_eq!(&write(1_748_781_045_678), b"20250601123045678");
        assert_eq!(&write(MS_MAX), b"99991231235959999");
    }

    #[test]
    fn an_instant_for_people_has_the_same_digits() {
        assert_eq!(&rfc_3339(0), b"1970-01-01T00:00:00.000Z");
        assert_eq!(&rfc_3339(1_748_781_045_678), b"2025-06-01T12:30:45.678Z");
        assert_eq!(&rfc_3339(MS_MAX), b"9999-12-31T23:59:59.999Z");
    }

    #[test]
    #[should_panic(expected = "four digits")]
    fn a20_the_year_10000_is_not_written() {
        let _ = write(MS_MAX + 1);
    }

    #[test]
    fn a21_an_empty_cache_knows_only_what_is_true() {
        let mut cache = Cache::new();
        assert_eq!(cache.parse(&[0; LEN]), None);
        assert_eq!(cache.parse(b"19700101000059999"), Some(59_999));
        assert_eq!(&cache.write(59_999), b"19700101000059999");
    }
}
