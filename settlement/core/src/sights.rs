//! What a chain shows, taken in.
//!
//! Of what is final everything is believed, and kept; of what is latest only what makes us more careful: a
//! close that may vanish again is answered, a deposit that may is not credited.

use crate::chain::{ChannelId, ChannelSight, ChannelState, LookError, OnChain, Question, Sight};
use crate::event::{Effect, Notice, Now};
use crate::limits::NONCES_AHEAD_MAX;
use crate::rows::{ChannelRow, Table};
use crate::settlement::{Channel, Settlement};
use crate::wire::Reason;

impl Settlement {
    /// A chain was looked at.
    pub(crate) fn take_seen(
        &mut self,
        now: Now,
        chain: usize,
        sight: Result<Box<(Question, Sight)>, LookError>,
    ) {
        self.touch_chain(chain);
        let look_ms = self.config.chains[chain].look_ms;
        let state = &mut self.chains[chain];
        state.looking = false;
        let before = state.sight.as_ref().map_or(0, |before| before.last_final.number);
        let floor = state.costs.nonce_floor;
        let sight = sight.and_then(|seen| {
            let Sight { last_final, nonce_final, nonce_latest, .. } = seen.1;
            // A node that is behind shows what was; one whose chain has lost final blocks catches up first.
            if last_final.number < before {
                let text = "its final block is older than the one before";
                return Err(LookError::Nonsense(text.into()));
            }
            if nonce_latest > nonce_final.max(floor).saturating_add(NONCES_AHEAD_MAX) {
                return Err(LookError::Nonsense("our nonce is far beyond the final one".into()));
            }
            Ok(seen)
        });
        let (question, sight) = match sight {
            Ok(seen) => *seen,
            Err(error) => {
                self.counters.looks_failed += 1;
                state.look_rest.fail_urgent(now, &mut self.jitter);
                let text = error.to_string();
                if state.look_error.replace(text.clone()).as_ref() != Some(&text) {
                    let text = format!("{}: {text}", self.chains[chain].name);
                    match error {
                        LookError::WrongChain(_) => self.alarm(None, text),
                        _ => self.warn(None, text),
                    }
                }
                return;
            }
        };
        state.look_at = Now(now.0 + look_ms);
        state.look_rest = crate::rest::Rest::default();
        state.look_error = None;
        state.looked_at = Some(now);
        // Two nodes in turn that both stand still show a newer block than the last one for ever. What is final
        // begins anew, so that a made-up height blinds us no longer than until then.
        if sight.latest.number > state.highest || sight.last_final.number > before {
            state.highest = sight.latest.number;
            state.progressed_at = Some(now);
        }
        state.tokens = sight.tokens.iter().copied().collect();
        for (id, seen) in &sight.channels {
            self.take_channel(chain, *id, sight.last_final.number, seen);
        }
        self.take_transactions(now, chain, &question, &sight);
        self.chains[chain].sight =
            Some(Sight { channels: Vec::new(), transactions: Vec::new(), ..sight });
    }

