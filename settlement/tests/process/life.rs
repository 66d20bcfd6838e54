//! From a frozen amount to the end of the channel that paid it.

use serde_json::json;

use crate::node::tools;
use crate::scene::{Scene, Setup, list};

#[tokio::test]
async fn what_is_frozen_is_paid_in_both_directions_to_the_unit_and_told_once() {
    let Some(tools) = tools() else { return };
    // One of the two has its key in a process of its own.
    let setup = Setup { signer: [false, true], ..Setup::default() };
    let mut scene = Scene::new(&tools, setup).await;

    scene.switches.owe(0, "bob", 1_234_567_891);
    scene.until_paid_in_all([1_234_567, 0]).await;
    let bob = scene.account(0, "bob");
    assert_eq!(
        (&bob["frozen"], &bob["given"], &bob["settled"], &bob["left_over"]),
        (&json!("1234567891"), &json!("1234567"), &json!("1234567"), &json!("891"))
    );
    assert_eq!(scene.account(1, "alice")["credited"], "1234567000");

    // What was left over is paid with what comes next.
    scene.switches.owe(0, "bob", 2_000_109);
    scene.switches.owe(1, "alice", 5_000_999);
    scene.until_paid_in_all([1_236_568, 5_000]).await;
    assert_eq!(scene.account(0, "bob")["left_over"], "0");
    for (side, name) in [(0, "bob"), (1, "alice")] {
        let book = scene.switches.book(side, name);
        assert_eq!(book.repeated, 0, "nothing was told twice: {book:?}");
        assert_eq!(book.settled.len(), [2, 1][side]);
        let status = scene.status(side);
        assert_eq!(status["counters"]["alarms"], 0, "{}", scene.told());
        let mut channels = list(&status["channels"]);
        assert!(channels.all(|it| it["state"] == "open"), "{status:#}");
    }
    scene.end_together_and_judge([1_236_568, 5_000]).await;
    assert!(scene.end(0).success());
    assert!(scene.end(1).success());
    assert!(!scene.control(0).exists());
}
