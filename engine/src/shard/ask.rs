//! What operators are told of a shard.

use m2_core::AssetIndex;

use super::message::{Question, Snapshot};
use super::run::Shard;

impl Shard {
    /// The answer to a question, all of this moment.
    pub(super) fn snapshot(&self, question: Question) -> Snapshot {
        match question {
            Question::Status => Snapshot::Status {
                links: u32::try_from(self.links.open_count()).unwrap_or(u32::MAX),
                in_flight: self.switch.in_flight(),
                draining: self.draining,
            },
            Question::Counters => {
                let asset =
                    |at: usize| AssetIndex(u16::try_from(at).expect("assets are numbered by u16"));
                let row = |from: usize| (0..self.assets).map(move |to| (asset(from), asset(to)));
                let pairs = (0..self.assets).flat_map(row);
                Snapshot::Counters {
                    core: Box::new(self.switch.counters().clone()),
                    links: Box::new(self.links.counters),
                    pairs: pairs.map(|(from, to)| self.switch.pair_total(from, to)).collect(),
                }
            }
        }
    }
}
