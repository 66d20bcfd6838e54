//! A demo that is interrupted, as a process: the switch and the generator are scripts that sleep, and
//! the control socket is the test's.

#![allow(clippy::unwrap_used)] // every function here is a test's

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

const STATUS: &str = r#"{"ok":true,"listen":[{"transport":"ws","address":"127.0.0.1:1"},
    {"transport":"tcp","address":"127.0.0.1:2"},{"transport":"unix","address":"/nowhere"}]}"#;

/// A demo that has started, in a folder of its own.
struct Demo {
    folder: PathBuf,
    child: Child,
}

impl Demo {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("m2m-test-{name}-{}", std::process::id()));
        for inside in ["bin", "target", "tmp"] {
            fs::create_dir_all(folder.join(inside)).unwrap();
        }
        for program in ["m2-switch", "m2-load"] {
            let path = folder.join("bin").join(program);
            fs::write(&path, "#!/bin/sh\necho $$ > \"$0.pid\"\nexec sleep 600\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["demo", "--binaries"])
            .arg(folder.join("bin"))
            .env("TMPDIR", folder.join("tmp"))
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    /// The process that a script became, once it runs.
    fn pid_of(&self, program: &str) -> Pid {
        let path = self.folder.join(format!("bin/{program}.pid"));
        let pid = wait_for(|| fs::read_to_string(&path).ok()?.trim().parse().ok());
        Pid::from_raw(pid).unwrap()
    }

    /// Answers one `status` where the configuration says.
    fn answer_status(&self) {
        let config = fs::read_to_string(self.folder.join("target/demo/run/switch.toml")).unwrap();
        let line = config.lines().find_map(|line| line.strip_prefix("control_socket = ")).unwrap();
        let listener = UnixListener::bind(Path::new(line.trim_matches('"'))).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
        stream.write_all(STATUS.replace('\n', " ").as_bytes()).unwrap();
        stream.write_all(b"\n").unwrap();
    }

    /// Sends `signal` to the demo alone, which then ends as a failure.
    fn interrupt(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = wait_for(|| self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(1));
        let mut sentence = String::new();
        BufReader::new(self.child.stderr.take().unwrap()).read_line(&mut sentence).unwrap();
        assert_eq!(sentence, "error: interrupted by a signal\n");
        assert_eq!(fs::read_dir(self.folder.join("tmp")).unwrap().count(), 0);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < give_up, "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

#[test]
fn a_demo_interrupted_before_the_switch_is_up_leaves_no_process_and_no_folder() {
    let mut demo = Demo::start("early");
    let switch = demo.pid_of("m2-switch");
    demo.interrupt(Signal::TERM);
    assert!(is_gone(switch));
}

#[test]
fn a_demo_interrupted_while_packets_flow_leaves_no_process_and_no_folder() {
    for signal in [Signal::INT, Signal::HUP] {
        let mut demo = Demo::start("late");
        let switch = demo.pid_of("m2-switch");
        demo.answer_status();
        let load = demo.pid_of("m2-load");
        demo.interrupt(signal);
        assert!(is_gone(switch) && is_gone(load));
    }
}
