//! How channels end: by an agreement at once, or by a close whose window has to pass.
//!
//! ```text
//!   operator: together -> sign -> CLOSE to the peer -> AGREED -> CloseTogether on the chain
//!   peer:     CLOSE -> books agree? -> sign -> AGREED to it
//! ```
//!
//! An agreement says what each has paid in all. From the moment that it is signed until it has run out by
//! the chain's final clock, nothing is added to the channel: no claim is given or taken, nothing deposited.
//!
//! Invariant: we sign no agreement that says less than what we hold of the peer, or more than what it holds
//! of us.

use crate::chain::{Agreement, Bytes, ChannelId, ChannelState, Party, SignError};
use crate::event::{Effect, Now};
use crate::limits::{AGREEMENT_S, AGREEMENT_S_MAX, AGREEMENT_S_MIN, CLOCK_AHEAD_S_MAX};
use crate::rows::{Agreed, Ending, Job, Table};
use crate::settlement::{Agreeing, Channel, Settlement};
use crate::wire::{Message, Reason};

impl Settlement {
    /// Asks peers for an end that operators want.
    pub(crate) fn plan_ending(&mut self, now: Now, account: usize) {
        for id in self.accounts[account].channels.clone() {
            if self.is_nowhere(id) {
                self.count_over(account, id);
                continue;
            }
            self.forget_agreement(now, account, id);
            let channel = &self.channels[&id];
            let wanted = channel.row.ending == Some(Ending::Together)
                && self.accounts[account].peer_up
                && channel.sign_rest.is_over(now)
                && (now >= channel.ask_at || channel.ask_at.0 - now.0 > AGREEMENT_S * 1_000)
                && channel.may_agree()
                && channel.given() == channel.row.acked;
            if wanted && self.check_sight(now, account, channel).is_ok() {
                self.ask_for_end(account, id);
            }
        }
    }

    /// It is to end, and is nowhere to end: ours was never opened and nobody was paid in it, or the peer's, in
    /// which we were not paid, vanished with the finality of its chain. What the peer has not acknowledged of
    /// the latter is paid elsewhere then: our deposit was in it, and is put into it no more.
    fn is_nowhere(&self, id: ChannelId) -> bool {
        let channel = &self.channels[&id];
        let row = &channel.row;
        let is_unseen = row.seen.is_none() && channel.latest.is_none() && channel.looked;
        let opens = |job: &Job| matches!(job, Job::Open(of) | Job::Deposit(of) if *of == id);
        let mut carried = self.transactions.values().flat_map(|it| &it.row.jobs);
        let is_drafted = self.chains.iter().any(|chain| chain.drafting.is_some());
        // A claim that we hold is kept: whoever gave it opens the channel again for it.
        let is_left = row.best.is_none() && (row.terms.is_none() || row.given.is_none());
        row.ending.is_some() && is_left && is_unseen && !is_drafted && !carried.any(opens)
    }

    /// A channel is over: it is counted in the row of its account, once.
    pub(crate) fn count_over(&mut self, account: usize, id: ChannelId) {
        let channel = self.channels.get_mut(&id).expect("channels of an account are kept");
        assert!(!channel.row.over, "a channel is over once");
        channel.row.over = true;
        let (paid, got) = (channel.proven(), channel.row.credited);
        let row = &mut self.accounts[account].row;
        row.paid_past += paid;
        row.got_past += got;
        self.accounts[account].channels.remove(&id);
        self.change_account(account);
        self.change(Table::Channels, id);
    }

    /// The chain's clock. A latest block may say anything: not much later than the final one is believed.
    fn agreement_clock_s(&self, chain: usize) -> u64 {
        let sight = self.chains[chain].sight.as_ref();
        sight.map_or(0, |sight| {
            let most_s = sight.last_final.time_s.saturating_add(CLOCK_AHEAD_S_MAX);
            sight.latest.time_s.min(most_s)
        })
    }

