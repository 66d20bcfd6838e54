//! ILP addresses (IL-RFC 15): a scheme and at least one segment, joined by dots.
//!
//! ```text
//! (g|private|example|peer|self|test[1-3]?|local) ( "." [a-zA-Z0-9_~-]+ )+      at most 1023 bytes
//! ```
//!
//! Matching is byte by byte, so no byte may have two readings: upper and lower case differ, and a
//! byte of 0x80 or more is refused, because a peer is known that drops its highest bit (A8).

use core::fmt;
use core::str::FromStr;

/// Longest address in bytes.
pub const LEN_MAX: usize = crate::limits::ADDRESS_LEN_MAX;
const LEN_MIN: usize = crate::limits::ADDRESS_LEN_MIN;

/// Why some bytes are not an ILP address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddressError {
    /// More than [`LEN_MAX`] bytes.
    TooLong,
    /// What stands before the first dot is none of the schemes.
    UnknownScheme,
    /// A scheme alone.
    NoSegment,
    /// Two dots in a row, or a dot at the end.
    EmptySegment,
    /// A byte that is no letter, digit, `_`, `~` or `-`.
    BadCharacter,
}

const _: () = assert!(size_of::<AddressError>() == 1);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the address has more than 1023 bytes",
            Self::UnknownScheme => {
                "the address does not begin with g, private, example, peer, self, test, test1, \
                 test2, test3 or local"
            }
            Self::NoSegment => "the address has no segment behind its scheme",
            Self::EmptySegment => "the address has an empty segment",
            Self::BadCharacter => {
                "the address has a character other than letters, digits, '_', '~' and '-'"
            }
        })
    }
}

impl core::error::Error for AddressError {}

/// First segment of an address; says how far it is meant to be known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `g`: the one global network.
    G,
    /// `private`: a network of its own.
    Private,
    /// `example`: documentation.
    Example,
    /// `peer`: the other end of this link, never forwarded.
    Peer,
    /// `self`: this node.
    SelfScheme,
    /// `test`, `test1`, `test2`, `test3`: networks without real money.
    Test,
    /// `local`: one administrative domain.
    Local,
}

/// Checks that `bytes` is an address.
///
/// # Errors
///
/// Says what is wrong; the first of the variants that fits.
#[inline]
pub fn check(bytes: &[u8]) -> Result<(), AddressError> {
    if is_address(bytes) { Ok(()) } else { Err(diagnose(bytes)) }
}

/// Scheme of an address that [`check`] accepted, or of a bare scheme.
///
/// # Panics
///
/// May panic if it was not checked.
#[inline]
#[must_use]
pub fn scheme(checked: &[u8]) -> Scheme {
    known_scheme(checked).expect("the caller checked the address").0
}

/// Whether `prefix` leads to `address`: they are equal, or the address goes on with a dot (B44).
#[inline]
#[must_use]
pub fn is_prefix(prefix: &[u8], address: &[u8]) -> bool {
    address.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'.', ..]))
}

/// One pass, nothing said about the reason.
#[inline]
fn is_address(bytes: &[u8]) -> bool {
    if !(LEN_MIN..=LEN_MAX).contains(&bytes.len()) {
        return false;
    }
    let Some((_, len)) = known_scheme(bytes) else { return false };
    // The rest begins with a dot, so it is sound if all of its bytes may stand in an address, no dot
    // follows a dot, and it does not end with one.
    let rest = &bytes[len..];
    rest.len() > 1 && segments_are_sound(rest)
}

const DOT: u8 = 1;
const OTHER: u8 = 2;

/// Bytes that are judged at a time; each also looks at the byte behind it.
const LANES: usize = 16;

/// What a byte is in an address: part of a segment (0), a dot, or neither.
static CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        if (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'~' | b'-') {
            class[byte] = 0;
        }
        byte += 1;
    }
    class[b'.' as usize] = DOT;
    class
};

/// Whether all bytes may stand in an address, no dot follows a dot, and none stands at the end.
///
/// Sixteen bytes at a time and without a branch among them, so that the compiler makes vector
/// instructions of it, where a look-up for each byte took several times as long. Nor is there a
/// branch after each step: nearly every address is sound, so what is wrong is gathered and looked at
/// once. Not inlined: its constants take ten registers, which its caller has a use for.
#[inline(never)]
fn segments_are_sound(bytes: &[u8]) -> bool {
    let Some((&last_byte, here)) = bytes.split_last() else { return false };
    let next = &bytes[1..];
    let (Some(last_here), Some(last_next)) = (here.last_chunk(), next.last_chunk()) else {
        return short_is_sound(bytes);
    };
    let mut wrong = [0; LANES];
    for (here, next) in here.as_chunks().0.iter().zip(next.as_chunks().0) {
        judge(&mut wrong, here, next);
    }
    // The last step may overlap the one before it; only the last byte of all is left after it.
    judge(&mut wrong, last_here, last_next);
    wrong == [0; LANES] && CLASS[usize::from(last_byte)] == 0
}

