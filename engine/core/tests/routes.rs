//! A million prefixes: each is found, nothing beside them is, and what they take is what the
//! documentation says.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::LazyLock;

use m2_core::routes::{Builder, INLINE_LEN, ROUTE_SEGMENTS_MAX, RouteError};
use m2_core::{AccountId, Routes};

const MILLION: u32 = 1_000_000;

/// The `number`th prefix. Each sixteenth is too long for its entry, each sixteenth as deep as can be.
fn prefix(number: u32) -> String {
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (region, bank) = (mixed >> 56, mixed >> 40 & 0xffff);
    let short = format!("g.r{region}.bank{bank:x}.n{number:x}");
    match number % 16 {
        0 => format!("{short}.{}", "long".repeat(12)),
        1 => format!("{short}{}", ".d".repeat(ROUTE_SEGMENTS_MAX - 4)),
        _ => short,
    }
}

fn account(number: u32) -> AccountId {
    AccountId(number.wrapping_mul(0x9e37_79b9) >> 8)
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let mut builder = Builder::new(0x5eed, MILLION as usize);
    for number in 0..MILLION {
        builder.insert(&prefix(number).parse().unwrap(), account(number)).unwrap();
    }
    let again = builder.insert(&prefix(654_321).parse().unwrap(), AccountId(0));
    assert_eq!(again, Err(RouteError::Duplicate));
    builder.finish()
});

#[test]
fn each_of_a_million_prefixes_is_found_with_what_lies_below_it() {
    assert_eq!(ROUTES.count(), MILLION as usize);
    assert_eq!(ROUTES.accounts(), (0..MILLION).map(|it| account(it).0).max().unwrap() + 1);
    for number in 0..MILLION {
        let mut address = prefix(number);
        assert_eq!(ROUTES.next_hop(address.as_bytes()), Some(account(number)), "{address}");
        if number % 8 == 1 {
            address.push_str(".wallet.~7");
            assert_eq!(ROUTES.next_hop(address.as_bytes()), Some(account(number)), "{address}");
        }
    }
}

#[test]
fn what_is_beside_a_million_prefixes_is_not_found() {
    for number in (0..MILLION).step_by(31) {
        let prefix = prefix(number);
        let (head, last) = prefix.split_at(prefix.len() - 1);
        let other = if last == "0" { "z" } else { "0" };
        let beside = [head.to_owned(), format!("{prefix}0"), format!("{head}{other}q.x")];
        for address in beside {
            // Cut at its end, a number may be that of another prefix.
            let is_another = address == head && number % 16 > 1 && number > 15;
            let found = ROUTES.next_hop(address.as_bytes());
            assert!(found.is_none() || is_another, "{address} leads to {found:?}");
        }
    }
}

#[test]
fn the_one_that_stands_twice_is_told_by_its_position() {
    let (count, position) = (100_000, 99_997);
    let twice = |place: u32| if place as usize == position { 12_345 } else { place };
    let routes = (0..count).map(|place| (prefix(twice(place)).parse().unwrap(), account(place)));
    assert_eq!(Routes::build(1, routes).unwrap_err(), (position, RouteError::Duplicate));
}

#[test]
fn a_table_whose_count_was_told_wrong_comes_to_the_same() {
    let count = 5_000;
    let sizes = [0, 1, 4_999, 5_000, 5_001, 80_000].map(|told| {
        let mut builder = Builder::new(9, told);
        (0..count)
            .for_each(|it| builder.insert(&prefix(it).parse().unwrap(), account(it)).unwrap());
        let again = builder.insert(&prefix(17).parse().unwrap(), account(0));
        assert_eq!(again, Err(RouteError::Duplicate));
        let routes = builder.finish();
        for number in 0..count {
            assert_eq!(routes.next_hop(prefix(number).as_bytes()), Some(account(number)));
        }
        assert_eq!(routes.next_hop(prefix(count).as_bytes()), None);
        routes.bytes()
    });
    let [least, most] = [sizes.iter().min().unwrap(), sizes.iter().max().unwrap()];
    assert!(most - least <= most / 7, "{sizes:?}: what is not needed is given back");
}

#[test]
fn a_route_takes_what_the_documentation_says() {
    let documentation = include_str!("../../../docs/routes.md");
    let bytes = |len: usize| {
        let count = 1_000;
        let name = |number: u32| format!("g.{number:0>width$}", width = len - 2).parse().unwrap();
        let build =
            |count| Routes::build(7, (0..count).map(|it| (name(it), AccountId(0)))).unwrap();
        let (one, two) = (build(count).bytes(), build(2 * count).bytes());
        (two - one) / count as usize
    };
    let (short, long) = (bytes(INLINE_LEN), bytes(INLINE_LEN + 1));
    assert_eq!(long, short + INLINE_LEN + 1);
    for words in [
        format!("**{short} bytes** of memory for a prefix of up to {INLINE_LEN} bytes"),
        format!("a million take {short} MB"),
        "its own length beside them".to_owned(),
    ] {
        assert!(documentation.contains(&words), "docs/routes.md lacks: {words}");
    }
}
