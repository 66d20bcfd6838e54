//! PREPARE, read and rewritten in the buffer it arrived in.
//!
//! ```text
//! +------+--------+----------+-------------+-------------+-----------------+----------------+
//! | 0x0c | length | amount 8 | expires_at  | condition   | destination     | data           |
//! |      | 1..=3  |   (u64)  | 17 (digits) | 32 (SHA256) | length + <=1023 | length +       |
//! |      |        |          |             |             |                 | <=32767        |
//! +------+--------+----------+-------------+-------------+-----------------+----------------+
//! ```
//!
//! Forwarding changes only `amount` and `expires_at`. Both are fixed width, so a forwarded PREPARE
//! is the received one with 25 bytes rewritten: nothing moves, nothing is allocated, and the
//! offsets found by [`Prepare::new_checked`] hold for the life of the view. Whoever sends one on
//! copies it once, into what is to leave, and rewrites there: [`ForwardedPrepare`].

use core::ops::Range;

use super::{DATA_LEN_MAX, DecodeError, PREPARE_LEN_MAX, PacketType};
use super::{envelope, field, put_envelope};
use crate::address::{self, Address};
use crate::oer::{self, string_size};
use crate::timestamp;

/// Offsets from the first byte of the contents.
mod offset {
    use core::ops::Range;

    pub(super) const AMOUNT: Range<usize> = 0..8;
    pub(super) const EXPIRES_AT: Range<usize> = AMOUNT.end..AMOUNT.end + 17;
    pub(super) const CONDITION: Range<usize> = EXPIRES_AT.end..EXPIRES_AT.end + 32;
}

// A rewrite touches one run of 25 bytes; forwarding relies on the fields being neighbours.
const _: () = assert!(offset::EXPIRES_AT.end - offset::AMOUNT.start == 25);
const _: () = assert!(offset::AMOUNT.end == offset::EXPIRES_AT.start);

/// A PREPARE over any buffer: `&[u8]` to read, `&mut [u8]` to rewrite.
#[derive(Clone, Debug)]
pub struct Prepare<T> {
    buffer: T,
    offsets: Offsets,
}

#[derive(Clone, Debug)]
struct Offsets {
    /// The length prefix makes its start 2, 3 or 4.
    contents: Range<usize>,
    destination: Range<usize>,
    data: Range<usize>,
    /// What the digits of `expires_at` say. The one value that is kept, as reading them is a third
    /// of the work; it changes with them.
    expires_at_ms: u64,
}

impl<T: AsRef<[u8]>> Prepare<T> {
    /// Checks every length, digit and character once, so that no accessor can fail afterwards.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes. The buffer is untouched either way.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, DecodeError> {
        let offsets = check(buffer.as_ref(), timestamp::parse)?;
        Ok(Self { buffer, offsets })
    }

    /// As [`Prepare::new_checked`], with what `cache` knows about minutes.
    ///
    /// # Errors
    ///
    /// The same.
    #[inline]
    pub fn new_checked_cached(
        buffer: T,
        cache: &mut timestamp::Cache,
    ) -> Result<Self, DecodeError> {
        let offsets = check(buffer.as_ref(), |digits| cache.parse(digits))?;
        Ok(Self { buffer, offsets })
    }

    /// Amount, in units of the sending account's asset scale.
    #[inline]
    #[must_use]
    pub fn amount(&self) -> u64 {
        u64::from_be_bytes(*self.fixed(offset::AMOUNT))
    }

    /// `YYYYMMDDHHMMSSmmm` in UTC.
    #[inline]
    #[must_use]
    pub fn expires_at(&self) -> &[u8; 17] {
        self.fixed(offset::EXPIRES_AT)
    }

    /// `expires_at` in milliseconds since 1970; 0 for what lies before.
    #[inline]
    #[must_use]
    pub fn expires_at_ms(&self) -> u64 {
        self.offsets.expires_at_ms
    }

    /// SHA-256 of the fulfillment that releases this packet's hold.
    #[inline]
    #[must_use]
    pub fn condition(&self) -> &[u8; 32] {
        self.fixed(offset::CONDITION)
    }

    /// ILP address of the receiver.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> &[u8] {
        &self.buffer.as_ref()[self.offsets.destination.clone()]
    }

    /// End-to-end payload, opaque to every hop.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.buffer.as_ref()[self.offsets.data.clone()]
    }

    /// Bytes of the packet; what the buffer has behind them is no part of it.
    #[inline]
    #[must_use]
    pub fn packet_len(&self) -> usize {
        self.offsets.contents.end
    }

    /// The packet, to be sent on.
    #[inline]
    #[must_use]
    pub fn as_packet(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.packet_len()]
    }

    #[inline]
    fn fixed<const N: usize>(&self, field: Range<usize>) -> &[u8; N] {
        let start = self.offsets.contents.start + field.start;
        self.buffer.as_ref()[start..start + N].try_into().expect("N bytes of a measured field")
    }
}

