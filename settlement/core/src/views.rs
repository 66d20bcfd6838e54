//! What an operator is shown. Amounts are strings of digits, as they do not fit the numbers of every reader of
//! JSON; what belongs to one account is of one moment.

use serde::Serialize;

use crate::chain::{ChannelState, OnChain};
use crate::counters::Counters;
use crate::rows::{Ending, Job, Order};
use crate::settlement::{Account, Channel, Settlement, Transaction};

/// Everything at once.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The switch is there.
    pub switch_connected: bool,
    /// In the order of the configuration.
    pub chains: Vec<ChainView>,
    /// In the order of the configuration.
    pub accounts: Vec<AccountView>,
    /// Channels, also those that are over.
    pub channels: Vec<ChannelView>,
    /// That are not final.
    pub transactions: Vec<TransactionView>,
    /// What the switch has not recorded yet.
    pub orders: Vec<OrderView>,
    /// Since the start.
    pub counters: Counters,
}

/// A chain and what it has cost.
#[derive(Clone, Debug, Serialize)]
pub struct ChainView {
    /// Chain and contract.
    pub name: String,
    /// Who we are there.
    pub party: String,
    /// The newest block that was seen.
    pub latest_block: Option<u64>,
    /// The newest final block that was seen.
    pub final_block: Option<u64>,
    /// How long ago, in milliseconds.
    pub seen_ms_ago: Option<u64>,
    /// Why it was not seen when it was looked at last.
    pub error: Option<String>,
    /// Ours for gas, in the chain's smallest unit.
    pub gas_money: Option<String>,
    /// Transactions that are final and did what they were to do.
    pub succeeded: u64,
    /// That are final and failed.
    pub failed: u64,
    /// Whose nonce another one has taken.
    pub lost: u64,
    /// Claims that were redeemed.
    pub claims_redeemed: u64,
    /// Of all that are final.
    pub gas: u64,
    /// What it cost, in the chain's smallest unit.
    pub cost: String,
}

/// An account.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    /// As the switch names it.
    pub account: String,
    /// Who the peer is on the chain.
    pub peer: String,
    /// It has a link.
    pub connected: bool,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Units of the account that were frozen for it, in all.
    pub frozen: String,
    /// Keys that are to be paid.
    pub keys_open: usize,
    /// Units of the token that it was given in claims, in all.
    pub given: String,
    /// What of it the peer has acknowledged, or the chain paid.
    pub settled: String,
    /// Units of the account that are frozen and below one unit of the token.
    pub left_over: Option<String>,
    /// Units of the account that were credited for what it gave us, in all.
    pub credited: String,
}

/// A payment channel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelView {
    /// Its id.
    pub channel: String,
    /// Of which account.
    pub account: String,
    /// `opening`, `open`, `agreed`, `closing`, `over`; `unseen` if a peer's is gone.
    pub state: &'static str,
    /// How an operator wants it to end.
    pub ending: Option<&'static str>,
    /// Until when claims count, if it is closing: seconds since 1970.
    pub closes_at_s: Option<u64>,
    /// A close that is not answered yet would take something from us.
    pub disputed: bool,
    /// Ours, that is final. All amounts in units of the token.
    pub our_deposit: String,
    /// What it is to be.
    pub our_deposit_wanted: String,
    /// The peer's, that is final.
    pub their_deposit: String,
    /// The highest claim that we have signed.
    pub given: String,
    /// The highest that the peer has acknowledged.
    pub acknowledged: String,
    /// The highest claim that we hold.
    pub held: String,
    /// What of it was credited.
    pub credited: String,
    /// What of it the chain has paid, for good.
    pub redeemed: String,
}

/// A transaction that is not final.
#[derive(Clone, Debug, Serialize)]
pub struct TransactionView {
    /// Chain and contract.
    pub chain: String,
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub jobs: Vec<Job>,
    /// Every version that bids for the nonce.
    pub hashes: Vec<String>,
    /// It is in a block that may yet vanish.
    pub included: bool,
    /// What the latest version offers for a unit of gas, in the chain's smallest unit.
    pub fee_most: String,
}

/// What the switch has not recorded yet.
#[derive(Clone, Debug, Serialize)]
pub struct OrderView {
    /// About which account.
    pub account: String,
    /// What.
    pub order: Order,
}

