//! A chain with the payment channels' contract as it is written down: blocks with a state each, a pool of
//! transactions, and everything that a chain may do to what is not final.

use std::collections::BTreeMap;

use m2_settlement::chain::{
    Agreement, Bytes, Call, ChannelId, ChannelSight, ChannelState, Claim, Draft, Fee, Head,
    Included, LookError, OnChain, Party, Question, SendError, Side, Sight, SignError, Signed,
    SignedClaim, Terms, Token, TokenSight, TxHash,
};
use serde::{Deserialize, Serialize};

/// What a transaction has in it, as JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Transaction {
    pub(crate) from: Party,
    pub(crate) nonce: u64,
    pub(crate) call: Call,
    pub(crate) fee: Fee,
}

impl Transaction {
    pub(crate) fn hash(&self) -> TxHash {
        TxHash(*blake3::hash(&serde_json::to_vec(self).unwrap()).as_bytes())
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    channels: BTreeMap<ChannelId, OnChain>,
    balances: BTreeMap<(Party, Token), u128>,
    allowed: BTreeMap<(Party, Token), bool>,
    nonces: BTreeMap<Party, u64>,
    included: BTreeMap<TxHash, bool>,
}

#[derive(Clone, Debug)]
struct Block {
    head: Head,
    state: State,
    transactions: Vec<Transaction>,
}

pub(crate) struct Chain {
    blocks: Vec<Block>,
    pool: Vec<Transaction>,
    pub(crate) finality_blocks: usize,
    /// The newest final block: it never goes back, but when what is final is taken back.
    final_at: usize,
    pub(crate) base_fee: u128,
    /// It answers nothing.
    pub(crate) hangs: bool,
    /// What it shows of what is not final is made up.
    pub(crate) lies: bool,
    /// How many blocks were ever taken back.
    pub(crate) taken_back: u64,
}

pub(crate) fn channel_id(terms: &Terms) -> ChannelId {
    ChannelId(*blake3::hash(&serde_json::to_vec(terms).unwrap()).as_bytes())
}

/// A signature is its signer and a hash of what is signed, as nobody forges them here.
pub(crate) fn sign(signer: Party, what: &impl Serialize) -> Bytes {
    let mut bytes = signer.0.to_vec();
    bytes.extend(&blake3::hash(&serde_json::to_vec(what).unwrap()).as_bytes()[..8]);
    Bytes(bytes)
}

pub(crate) fn signer(what: &impl Serialize, signature: &Bytes) -> Option<Party> {
    let party = Party(*signature.0.first_chunk()?);
    (sign(party, what) == *signature).then_some(party)
}

impl Chain {
    pub(crate) fn new(
        parties: &[Party],
        tokens: &[Token],
        each: u128,
        finality_blocks: usize,
    ) -> Self {
        let mut state = State::default();
        for party in parties {
            for token in tokens {
                state.balances.insert((*party, *token), each);
            }
        }
        let head = Head { number: 0, time_s: 1_800_000_000 };
        Self {
            blocks: vec![Block { head, state, transactions: Vec::new() }],
            pool: Vec::new(),
            finality_blocks,
            final_at: 0,
            base_fee: 100,
            hangs: false,
            lies: false,
            taken_back: 0,
        }
    }

    fn latest(&self) -> &Block {
        self.blocks.last().unwrap()
    }

    fn last_final(&self) -> &Block {
        &self.blocks[self.final_at]
    }

    pub(crate) fn balance(&self, party: Party, token: Token) -> u128 {
        self.last_final().state.balances[&(party, token)]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }

    pub(crate) fn open_channels(&self) -> usize {
        let channels = self.latest().state.channels.values();
        channels.filter(|channel| channel.state != ChannelState::Settled).count()
    }

    /// Every channel, as the latest block has it.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (ChannelId, &OnChain)> {
        self.latest().state.channels.iter().map(|(id, channel)| (*id, channel))
    }

    pub(crate) fn nonce(&self, party: Party) -> u64 {
        self.latest().state.nonces.get(&party).copied().unwrap_or(0)
    }

