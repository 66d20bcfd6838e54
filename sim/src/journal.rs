//! The journal of a switch, as its shards hear of it: records become durable some time after they
//! were taken out, each shard hears of that at a moment of its own, and now and then it stands still,
//! refuses, or fails for good.

use m2_core::{JournalState, ShardId};

use crate::coverage::Fault;
use crate::dice::mix;
use crate::net::{Event, MS};
use crate::world::World;

impl World {
    /// Takes records out of a core, as many as the journal takes at once. They are on their way to
    /// the disk.
    pub(crate) fn drain_records(&mut self, core: usize) {
        let switch = self.net.shards[core].switch;
        let most = match self.net.is_ending {
            true => usize::MAX,
            false => self.net.plan.switches[switch].records_at_once,
        };
        let decider = &mut self.cores[core];
        let mut records = Vec::new();
        decider.drain_records(most, |record| records.push(record));
        decider.drain_notices(drop);
        records.iter().for_each(|record| self.net.judge_record(core, record));
        if !records.is_empty() {
            self.write(core);
        }
    }

    /// What has left a core will be durable, unless the journal is lost.
    fn write(&mut self, core: usize) {
        let net = &mut self.net;
        let switch = net.shards[core].switch;
        let (node, plan) = (&net.nodes[switch], &net.plan.switches[switch]);
        if node.journal_is_lost {
            return;
        }
        let (flush_ns, poll_ns) = (plan.flush_ns, plan.poll_ns);
        let (stream, position) = (core - node.first_core, net.shards[core].taken as u64);
        let salt = mix(net.plan.seed ^ position, (core as u64) << 40);
        let durable_ns = net.now_ns.max(node.journal_stuck_until) + flush_ns / 2 + salt % flush_ns;
        for (number, to) in (0..).zip(self.cores_of(switch)) {
            // Also a shard hears a position twice, or an older one behind a newer.
            let heard_ns = durable_ns + mix(salt, number) % (3 * poll_ns);
            self.net.at(heard_ns, Event::Durable { core: to, stream, position });
        }
    }

    /// For a while nothing becomes durable; every other time the shards are told to take nothing new.
    pub(crate) fn stand_still(&mut self, switch: usize, ms: u64, salt: u64) {
        let until_ns = self.net.now_ns + (1 + ms % 2_500) * MS;
        self.net.nodes[switch].journal_stuck_until = until_ns;
        self.net.coverage.saw(Fault::JournalSlow);
        if salt.is_multiple_of(2) {
            return;
        }
        for (number, core) in (0..).zip(self.cores_of(switch)) {
            let (from, to) = (mix(salt, number) % (90 * MS), mix(salt, number + 7) % (40 * MS));
            self.net.at(self.net.now_ns + from, Event::Journal { core, refuses: true });
            self.net.at(until_ns + 90 * MS + to, Event::Journal { core, refuses: false });
        }
    }

    /// Nothing becomes durable any more; the shards hear of it one by one.
    pub(crate) fn fail(&mut self, switch: usize, salt: u64) {
        self.net.nodes[switch].journal_is_lost = true;
        for (number, core) in (0..).zip(self.cores_of(switch)) {
            let at = self.net.now_ns + mix(salt, number) % (40 * MS);
            self.net.at(at, Event::JournalFailed { core });
        }
    }

    /// A shard hears of the journal.
    pub(crate) fn hear_journal(&mut self, event: Event) {
        let core = match event {
            Event::Durable { core, stream, position } => {
                let id = ShardId(u16::try_from(stream).expect("a few shards"));
                self.step(
                    core,
                    |_, switch, port| switch.durable(id, position, port),
                    |net, _| net.judge_durable(core, stream, position),
                );
                core
            }
            Event::Journal { core, refuses } => {
                let state = if refuses { JournalState::Refusing } else { JournalState::Ready };
                self.cores[core].set_journal(state);
                if self.net.shards[core].journal != JournalState::Failed {
                    self.net.shards[core].journal = state;
                }
                self.net.coverage.saw(Fault::JournalRefusing);
                core
            }
            Event::JournalFailed { core } => {
                self.cores[core].set_journal(JournalState::Failed);
                self.net.shards[core].journal = JournalState::Failed;
                self.net.coverage.saw(Fault::JournalFailed);
                core
            }
            other => unreachable!("{other:?} is nothing of the journal's"),
        };
        self.flush(core);
        self.sleep(core);
    }

    /// Gives out what waits for room on links that have it now.
    pub(crate) fn use_room(&mut self, core: usize) {
        for (wire, side) in self.net.shards[core].wires.clone() {
            let end = &self.net.wires[wire].ends[side];
            let cap = self.net.plan.links[self.net.wires[wire].link].egress_cap;
            let has_room = self.net.wires[wire].pipes[side].waiting() < cap / 2;
            let Some(connection) = end.connection.filter(|_| has_room && !end.is_over) else {
                continue;
            };
            let switch = self.net.shards[core].switch;
            let book = &self.net.nodes[switch].accounts[connection.account.0 as usize];
            let waits = book.live == Some(connection.epoch.get()) && !book.backlog.is_empty();
            if book.live == Some(connection.epoch.get()) {
                let says = self.cores[core].waits_for_room(connection);
                assert!(says == waits, "durable: the core says {says} of {connection:?}'s backlog");
            }
            if waits {
                self.step(
                    core,
                    |_, switch, port| switch.room(connection, port),
                    |net, _| net.judge_room(connection),
                );
            }
        }
    }
}
