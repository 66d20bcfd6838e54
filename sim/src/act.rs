//! What operations do: the world outside of the packets' ways. What one cannot do, it leaves.

use m2_core::AccountId;

use crate::coverage::Fault;
use crate::dice::mix;
use crate::net::{Event, MS};
use crate::op::{Kind, Op};
use crate::plan::End;
use crate::tariff::Tariff;
use crate::ways;
use crate::world::World;

impl World {
    pub(crate) fn act(&mut self, op: &Op) {
        let [a, b, c, d] = op.numbers;
        match op.kind {
            Kind::Wait => {
                // From some microseconds to some seconds: all scales alike.
                let us = 1 << (4 + a % 18);
                self.run_until(self.net.now_ns + (us + b % us) * 1_000);
            }
            Kind::Send => self.net.send(op.numbers),
            Kind::Own => self.net.send_own(op.numbers),
            Kind::Garbage => self.net.send_garbage(op.numbers),
            Kind::Repeat => self.net.repeat(a, b),
            Kind::Cut => {
                if let Some(wire) = self.net.links[self.link(a)].wire {
                    self.net.cut(wire, mix(b, c));
                }
            }
            Kind::Replace => self.net.dial(self.link(a), true),
            Kind::Deaf => {
                let endpoint = pick(a, self.net.endpoints.len());
                let until_ns = self.net.now_ns + (1 + b % 3_000) * MS;
                self.net.endpoints[endpoint].deaf_until = until_ns;
                self.net.coverage.saw(Fault::DeafPeer);
                self.net.at(until_ns, Event::Hear { endpoint });
            }
            Kind::Stall => {
                let core = self.core(a, b);
                self.net.shards[core].stalled_until = self.net.now_ns + (1 + c % 2_000) * MS;
                self.net.coverage.saw(Fault::StalledShard);
            }
            Kind::Step => self.step_clock(a, b),
            Kind::Credit => {
                let link = self.link(a);
                self.credit(link, pick(b, 2), 1 + c % (self.unit(link) * 40));
            }
            Kind::Reverse => self.reverse(a, b, c),
            Kind::Freeze => self.freeze(a, b, c),
            Kind::Settle => self.settle(a, b, d),
            Kind::Cancel => self.cancel(a, b),
            Kind::Limits => self.limits(a, b, c, d),
            Kind::Rates => self.new_rates(a, b),
            Kind::Routes => self.new_routes(a, b),
            Kind::Drain => {
                let switch = self.switch(a);
                self.net.coverage.saw(Fault::Draining);
                self.drain(switch, true);
                self.net.at(self.net.now_ns + (1 + b % 500) * MS, Event::Resume { switch });
            }
            Kind::Records => {
                let core = self.core(a, b);
                self.drain_records(core);
            }
        }
    }

    fn link(&self, number: u64) -> usize {
        pick(number, self.net.links.len())
    }

    fn switch(&self, number: u64) -> usize {
        pick(number, self.net.nodes.len())
    }

    fn core(&self, switch: u64, shard: u64) -> usize {
        let switch = self.switch(switch);
        let shards = usize::from(self.net.plan.switches[switch].shards);
        self.net.nodes[switch].first_core + pick(shard, shards)
    }

    fn unit(&self, link: usize) -> u64 {
        self.net.plan.unit(self.net.plan.links[link].asset)
    }

    /// The account at an end of a link, if a switch stands there: switch, account, core.
    fn account(&self, link: usize, side: usize) -> Option<(usize, u32, usize)> {
        match self.net.plan.links[link].ends[side] {
            End::Account { switch, account } => {
                Some((switch, account, self.net.core_of(switch, account)))
            }
            End::Endpoint(_) => None,
        }
    }

    /// What was done to an account outside of packets is looked at like a step.
    fn touched(&mut self, switch: usize, account: u32) {
        self.net.touched.push((switch, account));
        self.net.check_touched(&self.cores);
    }

