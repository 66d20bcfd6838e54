//! `cargo xtask chain`: the tests of m2-settle on a chain of their own.
//!
//! What they need is npm's: anvil, a node; and what Forge builds of the contracts. Both stand in the copy of
//! `settlement/contracts/` that `npm.rs` makes. The tests read where in `M2_ANVIL` and `M2_CONTRACTS`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::command;
use crate::contracts;
use crate::npm;
use crate::suite::{self, Count};
use crate::workspace::Workspace;

/// What a chain of our own takes.
pub(crate) struct Tools {
    anvil: PathBuf,
    contracts: PathBuf,
}

impl Tools {
    /// Installs them, and builds the contracts.
    ///
    /// # Errors
    ///
    /// When Node is missing, a package is out of reach, or the contracts do not build.
    pub(crate) fn prepared(workspace: &Workspace) -> Result<Self> {
        let folder = npm::installed(workspace, contracts::FOLDER)?;
        let anvil = npm::foundry(&folder, "anvil")?;
        contracts::built(&folder)?;
        Ok(Self { anvil, contracts: folder.join("out") })
    }

    /// A node.
    pub(crate) fn anvil(&self) -> &Path {
        &self.anvil
    }

    /// The bytes that deploy a contract, as Forge has built it: `File.sol/Name`.
    ///
    /// # Errors
    ///
    /// When Forge has not.
    pub(crate) fn bytecode(&self, name: &str) -> Result<String> {
        let path = self.contracts.join(format!("{name}.json"));
        let told = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| told(error.to_string()))?;
        let artifact: Value =
            serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
        let bytes = artifact["bytecode"]["object"].as_str().map(str::to_owned);
        bytes.ok_or_else(|| told("no bytecode is in it".into()))
    }

    /// Tells a program where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env("M2_ANVIL", &self.anvil).env("M2_CONTRACTS", &self.contracts);
    }
}

/// Prepares, and runs the tests of m2-settle.
///
/// # Errors
///
/// When something that they need is missing.
pub(crate) fn run(workspace: &Workspace) -> Result<Count> {
    let tools = Tools::prepared(workspace)?;
    let mut cargo = command::cargo(workspace, &["test", "-p", "m2-settle", "--no-fail-fast"]);
    tools.tell(&mut cargo);
    suite::counted(&mut cargo)
}