    fn take_channel(&mut self, chain: usize, id: ChannelId, final_at: u64, seen: &ChannelSight) {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| !channel.row.over) else {
            return self.take_candidate(chain, id, final_at, seen);
        };
        if final_at < channel.row.seen_at {
            return;
        }
        let account = channel.account;
        if self.config.accounts[account].chain != chain {
            return;
        }
        let config = &self.config.accounts[account];
        let parties = channel.parties(self.config.chains[chain].us, config.peer);
        let is_ours = |it: &OnChain| it.parties == parties && it.token == config.token;
        if !seen.latest.iter().chain(&seen.last_final).all(is_ours) {
            let text =
                format!("the chain shows channel {id} with other parties: it is not believed");
            return self.alarm(Some(account), text);
        }
        let closing = |it: &Option<OnChain>| {
            it.as_ref().filter(|it| it.state == ChannelState::Closing).map(|it| it.closes_at_s)
        };
        let (before, after) = (closing(&channel.latest), closing(&seen.latest));
        channel.latest.clone_from(&seen.latest);
        channel.looked = true;
        let changed = channel.row.seen != seen.last_final;
        if changed {
            channel.row.seen.clone_from(&seen.last_final);
            channel.row.seen_at = final_at;
        }
        if let (None, Some(closes_at_s)) = (before, after) {
            self.does(Effect::Tell(Notice::Closing { channel: id, closes_at_s }));
        }
        if changed {
            self.change(Table::Channels, id);
            self.end_channel(account, id);
        }
    }

    /// A channel that is settled for good is counted in the row of its account, once.
    fn end_channel(&mut self, account: usize, id: ChannelId) {
        let channel = self.channels.get_mut(&id).expect("it was just looked at");
        let is_settled =
            channel.row.seen.as_ref().is_some_and(|seen| seen.state == ChannelState::Settled);
        if !is_settled {
            return;
        }
        let (redeemed, best) = (channel.their_redeemed(), channel.best());
        let lacks = channel.lacks_claims();
        channel.row.credited = channel.row.credited.max(redeemed);
        self.count_over(account, id);
        if lacks {
            let what = format!(
                "channel {id} is over, and the chain has paid more of ours in it than we gave"
            );
            self.fall_behind(account, &what);
        }
        if best > redeemed {
            let text = format!(
                "channel {id} is over, and of a claim of {best} only {redeemed} was redeemed: the \
                 rest is lost to us"
            );
            self.alarm(Some(account), text);
        }
    }

    /// A channel that a peer's claim has named.
    fn take_candidate(&mut self, chain: usize, id: ChannelId, final_at: u64, seen: &ChannelSight) {
        let Some(on_chain) = &seen.last_final else { return };
        for account in 0..self.accounts.len() {
            let candidates = &self.accounts[account].candidates;
            let is_named = candidates.iter().any(|(candidate, _)| *candidate == id);
            // One that was adopted, by this account or by another, is nobody else's.
            let is_free = !self.channels.contains_key(&id);
            if !is_named || !is_free || self.config.accounts[account].chain != chain {
                continue;
            }
            match self.judge_candidate(account, on_chain) {
                Ok(ours) => self.adopt(account, id, ours, final_at, seen),
                Err(reason) if reason.again() => {}
                Err(reason) => {
                    let candidates = self.accounts[account].candidates.iter_mut();
                    for (_, why) in candidates.filter(|(candidate, _)| *candidate == id) {
                        *why = Some(reason);
                    }
                }
            }
        }
    }

    /// A channel that a peer has opened is one of its account.
    fn adopt(
        &mut self,
        account: usize,
        id: ChannelId,
        ours: usize,
        final_at: u64,
        seen: &ChannelSight,
    ) {
        self.accounts[account].candidates.retain(|(candidate, _)| *candidate != id);
        let name = self.config.accounts[account].name.clone();
        let seen_at = final_at;
        let row =
            ChannelRow { seen: seen.last_final.clone(), seen_at, ..ChannelRow::new(name, ours) };
        let mut channel = Channel::new(row, account);
        channel.latest.clone_from(&seen.latest);
        channel.looked = true;
        self.channels.insert(id, channel);
        self.accounts[account].channels.insert(id);
        self.change(Table::Channels, id);
    }

    /// Which party of it we are, if it will do.
    fn judge_candidate(&self, account: usize, on_chain: &OnChain) -> Result<usize, Reason> {
        let config = self.account_config(account);
        let us = self.config.chains[config.chain].us;
        let ours = match on_chain.parties {
            [first, second] if (first, second) == (us, config.peer) => 0,
            [first, second] if (first, second) == (config.peer, us) => 1,
            _ => return Err(Reason::NotOurs),
        };
        if on_chain.token != config.token {
            return Err(Reason::WrongToken);
        }
        if on_chain.state != ChannelState::Open {
            return Err(Reason::Ended);
        }
        if on_chain.window_s < config.window_s_min {
            return Err(Reason::ShortWindow);
        }
        if self.accounts[account].channels.len() >= crate::limits::CHANNELS_MAX {
            return Err(Reason::Busy);
        }
        Ok(ours)
    }
}

impl Channel {
    fn parties(
        &self,
        us: crate::chain::Party,
        peer: crate::chain::Party,
    ) -> [crate::chain::Party; 2] {
        if self.row.ours == 0 { [us, peer] } else { [peer, us] }
    }
}