impl<'a> Prepare<&'a [u8]> {
    /// [`Prepare::data`] for as long as the buffer lives, not only the view of it.
    #[inline]
    #[must_use]
    pub fn into_data(self) -> &'a [u8] {
        &self.buffer[self.offsets.data]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Prepare<T> {
    /// Rewrites the amount for the next hop, in the next hop's asset scale.
    pub fn set_amount(&mut self, amount: u64) {
        self.put(offset::AMOUNT, &amount.to_be_bytes());
    }

    /// Rewrites the expiry for the next hop.
    ///
    /// # Panics
    ///
    /// If `expires_at` is no timestamp: the caller formatted it, so that is our bug.
    pub fn set_expires_at(&mut self, expires_at: &[u8; 17]) {
        self.offsets.expires_at_ms =
            timestamp::parse(expires_at).expect("the caller wrote a timestamp");
        self.put(offset::EXPIRES_AT, expires_at);
    }

    fn put(&mut self, field: Range<usize>, value: &[u8]) {
        let start = self.offsets.contents.start + field.start;
        self.buffer.as_mut()[start..start + value.len()].copy_from_slice(value);
    }
}

#[inline]
fn check(
    bytes: &[u8],
    parse: impl FnOnce(&[u8; 17]) -> Option<u64>,
) -> Result<Offsets, DecodeError> {
    let contents = envelope(bytes, PacketType::Prepare, PREPARE_LEN_MAX)?;
    // From here on nothing is read behind the contents.
    let bytes = &bytes[..contents.end];

    let expires_at = bytes[contents.start..]
        .get(offset::EXPIRES_AT)
        .and_then(<[u8]>::first_chunk)
        .ok_or(DecodeError::Truncated)?;
    let expires_at_ms = parse(expires_at).ok_or(DecodeError::BadTimestamp)?;

    let destination = field(
        bytes,
        contents.start + offset::CONDITION.end,
        address::LEN_MAX,
        DecodeError::BadAddress,
    )?;
    address::check(&bytes[destination.clone()]).map_err(|_| DecodeError::BadAddress)?;
    let data = field(bytes, destination.end, DATA_LEN_MAX, DecodeError::DataTooLong)?;
    Ok(Offsets { contents, destination, data, expires_at_ms })
}

/// Rewrites amount and expiry of a PREPARE that was checked before: 25 bytes change.
///
/// `expires_at` comes from [`timestamp::write`] or [`timestamp::Cache::write`].
///
/// # Panics
///
/// If `packet` is no PREPARE.
#[inline]
pub fn rewrite_prepare(packet: &mut [u8], amount: u64, expires_at: &[u8; 17]) {
    debug_assert!(expires_at.iter().all(u8::is_ascii_digit));
    let start = contents_start(packet);
    let (amount_out, rest) =
        packet[start..].split_first_chunk_mut::<8>().expect("a checked PREPARE has an amount");
    *amount_out = amount.to_be_bytes();
    *rest.first_chunk_mut::<17>().expect("a checked PREPARE has an expiry") = *expires_at;
}

/// Where the contents of a PREPARE begin that was checked before.
#[inline]
fn contents_start(packet: &[u8]) -> usize {
    assert!(packet[0] == PacketType::Prepare as u8, "only a PREPARE is rewritten");
    match packet[1] {
        0..=0x7f => 2,
        prefix => 2 + usize::from(prefix & 0x7f),
    }
}

/// A PREPARE that is sent on: the bytes as they came, and what stands over 25 of them when it leaves.
///
/// The bytes that came are not written to. A copy out of bytes that were written a moment ago waits
/// until those are in the cache; rewritten behind the copy, nothing waits.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedPrepare<'a> {
    received: &'a [u8],
    amount: u64,
    expires_at: [u8; 17],
}

