//! Ranges of which each gets its share.

use super::alias::Alias;
use super::draw::Span;

/// One of several ranges is drawn, and then one of its values.
#[derive(Clone, Debug)]
pub struct Spans {
    spans: Vec<Span>,
    by_share: Alias,
}

impl Spans {
    /// The values of one range.
    ///
    /// # Panics
    ///
    /// Never: one share is a share.
    #[must_use]
    pub fn one(span: Span) -> Self {
        Self { spans: vec![span], by_share: Alias::new(&[1]).expect("one weight of one") }
    }

    /// These ranges by their shares; `None` if all shares are 0, or there is no range.
    #[must_use]
    pub fn new(spans: &[(u64, Span)]) -> Option<Self> {
        let shares: Vec<u64> = spans.iter().map(|(share, _)| *share).collect();
        let by_share = Alias::new(&shares)?;
        Some(Self { spans: spans.iter().map(|(_, span)| *span).collect(), by_share })
    }

    /// The largest of all values.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.spans.iter().map(Span::most).max().unwrap_or_default()
    }

    /// A value, from two draws of 32 bits.
    pub(super) fn at(&self, of_span: u32, of_value: u32) -> u64 {
        self.spans[self.by_share.at(of_span) as usize].at_half(of_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_gets_its_share() {
        let span = |least, most| Span::new(&(least..=most)).unwrap();
        let spans = Spans::new(&[(900, span(10, 19)), (100, span(50, 50))]).unwrap();
        assert_eq!((spans.most(), Spans::one(span(3, 4)).most()), (50, 4));
        let draws = (0..10_000_u32).map(|n| spans.at(n * 429_496, n.wrapping_mul(0x9e37_79b9)));
        let fifty = draws.filter(|value| *value == 50).count();
        assert!((990..=1010).contains(&fifty), "{fifty}");
        assert!(Spans::new(&[]).is_none() && Spans::new(&[(0, span(1, 1))]).is_none());
    }
}
