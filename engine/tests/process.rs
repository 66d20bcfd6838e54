//! The process: its command line, its signals, its control socket.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use m2_codec::ilp::ErrorCode;
use serde_json::json;
use support::{ACCOUNTS, Folder, Next, Switch, pay, preimage, prepare, status_at, wait};

fn m2_switch(command: &str, file: &Path) -> Output {
    let mut switch = Command::new(env!("CARGO_BIN_EXE_m2-switch"));
    switch.args([command, "--config"]).arg(file).output().unwrap()
}

const RIGHT: &str = "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\n\
    control_socket = \"control.sock\"\n[[assets]]\ncode = \"USD\"\nscale = 9\n\
    [[accounts]]\nname = \"alice\"\nrelation = \"child\"\nasset = \"USD/9\"\ntoken = \"secret\"\n";

const LISTEN: &str = "[[listen]]\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";

#[test]
fn the_version_is_told_under_the_name_of_the_binary() {
    let output = Command::new(env!("CARGO_BIN_EXE_m2-switch")).arg("--version").output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, format!("m2-switch {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_says_that_a_right_file_is_right_and_starts_nothing() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    std::fs::write(&file, format!("{RIGHT}{LISTEN}")).unwrap();
    let output = m2_switch("check", &file);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.ends_with("right: 1 account, 1 asset, 0 rates, 1 listener\n"), "{told}");
    assert!(!folder.path().join("control.sock").exists());
}

#[test]
fn check_names_every_line_and_fix_and_run_refuses_as_well() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    let wrong = RIGHT.replace("\"test\"", "\"live\"") + "balence_max = 5\nbalance_max = \"1.5\"\n";
    std::fs::write(&file, wrong).unwrap();
    for command in ["check", "run"] {
        let output = m2_switch(command, &file);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        let name = file.display();
        for line in [
            format!("{name}:3: network = \"live\" must be one of \"g\", \"test\", \"private\""),
            format!(
                "{name}:13: unknown key `balence_max` in [[accounts]]: did you mean `balance_max`?"
            ),
            format!("{name}:14: `balance_max` must be a whole number"),
        ] {
            assert!(told.contains(&line), "{told}\nlacks {line}");
        }
        assert!(!told.contains("secret"));
    }
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let output = m2_switch("run", Path::new("/nowhere/switch.toml"));
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("/nowhere/switch.toml: cannot be read: "), "no line of it: {told}");
}

#[test]
fn an_address_that_is_taken_is_told_with_its_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    let address = taken.local_addr().unwrap();
    let unix = "[[listen]]\ntransport = \"unix\"\npath = \"btp.sock\"\n";
    let tcp = format!("[[listen]]\ntransport = \"tcp\"\naddress = \"{address}\"\n");
    std::fs::write(&file, format!("{RIGHT}{unix}{tcp}")).unwrap();
    let output = m2_switch("run", &file);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let words =
        format!("{}:18: cannot listen on {address}: Address already in use", file.display());
    assert!(told.contains(&words), "{told}");
    assert!(!folder.path().join("btp.sock").exists(), "what was bound is left behind");
}

#[test]
fn what_stands_where_a_socket_should_be_is_told_and_left_alone() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    std::fs::write(&file, format!("{RIGHT}{LISTEN}")).unwrap();
    let control = folder.path().join("control.sock");
    std::fs::write(&control, "precious").unwrap();
    let told = || {
        let output = m2_switch("run", &file);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let begin = format!("{}:4: cannot listen at {}: ", file.display(), control.display());
    let words = told();
    assert!(words.contains(&format!("{begin}a regular file stands there: move it")), "{words}");
    assert_eq!(std::fs::read(&control).unwrap(), b"precious");
    std::fs::remove_file(&control).unwrap();
    std::fs::create_dir(&control).unwrap();
    let words = told();
    assert!(words.contains(&format!("{begin}a folder stands there: move it")), "{words}");
}

