//! The configuration of a target that fits a workload: accounts, tokens, assets, rates and routes.
//!
//! So that a named workload is one command away from a run, and one file describes both sides. What
//! a target calls these things is in `target_config/`, a file for each; here is what they share.
//!
//! Invariant: tokens are in files that only their owner reads, and nowhere else.

mod ilp_connector;
mod m2_switch;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::workload::{Destinations, End, Flow, Workload};

/// A target that can be configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The switch of this project.
    M2Switch,
    /// The connector in JavaScript from npm, version 23.
    IlpConnector,
}

/// Files, and what to do with them.
#[derive(Clone, Debug)]
pub struct Configuration {
    files: Vec<ConfigFile>,
    /// A command that starts the target, with the folder's files.
    pub start: String,
    /// What a run against it is told beside its workload.
    pub arguments: String,
}

#[derive(Clone, Debug)]
struct ConfigFile {
    path: PathBuf,
    text: String,
    mode: u32,
}

/// Most destinations that get a route each: a table as large as that of the standard workload, and
/// a file that can still be looked at.
const ROUTES_MAX: usize = 20_000;

/// Segments of a route, of those that `m2-switch` takes.
const ROUTE_SEGMENTS_MAX: usize = 16;

/// What an account may owe and be owed, in its units: finite, and more than a run moves.
const BALANCE_MAX: u64 = 1_000_000_000_000_000_000;

/// Packets of an account in a second: more than a run sends.
const PACKETS_PER_S: u64 = 100_000_000;

impl Configuration {
    /// What `target` needs in `folder` to serve `workload`.
    ///
    /// # Errors
    ///
    /// A sentence, when the target cannot be configured for it.
    pub fn new(target: Target, workload: &Workload, folder: &Path) -> Result<Self, String> {
        match target {
            Target::M2Switch => m2_switch::configuration(workload, folder),
            Target::IlpConnector => ilp_connector::configuration(workload, folder),
        }
    }

    /// Writes the files, and gives back their number.
    ///
    /// # Errors
    ///
    /// When the folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<usize> {
        for ConfigFile { path, text, mode } in &self.files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(*mode).open(&path)?;
            // A file that was there already keeps its mode otherwise.
            file.set_permissions(Permissions::from_mode(*mode))?;
            file.write_all(text.as_bytes())?;
        }
        Ok(self.files.len())
    }
}

/// Asset code and scale of an end.
fn asset(end: &End) -> Result<(&str, u8), String> {
    let parts = end.asset.split_once('/');
    parts.and_then(|(code, scale)| Some((code, scale.parse().ok()?))).ok_or_else(|| {
        format!(
            "end '{}' has no asset that its account could be given; add asset = \"USD/9\" to it",
            end.name
        )
    })
}

/// The address of a connector whose accounts have these: what stands before the last segment of
/// the first receiver's.
fn own_address(workload: &Workload) -> String {
    let receiver = workload.receiver(&workload.flows[0]).as_str();
    match receiver.rsplit_once('.') {
        Some((parent, _)) if parent.contains('.') => parent.to_owned(),
        _ => format!("{}.m2-load", receiver.split('.').next().unwrap_or("test")),
    }
}

/// The prefixes that lead to an end: each of its destinations where they are not too many, else its
/// own address.
fn routes(workload: &Workload, end: &End) -> Vec<String> {
    let Some(destinations) = &end.destinations else { return Vec::new() };
    let all: usize = workload
        .ends
        .iter()
        .filter_map(|end| end.destinations.as_ref())
        .map(Destinations::count)
        .sum();
    let text = |number| String::from_utf8_lossy(destinations.at(number)).into_owned();
    if all > ROUTES_MAX || text(0).split('.').count() > ROUTE_SEGMENTS_MAX {
        return vec![destinations.receiver().as_str().to_owned()];
    }
    (0..)
        .map_while(|number| ((number as usize) < destinations.count()).then(|| text(number)))
        .collect()
}

/// A rate between the standard units of two assets, exactly, as a decimal number.
type Rates<'a> = BTreeMap<((&'a str, u8), (&'a str, u8)), String>;

/// The rates that the flows ask for, one for each pair of assets.
fn rates(workload: &Workload) -> Result<Rates<'_>, String> {
    let mut rates = Rates::new();
    for flow in &workload.flows {
        let (from, to) = (&workload.ends[flow.from], &workload.ends[flow.to]);
        let between = (asset(from)?, asset(to)?);
        let name = format!("the flow from '{}' to '{}'", from.name, to.name);
        let rate = rate(flow, between.0.1, between.1.1).ok_or_else(|| {
            format!("{name} has a rate without an end of digits; change num or den")
        })?;
        if between.0.0 == between.1.0 && rate != "1" {
            return Err(format!(
                "{name} is at a rate of {rate} between assets of one code, which are worth the same; \
                 change num and den, or an asset's code"
            ));
        }
        let other = rates.entry(between).or_insert_with(|| rate.clone());
        if *other != rate {
            return Err(format!(
                "{name} is at a rate of {rate} and another between the same assets at {other}; a \
                 connector has one rate for both"
            ));
        }
    }
    Ok(rates)
}

/// `num / den` between units, as a decimal number of standard units for one. `None` if it has no end.
fn rate(flow: &Flow, scale_from: u8, scale_to: u8) -> Option<String> {
    let power = |scale: u8| 10_u128.checked_pow(scale.into());
    let num = u128::from(flow.num).checked_mul(power(scale_from)?)?;
    let den = u128::from(flow.den).checked_mul(power(scale_to)?)?;
    let (mut rest, mut digits) = (num % den, String::new());
    while rest > 0 {
        let ten_times = rest.checked_mul(10)?;
        digits.push(char::from_digit(u32::try_from(ten_times / den).ok()?, 10)?);
        rest = ten_times % den;
        (digits.len() <= 38).then_some(())?;
    }
    let whole = num / den;
    Some(if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") })
}

#[cfg(test)]
mod tests;
