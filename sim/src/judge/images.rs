//! What a snapshot would carry, at any moment: the words of a shard's own accounts, its keys, and how
//! far it is in each stream.

use m2_core::ledger::Words;
use m2_core::{AccountId, AccountImage, Positions, ShardImage, Switch};

use crate::books::{Hop, State};
use crate::net::Net;

impl Net {
    /// Up to which position of a stream a shard has given its FULFILLs out.
    fn given(&self, core: usize, stream: usize) -> u64 {
        let shard = &self.shards[core];
        let stream_core = self.nodes[shard.switch].first_core + stream;
        let waits = |hop: &&Hop| {
            (hop.core_in, hop.core_out) == (core, stream_core)
                && matches!(hop.state, State::Withheld(_) | State::LetGo(_))
        };
        let first = self.hops.iter().filter(waits).filter_map(|hop| hop.position).min();
        first.unwrap_or(shard.applied[stream])
    }

    /// The image of every shard is what the books say.
    pub(crate) fn check_images(&self, cores: &[Switch]) {
        for (core, switch) in cores.iter().enumerate() {
            let image = switch.image();
            let ShardImage { shard, appended, applied, accounts, keys } = &image;
            let books = &self.shards[core];
            let node = &self.nodes[books.switch];
            let Positions { appended: at, applied: upto, given } = switch.positions();
            let wanted: Vec<u64> = (0..upto.len()).map(|it| self.given(core, it)).collect();
            assert!(
                given == wanted,
                "image: given out by shard {core} are {given:?}, not {wanted:?}"
            );
            assert!((*appended, applied) == (at, &upto), "image: other positions than the shard's");
            let is_there = at == books.stream.len() as u64 && upto == books.applied;
            let wanted = (books.stream.len(), &books.applied);
            assert!(is_there, "image: shard {core} is at {at} and {upto:?}, not {wanted:?}");
            assert!(usize::from(shard.0) == core - node.first_core, "image: of another shard");
            let own = (0..).zip(&node.accounts).filter(|(_, book)| book.plan.shard == shard.0);
            // That the words themselves are right is the business of the equations.
            let words = |account| switch.account_view(account).words;
            let wanted: Vec<_> = own
                .map(|(number, book)| AccountImage {
                    account: AccountId(number),
                    words: Words { held_in: 0, held_out: 0, ..words(AccountId(number)) },
                    balance_max: u64::try_from(book.balance_max).expect("limits are u64"),
                    payable_max: u64::try_from(book.payable_max).expect("limits are u64"),
                })
                .collect();
            assert!(*accounts == wanted, "image: {accounts:?}, not {wanted:?}");
            let known = books.keys.iter().map(|(key, state)| (*key, *state));
            assert!(known.eq(keys.iter().copied()), "image: other keys: {keys:?}");
        }
    }
}
