//! The nightly toolchain, for what the stable one cannot do: libFuzzer and the sanitizers.

use std::process::Command;

use crate::Result;
use crate::command;
use crate::workspace::Workspace;

/// What to do where there is none.
const ADVICE: &str = "this needs a nightly toolchain: install one with `rustup toolchain install \
                      nightly`. The stable tests of the package m2-fuzz run the same targets \
                      without it, by `cargo test -p m2-fuzz`";

/// A nightly toolchain that is there.
pub(crate) struct Nightly {
    /// The first line of `cargo --version`.
    pub(crate) version: String,
    /// What it builds for unless told.
    pub(crate) host: String,
}

impl Nightly {
    /// Looks for it.
    ///
    /// # Errors
    ///
    /// The sentence says what to install.
    pub(crate) fn find() -> Result<Self> {
        let mut rustc = rustup("rustc");
        let version = command::need(&mut rustc, ADVICE)?;
        let told = rustup("rustc").arg("-vV").output().map_err(|_| ADVICE.to_owned())?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let host = told.lines().find_map(|line| line.strip_prefix("host: ")).ok_or(ADVICE)?;
        Ok(Self { version, host: host.to_owned() })
    }

    /// Its cargo, which builds with `rustflags` below `target/FOLDER`. With a target named, build
    /// scripts and macros are built without those flags.
    pub(crate) fn cargo(
        &self,
        workspace: &Workspace,
        folder: &str,
        rustflags: &str,
        arguments: &[&str],
    ) -> Command {
        let mut command = rustup("cargo");
        command
            .current_dir(workspace.root())
            .args(arguments)
            .args(["--target", &self.host])
            .env("CARGO_TARGET_DIR", workspace.target().join(folder))
            .env("RUSTFLAGS", rustflags);
        if std::env::var_os("CI").is_some() {
            command.arg("--locked");
        }
        command
    }
}

fn rustup(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    command
}
