//! How fast and how long: one rate, or phases.

use std::ops::Range;

use toml::Spanned;

use super::super::file::{File, PhaseTable};
use super::super::{Overrides, Source, WorkloadError};
use crate::limits;
use crate::schedule::{self, Phase};

/// The phases of a workload, or the one that the command line names.
pub(super) fn checked_phases(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<Vec<Phase>, WorkloadError> {
    if file.phases.is_empty() {
        return checked_one(file, source, overrides).map(|phase| vec![phase]);
    }
    if let Some(key) = file.seconds.as_ref().or(file.rate_per_s.as_ref()) {
        let text = "a workload has seconds and rate_per_s, or [[phases]] that each have both; \
                    leave one of the two ways out";
        return Err(source.error(key.span(), text));
    }
    let phases = checked_all(file, source)?;
    let in_all = phases.iter().map(|phase| phase.seconds).sum();
    let (rate_per_s, seconds) = match (overrides.rate_per_s, overrides.seconds) {
        (None, None) => return Ok(phases),
        (Some(rate_per_s), seconds) => (rate_per_s, seconds.unwrap_or(in_all)),
        (None, Some(_)) => {
            let text = "--seconds does not say which of the phases to keep; give --rate too, and \
                        one rate takes their place, or leave --seconds out";
            return Err(source.error(file.phases[0].span(), text));
        }
    };
    let at = file.phases[0].span();
    checked_rate(rate_per_s, "--rate", at.clone(), source)?;
    checked_seconds(seconds, "--seconds", at, source)?;
    Ok(vec![Phase::constant(rate_per_s, seconds)])
}

/// Top-level `seconds` and `rate_per_s`, or what the command line says instead.
fn checked_one(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<Phase, WorkloadError> {
    let value = |key: &Option<Spanned<u64>>, over: Option<u64>, name: &str, example: &str| {
        let at = key.as_ref().map_or(0..0, Spanned::span);
        let missing = || {
            let text = format!(
                "the key `{name}` is missing; add one like {example}, or [[phases]] that each \
                 have one"
            );
            source.error(0..0, &text)
        };
        let number = over.or_else(|| key.as_ref().map(|key| *key.get_ref())).ok_or_else(missing)?;
        Ok((number, at))
    };
    let (rate, rate_at) =
        value(&file.rate_per_s, overrides.rate_per_s, "rate_per_s", "rate_per_s = 20000")?;
    let (seconds, seconds_at) = value(&file.seconds, overrides.seconds, "seconds", "seconds = 5")?;
    let from = |over: Option<u64>, option, key| if over.is_some() { option } else { key };
    checked_rate(rate, from(overrides.rate_per_s, "--rate", "rate_per_s"), rate_at, source)?;
    checked_seconds(seconds, from(overrides.seconds, "--seconds", "seconds"), seconds_at, source)?;
    Ok(Phase::constant(rate, seconds))
}

/// `[[phases]]`. One may be a pause, all together may not.
fn checked_all(file: &File, source: &Source<'_>) -> Result<Vec<Phase>, WorkloadError> {
    let at = file.phases[0].span();
    if file.phases.len() > limits::PHASES_MAX {
        let text =
            format!("{} phases; at most {} are taken", file.phases.len(), limits::PHASES_MAX);
        return Err(source.error(at, &text));
    }
    let phases: Result<Vec<Phase>, WorkloadError> =
        file.phases.iter().map(|table| checked_phase(table, source)).collect();
    let phases = phases?;
    let seconds = phases.iter().map(|phase| phase.seconds).sum();
    checked_seconds(seconds, "the sum of all seconds", at.clone(), source)?;
    if schedule::count(&phases) == 0 {
        let text = "no phase has a packet; write a rate_per_s or to_rate_per_s above 0";
        return Err(source.error(at, text));
    }
    Ok(phases)
}

fn checked_phase(table: &Spanned<PhaseTable>, source: &Source<'_>) -> Result<Phase, WorkloadError> {
    let PhaseTable { seconds, rate_per_s, to_rate_per_s } = table.get_ref();
    checked_seconds(*seconds.get_ref(), "seconds", seconds.span(), source)?;
    let to_rate = to_rate_per_s.as_ref().unwrap_or(rate_per_s);
    for rate in [rate_per_s, to_rate] {
        if *rate.get_ref() > limits::RATE_PER_S_MAX {
            let text = format!(
                "a phase at {} a second is one that no run can keep; write a whole number from 0 \
                 (a pause) to {}",
                rate.get_ref(),
                limits::RATE_PER_S_MAX
            );
            return Err(source.error(rate.span(), &text));
        }
    }
    Ok(Phase {
        seconds: *seconds.get_ref(),
        rate_per_s: *rate_per_s.get_ref(),
        to_rate_per_s: *to_rate.get_ref(),
    })
}

fn checked_rate(
    rate: u64,
    from: &str,
    at: Range<usize>,
    source: &Source<'_>,
) -> Result<(), WorkloadError> {
    if (1..=limits::RATE_PER_S_MAX).contains(&rate) {
        return Ok(());
    }
    let text = format!(
        "{from} is {rate}, which no run can keep; write a whole number from 1 to {}",
        limits::RATE_PER_S_MAX
    );
    Err(source.error(at, &text))
}

fn checked_seconds(
    seconds: u64,
    from: &str,
    at: Range<usize>,
    source: &Source<'_>,
) -> Result<(), WorkloadError> {
    if (1..=limits::SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    let text =
        format!("{from} is {seconds}; write a whole number from 1 to {}", limits::SECONDS_MAX);
    Err(source.error(at, &text))
}
