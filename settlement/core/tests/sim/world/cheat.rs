//! Whoever does what no settlement process does: a stranger on a link, and somebody with the first party's key.
//!
//! Judged at the end: of whoever cheats nobody has credited more than the chain has paid, nor paid it more than was
//! frozen for it.

use super::*;

impl World {
    /// Whoever is cheated ends its channels, and has on the chain what it was credited; and the cheat no more than
    /// was frozen for it.
    pub(super) fn end_with_the_cheat(&mut self) {
        self.until("what others owe the cheat is paid", |world| {
            world.parties[1..].iter().all(|it| it.books[&name(0)].frozen.is_empty())
        });
        // Again and again, as claims name channels that were not known.
        for step in 0..3_000 {
            for victim in (1..self.parties.len()).filter(|_| step % 500 == 0) {
                let (account, ending) = (name(0), Ending::Alone);
                self.feed(victim, Event::Operator(Wish::Close { account, ending }));
            }
            self.calm_step();
        }
        let is_theirs = |channel: &OnChain| {
            channel.parties.contains(&id(0)) && channel.state != ChannelState::Settled
        };
        let knows = |world: &Self, victim: usize| {
            let view = world.parties[victim].settlement.view(world.now);
            let channels = view.channels.into_iter().filter(|it| it.account == name(0));
            channels.filter(|it| it.state != "over").map(|it| it.channel).collect::<Vec<_>>()
        };
        // A channel that the cheat has opened and nobody was paid in is nobody's business.
        self.until("the channels of the cheat are over", |world| {
            let known: Vec<String> =
                (1..world.parties.len()).flat_map(|it| knows(world, it)).collect();
            !world.chain.channels().any(|(id, it)| is_theirs(it) && known.contains(&id.to_string()))
        });
        for _ in 0..50 {
            self.calm_step();
        }
        for victim in 1..self.parties.len() {
            let of_both =
                |it: &&OnChain| it.parties.contains(&id(0)) && it.parties.contains(&id(victim));
            let paid_by = |payer: usize| -> u128 {
                let channels = self.chain.channels().map(|(_, it)| it).filter(of_both);
                channels.map(|it| it.sides[usize::from(it.parties[1] == id(payer))].redeemed).sum()
            };
            let books = &self.parties[victim].books[&name(0)];
            let got = self.scales.to_account(paid_by(0)).unwrap();
            let credited = books.credited_in_all();
            assert!(
                credited <= i128::try_from(got).unwrap(),
                "p{victim} has credited {credited}, and the chain has paid it {got}"
            );
            let due = self.scales.to_token(books.frozen_in_all()).unwrap();
            assert!(paid_by(victim) <= due, "p{victim} has paid {} of {due}", paid_by(victim));
        }
    }

    /// A stranger on the link of a peer, or a peer that cheats: none of it may change anything.
    pub(super) fn say_something_bad(&mut self, party: usize) {
        let peer = self.peer(party);
        let token = self.token();
        let channels = self.chain.channels_of(self.parties[party].id);
        let channel = channels.first().copied().unwrap_or(ChannelId([1; 32]));
        let claim = Claim { channel, total: 1 << self.rng.u32(1..120) };
        let mut place = place();
        let mut signer = id(peer);
        match self.rng.u32(..6) {
            0 => signer = Id([77; 32]),
            1 => place.chain = "sim:2".into(),
            2 => place.contract = vec![6; 20],
            3 => {
                let claim = Claim { total: 0, ..claim };
                let signature = chain::sign(signer, &claim);
                let signed = SignedClaim { claim, signature };
                return self.say_bad(party, peer, token, Message::Claim { place, signed });
            }
            4 => {
                // More than anybody has.
                let claim = Claim { total: u128::MAX, ..claim };
                let signature = chain::sign(signer, &claim);
                let signed = SignedClaim { claim, signature };
                return self.say_bad(party, peer, token, Message::Claim { place, signed });
            }
            _ => signer = id(party),
        }
        let signature = chain::sign(signer, &claim);
        let signed = SignedClaim { claim, signature };
        self.say_bad(party, peer, token, Message::Claim { place, signed });
    }

