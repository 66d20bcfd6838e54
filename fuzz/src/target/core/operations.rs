//! From bytes to operations. Each takes as many bytes as it needs, and `None` means that they end.

use m2_codec::ilp::{ErrorCode, put_fulfill, put_prepare, put_reject};
use m2_codec::{btp, timestamp};
use m2_core::{ConnectionId, JournalState, KeyError, KeyOutcome, Request, Response, ResponseBody};

use super::edge::Asked;
use super::judge;
use super::world::{ACCOUNTS, AMOUNTS, World, condition, id};
use crate::reference::{self, Bytes};

/// One operation.
pub(super) fn operation(world: &mut World, bytes: &mut Bytes<'_>) -> Option<()> {
    let (kind, which) = (bytes.byte()?, usize::from(bytes.byte()?));
    let (account, shard) = (which % ACCOUNTS, which % world.switches.len());
    match kind % 26 {
        0..=6 => requests(world, bytes, which),
        7..=11 => responses(world, bytes, which)?,
        12 => world.carry_forwards(shard, 1 + which / 64),
        13 => world.carry_answers(shard, 1 + which / 64),
        14 => advance(world, which),
        15 => step(world, bytes.byte()?),
        16 => malformed(world, bytes, which)?,
        17 => unsent(world, which),
        18 if which >= 128 => world.link_down(account),
        18 => world.link_up(account),
        19 => world.set_full(account, which >= 128),
        20 => money(world, account, which / ACCOUNTS, bytes.byte()?),
        21 => {
            let limits = [which >> 2 & 7, which >> 5].map(|it| AMOUNTS[it * 2 + 1]);
            let now = world.now;
            // Without room for a record they stay as they are.
            let _ = world.owner(account).set_limits(now, id(account), limits[0], limits[1]);
        }
        22 => match which / 64 {
            0 | 1 => world.set_rates(shard),
            2 => world.set_routes(shard, which / 2),
            _ => world.switches[shard].set_draining(which / 2 % 2 == 0),
        },
        23 => {
            world.drain();
            judge::owed(world);
        }
        24 => world.durable(shard, which / 2 % world.switches.len(), which as u64 / 64),
        _ => world.switches[shard].set_journal(match which {
            0..128 => JournalState::Ready,
            128..240 => JournalState::Refusing,
            _ => JournalState::Failed,
        }),
    }
    Some(())
}

/// One to three PREPAREs to one shard.
fn requests(world: &mut World, bytes: &mut Bytes<'_>, which: usize) {
    let first = world.edge.asked.len();
    let shard = which % world.switches.len();
    for _ in 0..1 + which / 2 % 3 {
        let Some(&[parties, amount, time]) = bytes.take(3) else { break };
        let from = own(world, shard, usize::from(parties));
        // Mostly the newest connection; also one that is gone.
        let connection = match (parties >> 5, world.edge.live[from]) {
            (0, _) => world.connections[from][0],
            (_, Some(live)) => live,
            (_, None) => *world.connections[from].last().expect("it had one at the start"),
        };
        let number = u32::try_from(world.edge.asked.len()).expect("a few requests");
        // A peer may use an id twice.
        let request_id = if parties >> 5 == 1 { number.saturating_sub(1) } else { number };
        let packet = prepare(world, parties >> 2 & 7, amount, time);
        ask(world, connection, request_id, packet);
    }
    hand_in(world, shard, first);
}

/// An account that this shard owns.
fn own(world: &World, shard: usize, number: usize) -> usize {
    match world.switches.len() {
        1 => number % ACCOUNTS,
        _ => number % 2 * 2 + shard,
    }
}

