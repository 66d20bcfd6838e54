//! Places for connections that are not authenticated yet: so many in all, and of them a quarter for
//! one source, so that no stranger alone can keep everybody else out.
//!
//! A source is an IPv4 address, or the /64 of an IPv6 address, as whoever has one address there has
//! all of them. Loopback addresses and Unix sockets have no share but the whole: what comes from
//! this machine is no stranger, or a proxy that stands in front of us.
//!
//! Invariant: `taken` is at least the sum over `by_source`, and no source in it has none.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::limits::UNAUTHENTICATED_SHARE;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Places {
    max: u32,
    max_of_source: u32,
    taken: u32,
    by_source: HashMap<Source, u32>,
}

/// Who is counted together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Source(IpAddr);

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Full {
    /// All are taken.
    All,
    /// The source has its share.
    Share,
}

impl Source {
    /// `None` for what comes from this machine.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(Self(match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(network.into())
            }
        }))
    }
}

impl Places {
    pub(super) fn new(max: u32) -> Self {
        let max_of_source = (max / UNAUTHENTICATED_SHARE).max(1);
        Self { max, max_of_source, taken: 0, by_source: HashMap::new() }
    }

    /// Takes a place, to be given back with the same source.
    pub(super) fn take(&mut self, source: Option<Source>) -> Result<(), Full> {
        if self.taken >= self.max {
            return Err(Full::All);
        }
        if let Some(source) = source {
            let of_source = self.by_source.get(&source).copied().unwrap_or(0);
            if of_source >= self.max_of_source {
                return Err(Full::Share);
            }
            self.by_source.insert(source, of_source + 1);
        }
        self.taken += 1;
        Ok(())
    }

    pub(super) fn give_back(&mut self, source: Option<Source>) {
        self.taken = self.taken.checked_sub(1).expect("a place that was taken is given back");
        let Some(source) = source else { return };
        let of_source = self.by_source.get_mut(&source).expect("its source was counted");
        *of_source -= 1;
        if *of_source == 0 {
            self.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Option<Source> {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn one_source_has_a_quarter_and_others_the_rest() {
        let mut places = Places::new(8);
        let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!([places.take(one), places.take(one)], [Ok(()), Ok(())]);
        assert_eq!(places.take(one), Err(Full::Share));
        assert_eq!(places.take(other), Ok(()));
        places.give_back(one);
        assert_eq!(places.take(one), Ok(()));
        assert_eq!(places.take(one), Err(Full::Share));
    }

    #[test]
    fn this_machine_may_have_them_all_and_no_more() {
        let mut places = Places::new(8);
        for from in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.1.2.3"] {
            assert_eq!(source(from), None, "{from}");
        }
        for _ in 0..8 {
            assert_eq!(places.take(None), Ok(()));
        }
        assert_eq!(places.take(None), Err(Full::All));
        assert_eq!(places.take(source("192.0.2.1")), Err(Full::All));
    }

    #[test]
    fn an_ipv6_network_and_a_mapped_address_are_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1:2:3"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn few_places_still_give_a_source_one_and_none_is_forgotten() {
        let mut places = Places::new(1);
        for _ in 0..3 {
            assert_eq!(places.take(source("192.0.2.1")), Ok(()));
            assert_eq!(places.take(source("192.0.2.2")), Err(Full::All));
            places.give_back(source("192.0.2.1"));
        }
        assert!(places.by_source.is_empty() && places.taken == 0);
    }
}
