//! What packets look like.

use std::num::NonZeroU64;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;

use super::super::file::{AmountShape, ExpiryTable, ExpiryValue, File, TrafficTable};
use super::super::{Source, WorkloadError, explain};
use crate::limits;
use crate::payload::{HEADER_LEN, Kind};
use crate::traffic::{Amounts, Mix, PER_MILLE, Span, Spans, Traffic};

pub(super) fn checked_amount(
    traffic: &TrafficTable,
    source: &Source<'_>,
) -> Result<Amounts, WorkloadError> {
    let fix = "write amount = [least, most], both at least 1 and least not above most";
    let default = span(&(1..=1_000));
    let range = checked_range(traffic.amount.as_ref(), source, default, 1..=u64::MAX, fix)?;
    Ok(match traffic.amount_shape {
        AmountShape::Even => Amounts::even(range),
        AmountShape::Log => Amounts::log(range),
    })
}

pub(super) fn checked_data_len(
    traffic: &TrafficTable,
    source: &Source<'_>,
) -> Result<Span, WorkloadError> {
    let header_len = HEADER_LEN as u64;
    let fix = format!(
        "write data_bytes = [least, most] from {HEADER_LEN} (what a packet carries to be checked) \
         to {}",
        limits::DATA_LEN_MAX
    );
    let allowed = header_len..=limits::DATA_LEN_MAX;
    checked_range(traffic.data_bytes.as_ref(), source, span(&(header_len..=120)), allowed, &fix)
}

pub(super) fn checked_expiry(
    expiry: Option<&Spanned<ExpiryValue>>,
    source: &Source<'_>,
    default: Spans,
) -> Result<Spans, WorkloadError> {
    let Some(spanned) = expiry else { return Ok(default) };
    match spanned.get_ref() {
        ExpiryValue::Range(range) => {
            checked_expiry_range(range, spanned.span(), source).map(Spans::one)
        }
        ExpiryValue::Mix(tables) => checked_expiry_mix(tables, spanned.span(), source),
    }
}

fn checked_expiry_mix(
    tables: &[ExpiryTable],
    at: Range<usize>,
    source: &Source<'_>,
) -> Result<Spans, WorkloadError> {
    let sum: u64 = tables.iter().map(|table| u64::from(table.share)).sum();
    if sum != u64::from(PER_MILLE) || tables.len() > limits::RANGES_MAX {
        let text = format!(
            "{} ranges with shares that add up to {sum}; the shares are per mille: make it {}, of \
             at most {} ranges",
            tables.len(),
            PER_MILLE,
            limits::RANGES_MAX
        );
        return Err(source.error(at, &text));
    }
    let span = |table: &ExpiryTable| {
        let span = checked_expiry_range(&table.ms, at.clone(), source)?;
        Ok((u64::from(table.share), span))
    };
    let spans: Result<Vec<(u64, Span)>, WorkloadError> = tables.iter().map(span).collect();
    Ok(Spans::new(&spans?).expect("the shares are a thousand"))
}

fn checked_expiry_range(
    range: &[u64],
    at: Range<usize>,
    source: &Source<'_>,
) -> Result<Span, WorkloadError> {
    let fix = format!(
        "write an expiry range as [least, most] in milliseconds, from 1 to {}",
        limits::EXPIRY_MS_MAX
    );
    range_within(range, at, source, 1..=limits::EXPIRY_MS_MAX, &fix)
}

pub(super) fn checked_range(
    range: Option<&Spanned<Vec<u64>>>,
    source: &Source<'_>,
    default: Span,
    allowed: RangeInclusive<u64>,
    fix: &str,
) -> Result<Span, WorkloadError> {
    let Some(spanned) = range else { return Ok(default) };
    range_within(spanned.get_ref(), spanned.span(), source, allowed, fix)
}

fn range_within(
    range: &[u64],
    at: Range<usize>,
    source: &Source<'_>,
    allowed: RangeInclusive<u64>,
    fix: &str,
) -> Result<Span, WorkloadError> {
    // A list of another length is no range, also where its first two numbers would make one.
    let &[least, most] = range else {
        let sentence = explain::misfit_at(source.text, at.start);
        return Err(source.error(at, &sentence));
    };
    if least <= most && allowed.contains(&least) && allowed.contains(&most) {
        return Ok(span(&(least..=most)));
    }
    Err(source.error(at, &format!("[{least}, {most}] cannot be used; {fix}")))
}

/// A range that is known to hold values, and not 2^64 of them.
pub(super) fn span(range: &RangeInclusive<u64>) -> Span {
    Span::new(range).expect("the least is not above the most, and not 0 where that is 2^64 - 1")
}

/// Repeated packets hold every share exactly if they are thousands, and fit in memory.
pub(super) fn checked_repeat(
    table: &TrafficTable,
    source: &Source<'_>,
    traffic: &Traffic,
) -> Result<Option<NonZeroU64>, WorkloadError> {
    let Some(spanned) = &table.repeat else { return Ok(None) };
    let count = *spanned.get_ref();
    let is_mixed = traffic.mix.per_mille(Kind::Fulfilled) < PER_MILLE;
    if is_mixed && count % u64::from(PER_MILLE) != 0 {
        let text = format!(
            "repeat = {count} would not give each kind of [mix] its share; write a multiple of \
             {PER_MILLE}"
        );
        return Err(source.error(spanned.span(), &text));
    }
    let bytes = count.saturating_mul(traffic.data_len.most() + limits::BODY_OVERHEAD_LEN);
    NonZeroU64::new(count).filter(|_| bytes <= limits::REPEAT_BYTES_MAX).map(Some).ok_or_else(|| {
        let text = format!(
            "repeat is {count}; write a number from 1 to {}, which are {} MiB of packets with data \
             of {} bytes",
            limits::REPEAT_BYTES_MAX / (traffic.data_len.most() + limits::BODY_OVERHEAD_LEN),
            limits::REPEAT_BYTES_MAX >> 20,
            traffic.data_len.most()
        );
        source.error(spanned.span(), &text)
    })
}

pub(super) fn checked_mix(file: &File, source: &Source<'_>) -> Result<Mix, WorkloadError> {
    let Some(spanned) = &file.mix else {
        return Ok(Mix::new([PER_MILLE, 0, 0, 0, 0]).expect("a thousand is a thousand"));
    };
    let mix = spanned.get_ref();
    let shares = [mix.fulfilled, mix.rejected, mix.expired, mix.wrong_fulfillment, mix.unroutable];
    Mix::new(shares).ok_or_else(|| {
        let sum: u64 = shares.iter().copied().map(u64::from).sum();
        let text = format!("the shares of [mix] add up to {sum}; they are per mille: make it 1000");
        source.error(spanned.span(), &text)
    })
}
