//! What we are paid: claims of peers, and what of them is credited.
//!
//! A claim is worth what the chain will pay for it. It is taken up to what the peer has deposited, and
//! credited up to what of that is final: the rest of the same claim is credited when it becomes so. Each
//! credit has a key of its own and is told to the switch until that has recorded it.
//!
//! Invariant: what was credited is what claims and final deposits come to, and each unit of it was told to
//! the switch under one key. A deposit that was final and is gone is taken back, whatever the limits.

use crate::chain::{ChannelId, ChannelState, Key, Party, SignedClaim};
use crate::event::{Effect, Notice, Now};
use crate::limits::{CANDIDATES_MAX, CREDIT_MS, CREDITS_MAX, CREDITS_UNDER_WAY_MAX};
use crate::rows::{Job, Order, Table};
use crate::settlement::{Channel, Settlement};
use crate::wire::{Message, Place, Reason};

/// What was judged of a claim.
enum Judged {
    /// It is the highest.
    Higher,
    /// It is held already.
    Held,
}

impl Settlement {
    /// A peer says something, and waits for an answer.
    pub(crate) fn take_said(
        &mut self,
        now: Now,
        name: &str,
        token: u64,
        message: Result<Message, String>,
        signer: Option<Party>,
    ) {
        let Some(account) = self.account(name) else {
            self.counters.refuse(Reason::NoAccount);
            let text = "this account does not settle".to_owned();
            let message = Message::Refused { reason: Reason::NoAccount, again: false, text };
            return self.does(Effect::Answer { account: name.into(), token, message });
        };
        self.touch(account);
        match message {
            Ok(Message::Claim { place, signed }) => {
                self.take_claim(now, account, token, &place, signed, signer);
            }
            Ok(Message::Close { place, agreement, signature }) => {
                let checked = self.check_place(account, &place);
                match checked.and_then(|()| self.judge_close(now, account, &agreement, signer)) {
                    Ok(()) => self.agree(account, token, agreement, signature),
                    Err((reason, text)) => self.refuse(account, token, reason, text),
                }
            }
            Ok(_) => {
                let text = "this is an answer, and nothing was asked".to_owned();
                self.refuse(account, token, Reason::Malformed, text);
            }
            Err(text) => self.refuse(account, token, Reason::Malformed, text),
        }
    }

    fn take_claim(
        &mut self,
        now: Now,
        account: usize,
        token: u64,
        place: &Place,
        signed: SignedClaim,
        signer: Option<Party>,
    ) {
        let (id, total) = (signed.claim.channel, signed.claim.total);
        let judged = self
            .check_place(account, place)
            .and_then(|()| self.judge_claim(now, account, &signed, signer));
        match judged {
            Ok(Judged::Higher) => {
                let channel = self.channels.get_mut(&id).expect("judge_claim() found it");
                channel.row.best = Some(signed);
                self.counters.claims_taken += 1;
                self.change(Table::Channels, id);
                self.answer(account, token, Message::Taken { channel: id, total });
            }
            Ok(Judged::Held) => {
                self.counters.claims_repeated += 1;
                self.answer(account, token, Message::Taken { channel: id, total });
            }
            Err((reason, text)) => self.refuse(account, token, reason, text),
        }
    }

    pub(crate) fn refuse(&mut self, account: usize, token: u64, reason: Reason, text: String) {
        self.counters.refuse(reason);
        self.warn(Some(account), format!("refused ({}): {text}", reason.word()));
        self.answer(account, token, Message::Refused { reason, again: reason.again(), text });
    }

    fn check_place(&self, account: usize, place: &Place) -> Result<(), (Reason, String)> {
        let config = self.account_config(account);
        let ours = &self.config.chains[config.chain].place;
        if place.chain != ours.chain {
            let text = format!("this account settles on {}, not on {}", ours.chain, place.chain);
            return Err((Reason::WrongChain, text));
        }
        if place.contract != ours.contract {
            let contract = crate::chain::to_hex(&ours.contract);
            return Err((Reason::WrongContract, format!("its channels are in 0x{contract}")));
        }
        Ok(())
    }

