//! Paths that a machine of another kind does not have.

/// Messages that go through together.
pub(super) const LANES: usize = 16;

/// Nothing, and there is none of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lanes {}

/// Nothing, and there is none of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pairs {}

impl Lanes {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn opens(self, _: &[&[u8; 32]], _: &[&[u8; 32]]) -> u64 {
        match self {}
    }
}

impl Pairs {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    pub(super) fn sha256(self, _: &[u8; 32]) -> [u8; 32] {
        match self {}
    }

    pub(super) fn opens(self, _: &[&[u8; 32]], _: &[&[u8; 32]]) -> u64 {
        match self {}
    }
}
