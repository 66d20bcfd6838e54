//! `[destinations]`: how many addresses, how deep, and how often each.

use toml::Spanned;

use super::super::destinations::{Destinations, segments};
use super::super::file::DestinationsTable;
use super::super::{End, Source, WorkloadError};
use crate::limits;
use crate::traffic::Alias;

/// Gives every receiver its addresses, and says how often each of one receiver's is sent to.
pub(super) fn spread(
    table: Option<&Spanned<DestinationsTable>>,
    source: &Source<'_>,
    ends: &mut [End],
) -> Result<Alias, WorkloadError> {
    let Some(spanned) = table else { return Ok(zipf(1, 0.0)) };
    let DestinationsTable { count, zipf: skew, depth } = spanned.get_ref();
    let receivers: Vec<&mut Destinations> =
        ends.iter_mut().filter_map(|end| end.destinations.as_mut()).collect();
    let receiver_count = receivers.len().max(1);
    if !(receiver_count..=limits::DESTINATIONS_MAX).contains(count.get_ref()) {
        let text = format!(
            "{} destinations for {receiver_count} receiving ends; write at least one for each, and \
             at most {}",
            count.get_ref(),
            limits::DESTINATIONS_MAX
        );
        return Err(source.error(count.span(), &text));
    }
    if !(0.0..=limits::ZIPF_MAX).contains(skew.get_ref()) {
        let text = format!("zipf must be from 0 (all alike) to {}", limits::ZIPF_MAX);
        return Err(source.error(skew.span(), &text));
    }
    let each = count.get_ref().div_ceil(receiver_count);
    for destinations in receivers {
        let own = destinations.receiver().clone();
        let least = segments(&own) + 1;
        let depth_of_own = depth.as_ref().map_or(least, |depth| *depth.get_ref());
        let at = depth.as_ref().map_or_else(|| spanned.span(), Spanned::span);
        if depth_of_own < least {
            let text = format!(
                "depth = {depth_of_own} leaves no segment below '{}'; write {least} at least",
                own.as_str()
            );
            return Err(source.error(at, &text));
        }
        let below = (depth_of_own < limits::DESTINATION_DEPTH_MAX)
            .then(|| Destinations::below(own.clone(), each, depth_of_own));
        let Some(Ok(below)) = below else {
            let text = format!(
                "addresses of {depth_of_own} segments below '{}' would have more than the {} \
                 characters of an ILP address; lower depth",
                own.as_str(),
                m2_codec::limits::ADDRESS_LEN_MAX
            );
            return Err(source.error(at, &text));
        };
        *destinations = below;
    }
    Ok(zipf(each, *skew.get_ref()))
}

/// The k-th is chosen as often as 1 / k^skew says, and each now and then.
fn zipf(count: usize, skew: f64) -> Alias {
    /// The sum of all weights: less than 2^64 by more than there are destinations.
    const SUM: f64 = (1_u64 << 43) as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most 2^20")]
    let shares: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-skew)).collect();
    let sum: f64 = shares.iter().sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 2^43
    let weights: Vec<u64> =
        shares.iter().map(|share| (share / sum * SUM).round().max(1.0) as u64).collect();
    Alias::new(&weights).expect("2^20 weights with a sum of little more than 2^43")
}

#[cfg(test)]
mod tests {
    use crate::traffic::Alias;

    /// How often each is chosen by draws that lie evenly.
    fn counts(table: &Alias) -> Vec<u32> {
        let mut counts = vec![0; table.len()];
        (0..1_u32 << 22).for_each(|point| counts[table.at(point << 10) as usize] += 1);
        counts
    }

    #[test]
    fn ranks_are_chosen_by_their_power() {
        for skew in [0.0, 0.5, 1.0, 2.0] {
            let counts = counts(&super::zipf(1_000, skew));
            for rank in [2_u32, 3, 10, 100] {
                let ratio = f64::from(counts[0]) / f64::from(counts[rank as usize - 1]);
                let expected = f64::from(rank).powf(skew);
                assert!((ratio / expected - 1.0).abs() < 0.1, "{rank} at {skew}: {ratio}");
            }
        }
    }

    #[test]
    fn the_most_destinations_at_any_skew_are_a_table() {
        for skew in [0.0, 1.0, crate::limits::ZIPF_MAX] {
            assert_eq!(super::zipf(crate::limits::DESTINATIONS_MAX, skew).len(), 1 << 20);
        }
    }
}
