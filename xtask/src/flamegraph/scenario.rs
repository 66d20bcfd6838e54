//! What is looked at: the core in memory, or the process of a switch under load.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::perf;
use crate::Result;
use crate::bench::packets::{self, For};
use crate::bench::targets::{Programs, Setup, Transport};
use crate::command;
use crate::workspace::Workspace;

/// The thread that a switch starts last.
const LAST_THREAD: &str = "control";
const THREADS_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// One of [`SCENARIOS`].
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// For the note.
    pub(super) shows: &'static str,
    load: Load,
}

/// What keeps the code busy.
enum Load {
    /// The bench of the core drives it in its own process.
    Memory,
    /// The generator drives a switch: so many connections each way, with so many packets in flight over
    /// all of them.
    Sockets { transport: Transport, connections: u16, window: u32, durability: &'static str },
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "memory",
        shows: "the core in memory with its driver, raw BTP frames in and out, 10k routes, 100k in flight",
        load: Load::Memory,
    },
    Scenario {
        name: "tcp-64",
        shows: "the switch's process, BTP on TCP, 4 connections each way, 64 in flight on each, durability \
                async",
        load: Load::Sockets {
            transport: Transport::Tcp,
            connections: 4,
            window: 4 * 64,
            durability: "async",
        },
    },
    Scenario {
        name: "tcp-saturated",
        shows: "the switch's process, BTP on TCP, 4 connections each way, 1024 in flight on each, durability \
                async",
        load: Load::Sockets {
            transport: Transport::Tcp,
            connections: 4,
            window: 4 * 1024,
            durability: "async",
        },
    },
    Scenario {
        name: "websocket-saturated",
        shows: "the switch's process, BTP over WebSocket, 4 connections each way, 1024 in flight on each, \
                durability async",
        load: Load::Sockets {
            transport: Transport::WebSocket,
            connections: 4,
            window: 4 * 1024,
            durability: "async",
        },
    },
    Scenario {
        name: "journal-sync",
        shows: "the switch's process with its journal thread, BTP over WebSocket, 4 connections each way, \
                1024 in flight on each, durability sync",
        load: Load::Sockets {
            transport: Transport::WebSocket,
            connections: 4,
            window: 4 * 1024,
            durability: "sync",
        },
    },
];

impl Scenario {
    /// The scenario of this name.
    ///
    /// # Errors
    ///
    /// A sentence that names those that there are.
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        const ALL: &[Scenario] = &SCENARIOS;
        ALL.iter().find(|it| it.name == name).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|it| it.name).collect();
            format!("there is no scenario {name}; there are {}", names.join(", "))
        })
    }

    /// Runs it under perf; gives what `perf script` says.
    ///
    /// # Errors
    ///
    /// When something does not build or start, or the generator reports a failure.
    pub(super) fn record(&self, workspace: &Workspace, seconds: u32) -> Result<Vec<u8>> {
        let programs = build(workspace)?;
        let data = match &self.load {
            Load::Memory => {
                let core = programs.program("core");
                perf::record_command(core.get_program().as_ref(), &["profile"], &programs.folder)
            }
            Load::Sockets { transport, connections, window, durability } => {
                let setup = Setup { durability, ..Setup::default() };
                sockets(workspace, &programs, (*transport, *connections, *window), setup, seconds)
            }
        };
        perf::script(&data?)
    }
}

/// Built for speed with frame pointers, which stacks are read by, beside what is built without them.
fn build(workspace: &Workspace) -> Result<Programs<'_>> {
    let arguments = ["build", "--release", "-p", "m2-engine", "-p", "m2-load", "-p", "m2-bench"];
    let binaries = ["--bin", "m2-switch", "--bin", "m2-load", "--bin", "core"];
    let target = workspace.target().join("flamegraph");
    let mut build = command::cargo(workspace, &arguments);
    build.args(binaries).arg("--target-dir").arg(&target);
    build.env("RUSTFLAGS", "-C force-frame-pointers=yes");
    Programs::built_by(build, workspace, target.join("release"), "flamegraph/runs")
}

/// Looks at a switch for some seconds while the generator, which runs for a second more, drives it.
fn sockets(
    workspace: &Workspace,
    programs: &Programs<'_>,
    (transport, connections, window): (Transport, u16, u32),
    setup: Setup<'_>,
    seconds: u32,
) -> Result<PathBuf> {
    let workload = packets::write(&programs.folder, workspace.root(), connections, For::Switch)?;
    let switch = programs.start_switch("m2-switch", &workload, transport, setup)?;
    wait_for_threads(switch.child.id())?;
    let mut load = programs.load();
    load.args(["run", "--quiet", "--workload", &workload, "--target", &switch.url]);
    load.args(["--window", &window.to_string(), "--seconds", &(seconds + 1).to_string()]);
    let load = load.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let load = load.map_err(|error| format!("m2-load does not start: {error}"))?;
    let data = perf::record_process(switch.child.id(), seconds, &programs.folder);
    let output = load.wait_with_output().map_err(|error| format!("m2-load: {error}"))?;
    match output.status.success() {
        true => data,
        false => Err(format!("m2-load failed: {}", String::from_utf8_lossy(&output.stdout))),
    }
}

/// A switch that listens may not have all of its threads yet, and perf looks at those that there are.
fn wait_for_threads(process: u32) -> Result<()> {
    let deadline = Instant::now() + THREADS_MAX;
    let threads = format!("/proc/{process}/task");
    while Instant::now() < deadline {
        let entries = fs::read_dir(&threads).map_err(|error| format!("{threads}: {error}"))?;
        let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
        if entries.flatten().filter_map(name).any(|name| name.trim() == LAST_THREAD) {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    Err(format!("the switch has no thread {LAST_THREAD}"))
}
