//! What must hold after every operation, and once all is quiet. The sums are the judge's own.

use m2_core::ledger::Words;

use super::world::{ACCOUNTS, World, id};

/// `held_in` of an account is the sum over slots, Forwards and Answers of what it sent, wherever they
/// are, and of FULFILLs that wait only their number counts; `held_out` that over the slots toward it; both in packets as well; and no other shard than its
/// own has a word about it.
pub(super) fn held(world: &World) {
    let mut held_in = [(0_u32, 0_i128); ACCOUNTS];
    let mut held_out = held_in;
    let mut add = |account: usize, amount: u64| {
        held_in[account].0 += 1;
        held_in[account].1 += i128::from(amount);
    };
    for (forward, _) in world.edge.forwards.iter().flatten() {
        add(forward.account_in().0 as usize, forward.amount_in());
    }
    for (answer, _) in world.edge.answers.iter().flatten() {
        add(answer.account_in().0 as usize, answer.amount_in());
    }
    for (shard, switch) in world.switches.iter().enumerate() {
        for (account, sums) in switch.slot_sums().into_iter().enumerate() {
            held_in[account].0 += sums.count_in;
            held_in[account].1 += i128::try_from(sums.amount_in).expect("a sum of u64");
            held_out[account].0 += sums.count_out;
            held_out[account].1 += i128::try_from(sums.amount_out).expect("a sum of u64");
            assert!(sums.count_out == 0 || world.shard_of(account) == shard, "a stranger's slot");
        }
    }
    for account in 0..ACCOUNTS {
        for (shard, switch) in world.switches.iter().enumerate() {
            let view = switch.account_view(id(account));
            if shard == world.shard_of(account) {
                let withheld = u32::try_from(view.withheld.count).expect("a few");
                let asked = (view.in_flight_in - withheld, view.words.held_in);
                assert_eq!(asked, held_in[account], "held_in");
                assert_eq!(
                    (view.in_flight_out, view.words.held_out),
                    held_out[account],
                    "held_out"
                );
            } else {
                assert_eq!(view.words, Words::default(), "a word on another shard");
            }
        }
    }
}

/// What each account owes is what the books say, an Answer that waits counted as not yet taken.
pub(super) fn owed(world: &World) {
    let mut waiting = [0_i128; ACCOUNTS];
    for (answer, _) in world.edge.answers.iter().flatten().filter(|it| it.0.is_fulfilled()) {
        waiting[answer.account_in().0 as usize] += i128::from(answer.amount_in());
    }
    for (account, (owed, waiting)) in world.owed.iter().zip(waiting).enumerate() {
        let view = world.switches[world.shard_of(account)].account_view(id(account));
        let expected = owed - waiting;
        assert_eq!(view.words.position(), expected, "what account {account} owes");
    }
}

/// Nothing is held, no packet is left, and every request on a connection that still is its account's
/// has its answer.
pub(super) fn quiet(world: &mut World) {
    held(world);
    owed(world);
    for switch in &world.switches {
        assert_eq!((switch.in_flight(), switch.next_deadline_ns()), (0, None), "a packet is left");
    }
    for account in 0..ACCOUNTS {
        let words = world.owner(account).account_view(id(account)).words;
        assert_eq!((words.held_in, words.held_out, words.frozen), (0, 0, 0), "something is held");
    }
    let edge = &world.edge;
    for asked in &edge.asked {
        let gone = !edge.is_live(asked.connection);
        assert!(asked.answered || gone, "a request has no answer: {asked:?}");
    }
}
