//! The workloads of the benches through sockets: the standard one of 64 accounts and 10,000 routes, as
//! far as a number of connections and a generator on one core allow.
//!
//! Invariant: [`DEPARTURES`] says whatever differs from the standard workload, and each result has it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;

/// What differs from the standard workload.
pub(crate) const DEPARTURES: &str = "as many accounts as connections; data of 32 to 82 bytes, as each packet carries what it is \
     checked by; 8,000 packets made before the run and sent over and over with new expiries under one \
     fulfillment; expiry in 10 to 30 s; answers in the order of the requests, 91 % FULFILL, 8 % REJECT, 1 % a \
     wrong fulfillment, and none left to expire, as those would fill a window; in flight: the window. \
     Towards the forwarder, which neither converts nor judges, one asset and 92 % FULFILL, 8 % REJECT";

/// Who is to serve the packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum For {
    /// A switch: two assets, half of the flows converted, a wrong fulfillment now and then.
    Switch,
    /// The forwarder, which passes on what it gets: one asset, and no wrong fulfillments.
    Forwarder,
}

/// Where ends connect, and what stands above the receivers' names in their addresses.
pub(crate) struct Place {
    /// `{name}` is the end's name.
    pub(crate) senders: String,
    /// `{name}` is the end's name.
    pub(crate) receivers: String,
    pub(crate) above: String,
}

/// An end of a workload, as its target has to know it.
pub(crate) struct End {
    pub(crate) name: String,
    pub(crate) asset: &'static str,
    pub(crate) token: String,
}

pub(crate) const SENDER: &str = "sender";
/// So long that an address below one has the 48 or 49 bytes of the standard workload.
pub(crate) const RECEIVER: &str = "receiving-end-of-flow";

/// Writes the workload of so many connections each way to a target that is named when it is run, and gives
/// its path from `root` if it is there.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn write(folder: &Path, root: &Path, connections: u16, target: For) -> Result<String> {
    let anywhere = || "btp+tcp://{name}@127.0.0.1:7769".to_owned();
    let place =
        Place { senders: anywhere(), receivers: anywhere(), above: "test.m2-load".to_owned() };
    write_at(folder, root, connections, target, &place)
}

/// The same where the ends connect at places of their own.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn write_at(
    folder: &Path,
    root: &Path,
    connections: u16,
    target: For,
    place: &Place,
) -> Result<String> {
    let file = folder.join(format!("{target:?}-{connections}.toml").to_lowercase());
    fs::write(&file, text(connections, target, place))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file.strip_prefix(root).unwrap_or(&file).display().to_string())
}

/// All ends of a role.
pub(crate) fn ends(connections: u16, role: &str, target: For) -> Vec<End> {
    let (senders, receivers) = groups(connections);
    let groups = if role == SENDER { senders } else { receivers };
    let ends = groups.iter().flat_map(|(group, count)| {
        (1..=*count).map(|number| {
            let name = name(group, role).replace("{n}", &number.to_string());
            End { token: token(&name), name, asset: asset(group, target) }
        })
    });
    ends.collect()
}

fn text(connections: u16, target: For, place: &Place) -> String {
    let mix = match target {
        For::Switch => "fulfilled = 910\nrejected = 80\nwrong_fulfillment = 10",
        For::Forwarder => "fulfilled = 920\nrejected = 80",
    };
    let mut text = format!(
        "seed = 1\nseconds = 1\nrate_per_s = 100000\n\n[traffic]\namount = [1000, 1000000]\n\
         data_bytes = [32, 82]\nexpiry_ms = [10000, 30000]\nfulfillment = \"fixed\"\nrepeat = 8000\n\n\
         [destinations]\ncount = 10000\ndepth = {}\n\n[mix]\n{mix}\n",
        place.above.split('.').count() + 3
    );
    let (senders, receivers) = groups(connections);
    for (role, groups) in [(SENDER, &senders), (RECEIVER, &receivers)] {
        groups.iter().for_each(|(group, count)| text += &end(group, role, *count, target, place));
    }
    for (from, _) in &senders {
        receivers.iter().for_each(|(to, _)| text += &flow(from, to, target));
    }
    text
}

