//! A shell script with the environment that npm `ilp-connector` 23 is configured by.
//!
//! It listens on a port for each account, converts one to one, and takes 10,000 packets a minute
//! from an account unless told otherwise: here it is told otherwise.

use std::collections::BTreeSet;
use std::path::Path;

use m2_codec::url::Endpoint;
use serde_json::{Map, Value, json};

use super::{
    BALANCE_MAX, ConfigFile, Configuration, PACKETS_PER_S, asset, own_address, rates, routes,
};
use crate::report::quoted;
use crate::workload::{End, Target, Workload};

/// Where the accounts listen if the workload has them all on one port.
const OWN_PORTS: &str = "btp+ws://127.0.0.1:7800+";

pub(super) fn configuration(workload: &Workload, folder: &Path) -> Result<Configuration, String> {
    let script = "ilp-connector.sh";
    let path = folder.join(script).display().to_string();
    let start = format!("{} npx ilp-connector", quoted(&path));
    let (text, arguments) = match ports(workload) {
        Some(ports) => (text(workload, &ports)?, String::new()),
        None => {
            let moved = workload.clone().at_target(&Target::parse(OWN_PORTS)?)?;
            let ports = ports(&moved).ok_or("two ends would listen on one port")?;
            (text(&moved, &ports)?, format!("--target {OWN_PORTS}"))
        }
    };
    let files = vec![ConfigFile { path: script.into(), text, mode: 0o700 }];
    Ok(Configuration { files, start, arguments })
}

/// The host and port of each end, if no two have one.
fn ports(workload: &Workload) -> Option<Vec<(&str, u16)>> {
    let port = |end| match end {
        &Endpoint::Ws { ref host, port, .. } => Some((host.as_str(), port)),
        _ => None,
    };
    let ports: Option<Vec<_>> = workload.ends.iter().map(|end| port(&end.url.endpoint)).collect();
    ports.filter(|ports| ports.iter().collect::<BTreeSet<_>>().len() == ports.len())
}

fn text(workload: &Workload, ports: &[(&str, u16)]) -> Result<String, String> {
    for (((from, _), (to, _)), rate) in rates(workload)? {
        if rate != "1" {
            return Err(format!(
                "a rate of {rate} from {from} to {to} is none of ilp-connector's backend one-to-one; \
                 change num and den so that one {from} is one {to}"
            ));
        }
    }
    let (mut accounts, mut all_routes) = (Map::new(), Vec::new());
    for (end, (host, port)) in workload.ends.iter().zip(ports) {
        accounts.insert(end.name.clone(), account(workload, end, host, *port)?);
        let routes = routes(workload, end).into_iter();
        all_routes.extend(routes.map(|route| json!({ "targetPrefix": route, "peerId": end.name })));
    }
    let mut text = String::from(
        "#!/bin/sh\n# Runs the command line that it is given with the environment of ilp-connector 23.\n",
    );
    for (key, value) in [
        ("ILP_ADDRESS", own_address(workload)),
        ("BACKEND", "one-to-one".to_owned()),
        ("SPREAD", "0".to_owned()),
        ("ROUTES", Value::Array(all_routes).to_string()),
        ("ACCOUNTS", Value::Object(accounts).to_string()),
    ] {
        text += &format!("export CONNECTOR_{key}='{}'\n", value.replace('\'', r"'\''"));
    }
    text += "exec \"$@\"\n";
    Ok(text)
}

fn account(workload: &Workload, end: &End, host: &str, port: u16) -> Result<Value, String> {
    let (code, scale) = asset(end)?;
    let limit = BALANCE_MAX.to_string();
    Ok(json!({
        "relation": "child",
        "plugin": "ilp-plugin-btp",
        "assetCode": code,
        "assetScale": scale,
        "options": {
            "listener": {
                "port": port,
                "secret": end.token.expose(),
                "wsOpts": { "host": host, "port": port },
            },
        },
        "maxPacketAmount": workload.traffic.amount.most().to_string(),
        "balance": { "maximum": limit, "minimum": format!("-{limit}") },
        "rateLimit": { "refillPeriod": 1000, "refillCount": PACKETS_PER_S, "capacity": PACKETS_PER_S },
    }))
}
