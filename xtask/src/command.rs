//! Child processes: started in the root, without stdin, their output shown as it comes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::Result;
use crate::workspace::Workspace;

/// What a child left behind.
pub(crate) struct Output {
    pub(crate) success: bool,
    /// What it wrote to stdout, line by line. Its stderr went to ours.
    pub(crate) lines: Vec<String>,
}

/// Whether a child's stdout is shown while it runs.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Show {
    Lines,
    Nothing,
}

/// The cargo that runs us. With `CI` set it may not change the lock file: what is tested is what
/// was committed.
pub(crate) fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).args(arguments);
    if std::env::var_os("CI").is_some() && arguments.first() != Some(&"fmt") {
        command.args(["--locked"]);
    }
    command
}

/// Runs `command` to its end.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn run(command: &mut Command, show: Show) -> Result<Output> {
    let named = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{named} does not start: {error}"))?;
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(|error| format!("{named}: {error}"))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if show == Show::Lines {
            println!("{line}");
        }
        lines.push(line);
    }
    let status = child.wait().map_err(|error| format!("{named}: {error}"))?;
    Ok(Output { success: status.success(), lines })
}

/// Fails with `advice` unless `program --version` runs; gives its first line.
///
/// # Errors
///
/// The sentence is `advice`.
pub(crate) fn need(program: &mut Command, advice: &str) -> Result<String> {
    let output = program
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|_| advice.to_owned())?;
    if !output.status.success() {
        return Err(advice.to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_what_to_install() {
        let missing = &mut Command::new("m2-no-such-tool");
        assert_eq!(need(missing, "install it"), Err("install it".to_owned()));
    }

    #[test]
    fn the_lines_and_the_status_of_a_child_are_kept() {
        let script = &mut Command::new("sh");
        let output = run(script.args(["-c", "echo one; echo two; exit 3"]), Show::Nothing).unwrap();
        assert_eq!(output.lines, ["one", "two"]);
        assert!(!output.success);
    }
}
