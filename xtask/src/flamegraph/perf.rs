//! perf, the profiler of Linux: samples of a process, and its stacks as text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::command;

/// Samples for each second of CPU time; a prime, so that nothing that is periodic keeps step with it.
pub(super) const HERTZ: u32 = 1_999;

const MISSING: &str = "perf is missing: install the package linux-perf (Debian), perf (Fedora, Arch) or \
                       linux-tools-generic (Ubuntu)";

/// Fails with what to install where there is no perf.
pub(super) fn need() -> Result<()> {
    command::need(&mut Command::new("perf"), MISSING).map(drop)
}

/// Samples a command from its beginning to its end.
pub(super) fn record_command(program: &Path, arguments: &[&str], folder: &Path) -> Result<PathBuf> {
    let data = folder.join("perf.data");
    run(recorder(&data).arg("--").arg(program).args(arguments))?;
    Ok(data)
}

/// Samples a process that runs already, all of its threads, for some seconds.
pub(super) fn record_process(process: u32, seconds: u32, folder: &Path) -> Result<PathBuf> {
    let data = folder.join("perf.data");
    let mut recorder = recorder(&data);
    recorder.args(["-p", &process.to_string(), "--", "sleep", &seconds.to_string()]);
    run(&mut recorder)?;
    Ok(data)
}

/// Every sample with its stack, as text. Inlined functions count where they stand: to resolve them
/// takes minutes.
pub(super) fn script(data: &Path) -> Result<Vec<u8>> {
    let mut script = Command::new("perf");
    // Without the period each sample counts as one, and not as so many nanoseconds.
    script.args(["script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i"]);
    script.arg(data);
    let output = script.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("perf script: {error}"))?;
    let _ = fs::remove_file(data);
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("perf script ended with {}", output.status)),
    }
}

fn recorder(data: &Path) -> Command {
    let mut recorder = Command::new("perf");
    recorder.args(["record", "--quiet", "-e", "cpu-clock", "-F", &HERTZ.to_string()]);
    recorder.args(["--call-graph", "fp", "-o"]).arg(data);
    recorder
}

fn run(recorder: &mut Command) -> Result<()> {
    let status = recorder.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| format!("perf record does not start: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "perf record ended with {status}; where it may not look, run it as root or write 1 to \
         /proc/sys/kernel/perf_event_paranoid"
    ))
}