    pub(crate) fn channels_of(&self, party: Party) -> Vec<ChannelId> {
        let channels = self.latest().state.channels.iter();
        channels
            .filter(|(_, it)| it.parties.contains(&party) && it.state == ChannelState::Open)
            .map(|(id, _)| *id)
            .collect()
    }

    /// A block at a time, with what pays enough of the pool.
    pub(crate) fn mine(&mut self, time_s: u64) {
        let before = self.latest().clone();
        let head =
            Head { number: before.head.number + 1, time_s: time_s.max(before.head.time_s + 1) };
        let mut block = Block { head, state: before.state, transactions: Vec::new() };
        self.pool.sort_by_key(|it| (it.nonce, core::cmp::Reverse(it.fee.most)));
        let mut left = Vec::new();
        for transaction in core::mem::take(&mut self.pool) {
            let next = block.state.nonces.get(&transaction.from).copied().unwrap_or(0);
            if transaction.nonce < next {
                continue;
            }
            if transaction.nonce > next || transaction.fee.most < self.base_fee {
                left.push(transaction);
                continue;
            }
            let mut after = block.state.clone();
            let succeeded = apply(&mut after, &transaction, head.time_s).is_ok();
            if succeeded {
                block.state = after;
            }
            block.state.nonces.insert(transaction.from, next + 1);
            block.state.included.insert(transaction.hash(), succeeded);
            block.transactions.push(transaction);
        }
        self.pool = left;
        self.blocks.push(block);
        self.final_at =
            self.final_at.max(self.blocks.len().saturating_sub(1 + self.finality_blocks));
    }

    /// Takes back the newest blocks; their transactions are in the pool again, or forgotten.
    /// As many as are asked for, or as are not final.
    pub(crate) fn reorganise(&mut self, depth: usize, forgets: bool) {
        self.take_back(depth.min(self.blocks.len() - 1 - self.final_at), forgets);
    }

    /// Takes back what was final.
    pub(crate) fn break_finality(&mut self, depth: usize) {
        self.take_back(depth.min(self.blocks.len() - 1), true);
        self.final_at = self.final_at.min(self.blocks.len() - 1);
    }

    fn take_back(&mut self, depth: usize, forgets: bool) {
        for _ in 0..depth {
            let block = self.blocks.pop().unwrap();
            self.taken_back += 1;
            if !forgets {
                self.pool.extend(block.transactions);
            }
        }
    }

    pub(crate) fn forget_pool(&mut self) {
        self.pool.clear();
    }

    /// `lag`: the node is so many blocks behind.
    pub(crate) fn look(
        &self,
        us: Party,
        question: &Question,
        lie: u64,
        lag: usize,
    ) -> Result<Sight, LookError> {
        if self.hangs {
            return Err(LookError::Unreachable("no answer in time".into()));
        }
        let latest = &self.blocks
            [(self.blocks.len() - 1).saturating_sub(lag).max(self.final_at.saturating_sub(lag))];
        let last_final = &self.blocks[self.final_at.saturating_sub(lag)];
        let nonce = |block: &Block| block.state.nonces.get(&us).copied().unwrap_or(0);
        let channels = question.channels.iter().map(|id| {
            let mut at_latest = latest.state.channels.get(id).cloned();
            if self.lies
                && let Some(channel) = &mut at_latest
            {
                made_up(channel, lie, latest.head.time_s);
            }
            let at_final = last_final.state.channels.get(id).cloned();
            (*id, ChannelSight { latest: at_latest, last_final: at_final })
        });
        let tokens = question.tokens.iter().map(|token| {
            let allowed = latest.state.allowed.get(&(us, *token)).copied().unwrap_or(false);
            let balance = latest.state.balances[&(us, *token)];
            let allowance = if allowed { u128::MAX } else { 0 };
            (*token, TokenSight { balance, allowance, owed: 0 })
        });
        let transactions = question.transactions.iter().filter_map(|hash| {
            let succeeded = *latest.state.included.get(hash)?;
            let is_final = last_final.state.included.contains_key(hash);
            Some((*hash, Included { is_final, succeeded, cost: 21, gas: 21 }))
        });
        Ok(Sight {
            latest: latest.head,
            last_final: last_final.head,
            nonce_final: nonce(last_final),
            nonce_latest: nonce(latest),
            fee: Fee { most: self.base_fee * 2, tip: 1 },
            gas_money: u128::MAX,
            channels: channels.collect(),
            tokens: tokens.collect(),
            transactions: transactions.collect(),
        })
    }

