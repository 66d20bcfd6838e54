//! What we pay: from frozen amounts to a claim that the peer holds.
//!
//! The total of a claim is what the sum of all frozen amounts comes to in units of the token, less what the
//! peer was given in other channels: never the last claim and something more. A key is settled when the
//! peer holds claims, or the chain has paid it, up to the total of the sums up to that key.
//!
//! Invariant: over all channels, what was given in claims is at most what was frozen.

use crate::chain::{Bytes, ChannelId, ChannelState, Claim, SignError, SignedClaim, Terms};
use crate::event::{Effect, Notice, Now};
use crate::limits::CHANNELS_MAX;
use crate::rows::{ChannelRow, KeyState, Order, Table};
use crate::settlement::{Channel, Saying, Settlement};
use crate::wire::{Message, Reason};

impl Settlement {
    /// What of an account's frozen amounts can be paid now, and what has been.
    pub(crate) fn plan_paying(&mut self, now: Now, account: usize) {
        self.settle_keys(now, account);
        let scales = self.account_config(account).scales;
        let Some(due) = scales.to_token(self.accounts[account].sum) else {
            if !core::mem::replace(&mut self.accounts[account].overflows, true) {
                let text = "what was frozen is more than any amount of the token".to_owned();
                self.alarm(Some(account), text);
            }
            return;
        };
        if due <= self.given_in_all(account) || self.is_behind(account) {
            return;
        }
        let current = self.paying_channel(account);
        let elsewhere = self.given_but(account, current);
        // What other channels have given counts here only if they end without paying it.
        let want = due - elsewhere;
        match current {
            Some(id) => self.pay_in(now, account, id, want),
            None => self.open_channel(account, want),
        }
    }

    /// The chain has paid the peer by claims that are not in our store: it is not the latest one, and what else it
    /// lacks nobody knows.
    fn is_behind(&mut self, account: usize) -> bool {
        let lacks = |id: &&ChannelId| self.channels[*id].lacks_claims();
        let lacking = self.accounts[account].channels.iter().find(lacks).copied();
        if let Some(id) = lacking {
            let what =
                format!("the chain has paid the peer more in channel {id} than our store knows of");
            self.fall_behind(account, &what);
        }
        let state = &mut self.accounts[account];
        if state.row.behind && state.row.resuming && state.channels.is_empty() {
            (state.row.behind, state.row.resuming) = (false, false);
            self.change_account(account);
        }
        self.accounts[account].row.behind
    }

    /// The account is paused, and nothing of it is paid or called settled until an operator has looked: what is
    /// missing could count as paid for something else.
    pub(crate) fn fall_behind(&mut self, account: usize, what: &str) {
        let row = &mut self.accounts[account].row;
        if core::mem::replace(&mut row.behind, true) {
            return;
        }
        let text = format!(
            "{what}: the store is not the latest; find it, or go on by `resume`: the channels end then, and what the \
             peer has on the chain counts"
        );
        row.paused = Some(text.clone());
        self.change_account(account);
        self.order(account, Order::Pause);
        self.alarm(Some(account), text);
    }

    /// Keys that what the peer surely has pays.
    fn settle_keys(&mut self, now: Now, account: usize) {
        if self.is_behind(account) {
            return;
        }
        let scales = self.account_config(account).scales;
        let proven = self.proven(account);
        while let Some(key) = self.accounts[account].open.front().copied() {
            let row = &self.keys[&key];
            let is_paid = scales.to_token(row.sum).is_some_and(|total| total <= proven);
            if !is_paid {
                return;
            }
            let text = format!("{} units are settled under the key {key}", row.amount);
            let name = row.account.clone();
            self.accounts[account].open.pop_front();
            self.end_key(now, account, key, KeyState::Settled);
            self.does(Effect::Tell(Notice::Moved { account: name, text }));
        }
    }

