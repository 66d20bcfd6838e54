//! What makes a workload senseless, table by table: each refusal names the line, what is wrong, and
//! what to write instead.
//!
//! Invariant: a [`Workload`] that leaves here can be run as it is.

mod ends;
mod rate;
mod shape;

use super::file::File;
use super::{Overrides, Source, Workload, WorkloadError};
use crate::limits;
use crate::payload::Kind;
use crate::traffic::{PER_MILLE, Traffic};
use ends::{checked_ends, checked_flows, checked_unroutable};
use rate::{checked_rate, checked_seconds};
use shape::{checked_amount, checked_data_len, checked_expiry, checked_mix, checked_repeat, span};

pub(super) fn check(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
    chosen_seed: u64,
) -> Result<Workload, WorkloadError> {
    let rate_per_s = checked_rate(file, source, overrides)?;
    let seconds = checked_seconds(file, source, overrides)?;
    let ends = checked_ends(file, source)?;
    let amount = checked_amount(&file.traffic, source)?;
    let (flows, by_weight) = checked_flows(file, source, &ends, &amount)?;
    let expiry_ms = span(&(10_000..=30_000));
    let expiry_ms = checked_expiry(file.traffic.expiry_ms.as_ref(), source, expiry_ms)?;
    let silent_expiry_ms =
        checked_expiry(file.traffic.silent_expiry_ms.as_ref(), source, expiry_ms)?;
    let traffic = Traffic {
        seed: overrides.seed.or(file.seed).unwrap_or(chosen_seed),
        mix: checked_mix(file, source)?,
        amount,
        data_len: checked_data_len(&file.traffic, source)?,
        expiry_ms,
        silent_expiry_ms,
        flows: by_weight,
    };
    let repeat = checked_repeat(&file.traffic, source, &traffic)?;
    check_silent_in_flight(file, source, rate_per_s, seconds, &traffic)?;
    let unroutable = checked_unroutable(file, source, &ends, &flows)?;
    let fulfillment = file.traffic.fulfillment;
    Ok(Workload { rate_per_s, seconds, traffic, fulfillment, repeat, ends, flows, unroutable })
}

/// Silent packets pile up until they expire; more than there are request ids would stop the run.
pub(super) fn check_silent_in_flight(
    file: &File,
    source: &Source<'_>,
    rate_per_s: u64,
    seconds: u64,
    traffic: &Traffic,
) -> Result<(), WorkloadError> {
    let silent_per_mille = u64::from(traffic.mix.per_mille(Kind::Expired));
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
    Err(source.error(file.rate_per_s.span(), &text))
}