/// A PREPARE to an account, to nobody, or to the switch; its data tells which request it is.
fn prepare(world: &World, to: u8, amount: u8, time: u8) -> Vec<u8> {
    let number = u16::try_from(world.edge.asked.len()).expect("a few requests");
    let tag = [&b"tag "[..], &number.to_be_bytes()].concat();
    let (destination, data): (&[u8], &[u8]) = match to {
        0 => (b"test.alice", &tag),
        1 => (b"test.bob.x", &tag),
        2 => (b"test.carol", &tag),
        3 => (b"test.dave.y.z", &tag),
        4 => (b"test.nobody", &tag),
        5 => (b"peer.config", &tag),
        6 => (b"test.m2m", b"ECHOECHOECHOECHO\0\x0atest.carol"),
        _ => (b"test.m2m", &tag),
    };
    let lasts_ms = [0, 900, 1_499, 1_500, 2_000, 5_000, 11_000, 60_000][usize::from(time % 8)];
    let expires_at = timestamp::write(world.now.utc_ms + lasts_ms);
    let mut out = Vec::new();
    let amount = AMOUNTS[usize::from(amount % 16)];
    put_prepare(&mut out, amount, &expires_at, &condition(time >> 3), destination, data);
    out
}

fn ask(world: &mut World, connection: ConnectionId, request_id: u32, packet: Vec<u8>) {
    let shard = world.shard_of(connection.account.0 as usize);
    world.edge.asked.push(Asked {
        connection,
        request_id,
        packet,
        rate_version: world.rate_versions[shard],
        utc_ms: world.now.utc_ms,
        answered: false,
        forwarded: false,
    });
}

/// Hands in everything that was asked from `first` on.
fn hand_in(world: &mut World, shard: usize, first: usize) {
    let asked = world.edge.asked[first..].iter();
    let packets: Vec<_> =
        asked.map(|it| (it.connection, it.request_id, it.packet.clone())).collect();
    let batch: Vec<_> = packets
        .iter()
        .map(|(connection, request_id, packet)| Request {
            connection: *connection,
            request_id: *request_id,
            packet,
        })
        .collect();
    world.switches[shard].requests(world.now, &batch, &mut world.edge);
}

/// Bytes that are no PREPARE, as a request.
fn malformed(world: &mut World, bytes: &mut Bytes<'_>, which: usize) -> Option<()> {
    let len = bytes.byte()? % 32;
    let packet = bytes.take(u64::from(len))?;
    let Some(connection) = world.edge.live[which % ACCOUNTS] else { return Some(()) };
    if reference::prepare(packet).is_some() {
        return Some(());
    }
    let first = world.edge.asked.len();
    let number = u32::try_from(first).expect("a few requests");
    ask(world, connection, number, packet.to_vec());
    hand_in(world, world.shard_of(which % ACCOUNTS), first);
    Some(())
}

/// One or two answers on connections of one shard.
fn responses(world: &mut World, bytes: &mut Bytes<'_>, which: usize) -> Option<()> {
    let mut answers = Vec::new();
    for _ in 0..1 + which % 2 {
        let (nth, how) = (bytes.byte()?, bytes.byte()?);
        let count = world.edge.left.len();
        if count == 0 {
            continue;
        }
        // Mostly the newest, where packets in flight are.
        let left = &world.edge.left[count - 1 - usize::from(nth) % count];
        let account = left.connection.account.0 as usize;
        let on = match how >> 4 {
            0 => world.edge.live[account],
            1 => world.edge.live[(account + 1) % ACCOUNTS],
            2 => world.connections[account].first().copied(),
            _ => Some(left.connection),
        };
        let request_id =
            if how >> 4 == 3 { left.request_id ^ u32::from(nth) } else { left.request_id };
        answers.extend(on.map(|on| (on, request_id, how % 16, left.preimage)));
    }
    let Some(first) = answers.first() else { return Some(()) };
    let shard = world.shard_of(first.0.account.0 as usize);
    answers.retain(|answer| world.shard_of(answer.0.account.0 as usize) == shard);
    let bodies: Vec<_> = answers.iter().map(|answer| body(answer.2, answer.3)).collect();
    let batch: Vec<_> = answers
        .iter()
        .zip(&bodies)
        .map(|(&(connection, request_id, how, _), body)| Response {
            connection,
            request_id,
            body: match how {
                12 => ResponseBody::Empty,
                13 => ResponseBody::ErrorTemporary,
                14 => ResponseBody::ErrorOther,
                _ => ResponseBody::Packet(body),
            },
        })
        .collect();
    world.switches[shard].responses(world.now, &batch, &mut world.edge);
    Some(())
}

