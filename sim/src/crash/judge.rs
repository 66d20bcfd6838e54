//! What must hold after every recovery.
//!
//! 1. A FULFILL that a `sync` peer's socket has is recovered with both legs, but for those that the
//!    switch listed as sent on without their record.
//! 2. What is recovered is, of each stream, all up to some record, at least all that was told to be
//!    durable, and nothing that was not decided; every word, key and limit is what these make of it.
//! 3. What is lost of an account is no more than its counters said to be at risk, and what was told at
//!    its own risk was told within both bounds.
//! 4. Each recovered pair whose FULFILL no socket had is listed as perhaps undelivered.
//! 5. A journal that has failed gives out exactly what it was given and is not durable.

use std::collections::{BTreeMap, BTreeSet};

use m2_core::ledger::Words;
use m2_core::record::{PairRecord, Record};
use m2_core::{AccountId, Durability, JournalState, Legs};
use m2_journal::limits::BLOCK_LEN;
use m2_journal::recover::Recovered;
use m2_journal::{Lost, record};

use super::books::{Cut, index};
use super::machine::{Journal, shard_id};
use super::peers::{Listed, Packet, Told};
use super::plan::{MS, START};
use super::seen::Event;
use super::world::World;

/// What an account's counters say of legs that are not durable: incoming, outgoing.
pub(crate) type Risk = (Legs, Legs);

impl World {
    /// Judges what was recovered of this life.
    pub(crate) fn judge(&mut self, found: &Recovered) {
        self.seen.recoveries += 1;
        let ends: Vec<u64> = found.ends.iter().map(|end| end.position).collect();
        self.judge_ends(&ends);
        self.judge_words(found, &ends);
        let keys: BTreeMap<_, _> = found.keys.iter().copied().collect();
        let wanted = self.books.keys(&ends);
        assert!(keys == wanted, "journal: keys are {keys:?}, not {wanted:?}");
        self.judge_promises(&ends);
        self.judge_risk(&ends);
        self.judge_bounds(&ends);
        self.judge_undelivered(found, &ends);
    }

    fn judge_ends(&mut self, ends: &[u64]) {
        let durable = &self.machine.journal.durable;
        assert!(
            ends.len() == durable.len(),
            "journal: {} streams, not {}",
            ends.len(),
            durable.len()
        );
        for (stream, (end, durable)) in ends.iter().zip(durable).enumerate() {
            let made = self.books.streams[stream].len() as u64;
            assert!(
                end >= durable,
                "journal: stream {stream} ends at {end}, and {durable} was told to be durable"
            );
            assert!(*end <= made, "journal: stream {stream} ends at {end}, and has {made} records");
            if *end < made {
                self.seen.saw(Event::TailLost);
            }
        }
    }

    /// Pairs without a record survive in snapshots alone: then the words are those of some image.
    pub(crate) fn judge_words(&self, found: &Recovered, ends: &[u64]) {
        let count = self.plan.account_count() as usize;
        assert!(found.accounts.len() == count, "journal: {} accounts", found.accounts.len());
        for (number, account) in (0..).zip(&found.accounts) {
            let image = account.image;
            let limits = (image.balance_max, image.payable_max);
            let wanted = self.books.limits(number, ends);
            assert!(
                limits == wanted,
                "journal: limits of account {number}: {limits:?}, not {wanted:?}"
            );
            let shard = self.books.accounts[number as usize].shard;
            let images = self.images[shard].iter().copied();
            let mut wanted = None;
            let is_right = [0].into_iter().chain(images).any(|loose_until| {
                let words = self.books.words(number, Cut { ends, with_untaken: true, loose_until });
                wanted.get_or_insert(words);
                words == image.words
            });
            assert!(
                is_right,
                "journal: words of account {number} are {:?}, not {:?}",
                image.words,
                wanted.expect("there is one candidate at least")
            );
        }
    }

    fn is_recovered(&self, packet: &Packet, ends: &[u64]) -> bool {
        let place = self.books.places.get(&packet.head);
        place.is_some_and(|(stream, position)| *position < ends[*stream])
    }

    fn judge_promises(&mut self, ends: &[u64]) {
        for (number, packet) in self.packets.all.iter().enumerate() {
            let is_told = packet.life == self.life && packet.told == Some(Told::Fulfilled);
            if !is_told || self.is_recovered(packet, ends) {
                continue;
            }
            assert!(
                packet.is_unrecorded() || packet.durability != Durability::Sync,
                "journal: packet {number} was fulfilled to its sender, and is forgotten"
            );
            if packet.durability == Durability::Async {
                self.seen.saw(Event::AtRisk);
            }
        }
    }

    /// What is lost of an account is no more than what its shard knew to be at risk.
    fn judge_risk(&self, ends: &[u64]) {
        let mut lost: BTreeMap<u32, [Legs; 2]> = BTreeMap::new();
        let mut lose = |account: AccountId, side: usize, amount: u64| {
            let legs = &mut lost.entry(account.0).or_default()[side];
            legs.count += 1;
            legs.value += u128::from(amount);
        };
        for (stream, records) in self.books.streams.iter().enumerate() {
            let end = usize::try_from(ends[stream]).expect("some hundreds");
            for record in &records[end..] {
                let Record::Pair(pair) = record else { continue };
                lose(pair.account_out, 1, pair.amount_out);
                if self.taken_ns(stream, pair).is_some() {
                    lose(pair.account_in, 0, pair.amount_in);
                }
            }
        }
        for (account, lost) in lost {
            let (risk_in, risk_out) = self.risk(account);
            for (lost, risk) in lost.iter().zip([risk_in, risk_out]) {
                assert!(
                    lost.count <= risk.count && lost.value <= risk.value,
                    "risk: account {account} has lost {lost:?}, and {risk:?} was at risk"
                );
            }
        }
    }