impl Settlement {
    /// What an operator is shown.
    #[must_use]
    pub fn view(&self, now: crate::event::Now) -> View {
        View {
            switch_connected: self.switch_up,
            chains: (0..self.chains.len()).map(|at| self.chain_view(now, at)).collect(),
            accounts: (0..self.accounts.len()).map(|at| self.account_view(at)).collect(),
            channels: self.channels.iter().map(|(id, it)| channel_view(id, it)).collect(),
            transactions: self.transactions.values().map(transaction_view).collect(),
            orders: self.orders.values().map(|it| &it.row).map(order_view).collect(),
            counters: self.counters.clone(),
        }
    }

    fn chain_view(&self, now: crate::event::Now, at: usize) -> ChainView {
        let chain = &self.chains[at];
        let sight = chain.sight.as_ref();
        let costs = chain.costs;
        ChainView {
            name: chain.name.clone(),
            party: self.config.chains[at].us.address(),
            latest_block: sight.map(|sight| sight.latest.number),
            final_block: sight.map(|sight| sight.last_final.number),
            seen_ms_ago: chain.looked_at.map(|at| now.0.saturating_sub(at.0)),
            error: chain.look_error.clone(),
            gas_money: sight.map(|sight| sight.gas_money.to_string()),
            succeeded: costs.succeeded,
            failed: costs.failed,
            lost: costs.lost,
            claims_redeemed: costs.claims,
            gas: costs.gas,
            cost: costs.money.to_string(),
        }
    }

    fn account_view(&self, at: usize) -> AccountView {
        let (config, account): (_, &Account) = (self.account_config(at), &self.accounts[at]);
        let given = self.given_in_all(at);
        let due = config.scales.to_token(account.sum);
        let paid = due.and_then(|due| config.scales.to_account(due));
        AccountView {
            account: config.name.clone(),
            peer: config.peer.address(),
            connected: account.peer_up,
            paused: account.row.paused.clone(),
            frozen: account.sum.to_string(),
            keys_open: account.open.len(),
            given: given.to_string(),
            settled: self.proven(at).to_string(),
            left_over: paid.map(|paid| account.sum.saturating_sub(paid).to_string()),
            credited: account.row.credited.to_string(),
        }
    }
}

fn channel_view(id: &crate::chain::ChannelId, channel: &Channel) -> ChannelView {
    let row = &channel.row;
    let closing = [&channel.latest, &row.seen].into_iter().flatten().find(|it| is_closing(it));
    let state = match (&row.seen, closing) {
        _ if row.over => "over",
        (_, Some(_)) => "closing",
        (Some(_), None) if row.agreed.is_some() => "agreed",
        (Some(_), None) => "open",
        (None, None) if row.terms.is_some() => "opening",
        (None, None) => "unseen",
    };
    let gain = channel.best().min(channel.their_deposit_latest()) > channel.their_redeemed();
    ChannelView {
        channel: id.to_string(),
        account: row.account.clone(),
        state,
        ending: row.ending.map(|ending| match ending {
            Ending::Together => "together",
            Ending::Alone => "alone",
        }),
        closes_at_s: closing.map(|it| it.closes_at_s),
        disputed: !row.over && closing.is_some() && gain,
        our_deposit: channel.our_deposit().to_string(),
        our_deposit_wanted: row.want_deposit.to_string(),
        their_deposit: channel.their_deposit_final().to_string(),
        given: channel.given().to_string(),
        acknowledged: row.acked.to_string(),
        held: channel.best().to_string(),
        credited: row.credited.to_string(),
        redeemed: channel.their_redeemed().to_string(),
    }
}

fn is_closing(on_chain: &OnChain) -> bool {
    on_chain.state == ChannelState::Closing
}

fn transaction_view(transaction: &Transaction) -> TransactionView {
    let row = &transaction.row;
    let last = row.attempts.last().expect("a transaction has signed bytes");
    TransactionView {
        chain: row.chain.clone(),
        nonce: row.nonce,
        jobs: row.jobs.clone(),
        hashes: row.attempts.iter().map(|attempt| attempt.hash.to_string()).collect(),
        included: transaction.included,
        fee_most: last.fee.most.to_string(),
    }
}

fn order_view(row: &crate::rows::OrderRow) -> OrderView {
    OrderView { account: row.account.clone(), order: row.order.clone() }
}
