//! The five equations of the design, added up after every step for what the step has touched, and
//! for everything at the end.

use m2_core::ledger::Words;
use m2_core::{AccountId, AccountView, AssetIndex, Legs, PairTotal, Switch};

use crate::books::{State, Sum};
use crate::coverage::Fault;
use crate::net::Net;
use crate::plan::End;
use crate::tariff::Kept;

impl Net {
    /// Every word of the accounts that a step has touched, and the links that they are on.
    pub(crate) fn check_touched(&mut self, cores: &[Switch]) {
        let mut touched = core::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for (switch, account) in &touched {
            self.check_account(cores, *switch, *account);
        }
        for (switch, account) in &touched {
            let (link, _) = self.link_of(*switch, *account);
            self.check_link(link);
        }
        self.check_totals();
        touched.clear();
        self.touched = touched;
    }

    /// Equations 1 and 2 for one account.
    fn check_account(&mut self, cores: &[Switch], switch: usize, account: u32) {
        let core = self.core_of(switch, account);
        let view = cores[core].account_view(AccountId(account));
        let AccountView { words, in_flight_in, in_flight_out, connected, .. } = view;
        let AccountView { unrecorded_in, unrecorded_out, withheld, .. } = view;
        let book = &mut self.nodes[switch].accounts[account as usize];
        let name = format_args!("account {account} of switch {switch}");
        assert!(
            words.held_in == book.words.held_in && in_flight_in == book.count_in,
            "equation 2: held_in of {name} is {} in {in_flight_in} packets; the packets between hold \
             and answer are {} in {}",
            words.held_in,
            book.words.held_in,
            book.count_in,
        );
        assert!(
            words.held_out == book.words.held_out && in_flight_out == book.count_out,
            "equation 2: held_out of {name} is {} in {in_flight_out} packets; the packets at the \
             next hop are {} in {}",
            words.held_out,
            book.words.held_out,
            book.count_out,
        );
        assert!(
            words.position() == book.position,
            "equation 1: the position of {name} is {}; pairs, credits, reversals and settled amounts \
             give {}",
            words.position(),
            book.position,
        );
        assert!(words == book.words, "ledger: {name} has {words:?}, not {:?}", book.words);
        assert!(connected == book.live.is_some(), "answer: {name} has a link, or has none");
        let seen = [unrecorded_in, unrecorded_out, withheld];
        let seen = seen.map(|Legs { count, value }| Sum { count, value });
        let wanted = [book.unrecorded_in, book.unrecorded_out, book.withheld];
        assert!(seen == wanted, "durable: {name} has {seen:?} at risk, not {wanted:?}");
        if book.is_past_limit() {
            self.coverage.saw(Fault::PastLimit);
        }
        self.core_positions[switch][account as usize] = words.position();
    }

    /// Equation 3 for one link: what its two ends think differs by what one of them has not counted
    /// yet, late or lost, and by payments that one of them does not know.
    pub(crate) fn check_link(&self, link: usize) {
        let positions = self.plan.links[link].ends.map(|end| match end {
            End::Account { switch, account } => self.core_positions[switch][account as usize],
            End::Endpoint(endpoint) => self.endpoints[endpoint].position,
        });
        let state = &self.links[link];
        assert!(
            positions[0] + positions[1] == state.open_sum + state.moved,
            "equation 3: the ends of link {link} are at {positions:?}; {} are on their way, late or \
             lost, {} was paid outside",
            state.open_sum,
            state.moved,
        );
    }

    /// Equation 5, for each asset: what senders paid is what receivers got, what switches kept, and
    /// what equation 3 names.
    fn check_totals(&self) {
        for (asset, totals) in self.totals.iter().enumerate() {
            let kept = totals.pairs_in - totals.pairs_out;
            assert!(
                totals.paid - totals.got == kept - totals.in_rings - totals.open,
                "equation 5: of asset {asset} senders paid {}, receivers got {}, switches kept \
                 {kept}; {} is in rings, {} on links",
                totals.paid,
                totals.got,
                totals.in_rings,
                totals.open,
            );
        }
    }

    /// Equation 2 once more, slot by slot and packet by packet.
    pub(crate) fn check_slots(&self, cores: &[Switch]) {
        for (switch, node) in self.nodes.iter().enumerate() {
            let mut held = vec![(0_u128, 0_u128, 0, 0); node.accounts.len()];
            for hop in self.live_hops.iter().map(|hop| &self.hops[*hop]) {
                if hop.switch != switch {
                    continue;
                }
                held[hop.account_in as usize].0 += u128::from(hop.amount_in);
                if hop.state == State::Flying {
                    held[hop.account_out as usize].1 += u128::from(hop.amount_out);
                    held[hop.account_out as usize].2 += 1;
                    held[hop.account_in as usize].3 += 1;
                }
            }
            let shards = usize::from(self.plan.switches[switch].shards);
            let mut slots = vec![(0, 0, 0); node.accounts.len()];
            for core in &cores[node.first_core..node.first_core + shards] {
                for (sum, account) in core.slot_sums().iter().zip(&mut slots) {
                    account.0 += sum.amount_out;
                    account.1 += sum.count_out;
                    account.2 += sum.count_in;
                }
            }
            for (account, ((held_in, held_out, count_out, count_in), slots)) in
                held.into_iter().zip(slots).enumerate()
            {
                assert!(
                    slots == (held_out, count_out, count_in),
                    "equation 2: the slots of account {account} of switch {switch} hold {slots:?}"
                );
                let words = node.accounts[account].words;
                assert!(
                    words.held_in.unsigned_abs() == held_in
                        && words.held_out.unsigned_abs() == held_out,
                    "equation 2: account {account} of switch {switch}: the books of the simulation"
                );
            }
        }
    }