    fn ask_for_end(&mut self, account: usize, id: ChannelId) {
        let chain = self.config.accounts[account].chain;
        let valid_until_s = self.agreement_clock_s(chain).saturating_add(AGREEMENT_S);
        let channel = self.channels.get_mut(&id).expect("channels of an account are kept");
        let [first_paid, second_paid] = channel.paid_by_party();
        let agreement = Agreement { channel: id, first_paid, second_paid, valid_until_s };
        channel.agreeing = Some(Agreeing { agreement, reply: None });
        self.does(Effect::SignAgreement { chain, agreement });
    }

    /// An agreement that can no longer be executed binds nobody.
    fn forget_agreement(&mut self, now: Now, account: usize, id: ChannelId) {
        let chain = &self.chains[self.config.accounts[account].chain];
        let Some(final_s) = chain.sight.as_ref().map(|sight| sight.last_final.time_s) else {
            return;
        };
        let channel = self.channels.get_mut(&id).expect("channels of an account are kept");
        let ran_out = |agreed: &Agreed| channel.looked && final_s > agreed.hold_until_s;
        if channel.row.agreed.as_ref().is_some_and(ran_out) {
            channel.row.agreed = None;
            // Whoever was asked and did not agree may have a claim to give, which had to wait until now.
            channel.ask_at = Now(now.0 + AGREEMENT_S * 1_000);
            self.change(Table::Channels, id);
        }
    }

    /// Whether we agree to an end that the peer asks for. Every refusal comes before anything is written.
    pub(crate) fn judge_close(
        &mut self,
        now: Now,
        account: usize,
        agreement: &Agreement,
        signer: Option<Party>,
    ) -> Result<(), (Reason, String)> {
        let config = self.account_config(account);
        let chain = config.chain;
        if signer != Some(config.peer) {
            return Err((Reason::Forged, "the agreement is not signed by the peer".into()));
        }
        let known = self.channels.get(&agreement.channel).filter(|it| it.account == account);
        let Some(channel) = known else {
            return Err(self.judge_unknown(account, agreement.channel));
        };
        if channel.row.over || channel.is_settled() {
            return Err((Reason::Ended, "the channel is over".into()));
        }
        let is_same = |agreed: &Agreed| {
            let Agreement { first_paid, second_paid, .. } = agreed.agreement;
            (first_paid, second_paid) == (agreement.first_paid, agreement.second_paid)
        };
        let others = channel.row.agreed.as_ref().is_some_and(|agreed| !is_same(agreed));
        if others || channel.agreeing.is_some() {
            return Err((Reason::Agreed, "another agreement has to run out first".into()));
        }
        self.check_sight(now, account, channel)?;
        let paid = channel.paid_by_party();
        if paid != [agreement.first_paid, agreement.second_paid] {
            let [first, second] = paid;
            let text = format!("as we have it the first has paid {first} and the second {second}");
            return Err((Reason::Differs, text));
        }
        let is_quiet = channel.row.agreed.is_some() || channel.may_agree();
        if !is_quiet {
            let text = "a claim is being signed, or the channel is not open for good".to_owned();
            return Err((Reason::Busy, text));
        }
        let chain_s = self.agreement_clock_s(chain);
        let bound_s = channel.row.agreed.as_ref().map_or(u64::MAX, |agreed| agreed.bound_s);
        let most_s = bound_s.min(chain_s.saturating_add(AGREEMENT_S_MAX));
        let bounds = chain_s.saturating_add(AGREEMENT_S_MIN)..=most_s;
        if !bounds.contains(&agreement.valid_until_s) {
            let text = format!("an agreement holds {AGREEMENT_S_MIN} to {AGREEMENT_S_MAX} seconds");
            return Err((Reason::Differs, text));
        }
        Ok(())
    }