/// Assets and counts of those who send, and of those who receive. One each way is converted.
type Groups = Vec<(&'static str, u16)>;

fn groups(connections: u16) -> (Groups, Groups) {
    if connections == 1 {
        return (vec![("usd", 1)], vec![("eur", 1)]);
    }
    let both = vec![("usd", connections - connections / 2), ("eur", connections / 2)];
    (both.clone(), both)
}

fn end(group: &str, role: &str, count: u16, target: For, place: &Place) -> String {
    let (name, asset) = (name(group, role), asset(group, target));
    let url = if role == SENDER { &place.senders } else { &place.receivers };
    let (url, token) = (url.replace("{name}", &name), token(&name));
    let mut text = format!(
        "\n[[ends]]\nname = \"{name}\"\ncount = {count}\nurl = \"{url}\"\ntoken = \"{token}\"\n\
         asset = \"{asset}\"\n"
    );
    if role == SENDER {
        text += "role = \"send\"\n";
    } else {
        let _ = writeln!(text, "role = \"receive\"\naddress = \"{}.{name}\"", place.above);
    }
    text
}

fn flow(from: &str, to: &str, target: For) -> String {
    // One USD for one EUR: 10^9 units for 10^6.
    let rate = match (target, from, to) {
        (For::Switch, "usd", "eur") => "den = 1000\n",
        (For::Switch, "eur", "usd") => "num = 1000\n",
        _ => "",
    };
    let (from, to) = (name(from, SENDER), name(to, RECEIVER));
    format!("\n[[flows]]\nfrom = \"{from}\"\nto = \"{to}\"\neach_to_each = true\n{rate}")
}

/// Of a group of ends. What tells a receiver stands in its last 8 bytes, by which the forwarder goes.
fn name(group: &str, role: &str) -> String {
    format!("{role}-{group}-{{n}}")
}

fn token(name: &str) -> String {
    format!("public-{name}")
}

fn asset(group: &str, target: For) -> &'static str {
    match (target, group) {
        (For::Switch, "eur") => "EUR/6",
        _ => "USD/9",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: u16, target: For) -> toml::Table {
        let place = Place {
            senders: "btp+tcp://{name}@127.0.0.1:1".to_owned(),
            receivers: "btp+tcp://{name}@127.0.0.1:2".to_owned(),
            above: "test.m2-load".to_owned(),
        };
        text(connections, target, &place).parse().unwrap()
    }

    #[test]
    fn there_are_as_many_ends_each_way_as_connections() {
        for connections in [1, 4, 8, 15, 16] {
            for target in [For::Switch, For::Forwarder] {
                let table = table(connections, target);
                for (word, role) in [("send", SENDER), ("receive", RECEIVER)] {
                    let written = table["ends"].as_array().unwrap().iter();
                    let of_role = written.filter(|end| end["role"].as_str() == Some(word));
                    let count: i64 = of_role.map(|end| end["count"].as_integer().unwrap()).sum();
                    assert_eq!(count, i64::from(connections));
                    assert_eq!(ends(connections, role, target).len(), usize::from(connections));
                }
            }
        }
    }

    #[test]
    fn half_of_the_flows_of_a_switch_are_converted_and_none_of_the_forwarder() {
        let converted = |target| {
            let table = table(4, target);
            let flows = table["flows"].as_array().unwrap();
            let is_converted =
                |flow: &&toml::Value| flow.get("num").or_else(|| flow.get("den")).is_some();
            (flows.iter().filter(is_converted).count(), flows.len())
        };
        assert_eq!((converted(For::Switch), converted(For::Forwarder)), ((2, 4), (0, 4)));
    }
}
