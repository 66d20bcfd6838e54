//! Builds and runs, in the copy, the tests that are to catch a fault.
//!
//! Each test binary runs by itself, to its end or until its time is up, and every test of it that
//! fails is read from what it prints. The simulation is one more such program, judged by itself.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

use super::copy::Copy;
use super::faults::Area;
use super::judges::{self, Failure};

/// The longest that one test binary may take: the slowest takes seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often to look whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What came of building and running.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It did not compile: the first error.
    NotCompiled(String),
    /// What each program did.
    Ran(Vec<Ran>),
}

/// What one test binary did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Package and target: `m2-core packets`.
    pub(crate) name: String,
    pub(crate) passed: usize,
    pub(crate) failures: Vec<Failure>,
    /// It ended otherwise than by reporting: killed for its time, or crashed.
    pub(crate) cut: bool,
}

/// A program that was built.
pub(crate) struct Binary {
    name: String,
    path: PathBuf,
    /// Where its package lies: tests run there.
    folder: PathBuf,
}

/// The packages whose tests a fault of this area must get past.
fn packages(area: Area) -> &'static [&'static str] {
    match area {
        Area::Codec => &["m2-codec", "m2-core"],
        Area::Core => &["m2-core"],
        Area::Journal => &["m2-journal"],
        Area::Shell => &["m2-engine"],
    }
}

/// Builds and runs all tests of an area.
///
/// # Errors
///
/// When cargo cannot be started.
pub(crate) fn run(copy: &Copy, area: Area) -> Result<Outcome> {
    let mut arguments = vec!["test", "--no-run", "--lib", "--bins", "--tests"];
    for package in packages(area) {
        arguments.extend(["--package", package]);
    }
    let binaries = match build(copy, &arguments)? {
        Ok(binaries) => binaries,
        Err(error) => return Ok(Outcome::NotCompiled(error)),
    };
    // At once: the slowest of them takes most of the time.
    let ran: Result<Vec<Ran>> = std::thread::scope(|scope| {
        let start = |binary| scope.spawn(move || run_tests(copy, binary));
        let running: Vec<_> = binaries.iter().map(start).collect();
        running.into_iter().map(|one| one.join().expect("it only waits")).collect()
    });
    ran.map(Outcome::Ran)
}

/// Builds; what does not compile is told by its first error.
pub(crate) fn build(
    copy: &Copy,
    arguments: &[&str],
) -> Result<std::result::Result<Vec<Binary>, String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(copy.root())
        .env("CARGO_TARGET_DIR", copy.target())
        // Nobody steps through it, and without it the linker is done sooner.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(arguments)
        .arg("--message-format=json")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut binaries = Vec::new();
    let mut first_error = None;
    for message in messages {
        match message["reason"].as_str() {
            Some("compiler-artifact") => binaries.extend(binary(&message)),
            Some("compiler-message") if message["message"]["level"] == "error" => {
                let text = message["message"]["message"].as_str().unwrap_or("an error");
                first_error.get_or_insert_with(|| text.to_owned());
            }
            _ => {}
        }
    }
    if output.status.success() {
        return Ok(Ok(binaries));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let otherwise = || stderr.lines().last().unwrap_or("cargo failed").to_owned();
    Ok(Err(first_error.unwrap_or_else(otherwise)))
}

/// A test binary, from what cargo tells of it.
fn binary(message: &Value) -> Option<Binary> {
    let path = message["executable"].as_str()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let folder = manifest.parent()?.to_owned();
    // `path+file:///x/engine/core#m2-core@0.1.0`, or `...#0.1.0` where folder and package agree.
    let id = message["package_id"].as_str()?.rsplit_once('#')?.1;
    let package = match id.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name()?.to_string_lossy().into_owned(),
    };
    let target = &message["target"];
    let kind = target["kind"][0].as_str()?;
    let target = if kind == "lib" { "unit tests" } else { target["name"].as_str()? };
    Some(Binary { name: format!("{package} {target}"), path: path.into(), folder })
}

fn run_tests(copy: &Copy, binary: &Binary) -> Result<Ran> {
    // A history that fails is not shrunk: that it fails is all we ask.
    let mut command = Command::new(&binary.path);
    command.current_dir(&binary.folder).env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let (output, ended) = output_of(copy, &binary.name, &mut command, |_| false)?;
    let failures = judges::failures(&output);
    let passed = passed(&output);
    let cut = ended == Ended::TimedOut || passed.is_none();
    Ok(Ran { name: binary.name.clone(), passed: passed.unwrap_or(0), failures, cut })
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// By itself, with status 0.
    Well,
    /// By itself, otherwise.
    Otherwise,
    /// It was stopped, as it had said what was waited for.
    Enough,
    /// It was stopped, as its time was up.
    TimedOut,
}

/// What a program prints, kept in a file of this name, and how it ended. It is stopped when its time
/// is up, or once `enough` says so of what it has printed.
pub(crate) fn output_of(
    copy: &Copy,
    name: &str,
    command: &mut Command,
    enough: impl Fn(&str) -> bool,
) -> Result<(String, Ended)> {
    let path = copy.target().join("output").join(name);
    let folder = path.parent().expect("it was just joined");
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let unusable = |error| format!("{}: {error}", path.display());
    let file = File::create(&path).map_err(unusable)?;
    let errors = file.try_clone().map_err(unusable)?;
    command.env("RUST_BACKTRACE", "0").env_remove("CARGO_TARGET_DIR");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    let started = Instant::now();
    let mut stopped = None;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(unusable)? {
            break status;
        }
        if enough(&fs::read_to_string(&path).unwrap_or_default()) {
            stopped = Some(Ended::Enough);
        } else if started.elapsed() > PATIENCE {
            stopped = Some(Ended::TimedOut);
        }
        if stopped.is_some() {
            break child.kill().and_then(|()| child.wait()).map_err(unusable)?;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let bytes = fs::read(&path).map_err(unusable)?;
    let by_itself = if status.success() { Ended::Well } else { Ended::Otherwise };
    Ok((String::from_utf8_lossy(&bytes).into_owned(), stopped.unwrap_or(by_itself)))
}

/// How many tests passed, from the last line of a test binary; none if it never got there.
fn passed(output: &str) -> Option<usize> {
    let line = output.lines().rev().find_map(|line| line.strip_prefix("test result: "))?;
    line.split_once(". ")?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_binary_is_told_from_what_else_cargo_builds() {
        let mut message = json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///x/engine/core#m2-core@0.1.0",
            "manifest_path": "/x/engine/core/Cargo.toml",
            "target": { "kind": ["test"], "name": "packets" },
            "profile": { "test": true },
            "executable": "/x/target/debug/deps/packets-1",
        });
        let found = binary(&message).unwrap();
        assert_eq!(found.name, "m2-core packets");
        assert_eq!(found.folder, PathBuf::from("/x/engine/core"));
        message["target"] = json!({ "kind": ["lib"], "name": "m2_core" });
        assert_eq!(binary(&message).unwrap().name, "m2-core unit tests");
        message["profile"] = json!({ "test": false });
        assert!(binary(&message).is_none());
    }

    #[test]
    fn a_binary_that_never_reports_has_no_count() {
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(passed(&format!("running 5 tests\n{line}\n\n")), Some(3));
        assert_eq!(passed("running 5 tests\n"), None);
    }
}
