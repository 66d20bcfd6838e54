//! What operations do: the world outside of the packets' ways. What one cannot do, it leaves.

use crate::coverage::Fault;
use crate::dice::mix;
use crate::net::{Event, MS};
use crate::op::{Kind, Op};
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
                self.pay(link, pick(b, 2), 1 + c % (self.unit(link) * 40), d);
            }
            Kind::Reverse => {
                let link = self.link(a);
                self.reverse(link, pick(b, 2), 1 + c % (self.unit(link) * 20), d);
            }
            Kind::Freeze => self.freeze(self.link(a), pick(b, 2), c, d),
            Kind::Settle => self.settle(self.switch(a), b, d),
            Kind::Cancel => self.cancel(self.switch(a), b, d),
            Kind::Limits => {
                let link = self.link(a);
                let units = |number: u64| {
                    number % 5_000 * self.unit(link) / [1, 10, 1_000][pick(number, 3)]
                };
                self.limits(link, pick(b, 2), units(c), units(d));
            }
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
            Kind::Journal => {
                let switch = self.switch(a);
                if b.is_multiple_of(25) {
                    self.fail(switch, c)
                } else {
                    self.stand_still(switch, c, d)
                }
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

    pub(crate) fn cores_of(&self, switch: usize) -> core::ops::Range<usize> {
        let first = self.net.nodes[switch].first_core;
        first..first + usize::from(self.net.plan.switches[switch].shards)
    }
}

/// One of so many.
pub(crate) fn pick(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).expect("below a length")
}