impl<'a> ForwardedPrepare<'a> {
    /// A PREPARE that was checked before, with an amount and an expiry for the next hop.
    ///
    /// `expires_at` comes from [`timestamp::write`] or [`timestamp::Cache::write`].
    #[inline]
    #[must_use]
    pub fn new(received: &'a [u8], amount: u64, expires_at: [u8; 17]) -> Self {
        Self { received, amount, expires_at }
    }

    /// The packet as it came: of the same length, and the same but for 25 bytes.
    #[inline]
    #[must_use]
    pub fn received(&self) -> &'a [u8] {
        self.received
    }

    /// What is written over a copy of [`Self::received`], and where it begins.
    ///
    /// # Panics
    ///
    /// If what was received is no PREPARE.
    #[inline]
    #[must_use]
    pub fn rewritten(&self) -> (usize, [u8; 25]) {
        let mut bytes = [0; 25];
        bytes[offset::AMOUNT].copy_from_slice(&self.amount.to_be_bytes());
        bytes[offset::EXPIRES_AT].copy_from_slice(&self.expires_at);
        (contents_start(self.received), bytes)
    }

    /// Makes a copy of [`Self::received`] what is to leave.
    ///
    /// # Panics
    ///
    /// If `copy` is no PREPARE.
    #[inline]
    pub fn rewrite(&self, copy: &mut [u8]) {
        rewrite_prepare(copy, self.amount, &self.expires_at);
    }

    /// Appends what is to leave.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.received);
        self.rewrite(&mut out[start..]);
    }
}

/// Bytes of a PREPARE with a destination and data of these lengths.
#[inline]
#[must_use]
pub fn prepare_len(destination_len: usize, data_len: usize) -> usize {
    let contents = contents_len(destination_len, data_len);
    1 + string_size(contents)
}

#[inline]
fn contents_len(destination_len: usize, data_len: usize) -> usize {
    offset::CONDITION.end + string_size(destination_len) + string_size(data_len)
}

/// Appends a PREPARE, of [`prepare_len`] bytes.
///
/// # Panics
///
/// If `destination` or `data` is longer than a packet holds.
pub fn put_prepare(
    out: &mut Vec<u8>,
    amount: u64,
    expires_at: &[u8; 17],
    condition: &[u8; 32],
    destination: &[u8],
    data: &[u8],
) {
    assert!(destination.len() <= address::LEN_MAX, "an address is checked before it is sent");
    assert!(data.len() <= DATA_LEN_MAX, "the caller bounds the data");
    put_envelope(out, PacketType::Prepare, contents_len(destination.len(), data.len()));
    out.extend_from_slice(&amount.to_be_bytes());
    out.extend_from_slice(expires_at);
    out.extend_from_slice(condition);
    oer::put_octet_string(out, destination);
    oer::put_octet_string(out, data);
}

/// A PREPARE that owns its fields, to be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrepareRepr {
    /// Amount in units of the account it is sent on.
    pub amount: u64,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
    /// SHA-256 of the fulfillment.
    pub condition: [u8; 32],
    /// Address of the receiver.
    pub destination: Address,
    /// Payload, at most [`DATA_LEN_MAX`] bytes.
    pub data: Vec<u8>,
}

impl PrepareRepr {
    /// Copies the fields of a view.
    #[must_use]
    pub fn from_view<T: AsRef<[u8]>>(view: &Prepare<T>) -> Self {
        Self {
            amount: view.amount(),
            expires_at_ms: view.expires_at_ms(),
            condition: *view.condition(),
            destination: Address::try_from(view.destination()).expect("new_checked() checked it"),
            data: view.data().to_vec(),
        }
    }

