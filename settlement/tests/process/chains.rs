//! Nodes that die, that are others, that say nonsense; blocks that vanish; fees that rise; tokens that lie.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::chain::{Chain, GWEI, KEYS, MANY, claim, deploy};
use crate::node::{Tools, tools};
use crate::scene::{AHEAD, Folder, Link, Scene, Setup, UNIT, list};

/// A chain that its node writes down when it is ended, and the folder where.
async fn kept(tools: &Tools) -> (Chain, Folder) {
    let folder = Folder::new();
    let state = folder.path("state.json");
    let state = state.to_str().unwrap();
    let arguments = ["--slots-in-an-epoch", "2", "--state", state, "--preserve-historical-states"];
    (Chain::with(tools, &arguments, "Token").await, folder)
}

fn transactions(scene: &Scene, side: usize) -> Vec<Value> {
    list(&scene.status(side)["transactions"]).cloned().collect()
}

fn error(scene: &Scene, side: usize) -> String {
    scene.status(side)["chains"][0]["error"].as_str().unwrap_or_default().to_owned()
}

async fn pending(scene: &Scene) -> Value {
    scene.chain.node.ask("txpool_status", json!([])).await["pending"].clone()
}

#[tokio::test]
async fn what_a_node_forgets_with_its_death_is_sent_again_and_nothing_twice() {
    let Some(tools) = tools() else { return };
    let (chain, _folder) = kept(&tools).await;
    let mut scene = Scene::on(chain, Setup::default()).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;

    // A deposit waits in the node's memory, and is in no block.
    scene.mines = false;
    scene.switches.owe(0, "bob", 2 * AHEAD * UNIT);
    scene.until("a deposit is signed", |scene| !transactions(scene, 0).is_empty()).await;
    let signed = transactions(&scene, 0)[0].clone();
    scene.chain.node.end();
    scene
        .until("both say that it is gone", |scene| {
            [0, 1].iter().all(|side| !error(scene, *side).is_empty())
        })
        .await;
    scene.switches.owe(1, "alice", 700 * UNIT);
    scene.chain.node.start_again();
    scene.mines = true;
    let given = [5_000 + 2 * AHEAD, 700];
    scene.until_paid_in_all(given).await;
    assert_eq!(scene.status(0)["chains"][0]["lost"], 0, "{signed}: {}", scene.told());
    assert_eq!(scene.status(0)["chains"][0]["failed"], 0);
    scene.end_together_and_judge(given).await;
}

#[tokio::test]
async fn another_chain_at_the_same_place_is_told_and_sent_nothing() {
    let Some(tools) = tools() else { return };
    let (chain, _folder) = kept(&tools).await;
    let mut scene = Scene::on(chain, Setup::default()).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    scene.mines = false;
    scene.chain.node.end();

    for (arguments, text) in [
        (vec!["--chain-id", "1"], "1"),
        // A new chain with the right number: the contract is not there.
        (vec![], "nothing is at"),
    ] {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        scene.chain.node.start_again_with(&arguments);
        scene.switches.owe(0, "bob", 2 * AHEAD * UNIT);
        scene
            .until("both say that it is another chain", |scene| {
                [0, 1].iter().all(|side| {
                    let error = error(scene, *side);
                    error.contains("chain") && error.contains(text)
                })
            })
            .await;
        assert_eq!(pending(&scene).await, "0x0");
        assert_eq!(scene.chain.node.ask("eth_blockNumber", json!([])).await, "0x0");
        assert!(scene.said(0).contains("ALARM"), "{}", scene.told());
        scene.chain.node.kill();
    }
    scene.chain.node.start_again();
    scene.mines = true;
    let given = [5_000 + 4 * AHEAD, 0];
    scene.until_paid_in_all(given).await;
    scene.end_together_and_judge(given).await;
}

/// Answers whatever is asked with each of these in turn, until it is dropped.
struct Nonsense {
    port: u16,
    ends: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Nonsense {
    fn start(port: u16, answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (ends, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, counted) = (Arc::clone(&ends), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            for (mut socket, answer) in
                listener.incoming().map_while(Result::ok).zip(answers.iter().cycle())
            {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                if answer.is_empty() {
                    held.push(socket);
                } else {
                    drop(socket.read(&mut [0; 65_536]));
                    drop(socket.write_all(answer));
                }
            }
        });
        Self { port, ends, asked, thread: Some(thread) }
    }
}

impl Drop for Nonsense {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(std::net::TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().unwrap().join());
    }
}