    fn step_clock(&mut self, switch: u64, by: u64) {
        let switch = self.switch(switch);
        // Now and then far, else as a clock is set right.
        let most = if by.is_multiple_of(8) { 20_000 } else { 600 };
        let by = i64::try_from(by % most).expect("a few") - most.cast_signed() / 2;
        self.net.nodes[switch].skew_ms += by;
        let first = self.net.nodes[switch].first_core;
        let shards = usize::from(self.net.plan.switches[switch].shards);
        if self.net.shards[first..first + shards].iter().any(|shard| !shard.flying.is_empty()) {
            self.net.coverage.saw(Fault::ClockStep);
        }
    }

    /// The peer at the other end has paid.
    pub(crate) fn credit(&mut self, link: usize, side: usize, amount: u64) {
        self.net.coverage.saw(Fault::Credit);
        let units = i128::from(amount);
        self.net.links[link].moved -= units;
        if let Some((switch, account, core)) = self.account(link, side) {
            self.cores[core].credit(AccountId(account), amount);
            self.net.nodes[switch].accounts[account as usize].credit(units);
            self.touched(switch, account);
        } else if let End::Endpoint(endpoint) = self.net.plan.links[link].ends[side] {
            self.net.endpoints[endpoint].position -= units;
            self.net.check_link(link);
        }
    }

    fn reverse(&mut self, link: u64, side: u64, amount: u64) {
        let link = self.link(link);
        let Some((switch, account, core)) = self.account(link, pick(side, 2)) else { return };
        self.net.coverage.saw(Fault::Reversal);
        let amount = 1 + amount % (self.unit(link) * 20);
        self.cores[core].reverse(AccountId(account), amount);
        self.net.nodes[switch].accounts[account as usize].owe(i128::from(amount));
        self.net.links[link].moved += i128::from(amount);
        self.touched(switch, account);
    }

    fn freeze(&mut self, link: u64, side: u64, threshold: u64) {
        let link = self.link(link);
        let Some((switch, account, core)) = self.account(link, pick(side, 2)) else { return };
        let to = threshold % 3 * self.unit(link);
        let threshold = to + 1 + threshold % (self.unit(link) * 4);
        let frozen = self.cores[core].freeze(AccountId(account), threshold, to);
        let book = &mut self.net.nodes[switch].accounts[account as usize];
        let payable = -book.words.balance;
        let amount = (payable >= i128::from(threshold)).then(|| payable - i128::from(to));
        let seen = frozen.as_ref().map(|frozen| frozen.amount().cast_signed());
        assert!(seen == amount, "ledger: {seen:?} was frozen, not {amount:?}");
        if let (Some(frozen), Some(amount)) = (frozen, amount) {
            self.net.coverage.saw(Fault::Frozen);
            book.words.balance += amount;
            book.words.frozen += amount;
            self.net.nodes[switch].frozen.push((frozen, AccountId(account)));
        }
        self.touched(switch, account);
    }

    fn settle(&mut self, switch: u64, which: u64, salt: u64) {
        let switch = self.switch(switch);
        let Some((frozen, account)) = self.take_frozen(switch, which) else { return };
        self.net.coverage.saw(Fault::Settled);
        let (core, amount) = (self.net.core_of(switch, account), frozen.amount());
        self.cores[core].settled(frozen);
        let book = &mut self.net.nodes[switch].accounts[account as usize];
        book.words.frozen -= amount.cast_signed();
        book.position += amount.cast_signed();
        let (link, side) = self.net.link_of(switch, account);
        self.net.links[link].moved += amount.cast_signed();
        // Most payments are seen by the one who is paid, some time later.
        if let (Ok(amount), true) = (u64::try_from(amount), !salt.is_multiple_of(4)) {
            let at = self.net.now_ns + salt % (300 * MS);
            self.net.at(at, Event::Credit { link, side: 1 - side, amount });
        }
        self.touched(switch, account);
    }

    fn cancel(&mut self, switch: u64, which: u64) {
        let switch = self.switch(switch);
        let Some((frozen, account)) = self.take_frozen(switch, which) else { return };
        self.net.coverage.saw(Fault::Cancelled);
        let (core, amount) = (self.net.core_of(switch, account), frozen.amount().cast_signed());
        self.cores[core].cancelled(frozen);
        let book = &mut self.net.nodes[switch].accounts[account as usize];
        book.words.frozen -= amount;
        book.words.balance -= amount;
        self.touched(switch, account);
    }

