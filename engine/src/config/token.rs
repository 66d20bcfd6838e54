//! Secrets that peers show us, and secrets that we show them. Neither is ever printed.

use core::fmt;

use zeroize::Zeroizing;

/// What remains of a token that a peer must show: its BLAKE3 hash.
///
/// The hash of what a peer shows is compared in constant time, and the token itself is wiped as
/// soon as it is hashed. A token is a long random secret, so a plain hash hides it well enough;
/// a password would need a slow one.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(blake3::hash(token))
    }

    /// From 64 hexadecimal digits, as `b3sum` prints them.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        blake3::Hash::from_hex(digits).ok().map(Self)
    }

    /// For tables keyed by the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token that we show when we dial. Wiped when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct DialToken(Zeroizing<String>);

impl DialToken {
    /// Takes the token over.
    #[must_use]
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The secret itself, for the one frame that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DialToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let hash = TokenHash::of(b"hunter2");
        assert_eq!(format!("{hash:?}"), "TokenHash(..)");
        assert_eq!(format!("{:?}", DialToken::new("hunter2".into())), "DialToken(..)");
    }

    #[test]
    fn a_hash_is_what_b3sum_prints() {
        let hash = TokenHash::of(b"");
        let digits = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert!(TokenHash::from_hex(digits) == Some(hash));
        assert!(TokenHash::from_hex("af13").is_none());
    }
}
