//! A `switch.toml` and a file for each token; `docs/configuration.md` describes the keys.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use m2_codec::url::Endpoint;

use super::{
    BALANCE_MAX, ConfigFile, Configuration, PACKETS_PER_S, asset, own_address, rates, routes,
};
use crate::report::quoted;
use crate::workload::{End, Workload};

/// Longest name of an account.
const NAME_LEN_MAX: usize = 64;

pub(super) fn configuration(workload: &Workload, folder: &Path) -> Result<Configuration, String> {
    let config = ConfigFile { path: "switch.toml".into(), text: text(workload)?, mode: 0o644 };
    let token = |end: &End| ConfigFile {
        path: token_file(end).into(),
        text: format!("{}\n", end.token.expose()),
        mode: 0o600,
    };
    let files = std::iter::once(config).chain(workload.ends.iter().map(token)).collect();
    let path = |name| quoted(&folder.join(name).display().to_string()).into_owned();
    Ok(Configuration {
        files,
        start: format!("m2-switch run --config {}", path("switch.toml")),
        arguments: format!("--control-socket {}", path("control.sock")),
    })
}

fn token_file(end: &End) -> String {
    format!("tokens/{}.token", end.name)
}

fn text(workload: &Workload) -> Result<String, String> {
    let own = own_address(workload);
    let scheme = own.split('.').next().unwrap_or_default();
    let network = if scheme.starts_with("test") { "test" } else { scheme };
    let mut text = format!(
        "[switch]\naddress = \"{own}\"\nnetwork = \"{network}\"\ncontrol_socket = \"control.sock\"\n"
    );
    for listener in listeners(workload)? {
        text += &listener;
    }
    let mut assets: Vec<(&str, u8)> =
        workload.ends.iter().map(asset).collect::<Result<_, String>>()?;
    assets.sort_unstable();
    assets.dedup();
    for (code, scale) in assets {
        let _ = write!(text, "\n[[assets]]\ncode = {code:?}\nscale = {scale}\n");
    }
    for (((from, from_scale), (to, to_scale)), rate) in rates(workload)? {
        if from != to {
            let (from, to) = (format!("{from}/{from_scale}"), format!("{to}/{to_scale}"));
            let _ = write!(text, "\n[[rates]]\nfrom = {from:?}\nto = {to:?}\nrate = \"{rate}\"\n");
        }
    }
    for end in &workload.ends {
        text += &account(workload, end)?;
    }
    Ok(text)
}

/// What the ends connect to, each once.
fn listeners(workload: &Workload) -> Result<Vec<String>, String> {
    let mut listeners = Vec::new();
    for end in &workload.ends {
        let listener = match &end.url.endpoint {
            Endpoint::Ws { host, port, .. } => on_port("ws", end, host, *port)?,
            Endpoint::Tcp { host, port } => on_port("tcp", end, host, *port)?,
            Endpoint::Unix { path } => {
                format!(
                    "\n[[listen]]\ntransport = \"unix\"\npath = {:?}\n",
                    path.display().to_string()
                )
            }
        };
        if !listeners.contains(&listener) {
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

fn on_port(transport: &str, end: &End, host: &str, port: u16) -> Result<String, String> {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let address: IpAddr = host.parse().map_err(|_| {
        format!(
            "end '{}' connects to '{host}', and a listener needs an IP address; give --target one",
            end.name
        )
    })?;
    let address = std::net::SocketAddr::new(address, port);
    Ok(format!("\n[[listen]]\ntransport = \"{transport}\"\naddress = \"{address}\"\n"))
}

fn account(workload: &Workload, end: &End) -> Result<String, String> {
    let name = &end.name;
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_~-".contains(c);
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(is_of_name) {
        return Err(format!(
            "end '{name}' has a name that no account of m2-switch can have; write 1 to \
             {NAME_LEN_MAX} of a-z, 0-9, _, ~ and -"
        ));
    }
    let packet_amount_max = workload.traffic.amount.most();
    let mut text = format!(
        "\n[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = {:?}\n\
         token_file = \"{}\"\nbalance_max = {BALANCE_MAX}\npayable_max = {BALANCE_MAX}\n\
         packet_amount_max = \"{packet_amount_max}\"\npackets_per_s = {PACKETS_PER_S}\n\
         amount_per_s = {BALANCE_MAX}\nin_flight_value_max = {BALANCE_MAX}\n",
        end.asset,
        token_file(end)
    );
    let routes = routes(workload, end);
    if !routes.is_empty() {
        text += "routes = [\n";
        routes.iter().for_each(|route| text += &format!("    \"{route}\",\n"));
        text += "]\n";
    }
    Ok(text)
}