    pub(crate) fn sign(&self, us: Party, draft: Draft) -> Result<Signed, SignError> {
        if self.hangs {
            return Err(SignError::Unreachable("no answer in time".into()));
        }
        let transaction =
            Transaction { from: us, nonce: draft.nonce, call: draft.call, fee: draft.fee };
        let mut state = self.latest().state.clone();
        if let Err(why) = apply(&mut state, &transaction, self.latest().head.time_s) {
            return Err(SignError::WouldFail(why.into()));
        }
        let bytes = Bytes(serde_json::to_vec(&transaction).unwrap());
        Ok(Signed { bytes, hash: transaction.hash(), fee: draft.fee })
    }

    /// `loses`: the answer does not come back, whatever the chain does.
    pub(crate) fn send(
        &mut self,
        bytes: &Bytes,
        takes: bool,
        loses: bool,
    ) -> Result<(), SendError> {
        let lost = Err(SendError::Unreachable("no answer in time".into()));
        if self.hangs && !takes {
            return lost;
        }
        let transaction: Transaction = serde_json::from_slice(&bytes.0).unwrap();
        let result = self.take(transaction);
        if loses || self.hangs { lost } else { result }
    }

    pub(crate) fn take(&mut self, transaction: Transaction) -> Result<(), SendError> {
        if self.latest().state.included.contains_key(&transaction.hash()) {
            return Err(SendError::Known);
        }
        if transaction.nonce < self.nonce(transaction.from) {
            return Err(SendError::NonceUsed);
        }
        let same = self
            .pool
            .iter()
            .position(|it| (it.from, it.nonce) == (transaction.from, transaction.nonce));
        if let Some(at) = same {
            let before = &self.pool[at];
            if *before == transaction {
                return Err(SendError::Known);
            }
            if transaction.fee.most < before.fee.most + before.fee.most / 8 {
                return Err(SendError::FeeTooLow);
            }
            self.pool.remove(at);
        }
        self.pool.push(transaction);
        Ok(())
    }
}

/// What may be shown of a channel that is not final: more than there is, less, a close, an end.
fn made_up(channel: &mut OnChain, lie: u64, time_s: u64) {
    match lie % 4 {
        0 => channel.sides.iter_mut().for_each(|side| side.deposit += 1_000_000),
        1 => channel.sides.iter_mut().for_each(|side| side.deposit = side.redeemed),
        2 => {
            channel.state = ChannelState::Closing;
            channel.closes_at_s = time_s + lie % 1_000;
        }
        _ => {}
    }
}

fn apply(state: &mut State, transaction: &Transaction, time_s: u64) -> Result<(), &'static str> {
    let from = transaction.from;
    match &transaction.call {
        Call::Approve { token } => {
            state.allowed.insert((from, *token), true);
        }
        Call::Open { terms, deposit } => {
            let id = channel_id(terms);
            if terms.first != from || state.channels.contains_key(&id) {
                return Err("ChannelExists");
            }
            let channel = OnChain {
                parties: [terms.first, terms.second],
                token: terms.token,
                window_s: terms.window_s,
                state: ChannelState::Open,
                closes_at_s: 0,
                sides: [Side::default(); 2],
            };
            state.channels.insert(id, channel);
            if *deposit > 0 {
                raise_deposit(state, from, id, *deposit)?;
            }
        }
        Call::Deposit { channel, total } => raise_deposit(state, from, *channel, *total)?,
        Call::Redeem { claims } => {
            for claim in claims {
                redeem(state, claim, time_s);
            }
        }
        Call::Close { channel } => {
            let channel = state.channels.get_mut(channel).ok_or("None")?;
            if channel.state != ChannelState::Open || !channel.parties.contains(&from) {
                return Err("ChannelNotOpen");
            }
            channel.state = ChannelState::Closing;
            channel.closes_at_s = time_s + u64::from(channel.window_s);
        }
        Call::CloseTogether { agreement, first_signature, second_signature } => {
            close_together(state, agreement, [first_signature, second_signature], time_s)?;
        }
        Call::Settle { channel } => {
            let it = state.channels.get(channel).ok_or("None")?;
            if it.state != ChannelState::Closing || time_s <= it.closes_at_s {
                return Err("WindowStillOpen");
            }
            pay_out(state, *channel);
        }
        Call::Nothing => {}
        Call::Collect { .. } => return Err("LessIsOwed"),
    }
    Ok(())
}

