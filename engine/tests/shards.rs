//! Several shards as one switch: packets that cross, books that add up, orders that find their shard,
//! another number of shards after a restart; and one peer of sixteen that stops reading.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod support;

use std::thread;

use m2_codec::btp::{self, FrameType};
use m2_codec::ilp::{self, ErrorCode, PrepareRepr};
use serde_json::{Value, json};
use support::{
    ACCOUNTS, Got, Peer, Switch, amount_of, now_ms, pay, preimage, prepare, prepare_with, wait,
};

/// With [`ACCOUNTS`]: alice on the first shard, bob on the second, carol on the third or the first.
fn on(shards: u16) -> Switch {
    Switch::start_with(&format!("shards = {shards}"), "", ACCOUNTS)
}

/// A child in an asset, with a token of its own.
fn child(name: &str, asset: &str) -> String {
    format!(
        "[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"{asset}\"\n\
         token = \"{name}-secret\"\nbalance_max = 1000000000\npayable_max = 1000000000\n"
    )
}

#[test]
fn packets_cross_each_way_and_so_do_echoes() {
    let switch = on(2);
    let (mut alice, mut bob) = (switch.peer("ws", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 10);
    pay(&mut bob, &mut alice, "test.m2m.alice", 3);

    let echo = PrepareRepr {
        amount: 2,
        expires_at_ms: now_ms() + 10_000,
        condition: m2_core::sha256_of_32(&preimage(5)),
        destination: "test.m2m".parse().unwrap(),
        data: [&b"ECHOECHOECHOECHO\x00\x0c"[..], b"test.m2m.bob"].concat(),
    };
    alice.send_prepare(9, &echo.encode());
    let back = bob.fulfill_next(&preimage(5));
    let data = ilp::Prepare::new_checked(&back.packet[..]).unwrap().data().to_vec();
    assert_eq!(data, b"ECHOECHOECHOECHO\x01");
    let got = alice.frame();
    assert_eq!((got.request_id, got.fulfillment()), (9, preimage(5)));
    assert_eq!([balance(&switch, "alice"), balance(&switch, "bob")], [9, -9]);
}

#[test]
fn what_the_other_shard_refuses_comes_back() {
    let switch = on(2);
    let mut alice = switch.peer("ws", "alice");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    assert_eq!(alice.frame().reject_code(), ErrorCode::T01_PEER_UNREACHABLE);
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(2, &prepare("test.m2m.bob", 5, 1));
    let asked = bob.frame();
    let mut reject = Vec::new();
    ilp::put_reject(&mut reject, ErrorCode::F99_APPLICATION_ERROR, b"test.x", b"no", b"data");
    bob.send_response(asked.request_id, &reject);
    assert_eq!(alice.frame().packet, reject);
    alice.send_prepare(3, &prepare("test.m2m.bob", 5, 1));
    let mut wrong = Vec::new();
    ilp::put_fulfill(&mut wrong, &preimage(2), b"");
    let asked = bob.frame();
    bob.send_response(asked.request_id, &wrong);
    assert_eq!(alice.frame().reject_code(), ErrorCode::F05_WRONG_CONDITION);
    assert_eq!(words(&switch), words(&on(2)), "nothing is owed or held");
}

#[test]
fn all_shards_are_told_of_as_one() {
    let tables = [
        "[[assets]]\ncode = \"USD\"\nscale = 0\n[[assets]]\ncode = \"EUR\"\nscale = 0\n",
        "[[rates]]\nfrom = \"USD/0\"\nto = \"EUR/0\"\nrate = \"0.7\"\n",
        &child("alice", "USD/0"),
        &child("bob", "EUR/0"),
        &child("carol", "EUR/0"),
        &child("dave", "USD/0"),
    ];
    let switch = Switch::start_with("shards = 2", "", &tables.concat());
    let mut bob = switch.peer("tcp", "bob");
    for name in ["alice", "dave"] {
        let mut from = switch.peer("tcp", name);
        from.send_prepare(1, &prepare("test.m2m.bob", 11, 1));
        // 7.7, rounded down.
        assert_eq!(amount_of(&bob.fulfill_next(&preimage(1)).packet), 7);
        assert_eq!(from.frame().fulfillment(), preimage(1));
    }
    let counters = switch.ask(&json!({ "cmd": "counters" }));
    assert_eq!(counters["packets"]["pairs_fulfilled"], 2);
    assert_eq!(counters["links"]["links_up"], 3);
    let [pair] = &counters["pairs"].as_array().unwrap()[..] else { panic!("{counters}") };
    assert_eq!([&pair["from"], &pair["to"]], ["USD/0", "EUR/0"]);
    assert_eq!([&pair["amount_in"], &pair["amount_out"]], ["22", "14"]);
    let remainder = ["remainder", "remainder_num", "remainder_den"].map(|key| &pair[key]);
    assert_eq!(remainder, ["1", "4", "10"]);
    let accounts = switch.ask(&json!({ "cmd": "accounts" }));
    let told: Vec<_> = accounts["accounts"].as_array().unwrap().iter().collect();
    let shards: Vec<_> = told.iter().map(|it| (&it["name"], &it["shard"])).collect();
    assert_eq!(json!(shards), json!([["alice", 0], ["bob", 1], ["carol", 0], ["dave", 1]]));
    assert_eq!(told[3]["balance"], "11");
    assert_eq!(told[1]["balance"], "-14");
}

fn balance(switch: &Switch, name: &str) -> i64 {
    switch.account(name, "balance").as_str().unwrap().parse().unwrap()
}

/// Every word of every ledger.
fn words(switch: &Switch) -> Vec<Vec<Value>> {
    let accounts = switch.ask(&json!({ "cmd": "accounts" }));
    let keys = ["name", "balance", "held_in", "held_out", "frozen", "prepaid"];
    let of = |account: &Value| keys.map(|key| account[key].clone()).to_vec();
    accounts["accounts"].as_array().unwrap().iter().map(of).collect()
}

fn order(switch: &Switch, command: &str, account: &str, key: u8, amount: &str) -> Value {
    let key = format!("{key:02x}").repeat(16);
    switch.ask(&json!({ "cmd": command, "account": account, "key": key, "amount": amount }))
}

/// Goal: whatever shards wrote a journal, any others find in it what is owed. Method: packets that cross
/// and payments on two shards; ended in order, three; killed, one; killed, two again.
#[test]
fn another_number_of_shards_finds_every_word_again() {
    let mut switch = on(2);
    let mut peers = ["alice", "bob", "carol"].map(|name| switch.peer("tcp", name));
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
        let destination = ["test.m2m.alice", "test.m2m.bob", "test.m2m.carol"][to];
        let [from, to] = peers.get_disjoint_mut([from, to]).unwrap();
        for amount in 1..30 {
            pay(from, to, destination, amount);
        }
        pay(from, to, destination, 100);
    }
    assert_eq!(order(&switch, "credit", "alice", 1, "1000")["known"], false);
    assert_eq!(order(&switch, "reverse", "bob", 2, "50")["known"], false);
    let known = words(&switch);
    assert!(known.iter().any(|it| it[1] != "0") && known[0][5] != "0", "{known:?}");
    drop(peers);
    switch.signal("-TERM");
    assert_eq!(switch.wait_for_exit().code(), Some(0));
    for shards in [3, 1, 2] {
        switch.set_shards(shards);
        switch.restart();
        assert_eq!(words(&switch), known, "{shards} shards");
        assert_eq!(order(&switch, "credit", "alice", 1, "1000")["known"], true);
        switch.kill();
    }
}

