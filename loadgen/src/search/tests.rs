//! Searches among targets that are functions: exact ones, noisy ones, and ones without sense.

use super::*;

const GOAL: Goal = Goal {
    from_per_s: 1_000,
    to_per_s: 1_000_000,
    width: 0.05,
    narrow_s: 1,
    confirm_s: 10,
    votes: 3,
};

/// Most trials that a search from 1,000 to 1,000,000 can take: 10 doublings and 4 halvings to narrow,
/// then 5 votes for each of 13 strides and 4 halvings.
const TRIALS_MAX: usize = 14 + 5 * 17;

const TOO_HIGH: Found = Found::Bad(Limit::Target);

/// Plays a search to its end against a target, and gives every trial back.
fn play(goal: Goal, mut target: impl FnMut(Ask) -> Found) -> (Search, Vec<(Ask, Found)>) {
    let mut search = Search::new(goal);
    let mut trials = Vec::new();
    while let Some(ask) = search.ask() {
        assert!(trials.len() < TRIALS_MAX, "{trials:?}");
        assert!((goal.from_per_s..=goal.to_per_s).contains(&ask.rate_per_s), "{ask:?}");
        let found = target(ask);
        trials.push((ask, found));
        search.answer(found);
    }
    (search, trials)
}

fn up_to(capacity: u64) -> impl Fn(Ask) -> Found {
    move |ask| if ask.rate_per_s <= capacity { Found::Good } else { TOO_HIGH }
}

fn rate(bound: Option<Bound>) -> Option<u64> {
    bound.map(|bound| bound.rate_per_s)
}

/// A draw from 0 up to 1, from the seed and the number of the draw.
fn draw(seed: u64, number: usize) -> f64 {
    let word = crate::payload::mix(crate::payload::mix(seed) ^ number as u64);
    f64::from(u32::try_from(word >> 32).unwrap()) / f64::from(u32::MAX)
}

#[test]
fn every_capacity_is_found_to_within_the_width() {
    for capacity in (1_000..=1_000_000).step_by(977).chain([1_000, 1_001, 999_999]) {
        let (search, _) = play(GOAL, up_to(capacity));
        let (good, bad) = (rate(search.good()).unwrap(), rate(search.bad()).unwrap());
        assert!(good <= capacity && capacity < bad, "{good} {capacity} {bad}");
        assert!(bad <= scaled(good, 1.05), "{good} {capacity} {bad}");
    }
}

#[test]
fn a_narrow_width_is_found_to_the_packet() {
    let goal = Goal { from_per_s: 1, to_per_s: 100, width: 1e-9, votes: 1, ..GOAL };
    for capacity in 1..100 {
        let (search, _) = play(goal, up_to(capacity));
        assert_eq!((rate(search.good()), rate(search.bad())), (Some(capacity), Some(capacity + 1)));
    }
}

#[test]
fn a_target_that_takes_all_or_nothing_has_one_bound() {
    let (search, trials) = play(GOAL, up_to(1_000_000));
    assert_eq!((rate(search.good()), rate(search.bad())), (Some(1_000_000), None));
    assert_eq!(trials.len(), 11 + 2);
    let (search, trials) = play(GOAL, up_to(0));
    assert_eq!((rate(search.good()), rate(search.bad())), (None, Some(1_000)));
    assert_eq!(trials.len(), 1 + 2);
    let one_rate = Goal { from_per_s: 7, to_per_s: 7, ..GOAL };
    assert_eq!(rate(play(one_rate, up_to(7)).0.good()), Some(7));
    assert_eq!(rate(play(one_rate, up_to(6)).0.bad()), Some(7));
}

/// What is too high only for a while looks good in a short trial: a queue that fills, say.
#[test]
fn a_bound_counts_only_when_a_long_trial_confirmed_it() {
    for (short, long) in [(400_000, 100_000), (100_000, 400_000), (1_000_000, 2_000)] {
        let target = |ask: Ask| {
            let capacity = if ask.phase == Phase::Narrow { short } else { long };
            up_to(capacity)(ask)
        };
        let (search, trials) = play(GOAL, target);
        let (good, bad) = (search.good().unwrap(), search.bad().unwrap());
        assert!(good.rate_per_s <= long && long < bad.rate_per_s, "{good:?} {bad:?}");
        assert!(bad.rate_per_s <= scaled(good.rate_per_s, 1.05), "{good:?} {bad:?}");
        assert_eq!((good.good, good.trials()), (2, 2));
        assert_eq!((bad.limited_by_target, bad.trials()), (2, 2));
        let lengths = trials.iter().map(|(ask, _)| (ask.phase, ask.seconds));
        assert!(
            lengths.is_sorted_by_key(|(phase, seconds)| ((phase == Phase::Confirm), seconds)),
            "{trials:?}"
        );
    }
}

