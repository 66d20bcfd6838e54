//! `cargo xtask bench three`: three switches in a row at half of the load that they take, end to end.
//!
//! ```text
//!   m2-load, senders ==> a ==> b ==> c ==> m2-load, receivers       BTP over WebSocket all the way
//! ```
//!
//! Each has a journal: all `async`, and beside it all `sync`, with what a flush took at each. The generator
//! checks every answer and both of its ends; that the ledgers between agree is checked here.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::openloop::highest;
use super::{Effort, P50, P99, P99_9, Side, Turns};
use crate::Result;
use crate::bench::journal;
use crate::bench::packets::{self, For, Place};
use crate::bench::targets::{Programs, Target, free_ports};
use crate::workspace::Workspace;

const CONNECTIONS: u16 = 4;
/// Of the highest rate, in percent.
const SHARE: u64 = 50;

/// Credit and packets that no run uses up, for every account.
pub(super) const LIMITS: &str = "balance_max = 1000000000000000000\npayable_max = 1000000000000000000\n\
                      packets_per_s = 100000000\namount_per_s = 1000000000000000000\n\
                      in_flight_packets_max = 1000000\nin_flight_value_max = 1000000000000000000\n";

/// Three switches that run.
struct Row {
    /// The one that senders connect to, as what is measured.
    side: Side,
    _others: [Target; 2],
}

/// Measures both kinds of journal.
///
/// # Errors
///
/// When a program does not build or start, a run has a failure, or no rate is good.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-three")?;
    println!("== three in a row, async");
    let recorded = programs.in_folder("async")?;
    let row = Row::start(&recorded, "async")?;
    let highest = highest(&recorded, &row.side, effort.quick)?;
    let rate = (highest["rate_per_s"].as_u64().unwrap_or(0) * SHARE / 100).to_string();
    println!("  highest rate {}, measured at {rate}", highest["rate_per_s"]);
    println!("== three in a row, sync");
    let synced = programs.in_folder("sync")?;
    let synced_row = Row::start(&synced, "sync")?;
    let sides = [&row.side, &synced_row.side];
    let words = ["--rate", &rate, "--seconds", "1"];
    let turns = Turns::take(&programs, &sides, effort.runs, &words)?;
    for programs in [&recorded, &synced] {
        neighbours_agree(&programs.folder)?;
    }
    let flushes = |programs: &Programs<'_>| {
        NAMES.iter().map(|name| journal::journal(&programs.folder.join(name), name)).collect()
    };
    let (of_async, of_sync): (Result<Vec<_>>, Result<Vec<_>>) =
        (flushes(&recorded), flushes(&synced));
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "more_departures": "one route for each receiver, as addresses lead through three switches",
        "connections_each_way": CONNECTIONS,
        "highest": highest,
        "share_of_the_highest_rate": SHARE,
        "measured": turns.to_json(0, &[P50, P99, P99_9]),
        "journals": { "async": of_async?, "sync": of_sync? },
    }))
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Row {
    fn start(programs: &Programs<'_>, durability: &'static str) -> Result<Self> {
        let first = free_ports(3)?;
        let ports = [first, first + 1, first + 2];
        let url = |port: u16| format!("127.0.0.1:{port}/");
        let place = Place {
            senders: format!("btp+ws://{{name}}@{}", url(ports[0])),
            receivers: format!("btp+ws://{{name}}@{}", url(ports[2])),
            above: "test.c".to_owned(),
        };
        let (folder, root) = (&programs.folder, programs.root());
        let workload = packets::write_at(folder, root, CONNECTIONS, For::Switch, &place)?;
        let texts = texts(ports, durability);
        let mut started = Vec::new();
        // From the last to the first: each dials the next.
        for index in (0..NAMES.len()).rev() {
            let file = configure(&folder.join(NAMES[index]), &texts[index])?;
            let mut command = programs.switch();
            command.args(["run", "--config"]).arg(file);
            started.push(programs.start(
                NAMES[index],
                &mut command,
                String::new(),
                ports[index],
            )?);
        }
        let [c, b, mut a]: [Target; 3] = started.try_into().ok().expect("three were started");
        a.name = durability;
        let side = Side { target: a, workload, control_socket: None };
        Ok(Self { side, _others: [b, c] })
    }
}

