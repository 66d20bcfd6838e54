//! Length prefixes and what they introduce: the Octet Encoding Rules as IL-RFC 30 uses them.
//!
//! ```text
//! 0x00..=0x7f                     the length itself
//! 0x80 | n, then n bytes          the length, big endian, in as few bytes as it needs; n is 1..=8
//! ```
//!
//! One length has one encoding here: a prefix that is longer than it must be is refused (A3). Peers
//! disagree about such prefixes, and what we accept we would send on.

use core::fmt;
use core::ops::Range;

/// Why some bytes are not what the Octet Encoding Rules demand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// The bytes end before the field does.
    Truncated,
    /// A length prefix is indefinite, has more than eight bytes, or is longer than its value needs.
    BadLength,
    /// A field is longer than this protocol allows.
    TooLong,
    /// An integer has no bytes, or more than 64 bits.
    BadInteger,
}

const _: () = assert!(size_of::<DecodeError>() == 1);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end before the field does",
            Self::BadLength => "a length prefix is not in its shortest form",
            Self::TooLong => "a field is longer than allowed",
            Self::BadInteger => "an integer has no bytes or more than 64 bits",
        })
    }
}

impl core::error::Error for DecodeError {}

/// Reads the length prefix at `offset`: the length, and the offset of what it introduces.
///
/// Whether that many bytes follow is not looked at, so a reader of a stream can refuse a length that
/// it will not wait for.
///
/// # Errors
///
/// [`DecodeError::Truncated`] or [`DecodeError::BadLength`]; the latter as soon as it is certain.
#[inline(always)]
pub fn length(bytes: &[u8], offset: usize) -> Result<(usize, usize), DecodeError> {
    match *bytes.get(offset..).ok_or(DecodeError::Truncated)? {
        [len @ 0..=0x7f, ..] => Ok((usize::from(len), offset + 1)),
        [0x81, len @ 0x80..=0xff, ..] => Ok((usize::from(len), offset + 2)),
        [0x82, high @ 1..=0xff, low, ..] => {
            Ok((usize::from(u16::from_be_bytes([high, low])), offset + 3))
        }
        ref rest => long_length(rest).map(|(len, size)| (len, offset + size)),
    }
}

