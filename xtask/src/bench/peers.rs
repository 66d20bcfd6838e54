//! `cargo xtask bench peers`: this switch and npm ilp-connector 23 on one machine in one run, by the
//! commands that anybody can type. Their reports are kept as they came, and the page of figures is
//! made from them.
//!
//! ```text
//!   m2-load  <== BTP over WebSocket ==>  m2-switch        both targets run all the time,
//!            <== BTP over WebSocket ==>  ilp-connector    and one is asked at a time
//! ```
//!
//! Invariant: a report with a failure, or a partial one, is an error: nothing is kept of such a run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::targets::{Programs, Target, free_ports, parse, report};
use crate::Result;
use crate::workspace::Workspace;
use crate::{interop, npm};

mod page;

/// Where the reports are kept.
const FOLDER: &str = "bench/results/peers";
/// Where the page stands that is made from them.
pub(super) const PAGE: &str = "docs/figures.md";
pub(super) const WORKLOAD: &str = "bench/peers/workload.toml";

/// What is measured of each target: the name of the report, and the arguments behind its target's.
const MEASUREMENTS: [(&str, &[&str]); 3] = [
    ("window", &["run", "--window", "100", "--seconds", "10"]),
    ("rate", &["run", "--rate", "2000", "--seconds", "10"]),
    (
        "search",
        &["search", "--from", "500", "--to", "500000", "--max-p99", "50ms", "--final-seconds", "5"],
    ),
];

/// What both are compared by, in turns.
const COMPARISON: [&str; 8] = [
    "--window",
    "100",
    "--seconds",
    "2",
    "--trials",
    "15",
    "--measure",
    "fulfilled_per_s,p50,p99,target_cpu_per_pair",
];

/// Measures both targets, keeps the reports, and makes the page.
///
/// # Errors
///
/// When a program does not build or start, or a report has a failure.
pub(super) fn run(workspace: &Workspace) -> Result<Value> {
    let npm = npm::installed(workspace, interop::FOLDER)?;
    let bench = Bench(Programs::build(workspace, "peers")?);
    let targets = [bench.switch()?, bench.connector(&npm)?];
    let mut reports = Vec::new();
    for (name, arguments) in MEASUREMENTS {
        for target in &targets {
            reports.push((format!("{name}-{}", target.name), bench.measure(target, arguments)?));
        }
    }
    reports.push(("ends-m2-switch".to_owned(), bench.ends_apart(&targets[0])?));
    reports.push(("compare".to_owned(), bench.compare(&targets)?));
    for (name, report) in &reports {
        keep(workspace, name, report)?;
    }
    Ok(json!({ "reports": reports.iter().map(|(name, _)| name).collect::<Vec<_>>() }))
}

/// Makes the page from what is kept of a run.
///
/// # Errors
///
/// When a report is missing, or is not as the generator writes it.
pub(super) fn write_page(workspace: &Workspace) -> Result<()> {
    let text = page::page(workspace)?;
    let file = workspace.path(PAGE);
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn keep(workspace: &Workspace, name: &str, report: &Value) -> Result<()> {
    let folder = workspace.path(FOLDER);
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(report).expect("JSON") + "\n";
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Starts npm ilp-connector for the workload, on this port and the next.
pub(super) fn start_connector(programs: &Programs<'_>, npm: &Path, port: u16) -> Result<Target> {
    let folder = programs.folder.join("ilp-connector");
    let url = format!("btp+ws://127.0.0.1:{port}+");
    programs.configure(WORKLOAD, "ilp-connector", &folder, &url)?;
    let mut command = Command::new(folder.join("ilp-connector.sh"));
    command.args(["node", "node_modules/ilp-connector/dist/index.js"]).current_dir(npm);
    programs.start("ilp-connector", &mut command, url, port)
}

struct Bench<'a>(Programs<'a>);

impl Bench<'_> {
    fn switch(&self) -> Result<Target> {
        let (folder, port) = (self.0.folder.join("m2-switch"), free_ports(1)?);
        let url = format!("btp+ws://127.0.0.1:{port}/");
        self.0.configure(WORKLOAD, "m2-switch", &folder, &url)?;
        let mut command = self.0.switch();
        command.args(["run", "--config"]).arg(folder.join("switch.toml"));
        self.0.start("m2-switch", &mut command, url, port)
    }

    fn connector(&self, npm: &Path) -> Result<Target> {
        start_connector(&self.0, npm, free_ports(2)?)
    }

    /// Runs the generator at one target.
    fn measure(&self, target: &Target, arguments: &[&str]) -> Result<Value> {
        let (command, rest) = arguments.split_first().expect("a command and its options");
        println!("== m2-load {}: {}", arguments.join(" "), target.name);
        let mut load = self.command(command);
        load.args(["--target", &target.url]).args(rest);
        if *command == "run" {
            load.args(["--target-pid", &target.child.id().to_string()]);
        }
        report(&mut load)
    }

    /// Sender and receiver in processes of their own, so that each tells its own CPU time.
    fn ends_apart(&self, target: &Target) -> Result<Value> {
        println!("== m2-load send and receive: {}", target.name);
        let mut receive = self.command("receive");
        receive.args(["--target", &target.url, "--runs", "1"]).stdout(Stdio::piped());
        let receiving = receive.spawn().map_err(|error| format!("m2-load receive: {error}"))?;
        let mut send = self.command("send");
        send.args(["--target", &target.url, "--window", "1000", "--seconds", "10"]);
        send.args(["--target-pid", &target.child.id().to_string()]);
        let sent = report(&mut send)?;
        let received = receiving.wait_with_output().map_err(|error| error.to_string())?;
        let received = parse(&received.stdout)?;
        Ok(json!({ "send": sent, "receive": received }))
    }

    fn compare(&self, [a, b]: &[Target; 2]) -> Result<Value> {
        println!("== m2-load compare {} {}", a.name, b.name);
        let mut load = self.0.load();
        load.args(["compare", WORKLOAD, WORKLOAD, "--json", "--quiet"]);
        load.args(["--target-a", &a.url, "--target-b", &b.url]);
        load.args(["--target-pid-a", &a.child.id().to_string()]);
        load.args(["--target-pid-b", &b.child.id().to_string()]).args(COMPARISON);
        report(&mut load)
    }

    fn command(&self, name: &str) -> Command {
        let mut load = self.0.load();
        load.args([name, "--json", "--quiet", "--workload", WORKLOAD]);
        load
    }
}
