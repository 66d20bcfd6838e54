//! What a bench of whole programs needs: the switch and the generator built for speed, targets that
//! are started and ended, and what the generator reports of them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::command::{self, Show};
use crate::workspace::Workspace;

/// A target that does not listen by then will not.
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A connector that is being measured.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) url: String,
    pub(super) child: Child,
}

impl Drop for Target {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the programs are, and where a bench keeps their files.
pub(super) struct Programs<'a> {
    workspace: &'a Workspace,
    binaries: PathBuf,
    pub(super) folder: PathBuf,
}

impl<'a> Programs<'a> {
    /// Builds both, and makes the bench's folder anew.
    pub(super) fn build(workspace: &'a Workspace, bench: &str) -> Result<Self> {
        let arguments = ["build", "--release", "-p", "m2-engine", "-p", "m2-load", "--bins"];
        if !command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?.success {
            return Err("the switch or the generator does not build".into());
        }
        let folder = workspace.target().join(bench);
        // What an earlier run has left would be replayed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { workspace, binaries: workspace.target().join("release"), folder })
    }

    pub(super) fn switch(&self) -> Command {
        Command::new(self.binaries.join("m2-switch"))
    }

    /// The generator, under a name and in a folder that say nothing of this machine: reports keep
    /// their command lines.
    pub(super) fn load(&self) -> Command {
        let mut load = Command::new(self.binaries.join("m2-load"));
        load.arg0("m2-load").current_dir(self.workspace.root());
        load
    }

    /// Has the generator write the configuration of a target that fits a workload.
    pub(super) fn configure(
        &self,
        workload: &str,
        name: &str,
        folder: &Path,
        url: &str,
    ) -> Result<()> {
        let mut load = self.load();
        load.args(["workloads", workload]);
        load.args(["--config", name, "--target", url, "--folder"]).arg(folder);
        match command::run(&mut load, Show::Nothing)? {
            output if output.success => Ok(()),
            output => Err(output.lines.join("\n")),
        }
    }

    /// Starts a target, and waits until it listens.
    pub(super) fn start(
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
}

/// What the generator reports, if it ended well.
pub(super) fn report(load: &mut Command) -> Result<Value> {
    let output = load.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("m2-load does not start: {error}"))?;
    let report = parse(&output.stdout)?;
    match output.status.success() {
        true => Ok(report),
        false => Err(format!("m2-load ended with {}: {}", output.status, report["failures"])),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("m2-load wrote no report: {error}"))
}

/// The first of so many ports in a row that nobody listens on.
pub(super) fn free_ports(count: u16) -> Result<u16> {
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