/// Leaves in `wrong` what is not 0 where a byte may not stand in an address, or a dot is followed by
/// a dot.
///
/// Each kind of byte is told by a number that is 0 for it and for no other, so that the smallest of
/// them is 0 for a byte of any kind: fewer instructions than comparing, and SSE2 has them.
#[inline(always)]
fn judge(wrong: &mut [u8; LANES], here: &[u8; LANES], next: &[u8; LANES]) {
    for (wrong, (&byte, &next)) in wrong.iter_mut().zip(here.iter().zip(next)) {
        let no_letter = (byte | 0x20).wrapping_sub(b'a').saturating_sub(25);
        // From '-' to '9', with the dot, and with the slash that is told below.
        let no_digit = byte.wrapping_sub(b'-').saturating_sub(12);
        let kinds = no_letter.min(no_digit).min(byte ^ b'_').min(byte ^ b'~');
        let slash = if byte == b'/' { 0xff } else { 0 };
        let two_dots = if (byte == b'.') & (next == b'.') { 0xff } else { 0 };
        *wrong |= kinds | slash | two_dots;
    }
}

fn short_is_sound(bytes: &[u8]) -> bool {
    let (mut bad, mut previous) = (0, 0);
    for &byte in bytes {
        let class = CLASS[usize::from(byte)];
        bad |= class & OTHER | class & previous;
        previous = class;
    }
    bad | previous == 0
}

/// Scheme and its length, if it is followed by a dot or by nothing.
#[inline]
fn known_scheme(bytes: &[u8]) -> Option<(Scheme, usize)> {
    const fn four(letters: &[u8; 4]) -> u32 {
        u32::from_ne_bytes(*letters)
    }
    const TEST: u32 = four(b"test");
    const PEER: u32 = four(b"peer");
    const SELF: u32 = four(b"self");
    const PRIV: u32 = four(b"priv");
    const EXAM: u32 = four(b"exam");
    const LOCA: u32 = four(b"loca");

    // One comparison of four letters decides between all schemes but the shortest.
    let (scheme, len) = match (bytes.first_chunk().map(four), bytes) {
        (_, [b'g', ..]) => (Scheme::G, 1),
        (Some(TEST), [_, _, _, _, b'1'..=b'3', ..]) => (Scheme::Test, 5),
        (Some(TEST), _) => (Scheme::Test, 4),
        (Some(PEER), _) => (Scheme::Peer, 4),
        (Some(SELF), _) => (Scheme::SelfScheme, 4),
        (Some(PRIV), [_, _, _, _, b'a', b't', b'e', ..]) => (Scheme::Private, 7),
        (Some(EXAM), [_, _, _, _, b'p', b'l', b'e', ..]) => (Scheme::Example, 7),
        (Some(LOCA), [_, _, _, _, b'l', ..]) => (Scheme::Local, 5),
        _ => return None,
    };
    matches!(bytes.get(len), None | Some(b'.')).then_some((scheme, len))
}

#[cold]
fn diagnose(bytes: &[u8]) -> AddressError {
    if bytes.len() > LEN_MAX {
        return AddressError::TooLong;
    }
    let Some((_, len)) = known_scheme(bytes) else { return AddressError::UnknownScheme };
    let rest = &bytes[len..];
    if rest.iter().any(|&byte| CLASS[usize::from(byte)] == OTHER) {
        AddressError::BadCharacter
    } else if rest.is_empty() {
        AddressError::NoSegment
    } else {
        AddressError::EmptySegment
    }
}

/// An ILP address, kept.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address(Box<str>);