fn http(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_node_that_says_nonsense_or_nothing_is_told_and_borne() {
    let Some(tools) = tools() else { return };
    let (chain, _folder) = kept(&tools).await;
    let setup = Setup { rpc_ms: 300, ..Setup::default() };
    let mut scene = Scene::on(chain, setup).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    scene.mines = false;
    scene.chain.node.end();
    let url = scene.chain.node.url();
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let answers = vec![
        http(b"nonsense"),
        http(b"[]"),
        http(br#"{"jsonrpc":"2.0","id":1,"result":"0x"}"#),
        http(br#"[{"jsonrpc":"2.0","id":0,"result":null}]"#),
        b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n".to_vec(),
        vec![0xff; 100],
        Vec::new(),
    ];
    let kinds = answers.len();
    let nonsense = Nonsense::start(port, answers);
    let failed = |scene: &Scene| scene.status(1)["counters"]["looks_failed"].as_u64().unwrap();
    let before = failed(&scene);
    let mut told = BTreeSet::new();
    scene
        .until("all of it was said", |scene| {
            told.extend([0, 1].map(|side| error(scene, side)));
            nonsense.asked.load(Ordering::SeqCst) > kinds && failed(scene) >= before + 2
        })
        .await;
    assert!(told.iter().any(|it| it.contains("makes no sense")), "{told:?}");
    drop(nonsense);
    scene.chain.node.start_again();
    scene.mines = true;
    scene.switches.owe(0, "bob", 1_000 * UNIT);
    scene.until_paid_in_all([6_000, 0]).await;
    assert!((0..2).all(|side| scene.is_alive(side)), "neither has ended");
    scene.end_together_and_judge([6_000, 0]).await;
}

#[tokio::test]
async fn a_deposit_that_vanishes_before_it_is_final_was_never_credited() {
    let Some(tools) = tools() else { return };
    // What is claimed here with Alice's key and without her process is not redeemed before she gives as much.
    let setup = Setup { redeem_min: [0, u128::from(u64::MAX)], ..Setup::default() };
    let mut scene = Scene::new(&tools, setup).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    let (id, deposit) = (scene.channel(1), AHEAD + 5_000);

    // A deposit is in the latest block and not final, and a claim draws on it.
    scene.mines = false;
    scene.switches.owe(0, "bob", 2 * AHEAD * UNIT);
    scene
        .until("a deposit is sent", |scene| {
            !transactions(scene, 0).is_empty()
                && transactions(scene, 0)[0]["jobs"][0]["Deposit"].is_string()
        })
        .await;
    scene.chain.node.mine(1).await;
    scene.until("it is in a block", |scene| transactions(scene, 0)[0]["included"] == true).await;
    let signed = claim(&scene.chain.alice, id, 5_000 + 2 * AHEAD).await;
    scene
        .until("the claim is taken", |scene| {
            crate::door::is_taken(&crate::door::said(scene, &signed))
        })
        .await;
    // What is final covers so much of it.
    let credited = |scene: &Scene| scene.switches.book(1, "alice").credited();
    scene.until("what is covered is credited", |scene| credited(scene) == deposit * UNIT).await;

    // Another block at its height, without it, and others on it: it is not there, and nothing was credited.
    scene.chain.node.ask("anvil_reorg", json!([1, []])).await;
    scene.until("it has vanished", |scene| transactions(scene, 0)[0]["included"] == false).await;
    assert_eq!(credited(&scene), deposit * UNIT);
    scene.mines = true;
    let given = 5_000 + 2 * AHEAD;
    scene.until_paid_in_all([given, 0]).await;
    let book = scene.switches.book(1, "alice");
    assert_eq!((book.reversals.len(), book.limits.len()), (0, 0));
    assert_eq!(scene.status(1)["counters"]["reversals"], 0);
    scene.end_together_and_judge([given, 0]).await;
}

#[tokio::test]
async fn a_final_deposit_that_is_gone_is_taken_back_told_and_credited_again_once_it_is_back() {
    let Some(tools) = tools() else { return };
    let setup = Setup { redeem_min: [0, u128::from(u64::MAX)], ..Setup::default() };
    let mut scene = Scene::new(&tools, setup).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    scene.until("nothing is under way", |scene| transactions(scene, 0).is_empty()).await;
    let snapshot = scene.chain.node.ask("evm_snapshot", json!([])).await;
    let given = 5_000 + 2 * AHEAD;
    scene.switches.owe(0, "bob", 2 * AHEAD * UNIT);
    scene.until_paid_in_all([given, 0]).await;

    // No chain that is worth the name does this.
    scene.mines = false;
    assert_eq!(scene.chain.node.ask("evm_revert", json!([snapshot])).await, true);
    // It is believed once its final block is a newer one: a node that is behind shows the same.
    scene.chain.node.mine(60).await;
    let kept = (AHEAD + 5_000) * UNIT;
    scene
        .until("what it cannot pay is taken back", |scene| {
            let book = scene.switches.book(1, "alice");
            book.credited() == kept && !book.limits.is_empty()
        })
        .await;
    let book = scene.switches.book(1, "alice");
    assert_eq!(book.limits, [("0".to_owned(), "0".to_owned())]);
    assert_eq!(book.reversals.len(), 1);
    let alice = scene.account(1, "alice");
    assert!(alice["paused"].as_str().unwrap().contains("that was final is gone"), "{alice}");
    assert!(scene.said(1).contains("ALARM"), "{}", scene.told());
    assert_eq!(scene.status(1)["counters"]["reversals"], 1);

    // It is deposited again, as it is still wanted; a restart on the way forgets nothing of this.
    scene.kill(1);
    scene.start(1);
    scene.mines = true;
    scene.until_paid_in_all([given, 0]).await;
    scene.until("it is there", |scene| scene.are_there()).await;
    assert!(scene.account(1, "alice")["paused"].is_string());
    scene.does(1, &json!({ "cmd": "resume", "account": "alice" }));
    assert_eq!(scene.account(1, "alice")["paused"], Value::Null);
    scene.end_together_and_judge([given, 0]).await;
}

#[tokio::test]
async fn a_transaction_that_waits_while_fees_rise_offers_more_at_its_nonce() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, Setup::default()).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    scene.until("nothing is under way", |scene| transactions(scene, 0).is_empty()).await;
    let done = scene.status(0)["chains"][0]["succeeded"].as_u64().unwrap();
    scene.mines = false;
    scene.switches.owe(0, "bob", 2 * AHEAD * UNIT);
    let sent = |scene: &Scene| scene.status(0)["counters"]["transactions_sent"].as_u64();
    let before = sent(&scene);
    scene
        .until("a deposit is sent", |scene| {
            sent(scene) > before && !transactions(scene, 0).is_empty()
        })
        .await;
    let nonce = transactions(&scene, 0)[0]["nonce"].clone();
    let base = json!([format!("{:#x}", 90 * GWEI)]);
    scene.chain.node.ask("anvil_setNextBlockBaseFeePerGas", base).await;
    scene.chain.node.mine(1).await;
    scene
        .until("it offers more", |scene| {
            let waits = transactions(scene, 0);
            assert_eq!(waits.len(), 1, "{waits:?}");
            assert_eq!((&waits[0]["nonce"], &waits[0]["included"]), (&nonce, &json!(false)));
            waits[0]["hashes"].as_array().unwrap().len() >= 2
        })
        .await;
    scene.mines = true;
    let given = 5_000 + 2 * AHEAD;
    scene.until_paid_in_all([given, 0]).await;
    scene.until("nothing is under way", |scene| transactions(scene, 0).is_empty()).await;
    let chain = scene.status(0)["chains"][0].clone();
    assert_eq!(
        (chain["succeeded"].as_u64(), &chain["failed"], &chain["lost"]),
        (Some(done + 1), &json!(0), &json!(0)),
        "it was done once: {chain:#}"
    );
    scene.end_together_and_judge([given, 0]).await;
}

#[tokio::test]
async fn a_token_that_keeps_a_fee_pays_nothing_and_holds_up_no_other() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let taxed = deploy(&chain.node, &tools.bytecode("Tokens.sol/TaxedToken")).await;
    chain.mint_of(taxed, &chain.alice, MANY).await;
    let more = vec![Link { names: ["carl", "anna"], token: taxed }];
    let mut scene = Scene::on(chain, Setup { more, ..Setup::default() }).await;
    scene.switches.owe(0, "carl", 800 * UNIT);
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene
        .until("it is told", |scene| {
            let said = scene.said(0);
            said.lines().any(|line| line.contains("ALARM") && line.contains("DepositDiffers"))
        })
        .await;
    scene
        .until("the other is paid", |scene| {
            scene.switches.book(1, "alice").credited() == 5_000 * UNIT
                && scene.switches.book(0, "bob").frozen.is_none()
        })
        .await;
    let book = scene.switches.book(0, "carl");
    assert!(book.frozen.is_some() && book.settled.is_empty(), "{book:?}");
    let carl = scene.account(0, "carl");
    assert_eq!((&carl["given"], &carl["settled"]), (&json!("0"), &json!("0")));
    assert_eq!(scene.switches.book(1, "anna").credited(), 0);
    // Not one unit has moved.
    assert_eq!(scene.balance_of(0, taxed).await, MANY);
    let of_carl: Vec<Value> =
        list(&scene.status(0)["channels"]).filter(|it| it["account"] == "carl").cloned().collect();
    assert_eq!(of_carl.len(), 1);
    assert_eq!(of_carl[0]["state"], "opening");

    // What no claim pays may be taken back.
    let (key, _) = book.frozen.unwrap();
    scene.does(0, &json!({ "cmd": "cancel", "key": key }));
    scene
        .until("it is taken back", |scene| {
            scene.switches.book(0, "carl").cancelled.contains_key(&key)
        })
        .await;
    let told = [scene.said(0), scene.said(1), scene.status(0).to_string()].concat();
    assert!(!told.contains(&KEYS[0][..16]) && !told.contains(&KEYS[1][..16]));
}