/// The rare forms: lengths above 65,535, and everything that is wrong.
#[cold]
fn long_length(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let (&first, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    let size = usize::from(first & 0x7f);
    if !(1..=8).contains(&size) {
        return Err(DecodeError::BadLength);
    }
    // One byte is enough to know that a prefix is too long: it says less than 128, or nothing.
    match rest.first() {
        Some(0) => return Err(DecodeError::BadLength),
        Some(0..=0x7f) if size == 1 => return Err(DecodeError::BadLength),
        _ => {}
    }
    let digits = rest.get(..size).ok_or(DecodeError::Truncated)?;
    let len = usize::try_from(big_endian(digits)).map_err(|_| DecodeError::BadLength)?;
    Ok((len, 1 + size))
}

/// Finds the contents of the length-prefixed string at `offset`.
///
/// # Errors
///
/// As [`length`]; [`DecodeError::TooLong`] if it has more than `len_max` bytes, also where they have
/// not come yet; [`DecodeError::Truncated`] if `bytes` ends before it does.
#[inline(always)]
pub fn octet_string(
    bytes: &[u8],
    offset: usize,
    len_max: usize,
) -> Result<Range<usize>, DecodeError> {
    let (len, start) = length(bytes, offset)?;
    if len > len_max {
        return Err(DecodeError::TooLong);
    }
    // `start` is inside of `bytes`, so this cannot wrap, and the sum cannot either.
    if len > bytes.len() - start {
        return Err(DecodeError::Truncated);
    }
    Ok(start..start + len)
}

/// Reads the unsigned integer of variable size at `offset`: its value and the offset behind it.
///
/// Leading zeros are accepted, as every peer does (A5); the length prefix must be the shortest.
///
/// # Errors
///
/// As [`octet_string`]; [`DecodeError::BadInteger`] if it has no bytes or more than eight.
#[inline(always)]
pub fn var_uint(bytes: &[u8], offset: usize) -> Result<(u64, usize), DecodeError> {
    match *bytes.get(offset..).ok_or(DecodeError::Truncated)? {
        [1, value, ..] => Ok((u64::from(value), offset + 2)),
        _ => long_uint(bytes, offset),
    }
}

/// The rare forms: values that have no single byte, and everything that is wrong.
#[cold]
fn long_uint(bytes: &[u8], offset: usize) -> Result<(u64, usize), DecodeError> {
    let (len, start) = length(bytes, offset)?;
    if !(1..=8).contains(&len) {
        return Err(DecodeError::BadInteger);
    }
    let digits = bytes.get(start..start + len).ok_or(DecodeError::Truncated)?;
    Ok((big_endian(digits), start + len))
}

fn big_endian(digits: &[u8]) -> u64 {
    debug_assert!(digits.len() <= 8);
    digits.iter().fold(0, |value, &digit| value << 8 | u64::from(digit))
}

/// Bytes that the prefix of a string of `len` bytes takes.
#[must_use]
pub const fn length_size(len: usize) -> usize {
    if len < 0x80 { 1 } else { 1 + significant_bytes(len as u64) }
}

/// Bytes that a string of `len` bytes takes with its prefix.
#[must_use]
pub const fn string_size(len: usize) -> usize {
    length_size(len) + len
}

/// Bytes that `value` takes as an integer of variable size, with their number.
#[must_use]
pub const fn var_uint_size(value: u64) -> usize {
    1 + significant_bytes(value)
}

/// Bytes that `value` takes without leading zeros, at least one.
const fn significant_bytes(value: u64) -> usize {
    // `| 1` changes no size and gives 0 the one byte that it takes.
    ((value | 1).ilog2() / 8 + 1) as usize
}

/// Appends the length prefix for `len` bytes.
#[inline]
pub fn put_length(out: &mut Vec<u8>, len: usize) {
    let [.., third, second, high, low] = (len as u64).to_be_bytes();
    match len {
        0..0x80 => out.push(low),
        0x80..0x100 => out.extend_from_slice(&[0x81, low]),
        0x100..0x1_0000 => out.extend_from_slice(&[0x82, high, low]),
        0x1_0000..0x100_0000 => out.extend_from_slice(&[0x83, second, high, low]),
        _ => {
            assert!(len <= 0xffff_ffff, "no string of this switch has 4 GiB");
            out.extend_from_slice(&[0x84, third, second, high, low]);
        }
    }
}

/// Appends `bytes` behind their length prefix.
pub fn put_octet_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends `value` in as few bytes as it needs, behind their number.
pub fn put_var_uint(out: &mut Vec<u8>, value: u64) {
    put_octet_string(out, &value.to_be_bytes()[8 - significant_bytes(value)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a01_lengths_below_128_take_one_byte_and_others_as_few_as_they_need() {
        let sizes = [
            (0, 1),
            (127, 1),
            (128, 2),
            (255, 2),
            (256, 3),
            (65_535, 3),
            (65_536, 4),
            (16_777_215, 4),
            (16_777_216, 5),
        ];
        for (len, size) in sizes {
            let mut out = vec![0xdb];
            put_length(&mut out, len);
            assert_eq!(out.len(), 1 + size, "{len}");
            assert_eq!(length_size(len), size, "{len}");
            assert_eq!(length(&out, 1), Ok((len, 1 + size)), "{len}");
        }
        let mut out = Vec::new();
        put_length(&mut out, 127);
        put_length(&mut out, 128);
        assert_eq!(out, [0x7f, 0x81, 0x80]);
    }

    #[test]
    fn a02_indefinite_and_nine_byte_lengths_are_bad_lengths() {
        let nine = [0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(length(&[0x80], 0), Err(DecodeError::BadLength));
        assert_eq!(length(&nine, 0), Err(DecodeError::BadLength));
        assert_eq!(length(&[0xff; 200], 0), Err(DecodeError::BadLength));
        // The largest that the rules allow is read, and then found not to be there.
        let largest = [0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(length(&largest, 0), Ok((usize::MAX, 9)));
        assert_eq!(octet_string(&largest, 0, usize::MAX), Err(DecodeError::Truncated));
    }

    #[test]
    fn a03_every_length_has_one_encoding() {
        for len in [0_usize, 1, 74, 127, 128, 255, 256, 65_535, 65_536, 1 << 24] {
            let canonical = length_size(len) - 1;
            for count in 1..=8_usize {
                let digits = (len as u64).to_be_bytes();
                if digits[..8 - count].iter().any(|&digit| digit != 0) {
                    continue;
                }
                let mut bytes = vec![0x80 | u8::try_from(count).unwrap()];
                bytes.extend_from_slice(&digits[8 - count..]);
                let expected = if count == canonical {
                    Ok((len, 1 + count))
                } else {
                    Err(DecodeError::BadLength)
                };
                assert_eq!(length(&bytes, 0), expected, "{len} in {count} bytes");
            }
        }
    }

    #[test]
    fn a04_a_length_beyond_the_bytes_is_truncated_and_never_wraps() {
        let bytes = [0x84, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(octet_string(&bytes, 0, usize::MAX), Err(DecodeError::Truncated));
        assert_eq!(octet_string(&bytes, 0, 1000), Err(DecodeError::TooLong));
        assert_eq!(octet_string(&bytes, bytes.len(), 1), Err(DecodeError::Truncated));
        assert_eq!(octet_string(&bytes, usize::MAX, 1), Err(DecodeError::Truncated));
        assert_eq!(var_uint(&bytes, usize::MAX), Err(DecodeError::Truncated));
    }

    #[test]
    fn a05_integers_have_one_to_eight_bytes_and_may_have_leading_zeros() {
        assert_eq!(var_uint(&[1, 0], 0), Ok((0, 2)));
        assert_eq!(var_uint(&[2, 0, 0xff], 0), Ok((0xff, 3)));
        assert_eq!(var_uint(&[8, 255, 255, 255, 255, 255, 255, 255, 255], 0), Ok((u64::MAX, 9)));
        assert_eq!(var_uint(&[0], 0), Err(DecodeError::BadInteger));
        assert_eq!(var_uint(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0), Err(DecodeError::BadInteger));
        assert_eq!(var_uint(&[0x81, 1, 1], 0), Err(DecodeError::BadLength));
        for value in [0, 1, 127, 128, 255, 256, u64::from(u32::MAX), 1 << 56, u64::MAX] {
            let mut out = vec![0xdb];
            put_var_uint(&mut out, value);
            assert_eq!(var_uint(&out, 1), Ok((value, out.len())));
            assert!(out.len() == 3 || out[2] != 0, "{value}: no leading zero");
        }
    }

    #[test]
    fn a_prefix_of_a_prefix_is_truncated() {
        for bytes in [&[][..], &[0x81], &[0x82], &[0x82, 1], &[0x84, 1, 0, 0]] {
            assert_eq!(length(bytes, 0), Err(DecodeError::Truncated), "{bytes:x?}");
        }
    }
}
