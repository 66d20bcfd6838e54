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
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) child: Child,
}

impl Drop for Target {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What carries BTP frames to a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    /// Straight on TCP.
    Tcp,
    /// Over WebSocket.
    WebSocket,
}

impl Transport {
    /// Where a target listens for all of its accounts.
    pub(crate) fn url(self, port: u16) -> String {
        match self {
            Self::Tcp => format!("btp+tcp://127.0.0.1:{port}"),
            Self::WebSocket => format!("btp+ws://127.0.0.1:{port}/"),
        }
    }

    /// As results name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
        }
    }
}

/// What the configuration of a switch has beyond what a workload asks for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    /// `durability` of every account; empty for the default.
    pub(crate) durability: &'a str,
    /// Lines of `[switch]`.
    pub(crate) switch: &'a str,
    /// Lines of `[journal]`.
    pub(crate) journal: &'a str,
    /// More accounts.
    pub(crate) accounts: &'a str,
}

/// What moves the bytes of targets that do not say so.
pub(crate) const IO: &str = "io = \"epoll\"";

impl Setup<'_> {
    /// Adds it to a configuration as the generator writes them.
    fn add_to(&self, text: &str) -> String {
        let account = match self.durability {
            "" => "[[accounts]]".to_owned(),
            durability => format!("[[accounts]]\ndurability = \"{durability}\""),
        };
        // All that are measured in turns move their bytes alike: a choice of each at its start is a coin.
        let io = if self.switch.contains("io = ") { "" } else { IO };
        let switch = format!("[switch]\n{io}\n{}", self.switch);
        let text = text.replace("[[accounts]]", &account).replacen("[switch]", &switch, 1);
        format!("{text}\n{}\n[journal]\n{}\n", self.accounts, self.journal)
    }
}

/// Where the programs are, and where a bench keeps their files.
pub(crate) struct Programs<'a> {
    workspace: &'a Workspace,
    binaries: PathBuf,
    pub(crate) folder: PathBuf,
}

impl<'a> Programs<'a> {
    /// Builds both, and makes the bench's folder anew.
    pub(crate) fn build(workspace: &'a Workspace, bench: &str) -> Result<Self> {
        let arguments = ["build", "--release", "-p", "m2-engine", "-p", "m2-load", "--bins"];
        let build = command::cargo(workspace, &arguments);
        Self::built_by(build, workspace, workspace.target().join("release"), bench)
    }

    /// Has a command build them where they are to be found, and makes the bench's folder anew.
    pub(crate) fn built_by(
        mut build: Command,
        workspace: &'a Workspace,
        binaries: PathBuf,
        bench: &str,
    ) -> Result<Self> {
        if !command::run(&mut build, Show::Lines)?.success {
            return Err("the switch or the generator does not build".into());
        }
        let folder = workspace.target().join(bench);
        // What an earlier run has left would be replayed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { workspace, binaries, folder })
    }

    /// Builds the forwarder as well. By itself: the switch beside it is the one without its feature.
    pub(crate) fn with_forwarder(self) -> Result<Self> {
        let arguments = ["build", "--release", "-p", "m2-engine", "--features", "forwarder"];
        let mut build = command::cargo(self.workspace, &arguments);
        match command::run(build.args(["--bin", "m2-forwarder"]), Show::Lines)?.success {
            true => Ok(self),
            false => Err("the forwarder does not build".into()),
        }
    }

    /// The same programs, with a folder below this one for their files.
    pub(crate) fn in_folder(&self, name: &str) -> Result<Self> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { workspace: self.workspace, binaries: self.binaries.clone(), folder })
    }

    /// The repository.
    pub(crate) fn root(&self) -> &Path {
        self.workspace.root()
    }

    /// A program that was built.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.binaries.join(name))
    }

    pub(crate) fn switch(&self) -> Command {
        self.program("m2-switch")
    }

    /// Starts a switch for a workload, set up as wanted, in a folder of its name.
    pub(crate) fn start_switch(
        &self,
        name: &'static str,
        workload: &str,
        transport: Transport,
        setup: Setup<'_>,
    ) -> Result<Target> {
        let (port, folder) = (free_ports(1)?, self.folder.join(name));
        let url = transport.url(port);
        let file = self.configure_switch(workload, &folder, &url, setup)?;
        let mut command = self.switch();
        command.args(["run", "--accept-loss", "--config"]).arg(file);
        self.start(name, &mut command, url, port)
    }

    /// Starts the forwarder for a workload, in a folder of its name.
    pub(crate) fn start_forwarder(
        &self,
        workload: &str,
        transport: Transport,
        setup: Setup<'_>,
    ) -> Result<Target> {
        let (port, folder) = (free_ports(1)?, self.folder.join("forwarder"));
        let url = transport.url(port);
        let file = self.configure_switch(workload, &folder, &url, setup)?;
        let mut command = self.program("m2-forwarder");
        command.arg("--config").arg(file);
        self.start("forwarder", &mut command, url, port)
    }

    /// Writes the configuration of a switch for a workload, set up as wanted.
    pub(crate) fn configure_switch(
        &self,
        workload: &str,
        folder: &Path,
        url: &str,
        setup: Setup<'_>,
    ) -> Result<PathBuf> {
        self.configure(workload, "m2-switch", folder, url)?;
        let file = folder.join("switch.toml");
        let told = |error| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(told)?;
        fs::write(&file, setup.add_to(&text)).map_err(told)?;
        Ok(file)
    }

    /// The generator, under a name and in a folder that say nothing of this machine: reports keep
    /// their command lines.
    pub(crate) fn load(&self) -> Command {
        let mut load = Command::new(self.binaries.join("m2-load"));
        load.arg0("m2-load").current_dir(self.workspace.root());
        load
    }

    /// Has the generator write the configuration of a target that fits a workload.
    pub(crate) fn configure(
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
    pub(crate) fn start(
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
pub(crate) fn report(load: &mut Command) -> Result<Value> {
    let output = load.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("m2-load does not start: {error}"))?;
    let report = parse(&output.stdout)?;
    match output.status.success() {
        true => Ok(report),
        false => Err(format!(
            "m2-load ended with {}: {} {}",
            output.status, report["failures"], report["summary"]
        )),
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("m2-load wrote no report: {error}"))
}

/// The first of so many ports in a row that nobody listens on.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_added_to_every_account_and_to_the_switch_once() {
        let text =
            "[switch]\naddress = \"a\"\n[[accounts]]\nname = \"b\"\n[[accounts]]\nname = \"c\"\n";
        let setup = Setup {
            durability: "async",
            switch: "spin_us = 9",
            journal: "slow_ms = 1",
            accounts: "",
        };
        let lines: Vec<_> = setup.add_to(text).lines().map(str::to_owned).collect();
        let count = |line: &str| lines.iter().filter(|it| *it == line).count();
        assert_eq!((count("durability = \"async\""), count("spin_us = 9")), (2, 1));
        assert_eq!(lines[lines.len() - 2..], ["[journal]", "slow_ms = 1"]);
        assert!(!Setup::default().add_to(text).contains("durability"));
    }
}