    /// When all is quiet nothing is held, every PREPARE has its answer, every pair its record, and
    /// what ends of a link see differently was late or lost.
    pub(crate) fn check_end(&mut self, cores: &[Switch]) {
        assert!(self.live_hops.is_empty(), "equation 4: {:?} have no answer", self.live_hops);
        for (core, switch) in cores.iter().enumerate() {
            assert!(switch.in_flight() == 0, "equation 2: packets of shard {core} are under way");
            let shard = &self.shards[core];
            let is_all = shard.taken == shard.stream.len();
            assert!(is_all, "equation 1: what shard {core} has done is not all recorded");
        }
        for (switch, node) in self.nodes.iter().enumerate() {
            for (account, book) in node.accounts.iter().enumerate() {
                let words = book.words;
                let is_free = words.held_in == 0 && words.held_out == 0;
                assert!(
                    is_free,
                    "equation 2: account {account} of switch {switch} holds {words:?}"
                );
                self.touched.push((switch, u32::try_from(account).expect("a few")));
            }
        }
        self.check_touched(cores);
        self.check_slots(cores);
        self.check_images(cores);
        for (number, link) in self.links.iter().enumerate() {
            for ((wire, request_id, tag), open) in &link.open {
                let is_named = open.is_late || self.wires[*wire].is_cut;
                assert!(
                    is_named,
                    "equation 3: packet {tag}, id {request_id} on link {number}: {} counted by one \
                     end, neither late nor lost",
                    open.amount,
                );
            }
        }
        for totals in &self.totals {
            let by_records = (
                totals.records_in + totals.unwritten_in,
                totals.records_out + totals.unwritten_out,
            );
            let is_all = by_records == (totals.pairs_in, totals.pairs_out) && totals.in_rings == 0;
            assert!(is_all, "equation 5: the records give {by_records:?}, {totals:?} was moved");
        }
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            for ((wire, request_id), asked) in &endpoint.asked {
                assert!(
                    asked.is_answered() || self.wires[*wire].is_cut,
                    "equation 4: id {request_id} of endpoint {number} has no answer, and its link lives"
                );
            }
        }
        self.check_counters(cores);
    }

    /// What a shard says two assets have moved, and what rounding kept of it, rates by rates: of those
    /// that are gone whole units are left, of the newest each part.
    fn check_pair(&self, core: usize, from: usize, to: usize, total: &PairTotal) {
        let shard = &self.shards[core];
        let mut seen = PairTotal { remainder_den: 1, ..PairTotal::default() };
        let mut newest = Kept { whole: 0, num: 0, den: 1 };
        let versions = self.pairs.range((core, from, to, 0)..=(core, from, to, u32::MAX));
        for ((.., version), (came, went)) in versions {
            let tariff = &self.nodes[shard.switch].tariffs[*version as usize - 1];
            let kept = tariff.kept(from, to, *came, *went);
            seen.amount_in += came;
            seen.amount_out += went;
            seen.remainder_whole += kept.whole;
            if *version == shard.version {
                newest = kept;
            } else {
                seen.fractions_dropped += u64::from(kept.num != 0);
            }
        }
        let is_same = (total.amount_in, total.amount_out, total.remainder_whole)
            == (seen.amount_in, seen.amount_out, seen.remainder_whole)
            && total.fractions_dropped == seen.fractions_dropped
            && total.remainder_num * newest.den == newest.num * u128::from(total.remainder_den);
        assert!(
            is_same,
            "equation 1: from asset {from} to {to} shard {core} has {total:?}, not {seen:?}, {newest:?}"
        );
    }

    /// What a shard knows of other shards' accounts has nothing in it.
    fn check_foreign(&self, core: usize, switch: &Switch) {
        let number = self.shards[core].switch;
        for account in (0..switch.account_count()).filter(|it| self.core_of(number, *it) != core) {
            let AccountView { words, in_flight_in, in_flight_out, connected, .. } =
                switch.account_view(AccountId(account));
            let is_empty =
                (words, in_flight_in, in_flight_out, connected) == (Words::default(), 0, 0, false);
            assert!(is_empty, "ledger: shard {core} touched account {account}, another shard's");
        }
    }

    /// The core counts what the judges have seen, and keeps what rounding kept.
    fn check_counters(&mut self, cores: &[Switch]) {
        let (mut undelivered, mut late) = (0, 0);
        for (core, switch) in cores.iter().enumerate() {
            for (name, _, count) in switch.counters().refusals() {
                let seen = self.refused.get(&(core, name)).copied().unwrap_or(0);
                assert!(count == seen, "refusal: {name} was counted {count} times, seen {seen}");
                self.coverage.refused(name, count);
            }
            undelivered += switch.counters().undelivered_fulfills;
            let shard = &self.shards[core];
            let seen = (switch.counters().fulfills_graced, switch.counters().fulfills_unrecorded);
            let wanted = (shard.graced, shard.unrecorded);
            assert!(
                seen == wanted,
                "durable: {seen:?} without record were counted, not {wanted:?}"
            );
            let count = u16::try_from(self.plan.assets.len()).expect("a few");
            for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
                let total = switch.pair_total(AssetIndex(from), AssetIndex(to));
                self.check_pair(core, usize::from(from), usize::from(to), &total);
            }
            late += switch.counters().late_fulfills;
            self.check_foreign(core, switch);
        }
        assert!(late == self.late_count, "answer: {late} late FULFILLs, not {}", self.late_count);
        assert!(
            undelivered == self.undelivered,
            "answer: undelivered FULFILLs were not all counted"
        );
    }
}
