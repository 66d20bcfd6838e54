//! Waiting for news of the shard, by any number of tasks of the control thread.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Tasks wait here until somebody calls [`Nudged::wake_all`]. One thread: a task that looks and then
/// waits misses nothing.
#[derive(Debug, Default)]
pub(super) struct Nudged(RefCell<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: u64,
    wakers: Vec<Waker>,
}

impl Nudged {
    /// Waits for the next news, whatever it is.
    pub(super) async fn news(&self) {
        let seen = self.0.borrow().count;
        poll_fn(|context| {
            let mut waiting = self.0.borrow_mut();
            if waiting.count != seen {
                return Poll::Ready(());
            }
            if !waiting.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until something holds, looking at every news.
    pub(super) async fn until(&self, mut holds: impl FnMut() -> bool) {
        while !holds() {
            self.news().await;
        }
    }

    pub(super) fn wake_all(&self) {
        let wakers = {
            let mut waiting = self.0.borrow_mut();
            waiting.count += 1;
            core::mem::take(&mut waiting.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}