    /// Whether a claim counts. Every refusal comes before anything is written.
    fn judge_claim(
        &mut self,
        now: Now,
        account: usize,
        signed: &SignedClaim,
        signer: Option<Party>,
    ) -> Result<Judged, (Reason, String)> {
        let (id, total) = (signed.claim.channel, signed.claim.total);
        let config = self.account_config(account);
        if signer != Some(config.peer) {
            let text = format!("the claim is not signed by {}", config.peer.address());
            return Err((Reason::Forged, text));
        }
        let Some(channel) = self.channels.get(&id).filter(|it| it.account == account) else {
            return Err(self.judge_unknown(account, id));
        };
        let best = channel.best();
        if total == best && best > 0 {
            return Ok(Judged::Held);
        }
        if total <= best {
            let text = format!("a claim of {best} is held, and this one says {total}");
            return Err((Reason::Lower, text));
        }
        if channel.row.over || channel.is_settled() {
            return Err((Reason::Ended, "the channel is over".into()));
        }
        if channel.row.agreed.is_some() || channel.agreeing.is_some() {
            let text = "an agreement on its end has to run out first".to_owned();
            return Err((Reason::Agreed, text));
        }
        self.check_sight(now, account, channel)?;
        let deposit = channel.their_deposit_latest();
        if total > deposit {
            let text = format!("{total} is claimed and {deposit} deposited");
            return Err((Reason::OverDeposit, text));
        }
        if !self.is_redeemable(now, account, channel) {
            let text = "the channel is closing, and the claim could not be redeemed in time";
            return Err((Reason::Closing, text.into()));
        }
        if channel.is_closing() && self.is_carried(id) {
            let text = "the channel is closing, and a claim of it is being redeemed already";
            return Err((Reason::Closing, text.into()));
        }
        self.check_amount(account, total - best)?;
        Ok(Judged::Higher)
    }

    /// A peer names a channel that is not known: it is looked for.
    pub(crate) fn judge_unknown(&mut self, account: usize, id: ChannelId) -> (Reason, String) {
        if self.channels.contains_key(&id) {
            return (Reason::NotOurs, "the channel is another account's".into());
        }
        let candidates = &mut self.accounts[account].candidates;
        let known = candidates.iter().find(|(candidate, _)| *candidate == id);
        if let Some((_, Some(reason))) = known {
            return (*reason, "the channel will not do".into());
        }
        if known.is_none() {
            if candidates.len() >= CANDIDATES_MAX {
                candidates.pop_front();
            }
            candidates.push_back((id, None));
        }
        (Reason::UnknownChannel, "the channel is not final on the chain yet: say it again".into())
    }

    /// A close that we have missed must leave time to answer it.
    pub(crate) fn check_sight(
        &self,
        now: Now,
        account: usize,
        channel: &Channel,
    ) -> Result<(), (Reason, String)> {
        let chain = &self.chains[self.config.accounts[account].chain];
        let window_s = channel.row.seen.as_ref().map_or(0, |seen| u64::from(seen.window_s));
        let is_seen = channel.looked
            && chain.progressed_at.is_some_and(|at| now.0.saturating_sub(at.0) <= window_s * 500);
        if is_seen {
            return Ok(());
        }
        Err((Reason::Blind, "the chain was not seen for too long: say it again".into()))
    }

    /// The claim is an amount of the account, with everything that it was paid before.
    fn check_amount(&self, account: usize, rise: u128) -> Result<(), (Reason, String)> {
        let best = self.accounts[account].channels.iter().map(|id| self.channels[id].best());
        let all = best
            .chain([self.accounts[account].row.got_past, rise])
            .try_fold(0_u128, u128::checked_add);
        let scales = self.account_config(account).scales;
        let fits = all.and_then(|all| scales.to_account(all));
        // A ledger counts in i128, and has more in it than this.
        if fits.is_some_and(|all| all <= u128::MAX >> 4) {
            return Ok(());
        }
        Err((Reason::Overflow, "the total is no amount of the account".into()))
    }

