//! Who plays, and who pays whom.

use m2_codec::address::{Address, AddressError};
use m2_codec::url::{BtpUrl, UrlError};
use toml::Spanned;

use super::super::file::{EndTable, File, FlowTable};
use super::super::{Destinations, End, Flow, Source, Token, WorkloadError};
use crate::limits;
use crate::traffic::{Alias, Amounts};

pub(super) fn checked_ends(file: &File, source: &Source<'_>) -> Result<Vec<End>, WorkloadError> {
    let mut ends: Vec<End> = Vec::with_capacity(file.ends.len());
    for table in &file.ends {
        let end = checked_end(table, source)?;
        if ends.iter().any(|other| other.name == end.name) {
            let text = format!(
                "two ends are named '{}'; an account has one connection, so give each its own",
                end.name
            );
            return Err(source.error(table.get_ref().name.span(), &text));
        }
        ends.push(end);
    }
    if ends.len() > limits::FLOWS_MAX {
        let text = format!("{} ends; at most {} are taken", ends.len(), limits::FLOWS_MAX);
        return Err(source.error(0..0, &text));
    }
    Ok(ends)
}

pub(super) fn checked_end(
    table: &Spanned<EndTable>,
    source: &Source<'_>,
) -> Result<End, WorkloadError> {
    let end = table.get_ref();
    let name = end.name.get_ref();
    let (url, token) = checked_url(end, source)?;
    let destinations = match &end.address {
        Some(address) => Some(Destinations::own(checked_address(address, source)?)),
        None if end.role.receives() => {
            let text = format!(
                "end '{name}' receives and has no address; add address = \"...\", the ILP address \
                 that the target routes to it"
            );
            return Err(source.error(table.span(), &text));
        }
        None => None,
    };
    let asset = end.asset.clone();
    Ok(End { name: name.clone(), url, token, role: end.role, asset, destinations })
}

pub(super) fn checked_url(
    end: &EndTable,
    source: &Source<'_>,
) -> Result<(BtpUrl, Token), WorkloadError> {
    let name = end.name.get_ref();
    let url: BtpUrl = end.url.get_ref().parse().map_err(|error: UrlError| {
        let text = format!(
            "url of end '{name}': {error}; write one like btp+ws://{name}@127.0.0.1:7768/, \
             btp+tcp://127.0.0.1:7769 or btp+unix:///run/btp.sock"
        );
        source.error(end.url.span(), &text)
    })?;
    let in_url = url.token.clone().map(Token);
    let token = match (&end.token, in_url) {
        (Some(_), Some(_)) => {
            let text = format!("end '{name}' has a token and another in its url; leave one out");
            return Err(source.error(end.url.span(), &text));
        }
        (Some(token), None) => token.clone(),
        (None, Some(token)) => token,
        (None, None) => {
            let text = format!(
                "end '{name}' has no token; add token = \"...\", or write btp+ws://name:token@host"
            );
            return Err(source.error(end.url.span(), &text));
        }
    };
    Ok((url, token))
}

pub(super) fn checked_address(
    address: &Spanned<String>,
    source: &Source<'_>,
) -> Result<Address, WorkloadError> {
    address.get_ref().parse().map_err(|error: AddressError| {
        let text = format!(
            "'{}' is no ILP address: {error}; write one like test.connector.bob",
            address.get_ref()
        );
        source.error(address.span(), &text)
    })
}

pub(super) fn checked_flows(
    file: &File,
    source: &Source<'_>,
    ends: &[End],
    amount: &Amounts,
) -> Result<(Vec<Flow>, Alias), WorkloadError> {
    if file.flows.is_empty() || file.flows.len() > limits::FLOWS_MAX {
        let text = format!(
            "{} flows; write at least one [[flows]] with from = and to =, and at most {}",
            file.flows.len(),
            limits::FLOWS_MAX
        );
        return Err(source.error(0..0, &text));
    }
    let mut flows = Vec::with_capacity(file.flows.len());
    let mut weights = Vec::with_capacity(file.flows.len());
    for table in &file.flows {
        let flow = checked_flow(table, source, ends, amount)?;
        let weight = &table.get_ref().weight;
        if !(1..=limits::FLOW_WEIGHT_MAX).contains(weight.get_ref()) {
            let text = format!("weight must be from 1 to {}", limits::FLOW_WEIGHT_MAX);
            return Err(source.error(weight.span(), &text));
        }
        weights.push(*weight.get_ref());
        flows.push(flow);
    }
    let by_weight = Alias::new(&weights).expect("2^12 weights of a million are a sum of 32 bits");
    Ok((flows, by_weight))
}

pub(super) fn checked_flow(
    table: &Spanned<FlowTable>,
    source: &Source<'_>,
    ends: &[End],
    amount: &Amounts,
) -> Result<Flow, WorkloadError> {
    let file = table.get_ref();
    let from = end_named(&file.from, source, ends)?;
    let to = end_named(&file.to, source, ends)?;
    if !ends[from].role.sends() {
        let text = format!("end '{}' only receives; give it role = \"both\"", ends[from].name);
        return Err(source.error(file.from.span(), &text));
    }
    if !ends[to].role.receives() {
        let text = format!("end '{}' only sends; give it role = \"both\"", ends[to].name);
        return Err(source.error(file.to.span(), &text));
    }
    if from == to {
        let text = "a flow from an end to itself would be refused as unreachable; name two ends";
        return Err(source.error(table.span(), text));
    }
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

fn end_named(
    name: &Spanned<String>,
    source: &Source<'_>,
    ends: &[End],
) -> Result<usize, WorkloadError> {
    ends.iter().position(|end| end.name == *name.get_ref()).ok_or_else(|| {
        let known: Vec<&str> = ends.iter().map(|end| end.name.as_str()).collect();
        let text = format!(
            "no end is named '{}'; there are: {}",
            name.get_ref(),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        source.error(name.span(), &text)
    })
}

/// Given, or made: a name in the receivers' own network that nobody has.
pub(super) fn checked_unroutable(
    file: &File,
    source: &Source<'_>,
    ends: &[End],
    flows: &[Flow],
) -> Result<Address, WorkloadError> {
    if let Some(address) = &file.traffic.unroutable_address {
        return checked_address(address, source);
    }
    let receiver = ends[flows[0].to].destinations.as_ref().expect("a receiver has an address");
    let scheme =
        receiver.receiver().as_str().split('.').next().expect("split gives one part at least");
    Ok(format!("{scheme}.m2-load-unroutable").parse().expect("a scheme and one segment"))
}