    /// Raises the claim of a channel to `want`, or what can back it.
    fn pay_in(&mut self, now: Now, account: usize, id: ChannelId, want: u128) {
        let ahead = self.account_config(account).deposit;
        let channel = self.channels.get_mut(&id).expect("paying_channel() found it");
        if channel.signing.is_some() || want <= channel.given() {
            return;
        }
        if want <= channel.our_deposit() {
            // Not by what an earlier life has seen alone.
            if channel.looked && channel.sign_rest.is_over(now) {
                channel.signing = Some(want);
                let chain = self.config.accounts[account].chain;
                self.does(Effect::SignClaim { chain, claim: Claim { channel: id, total: want } });
            }
        } else if channel.row.want_deposit < want {
            channel.row.want_deposit = want.saturating_add(ahead);
            self.change(Table::Channels, id);
        }
    }

    /// A new channel that can pay `want`.
    fn open_channel(&mut self, account: usize, want: u128) {
        if self.accounts[account].channels.len() >= CHANNELS_MAX {
            if !core::mem::replace(&mut self.accounts[account].is_full, true) {
                let text = format!(
                    "{CHANNELS_MAX} channels are not over: no other is opened to pay {want}"
                );
                self.alarm(Some(account), text);
            }
            return;
        }
        self.accounts[account].is_full = false;
        let (mut terms, mut id) = self.next_terms(account);
        // An older store than the latest may have forgotten some that were opened.
        while self.channels.contains_key(&id) {
            self.accounts[account].row.opened += 1;
            (terms, id) = self.next_terms(account);
        }
        let config = self.account_config(account);
        let row = ChannelRow {
            terms: Some(terms),
            want_deposit: want.saturating_add(config.deposit),
            ..ChannelRow::new(config.name.clone(), 0)
        };
        self.accounts[account].row.opened += 1;
        self.change_account(account);
        self.accounts[account].channels.insert(id);
        let before = self.channels.insert(id, Channel::new(row, account));
        assert!(before.is_none(), "a salt is used once");
        self.change(Table::Channels, id);
    }

    /// What the next channel of an account is made of.
    fn next_terms(&self, account: usize) -> (Terms, ChannelId) {
        let config = self.account_config(account);
        let us = self.config.chains[config.chain].us;
        let mut salt = blake3::Hasher::new_derive_key("m2m settlement channel salt v1");
        salt.update(self.chains[config.chain].name.as_bytes()).update(&us.0);
        salt.update(&self.accounts[account].row.opened.to_be_bytes());
        salt.update(config.name.as_bytes());
        let terms = Terms {
            first: us,
            second: config.peer,
            token: config.token,
            window_s: config.window_s,
            salt: *salt.finalize().as_bytes(),
        };
        let id = self.channel_id(config.chain, &terms);
        (terms, id)
    }

    /// A claim that we asked to be signed.
    pub(crate) fn take_claim_signed(
        &mut self,
        now: Now,
        claim: Claim,
        signature: Result<Bytes, SignError>,
    ) {
        let Some(channel) = self.channels.get_mut(&claim.channel) else { return };
        if channel.signing != Some(claim.total) {
            return;
        }
        channel.signing = None;
        let account = channel.account;
        self.touch(account);
        let is_covered = self.is_covered(account, &claim);
        let is_behind = self.accounts[account].row.behind;
        let channel = self.channels.get_mut(&claim.channel).expect("it was just found");
        match signature {
            Ok(signature) => {
                // Whatever happened while it was signed: it is not given yet, and may be dropped.
                let fits =
                    !is_behind && channel.takes_claims() && claim.total <= channel.our_deposit();
                if !fits || !is_covered || claim.total <= channel.given() {
                    return;
                }
                channel.row.given = Some(SignedClaim { claim, signature });
                channel.told = false;
                self.counters.claims_given += 1;
                self.change(Table::Channels, claim.channel);
            }
            Err(error) => {
                channel.sign_rest.fail(now, &mut self.jitter);
                self.warn(Some(account), format!("a claim waits: {error}"));
            }
        }
    }

