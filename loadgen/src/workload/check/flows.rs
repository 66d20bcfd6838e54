//! Who pays whom: from one end or a group to one or a group.

use m2_codec::address::Address;
use toml::Spanned;

use super::super::file::{File, FlowTable};
use super::super::{End, Flow, Source, WorkloadError};
use super::ends::{Ends, checked_address};
use crate::limits;
use crate::traffic::{Alias, Amounts};

pub(super) fn checked_flows(
    file: &File,
    source: &Source<'_>,
    ends: &Ends,
    amount: &Amounts,
) -> Result<(Vec<Flow>, Alias), WorkloadError> {
    let (mut flows, mut weights) = (Vec::new(), Vec::new());
    for table in &file.flows {
        let weight = &table.get_ref().weight;
        if !(1..=limits::FLOW_WEIGHT_MAX).contains(weight.get_ref()) {
            let text = format!("weight must be from 1 to {}", limits::FLOW_WEIGHT_MAX);
            return Err(source.error(weight.span(), &text));
        }
        for (from, to) in pairs(table, source, ends)? {
            flows.push(checked_flow(table, source, (from, to), amount)?);
            weights.push(*weight.get_ref());
            if flows.len() > limits::FLOWS_MAX {
                let text = format!("more than {} flows from here on", limits::FLOWS_MAX);
                return Err(source.error(table.span(), &text));
            }
        }
    }
    if flows.is_empty() {
        let text = "0 flows; write at least one [[flows]] with from = and to =";
        return Err(source.error(0..0, text));
    }
    let by_weight = Alias::new(&weights).expect("2^12 weights of a million are a sum of 32 bits");
    Ok((flows, by_weight))
}

/// The ends of each flow that a table stands for: one with its like where both are groups, all with
/// all where one is a single end or the table says so; none with itself.
fn pairs(
    table: &Spanned<FlowTable>,
    source: &Source<'_>,
    ends: &Ends,
) -> Result<Vec<(usize, usize)>, WorkloadError> {
    let FlowTable { from, to, each_to_each, .. } = table.get_ref();
    let (senders, receivers) = (ends.named(from, source)?, ends.named(to, source)?);
    // The ends of a group have one role.
    let (sender, receiver) = (&ends.all[senders.start], &ends.all[receivers.start]);
    if !sender.role.sends() {
        let text = format!("end '{}' only receives; give it role = \"both\"", sender.name);
        return Err(source.error(from.span(), &text));
    }
    if !receiver.role.receives() {
        let text = format!("end '{}' only sends; give it role = \"both\"", receiver.name);
        return Err(source.error(to.span(), &text));
    }
    let all: Vec<(usize, usize)> = if *each_to_each || senders.len() == 1 || receivers.len() == 1 {
        let each = senders.flat_map(|from| receivers.clone().map(move |to| (from, to)));
        each.filter(|(from, to)| from != to).take(limits::FLOWS_MAX + 1).collect()
    } else if senders.len() == receivers.len() {
        senders.zip(receivers).filter(|(from, to)| from != to).collect()
    } else {
        let text = format!(
            "{} ends '{}' and {} ends '{}' make no pairs; give both groups one count, or write \
             each_to_each = true",
            senders.len(),
            from.get_ref(),
            receivers.len(),
            to.get_ref()
        );
        return Err(source.error(table.span(), &text));
    };
    if all.is_empty() {
        let text = "a flow from an end to itself would be refused as unreachable; name two ends, or \
                    write each_to_each = true for a group";
        return Err(source.error(table.span(), text));
    }
    Ok(all)
}

fn checked_flow(
    table: &Spanned<FlowTable>,
    source: &Source<'_>,
    (from, to): (usize, usize),
    amount: &Amounts,
) -> Result<Flow, WorkloadError> {
    let file = table.get_ref();
    let (num, den) = (*file.num.get_ref(), *file.den.get_ref());
    if num == 0 || den == 0 {
        return Err(source.error(table.span(), "num and den must be at least 1"));
    }
    let flow = Flow { from, to, num, den };
    let least = flow.converted(amount.least());
    if least.is_none_or(|least| least == 0) || flow.converted(amount.most()).is_none() {
        let text = format!(
            "amounts from {} to {} at {num}/{den} leave the receiver with 0 or with more than \
             2^64 - 1; change [traffic] amount, or num and den",
            amount.least(),
            amount.most()
        );
        return Err(source.error(table.span(), &text));
    }
    Ok(flow)
}

/// Given, or made: a name in the receivers' own network that nobody has.
pub(super) fn checked_unroutable(
    file: &File,
    source: &Source<'_>,
    ends: &[End],
    flows: &[Flow],
) -> Result<Address, WorkloadError> {
    if let Some(address) = &file.traffic.unroutable_address {
        return checked_address(address.get_ref(), address.span(), source);
    }
    let receiver = ends[flows[0].to].destinations.as_ref().expect("a receiver has an address");
    let scheme =
        receiver.receiver().as_str().split('.').next().expect("split gives one part at least");
    Ok(format!("{scheme}.m2-load-unroutable").parse().expect("a scheme and one segment"))
}