#[test]
fn orders_go_to_the_shard_of_their_account_and_a_key_to_one() {
    let mut switch = on(2);
    assert_eq!(order(&switch, "credit", "alice", 1, "5")["known"], false);
    assert_eq!(order(&switch, "credit", "bob", 2, "6")["known"], false);
    for _ in 0..2 {
        // Of accounts on one shard it says so itself.
        for (key, others) in [(1, ["bob", "carol"]), (2, ["alice", "carol"])] {
            for other in others {
                let told = order(&switch, "credit", other, key, "5");
                let why = told["error"].as_str().unwrap();
                assert!(why.contains("may not stand for two things"), "{why}");
            }
        }
        assert_eq!(order(&switch, "credit", "bob", 2, "6")["known"], true);
        switch.kill_and_restart();
    }
    // What came to nothing leaves its key free.
    let key = "07".repeat(16);
    let freeze = |name| json!({ "cmd": "freeze", "account": name, "key": key, "settle_to": "0" });
    assert_eq!(switch.ask(&freeze("alice"))["amount"], Value::Null);
    assert_eq!(order(&switch, "credit", "bob", 7, "1")["known"], false);
    assert_eq!(switch.ask(&freeze("alice"))["ok"], false);
    let limits = json!({ "cmd": "limits", "account": "bob", "balance_max": 0, "payable_max": 7 });
    assert_eq!(switch.ask(&limits), json!({ "ok": true }));
    let prepaid = ["alice", "bob"].map(|name| switch.account(name, "prepaid"));
    assert_eq!(json!(prepaid), json!(["5", "7"]));
}