    /// Whether a claim is covered by what was frozen, with all that other channels have given or the chain has paid.
    fn is_covered(&self, account: usize, claim: &Claim) -> bool {
        let due = self.account_config(account).scales.to_token(self.accounts[account].sum);
        let elsewhere = self.given_but(account, Some(claim.channel));
        due.and_then(|due| due.checked_sub(elsewhere)).is_some_and(|most| claim.total <= most)
    }

    // Telling the peer.

    /// Says to the peer what it has not heard, one thing at a time.
    pub(crate) fn plan_telling(&mut self, now: Now, account: usize) {
        let Self { accounts, channels, .. } = self;
        let state = &accounts[account];
        if !state.peer_up || state.saying.is_some() {
            return;
        }
        let due = state.channels.iter().find_map(|id| {
            // One that is refused must not keep the others from being heard.
            let channel = Some(&channels[id]).filter(|channel| channel.say_rest.is_over(now))?;
            let given = channel.row.given.as_ref();
            let claim =
                given.filter(|given| !channel.told || given.claim.total > channel.row.acked);
            if let Some(signed) = claim {
                let total = signed.claim.total;
                return Some((Saying::Claim { channel: *id, total }, Sent::Claim(signed.clone())));
            }
            let agreed = channel.row.agreed.as_ref();
            let asks = agreed.filter(|agreed| agreed.asked && agreed.theirs.is_none())?;
            let sent = Sent::Close(asks.agreement, asks.ours.clone());
            Some((Saying::Close { channel: *id }, sent))
        });
        let Some((saying, sent)) = due else { return };
        let token = self.number();
        self.accounts[account].saying = Some((token, saying));
        let config = self.account_config(account);
        let place = self.config.chains[config.chain].place.clone();
        let message = match sent {
            Sent::Claim(signed) => Message::Claim { place, signed },
            Sent::Close(agreement, signature) => Message::Close { place, agreement, signature },
        };
        let account = config.name.clone();
        self.does(Effect::Say { account, token, message });
    }

    /// What the peer has answered to what we said.
    pub(crate) fn take_replied(
        &mut self,
        now: Now,
        name: &str,
        token: u64,
        message: Result<Message, String>,
        signer: Option<crate::chain::Party>,
    ) {
        let Some(account) = self.account(name) else { return };
        let Some((_, saying)) =
            self.accounts[account].saying.take_if(|(waiting, _)| *waiting == token)
        else {
            return;
        };
        self.touch(account);
        let (Saying::Claim { channel: of, .. } | Saying::Close { channel: of }) = saying;
        let failures = self.channels.get(&of).map_or(0, |channel| channel.say_rest.failures());
        let is_done = match (saying, message) {
            (
                Saying::Claim { channel, total },
                Ok(Message::Taken { channel: named, total: held }),
            ) if named == channel && held >= total => {
                self.take_acknowledged(account, channel, held);
                true
            }
            (Saying::Close { channel }, Ok(Message::Agreed { signature })) => {
                let is_theirs = signer == Some(self.account_config(account).peer);
                is_theirs && self.take_agreed(channel, signature)
            }
            (_, Ok(Message::Refused { reason, again, text })) => {
                *self.counters.refused_by_peers.entry(reason.word()).or_default() += 1;
                let text = format!("the peer refuses ({}): {text}", reason.word());
                let first = failures == 0;
                match (again, reason) {
                    (true, _) => self.warn(Some(account), text),
                    // Told at each failure it would bury the rest of the log.
                    (false, Reason::Lower) => {
                        self.fall_behind(account, "the peer holds a higher claim than we give it");
                    }
                    (false, _) if first => self.alarm(Some(account), text),
                    (false, _) => {}
                }
                false
            }
            (_, Ok(_)) => {
                self.warn(Some(account), "the peer's answer does not fit what it answers".into());
                false
            }
            (_, Err(_)) => false,
        };
        let Self { channels, jitter, .. } = self;
        let Some(channel) = channels.get_mut(&of) else { return };
        if is_done {
            channel.say_rest = crate::rest::Rest::default();
        } else {
            channel.say_rest.fail(now, jitter);
        }
    }