#[test]
fn a_socket_left_behind_is_taken_over_and_one_in_use_is_not() {
    let mut switch = Switch::start("", "");
    let output = m2_switch("run", &switch.folder().join("switch.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another process listens there"));
    drop(switch.connect_unix());
    switch.signal("-KILL");
    switch.wait_for_exit();
    let file = switch.folder().join("switch.toml");
    let mut next = Command::new(env!("CARGO_BIN_EXE_m2-switch"))
        .args(["run", "--config"])
        .arg(&file)
        .spawn()
        .unwrap();
    // The one that was killed may hold its sockets for a moment more, so look who answers.
    let socket = switch.folder().join("control.sock");
    wait("the next one answers", || status_at(&socket)["pid"] == next.id());
    let pid = next.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(next.wait().unwrap().code(), Some(0));
}

#[test]
fn the_start_tells_addresses_and_the_journal() {
    let switch = Switch::start("", "");
    switch.wait_for_log("journal read");
    let log = switch.log();
    assert!(log.contains(switch.ws_address()), "{log}");
    let status = switch.ask(&json!({ "cmd": "status" }));
    assert_eq!(status["journal"], "ready");
    assert_eq!(status["address"], "test.m2m");
    assert_eq!(status["network"], "test");
    assert_eq!(status["pid"], switch.pid());
    assert!(status["cpu_user_us"].is_u64() && status["cpu_system_us"].is_u64());
}

#[test]
fn without_a_journal_the_log_and_the_status_say_so() {
    let none = ACCOUNTS.replace("asset = \"USD/9\"", "asset = \"USD/9\"\ndurability = \"none\"");
    let switch = Switch::start_with("", "", &none);
    switch.wait_for_log("nothing is recorded: balances do not survive a restart");
    assert_eq!(switch.ask(&json!({ "cmd": "status" }))["journal"], "none");
    assert!(!switch.folder().join("journal").exists());
}

#[test]
fn a_log_that_nobody_can_read_ends_nothing() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    let text = format!(
        "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
         [[listen]]\ntransport = \"unix\"\npath = \"b\"\n{ACCOUNTS}"
    );
    std::fs::write(&file, text).unwrap();
    let run = || {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut run = Command::new(env!("CARGO_BIN_EXE_m2-switch"));
        run.args(["run", "--config"]).arg(&file).stderr(full).spawn().unwrap()
    };
    let mut child = run();
    let control = folder.path().join("c");
    wait("it is ready", || control.exists() && status_at(&control)["ok"] == true);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Nor does a refusal without a reader end otherwise than one with.
    std::fs::write(&file, "what").unwrap();
    assert_eq!(run().wait().unwrap().code(), Some(2));
}

