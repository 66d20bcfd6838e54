//! What may happen to a switch: events, and how histories of them are made.

use proptest::prelude::*;

/// Accounts in every history; even ones in USD, odd ones in XRP.
pub(crate) const ACCOUNTS: u32 = 4;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Prepares(Vec<Ask>),
    Answers(Vec<Reply>),
    Advance { ms: u64, tick: bool },
    ClockStep { ms: i64 },
    LinkDown { account: u32 },
    LinkUp { account: u32 },
    Unsent { nth: usize },
    EgressFull { account: u32, full: bool },
    Draining(bool),
    Credit { account: u32, amount: u64 },
    Reverse { account: u32, amount: u64 },
    Freeze { account: u32, threshold: u64 },
    FreezeDue,
    EndFrozen { nth: usize, settled: bool },
    SetLimits { account: u32, balance_max: u64, payable_max: u64 },
    SetRates,
    DrainRecords,
}

/// A PREPARE to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: u64,
    pub(crate) expires_in_ms: u64,
}

/// An answer to the `nth` packet ever forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) nth: usize,
    pub(crate) says: Says,
    pub(crate) on: On,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    Fulfill,
    Reject,
    WrongFulfill,
    Garbage,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    ItsConnection,
    NewestConnection,
    AnotherAccount,
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let account = 0..ACCOUNTS;
    let expires_in_ms = prop_oneof![1 => Just(0), 20 => 1..16_000_u64];
    let ask = (account.clone(), account.clone(), 0..60_u64, expires_in_ms)
        .prop_map(|(from, to, amount, expires_in_ms)| Ask { from, to, amount, expires_in_ms });
    let says = prop_oneof![
        6 => Just(Says::Fulfill), 2 => Just(Says::Reject),
        1 => Just(Says::WrongFulfill), 1 => Just(Says::Garbage),
    ];
    let on = prop_oneof![
        8 => Just(On::ItsConnection), 1 => Just(On::NewestConnection), 1 => Just(On::AnotherAccount),
    ];
    let reply = (0..12_usize, says, on).prop_map(|(nth, says, on)| Reply { nth, says, on });
    prop_oneof![
        20 => prop::collection::vec(ask, 1..5).prop_map(Event::Prepares),
        20 => prop::collection::vec(reply, 1..4).prop_map(Event::Answers),
        6 => (0..5_000_u64, any::<bool>()).prop_map(|(ms, tick)| Event::Advance { ms, tick }),
        1 => (-5_000..5_000_i64).prop_map(|ms| Event::ClockStep { ms }),
        1 => account.clone().prop_map(|account| Event::LinkDown { account }),
        3 => account.clone().prop_map(|account| Event::LinkUp { account }),
        1 => (0..12_usize).prop_map(|nth| Event::Unsent { nth }),
        1 => (account.clone(), prop::bool::weighted(0.3))
            .prop_map(|(account, full)| Event::EgressFull { account, full }),
        1 => prop::bool::weighted(0.2).prop_map(Event::Draining),
        3 => (account.clone(), 0..80_u64)
            .prop_map(|(account, amount)| Event::Credit { account, amount }),
        1 => (account.clone(), 0..80_u64)
            .prop_map(|(account, amount)| Event::Reverse { account, amount }),
        3 => (account.clone(), 1..60_u64)
            .prop_map(|(account, threshold)| Event::Freeze { account, threshold }),
        6 => Just(Event::FreezeDue),
        3 => (0..4_usize, any::<bool>())
            .prop_map(|(nth, settled)| Event::EndFrozen { nth, settled }),
        1 => (account, 0..200_u64, 0..200_u64).prop_map(|(account, balance_max, payable_max)| {
            Event::SetLimits { account, balance_max, payable_max }
        }),
        1 => Just(Event::SetRates),
        4 => Just(Event::DrainRecords),
    ]
}
