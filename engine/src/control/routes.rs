//! Routes replaced while packets flow.
//!
//! ```text
//!   control             routes (a thread that lives for one load)          shard
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

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TryRecvError, bounded};
use m2_core::Routes;
use serde_json::{Value, json};

use super::Shared;
use crate::config::Config;
use crate::shard::message::ToShard;
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
    let (to_shard, shard_wake) = (shared.joints.to_shard.clone(), shared.joints.shard_wake.clone());
    let nudge = shared.joints.nudge.clone();
    let spawned = std::thread::Builder::new().name("routes".into()).spawn(move || {
        // There is room for the one answer.
        let _ = told.try_send(replace(&config, &to_shard, &shard_wake));
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
fn replace(
    config: &Config,
    to_shard: &Sender<ToShard>,
    shard_wake: &OwnedFd,
) -> Result<Loaded, String> {
    let began = Instant::now();
    let routes = crate::routes::load(config).map_err(|problems| problems.to_string())?;
    let (count, bytes, read) = (routes.count(), routes.bytes(), began.elapsed());
    let before = hand_over(Arc::new(routes), to_shard, shard_wake).ok_or(STOPPING)?;
    let taken = began.elapsed() - read;
    drop(before);
    Ok(Loaded { count, bytes, read, taken })
}

/// Gives the shard new routes and waits for those that it had, however long: were nobody there to
/// take them, the shard would have to free them. `None` if the shard has ended.
fn hand_over(
    routes: Arc<Routes>,
    to_shard: &Sender<ToShard>,
    shard_wake: &OwnedFd,
) -> Option<Arc<Routes>> {
    let (before, given_back) = bounded(1);
    to_shard.send(ToShard::Routes { routes, before }).ok()?;
    wake(shard_wake);
    given_back.recv().ok()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