    /// The packet.
    ///
    /// # Panics
    ///
    /// If the data is too long or the expiry has no 17 digits.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the packet.
    ///
    /// # Panics
    ///
    /// As [`PrepareRepr::encode`].
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let expires_at = timestamp::write(self.expires_at_ms);
        let destination = self.destination.as_bytes();
        put_prepare(out, self.amount, &expires_at, &self.condition, destination, &self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PREPARE of 107 to `g.bob` carrying `data`, built by hand from IL-RFC 27.
    fn example(data: &[u8]) -> Vec<u8> {
        let mut contents = Vec::new();
        contents.extend_from_slice(&107_u64.to_be_bytes());
        contents.extend_from_slice(b"20261120114500000");
        contents.extend_from_slice(&[0xab; 32]);
        contents.extend_from_slice(b"\x05g.bob");
        contents.extend_from_slice(&prefixed(data));
        [vec![12], prefixed(&contents)].concat()
    }

    fn prefixed(bytes: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let mut out = match bytes.len() {
            0..=0x7f => vec![low],
            0x80..=0xff => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn reads_every_field_behind_every_prefix_width() {
        for data_len in [0, 1, 62, 63, 64, 127, 128, 189, 190, 255, 256, DATA_LEN_MAX] {
            let data = vec![0x5a; data_len];
            let bytes = example(&data);
            let mut cache = timestamp::Cache::new();
            for prepare in [
                Prepare::new_checked(&bytes).unwrap(),
                Prepare::new_checked_cached(&bytes, &mut cache).unwrap(),
            ] {
                assert_eq!(prepare.amount(), 107);
                assert_eq!(prepare.expires_at(), b"20261120114500000");
                assert_eq!(prepare.expires_at_ms(), 1_795_175_100_000);
                assert_eq!(prepare.condition(), &[0xab; 32]);
                assert_eq!(prepare.destination(), b"g.bob");
                assert_eq!(prepare.data(), data);
                assert_eq!(prepare.as_packet(), bytes);
                assert_eq!(PrepareRepr::from_view(&prepare).encode(), bytes);
            }
        }
    }

    #[test]
    fn rewriting_changes_exactly_the_25_bytes_it_names() {
        for data_len in [0, 100, 200] {
            let before = example(&vec![0x5a; data_len]);
            let start = [2, 3, 4][[0, 100, 200].iter().position(|&len| len == data_len).unwrap()];
            let mut after = before.clone();
            let mut prepare = Prepare::new_checked(&mut after).unwrap();
            prepare.set_amount(u64::MAX);
            prepare.set_expires_at(b"39991231235959999");
            assert_eq!(prepare.amount(), u64::MAX);
            assert_eq!(prepare.expires_at_ms(), timestamp::parse(b"39991231235959999").unwrap());
            let unchanged = [0..start, start + 25..before.len()]
                .map(|range| before[range.clone()] == after[range]);
            assert_eq!(unchanged, [true, true]);

            let mut at_once = before.clone();
            rewrite_prepare(&mut at_once, u64::MAX, b"39991231235959999");
            assert_eq!(at_once, after);
        }
    }

    #[test]
    fn each_refusal_says_what_was_wrong() {
        let valid = example(b"hello");
        let with = |index: usize, value: u8| {
            let mut bytes = valid.clone();
            bytes[index] = value;
            bytes
        };
        let refused = |bytes: &[u8]| Prepare::new_checked(bytes).unwrap_err();

        assert_eq!(refused(&[]), DecodeError::Truncated);
        assert_eq!(refused(&with(0, 13)), DecodeError::WrongType);
        assert_eq!(refused(&with(1, 0x80)), DecodeError::BadLength);
        assert_eq!(refused(&with(1, 10)), DecodeError::Truncated);
        assert_eq!(refused(&with(2 + offset::EXPIRES_AT.start, b'x')), DecodeError::BadTimestamp);
        assert_eq!(refused(&with(2 + offset::CONDITION.end + 1, b'G')), DecodeError::BadAddress);
        assert_eq!(refused(&example(&[0; DATA_LEN_MAX + 1])), DecodeError::DataTooLong);
        assert_eq!(refused(&example(&[0; PREPARE_LEN_MAX])), DecodeError::PacketTooLong);
    }
}
