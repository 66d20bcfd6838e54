//! Routes replaced while packets flow.
//!
//! ```text
//!   control             routes (a thread that lives for one load)          each shard
//!   order ------------> reads, checks, builds
//!                       Routes -------------------------------------------> swaps
//!                       frees what was before <---------------------------- the routes before
//!   operator told <---- what it came to
//! ```
//!
//! A table of a million routes is built in about a second, and freed in some ten milliseconds: neither
//! is for the shard, nor for the control thread. The shard swaps one pointer for another.
//!
//! Invariant: where anything is wrong nothing has changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{TryRecvError, bounded};
use m2_core::Routes;
use serde_json::{Value, json};

use super::Shared;
use crate::config::Config;
use crate::shard::message::{Mailbox, ToShard};
use crate::shard::wake::wake;

/// What a load came to.
#[derive(Debug)]
struct Loaded {
    count: usize,
    bytes: usize,
    /// Reading, checking and building.
    read: Duration,
    /// From then until the shard had taken them.
    taken: Duration,
}

const STOPPING: &str = "the switch is stopping";

/// Has the route file read, and answers when packets go by it.
pub(super) async fn reload(shared: &Shared) -> Result<Value, String> {
    if shared.config.routes.file.is_none() {
        let fix = "add [routes] with file = \"routes.txt\" to it, and start the switch anew";
        return Err(format!("the configuration has no route file: {fix}"));
    }
    if shared.loads_routes.replace(true) {
        return Err("the route file is being read already: ask again once that is answered".into());
    }
    let loaded = load(shared).await;
    shared.loads_routes.set(false);
    let Loaded { count, bytes, read, taken } = loaded?;
    tracing::info!(routes = count, bytes, read_ms = read.as_millis(), "routes replaced");
    Ok(json!({
        "ok": true,
        "routes": count,
        "bytes": bytes,
        "read_us": micros(read),
        "taken_us": micros(taken),
    }))
}

/// On a thread of its own, which may take as long as the disk does.
async fn load(shared: &Shared) -> Result<Loaded, String> {
    let (told, loaded) = bounded(1);
    let config = Arc::clone(&shared.config);
    let shards = shared.joints.shards.clone();
    let nudge = shared.joints.nudge.clone();
    let spawned = std::thread::Builder::new().name("routes".into()).spawn(move || {
        // There is room for the one answer.
        let _ = told.try_send(replace(&config, &shards));
        nudge.send();
    });
    spawned.map_err(|error| format!("there is no thread to read the route file: {error}"))?;
    loop {
        match loaded.try_recv() {
            Ok(loaded) => return loaded,
            Err(TryRecvError::Empty) => shared.news.news().await,
            Err(TryRecvError::Disconnected) => {
                unreachable!("a thread that panics ends the process")
            }
        }
    }
}

/// Builds the routes, hands them over, and frees those before them.
fn replace(config: &Config, shards: &[Mailbox]) -> Result<Loaded, String> {
    let began = Instant::now();
    let routes = crate::routes::load(config).map_err(|problems| problems.to_string())?;
    let (count, bytes, read) = (routes.count(), routes.bytes(), began.elapsed());
    let before = hand_over(&Arc::new(routes), shards).ok_or(STOPPING)?;
    let taken = began.elapsed() - read;
    drop(before);
    Ok(Loaded { count, bytes, read, taken })
}

/// Gives every shard the new routes and waits for those that it had, however long: were nobody there to
/// take them, a shard would have to free them. `None` if a shard has ended.
fn hand_over(routes: &Arc<Routes>, shards: &[Mailbox]) -> Option<Vec<Arc<Routes>>> {
    let mut waiting = Vec::with_capacity(shards.len());
    for shard in shards {
        let (before, given_back) = bounded(1);
        shard.to_shard.send(ToShard::Routes { routes: Arc::clone(routes), before }).ok()?;
        wake(&shard.wake);
        waiting.push(given_back);
    }
    waiting.into_iter().map(|given_back| given_back.recv().ok()).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