/// Else the kernel clears it while packets wait.
#[test]
fn the_memory_of_all_slots_is_there_before_a_packet_comes() {
    const BYTES: usize = 128 * (1 << 20);
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    let text = format!(
        "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
         in_flight_slots = {}\n[[listen]]\ntransport = \"unix\"\npath = \"b\"\n{ACCOUNTS}",
        1 << 20
    );
    std::fs::write(&file, text).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_m2-switch"));
    let mut child = run.args(["run", "--config"]).arg(&file).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let in_memory = || {
        let told = std::fs::read_to_string(&status).unwrap();
        let kib = told.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        kib.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    };
    wait("the slots are in memory, which needs Linux 5.14", || in_memory() >= BYTES);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn json_logs_are_one_object_a_line() {
    let switch = Switch::start("", "[log]\nformat = \"json\"\n");
    drop(switch.peer("ws", "alice"));
    switch.wait_for_log("link down");
    for line in switch.log().lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
}

#[test]
fn sigterm_finishes_what_is_in_flight_closes_in_order_and_exits_0() {
    let mut switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    let forwarded = bob.frame();
    switch.signal("-TERM");
    wait("it drains", || switch.ask(&json!({ "cmd": "status" }))["draining"] == true);
    alice.send_prepare(2, &prepare("test.m2m.bob", 5, 1));
    assert_eq!(alice.frame().reject_code(), ErrorCode::T03_CONNECTOR_BUSY);
    let resumed = switch.ask(&json!({ "cmd": "resume" }));
    assert_eq!(resumed, json!({ "ok": false, "error": "the switch is stopping" }));
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(forwarded.request_id, &fulfill);
    assert_eq!(alice.frame().fulfillment(), preimage(1));
    assert_eq!(alice.until_end(), [Next::Close(1001)]);
    assert_eq!(bob.until_end(), [Next::Close(1001)]);
    drop((alice, bob));
    assert_eq!(switch.wait_for_exit().code(), Some(0));
    assert!(!switch.folder().join("control.sock").exists());
    assert!(!switch.folder().join("btp.sock").exists());
}

#[test]
fn sigterm_does_not_wait_longer_than_shutdown_ms() {
    let mut switch = Switch::start_with("shutdown_ms = 50", "close_ms = 50", ACCOUNTS);
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    bob.frame();
    switch.signal("-INT");
    assert_eq!(switch.wait_for_exit().code(), Some(0));
    assert!(switch.log().contains("packets still in flight are left without an answer"));
}

#[test]
fn a_second_signal_ends_it_at_once_with_its_own_status() {
    let mut switch = Switch::start("", "");
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    bob.frame();
    switch.signal("-TERM");
    switch.wait_for_log("stopping");
    switch.signal("-TERM");
    assert_eq!(switch.wait_for_exit().code(), Some(3));
    switch.wait_for_log("a second signal: ending at once with exit status 3");
}

#[test]
fn a_second_signal_ends_it_also_when_nobody_reads_the_log() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    std::fs::write(&file, format!("{RIGHT}{LISTEN}")).unwrap();
    // As full as can be: not one byte more goes in, and who tries waits for ever.
    let (_reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(b"x").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    let mut switch = Command::new(env!("CARGO_BIN_EXE_m2-switch"))
        .args(["run", "--config"])
        .arg(&file)
        .stderr(std::os::fd::OwnedFd::from(writer))
        .spawn()
        .unwrap();
    wait("it has bound", || folder.path().join("control.sock").exists());
    let pid = switch.id().to_string();
    for signal in ["-TERM", "-INT"] {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    let mut status = None;
    wait("the switch exits", || {
        status = switch.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(3));
}

#[test]
fn drain_waits_for_what_is_in_flight_and_resume_takes_packets_again() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    let forwarded = bob.frame();
    let cut = switch.ask(&json!({ "cmd": "drain", "timeout_ms": 0 }));
    assert_eq!((&cut["ok"], &cut["in_flight"]), (&json!(false), &json!(1)));
    alice.send_prepare(2, &prepare("test.m2m.bob", 5, 1));
    assert_eq!(alice.frame().reject_code(), ErrorCode::T03_CONNECTOR_BUSY);
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(forwarded.request_id, &fulfill);
    let drained = switch.ask(&json!({ "cmd": "drain", "timeout_ms": 10_000 }));
    assert_eq!((&drained["ok"], &drained["in_flight"]), (&json!(true), &json!(0)));
    assert_eq!(alice.frame().fulfillment(), preimage(1));
    assert_eq!(switch.ask(&json!({ "cmd": "resume" }))["ok"], true);
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
}

#[test]
fn the_control_socket_is_its_owners_alone() {
    let switch = Switch::start("", "");
    let mode =
        std::fs::metadata(switch.folder().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_bad_line_is_told_and_the_next_one_answered() {
    let switch = Switch::start("", "");
    let mut stream = switch.control();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for (line, words) in [
        ("nonsense", "a line is one JSON object"),
        ("[]", "a line is one JSON object"),
        ("{}", "`cmd` is missing"),
        (r#"{"cmd":7}"#, "`cmd` is missing or no string"),
        (r#"{"cmd":"stauts"}"#, "known are status, accounts, counters, journal, drain, resume"),
        (r#"{"cmd":"status","x":1}"#, "`status` has no `x`"),
        (r#"{"cmd":"drain","timeout_ms":-1}"#, "a whole number"),
        ("\u{0}\u{7f}", "a line is one JSON object"),
    ] {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let answer: serde_json::Value =
            serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    stream.write_all(b"{\"cmd\":\"status\"}\n").unwrap();
    assert!(answers.next().unwrap().unwrap().contains("\"ok\":true"));
    stream.write_all(&[b'x'; 4_096]).unwrap();
    assert!(answers.next().unwrap().unwrap().contains("a line has at most 4096 bytes"));
    assert!(answers.next().is_none(), "such a line ends the connection");
}