const PACKETS: u32 = 4_000;
const WINDOW: u32 = 100;

/// Sends so many packets, a window of them at a time; how many were fulfilled.
fn send_all(mut peer: Peer, destination: &str) -> i64 {
    let packet = prepare(destination, 1, 3);
    let (mut sent, mut paid) = (0, 0);
    for answered in 0..PACKETS {
        let mut frames = Vec::new();
        while sent < PACKETS && sent < answered + WINDOW {
            let mut frame = Vec::new();
            btp::put_ilp(&mut frame, FrameType::Message, sent, &packet);
            peer.put(&mut frames, &frame);
            sent += 1;
        }
        peer.stream.write(&frames).unwrap();
        let got = peer.frame();
        let is_paid = ilp::packet_type(&got.packet) == Some(ilp::PacketType::Fulfill);
        paid += i64::from(is_paid);
        assert!(is_paid || got.reject_code() == ErrorCode::T03_CONNECTOR_BUSY);
    }
    paid
}

/// Fulfils until its connection ends.
fn fulfill_all(mut peer: Peer) {
    let mut packet = Vec::new();
    ilp::put_fulfill(&mut packet, &preimage(3), b"");
    while let support::Next::Frame(Got { request_id, .. }) = peer.next() {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Response, request_id, &packet);
        if peer.try_send(&frame).is_err() {
            return;
        }
    }
}

/// Goal: under load, in all directions at once, no packet is lost between shards, no shard sleeps on what
/// another has sent it, and the books add up. Method: on each shard a sender and a receiver; every sender
/// pays the receiver of the next shard.
#[test]
fn shards_under_load_lose_nothing() {
    for shards in [2_u16, 3] {
        let names = |what: &str| -> Vec<String> {
            (0..shards).map(|shard| format!("{what}{shard}")).collect()
        };
        let (senders, receivers) = (names("sender"), names("receiver"));
        let tables = senders.iter().chain(&receivers).map(|name| child(name, "USD/9"));
        let tables =
            format!("[[assets]]\ncode = \"USD\"\nscale = 9\n{}", tables.collect::<String>());
        let mut switch = Switch::start_with(&format!("shards = {shards}"), "", &tables);
        let earning: Vec<_> = receivers
            .iter()
            .map(|name| switch.peer("tcp", name))
            .map(|peer| thread::spawn(|| fulfill_all(peer)))
            .collect();
        let paying: Vec<_> = (0..)
            .zip(&senders)
            .map(|(at, name)| {
                let (peer, next) = (switch.peer("tcp", name), (at + 1) % shards);
                thread::spawn(move || send_all(peer, &format!("test.m2m.receiver{next}")))
            })
            .collect();
        let paid: Vec<i64> = paying.into_iter().map(|it| it.join().unwrap()).collect();
        for (at, paid) in paid.iter().enumerate() {
            let next = (at + 1) % usize::from(shards);
            assert_eq!(balance(&switch, &senders[at]), *paid);
            assert_eq!(balance(&switch, &receivers[next]), -*paid);
            assert_eq!(switch.account(&senders[at], "held_in"), "0");
        }
        let all: i64 = paid.iter().sum();
        assert!(all > i64::from(PACKETS), "{all} fulfilled");
        let fulfilled = switch.counter("packets", "pairs_fulfilled");
        assert_eq!(i64::try_from(fulfilled).unwrap(), all);
        switch.signal("-TERM");
        assert_eq!(switch.wait_for_exit().code(), Some(0));
        for thread in earning {
            thread.join().unwrap();
        }
    }
}

