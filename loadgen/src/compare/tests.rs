//! Statistics against samples whose answers are known.

use super::*;

/// Evenly spread from 0 up to 1, from the seed and the number of the draw.
fn draw(seed: u64, number: u64) -> f64 {
    let word = crate::payload::mix(crate::payload::mix(seed) ^ number);
    f64::from(u32::try_from(word >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
}

/// A time as measurements have them: never below a floor, and now and then far above it.
fn skewed(seed: u64, number: u64) -> f64 {
    100.0 - 20.0 * (1.0 - draw(seed, number)).ln()
}

/// The ranks of the tables in textbooks (order statistics for the median, two-sided 95 %): of 6 the
/// 1st and last, of 9 the 2nd, of 15 the 4th, of 25 the 8th, of 100 the 40th.
#[test]
fn ranks_are_those_of_the_binomial_tables() {
    let table = [
        (5, None),
        (6, Some(1)),
        (8, Some(1)),
        (9, Some(2)),
        (12, Some(3)),
        (15, Some(4)),
        (20, Some(6)),
        (25, Some(8)),
        (50, Some(18)),
        (100, Some(40)),
        (1_000, Some(469)),
    ];
    for (count, kth) in table {
        assert_eq!(rank(count).map(|below| below + 1), kth, "of {count}");
    }
    assert_eq!(rank(SAMPLES_MIN - 1), None);
    assert!(rank(SAMPLES_MIN).is_some());
}

#[test]
fn a_spread_does_not_depend_on_the_order_of_its_samples() {
    let fifteen: Vec<f64> =
        [9, 3, 15, 1, 7, 13, 5, 11, 2, 8, 14, 4, 10, 6, 12].map(f64::from).into();
    assert_eq!(Spread::of(&fifteen), Some(Spread { median: 8.0, low: 4.0, high: 12.0 }));
    let six = [6.0, 1.0, 5.0, 2.0, 4.0, 3.0];
    assert_eq!(Spread::of(&six), Some(Spread { median: 3.5, low: 1.0, high: 6.0 }));
    assert_eq!(Spread::of(&six[..5]), None);
}

#[test]
fn pairs_alternate_so_that_each_side_is_first_in_half_of_them() {
    let sides: String = (0..4).flat_map(order).map(|side| format!("{side:?}")).collect();
    assert_eq!(sides, "ABBAABBA");
}

#[test]
fn what_is_the_same_has_no_difference() {
    let same: Vec<(f64, f64)> = (0..15).map(|i| (f64::from(i) + 5.0, f64::from(i) + 5.0)).collect();
    let comparison = Comparison::of(&same).unwrap();
    assert_eq!(comparison.finding, Finding::NoDifference);
    assert_eq!(comparison.ratio, Spread { median: 1.0, low: 1.0, high: 1.0 });
}

/// The promise of the interval: A against A is called a difference in 1 case of 20 at most (of 15
/// pairs 1 in 28). And a real one of a half is seen through noise of a fifth in nearly all.
#[test]
fn a_against_a_has_no_difference_in_19_of_20_and_a_real_one_is_seen() {
    let (mut false_alarms, mut seen) = (0, 0);
    for seed in 0..4_000 {
        let pairs = |factor: f64| -> Vec<_> {
            (0..15).map(|i| (skewed(seed, 2 * i), factor * skewed(seed, 2 * i + 1))).collect()
        };
        let finding = |factor| Comparison::of(&pairs(factor)).unwrap().finding;
        false_alarms += u32::from(finding(1.0) != Finding::NoDifference);
        seen += u32::from(finding(1.5) == Finding::Higher);
        assert_ne!(finding(1.5), Finding::Lower);
    }
    assert!((60..=200).contains(&false_alarms), "{false_alarms} of 4,000");
    assert!(seen > 3_900, "{seen} of 4,000");
}

/// A machine that slows down over the trials, by half in all: pairs see nothing of it.
#[test]
fn a_drift_that_meets_both_sides_is_no_difference() {
    let drift = |trial: u64| 100.0 + f64::from(u32::try_from(trial).unwrap()) * 100.0 / 60.0;
    let pairs: Vec<(f64, f64)> = (0..30)
        .map(|pair| {
            let (first, second) = (drift(2 * pair), drift(2 * pair + 1));
            match order(usize::try_from(pair).unwrap()) {
                [Side::A, _] => (first, second),
                _ => (second, first),
            }
        })
        .collect();
    assert_eq!(Comparison::of(&pairs).unwrap().finding, Finding::NoDifference);
    let in_one_order: Vec<(f64, f64)> =
        (0..30).map(|pair| (drift(2 * pair), drift(2 * pair + 1))).collect();
    assert_eq!(Comparison::of(&in_one_order).unwrap().finding, Finding::Higher);
}

#[test]
fn higher_and_lower_are_said_of_b() {
    let pairs = |b: f64| vec![(100.0, b); 15];
    assert_eq!(Comparison::of(&pairs(101.0)).unwrap().finding, Finding::Higher);
    assert_eq!(Comparison::of(&pairs(99.0)).unwrap().finding, Finding::Lower);
    assert_eq!(Comparison::of(&pairs(100.0)).unwrap().finding, Finding::NoDifference);
}

#[test]
fn nothing_against_nothing_is_no_difference_and_against_something_is_one() {
    let finding = |a, b| Comparison::of(&[(a, b); 7]).unwrap().finding;
    assert_eq!(finding(0.0, 0.0), Finding::NoDifference);
    assert_eq!(finding(0.0, 5.0), Finding::Higher);
    assert_eq!(finding(5.0, 0.0), Finding::Lower);
    assert_eq!(Comparison::of(&[(0.0, 5.0); 7]).unwrap().ratio.median, f64::INFINITY);
}
