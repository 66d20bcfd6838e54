//! What is to be paid to accounts that have come to their thresholds: frozen once a pass, and told to the
//! control thread with how every frozen amount has ended.
//!
//! Invariant: what has become of a frozen amount reaches the control thread, in the order of decisions,
//! however full the queue was meanwhile.

use crossbeam_channel::TrySendError;
use m2_core::Now;

use super::ending::Stage;
use super::message::Event;
use super::run::Shard;
use crate::assemble::random_key;

impl Shard {
    /// Freezes what is due. Where there is no room for it now, the next pass tries again.
    pub(super) fn freeze_due(&mut self, now: Now) {
        if self.switch.has_due() && self.stage < Stage::Silent {
            self.switch.freeze_due(now, random_key);
        }
    }

    /// Tells the control thread what it must not miss, if need be later.
    pub(super) fn tell_news(&mut self) {
        let Self { switch, links, joints, .. } = self;
        let mut keys = Vec::new();
        switch.drain_key_news(|news| keys.push(news));
        if !keys.is_empty() {
            links.news.push_back(Event::Keys(keys));
        }
        let mut is_told = false;
        while let Some(event) = links.news.pop_front() {
            match joints.events.try_send(event) {
                Ok(()) => is_told = true,
                Err(TrySendError::Full(event)) => {
                    links.news.push_front(event);
                    break;
                }
                // The control thread lives as long as any shard, and tells nobody any more.
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        if is_told {
            joints.nudge.send();
        }
    }

    /// Whether something waits here for which nobody wakes us.
    pub(super) fn has_left_over(&self) -> bool {
        self.switch.has_due() || !self.links.news.is_empty()
    }
}
