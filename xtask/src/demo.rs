//! `cargo xtask demo`: the main job, end to end, as two real processes.
//!
//! ```text
//!   this process --- starts, asks, stops ---> m2-switch
//!        '--- starts ---> m2-load  <== ws, tcp, unix ==>  six accounts in two assets
//! ```
//!
//! `m2-load` plays senders and receivers, checks every fulfillment and keeps books of its own; at
//! the end it compares them with the switch's. The demo passes when the books agree to the unit,
//! every kind of packet occurred, and the switch ended with status 0 after SIGTERM.
//!
//! Invariant: whatever ends the demo, a signal too, leaves no process and no folder of sockets.

pub(crate) mod chain;
pub(crate) mod child;
mod files;
pub(crate) mod settlement;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::child::{Interrupt, Running};
use crate::Result;
use crate::command;
use crate::workspace::Workspace;

/// A switch that has no control socket by then will not get one.
const START_MAX: Duration = Duration::from_secs(10);
/// What is in flight may last 30 s, the longest hold, and then the switch ends.
const STOP_MAX: Duration = Duration::from_secs(40);
/// How often a start is looked for.
const POLL: Duration = Duration::from_millis(10);
/// Lines of the switch's log that a failure shows.
const LOG_LINES_SHOWN: usize = 20;

/// The cargo profile that both programs are built with: as fast as a release, but for the minutes
/// that its link takes.
const PROFILE: &str = "demo";

/// What the user may choose.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    scene: Option<Scene>,
    /// How long packets are sent
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Packets a second, over all senders
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Threads of the switch that forward packets
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Only the report, as one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// A folder that holds both programs: nothing is built
    #[arg(long, hide = true)]
    binaries: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Scene {
    /// Three switches pay each other by payment channels on a chain of their own
    Settlement(settlement::Options),
}

impl Options {
    /// A short run of these binaries, slow enough for any machine.
    pub(crate) fn for_the_suite(binaries: PathBuf, shards: u16) -> Self {
        Self { scene: None, seconds: 3, rate: 2_000, shards, json: false, binaries: Some(binaries) }
    }
}

/// Builds, runs and judges.
///
/// # Errors
///
/// When either program does not build or start, the books differ, a kind of packet did not occur,
/// or the switch did not end well; and when a signal came, after all that was started has ended.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(Scene::Settlement(options)) = &options.scene {
        return settlement::run(workspace, options);
    }
    let interrupt = Interrupt::watch()?;
    let binaries = match &options.binaries {
        Some(folder) => folder.clone(),
        None => build(workspace, &interrupt)?,
    };
    let folder = workspace.target().join("demo/run");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let sockets = SocketFolder::create()?;
    let tokens = files::Tokens::random()?;

    let config = folder.join("switch.toml");
    write(&config, &files::config(&sockets.0, &tokens, options.shards))?;
    let mut switch = Switch::start(&binaries, &config, &folder.join("switch.log"))?;
    let listen = switch.wait_until_ready(&sockets.control(), &interrupt)?;
    let workload = folder.join("workload.toml");
    write(&workload, &files::workload(&listen, &tokens)?)?;
    say(options, &format!("m2-switch, process {}, listens on {listen}", switch.running.id()));
    say(options, &format!("its configuration: {}\n", config.display()));

    let load = run_load(&binaries, &workload, &sockets.control(), options, &interrupt);
    interrupt.check()?;
    let stopped = switch.stop(&interrupt);
    load?;
    let status = stopped?;
    if !status.success() {
        return Err(format!("m2-switch ended with {status} after SIGTERM\n{}", switch.log_tail()));
    }
    say(options, "\nm2-switch ended with status 0 after SIGTERM");
    Ok(())
}

/// Words for a person: not where the report alone is wanted.
fn say(options: &Options, words: &str) {
    if !options.json {
        println!("{words}");
    }
}

fn build(workspace: &Workspace, interrupt: &Interrupt) -> Result<PathBuf> {
    let packages = ["--package", "m2-engine", "--package", "m2-load", "--bins"];
    let mut cargo = command::cargo(workspace, &["build", "--profile", PROFILE]);
    cargo.args(packages).stdin(Stdio::null()).stdout(Stdio::null());
    let mut cargo = Running::start("cargo", &mut cargo)?;
    if !cargo.wait(interrupt)?.success() {
        return Err("the switch or the generator does not build".into());
    }
    Ok(workspace.target().join(PROFILE))
}

fn run_load(
    binaries: &Path,
    workload: &Path,
    control: &Path,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut load = Command::new(binaries.join("m2-load"));
    load.arg("run").arg("--workload").arg(workload).arg("--control-socket").arg(control);
    load.args(["--seconds", &options.seconds.to_string(), "--rate", &options.rate.to_string()]);
    if options.json {
        load.arg("--json");
    }
    let status = Running::start("m2-load", load.stdin(Stdio::null()))?.wait(interrupt)?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("m2-load ended with {status}: its report says why")),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A folder for Unix sockets, ours alone and gone afterwards. Not under `target/`: the path of a
/// socket has room for 107 bytes.
struct SocketFolder(PathBuf);

impl SocketFolder {
    fn create() -> Result<Self> {
        // A name by chance: process ids come round, and a killed run leaves its folder behind.
        let name = format!("m2m-demo-{}", files::random_hex::<8>()?);
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn control(&self) -> PathBuf {
        self.0.join(files::CONTROL_SOCKET)
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // What cannot be removed does no harm: the next run makes another.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The switch as a child, and its log.
struct Switch {
    running: Running,
    log: PathBuf,
}

impl Switch {
    fn start(binaries: &Path, config: &Path, log: &Path) -> Result<Self> {
        let unwritable = |error| format!("{}: {error}", log.display());
        let output = File::create(log).map_err(unwritable)?;
        let mut command = Command::new(binaries.join("m2-switch"));
        command
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(unwritable)?)
            .stderr(output);
        Ok(Self { running: Running::start("m2-switch", &mut command)?, log: log.into() })
    }

    /// Asks for `status` until there is one; gives the bound addresses.
    fn wait_until_ready(&mut self, control: &Path, interrupt: &Interrupt) -> Result<files::Listen> {
        let give_up = Instant::now() + START_MAX;
        loop {
            interrupt.check()?;
            if let Ok(status) = ask_status(control) {
                return files::Listen::read(&status);
            }
            if let Some(status) = self.running.ended()? {
                return Err(format!("m2-switch ended with {status}\n{}", self.log_tail()));
            }
            if Instant::now() > give_up {
                return Err(format!("m2-switch does not come up\n{}", self.log_tail()));
            }
            thread::sleep(POLL);
        }
    }

    /// SIGTERM, and the status it ends with.
    fn stop(&mut self, interrupt: &Interrupt) -> Result<ExitStatus> {
        let stopped = self.running.stop(STOP_MAX, interrupt);
        stopped.map_err(|sentence| format!("{sentence}\n{}", self.log_tail()))
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

/// What `status` says, once somebody listens.
fn ask_status(control: &Path) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(b"{\"cmd\":\"status\"}\n")?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
