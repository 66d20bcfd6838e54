//! Records: each is a pair that was fulfilled, both legs of it, once; or a FULFILL that came too late.

use m2_core::{PairRecord, Record};

use crate::books::Hop;
use crate::coverage::Fault;
use crate::endpoint::{head, sha256};
use crate::net::Net;

impl Net {
    /// Judges a record that left a core.
    pub(crate) fn judge_record(&mut self, core: usize, record: Record) {
        let shard = &mut self.shards[core];
        assert!(shard.records > 0, "equation 1: a record more than pairs");
        shard.records -= 1;
        match record {
            Record::Pair(pair) => self.judge_pair(core, &pair),
            Record::LateFulfill(late) => {
                self.coverage.saw(Fault::LateEvidence);
                let hop = self.shards[core].by_id.get(&late.request_id).copied();
                let hop = hop.expect("answer: evidence for no packet");
                let came = self.late.remove(&hop);
                assert!(came, "answer: evidence that did not come, or twice, or of a pair");
                let Hop { condition, account_out, epoch_out, .. } = self.hops[hop];
                assert!(
                    sha256(&late.fulfillment) == condition,
                    "hash: evidence that opens nothing"
                );
                let connection = self.connection(account_out, epoch_out);
                assert!(late.connection == connection, "answer: evidence from another connection");
            }
            other => panic!("equation 1: a record of what was not done: {other:?}"),
        }
    }

    fn judge_pair(&mut self, core: usize, pair: &PairRecord) {
        let switch = self.shards[core].switch;
        let key = head(&pair.condition_head);
        let is_it = |hop: &Hop| {
            hop.core_out == core
                && hop.condition[..16] == pair.condition_head
                && (hop.account_in, hop.amount_in) == (pair.account_in.0, pair.amount_in)
                && (hop.account_out, hop.amount_out) == (pair.account_out.0, pair.amount_out)
                && hop.version == pair.rate_version
                && hop.decided_at_ms == pair.decided_at_ms
        };
        let hops = self.nodes[switch].unrecorded.get_mut(&key);
        let hops = hops.expect("equation 1: a record of a pair that was not fulfilled");
        let found = hops.iter().position(|hop| is_it(&self.hops[*hop]));
        let found = found.unwrap_or_else(|| {
            panic!("equation 1: a record of other legs than were moved: {pair:?}")
        });
        hops.swap_remove(found);
        if hops.is_empty() {
            self.nodes[switch].unrecorded.remove(&key);
        }
        let accounts = &self.nodes[switch].accounts;
        let asset_in = accounts[pair.account_in.0 as usize].asset;
        let asset_out = accounts[pair.account_out.0 as usize].asset;
        // By the rates of its own version nothing but spread and remainder stays here.
        let tariff = &self.nodes[switch].tariffs[pair.rate_version as usize - 1];
        let worth = tariff.convert(asset_in, asset_out, pair.amount_in);
        assert!(worth == Ok(pair.amount_out), "equation 1: {worth:?} is the worth of {pair:?}");
        self.totals[usize::from(asset_in)].records_in += i128::from(pair.amount_in);
        self.totals[usize::from(asset_out)].records_out += i128::from(pair.amount_out);
    }
}
