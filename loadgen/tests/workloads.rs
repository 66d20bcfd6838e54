//! `m2-load workloads`, and names in the place of files.

#![allow(clippy::unwrap_used)] // every function here is a test's

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

fn load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_workload_that_ships_is_listed_and_printed() {
    let list = stdout(&load(&["workloads"]));
    let names: Vec<&str> =
        list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let expected = ["standard", "smoke", "saturate", "micropayments", "streaming", "hostile"];
    assert_eq!(names, expected);
    for name in names {
        let text = stdout(&load(&["workloads", name]));
        assert!(text.starts_with("# ") && text.contains("\n[[flows]]"), "{text}");
    }
}

#[test]
fn a_configuration_is_written_with_tokens_that_only_the_owner_reads() {
    let folder = std::env::temp_dir().join(format!("m2-load-workloads-{}", std::process::id()));
    let folder_text = folder.to_str().unwrap();
    let arguments = ["workloads", "smoke", "--config", "m2-switch", "--folder", folder_text];
    let target = ["--target", "btp+tcp://127.0.0.1:4711"];
    let text = stdout(&load(&[&arguments[..], &target].concat()));
    let command = format!(
        "m2-load run --workload smoke --control-socket {folder_text}/control.sock \
         --target btp+tcp://127.0.0.1:4711\n"
    );
    assert!(text.ends_with(&command), "{text}");
    assert!(text.contains("ITS TOKENS ARE PUBLIC"), "{text}");
    let config = std::fs::read_to_string(folder.join("switch.toml")).unwrap();
    assert!(config.contains("transport = \"tcp\"\naddress = \"127.0.0.1:4711\""), "{config}");
    let token = folder.join("tokens/usd-sender-2.token");
    assert_eq!(std::fs::read_to_string(&token).unwrap(), "public-usd-sender-2\n");
    // Also where somebody has loosened it since.
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _ = stdout(&load(&arguments));
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn commands_that_are_printed_can_be_typed_whatever_the_folder_is_called() {
    let name = format!("m2-load it's a folder {}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let folder_text = folder.to_str().unwrap();
    let quoted = folder_text.replace('\'', "'\\''");
    let arguments = |target| ["workloads", "smoke", "--config", target, "--folder", folder_text];
    let text = stdout(&load(&arguments("m2-switch")));
    let start = format!("\nm2-switch run --config '{quoted}/switch.toml'\n");
    assert!(text.contains(&start), "{text}");
    assert!(text.ends_with(&format!(" --control-socket '{quoted}/control.sock'\n")), "{text}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_cannot_be_used_is_a_sentence_and_status_2() {
    for (arguments, words) in [
        (&["workloads", "standart"][..], "one of standard, smoke,"),
        (&["run", "--workload", "standart"], "one of standard, smoke,"),
        (&["run", "--workload", "smoke", "--target", "btp+tcp://x:hush@y"], "--target: the port"),
        (&["workloads", "smoke", "--config", "ilp-connector", "--folder", "/proc/x"], "--folder"),
        (&["workloads", "smoke", "--config", "m2-switch", "--target", "http://x"], "btp+ws://"),
        (&["workloads", "smoke", "--config", "m2-switch", "--target", "btp+tcp://h:1"], "IP addr"),
    ] {
        let output = load(arguments);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {sentence}");
        assert!(sentence.starts_with("m2-load: ") && sentence.contains(words), "{sentence}");
        assert!(sentence.lines().count() == 1 && !sentence.contains("hush"), "{sentence}");
    }
}

#[test]
fn a_list_that_cannot_be_written_is_a_sentence_and_a_reader_who_has_gone_is_none() {
    let load = |arguments: &[&str], out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
        let child = command.args(arguments).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&["workloads"][..], &["workloads", "smoke"]] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let (status, sentence) = load(arguments, full.into());
        assert_eq!(status, Some(2), "{sentence}");
        assert!(sentence.starts_with("m2-load: standard output: No space left"), "{sentence}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(load(arguments, writer.into()), (Some(0), String::new()));
    }
}
