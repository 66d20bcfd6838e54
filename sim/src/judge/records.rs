//! Records: what a shard's stream must hold, one after the other. A pair that was fulfilled, both legs
//! of it; a FULFILL that came too late; what happened outside of packets, under its key.

use m2_core::{Durability, LateFulfill, PairRecord, Record};

use crate::books::{Hop, Written};
use crate::coverage::Fault;
use crate::endpoint::sha256;
use crate::net::Net;

impl Net {
    /// Whether a record is free, besides those that packets in flight may need.
    pub(crate) fn has_record_room(&self, core: usize) -> bool {
        let shard = &self.shards[core];
        let waiting = shard.stream.len() - shard.taken;
        waiting + shard.places < self.plan.switches[shard.switch].rings.records
    }

    /// A shard must have made this record: its position.
    pub(crate) fn write(&mut self, core: usize, written: Written) -> u64 {
        let stream = &mut self.shards[core].stream;
        stream.push(written);
        stream.len() as u64 - 1
    }

    /// Judges a record that left a core: it is the next one.
    pub(crate) fn judge_record(&mut self, core: usize, record: &Record) {
        let shard = &mut self.shards[core];
        let written = shard.stream.get(shard.taken).cloned();
        let written = written.unwrap_or_else(|| {
            panic!("equation 1: a record of what was not done: {record:?}");
        });
        shard.taken += 1;
        match (written, record) {
            (Written::Pair(hop), Record::Pair(pair)) => self.judge_pair(hop, pair),
            (Written::Late(hop), Record::LateFulfill(late)) => self.judge_late(hop, late),
            (Written::Other(other), record) => {
                assert!(
                    other == *record,
                    "equation 1: {other:?} was done, the record is {record:?}"
                );
            }
            (written, record) => {
                panic!("equation 1: {written:?} is next in the stream, the record is {record:?}")
            }
        }
    }

    fn judge_late(&mut self, hop: usize, late: &LateFulfill) {
        self.coverage.saw(Fault::LateEvidence);
        let Hop { condition, account_out, epoch_out, id_out, .. } = self.hops[hop];
        assert!(sha256(&late.fulfillment) == condition, "hash: evidence that opens nothing");
        let connection = self.connection(account_out, epoch_out);
        let is_its = late.connection == connection && late.request_id == id_out;
        assert!(is_its, "answer: evidence from another connection, or for another packet");
    }

    fn judge_pair(&mut self, hop: usize, pair: &PairRecord) {
        let hop = &self.hops[hop];
        let durability = self.durability(hop.switch, hop.account_in);
        let is_it = hop.condition[..16] == pair.condition_head
            && (hop.account_in, hop.amount_in) == (pair.account_in.0, pair.amount_in)
            && (hop.account_out, hop.amount_out) == (pair.account_out.0, pair.amount_out)
            && hop.version == pair.rate_version
            && hop.decided_at_ms == pair.decided_at_ms
            && durability == pair.durability;
        assert!(is_it, "equation 1: a record of other legs than were moved: {pair:?}, not {hop:?}");
        let node = &self.nodes[hop.switch];
        let asset_in = node.accounts[pair.account_in.0 as usize].asset;
        let asset_out = node.accounts[pair.account_out.0 as usize].asset;
        // By the rates of its own version nothing but spread and remainder stays here.
        let tariff = &node.tariffs[pair.rate_version as usize - 1];
        let worth = tariff.convert(asset_in, asset_out, pair.amount_in);
        assert!(worth == Ok(pair.amount_out), "equation 1: {worth:?} is the worth of {pair:?}");
        self.totals[usize::from(asset_in)].records_in += i128::from(pair.amount_in);
        self.totals[usize::from(asset_out)].records_out += i128::from(pair.amount_out);
    }

    pub(crate) fn durability(&self, switch: usize, account: u32) -> Durability {
        self.nodes[switch].accounts[account as usize].plan.durability
    }
}
