//! What must hold at every effect, and at the end.

use super::*;

impl World {
    /// What leaves a process is on its disk.
    pub(super) fn judge_effect(&mut self, party: usize, effect: &Effect) {
        let rows = &self.parties[party].rows;
        match effect {
            Effect::Send { bytes, .. } => {
                self.tally.sent += 1;
                assert!(
                    rows.have(Table::Transactions, bytes),
                    "bytes are sent that are on no disk"
                );
                let sent: Transaction = serde_json::from_slice(&bytes.0).unwrap();
                let first =
                    self.nonces.entry((party, sent.nonce)).or_insert_with(|| sent.call.clone());
                // A reorganisation below what is final gives a nonce back that was used up.
                let is_filler = sent.call == Call::Nothing;
                assert!(
                    self.plan.deep || is_filler || *first == sent.call,
                    "a nonce has two calls"
                );
            }
            Effect::Say { message: Message::Claim { signed, .. }, .. } => {
                assert!(rows.have(Table::Channels, &signed.signature), "a claim is on no disk");
            }
            Effect::Say { message: Message::Close { signature, .. }, .. }
            | Effect::Answer { message: Message::Agreed { signature }, .. } => {
                assert!(rows.have(Table::Channels, signature), "an agreement is on no disk");
            }
            Effect::Answer { message: Message::Taken { channel, total }, .. } => {
                let row = &rows.0[&(Table::Channels, channel.to_string())];
                assert!(held(row) >= *total, "a claim is acknowledged that is on no disk");
            }
            Effect::Answer { message: Message::Refused { reason, .. }, .. } => {
                *self.tally.refused.entry(reason.word().into()).or_default() += 1;
            }
            Effect::Order { number, .. } => {
                let row = rows.0.contains_key(&(Table::Orders, number.to_string()));
                assert!(row, "the switch is told what is on no disk");
            }
            _ => {}
        }
    }

    /// What is called settled is held by the peer.
    pub(super) fn judge_order(&self, party: usize, account: &str, order: &Order) {
        let Order::Settled { key } = order else { return };
        if self.plan.cheats && (party == 0 || account == name(0)) {
            return;
        }
        let books = &self.parties[party].books[account];
        let this = books.frozen.get(key).copied().unwrap_or(0);
        let settled = books.settled.values().sum::<u128>() + this;
        let peer = &self.parties[number_of(account)].rows;
        let of_us = |row: &str| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            row["account"] == *name(party)
        };
        let channels = peer.0.iter().filter(|((table, _), _)| *table == Table::Channels);
        let held: u128 = channels.filter(|(_, row)| of_us(row)).map(|(_, row)| held(row)).sum();
        let due = self.scales.to_token(settled).unwrap();
        assert!(due <= held, "{due} are called settled, and the peer holds {held}");
    }

    /// What each has credited to each, and what it is to come to.
    pub(super) fn credits(&self) -> impl Iterator<Item = (i128, i128)> {
        let count = self.parties.len();
        let pairs = (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).map(|(from, to)| {
            let frozen = self.parties[from].books[&name(to)].frozen_in_all();
            let paid = self.scales.to_token(frozen).unwrap();
            let due = self.scales.to_account(paid).unwrap();
            let credited = self.parties[to].books[&name(from)].credited_in_all();
            (credited, i128::try_from(due).unwrap())
        })
    }

    pub(super) fn judge_credits(&self, is_end: bool) {
        if self.plan.cheats {
            return;
        }
        for (credited, due) in self.credits() {
            assert!(credited <= due, "{credited} are credited of {due}");
            assert!(!is_end || credited == due, "{credited} are credited of {due}");
        }
    }

    /// After all channels are over: what each has is what it had, less what it paid, and what it was paid.
    pub(super) fn judge_balances(&self) {
        let count = self.parties.len();
        let paid = |from: usize, to: usize| {
            self.scales.to_token(self.parties[from].books[&name(to)].frozen_in_all()).unwrap()
        };
        for party in 0..count {
            let others = || (0..count).filter(|peer| *peer != party);
            let came: u128 = others().map(|peer| paid(peer, party)).sum();
            let went: u128 = others().map(|peer| paid(party, peer)).sum();
            let has = self.chain.balance(self.parties[party].id, TOKEN);
            assert_eq!(has, EACH + came - went, "p{party} was paid {came} and paid {went}");
        }
    }
}

/// What a row of a channel holds of the peer: its best claim, or what the chain has paid.
fn held(row: &str) -> u128 {
    let row: HeldRow = serde_json::from_str(row).unwrap();
    let best = row.best.map_or(0, |best| best.claim.total);
    let redeemed = row.seen.map_or(0, |seen| seen.sides[1 - row.ours].redeemed);
    best.max(redeemed)
}

#[derive(serde::Deserialize)]
struct HeldRow {
    ours: usize,
    best: Option<SignedClaim>,
    seen: Option<OnChain>,
}
