//! The connection of a settlement process, as the tasks of the control thread share it.
//!
//! Invariant: what is told leaves in its order and whole, or the connection ends: one that reads too
//! slowly is ended, so that what waits for it is bounded.

use std::cell::{Cell, RefCell};

use rustix::net::Shutdown;
use serde_json::Value;

use super::super::nudged::Nudged;
use super::super::wire::Wire;
use crate::limits::{SETTLEMENT_LAG_MAX, SETTLEMENT_ORDERS_MAX};

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) wire: Wire,
    outbox: RefCell<Vec<u8>>,
    /// Bytes that are with the kernel in part.
    sending_len: Cell<usize>,
    /// Most bytes that wait: what it is told at first, and [`SETTLEMENT_LAG_MAX`].
    len_max: usize,
    ended: Cell<bool>,
    /// Orders without an answer.
    orders: Cell<usize>,
    news: Nudged,
}

impl Client {
    /// A connection that is told these events first, however many.
    pub(super) fn new(wire: Wire, events: &[Value]) -> Self {
        let mut outbox = Vec::new();
        events.iter().for_each(|event| put_line(&mut outbox, event));
        Self {
            wire,
            len_max: outbox.len() + SETTLEMENT_LAG_MAX,
            outbox: RefCell::new(outbox),
            sending_len: Cell::new(0),
            ended: Cell::new(false),
            orders: Cell::new(0),
            news: Nudged::default(),
        }
    }

    /// Tells an event. `false` if that has ended the connection, as too much waits already.
    #[must_use]
    pub(super) fn tell(&self, event: &Value) -> bool {
        if self.ended.get() {
            return true;
        }
        put_line(&mut self.outbox.borrow_mut(), event);
        self.news.wake_all();
        let is_in_time = self.outbox.borrow().len() + self.sending_len.get() <= self.len_max;
        if !is_in_time {
            self.end();
        }
        is_in_time
    }

    /// Sends what it is told until it ends.
    pub(super) async fn write(&self) {
        loop {
            self.news.until(|| self.ended.get() || !self.outbox.borrow().is_empty()).await;
            if self.ended.get() {
                return;
            }
            let bytes = self.outbox.take();
            self.sending_len.set(bytes.len());
            if self.wire.send(&bytes).await.is_err() {
                return self.end();
            }
            self.sending_len.set(0);
        }
    }

    /// Ends both sides; whoever reads from it sees the end.
    pub(super) fn end(&self) {
        if !self.ended.replace(true) {
            // It fails only if the socket is already what this makes it.
            let _ = rustix::net::shutdown(self.wire.socket(), Shutdown::Both);
            self.news.wake_all();
        }
    }

    /// Waits until one more order may be worked on. `false` once it has ended.
    pub(super) async fn may_order(&self) -> bool {
        let may = || self.ended.get() || self.orders.get() < SETTLEMENT_ORDERS_MAX;
        self.news.until(may).await;
        !self.ended.get()
    }

    pub(super) fn order_begins(&self) {
        self.orders.set(self.orders.get() + 1);
    }

    pub(super) fn order_ends(&self) {
        self.orders.set(self.orders.get() - 1);
        self.news.wake_all();
    }
}

fn put_line(outbox: &mut Vec<u8>, event: &Value) {
    serde_json::to_writer(&mut *outbox, event).expect("a value is written to memory");
    outbox.push(b'\n');
}
