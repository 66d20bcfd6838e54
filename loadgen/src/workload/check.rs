//! What makes a workload senseless, table by table: each refusal names the line, what is wrong, and
//! what to write instead.
//!
//! Invariant: a [`Workload`] that leaves here can be run as it is.

mod destinations;
mod ends;
mod flows;
mod rate;
mod shape;

use super::file::File;
use super::{Overrides, Source, Workload, WorkloadError};
use crate::limits;
use crate::payload::Kind;
use crate::schedule::Phase;
use crate::traffic::{PER_MILLE, Spans, Traffic};
use destinations::spread;
use ends::checked_ends;
use flows::{checked_flows, checked_unroutable};
use rate::checked_phases;
use shape::{checked_amount, checked_data_len, checked_expiry, checked_mix, checked_repeat, span};

pub(super) fn check(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
    chosen_seed: u64,
) -> Result<Workload, WorkloadError> {
    let phases = checked_phases(file, source, overrides)?;
    let mut ends = checked_ends(file, source)?;
    let destinations = spread(file.destinations.as_ref(), source, &mut ends.all)?;
    let amount = checked_amount(&file.traffic, source)?;
    let (flows, by_weight) = checked_flows(file, source, &ends, &amount)?;
    let default_ms = Spans::one(span(&(10_000..=30_000)));
    let expiry_ms = checked_expiry(file.traffic.expiry_ms.as_ref(), source, default_ms)?;
    let silent_expiry_ms =
        checked_expiry(file.traffic.silent_expiry_ms.as_ref(), source, expiry_ms.clone())?;
    let traffic = Traffic {
        seed: overrides.seed.or(file.seed).unwrap_or(chosen_seed),
        mix: checked_mix(file, source)?,
        amount,
        data_len: checked_data_len(&file.traffic, source)?,
        expiry_ms,
        silent_expiry_ms,
        flows: by_weight,
        destinations,
    };
    let repeat = checked_repeat(&file.traffic, source, &traffic)?;
    check_silent_in_flight(file, source, &phases, &traffic)?;
    let ends = ends.all;
    let unroutable = checked_unroutable(file, source, &ends, &flows)?;
    let (process, fulfillment) = (file.arrivals.process, file.traffic.fulfillment);
    let has_seed = overrides.seed.or(file.seed).is_some();
    Ok(Workload {
        phases,
        process,
        traffic,
        has_seed,
        fulfillment,
        repeat,
        ends,
        flows,
        unroutable,
    })
}

/// Silent packets pile up until they expire; more than there are request ids would stop the run.
fn check_silent_in_flight(
    file: &File,
    source: &Source<'_>,
    phases: &[Phase],
    traffic: &Traffic,
) -> Result<(), WorkloadError> {
    let silent_per_mille = u64::from(traffic.mix.per_mille(Kind::Expired));
    let rates = phases.iter().map(|phase| phase.rate_per_s.max(phase.to_rate_per_s));
    let rate_per_s = rates.max().unwrap_or_default();
    let seconds: u64 = phases.iter().map(|phase| phase.seconds).sum();
    let held_ms = traffic.silent_expiry_ms.most().min(seconds * 1_000);
    let in_flight = u128::from(rate_per_s) * u128::from(silent_per_mille) * u128::from(held_ms)
        / (u128::from(PER_MILLE) * 1_000);
    if in_flight <= limits::IN_FLIGHT_MAX as u128 / 2 {
        return Ok(());
    }
    let text = format!(
        "{in_flight} silent packets would be in flight at once, and half of {} is the most; lower \
         rate_per_s, [mix] expired or [traffic] silent_expiry_ms",
        limits::IN_FLIGHT_MAX
    );
    let of_phase = file.phases.first().map(|phase| phase.span());
    let at = file.rate_per_s.as_ref().map(|rate| rate.span()).or(of_phase);
    Err(source.error(at.unwrap_or_default(), &text))
}
