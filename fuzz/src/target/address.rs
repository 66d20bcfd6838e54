//! Addresses and prefixes.

use m2_codec::address::{self, Address, Prefix, Scheme};

use crate::reference;

/// An address is what the RFC's expression says, a prefix that or a bare scheme; both are kept as
/// they came; one leads to another exactly where its segments are the first of the other's. The
/// first byte says where the input is cut into two.
pub fn address(data: &[u8]) {
    let Some((&at, bytes)) = data.split_first() else { return };
    judge(bytes);
    let (prefix, _) = bytes.split_at(usize::from(at).min(bytes.len()));
    let mut segments = bytes.split(|byte| *byte == b'.');
    let first_ones = prefix.split(|byte| *byte == b'.').all(|one| segments.next() == Some(one));
    assert_eq!(address::is_prefix(prefix, bytes), first_ones, "is_prefix");
    if let (Ok(parent), Ok(segment)) = (Address::try_from(bytes), core::str::from_utf8(prefix)) {
        let (child, text) = (parent.child(segment).ok(), [bytes, b".", prefix].concat());
        let expected = reference::is_address(&text).then_some(&text[..]);
        assert_eq!(child.as_ref().map(Address::as_bytes), expected, "child");
    }
}

fn judge(bytes: &[u8]) {
    let known = reference::is_address(bytes);
    assert_eq!(address::check(bytes).is_ok(), known, "check");
    let address = Address::try_from(bytes);
    assert_eq!(address.as_ref().ok().map(Address::as_bytes), known.then_some(bytes));
    let prefix = Prefix::try_from(bytes);
    let leads = known || reference::is_scheme(bytes);
    assert_eq!(prefix.as_ref().ok().map(Prefix::as_bytes), leads.then_some(bytes), "prefix");
    if let (Ok(address), Ok(prefix)) = (&address, &prefix) {
        assert_eq!(address.scheme(), prefix.scheme());
        assert!(prefix.leads_to(bytes), "an address leads to itself");
    }
    if leads {
        assert_eq!(address::scheme(bytes), named(bytes), "scheme");
    }
}

/// The scheme that the first segment names.
fn named(bytes: &[u8]) -> Scheme {
    match bytes.split(|byte| *byte == b'.').next() {
        Some(b"g") => Scheme::G,
        Some(b"private") => Scheme::Private,
        Some(b"example") => Scheme::Example,
        Some(b"peer") => Scheme::Peer,
        Some(b"self") => Scheme::SelfScheme,
        Some(b"local") => Scheme::Local,
        _ => Scheme::Test,
    }
}