    /// Whether what a channel holds can surely be redeemed before it ends.
    fn is_redeemable(&self, now: Now, account: usize, channel: &Channel) -> bool {
        let closes_at_s = [&channel.latest, &channel.row.seen]
            .into_iter()
            .flatten()
            .filter(|it| it.state == ChannelState::Closing)
            .map(|it| it.closes_at_s)
            .min();
        let Some(closes_at_s) = closes_at_s else { return true };
        let config = self.account_config(account);
        self.chain_time_s(now, config.chain).saturating_add(config.redeem_margin_s) <= closes_at_s
    }

    /// A transaction that is not final redeems a claim of the channel.
    fn is_carried(&self, id: ChannelId) -> bool {
        let redeems = |job: &Job| matches!(job, Job::Answer(of) | Job::Redeem(of) if *of == id);
        self.transactions.values().flat_map(|it| &it.row.jobs).any(redeems)
    }

    /// The later of the chain's clock and ours.
    pub(crate) fn chain_time_s(&self, now: Now, chain: usize) -> u64 {
        let sight = self.chains[chain].sight.as_ref();
        sight.map_or(0, |sight| sight.latest.time_s).max(now.0 / 1_000)
    }

    /// Credits what has become due, and takes back what is void.
    pub(crate) fn plan_receiving(&mut self, now: Now, account: usize) {
        for id in self.accounts[account].channels.clone() {
            let channel = &self.channels[&id];
            if !channel.looked {
                continue;
            }
            let before = channel.row.credited;
            let redeemable = self.is_redeemable(now, account, channel);
            let credited = channel.creditable(redeemable);
            if credited != before {
                let channel = self.channels.get_mut(&id).expect("it was just looked at");
                channel.row.credited = credited;
                self.change(Table::Channels, id);
                self.told_void(account, id, before, credited);
            }
        }
        self.order_credits(now, account);
    }

    fn told_void(&mut self, account: usize, id: ChannelId, before: u128, credited: u128) {
        if credited >= before {
            return;
        }
        self.counters.reversals += 1;
        let text = format!(
            "a deposit of channel {id} that was final is gone: {} units of the token were credited \
             for it and are taken back; the account is paused",
            before - credited
        );
        let row = &mut self.accounts[account].row;
        row.reversals += 1;
        row.paused = Some(text.clone());
        self.change_account(account);
        self.order(account, Order::Pause);
        self.alarm(Some(account), text);
    }

    /// Tells the switch what the total of what was credited has come to.
    fn order_credits(&mut self, now: Now, account: usize) {
        let scales = self.account_config(account).scales;
        let state = &self.accounts[account];
        let credited = state.channels.iter().map(|id| self.channels[id].row.credited);
        let total = state.row.got_past + credited.sum::<u128>();
        let Some(total) = scales.to_account(total) else { return };
        let name = self.account_config(account).name.clone();
        let mut under_way = self.orders.values().filter(|it| it.row.account == name).count();
        while self.accounts[account].row.credited != total && under_way < CREDITS_UNDER_WAY_MAX {
            let rises = total > self.accounts[account].row.credited;
            if rises && !self.accounts[account].credits.take(now) {
                // The rest is credited together: the switch keeps each key for good.
                return;
            }
            under_way += 1;
            let before = self.accounts[account].row.credited;
            let step = total.abs_diff(before).min(u64::MAX.into());
            let amount = u64::try_from(step).expect("it is at most that");
            let rises = total > before;
            let after = if rises { before + step } else { before - step };
            self.accounts[account].row.credited = after;
            let key = self.credit_key(account, after);
            let (order, verb) = if rises {
                (Order::Credit { key, amount }, "credited")
            } else {
                (Order::Reverse { key, amount }, "taken back")
            };
            self.order(account, order);
            let text = format!("{amount} units are {verb} under the key {key}");
            self.does(Effect::Tell(Notice::Moved { account: name.clone(), text }));
            self.change_account(account);
        }
    }

