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
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::command::{self, Show};
use crate::interop;
use crate::workspace::Workspace;

mod page;

/// Where the reports are kept.
const FOLDER: &str = "bench/results/peers";
/// Where the page stands that is made from them.
pub(super) const PAGE: &str = "docs/figures.md";
const WORKLOAD: &str = "bench/peers/workload.toml";

/// A target that does not listen by then will not.
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

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

/// A connector that is being measured.
struct Target {
    name: &'static str,
    url: String,
    child: Child,
}

impl Drop for Target {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures both targets, keeps the reports, and makes the page.
///
/// # Errors
///
/// When a program does not build or start, or a report has a failure.
pub(super) fn run(workspace: &Workspace) -> Result<Value> {
    let binaries = build(workspace)?;
    let npm = interop::installed(workspace)?;
    let bench = Bench {
        workspace,
        load: binaries.join("m2-load"),
        folder: workspace.target().join("peers"),
    };
    fs::create_dir_all(&bench.folder)
        .map_err(|error| format!("{}: {error}", bench.folder.display()))?;
    let targets = [bench.switch(&binaries)?, bench.connector(&npm)?];
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

fn build(workspace: &Workspace) -> Result<PathBuf> {
    let arguments = ["build", "--release", "-p", "m2-engine", "-p", "m2-load", "--bins"];
    match command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?.success {
        true => Ok(workspace.target().join("release")),
        false => Err("the switch or the generator does not build".into()),
    }
}

fn keep(workspace: &Workspace, name: &str, report: &Value) -> Result<()> {
    let folder = workspace.path(FOLDER);
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(report).expect("JSON") + "\n";
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

struct Bench<'a> {
    workspace: &'a Workspace,
    load: PathBuf,
    folder: PathBuf,
}

impl Bench<'_> {
    fn switch(&self, binaries: &Path) -> Result<Target> {
        let (folder, port) = (self.folder.join("m2-switch"), free_ports(1)?);
        let url = format!("btp+ws://127.0.0.1:{port}/");
        self.configure("m2-switch", &folder, &url)?;
        let mut command = Command::new(binaries.join("m2-switch"));
        command.args(["run", "--config"]).arg(folder.join("switch.toml"));
        self.start("m2-switch", &mut command, url, port)
    }

    fn connector(&self, npm: &Path) -> Result<Target> {
        let (folder, port) = (self.folder.join("ilp-connector"), free_ports(2)?);
        let url = format!("btp+ws://127.0.0.1:{port}+");
        self.configure("ilp-connector", &folder, &url)?;
        let mut command = Command::new(folder.join("ilp-connector.sh"));
        command.args(["node", "node_modules/ilp-connector/dist/index.js"]).current_dir(npm);
        self.start("ilp-connector", &mut command, url, port)
    }

    /// Has the generator write the configuration of a target that fits the workload.
    fn configure(&self, name: &str, folder: &Path, url: &str) -> Result<()> {
        let mut load = self.load();
        load.args(["workloads", WORKLOAD]);
        load.args(["--config", name, "--target", url, "--folder"]).arg(folder);
        match command::run(&mut load, Show::Nothing)? {
            output if output.success => Ok(()),
            output => Err(output.lines.join("\n")),
        }
    }

    fn start(
        &self,
        name: &'static str,
        command: &mut Command,
        url: String,
        port: u16,
    ) -> Result<Target> {
        let log = self.folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let also = file.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(also).stderr(file).spawn();
        let child = child.map_err(|error| format!("{name} does not start: {error}"))?;
        let mut target = Target { name, url, child };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = target.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() >= deadline {
                return Err(format!("{name} does not listen; its log is {}", log.display()));
            }
            thread::sleep(POLL);
        }
        Ok(target)
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
        let mut load = self.load();
        load.args(["compare", WORKLOAD, WORKLOAD, "--json", "--quiet"]);
        load.args(["--target-a", &a.url, "--target-b", &b.url]);
        load.args(["--target-pid-a", &a.child.id().to_string()]);
        load.args(["--target-pid-b", &b.child.id().to_string()]).args(COMPARISON);
        report(&mut load)
    }

    fn command(&self, name: &str) -> Command {
        let mut load = self.load();
        load.args([name, "--json", "--quiet", "--workload", WORKLOAD]);
        load
    }

    /// The generator, under a name and in a folder that say nothing of this machine: reports keep
    /// their command lines.
    fn load(&self) -> Command {
        let mut load = Command::new(&self.load);
        load.arg0("m2-load").current_dir(self.workspace.root());
        load
    }
}

/// What the generator reports, if it ended well.
fn report(load: &mut Command) -> Result<Value> {
    let output = load.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("m2-load does not start: {error}"))?;
    let report = parse(&output.stdout)?;
    match output.status.success() {
        true => Ok(report),
        false => Err(format!("m2-load ended with {}: {}", output.status, report["failures"])),
    }
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("m2-load wrote no report: {error}"))
}

/// The first of so many ports in a row that nobody listens on.
fn free_ports(count: u16) -> Result<u16> {
    for _ in 0..100 {
        let bind = |port| TcpListener::bind(("127.0.0.1", port));
        let first = bind(0).map_err(|error| format!("no port: {error}"))?;
        let port = first.local_addr().map_err(|error| error.to_string())?.port();
        if (1..count).all(|next| port.checked_add(next).is_some_and(|port| bind(port).is_ok())) {
            return Ok(port);
        }
    }
    Err(format!("no {count} ports in a row are free"))
}