/// What each switch is owed by the next is what that owes it, to the unit, and nothing is held.
fn neighbours_agree(folder: &Path) -> Result<()> {
    let told: Vec<_> = NAMES.iter().map(|name| accounts(folder, name)).collect::<Result<_>>()?;
    for account in told.iter().flat_map(|accounts| accounts.as_array().into_iter().flatten()) {
        if account["held_in"] != "0" || account["held_out"] != "0" {
            return Err(format!("account {} holds money at rest: {account}", account["name"]));
        }
    }
    for (index, pair) in NAMES.windows(2).enumerate() {
        let (here, there) = (balance(&told[index], pair[1])?, balance(&told[index + 1], pair[0])?);
        println!("  between {} and {}: {here} and {there}", pair[0], pair[1]);
        if here + there != 0 || here == 0 {
            return Err(format!("{} and {} do not agree: {here}, {there}", pair[0], pair[1]));
        }
    }
    Ok(())
}

/// The accounts of a switch by its name.
pub(super) fn accounts(folder: &Path, name: &str) -> Result<Value> {
    let told = journal::ask(&folder.join(name).join("control.sock"), r#"{"cmd":"accounts"}"#);
    let told = told.map_err(|error| format!("the control socket of {name}: {error}"))?;
    let told: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    Ok(told["accounts"].clone())
}

fn balance(accounts: &Value, name: &str) -> Result<i128> {
    let found = accounts.as_array().into_iter().flatten().find(|it| it["name"] == name);
    let balance = found.and_then(|it| it["balance"].as_str()?.parse().ok());
    balance.ok_or_else(|| format!("no switch tells what {name} owes"))
}

/// Writes the configuration of a switch into a folder of its own.
pub(super) fn configure(folder: &Path, text: &str) -> Result<std::path::PathBuf> {
    let file = folder.join("switch.toml");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// What each switch of the row is told.
fn texts(ports: [u16; 3], durability: &str) -> [String; 3] {
    let head = |index: usize| {
        let (name, port) = (NAMES[index], ports[index]);
        format!(
            "[switch]\naddress = \"test.{name}\"\nnetwork = \"test\"\ncontrol_socket = \"control.sock\"\n\
             [[listen]]\ntransport = \"ws\"\naddress = \"127.0.0.1:{port}\"\n\
             [[assets]]\ncode = \"USD\"\nscale = 9\n[[assets]]\ncode = \"EUR\"\nscale = 6\n\
             [[rates]]\nfrom = \"USD/9\"\nto = \"EUR/6\"\nrate = \"1\"\n\
             [[rates]]\nfrom = \"EUR/6\"\nto = \"USD/9\"\nrate = \"1\"\n"
        )
    };
    let account = |name: &str, relation: &str, asset: &str, rest: &str| {
        format!(
            "[[accounts]]\nname = \"{name}\"\nrelation = \"{relation}\"\nasset = \"{asset}\"\n\
             durability = \"{durability}\"\n{LIMITS}{rest}\n"
        )
    };
    let before = |name: &str| account(name, "peer", "USD/9", &format!("token = \"from-{name}\""));
    let next = |own: &str, index: usize| {
        let (name, port) = (NAMES[index], ports[index]);
        let dial = format!("btp+ws://{own}@127.0.0.1:{port}/");
        let rest = format!("dial = \"{dial}\"\ndial_token = \"from-{own}\"\nroutes = [\"test.c\"]");
        account(name, "peer", "USD/9", &rest)
    };
    let ends = |role| {
        let ends = packets::ends(CONNECTIONS, role, For::Switch);
        let text = |end: &packets::End| {
            account(&end.name, "child", end.asset, &format!("token = \"{}\"", end.token))
        };
        ends.iter().map(text).collect::<String>()
    };
    [
        head(0) + &ends(packets::SENDER) + &next("a", 1),
        head(1) + &before("a") + &next("b", 2),
        head(2) + &before("b") + &ends(packets::RECEIVER),
    ]
}