    fn take_acknowledged(&mut self, account: usize, id: ChannelId, held: u128) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.told = true;
        let given = channel.given();
        if held.min(given) > channel.row.acked {
            channel.row.acked = held.min(given);
            self.change(Table::Channels, id);
        }
        if held > given {
            let what =
                format!("the peer holds a claim of {held} in {id}, and our store has {given}");
            self.fall_behind(account, &what);
        }
    }

    // Sums.

    /// Units of the token that claims which we have signed come to, in all channels.
    pub(crate) fn given_in_all(&self, account: usize) -> u128 {
        self.given_but(account, None)
    }

    fn given_but(&self, account: usize, but: Option<ChannelId>) -> u128 {
        let account = &self.accounts[account];
        let others = account.channels.iter().filter(|id| Some(**id) != but);
        account.row.paid_past + others.map(|id| self.channels[id].given_or_redeemed()).sum::<u128>()
    }

    /// Units of the token that the peer says it holds, or the chain has paid it.
    pub(crate) fn proven(&self, account: usize) -> u128 {
        let account = &self.accounts[account];
        let proven = account.channels.iter().map(|id| self.channels[id].proven());
        account.row.paid_past + proven.sum::<u128>()
    }

    /// Where an account is paid: in the channel with the most deposit that takes claims, or the one that is
    /// being opened.
    fn paying_channel(&self, account: usize) -> Option<ChannelId> {
        let ids = self.accounts[account].channels.iter().copied();
        // Its close must not lock our deposit for longer than we would.
        let window_s_max = self.account_config(account).window_s;
        let is_short = |id: &ChannelId| {
            let seen = self.channels[id].row.seen.as_ref();
            seen.is_none_or(|seen| seen.window_s <= window_s_max)
        };
        ids.filter(|id| self.channels[id].takes_claims() && is_short(id))
            .max_by_key(|id| (self.channels[id].our_deposit(), self.channels[id].given(), *id))
    }
}

enum Sent {
    Claim(SignedClaim),
    Close(crate::chain::Agreement, Bytes),
}

impl Channel {
    /// The total of the highest claim that we have signed.
    pub(crate) fn given(&self) -> u128 {
        self.row.given.as_ref().map_or(0, |given| given.claim.total)
    }

    /// What claims draw on: our deposit that is final.
    pub(crate) fn our_deposit(&self) -> u128 {
        let side = self.row.seen.as_ref().map(|seen| seen.sides[self.row.ours]);
        side.map_or(0, |side| side.deposit - side.withdrawn.min(side.deposit))
    }

    /// The chain has paid more of ours than we know to have given.
    pub(crate) fn lacks_claims(&self) -> bool {
        self.our_redeemed() > self.given()
    }

    pub(crate) fn our_redeemed(&self) -> u128 {
        self.row.seen.as_ref().map_or(0, |seen| seen.sides[self.row.ours].redeemed)
    }

    /// What may have been paid: also by a claim that is just being signed, as another channel could be paid in
    /// meanwhile; and what the chain has paid without a claim that we know.
    fn given_or_redeemed(&self) -> u128 {
        self.given().max(self.signing.unwrap_or(0)).max(self.our_redeemed())
    }

    /// What was surely paid.
    pub(crate) fn proven(&self) -> u128 {
        self.row.acked.max(self.our_redeemed())
    }

    /// Nothing speaks against paying in it: it is open or being opened, and nobody ends it.
    pub(crate) fn takes_claims(&self) -> bool {
        let is_open = |it: &Option<crate::chain::OnChain>| {
            it.as_ref().is_some_and(|it| it.state == ChannelState::Open)
        };
        let row = &self.row;
        let is_quiet = row.ending.is_none() && row.agreed.is_none() && self.agreeing.is_none();
        let is_being_opened = row.seen.is_none() && row.terms.is_some();
        let closes = self.latest.is_some() && !is_open(&self.latest);
        !row.over && is_quiet && !closes && (is_open(&row.seen) || is_being_opened)
    }
}
