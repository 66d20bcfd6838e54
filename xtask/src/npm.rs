//! Folders with a `package.json`: copied to `target/`, where `npm ci` puts what their lock files name.
//!
//! Invariant: nothing is installed beside the sources, and no script of a package runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::command::{self, Show};
use crate::workspace::Workspace;

/// The oldest Node whose test runner has what we use: `--test-force-exit` came with 20.14.
const NODE_MIN: (u32, u32) = (20, 14);

/// What a copy keeps from one time to the next: what was installed, and what tools have built of it.
const KEPT: [&str; 3] = ["node_modules", "out", "cache"];

/// The copy in `target/` of a folder of ours, under its last name, with its packages installed.
///
/// # Errors
///
/// When Node is missing, a package is out of reach, or a file cannot be copied.
pub(crate) fn installed(workspace: &Workspace, source: &str) -> Result<PathBuf> {
    need_node()?;
    let source = workspace.path(source);
    let name = source.file_name().ok_or("a folder has a name")?;
    let folder = workspace.target().join(name);
    copy(&source, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    install(&folder)?;
    Ok(folder)
}

/// A program of Foundry's that npm has put into the copy for this system.
///
/// # Errors
///
/// When there is none for it.
pub(crate) fn foundry(folder: &Path, name: &str) -> Result<PathBuf> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("@foundry-rs/{name}-{system}-{processor}");
    let program = folder.join("node_modules").join(&package).join("bin").join(name);
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("npm has no {package}: {name} does not run on this system")),
    }
}

fn need_node() -> Result<()> {
    let (major, minor) = NODE_MIN;
    let advice = format!("Node {major}.{minor} or newer is missing: install it with its npm");
    let version = command::need(&mut Command::new("node"), &advice)?;
    if node_version(&version).is_none_or(|found| found < NODE_MIN) {
        return Err(format!("{advice}; this one is {version}"));
    }
    command::need(&mut Command::new("npm"), "npm is missing: install it beside Node").map(drop)
}

/// Major and minor of `v20.14.0`.
fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Every file of `source`, and none of an earlier copy.
fn copy(source: &Path, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    copy_into(source, folder)
}

fn copy_into(source: &Path, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(source)? {
        let (entry, to) = entry.map(|entry| (entry.path(), folder.join(entry.file_name())))?;
        match entry.is_dir() {
            true => copy_into(&entry, &to)?,
            false => drop(fs::copy(&entry, &to)?),
        }
    }
    Ok(())
}

/// Installs the packages, unless the lock file is the one installed last.
fn install(folder: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let lock = fs::read(folder.join("package-lock.json")).map_err(failed)?;
    let installed = folder.join("node_modules/.m2m-installed");
    if fs::read(&installed).is_ok_and(|last| last == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    if !command::run(npm.current_dir(folder).args(arguments), Show::Lines)?.success {
        return Err("npm ci failed: are the package registries within reach?".into());
    }
    fs::write(&installed, lock).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_too_old_is_known_by_its_version() {
        assert_eq!(node_version("v20.14.0"), Some((20, 14)));
        assert!(node_version("v20.9.0").unwrap() < NODE_MIN);
        assert!(node_version("v22.1.0").unwrap() > NODE_MIN);
        assert_eq!(node_version("twenty"), None);
    }

    #[test]
    fn a_copy_has_what_is_there_now_and_keeps_what_was_installed() {
        let root = std::env::temp_dir().join(format!("m2-npm-{}", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        for file in ["from/a", "from/b/c", "to/stale", "to/b/stale", "to/node_modules/d"] {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
        }
        copy(&from, &to).unwrap();
        let is_there =
            ["a", "b/c", "node_modules/d", "stale", "b/stale"].map(|it| to.join(it).is_file());
        assert_eq!(is_there, [true, true, true, false, false]);
        fs::remove_dir_all(root).unwrap();
    }
}