fn raise_deposit(
    state: &mut State,
    from: Party,
    id: ChannelId,
    total: u128,
) -> Result<(), &'static str> {
    let channel = state.channels.get_mut(&id).ok_or("None")?;
    let at = channel.parties.iter().position(|party| *party == from).ok_or("NotParticipant")?;
    if channel.state != ChannelState::Open {
        return Err("ChannelNotOpen");
    }
    let side = &mut channel.sides[at];
    let rise = total.checked_sub(side.deposit).filter(|rise| *rise > 0).ok_or("TotalNotHigher")?;
    if !state.allowed.get(&(from, channel.token)).copied().unwrap_or(false) {
        return Err("ERC20InsufficientAllowance");
    }
    let balance = state.balances.get_mut(&(from, channel.token)).ok_or("no balance")?;
    *balance = balance.checked_sub(rise).ok_or("ERC20InsufficientBalance")?;
    side.deposit = total;
    Ok(())
}

fn redeem(state: &mut State, signed: &SignedClaim, time_s: u64) {
    let SignedClaim { claim, signature } = signed;
    let Some(channel) = state.channels.get_mut(&claim.channel) else { return };
    let is_late = channel.state == ChannelState::Closing && time_s > channel.closes_at_s;
    if channel.state == ChannelState::Settled || is_late {
        return;
    }
    let payer = signer(claim, signature);
    let Some(at) = channel.parties.iter().position(|party| Some(*party) == payer) else { return };
    let total = claim.total.min(channel.sides[at].deposit);
    let rise = total.saturating_sub(channel.sides[at].redeemed);
    channel.sides[at].redeemed += rise;
    let payee = (channel.parties[1 - at], channel.token);
    *state.balances.get_mut(&payee).unwrap() += rise;
}

fn close_together(
    state: &mut State,
    agreement: &Agreement,
    signatures: [&Bytes; 2],
    time_s: u64,
) -> Result<(), &'static str> {
    let channel = state.channels.get_mut(&agreement.channel).ok_or("None")?;
    if channel.state == ChannelState::Settled || time_s > agreement.valid_until_s {
        return Err("SignatureTooOld");
    }
    for (party, signature) in channel.parties.iter().zip(signatures) {
        if signer(agreement, signature) != Some(*party) {
            return Err("NotSignedBy");
        }
    }
    let paid = [agreement.first_paid, agreement.second_paid];
    let payees = [(channel.parties[1], channel.token), (channel.parties[0], channel.token)];
    for ((side, paid), payee) in channel.sides.iter_mut().zip(paid).zip(payees) {
        if paid < side.redeemed || paid > side.deposit {
            return Err("PaidOutOfBounds");
        }
        *state.balances.get_mut(&payee).unwrap() += paid - side.redeemed;
        side.redeemed = paid;
    }
    pay_out(state, agreement.channel);
    Ok(())
}

/// Each gets back what is left of its own deposit.
fn pay_out(state: &mut State, id: ChannelId) {
    let channel = state.channels.get_mut(&id).unwrap();
    channel.state = ChannelState::Settled;
    for (party, side) in channel.parties.iter().zip(channel.sides) {
        let balance = state.balances.get_mut(&(*party, channel.token)).unwrap();
        *balance += side.deposit - side.redeemed;
    }
}

/// The signer of a claim.
pub(crate) fn claimer(claim: &Claim, signature: &Bytes) -> Option<Party> {
    signer(claim, signature)
}
