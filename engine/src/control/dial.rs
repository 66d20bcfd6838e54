//! Connections that we make: dialled, authenticated, given to the shard, and dialled again when
//! they are lost.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use m2_codec::url::Endpoint;
use m2_core::AccountId;

use super::Shared;
use super::handshake::{self, Refusal, Welcomed};
use super::wire::{Wire, tune_tcp};
use crate::config::Dial;
use crate::limits::{DIAL_ADDRESSES_MAX, DIAL_DELAYS_MS, GOOD_LINK};

/// Keeps an account connected until we are told to stop.
pub(super) async fn run(shared: Rc<Shared>, account: AccountId) {
    monoio::select! {
        () = keep(&shared, account) => {}
        () = shared.news.until(|| shared.stopping()) => {}
    }
}

async fn keep(shared: &Shared, account: AccountId) {
    let dial = shared.config.accounts[account.0 as usize].dial.as_ref();
    let dial = dial.expect("only accounts with an address are dialled");
    let name = shared.name(account);
    let board = &shared.joints.board;
    let limit = Duration::from_millis(u64::from(shared.config.connection.handshake_ms));
    let mut attempt = 0;
    loop {
        // An account that may also connect to us is dialled only while it has not.
        shared.news.until(|| !board.state(account).is_up()).await;
        monoio::time::sleep(Duration::from_millis(DIAL_DELAYS_MS[attempt])).await;
        let before = board.state(account);
        if before.is_up() {
            continue;
        }
        attempt = (attempt + 1).min(DIAL_DELAYS_MS.len() - 1);
        shared.count(|counters| counters.dials += 1);
        let dialled = monoio::time::timeout(limit, connect(shared, account, dial)).await;
        match dialled.unwrap_or(Err(Refusal::TooSlow)) {
            Ok((wire, welcomed)) => {
                shared.log(|| {
                    tracing::info!(account = name, to = ?dial.endpoint, "dialled and authenticated");
                });
                if shared.hand_over(welcomed.into_link(wire.into_socket())) {
                    shared.news.until(|| board.state(account) != before).await;
                    let up = Instant::now();
                    shared.news.until(|| !board.state(account).is_up()).await;
                    if up.elapsed() >= GOOD_LINK {
                        attempt = 0;
                    }
                }
            }
            Err(refusal) => {
                shared.count(|counters| counters.dials_failed += 1);
                let again_ms = DIAL_DELAYS_MS[attempt];
                shared.log(|| {
                    let to = &dial.endpoint;
                    tracing::warn!(account = name, ?to, reason = %refusal, again_ms, "cannot dial");
                });
            }
        }
    }
}

async fn connect(
    shared: &Shared,
    account: AccountId,
    dial: &Dial,
) -> Result<(Wire, Welcomed), Refusal> {
    let (wire, host) = match &dial.endpoint {
        Endpoint::Ws { host, port, path } => {
            let wire = connect_host(shared, host, *port).await?;
            (wire, Some((host_header(host, *port), path.as_str())))
        }
        Endpoint::Tcp { host, port } => (connect_host(shared, host, *port).await?, None),
        Endpoint::Unix { path } => (Wire::connect_unix(path).await?, None),
    };
    let host = host.as_ref().map(|(host, path)| (host.as_str(), *path));
    let welcomed = handshake::dial(shared, account, dial, host, &wire).await?;
    Ok((wire, welcomed))
}

/// As it stands in a URL.
fn host_header(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn connect_host(shared: &Shared, host: &str, port: u16) -> Result<Wire, Refusal> {
    let mut last = std::io::Error::other("the name has no address");
    for address in addresses(shared, host, port).await?.into_iter().take(DIAL_ADDRESSES_MAX) {
        match Wire::connect_tcp(address).await {
            Ok(wire) => {
                tune_tcp(wire.socket(), shared.config.connection.ping_ms);
                return Ok(wire);
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Asks the system for a name's addresses on a thread of its own: the call blocks.
async fn addresses(shared: &Shared, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (found, finds) = bounded(1);
    let (host, nudge) = (host.to_owned(), shared.joints.nudge.clone());
    std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Whoever asked may have given up; there is room for the one answer.
        let _ = found.try_send(addresses);
        nudge.send();
    })?;
    loop {
        if let Ok(addresses) = finds.try_recv() {
            return addresses.map_err(Refusal::Failed);
        }
        shared.news.news().await;
    }
}