    /// Names the credit that brings an account to `after`. Chain, contract, peer and token are what it is
    /// paid in; the number of reversals tells apart a total that was come to twice.
    fn credit_key(&self, account: usize, after: u128) -> Key {
        let config = self.account_config(account);
        let mut key = blake3::Hasher::new_derive_key("m2m settlement credit key v1");
        key.update(self.chains[config.chain].name.as_bytes());
        key.update(&config.peer.0).update(&config.token.0);
        key.update(&self.accounts[account].row.reversals.to_be_bytes());
        key.update(&after.to_be_bytes()).update(config.name.as_bytes());
        let hash = key.finalize();
        Key(*hash.as_bytes().first_chunk().expect("32 bytes begin with 16"))
    }
}

/// How many credits an account may have at once, and how fast that grows again: a peer that pays a unit at a time
/// must not use up the keys of a switch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credits {
    left: u64,
    at: Now,
}

impl Default for Credits {
    fn default() -> Self {
        Self { left: CREDITS_MAX, at: Now(0) }
    }
}

impl Credits {
    fn take(&mut self, now: Now) -> bool {
        if self.left == CREDITS_MAX || now < self.at {
            self.at = now;
        }
        let more = (now.0 - self.at.0) / CREDIT_MS;
        self.left = self.left.saturating_add(more).min(CREDITS_MAX);
        self.at.0 += more * CREDIT_MS;
        let has_some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_some
    }
}

impl Channel {
    /// The total of the highest claim that we hold.
    pub(crate) fn best(&self) -> u128 {
        self.row.best.as_ref().map_or(0, |best| best.claim.total)
    }

    fn is_closing(&self) -> bool {
        let sights = [&self.latest, &self.row.seen];
        sights.into_iter().flatten().any(|it| it.state == ChannelState::Closing)
    }

    fn theirs(&self) -> usize {
        1 - self.row.ours
    }

    /// What the peer's claims can draw on, final or not.
    pub(crate) fn their_deposit_latest(&self) -> u128 {
        let sights = [&self.latest, &self.row.seen];
        let sides = sights.into_iter().flatten().map(|it| it.sides[self.theirs()]);
        sides.map(|side| side.deposit - side.withdrawn.min(side.deposit)).max().unwrap_or(0)
    }

    /// What the peer's claims can draw on, for good.
    pub(crate) fn their_deposit_final(&self) -> u128 {
        let side = self.row.seen.as_ref().map(|seen| seen.sides[self.theirs()]);
        side.map_or(0, |side| side.deposit - side.withdrawn.min(side.deposit))
    }

    /// What the chain has paid us, for good.
    pub(crate) fn their_redeemed(&self) -> u128 {
        self.row.seen.as_ref().map_or(0, |seen| seen.sides[self.theirs()].redeemed)
    }

    pub(crate) fn is_settled(&self) -> bool {
        let sights = [&self.latest, &self.row.seen];
        sights.into_iter().flatten().any(|it| it.state == ChannelState::Settled)
    }

    /// What may be credited of what it holds.
    fn creditable(&self, redeemable: bool) -> u128 {
        let paid = self.their_redeemed();
        if self.row.seen.as_ref().is_some_and(|seen| seen.state == ChannelState::Settled) {
            // What was credited and is lost with the channel was ours to redeem: the peer has paid it.
            return self.row.credited.max(paid);
        }
        let most = self.their_deposit_final();
        let rises = redeemable && !self.is_settled();
        let due = if rises { self.best().min(most) } else { 0 };
        due.max(paid).max(self.row.credited).min(most.max(paid))
    }
}