/// Right fulfillments most of all; wrong ones, REJECTs, and what is neither.
fn body(how: u8, preimage: [u8; 32]) -> Vec<u8> {
    let mut out = Vec::new();
    match how {
        0..=6 => put_fulfill(&mut out, &preimage, b"thanks"),
        7 => put_fulfill(&mut out, &[0xff; 32], b""),
        8 | 9 => put_reject(&mut out, ErrorCode::F99_APPLICATION_ERROR, b"", b"no", b"\x01"),
        10 => out.extend_from_slice(&[13, 5]),
        11 => {
            put_fulfill(&mut out, &preimage, b"");
            btp::set_request_id(&mut out, 0);
        }
        _ => {}
    }
    out
}

fn advance(world: &mut World, which: usize) {
    world.advance_ms([1, 400, 1_000, 3_000, 9_000, 10_001, 20_000, 60_001][which % 8]);
    if which & 8 != 0 {
        (0..world.switches.len()).for_each(|shard| world.tick(shard));
    }
}

/// The wall clock steps; the other does not.
fn step(world: &mut World, by: u8) {
    let ms = [1, 700, 3_600_000, 5_000][usize::from(by % 4)];
    world.now.utc_ms = if by & 4 == 0 { world.now.utc_ms + ms } else { world.now.utc_ms - ms };
}

fn unsent(world: &mut World, which: usize) {
    let count = world.edge.left.len();
    if count == 0 {
        return;
    }
    let left = &world.edge.left[count - 1 - which % count];
    let (connection, request_id) = (left.connection, left.request_id);
    let shard = world.shard_of(connection.account.0 as usize);
    world.switches[shard].unsent(world.now, connection, request_id, &mut world.edge);
}

/// Money outside of the packet path. Where no record is free, nothing changes.
fn money(world: &mut World, account: usize, kind: usize, byte: u8) {
    let amount = AMOUNTS[usize::from(byte % 16)];
    // Mostly a new key; the last one again changes nothing, or is refused.
    let key = if byte & 0x50 == 0x50 { world.last_key() } else { world.new_key() };
    let now = world.now;
    match kind % 5 {
        0 => {
            if world.owner(account).credit(now, id(account), key, amount) == Ok(KeyOutcome::New) {
                world.owed[account] -= i128::from(amount);
            }
        }
        1 => {
            if world.owner(account).reverse(now, id(account), key, amount) == Ok(KeyOutcome::New) {
                world.owed[account] += i128::from(amount);
            }
        }
        2 => {
            let key = world.new_key();
            let to = u64::from(byte / 32);
            if let Ok(Some(amount)) = world.owner(account).freeze(now, id(account), key, to + 1, to)
            {
                let amount = i128::try_from(amount).expect("a sum of u64");
                world.frozen.push((key, account, amount));
            }
        }
        _ => end_frozen(world, kind % 5 == 3),
    }
}

/// The last amount that was frozen is paid, or cannot be.
fn end_frozen(world: &mut World, is_settled: bool) {
    let Some(&(key, account, amount)) = world.frozen.last() else { return };
    let now = world.now;
    let switch = world.owner(account);
    let ended = if is_settled { switch.settled(now, key) } else { switch.cancelled(now, key) };
    match ended {
        Err(error) => assert_eq!(error, KeyError::NoRecord, "the key of a frozen amount is known"),
        Ok(outcome) => {
            assert_eq!(outcome, KeyOutcome::New, "a frozen amount ends once");
            world.frozen.pop();
            world.owed[account] += if is_settled { amount } else { 0 };
        }
    }
}
