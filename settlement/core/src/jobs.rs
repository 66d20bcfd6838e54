//! What is to be done on a chain, found from what is kept and what the chain shows: never queued, so that
//! what a restart forgets is found again, and what a reorganisation undoes is done again.
//!
//! A job is wanted until the chain shows, in a final block, that it is done; while a transaction that is not
//! final carries it, it is not put into another.

use std::collections::BTreeSet;

use crate::chain::{Call, ChannelId, ChannelState, Claim, OnChain, Token};
use crate::event::Now;
use crate::limits::{AGREEMENT_S, AGREEMENT_S_MIN, BATCH_MAX, SETTLE_PATIENCE_S};
use crate::rows::{Agreed, Ending, Job};
use crate::settlement::{Channel, Settlement};

impl Settlement {
    /// Every job of a chain that no transaction carries.
    pub(crate) fn wanted_jobs(&self, chain: usize) -> BTreeSet<Job> {
        let mut wanted = BTreeSet::new();
        for account in
            (0..self.accounts.len()).filter(|at| self.config.accounts[*at].chain == chain)
        {
            for id in &self.accounts[account].channels {
                let channel = &self.channels[id];
                if channel.looked {
                    self.put_jobs(chain, *id, channel, &mut wanted);
                }
            }
            let token = self.config.accounts[account].token;
            let sight = self.chains[chain].tokens.get(&token);
            if sight.is_some_and(|sight| sight.owed > 0) {
                wanted.insert(Job::Collect(token));
            }
        }
        for transaction in self.transactions.values().filter(|it| it.chain == chain) {
            let is_void = transaction.row.void_from.is_some();
            let redeems = |job: &Job| matches!(job, Job::Answer(_) | Job::Redeem(_));
            for job in transaction.row.jobs.iter().filter(|job| !is_void || !redeems(job)) {
                wanted.remove(job);
            }
            // One that may end in doing nothing does not keep its claims from being redeemed: twice is once.
            if let Call::Redeem { claims } = &transaction.row.call
                && transaction.row.void_from.is_none()
            {
                claims.iter().for_each(|signed| self.leave_out(&signed.claim, &mut wanted));
            }
        }
        wanted
    }

    /// A claim that a transaction carries is not redeemed by another one; but if a higher one has come that a
    /// closing channel would lose, that cannot wait until the lower one is final.
    fn leave_out(&self, carried: &Claim, wanted: &mut BTreeSet<Job>) {
        let id = carried.channel;
        wanted.remove(&Job::Redeem(id));
        let Some(channel) = self.channels.get(&id) else { return };
        let due = channel.best().min(channel.their_deposit_latest());
        if carried.total >= due {
            wanted.remove(&Job::Answer(id));
        } else if channel.row.seen.as_ref().is_some_and(|seen| seen.state != ChannelState::Settled)
            && self.closes(channel)
        {
            wanted.insert(Job::Answer(id));
        }
    }

    /// It is closing, and claims still count.
    fn closes(&self, channel: &Channel) -> bool {
        let chain = self.config.accounts[channel.account].chain;
        let chain_s = self.chains[chain].sight.as_ref().map_or(0, |sight| sight.latest.time_s);
        let sights = [&channel.latest, &channel.row.seen];
        let mut closing =
            sights.into_iter().flatten().filter(|it| it.state == ChannelState::Closing);
        !channel.is_settled() && closing.any(|it| chain_s <= it.closes_at_s)
    }

    fn put_jobs(&self, chain: usize, id: ChannelId, channel: &Channel, wanted: &mut BTreeSet<Job>) {
        let latest_s = self.chains[chain].sight.as_ref().map_or(0, |sight| sight.latest.time_s);
        let row = &channel.row;
        let (Some(seen), Some(latest)) = (&row.seen, &channel.latest) else {
            // One that vanished with a chain's finality is opened again for the claims that were given in it.
            let is_used = row.ending.is_none() || row.given.is_some();
            let is_to_open = row.terms.is_some() && is_used;
            if row.seen.is_none() && channel.latest.is_none() && is_to_open {
                wanted.insert(self.with_allowance(channel, row.want_deposit, Job::Open(id)));
            }
            return;
        };
        let is = |state: ChannelState| seen.state == state && latest.state == state;
        let adds = row.ending.is_none() && row.agreed.is_none() && channel.agreeing.is_none();
        let deposit = seen.sides[row.ours].deposit;
        if is(ChannelState::Open) && adds && row.want_deposit > deposit {
            let rise = row.want_deposit - deposit;
            wanted.insert(self.with_allowance(channel, rise, Job::Deposit(id)));
        }
        self.put_redeeming(chain, id, channel, latest, wanted);
        if is(ChannelState::Open) && row.ending == Some(Ending::Alone) {
            wanted.insert(Job::Close(id));
        }
        // Whoever asked sends it. If it does not, we do before the agreement runs out: else a peer could hold
        // the channel for ever by asking again and again.
        let sends = |it: &&Agreed| {
            let until_s = it.agreement.valid_until_s;
            let is_late = until_s.saturating_sub(latest_s) <= AGREEMENT_S / 2;
            latest_s.saturating_add(AGREEMENT_S_MIN) <= until_s
                && (it.asked || row.ending.is_some() || is_late)
        };
        let agreed = row.agreed.as_ref().filter(|it| it.theirs.is_some()).filter(sends);
        if agreed.is_some() && latest.state != ChannelState::Settled {
            wanted.insert(Job::CloseTogether(id));
        }
        let patience_s = if row.ending.is_some() { 0 } else { SETTLE_PATIENCE_S };
        if is(ChannelState::Closing) && latest_s > latest.closes_at_s.saturating_add(patience_s) {
            wanted.insert(Job::Settle(id));
        }
    }

