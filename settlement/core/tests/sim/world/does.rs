//! What processes are told to do, done: by chains that lose answers, switches that are busy, and links that end.

use super::*;

impl World {
    pub(super) fn perform(&mut self, party: usize, life: u64, effect: Effect) {
        let us = self.parties[party].id;
        let event = match effect {
            Effect::Order { number, account, order } => {
                if !self.parties[party].switch_up {
                    return;
                }
                self.judge_order(party, &account, &order);
                let books = self.parties[party].books.get_mut(&account).unwrap();
                let result = books.take(&order);
                assert!(result.is_ok(), "the switch refuses {order:?}");
                if self.faults && self.rng.u32(..20) == 0 {
                    // Recorded, and the answer is lost with the connection.
                    return self.set_switch_down(party);
                }
                let busy = OrderError { text: "busy".into(), again: true };
                let result =
                    if self.faults && self.rng.u32(..20) == 0 { Err(busy) } else { Ok(()) };
                Event::Ordered { order: number, result }
            }
            Effect::Say { account, token, message } => {
                let to = number_of(&account);
                let (is_up, epoch) = self.links[&pair(party, to)];
                if !is_up {
                    let message = Err("the link is down".into());
                    let event = Event::Replied { account, token, message, signer: None };
                    self.pending.push(Pending::Hear { party, life, event });
                    return;
                }
                let carry = Pending::Carry { from: party, life, to, epoch, token, message };
                self.pending.push(carry);
                return;
            }
            Effect::Answer { token, message, .. } => {
                let Some(waiting) = self.waiting.remove(&(party, token)) else {
                    if let (Some(agreement), Message::Agreed { signature }) =
                        (self.asked.remove(&token), message)
                    {
                        self.signed.push((agreement, signature));
                    }
                    return;
                };
                if waiting.of_life == life {
                    self.reply(party, &waiting, Ok(message));
                }
                return;
            }
            Effect::Look { chain: 0, question } => {
                let lie = self.rng.u64(..);
                let lags = self.faults && self.rng.u32(..20) == 0;
                let lag = if lags { self.rng.usize(1..6) } else { 0 };
                let odd = self.faults && self.rng.u32(..50) == 0;
                let sight = if odd {
                    Err(LookError::Nonsense("no block has this number".into()))
                } else {
                    self.chain.look(us, &question, lie, lag)
                };
                Event::Seen { chain: 0, sight: sight.map(|sight| Box::new((question, sight))) }
            }
            Effect::Sign { chain, draft, content } => {
                let signed = self.chain.sign(us, content);
                Event::Signed { chain, draft, signed }
            }
            Effect::Send { transaction, attempt, bytes, .. } => {
                let (takes, loses) = (self.rng.bool(), self.faults && self.rng.u32(..8) == 0);
                let result = self.chain.send(&bytes, takes, loses);
                let odd = self.faults && self.rng.u32(..30) == 0;
                let result = if odd { Err(SendError::Refused("no".into())) } else { result };
                Event::Sent { transaction, attempt, result }
            }
            Effect::SignClaim { claim, .. } => {
                let signature = self.signs().map(|()| chain::sign(us, &claim));
                Event::ClaimSigned { claim, signature }
            }
            Effect::SignAgreement { agreement, .. } => {
                let signature = self.signs().map(|()| chain::sign(us, &agreement));
                Event::AgreementSigned { agreement, signature }
            }
            Effect::Tell(notice) => return self.hear(notice),
            Effect::Look { chain, .. } => unreachable!("there is no chain {chain}"),
        };
        self.pending.push(Pending::Hear { party, life, event });
    }

    pub(super) fn signs(&mut self) -> Result<(), SignError> {
        match self.faults && self.rng.u32(..20) == 0 {
            true => Err(SignError::Signer("the signer is gone".into())),
            false => Ok(()),
        }
    }

    pub(super) fn set_switch_down(&mut self, party: usize) {
        self.set_switch(party, false);
    }

    pub(super) fn hear(&mut self, notice: Notice) {
        if let Notice::Alarm { text, .. } = notice {
            self.tally.lost += u64::from(text.contains("another transaction has nonce"));
            assert!(!text.contains("stands for"), "{text}");
            // With a second key's hands in the game a store does not know everything.
            let is_fair = !self.plan.deep && !self.plan.cheats;
            for words in ["lost to us", "not in our store", "than our store knows"] {
                assert!(!is_fair || !text.contains(words), "{text}");
            }
        }
    }

    pub(super) fn carry(
        &mut self,
        from: usize,
        life: u64,
        to: usize,
        epoch: u64,
        token: u64,
        message: Message,
    ) {
        let waiting = Waiting { from, life, token, epoch, of_life: self.parties[to].life };
        if self.links[&pair(from, to)] != (true, epoch) || !self.parties[to].switch_up {
            return self.reply(to, &waiting, Err("the link is gone".into()));
        }
        // What is written is what is read.
        let message = Message::parse(&message.to_bytes()).expect("our own messages are read");
        let token = self.token();
        self.waiting.insert((to, token), waiting);
        let signer = signer_of(&message);
        let event = Event::Said { account: name(from), token, message: Ok(message), signer };
        self.feed(to, event);
    }

    pub(super) fn reply(&mut self, to: usize, waiting: &Waiting, message: Result<Message, String>) {
        let Waiting { from, life, token, epoch, .. } = *waiting;
        let is_up = self.links[&pair(from, to)] == (true, epoch);
        let message = if is_up { message } else { Err("the link is gone".into()) };
        let account = name(to);
        let settlement = &self.parties[from].settlement;
        let signer = match &message {
            Ok(Message::Agreed { signature }) => {
                self.tally.agreed += 1;
                let account = settlement.account(&account).unwrap();
                let asked = settlement.asked_agreement(account);
                asked.and_then(|agreement| chain::signer(&agreement, signature))
            }
            _ => None,
        };
        if let Ok(Message::Refused { reason, .. }) = &message {
            *self.tally.refused.entry(reason.word().into()).or_default() += 1;
        }
        let event = Event::Replied { account, token, message, signer };
        self.pending.push(Pending::Hear { party: from, life, event });
    }
}
