//! Who plays: single ends, and groups of them that differ in a number.

use std::collections::HashMap;
use std::ops::Range;

use m2_codec::address::{Address, AddressError};
use m2_codec::url::{BtpUrl, UrlError};
use toml::Spanned;

use super::super::file::{EndTable, File};
use super::super::{Destinations, End, Source, Token, WorkloadError};
use crate::limits;

/// What stands for an end's number in the texts of a group.
const NUMBER: &str = "{n}";

/// All ends, and how flows name them.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) all: Vec<End>,
    /// By the name in the file: of a group with its `{n}`, and of each single end.
    named: HashMap<String, Range<usize>>,
    /// Names as the file has them, for errors.
    names: Vec<String>,
}

impl Ends {
    /// The ends that a flow names: one, or a group.
    pub(super) fn named(
        &self,
        name: &Spanned<String>,
        source: &Source<'_>,
    ) -> Result<Range<usize>, WorkloadError> {
        self.named.get(name.get_ref()).cloned().ok_or_else(|| {
            let known = if self.names.is_empty() { "none".into() } else { self.names.join(", ") };
            let text = format!("no end is named '{}'; there are: {known}", name.get_ref());
            source.error(name.span(), &text)
        })
    }

    fn add(
        &mut self,
        end: End,
        name: &Spanned<String>,
        source: &Source<'_>,
    ) -> Result<(), WorkloadError> {
        let index = self.all.len();
        if self.named.insert(end.name.clone(), index..index + 1).is_some() {
            let text = format!(
                "two ends are named '{}'; an account has one connection, so give each its own name, \
                 a group by {NUMBER} in it",
                end.name
            );
            return Err(source.error(name.span(), &text));
        }
        self.all.push(end);
        Ok(())
    }
}

pub(super) fn checked_ends(file: &File, source: &Source<'_>) -> Result<Ends, WorkloadError> {
    let mut ends = Ends::default();
    for table in &file.ends {
        let EndTable { name, count, .. } = table.get_ref();
        ends.names.push(name.get_ref().clone());
        let first = ends.all.len();
        let Some(count) = count else {
            ends.add(checked_end(table, None, source)?, name, source)?;
            continue;
        };
        if !(1..=limits::FLOWS_MAX).contains(count.get_ref()) {
            let text = format!("a group has from 1 to {} ends", limits::FLOWS_MAX);
            return Err(source.error(count.span(), &text));
        }
        for number in 1..=*count.get_ref() {
            ends.add(checked_end(table, Some(number), source)?, name, source)?;
        }
        ends.named.insert(name.get_ref().clone(), first..ends.all.len());
    }
    if ends.all.len() > limits::FLOWS_MAX {
        let text = format!("{} ends; at most {} are taken", ends.all.len(), limits::FLOWS_MAX);
        return Err(source.error(0..0, &text));
    }
    Ok(ends)
}

/// One end, with its number in the place of every `{n}` if it is one of a group.
fn checked_end(
    table: &Spanned<EndTable>,
    number: Option<usize>,
    source: &Source<'_>,
) -> Result<End, WorkloadError> {
    let EndTable { name, url, token, token_file, role, asset, address, .. } = table.get_ref();
    let numbered = |text: &str| match number {
        Some(number) => text.replace(NUMBER, &number.to_string()),
        None => text.to_owned(),
    };
    let name = numbered(name.get_ref());
    let mut own_token = token.as_ref().map(|token| Token(numbered(token.expose())));
    if let Some(file) = token_file {
        if own_token.is_some() {
            let text = format!("end '{name}' has a token and a token_file; leave one out");
            return Err(source.error(file.span(), &text));
        }
        let path = source.folder().join(numbered(file.get_ref()));
        let token = Token::read(&path).map_err(|why| {
            source.error(file.span(), &format!("cannot read the token of end '{name}': {why}"))
        })?;
        own_token = Some(token);
    }
    let (url, token) = checked_url(&name, &numbered(url.get_ref()), own_token, source, url.span())?;
    let destinations = match address {
        Some(address) => {
            let own = checked_address(&numbered(address.get_ref()), address.span(), source)?;
            Some(Destinations::own(own))
        }
        None if role.receives() => {
            let text = format!(
                "end '{name}' receives and has no address; add address = \"...\", the ILP address \
                 that the target routes to it"
            );
            return Err(source.error(table.span(), &text));
        }
        None => None,
    };
    Ok(End { name, url, token, role: *role, asset: asset.clone(), destinations })
}

fn checked_url(
    name: &str,
    url: &str,
    token: Option<Token>,
    source: &Source<'_>,
    at: Range<usize>,
) -> Result<(BtpUrl, Token), WorkloadError> {
    let url: BtpUrl = url.parse().map_err(|error: UrlError| {
        let text = format!(
            "url of end '{name}': {error}; write one like btp+ws://{name}@127.0.0.1:7768/, \
             btp+tcp://127.0.0.1:7769 or btp+unix:///run/btp.sock"
        );
        source.error(at.clone(), &text)
    })?;
    let in_url = url.token.clone().map(Token);
    let token = match (token, in_url) {
        (Some(_), Some(_)) => {
            let text = format!("end '{name}' has a token and another in its url; leave one out");
            return Err(source.error(at, &text));
        }
        (Some(token), None) | (None, Some(token)) => token,
        (None, None) => {
            let text = format!(
                "end '{name}' has no token; add token = \"...\" or token_file, or write btp+ws://name:token@host"
            );
            return Err(source.error(at, &text));
        }
    };
    Ok((url, token))
}

/// An ILP address that stands at `at` in the file.
pub(super) fn checked_address(
    address: &str,
    at: Range<usize>,
    source: &Source<'_>,
) -> Result<Address, WorkloadError> {
    address.parse().map_err(|error: AddressError| {
        let text =
            format!("'{address}' is no ILP address: {error}; write one like test.connector.bob");
        source.error(at, &text)
    })
}
