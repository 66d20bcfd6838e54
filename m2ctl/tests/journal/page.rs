//! Every command of docs/m2ctl.md, run as it stands there on two switches with a link between them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::diff::{Link, Recorded};
use crate::support::Folder;

const PAGE: &str = include_str!("../../../docs/m2ctl.md");

/// The lines of the page's shell blocks.
fn commands() -> Vec<&'static str> {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap().lines()).collect()
}

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let mut link = Link::new();
    for amount in 1..50 {
        link.out(amount, Recorded::Both);
    }
    let (here, there) = link.stop();
    let work = Folder::new();
    symlink(here.path(), work.file("journal")).unwrap();
    symlink(there.path(), work.file("theirs")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_m2ctl")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(work.path()).env("PATH", &path);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {}: {told}", output.status);
        assert!(command.contains('>') || !output.stdout.is_empty(), "{command} says nothing");
    }
}
