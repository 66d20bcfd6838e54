//! The control socket: one JSON object a line, one line back. `docs/control-socket.md` is its
//! contract.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use m2_core::{AccountId, AccountView, Counters, Legs, Network, PairTotal};
use m2_published::Reading;
use serde_json::{Map, Value, json};

use super::request::{Lines, Request, refusal};
use super::wire::{Door, Listener, Wire};
use super::{EdgeCounters, Shared, money, routes};
use crate::limits::{
    ACCEPT_REST, ANSWER_PATIENCE, DRAIN_LOOK, LINE_PATIENCE, OPERATORS_MAX, READ_REST,
};
use crate::shard::message::{LinkCounters, Question, Snapshot, ToShard};

/// Serves operators until the runtime ends.
pub(super) async fn run(shared: Rc<Shared>, listener: std::os::unix::net::UnixListener) {
    let door = Door::new(Listener::Unix(listener)).expect("the kernel waits on a listener");
    let operators = Rc::new(());
    loop {
        match door.accept().await {
            Ok((socket, _)) if Rc::strong_count(&operators) <= OPERATORS_MAX => {
                let (shared, operator) = (Rc::clone(&shared), Rc::clone(&operators));
                monoio::spawn(async move {
                    // Whatever ends it, the operator sees the end of the connection.
                    let _ = serve(&shared, socket).await;
                    drop(operator);
                });
            }
            Ok(_) => shared.log(|| tracing::warn!("control connection closed: too many")),
            Err(error) => {
                shared.log(|| tracing::warn!(%error, "cannot accept a control connection"));
                monoio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve(shared: &Shared, socket: OwnedFd) -> std::io::Result<()> {
    let wire = Wire::new(socket)?;
    let mut lines = Lines::default();
    loop {
        while let Some(line) = lines.take() {
            say(&wire, &answer(shared, &line).await).await?;
        }
        let (buffer, room) = match lines.room() {
            Ok(room) => room,
            Err(sentence) => return say(&wire, &refusal(&sentence)).await,
        };
        if wire.receive(buffer, room).await? == 0 {
            return Ok(());
        }
    }
}

async fn say(wire: &Wire, answer: &Value) -> std::io::Result<()> {
    let line = format!("{answer}\n");
    monoio::time::timeout(LINE_PATIENCE, wire.send(line.as_bytes()))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

async fn answer(shared: &Shared, line: &[u8]) -> Value {
    let answered = match Request::parse(line) {
        Ok(Request::Status) => status(shared).await,
        Ok(Request::Accounts) => accounts(shared).await,
        Ok(Request::Counters) => counters(shared).await,
        Ok(Request::Drain { timeout_ms }) => drain(shared, timeout_ms).await,
        Ok(Request::Resume) => resume(shared),
        Ok(Request::ReloadRoutes) => routes::reload(shared).await,
        Ok(Request::Journal) => Ok(money::journal(shared)),
        Ok(Request::Money { account, order }) => money::money(shared, &account, order).await,
        Err(sentence) => Err(sentence),
    };
    answered.unwrap_or_else(|error| refusal(&error))
}

async fn status(shared: &Shared) -> Result<Value, String> {
    let Snapshot::Status { links, in_flight, draining } = shared.ask(Question::Status).await?
    else {
        unreachable!("an answer fits its question")
    };
    let switch = &shared.config.switch;
    let cpu = cpu_us();
    let listen: Vec<Value> = shared
        .bound
        .iter()
        .map(|(transport, address)| json!({ "transport": transport.word(), "address": address }))
        .collect();
    Ok(json!({
        "ok": true,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": millis(shared.started.elapsed()),
        "pid": std::process::id(),
        "address": switch.address.as_str(),
        "network": network_word(switch.network),
        "listen": listen,
        "shards": switch.shards,
        "draining": draining,
        "connections": links,
        "in_flight": in_flight,
        "journal": money::state(shared),
        "cpu_user_us": cpu.user,
        "cpu_system_us": cpu.system,
    }))
}

async fn accounts(shared: &Shared) -> Result<Value, String> {
    let (views, is_one_moment) = published(shared).await?;
    let accounts: Vec<Value> = views
        .iter()
        .zip(&shared.config.accounts)
        .zip((0_u32..).map(AccountId))
        .map(|((view, account), id)| {
            let asset = &shared.config.assets[usize::from(account.asset.0)];
            let mut told = account_words(view);
            told.insert("name".into(), json!(account.name));
            told.insert("shard".into(), json!(shared.config.shard_of(id).0));
            told.insert("egress_bytes".into(), json!(shared.joints.board.egress_bytes(id)));
            told.insert("configured".into(), json!(!account.dormant));
            told.insert("asset_code".into(), json!(asset.code));
            told.insert("asset_scale".into(), json!(asset.scale));
            Value::Object(told)
        })
        .collect();
    Ok(json!({ "ok": true, "one_moment": is_one_moment, "accounts": accounts }))
}

/// Every account as it is published, and whether all of them are of one moment. No shard is asked.
async fn published(shared: &Shared) -> Result<(Vec<AccountView>, bool), String> {
    let mut views = Vec::new();
    let until = Instant::now() + ANSWER_PATIENCE;
    loop {
        match shared.joints.published.read_all(&mut views) {
            Reading::OneMoment => return Ok((views, true)),
            Reading::EachItsOwn => return Ok((views, false)),
            Reading::Busy if Instant::now() >= until => {
                return Err("an account is being written all the time: try again".into());
            }
            Reading::Busy => monoio::time::sleep(READ_REST).await,
        }
    }
}

/// Amounts are strings: they do not fit the numbers of every reader of JSON.
fn account_words(view: &AccountView) -> Map<String, Value> {
    let (words, counters) = (&view.words, &view.counters);
    let pile = |pile: &Legs| json!({ "count": pile.count, "value": pile.value.to_string() });
    let told = json!({
        "connected": view.connected,
        "balance": words.balance.to_string(),
        "held_in": words.held_in.to_string(),
        "held_out": words.held_out.to_string(),
        "frozen": words.frozen.to_string(),
        "prepaid": words.prepaid.to_string(),
        "in_flight_in": view.in_flight_in,
        "in_flight_out": view.in_flight_out,
        "requests_in": counters.requests_in,
        "prepares_out": counters.prepares_out,
        "fulfills_in": counters.fulfills_in,
        "fulfills_out": counters.fulfills_out,
        "rejects_in": counters.rejects_in,
        "rejects_out": counters.rejects_out,
        "expired": counters.expired,
        "wrong_fulfillments": counters.wrong_fulfillments,
        "late_fulfills": counters.late_fulfills,
        "unmatched_answers": counters.unmatched_answers,
        "undelivered_fulfills": counters.undelivered_fulfills,
        "amount_fulfilled_in": counters.amount_fulfilled_in.to_string(),
        "amount_fulfilled_out": counters.amount_fulfilled_out.to_string(),
        "unrecorded_in": pile(&view.unrecorded_in),
        "unrecorded_out": pile(&view.unrecorded_out),
        "withheld": pile(&view.withheld),
    });
    let Value::Object(told) = told else { unreachable!("an object was written") };
    told
}

async fn counters(shared: &Shared) -> Result<Value, String> {
    let Snapshot::Counters { core, links, pairs } = shared.ask(Question::Counters).await? else {
        unreachable!("an answer fits its question")
    };
    let refusals: Vec<Value> = core
        .refusals()
        .map(
            |(name, code, count)| json!({ "name": name, "code": code.to_string(), "count": count }),
        )
        .collect();
    Ok(json!({
        "ok": true,
        "refusals": refusals,
        "packets": packet_counters(&core),
        "links": link_counters(&links),
        "connections": edge_counters(&shared.counters.borrow()),
        "settlement": shared.settlement.counters(),
        "log_lines_left_out": shared.limiter.borrow().left_out(),
        "log_evidence_lines_left_out": shared.evidence.borrow().left_out(),
        "pairs": pairs_told(shared, &pairs),
    }))
}

fn packet_counters(core: &Counters) -> Value {
    json!({
        "pairs_fulfilled": core.pairs_fulfilled,
        "records": core.records,
        "requests_stale": core.requests_stale,
        "own_fulfills": core.own_fulfills,
        "answers_unknown": core.answers_unknown,
        "answers_foreign": core.answers_foreign,
        "answers_duplicate": core.answers_duplicate,
        "late_fulfills": core.late_fulfills,
        "late_fulfills_unrecorded": core.late_fulfills_unrecorded,
        "undelivered_fulfills": core.undelivered_fulfills,
        "fulfills_graced": core.fulfills_graced,
        "fulfills_unrecorded": core.fulfills_unrecorded,
        "notices_lost": core.notices_lost,
    })
}

fn link_counters(links: &LinkCounters) -> Value {
    json!({
        "links_up": links.links_up,
        "links_replaced": links.links_replaced,
        "links_full": links.links_full,
        "links_silent": links.links_silent,
        "links_stalled": links.links_stalled,
        "bad_frames": links.bad_frames,
        "framing_lost": links.framing_lost,
        "websocket_violations": links.websocket_violations,
        "messages_unserved": links.messages_unserved,
        "transfers_refused": links.transfers_refused,
        "settlement_messages_in": links.settlement_messages_in,
        "settlement_messages_out": links.settlement_messages_out,
        "settlement_messages_refused": links.settlement_messages_refused,
        "settlement_replies_dropped": links.settlement_replies_dropped,
        "prepares_unsent": links.prepares_unsent,
        "fulfills_unsent": links.fulfills_unsent,
        "events_lost": links.events_lost,
    })
}

fn edge_counters(edge: &EdgeCounters) -> Value {
    json!({
        "accepted": edge.accepted,
        "authenticated": edge.authenticated,
        "refused": edge.refused,
        "turned_away": edge.turned_away,
        "turned_away_by_share": edge.turned_away_by_share,
        "dials": edge.dials,
        "dials_failed": edge.dials_failed,
    })
}

/// Every pair of assets that has moved anything.
fn pairs_told(shared: &Shared, pairs: &[PairTotal]) -> Vec<Value> {
    let assets = &shared.config.assets;
    let name = |index: usize| format!("{}/{}", assets[index].code, assets[index].scale);
    pairs
        .iter()
        .enumerate()
        .filter(|(_, total)| total.amount_in > 0 || total.amount_out > 0)
        .map(|(at, total)| {
            json!({
                "from": name(at / assets.len()),
                "to": name(at % assets.len()),
                "amount_in": total.amount_in.to_string(),
                "amount_out": total.amount_out.to_string(),
                "remainder": total.remainder_whole.to_string(),
                "remainder_num": total.remainder_num.to_string(),
                "remainder_den": total.remainder_den.to_string(),
                "fractions_dropped": total.fractions_dropped,
            })
        })
        .collect()
}

/// Has every new PREPARE refused, and answers when nothing is in flight.
async fn drain(shared: &Shared, timeout_ms: u64) -> Result<Value, String> {
    order(shared, true)?;
    let until = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        let Snapshot::Status { in_flight, .. } = shared.ask(Question::Status).await? else {
            unreachable!("an answer fits its question")
        };
        if in_flight == 0 {
            return Ok(json!({ "ok": true, "draining": true, "in_flight": 0 }));
        }
        if Instant::now() >= until {
            return Ok(json!({
                "ok": false,
                "error": format!("{in_flight} packets are still in flight; no new one is taken"),
                "draining": true,
                "in_flight": in_flight,
            }));
        }
        monoio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Takes new PREPAREs again, but what a signal began is not undone.
fn resume(shared: &Shared) -> Result<Value, String> {
    if shared.stopping() {
        return Err("the switch is stopping".to_owned());
    }
    order(shared, false).map(|()| json!({ "ok": true, "draining": false }))
}

fn order(shared: &Shared, draining: bool) -> Result<(), String> {
    let busy = |_| "the shard is too busy to be told: try again".to_owned();
    let mut shards = shared.joints.shards.iter();
    shards.try_for_each(|shard| shard.put(ToShard::SetDraining(draining)).map_err(busy))
}

struct Cpu {
    user: u64,
    system: u64,
}

/// What the process has used so far. The kernel tells the sum in nanoseconds and the shares in
/// ticks of 10 ms, so the sum is split by the shares.
fn cpu_us() -> Cpu {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let total = u64::try_from(spent.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(spent.tv_nsec).unwrap_or(0) / 1_000;
    let (user, system) = ticks().unwrap_or((1, 0));
    let ticks = u128::from((user + system).max(1));
    let share = u128::from(total) * u128::from(system) / ticks;
    let system = u64::try_from(share).unwrap_or(total);
    Cpu { user: total - system, system }
}

/// `utime` and `stime` of `/proc/self/stat`: the 14th and 15th field, the 2nd being a name in
/// brackets that may hold blanks.
fn ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn network_word(network: Network) -> &'static str {
    match network {
        Network::G => "g",
        Network::Test => "test",
        Network::Private => "private",
    }
}