    fn take_frozen(&mut self, switch: usize, which: u64) -> Option<(m2_core::ledger::Frozen, u32)> {
        let frozen = &mut self.net.nodes[switch].frozen;
        if frozen.is_empty() {
            return None;
        }
        let (frozen, account) = frozen.swap_remove(pick(which, frozen.len()));
        Some((frozen, account.0))
    }

    fn limits(&mut self, link: u64, side: u64, balance_max: u64, payable_max: u64) {
        let link = self.link(link);
        let Some((switch, account, core)) = self.account(link, pick(side, 2)) else { return };
        self.net.coverage.saw(Fault::LimitsChanged);
        let units =
            |number: u64| number % 5_000 * self.unit(link) / [1, 10, 1_000][pick(number, 3)];
        let (balance_max, payable_max) = (units(balance_max), units(payable_max));
        self.cores[core].set_limits(AccountId(account), balance_max, payable_max);
        let book = &mut self.net.nodes[switch].accounts[account as usize];
        (book.balance_max, book.payable_max) = (balance_max.into(), payable_max.into());
        self.touched(switch, account);
    }

    fn new_rates(&mut self, switch: u64, salt: u64) {
        let switch = self.switch(switch);
        let version = u32::try_from(self.net.rates[switch].len()).expect("a few") + 1;
        let (rates, tariff) = Tariff::of(&self.net.plan, switch, version);
        self.net.rates[switch].push(rates.into());
        self.net.nodes[switch].tariffs.push(tariff);
        for (shard, core) in (0..).zip(self.cores_of(switch)) {
            let at = self.net.now_ns + mix(salt, shard) % (40 * MS);
            let at = at.max(self.net.shards[core].rates_at + 1);
            self.net.shards[core].rates_at = at;
            self.net.at(at, Event::Rates { core, version });
        }
    }

    pub(crate) fn set_rates(&mut self, core: usize, version: u32) {
        let switch = self.net.shards[core].switch;
        let rates = self.net.rates[switch][version as usize - 1].clone();
        self.cores[core].set_rates(rates);
        if !self.net.shards[core].flying.is_empty() {
            self.net.coverage.saw(Fault::RatesInFlight);
        }
        if self.cores_of(switch).any(|other| self.net.shards[other].version > version) {
            self.net.coverage.saw(Fault::RatesApart);
        }
        self.net.shards[core].version = version;
        if self.cores_of(switch).any(|other| self.net.shards[other].version < version) {
            self.net.coverage.saw(Fault::RatesApart);
        }
    }

    fn new_routes(&mut self, switch: u64, salt: u64) {
        let switch = self.switch(switch);
        let (table, routes) = match salt % 3 {
            0 => ways::shortest(&self.net.plan, switch),
            _ => ways::changed(&self.net.plan, switch, salt),
        };
        self.net.coverage.saw(Fault::RoutesChanged);
        self.net.routes[switch].push(routes.into());
        self.net.nodes[switch].ways.push(table);
        let table = self.net.routes[switch].len() - 1;
        for (shard, core) in (0..).zip(self.cores_of(switch)) {
            let at = self.net.now_ns + mix(salt, shard) % (40 * MS);
            let at = at.max(self.net.shards[core].routes_at + 1);
            self.net.shards[core].routes_at = at;
            self.net.at(at, Event::Routes { core, table });
        }
    }

    pub(crate) fn set_routes(&mut self, core: usize, table: usize) {
        let switch = self.net.shards[core].switch;
        self.cores[core].set_routes(self.net.routes[switch][table].clone());
        self.net.shards[core].table = table;
    }

    /// A switch takes no new packets, or does again.
    pub(crate) fn drain(&mut self, switch: usize, is_draining: bool) {
        for core in self.cores_of(switch) {
            self.cores[core].set_draining(is_draining);
            self.net.shards[core].is_draining = is_draining;
        }
    }

    fn cores_of(&self, switch: usize) -> core::ops::Range<usize> {
        let first = self.net.nodes[switch].first_core;
        first..first + usize::from(self.net.plan.switches[switch].shards)
    }
}

/// One of so many.
fn pick(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).expect("below a length")
}
