//! Times of packets against what theory says of them.

use super::*;
use crate::limits::{RATE_PER_S_MAX, SECONDS_MAX};

const fn ramp(rate_per_s: u64, to_rate_per_s: u64, seconds: u64) -> Phase {
    Phase { seconds, rate_per_s, to_rate_per_s }
}

fn evenly(phases: &[Phase]) -> Schedule {
    Schedule::new(phases, Process::Constant, 1)
}

fn by_chance(phases: &[Phase], seed: u64) -> Schedule {
    Schedule::new(phases, Process::Poisson, seed)
}

/// Every time of a schedule.
fn times(mut schedule: Schedule) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(due_ns) = schedule.due_ns() {
        assert_eq!(schedule.sequence(), times.len() as u64);
        times.push(due_ns);
        schedule.advance();
    }
    assert_eq!(schedule.count(), times.len() as u64);
    assert!(times.is_sorted());
    assert!(*times.last().unwrap() <= schedule.end_ns());
    times
}

#[test]
fn a_constant_rate_does_not_drift() {
    for rate_per_s in [1, 3, 7, 999, 12_345, 999_983] {
        let schedule = evenly(&[Phase::constant(rate_per_s, 3)]);
        assert_eq!(schedule.end_ns(), 3_000_000_000);
        for (sequence, due_ns) in (0..).zip(times(schedule)) {
            let exact = u128::from(sequence * NS_PER_S) / u128::from(rate_per_s);
            assert_eq!(u128::from(due_ns), exact, "{sequence} at {rate_per_s}");
        }
    }
}

#[test]
fn the_highest_rate_and_the_longest_run_are_counted_without_overflow() {
    let mut schedule = evenly(&[Phase::constant(RATE_PER_S_MAX, SECONDS_MAX)]);
    assert_eq!(schedule.count(), 1_728_000_000_000);
    assert_eq!(schedule.end_ns(), 86_400_000_000_000);
    schedule.advance();
    assert_eq!(schedule.due_ns(), Some(50));
}

#[test]
fn a_schedule_that_was_stopped_says_what_it_left_out() {
    for process in [Process::Constant, Process::Poisson] {
        let mut schedule = Schedule::new(&[Phase::constant(10, 1)], process, 1);
        schedule.advance();
        assert_eq!(schedule.stop(), 9);
        assert_eq!((schedule.due_ns(), schedule.sequence(), schedule.stop()), (None, 10, 0));
    }
}

/// What the phases give by themselves, one behind the other.
#[test]
fn steps_follow_each_other_without_a_gap_or_a_packet_too_many() {
    let steps = [Phase::constant(10, 2), Phase::constant(0, 3), Phase::constant(1_000, 1)];
    let expected = (0..20)
        .map(|n| n * 100_000_000)
        .chain((0..1_000).map(|n| 5_000_000_000 + n * 1_000_000))
        .collect::<Vec<u64>>();
    assert_eq!(times(evenly(&steps)), expected);
}

/// Where a ramp from 0 has had a quarter of its packets, half of its time is over.
#[test]
fn a_ramp_is_at_the_root_of_its_packets() {
    let up = times(evenly(&[ramp(0, 2_000, 10)]));
    assert_eq!(up.len(), 10_000);
    for (packet, at_ns) in [(0, 0), (100, 1_000_000_000), (2_500, 5_000_000_000)] {
        assert!(up[packet].abs_diff(at_ns) <= 1, "{packet}: {} and not {at_ns}", up[packet]);
    }
    let down = times(evenly(&[ramp(2_000, 0, 10)]));
    for (packet, at_ns) in [(0, 0), (7_500, 5_000_000_000), (9_900, 9_000_000_000)] {
        assert!(down[packet].abs_diff(at_ns) <= 1, "{packet}: {} and not {at_ns}", down[packet]);
    }
}