#[test]
fn one_bad_trial_of_three_is_outvoted_and_one_of_one_is_not() {
    let mut confirming = 0;
    let hiccup_once = |ask: Ask| {
        confirming += usize::from(ask.phase == Phase::Confirm);
        if confirming == 1 { TOO_HIGH } else { up_to(50_000)(ask) }
    };
    let (search, _) = play(GOAL, hiccup_once);
    let good = search.good().unwrap();
    assert_eq!((good.good, good.limited_by_target), (2, 1));
    assert!(good.rate_per_s > 47_000, "{good:?}");

    let mut confirming = 0;
    let mut first_confirmed = 0;
    let hiccup_once = |ask: Ask| {
        confirming += usize::from(ask.phase == Phase::Confirm);
        if confirming != 1 {
            return up_to(50_000)(ask);
        }
        first_confirmed = ask.rate_per_s;
        TOO_HIGH
    };
    let (search, _) = play(Goal { votes: 1, ..GOAL }, hiccup_once);
    assert_eq!(rate(search.bad()), Some(first_confirmed));
}

/// Trials that fail now and then for no reason of the target's move the result down, never up.
#[test]
fn noise_never_finds_a_rate_above_the_capacity_and_rarely_one_far_below() {
    let mut near = 0;
    for seed in 0..1_000 {
        let capacity = 1_000 + 499 * seed;
        let mut number = 0;
        let (search, _) = play(GOAL, |ask| {
            number += 1;
            if draw(seed, number) < 0.05 { TOO_HIGH } else { up_to(capacity)(ask) }
        });
        let good = rate(search.good()).unwrap_or_default();
        assert!(good <= capacity, "seed {seed}: {good} of {capacity}");
        near += u32::from(good > scaled(capacity, 0.9));
    }
    assert!(near >= 900, "{near} of 1,000 within a tenth");
}

#[test]
fn any_answers_end_the_search_with_bounds_that_most_long_trials_agree_with() {
    for seed in 0..5_000 {
        let votes = 1 + u32::try_from(seed % 5).unwrap();
        let goal = Goal { votes, ..GOAL };
        let mut number = 0;
        let (search, trials) = play(goal, |_| {
            number += 1;
            match draw(seed, number) {
                0.0..0.5 => Found::Good,
                0.5..0.75 => TOO_HIGH,
                _ => Found::Bad(Limit::Generator),
            }
        });
        assert!(search.good().is_some() || search.bad().is_some());
        if let (Some(good), Some(bad)) = (search.good(), search.bad()) {
            assert!(good.rate_per_s < bad.rate_per_s);
        }
        let tell = |bound: Bound, wanted: fn(Found) -> bool| {
            let at = |ask: &Ask| ask.phase == Phase::Confirm && ask.rate_per_s == bound.rate_per_s;
            let all: Vec<bool> =
                trials.iter().filter(|(ask, _)| at(ask)).map(|&(_, found)| wanted(found)).collect();
            assert_eq!(u32::try_from(all.len()).unwrap(), bound.trials());
            u32::try_from(all.into_iter().filter(|&is| is).count()).unwrap()
        };
        if let Some(good) = search.good() {
            assert!(2 * tell(good, |found| found == Found::Good) > votes, "{good:?}");
        }
        if let Some(bad) = search.bad() {
            assert!(2 * tell(bad, |found| found != Found::Good) >= votes, "{bad:?}");
        }
    }
}

#[test]
fn the_generator_is_the_limit_unless_the_target_alone_is_enough() {
    let bound = |limited_by_target, limited_by_generator| Bound {
        rate_per_s: 1,
        good: 0,
        limited_by_target,
        limited_by_generator,
    };
    assert_eq!(bound(2, 0).limit(3), Limit::Target);
    assert_eq!(bound(2, 1).limit(3), Limit::Target);
    assert_eq!(bound(1, 1).limit(3), Limit::Generator);
    assert_eq!(bound(0, 2).limit(3), Limit::Generator);
    assert_eq!(bound(1, 0).limit(1), Limit::Target);
    let (search, _) = play(GOAL, |ask| match ask.rate_per_s {
        ..=30_000 => Found::Good,
        _ => Found::Bad(Limit::Generator),
    });
    assert_eq!(search.bad().unwrap().limit(3), Limit::Generator);
}