    /// Signs what the peer asks for; the answer comes when it is signed and on disk.
    pub(crate) fn agree(
        &mut self,
        account: usize,
        token: u64,
        agreement: Agreement,
        signature: Bytes,
    ) {
        let chain = self.config.accounts[account].chain;
        let channel = self.channels.get_mut(&agreement.channel).expect("judge_close() found it");
        channel.agreeing = Some(Agreeing { agreement, reply: Some((token, signature)) });
        self.does(Effect::SignAgreement { chain, agreement });
    }

    /// An agreement was signed by us, or not.
    pub(crate) fn take_agreement_signed(
        &mut self,
        now: Now,
        agreement: Agreement,
        signature: Result<Bytes, SignError>,
    ) {
        let Some(channel) = self.channels.get_mut(&agreement.channel) else { return };
        let Some(agreeing) = channel.agreeing.take_if(|it| it.agreement == agreement) else {
            return;
        };
        let account = channel.account;
        self.touch(account);
        let channel = self.channels.get_mut(&agreement.channel).expect("it was just found");
        match signature {
            // What it says is checked again: it has not left us yet.
            Ok(ours)
                if channel.paid_by_party() == [agreement.first_paid, agreement.second_paid] =>
            {
                let before = channel.row.agreed.as_ref();
                let (held_s, asked) = before.map_or((0, false), |it| (it.hold_until_s, it.asked));
                let bound_s = before.map_or_else(
                    || agreement.valid_until_s.saturating_add(AGREEMENT_S_MAX),
                    |it| it.bound_s,
                );
                let (reply, theirs) = agreeing.reply.unzip();
                channel.row.agreed = Some(Agreed {
                    agreement,
                    ours: ours.clone(),
                    theirs,
                    asked: asked || reply.is_none(),
                    bound_s,
                    hold_until_s: held_s.max(agreement.valid_until_s),
                });
                self.change(Table::Channels, agreement.channel);
                if let Some(token) = reply {
                    self.answer(account, token, Message::Agreed { signature: ours });
                }
            }
            failed => {
                channel.sign_rest.fail(now, &mut self.jitter);
                let why = failed.err().map(|error| error.to_string());
                let text = why.unwrap_or_else(|| "what was paid has changed meanwhile".into());
                match agreeing.reply {
                    Some((token, _)) => self.refuse(account, token, Reason::Busy, text),
                    None => self.warn(Some(account), format!("an agreement waits: {text}")),
                }
            }
        }
    }

    /// The peer's signature over an agreement that we have asked for.
    pub(crate) fn take_agreed(&mut self, id: ChannelId, signature: Bytes) -> bool {
        let Some(channel) = self.channels.get_mut(&id) else { return false };
        let asked = channel.row.agreed.as_mut().filter(|agreed| agreed.asked);
        let Some(agreed) = asked.filter(|agreed| agreed.theirs.is_none()) else { return false };
        agreed.theirs = Some(signature);
        self.change(Table::Channels, id);
        true
    }
}

impl Channel {
    /// What each party has paid the other in all, as we have it.
    fn paid_by_party(&self) -> [u128; 2] {
        let ours = self
            .given()
            .max(self.row.seen.as_ref().map_or(0, |seen| seen.sides[self.row.ours].redeemed));
        let theirs = self.best().max(self.their_redeemed());
        if self.row.ours == 0 { [ours, theirs] } else { [theirs, ours] }
    }

    /// The channel is open for good, nothing is being signed, and final deposits cover what was paid.
    fn may_agree(&self) -> bool {
        let is_open = [&self.latest, &self.row.seen]
            .into_iter()
            .all(|it| it.as_ref().is_some_and(|it| it.state == ChannelState::Open));
        let is_quiet =
            self.signing.is_none() && self.agreeing.is_none() && self.row.agreed.is_none();
        let is_covered =
            self.given() <= self.our_deposit() && self.best() <= self.their_deposit_final();
        !self.row.over && is_open && is_quiet && is_covered
    }
}