/// Goal: who does not read hurts itself alone, on any number of shards. Method: one of sixteen peers reads
/// nothing, neither the PREPAREs to it nor the answers to its own; every packet of the others is fulfilled
/// meanwhile, and what waits for it stays under its cap.
#[test]
fn of_sixteen_peers_one_that_stops_reading_hurts_none_of_the_others() {
    const CAP: u64 = 2 << 20;
    const FULFILLS: u32 = 20;
    let names: Vec<String> = (0..16).map(|number| format!("peer{number}")).collect();
    let children = names.iter().map(|name| child(name, "USD/9")).collect::<String>();
    let tables = format!("{ACCOUNTS}{children}");
    for shards in [1, 2] {
        let keys = (format!("shards = {shards}"), format!("egress_bytes_max = {CAP}"));
        let switch = Switch::start_with(&keys.0, &keys.1, &tables);
        let mut alice = switch.peer("tcp", "alice");
        let mut feeder = switch.peer("tcp", "bob");
        let mut peers: Vec<Peer> = names.iter().map(|name| switch.peer("tcp", name)).collect();
        let (silent, others) = peers.split_first_mut().unwrap();
        for request_id in 0..FULFILLS {
            silent.send_prepare(request_id, &prepare("test.m2m.peer1", 1, 1));
            fulfill_long(&mut others[0]);
        }
        let waiting = || switch.account("peer0", "egress_bytes").as_u64().unwrap();
        let mut paid = 0;
        let mut asked = 0;
        while switch.refused("T02") < 20 {
            assert!(asked < 1_000, "its egress never fills");
            for _ in 0..5 {
                let packet = prepare_with("test.m2m.peer0", 1, 1, 25_000, &[0; 32_000]);
                feeder.send_prepare(asked, &packet);
                asked += 1;
            }
            for (number, peer) in (1..).zip(&mut *others) {
                pay(&mut alice, peer, &format!("test.m2m.peer{number}"), 1);
                paid += 1;
            }
            assert!(waiting() < CAP, "{} bytes", waiting());
        }
        assert!(waiting() > CAP / 4, "it fills");
        assert_eq!(balance(&switch, "alice"), paid);
        assert_eq!(switch.account("peer0", "connected"), true);
        assert_eq!(balance(&switch, "peer0"), i64::from(FULFILLS));
        wait("nothing of the others is in flight", || switch.account("alice", "in_flight_in") == 0);
    }
}

/// Fulfils what comes next, with as much data as most answers never have.
fn fulfill_long(peer: &mut Peer) {
    let asked = peer.frame();
    let mut packet = Vec::new();
    ilp::put_fulfill(&mut packet, &preimage(1), &[0; 30_000]);
    peer.send_response(asked.request_id, &packet);
}

/// The cores that a thread of a process may run on, as the kernel lists them.
fn cores_of(switch: &Switch, thread: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", switch.pid())).unwrap();
    let found = tasks.map(|it| it.unwrap().path()).find(|it| {
        std::fs::read_to_string(it.join("comm")).is_ok_and(|name| name.trim() == thread)
    });
    let status = std::fs::read_to_string(found.unwrap().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}

#[test]
fn shards_run_where_the_file_says_and_on_no_core_that_is_not_ours() {
    let ours = rustix::thread::sched_getaffinity(None).unwrap();
    let cores = (0..1024).filter(|core| ours.is_set(*core)).take(2).collect::<Vec<_>>();
    let keys = format!("shards = {}\ncores = {cores:?}", cores.len());
    let mut switch = Switch::start_with(&keys, "", ACCOUNTS);
    for (shard, core) in cores.iter().enumerate() {
        let thread = format!("shard-{shard}");
        wait("it is pinned", || cores_of(&switch, &thread) == core.to_string());
    }
    let file = switch.folder().join("switch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&keys, "shards = 1\ncores = [1023]")).unwrap();
    switch.kill();
    let (status, told) = switch.fail_to_start();
    assert_eq!(status, Some(2));
    assert!(told.contains("switch.toml:9: core 1023 is not this process's to run on"), "{told}");
}