impl Address {
    /// The address as it stands in a packet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The address as text; it is all ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        scheme(self.as_bytes())
    }

    /// The address below this one that `segment` names.
    ///
    /// # Errors
    ///
    /// If `segment` is empty, has characters that an address has not, or makes it too long.
    pub fn child(&self, segment: &str) -> Result<Self, AddressError> {
        format!("{self}.{segment}").parse()
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = AddressError;

    fn try_from(bytes: &[u8]) -> Result<Self, AddressError> {
        check(bytes)?;
        Ok(Self(ascii(bytes)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::try_from(text.as_bytes())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a route leads by: an address or a bare scheme, without a dot at its end (A26).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// The prefix as bytes to compare with those of a packet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The prefix as text; it is all ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        scheme(self.as_bytes())
    }

    /// Whether this prefix leads to `address`, on segment boundaries.
    #[must_use]
    pub fn leads_to(&self, address: &[u8]) -> bool {
        is_prefix(self.as_bytes(), address)
    }
}

impl TryFrom<&[u8]> for Prefix {
    type Error = AddressError;

    fn try_from(bytes: &[u8]) -> Result<Self, AddressError> {
        match check(bytes) {
            Ok(()) | Err(AddressError::NoSegment) => Ok(Self(ascii(bytes))),
            Err(error) => Err(error),
        }
    }
}

impl FromStr for Prefix {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::try_from(text.as_bytes())
    }
}

impl From<Address> for Prefix {
    fn from(address: Address) -> Self {
        Self(address.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn ascii(checked: &[u8]) -> Box<str> {
    core::str::from_utf8(checked).expect("an address has ASCII characters only").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_addresses_of_every_scheme_are_accepted() {
        let schemes = [
            ("g", Scheme::G),
            ("private", Scheme::Private),
            ("example", Scheme::Example),
            ("peer", Scheme::Peer),
            ("self", Scheme::SelfScheme),
            ("test", Scheme::Test),
            ("test1", Scheme::Test),
            ("test2", Scheme::Test),
            ("test3", Scheme::Test),
            ("local", Scheme::Local),
        ];
        for (name, expected) in schemes {
            let address: Address = format!("{name}.a_Z~0-9.b").parse().unwrap();
            assert_eq!(address.scheme(), expected);
            assert_eq!(name.parse::<Address>(), Err(AddressError::NoSegment));
            assert_eq!(name.parse::<Prefix>().unwrap().scheme(), expected);
        }
    }

    #[test]
    fn a22_each_refusal_says_what_is_wrong() {
        use AddressError::{BadCharacter, EmptySegment, NoSegment, UnknownScheme};
        let cases = [
            ("", UnknownScheme),
            ("g", NoSegment),
            ("g.", EmptySegment),
            ("g..a", EmptySegment),
            ("g.a.", EmptySegment),
            (".g.a", UnknownScheme),
            ("G.a", UnknownScheme),
            ("gg.a", UnknownScheme),
            ("test4.a", UnknownScheme),
            ("test11.a", UnknownScheme),
            ("tes.a", UnknownScheme),
            ("levelone.a", UnknownScheme),
            ("g.a b", BadCharacter),
            ("g.a/b", BadCharacter),
            ("g.é", BadCharacter),
            ("g.a\0", BadCharacter),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text.as_bytes()), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a22_1023_bytes_are_accepted_and_1024_are_not() {
        let longest = format!("g.{}", "a".repeat(LEN_MAX - 2));
        assert_eq!(check(longest.as_bytes()), Ok(()));
        assert_eq!(check(format!("{longest}a").as_bytes()), Err(AddressError::TooLong));
    }

    #[test]
    fn a22_every_byte_in_every_place_is_judged_as_the_rfc_says() {
        let valid = b"test1.alice.b0b.carol_~-";
        for index in b"test1.".len()..valid.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = *valid;
                bytes[index] = byte;
                let text = bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
                let sound = text.split('.').all(|segment| {
                    let legal = |c: char| c.is_ascii_alphanumeric() || "_~-".contains(c);
                    !segment.is_empty() && segment.chars().all(legal)
                });
                assert_eq!(check(&bytes).is_ok(), sound, "{text:?}");
            }
        }
    }

    /// Every byte and every byte behind it, where a step begins, inside of one, where the next one
    /// begins, and where the last one overlaps it or does not.
    #[test]
    fn a22_every_two_bytes_are_judged_as_the_rfc_says_wherever_steps_meet() {
        for len in [LANES + 1, LANES + 2, 2 * LANES, 2 * LANES + 1, 3 * LANES] {
            let mut bytes = vec![b'a'; len];
            let places = [0, 7, LANES - 1, LANES, len - LANES - 1, len - 2];
            for at in places.into_iter().filter(|at| at + 1 < len) {
                for first in 0..=u8::MAX {
                    for second in 0..=u8::MAX {
                        (bytes[at], bytes[at + 1]) = (first, second);
                        let sound = [first, second].map(|it| CLASS[usize::from(it)] != OTHER);
                        let dots = [first, second].map(|it| it == b'.');
                        let ends_with_dot = at + 2 == len && dots[1];
                        let expected = sound == [true; 2] && dots != [true; 2] && !ends_with_dot;
                        assert_eq!(segments_are_sound(&bytes), expected, "{bytes:?}");
                    }
                }
                (bytes[at], bytes[at + 1]) = (b'a', b'a');
            }
        }
    }

    #[test]
    fn a26_a_prefix_may_be_a_bare_scheme_and_has_no_dot_at_its_end() {
        assert!("g".parse::<Prefix>().is_ok());
        assert!("test.alice".parse::<Prefix>().is_ok());
        assert_eq!("g.".parse::<Prefix>(), Err(AddressError::EmptySegment));
        assert_eq!("".parse::<Prefix>(), Err(AddressError::UnknownScheme));
    }

    #[test]
    fn prefixes_match_on_segment_boundaries() {
        assert!(is_prefix(b"g.alice", b"g.alice"));
        assert!(is_prefix(b"g.alice", b"g.alice.bob"));
        assert!(!is_prefix(b"g.alice", b"g.alicebob"));
        assert!(!is_prefix(b"g.alice", b"g"));
        assert!(!is_prefix(b"test", b"test1.alice"));
    }
}