/// In each second of a ramp there are as many packets as its rate in the middle.
#[test]
fn a_ramp_between_steps_keeps_its_rate_second_by_second() {
    let phases = [Phase::constant(50, 1), ramp(100, 1_100, 10), Phase::constant(7, 1)];
    for (schedule, is_by_chance) in [(evenly(&phases), false), (by_chance(&phases, 5), true)] {
        let times = times(schedule);
        for second in 0..10_u64 {
            let (from, to) = ((1 + second) * NS_PER_S, (2 + second) * NS_PER_S);
            let count = times.iter().filter(|due_ns| (from..to).contains(*due_ns)).count() as u64;
            let expected = 150 + 100 * second;
            // By chance, six times the spread of a count; evenly, a packet at each border.
            let slack = if is_by_chance { 6 * expected.isqrt() } else { 1 };
            assert!(count.abs_diff(expected) <= slack, "{count} in second {second}");
        }
    }
}

#[test]
fn the_half_packet_of_a_ramp_is_left_out() {
    assert_eq!(count(&[ramp(0, 1, 3)]), 1);
    assert_eq!(count(&[ramp(0, 1, 3), ramp(1, 2, 1)]), 3);
    assert_eq!(times(evenly(&[ramp(0, 1, 3), ramp(1, 2, 1)])).len(), 3);
}

#[test]
fn packets_by_chance_are_as_many_as_packets_that_come_evenly_and_follow_from_the_seed() {
    let phases = [Phase::constant(1_000, 5)];
    let one = times(by_chance(&phases, 9));
    assert_eq!(one.len(), 5_000);
    assert_eq!(one, times(by_chance(&phases, 9)));
    assert_ne!(one, times(by_chance(&phases, 10)));
}

/// Times between packets of a Poisson process are exponential: as long on average as their spread,
/// and one in e is longer than that. Counts of windows spread by the root of their mean.
#[test]
fn packets_by_chance_are_a_poisson_process() {
    let times = times(by_chance(&[Phase::constant(20_000, 10)], 3));
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let spread =
        (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
    assert!((mean - 50_000.0).abs() < 50.0, "{mean}");
    assert!((spread / mean - 1.0).abs() < 0.02, "{spread}");
    let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
    assert!((longer - (-1.0_f64).exp()).abs() < 0.005, "{longer}");
    // Neighbours have nothing to do with each other.
    let together: f64 = gaps.windows(2).map(|two| (two[0] - mean) * (two[1] - mean)).sum();
    let correlation = together / gaps.len() as f64 / (spread * spread);
    assert!(correlation.abs() < 0.01, "{correlation}");

    let mut windows = vec![0_u64; 1_000];
    times.iter().for_each(|due_ns| windows[(due_ns / 10_000_000) as usize] += 1);
    let variance = windows.iter().map(|count| (*count as f64 - 200.0).powi(2)).sum::<f64>() / 1e3;
    assert!((160.0..240.0).contains(&variance), "{variance}");
}

#[test]
fn a_cut_takes_away_what_was_not_due_yet_and_only_once() {
    let phases = [Phase::constant(100, 2)];
    for process in [Process::Constant, Process::Poisson] {
        let whole = || Schedule::new(&phases, process, 7);
        let mut times = whole();
        let mut due = Vec::new();
        while let Some(due_ns) = times.due_ns() {
            due.push(due_ns);
            times.advance();
        }
        for now_ns in [0, 1, 500_000_000, due[77], due[77] + 1, u64::MAX] {
            let after = due.iter().filter(|&&due_ns| due_ns > now_ns).count() as u64;
            // Also where some were already sent.
            for sent in [0, 30] {
                let mut schedule = whole();
                (0..sent).for_each(|_| schedule.advance());
                let after = after.min(200 - sent);
                assert_eq!(schedule.cut(now_ns), after, "{process:?} {now_ns}");
                assert_eq!((schedule.due_ns(), schedule.cut(0)), (None, 0));
            }
        }
    }
}
