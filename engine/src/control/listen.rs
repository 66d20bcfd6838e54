//! Accepting connections, and what happens to one until it is a link or is gone.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::Shared;
use super::handshake::{self, Refusal};
use super::places::{Full, Source};
use super::wire::{Door, Listener, Origin, Wire, tune_tcp};
use crate::config::Transport;
use crate::limits::{ACCEPT_REST, REFUSED_PATIENCE};

/// Accepts until we are told to stop.
pub(super) async fn run(
    shared: Rc<Shared>,
    transport: Transport,
    address: String,
    listener: Listener,
) {
    let door = Door::new(listener).expect("the kernel waits on a listener");
    let address: Rc<str> = address.into();
    loop {
        let accepted = monoio::select! {
            accepted = door.accept() => accepted,
            () = shared.news.until(|| shared.stopping()) => return,
        };
        match accepted {
            Ok((socket, from)) => take(&shared, transport, &address, socket, from),
            Err(error) => {
                shared.log(|| tracing::warn!(listener = &*address, %error, "cannot accept"));
                monoio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn take(
    shared: &Rc<Shared>,
    transport: Transport,
    address: &Rc<str>,
    socket: OwnedFd,
    from: Origin,
) {
    shared.count(|counters| counters.accepted += 1);
    let source = from.ip.and_then(Source::of);
    let peer = from.text;
    let taken = shared.unauthenticated.borrow_mut().take(source);
    if let Err(full) = taken {
        let reason = match full {
            Full::All => "unauthenticated_max are waiting",
            Full::Share => "its address has its share of unauthenticated_max",
        };
        shared.count(|counters| match full {
            Full::All => counters.turned_away += 1,
            Full::Share => counters.turned_away_by_share += 1,
        });
        shared.log(|| {
            let listener = &**address;
            tracing::warn!(peer, listener, reason, "connection closed");
        });
        return;
    }
    let (shared, address) = (Rc::clone(shared), Rc::clone(address));
    monoio::spawn(async move {
        welcome(&shared, transport, &address, socket, peer).await;
        shared.unauthenticated.borrow_mut().give_back(source);
    });
}

async fn welcome(
    shared: &Shared,
    transport: Transport,
    listener: &str,
    socket: OwnedFd,
    peer: String,
) {
    if transport != Transport::Unix {
        tune_tcp(&socket, shared.config.connection.ping_ms);
    }
    let Ok(wire) = Wire::new(socket) else { return };
    let limit = Duration::from_millis(u64::from(shared.config.connection.handshake_ms));
    let shaken = monoio::time::timeout(limit, handshake::accept(shared, transport, &wire)).await;
    let refusal = match shaken {
        Ok(Ok(welcomed)) => {
            shared.count(|counters| counters.authenticated += 1);
            let account = shared.name(welcomed.account);
            shared.log(|| tracing::info!(account, peer, listener, "authenticated"));
            shared.hand_over(welcomed.into_link(wire.into_socket()));
            return;
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::TooSlow,
    };
    shared.count(|counters| counters.refused += 1);
    shared.log(|| tracing::warn!(peer, listener, reason = %refusal, "connection refused"));
    wire.end(REFUSED_PATIENCE).await;
}
