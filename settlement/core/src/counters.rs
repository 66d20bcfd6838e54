//! What has happened since the start.

use std::collections::BTreeMap;

use serde::Serialize;

/// See the head of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Claims of peers that counted.
    pub claims_taken: u64,
    /// Claims of peers that were held already.
    pub claims_repeated: u64,
    /// Claims and closes of peers that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Claims of ours that a peer has refused, by reason.
    pub refused_by_peers: BTreeMap<&'static str, u64>,
    /// Claims that we have signed.
    pub claims_given: u64,
    /// Amounts that the switch has frozen for accounts that do not settle.
    pub frozen_unserved: u64,
    /// Deposits that were final and are gone.
    pub reversals: u64,
    /// Transactions that were signed, each of their versions counted.
    pub transactions_signed: u64,
    /// Versions of transactions that offered more for a nonce.
    pub transactions_replaced: u64,
    /// How often a chain was handed a transaction.
    pub transactions_sent: u64,
    /// Looks at a chain that failed.
    pub looks_failed: u64,
    /// What somebody had to look at.
    pub alarms: u64,
}

impl Counters {
    pub(crate) fn refuse(&mut self, reason: crate::wire::Reason) {
        *self.refused.entry(reason.word()).or_default() += 1;
    }
}