    fn put_redeeming(
        &self,
        chain: usize,
        id: ChannelId,
        channel: &Channel,
        latest: &OnChain,
        wanted: &mut BTreeSet<Job>,
    ) {
        let due = channel.best().min(channel.their_deposit_latest());
        let gain = due.saturating_sub(channel.their_redeemed());
        let row = &channel.row;
        let seen = row.seen.as_ref().expect("put_jobs() found it");
        let closing = [latest, seen].into_iter().find(|it| it.state == ChannelState::Closing);
        if gain == 0 || channel.is_settled() {
            return;
        }
        if let Some(closing) = closing {
            let chain_s = self.chains[chain].sight.as_ref().map_or(0, |sight| sight.latest.time_s);
            if chain_s <= closing.closes_at_s {
                wanted.insert(Job::Answer(id));
            }
            return;
        }
        let config = self.account_config(channel.account);
        if gain >= config.redeem_min || row.redeem_now || row.ending == Some(Ending::Alone) {
            wanted.insert(Job::Redeem(id));
        }
    }

    /// A deposit, or what has to come before it.
    fn with_allowance(&self, channel: &Channel, amount: u128, job: Job) -> Job {
        let config = self.account_config(channel.account);
        let sight = self.chains[config.chain].tokens.get(&config.token);
        let is_allowed = sight.is_some_and(|sight| sight.allowance >= amount);
        if is_allowed { job } else { Job::Approve(config.token) }
    }

    /// The jobs that go into the next transaction of a chain, and what it does. Claims that pay before their
    /// channels end wait for each other.
    pub(crate) fn next_batch(&mut self, now: Now, chain: usize) -> Option<(Vec<Job>, Call)> {
        let wanted = self.wanted_jobs(chain);
        let state = &mut self.chains[chain];
        state.job_rests.retain(|job, _| wanted.contains(job));
        let rests = &state.job_rests;
        let ready = |job: &Job| rests.get(job).is_none_or(|rest| rest.is_over(now));
        let ready: Vec<Job> = wanted.into_iter().filter(ready).collect();
        self.note_waiting(now, chain, &ready);
        for job in &ready {
            match job {
                Job::Answer(id) | Job::Redeem(id) => {
                    let token = self.token_of(*id);
                    let is_due =
                        matches!(job, Job::Answer(_)) || self.has_waited(now, chain, token);
                    if is_due {
                        return Some(self.redeeming(chain, token, &ready));
                    }
                }
                _ => return Some((vec![*job], self.call_of(chain, *job)?)),
            }
        }
        None
    }

    fn token_of(&self, id: ChannelId) -> Token {
        self.account_config(self.channels[&id].account).token
    }

    /// Since when claims of each token wait.
    fn note_waiting(&mut self, now: Now, chain: usize, ready: &[Job]) {
        let redeemed = ready.iter().filter_map(|job| match job {
            Job::Redeem(id) => Some(self.token_of(*id)),
            _ => None,
        });
        let tokens: BTreeSet<Token> = redeemed.collect();
        let since = &mut self.chains[chain].redeem_since;
        since.retain(|token, _| tokens.contains(token));
        for token in tokens {
            since.entry(token).or_insert(now);
        }
    }

    fn has_waited(&self, now: Now, chain: usize, token: Token) -> bool {
        let since = self.chains[chain].redeem_since.get(&token);
        since.is_some_and(|since| {
            now.0.saturating_sub(since.0) >= self.config.chains[chain].batch_ms || now < *since
        })
    }

    /// Claims of one token, the most urgent first.
    fn redeeming(&mut self, chain: usize, token: Token, ready: &[Job]) -> (Vec<Job>, Call) {
        let of_token = |job: &&Job| match job {
            Job::Answer(id) | Job::Redeem(id) => self.token_of(*id) == token,
            _ => false,
        };
        let jobs: Vec<Job> = ready.iter().filter(of_token).take(BATCH_MAX).copied().collect();
        let best = |job: &Job| match job {
            Job::Answer(id) | Job::Redeem(id) => {
                self.channels[id].row.best.clone().expect("what gains something is claimed")
            }
            _ => unreachable!("of_token() keeps none"),
        };
        let claims = jobs.iter().map(best).collect();
        self.chains[chain].redeem_since.remove(&token);
        (jobs, Call::Redeem { claims })
    }

    fn call_of(&self, chain: usize, job: Job) -> Option<Call> {
        Some(match job {
            Job::Approve(token) => Call::Approve { token },
            Job::Open(id) => {
                let row = &self.channels[&id].row;
                Call::Open { terms: row.terms.clone()?, deposit: row.want_deposit }
            }
            Job::Deposit(id) => {
                Call::Deposit { channel: id, total: self.channels[&id].row.want_deposit }
            }
            Job::Close(id) => Call::Close { channel: id },
            Job::CloseTogether(id) => {
                let row = &self.channels[&id].row;
                let agreed = row.agreed.as_ref()?;
                let (ours, theirs) = (agreed.ours.clone(), agreed.theirs.clone()?);
                let [first_signature, second_signature] =
                    if row.ours == 0 { [ours, theirs] } else { [theirs, ours] };
                let agreement = agreed.agreement;
                Call::CloseTogether { agreement, first_signature, second_signature }
            }
            Job::Settle(id) => Call::Settle { channel: id },
            Job::Collect(token) => {
                let amount = self.chains[chain].tokens.get(&token)?.owed;
                Call::Collect { token, amount }
            }
            Job::Answer(_) | Job::Redeem(_) => unreachable!("redeeming() makes one call of many"),
        })
    }
}