    /// When the ledger of the sender took its leg, if it has.
    fn taken_ns(&self, stream: usize, pair: &PairRecord) -> Option<u64> {
        let shard = self.books.accounts[pair.account_in.0 as usize].shard;
        if shard == stream {
            return Some(START.mono_ns + (pair.decided_at_ms - START.utc_ms) * MS);
        }
        Some(self.books.taken.get(&pair.condition_head)?.since_ns)
    }

    /// A FULFILL that went at its account's risk, and is forgotten, went within both bounds: so many
    /// bytes of records, and so long after the oldest of its shard that are not durable.
    fn judge_bounds(&self, ends: &[u64]) {
        for (stream, records) in self.books.streams.iter().enumerate() {
            let end = usize::try_from(ends[stream]).expect("some hundreds");
            // By shard: when the first leg was taken that is lost.
            let mut oldest = BTreeMap::new();
            for (count, record) in (1..).zip(&records[end..]) {
                let Record::Pair(pair) = record else { continue };
                let Some(since_ns) = self.taken_ns(stream, pair) else { continue };
                let shard = self.books.accounts[pair.account_in.0 as usize].shard;
                let oldest_ns = *oldest.entry(shard).or_insert(since_ns);
                let number = self.packets.of_condition(pair.condition_head);
                let packet = &self.packets.all[number];
                let is_at_risk = packet.told == Some(Told::Fulfilled) && !packet.is_unrecorded();
                if !is_at_risk {
                    continue;
                }
                let bytes = count * BLOCK_LEN as u64;
                assert!(
                    bytes <= self.plan.async_bytes,
                    "risk: packet {number} went with {bytes} bytes of records not durable"
                );
                // Decided at a millisecond, rounded down.
                let latest_ns = oldest_ns + (u64::from(self.plan.async_ms) + 1) * MS;
                assert!(
                    packet.given_ns <= latest_ns,
                    "risk: packet {number} went {} ns too late",
                    packet.given_ns - latest_ns
                );
            }
        }
    }

    fn risk(&self, account: u32) -> Risk {
        let shard = self.books.accounts[account as usize].shard;
        let view = self.machine.shards[shard].switch.account_view(AccountId(account));
        (view.unrecorded_in, view.unrecorded_out)
    }

    fn judge_undelivered(&mut self, found: &Recovered, ends: &[u64]) {
        let listed: BTreeSet<_> = found
            .undelivered
            .listed
            .iter()
            .map(|(stream, at, _)| (usize::from(stream.0), *at))
            .collect();
        for (stream, position, pair) in &found.undelivered.listed {
            let (stream, position) = (usize::from(stream.0), *position);
            let place = self.books.places.get(&pair.condition_head);
            assert!(
                place == Some(&(stream, position)) && position < ends[stream],
                "journal: what is listed as undelivered was not recovered"
            );
            self.seen.saw(Event::PerhapsUndelivered);
        }
        for (number, packet) in self.packets.all.iter().enumerate() {
            if packet.life != self.life || packet.told == Some(Told::Fulfilled) {
                continue;
            }
            let Some(place) = self.books.places.get(&packet.head) else { continue };
            assert!(
                packet.told.is_none(),
                "journal: packet {number} is fulfilled, and was rejected"
            );
            assert!(
                place.1 >= ends[place.0]
                    || listed.contains(place)
                    || packet.listed.contains(&Listed::Undelivered),
                "journal: packet {number} was recovered at {place:?}, no socket had its FULFILL, and \
                 nobody lists it"
            );
        }
    }

    /// Once the journal has failed: it gives out what it was given and is not durable, and nothing else.
    pub(crate) fn judge_lost(&mut self) {
        let Journal { writer, state, .. } = &mut self.machine.journal;
        if *state != JournalState::Failed {
            return;
        }
        for (stream, made) in self.books.streams.iter().enumerate() {
            let id = shard_id(stream);
            let given = index(writer.durable(id))..index(writer.position(id));
            let mut wanted = Lost { position: writer.durable(id), blocks: Vec::new() };
            for record in &made[given] {
                record::encode(record, &mut wanted.blocks);
            }
            let lost = writer.take_lost(id);
            assert!(
                lost == wanted,
                "journal: of stream {stream} it gives out {lost:?}, not {wanted:?}"
            );
            if !lost.blocks.is_empty() {
                self.seen.saw(Event::Lost);
            }
        }
    }

    /// Before a life is over: our books and its ledgers must agree, else nothing that is compared with
    /// them means anything.
    pub(crate) fn judge_living(&mut self) {
        for shard in 0..self.machine.shards.len() {
            self.drain(shard);
            let (made, said) = (self.books.streams[shard].len() as u64, self.appended(shard));
            assert!(made == said, "ledger: shard {shard} has made {made} records, and says {said}");
        }
        let ends = self.books.ends();
        let cut = Cut { ends: &ends, with_untaken: false, loose_until: u64::MAX };
        for account in 0..self.plan.account_count() {
            let wanted = self.books.words(account, cut);
            let shard = self.books.accounts[account as usize].shard;
            let words = self.machine.shards[shard].switch.account_view(AccountId(account)).words;
            let words = Words { held_in: 0, held_out: 0, ..words };
            assert!(words == wanted, "ledger: account {account} has {words:?}, not {wanted:?}");
        }
    }
}
