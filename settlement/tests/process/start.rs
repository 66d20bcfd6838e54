//! What keeps m2-settle from starting: exit status 2, and a sentence that says what to do.

use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::chain::{Chain, KEYS};
use crate::node::tools;
use crate::scene::{Folder, Scene, Setup, UNIT, list, output};

/// How `check` or `run` ends, and what it says.
fn refusal(what: &str, folder: &Folder, text: &str) -> String {
    let config = folder.write("settle.toml", text, 0o600);
    let output = output(what, &config);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && !said.contains("panic"), "{said}");
    assert!(!said.contains(&KEYS[0][..16]), "{said}");
    said
}

const RIGHT: &str = r#"switch = "switch.sock"
store = "store.redb"
control_socket = "control.sock"

[[chains]]
name = "local"
chain_id = 31337
rpc = "http://127.0.0.1:9"
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
key_file = "key"

[[tokens]]
name = "USD"
chain = "local"
address = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
scale = 6

[[accounts]]
name = "bob"
scale = 9
token = "USD"
peer = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
deposit = 100
"#;

#[test]
fn a_configuration_is_checked_and_everything_wrong_with_it_is_told() {
    let folder = Folder::new();
    let config = folder.write("right.toml", RIGHT, 0o600);
    let right = output("check", &config);
    assert!(right.status.success());
    let said = String::from_utf8(right.stdout).unwrap();
    assert!(said.contains("right: 1 account that settle"), "{said}");
    // Nothing was started, and no key was needed.
    assert!(!folder.path("store.redb").exists() && !folder.path("control.sock").exists());

    for (from, to, words) in [
        ("0x5FbDB", "0x5FbDb", "wrong checksum"),
        ("chain = \"local\"", "chain = \"far\"", "not listed"),
        ("deposit = 100", "deposit = -1", "whole number of units"),
        ("deposit = 100", "deposit = 1.5", "whole number of units"),
        ("deposit = 100", "deposit = 100\nwindow_s = 599", "window_s = 599 is not from 600"),
        ("key_file = \"key\"", "", "nobody signs"),
        ("key_file = \"key\"", "key_file = \"key\"\nlook_ms = 1", "look_ms = 1 is not from"),
        ("scale = 9", "scale = 9\nnonsense = 1", "unknown field `nonsense`"),
        ("[[accounts]]", "[[accounts", "settle.toml"),
        ("switch.sock", &"s".repeat(200), "at most 107 bytes"),
    ] {
        assert!(RIGHT.contains(from));
        let said = refusal("check", &folder, &RIGHT.replacen(from, to, 1));
        assert!(said.contains(words), "{said}");
    }
    // All of it at once.
    let wrong = RIGHT.replace("0x5FbDB", "0x5FbDb").replace("token = \"USD\"", "token = \"EUR\"");
    let said = refusal("run", &folder, &wrong);
    assert!(said.contains("wrong checksum") && said.contains("no token \"EUR\""), "{said}");

    let large = format!("{RIGHT}\n#{}", "x".repeat(1 << 20));
    assert!(refusal("check", &folder, &large).contains("more than 1048576 bytes"));
    let none = output("check", &folder.path("none.toml"));
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8(none.stderr).unwrap().contains("none.toml"));
}

#[test]
fn a_key_that_others_may_read_or_that_is_none_starts_nothing() {
    let folder = Folder::new();
    assert!(refusal("run", &folder, RIGHT).contains("key"));
    folder.write("key", KEYS[0], 0o644);
    let said = refusal("run", &folder, RIGHT);
    assert!(said.contains("chmod 600"), "{said}");
    folder.write("key", &KEYS[0][..63], 0o600);
    assert!(refusal("run", &folder, RIGHT).contains("64 hexadecimal digits"));
    folder.write("key", &"0".repeat(64), 0o600);
    assert!(refusal("run", &folder, RIGHT).contains("key"));
    assert!(!folder.path("store.redb").exists());

    // A peer who is we ourselves.
    folder.write("key", KEYS[1], 0o600);
    assert!(refusal("run", &folder, RIGHT).contains("its peer is we ourselves"));
}

#[test]
fn a_control_socket_that_is_taken_starts_nothing() {
    let folder = Folder::new();
    folder.write("key", KEYS[0], 0o600);
    let _other = UnixListener::bind(folder.path("control.sock")).unwrap();
    assert!(refusal("run", &folder, RIGHT).contains("another process listens there"));
    let text = RIGHT.replace("control.sock", "key");
    assert!(refusal("run", &folder, &text).contains("a file that is no socket is there"));
    assert_eq!(std::fs::read_to_string(folder.path("key")).unwrap(), KEYS[0]);
    let text = RIGHT.replace("store.redb", "nowhere/store.redb");
    assert!(refusal("run", &folder, &text).contains("nowhere/store.redb"));
}

#[tokio::test]
async fn a_store_is_one_processs_and_forgets_no_account() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, Setup::default()).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    let text = scene.config(0);

    let second = text.replace("settle-0.sock", "second.sock");
    let said = refusal("run", &scene.folder, &second);
    assert!(said.contains("another process has it"), "{said}");
    assert!(scene.end(0).success());

    let removed = text.replace("name = \"bob\"", "name = \"carol\"");
    let said = refusal("run", &scene.folder, &removed);
    assert!(said.contains("the account `bob` is not configured: put it back"), "{said}");
    let moved = text.replace("chain_id = 31337", "chain_id = 31338");
    let said = refusal("run", &scene.folder, &moved);
    assert!(said.contains("is not configured: put it back"), "{said}");

    // Neither has changed anything.
    scene.start(0);
    scene.until("it is there", |scene| scene.are_there()).await;
    scene.end_together_and_judge([5_000, 0]).await;
    for side in 0..2 {
        let told = scene.said(side) + &scene.status(side).to_string();
        assert!(KEYS.iter().all(|key| !told.to_lowercase().contains(&key[..16])), "{told}");
    }
}

#[tokio::test]
async fn a_switch_that_means_other_units_is_told_nothing() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let mut scene = Scene::not_started(chain, Setup::default());
    scene.switches.change(0, "bob", |book| book.scale = 6);
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.start(0);
    scene.start(1);
    scene
        .until("it is told", |scene| {
            scene.said(0).contains("`bob` has scale 6 in the switch and 9 here")
        })
        .await;
    let status = scene.status(0);
    assert_eq!(
        (&status["switch_connected"], &status["accounts"][0]["frozen"]),
        (&json!(false), &json!("0"))
    );
    assert_eq!(list(&status["channels"]).count(), 0);

    // As soon as it means the same, it is paid.
    scene.switches.change(0, "bob", |book| book.scale = 9);
    scene.until_paid_in_all([5_000, 0]).await;
}