    /// Whatever can be done with the key of the first party.
    pub(super) fn cheat(&mut self) {
        let victim = self.rng.usize(1..self.parties.len());
        let both = [id(0), id(victim)];
        let channels: Vec<(ChannelId, OnChain)> = self
            .chain
            .channels()
            .filter(|(_, it)| both.iter().all(|party| it.parties.contains(party)))
            .map(|(id, it)| (id, it.clone()))
            .collect();
        let fee = Fee { most: 1 << 40, tip: 1 };
        let nonce = self.chain.nonce(id(0));
        let send = |chain: &mut Chain, call: Call| {
            let _ = chain.take(Transaction { from: id(0), nonce, call, fee });
        };
        if channels.is_empty() || self.rng.u32(..30) == 0 {
            // A window that is too short.
            let salt = [self.rng.u8(..); 32];
            let window_s = [600, 999, 1_500][self.rng.usize(..3)];
            let terms = Terms { first: id(0), second: id(victim), token: TOKEN, window_s, salt };
            return send(&mut self.chain, Call::Open { terms, deposit: 1 << self.rng.u32(1..30) });
        }
        let (channel, on_chain) = channels[self.rng.usize(..channels.len())].clone();
        let ours = usize::from(on_chain.parties[1] == id(0));
        let deposit = on_chain.sides[ours].deposit;
        match self.rng.u32(..12) {
            0..6 => {
                // Also more than there is: a node that lies about its latest block shows more.
                let most = if self.rng.u32(..4) == 0 { 1 << 20 } else { deposit / 2 + 5 };
                let total = on_chain.sides[ours].redeemed + self.rng.u128(..=most);
                let claim = Claim { channel, total };
                let signed = SignedClaim { claim, signature: chain::sign(id(0), &claim) };
                if self.rng.u32(..4) == 0 {
                    return send(&mut self.chain, Call::Redeem { claims: vec![signed] });
                }
                let token = self.token();
                self.say_bad(victim, 0, token, Message::Claim { place: place(), signed });
            }
            6 => send(&mut self.chain, Call::Close { channel }),
            7 => {
                let total = deposit + self.rng.u128(..1 << 20);
                send(&mut self.chain, Call::Deposit { channel, total });
            }
            8..11 => self.ask_for_a_wrong_end(victim, channel, &on_chain),
            _ => {
                let Some((agreement, theirs)) = self.signed.pop() else { return };
                let ours = chain::sign(id(0), &agreement);
                let is_first = self
                    .chain
                    .channels()
                    .any(|(id, it)| id == agreement.channel && it.parties[0] == self::id(0));
                let [first_signature, second_signature] =
                    if is_first { [ours, theirs] } else { [theirs, ours] };
                let call = Call::CloseTogether { agreement, first_signature, second_signature };
                send(&mut self.chain, call);
            }
        }
    }

    /// An end by which somebody would have more than is its own, or less; or one that is right, again and again.
    pub(super) fn ask_for_a_wrong_end(
        &mut self,
        victim: usize,
        channel: ChannelId,
        on_chain: &OnChain,
    ) {
        let view = self.parties[victim].settlement.view(self.now);
        let known = view.channels.into_iter().find(|it| it.channel == channel.to_string());
        let mut paid = on_chain.sides.map(|side| side.redeemed);
        if let Some(known) = known {
            let ours = usize::from(on_chain.parties[1] == id(0));
            paid[ours] = paid[ours].max(known.held.parse().unwrap());
            paid[1 - ours] = paid[1 - ours].max(known.given.parse().unwrap());
        }
        let at = self.rng.usize(..2);
        match self.rng.u32(..3) {
            0 => paid[at] = self.rng.u128(..=on_chain.sides[at].deposit),
            1 => paid[at] = paid[at].saturating_sub(1),
            _ => {}
        }
        let valid_until_s = self.now.0 / 1_000 + self.rng.u64(0..4_000);
        let [first_paid, second_paid] = paid;
        let agreement = Agreement { channel, first_paid, second_paid, valid_until_s };
        let token = self.token();
        self.asked.insert(token, agreement);
        let signature = chain::sign(id(0), &agreement);
        let message = Message::Close { place: place(), agreement, signature };
        self.say_bad(victim, 0, token, message);
    }

    pub(super) fn say_bad(&mut self, party: usize, peer: usize, token: u64, message: Message) {
        let signer = signer_of(&message);
        let event = Event::Said { account: name(peer), token, message: Ok(message), signer };
        self.feed(party, event);
    }
}
