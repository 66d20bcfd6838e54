//! How fast and how long.

use super::super::file::File;
use super::super::{Overrides, Source, WorkloadError};
use crate::limits;

pub(super) fn checked_rate(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<u64, WorkloadError> {
    let (rate, from) = match overrides.rate_per_s {
        Some(rate) => (rate, "--rate"),
        None => (*file.rate_per_s.get_ref(), "rate_per_s"),
    };
    if (1..=limits::RATE_PER_S_MAX).contains(&rate) {
        return Ok(rate);
    }
    let text = format!(
        "{from} is {rate}, which no run can keep; write a whole number from 1 to {}",
        limits::RATE_PER_S_MAX
    );
    Err(source.error(file.rate_per_s.span(), &text))
}

pub(super) fn checked_seconds(
    file: &File,
    source: &Source<'_>,
    overrides: Overrides,
) -> Result<u64, WorkloadError> {
    let (seconds, from) = match overrides.seconds {
        Some(seconds) => (seconds, "--seconds"),
        None => (*file.seconds.get_ref(), "seconds"),
    };
    if (1..=limits::SECONDS_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    let text =
        format!("{from} is {seconds}; write a whole number from 1 to {}", limits::SECONDS_MAX);
    Err(source.error(file.seconds.span(), &text))
}
