//! When a FULFILL goes to its sender: which waits for its record, until when, and that each goes once,
//! with its own bytes.

use m2_core::{ConnectionId, Durability, JournalState, Now, Unrecorded, UnrecordedFulfill};

use crate::books::{Hop, State};
use crate::coverage::Fault;
use crate::net::{MS, Net};

/// Bytes of a record.
const RECORD: u64 = 64;

/// What must become of a FULFILL when its `Answer` is taken.
enum Passage {
    Durable,
    AtRisk,
    Without(Unrecorded),
    Waits,
}

impl Net {
    /// The `Answer` of a pair with a record was taken: its FULFILL goes to its sender, or waits.
    pub(crate) fn pass_fulfill(&mut self, now: Now, hop: usize, packet: Vec<u8>) {
        let Hop { switch, core_in, account_in, epoch_in, amount_in, .. } = self.hops[hop];
        let (stream, position) = self.place_of(hop);
        let passage = self.foretell_passage(now, hop);
        let has_failed = self.shards[core_in].journal == JournalState::Failed;
        self.shards[core_in].applied[stream] = position + 1;
        let account = &mut self.nodes[switch].accounts[account_in as usize];
        let is_live = account.live == Some(epoch_in);
        if !matches!(passage, Passage::Durable) {
            account.unrecorded_in.add(amount_in);
            if !has_failed {
                self.shards[core_in].undurable[stream].push_back((hop, now.mono_ns));
            }
        }
        match passage {
            Passage::Waits if is_live => {
                let account = &mut self.nodes[switch].accounts[account_in as usize];
                account.withheld.add(amount_in);
                self.coverage.saw(Fault::Withheld);
                self.hops[hop].state = State::Withheld(packet);
                return;
            }
            Passage::Without(why) if is_live => {
                if why == Unrecorded::Grace {
                    self.coverage.saw(Fault::GracedAtOnce);
                }
                self.list_unrecorded(hop, why);
            }
            Passage::AtRisk => self.coverage.saw(Fault::AtRisk),
            _ => {}
        }
        self.nodes[switch].accounts[account_in as usize].count_in -= 1;
        self.deliver(hop, &packet);
    }

    fn foretell_passage(&mut self, now: Now, hop: usize) -> Passage {
        let Hop { switch, core_in, account_in, .. } = self.hops[hop];
        let (stream, position) = self.place_of(hop);
        let shard = &self.shards[core_in];
        if position < shard.told[stream] {
            if self.hops[hop].core_out != core_in {
                self.coverage.saw(Fault::DurableEarly);
            }
            return Passage::Durable;
        }
        if shard.journal == JournalState::Failed {
            return Passage::Without(Unrecorded::Failed);
        }
        let plan = &self.plan.switches[switch];
        if self.durability(switch, account_in) == Durability::Async {
            let at_risk = u128::from(position + 1 - shard.told[stream]) * u128::from(RECORD);
            let oldest = shard.undurable[stream].front();
            let is_young = oldest
                .is_none_or(|(_, since_ns)| now.mono_ns - since_ns < u64::from(plan.async_ms) * MS);
            if at_risk <= u128::from(plan.async_bytes) && is_young {
                return Passage::AtRisk;
            }
            self.coverage.saw(Fault::RiskFull);
        }
        if now.mono_ns >= self.grace_ns(hop) {
            return Passage::Without(Unrecorded::Grace);
        }
        Passage::Waits
    }

    /// Shard and position of a packet's record.
    fn place_of(&self, hop: usize) -> (usize, u64) {
        let Hop { switch, core_out, position, .. } = self.hops[hop];
        let position = position.expect("answer: a packet without a record waits for one");
        (core_out - self.nodes[switch].first_core, position)
    }

    /// So long before the sender's own expiry, be that no later than the margin behind the one that
    /// the next hop was given.
    fn grace_ns(&self, hop: usize) -> u64 {
        let Hop { switch, deadline_ns, .. } = self.hops[hop];
        let plan = &self.plan.switches[switch];
        let expiry_ns = deadline_ns + u64::from(plan.margin_ms) * MS;
        expiry_ns.saturating_sub(u64::from(plan.grace_ms) * MS)
    }

    /// A FULFILL that may go: it went to its sender just now, or there is none any more.
    fn deliver(&mut self, hop: usize, packet: &[u8]) {
        let Hop { account_in, epoch_in, id_in, .. } = self.hops[hop];
        self.hops[hop].state = State::Done;
        let to = self.connection(account_in, epoch_in);
        if self.is_live(to) {
            self.expect_answer(to, id_in, packet);
        } else {
            self.undelivered += 1;
            self.coverage.saw(Fault::Undelivered);
        }
    }

    /// It must be listed as gone without its record.
    fn list_unrecorded(&mut self, hop: usize, why: Unrecorded) {
        let Hop { account_in, epoch_in, id_in, amount_in, core_in, condition, .. } = self.hops[hop];
        let (stream, position) = self.place_of(hop);
        let stream = m2_core::ShardId(u16::try_from(stream).expect("a few shards"));
        self.listed.push(UnrecordedFulfill {
            stream,
            position,
            connection: self.connection(account_in, epoch_in),
            request_id: id_in,
            amount: amount_in,
            condition_head: *condition.first_chunk().expect("16 of 32 bytes"),
            why,
        });
        let counts = &mut self.shards[core_in];
        match why {
            Unrecorded::Grace => counts.graced += 1,
            Unrecorded::Failed => {
                counts.unrecorded += 1;
                self.coverage.saw(Fault::UnrecordedFulfill);
            }
        }
    }

    /// What the core listed in this step is what had to be.
    pub(crate) fn check_listed(&mut self, mut seen: Vec<UnrecordedFulfill>) {
        let mut listed = core::mem::take(&mut self.listed);
        listed.sort_unstable_by_key(|one| (one.stream, one.position));
        seen.sort_unstable_by_key(|one| (one.stream, one.position));
        assert!(seen == listed, "durable: listed as without record are {seen:?}, not {listed:?}");
    }

    /// Judges that a shard was told how far a stream is durable.
    pub(crate) fn judge_durable(&mut self, core: usize, stream: usize, position: u64) {
        let shard = &mut self.shards[core];
        let is_news = shard.told.get(stream).is_some_and(|told| position > *told);
        if !is_news || shard.journal == JournalState::Failed {
            self.coverage.saw(Fault::DurableAgain);
            return self.expect_no_more();
        }
        shard.told[stream] = position;
        let switch = shard.switch;
        while let Some((hop, _)) = self.shards[core].undurable[stream].front().copied() {
            if self.place_of(hop).1 >= position {
                break;
            }
            self.shards[core].undurable[stream].pop_front();
            let Hop { account_in, amount_in, .. } = self.hops[hop];
            let account = &mut self.nodes[switch].accounts[account_in as usize];
            account.unrecorded_in.sub(amount_in);
            self.touched.push((switch, account_in));
            if matches!(self.hops[hop].state, State::Withheld(_)) {
                self.let_go(hop);
            }
        }
        if core == self.nodes[switch].first_core + stream {
            self.recorded_out(core, position);
        }
        self.expect_no_more();
    }

    /// What a shard's accounts have fulfilled is durable up to here.
    fn recorded_out(&mut self, core: usize, position: u64) {
        while let Some(&hop) = self.shards[core].undurable_out.front() {
            if self.place_of(hop).1 >= position {
                break;
            }
            self.shards[core].undurable_out.pop_front();
            let Hop { switch, account_out, amount_out, .. } = self.hops[hop];
            let account = &mut self.nodes[switch].accounts[account_out as usize];
            account.unrecorded_out.sub(amount_out);
            self.touched.push((switch, account_out));
        }
    }

    /// A FULFILL that was withheld may go: at once if its link has room, or when it has.
    fn let_go(&mut self, hop: usize) {
        let Hop { switch, account_in, epoch_in, .. } = self.hops[hop];
        let to = self.connection(account_in, epoch_in);
        if !self.is_live(to) {
            self.coverage.saw(Fault::WithheldLost);
            return self.give(hop);
        }
        let backlog = &self.nodes[switch].accounts[account_in as usize].backlog;
        if backlog.is_empty() && self.next_room(to) {
            self.give(hop);
        } else {
            self.wait_for_room(hop);
        }
    }

    /// What the core was told when it asked whether this link has room.
    fn next_room(&mut self, to: ConnectionId) -> bool {
        let room = self.log.rooms.get(self.rooms_seen);
        let (asked, has_room) = *room.expect("durable: nobody looked at the sender's egress");
        assert!(asked == to, "durable: the egress of {asked:?} was looked at, not that of {to:?}");
        self.rooms_seen += 1;
        has_room
    }

    fn wait_for_room(&mut self, hop: usize) {
        let Hop { switch, account_in, .. } = self.hops[hop];
        self.coverage.saw(Fault::Backlog);
        let state = core::mem::replace(&mut self.hops[hop].state, State::Done);
        let State::Withheld(packet) = state else {
            panic!("durable: a FULFILL was let go in state {state:?}");
        };
        self.hops[hop].state = State::LetGo(packet);
        self.nodes[switch].accounts[account_in as usize].backlog.push(hop);
    }

    /// A FULFILL that was withheld goes to its sender, or to nobody.
    fn give(&mut self, hop: usize) {
        let Hop { switch, account_in, amount_in, .. } = self.hops[hop];
        let account = &mut self.nodes[switch].accounts[account_in as usize];
        account.count_in -= 1;
        account.withheld.sub(amount_in);
        self.touched.push((switch, account_in));
        let state = core::mem::replace(&mut self.hops[hop].state, State::Done);
        let (State::Withheld(packet) | State::LetGo(packet)) = state else {
            panic!("durable: a FULFILL was given in state {state:?}");
        };
        self.deliver(hop, &packet);
    }

    /// Judges that a link has room for what waited for that.
    pub(crate) fn judge_room(&mut self, to: ConnectionId) {
        while self.next_room(to) {
            let waiting = &self.nodes[self.at_switch].accounts[to.account.0 as usize].backlog;
            if waiting.is_empty() {
                break;
            }
            let answer = self.log.answers.get(self.answers_seen);
            let (_, id, range) = answer.expect("durable: a FULFILL has room and did not go");
            let seen = &self.log.bytes[range.clone()];
            // In the order of grace moments or of positions: as they were let go.
            let fits = |hop: &usize| {
                let Hop { epoch_in, id_in, state, .. } = &self.hops[*hop];
                let is_its = matches!(state, State::LetGo(packet) if packet == seen);
                is_its && (*id_in, *epoch_in) == (*id, to.epoch.get())
            };
            let found = waiting.iter().position(fits);
            let found = found.expect("durable: a FULFILL went that did not wait for room");
            let backlog = &mut self.nodes[self.at_switch].accounts[to.account.0 as usize].backlog;
            let hop = backlog.remove(found);
            self.give(hop);
        }
        self.expect_no_more();
    }

    /// The connection that a backlog waited for is gone, or was replaced.
    pub(crate) fn lose_backlog(&mut self, switch: usize, account: u32) {
        self.at_switch = switch;
        let backlog = &mut self.nodes[switch].accounts[account as usize].backlog;
        for hop in core::mem::take(backlog) {
            self.coverage.saw(Fault::BacklogLost);
            self.give(hop);
        }
    }

    /// FULFILLs of a shard that cannot wait any longer.
    pub(crate) fn overdue(&self, core: usize, now: Now) -> Vec<(usize, Unrecorded)> {
        let shard = &self.shards[core];
        let why = match shard.journal {
            JournalState::Failed => Unrecorded::Failed,
            _ => Unrecorded::Grace,
        };
        let waits = |hop: &usize| matches!(self.hops[*hop].state, State::Withheld(_));
        let is_due = |hop: &usize| why == Unrecorded::Failed || now.mono_ns >= self.grace_ns(*hop);
        let hops = shard.undurable.iter().flatten().map(|(hop, _)| *hop);
        hops.filter(waits).filter(is_due).map(|hop| (hop, why)).collect()
    }

    /// A FULFILL that left in a tick: which of those that were due it is.
    pub(crate) fn take_overdue(
        &mut self,
        overdue: &mut Vec<(usize, Unrecorded)>,
        to: ConnectionId,
        request_id: u32,
    ) {
        let range = self.log.answers[self.answers_seen].2.clone();
        let fits = |(hop, _): &(usize, Unrecorded)| {
            let Hop { account_in, epoch_in, id_in, state, .. } = &self.hops[*hop];
            let is_its = matches!(state, State::Withheld(packet) if *packet == self.log.bytes[range.clone()]);
            is_its && self.connection(*account_in, *epoch_in) == to && *id_in == request_id
        };
        let found = overdue.iter().position(fits);
        let found = found.expect("durable: a FULFILL went before its record was durable");
        let (hop, why) = overdue.swap_remove(found);
        let Hop { switch, account_in, .. } = self.hops[hop];
        let backlog = &self.nodes[switch].accounts[account_in as usize].backlog;
        assert!(backlog.is_empty(), "durable: a FULFILL went before those that wait for room");
        assert!(self.next_room_of(to), "durable: a FULFILL went though its link had no room");
        if why == Unrecorded::Grace {
            self.coverage.saw(Fault::Graced);
        }
        self.list_unrecorded(hop, why);
        self.give(hop);
    }

    /// What the core was told of this link's room, in a step in which links come in no known order.
    fn next_room_of(&mut self, to: ConnectionId) -> bool {
        let place = self.log.rooms.iter().position(|(asked, _)| *asked == to);
        let place = place.expect("durable: nobody looked at the sender's egress");
        self.log.rooms.remove(place).1
    }

    /// Those that were due and did not leave have nobody to go to, or wait for room.
    pub(crate) fn judge_left(&mut self, overdue: Vec<(usize, Unrecorded)>) {
        for (hop, why) in overdue {
            let Hop { switch, account_in, epoch_in, .. } = self.hops[hop];
            let to = self.connection(account_in, epoch_in);
            if !self.is_live(to) {
                self.coverage.saw(Fault::WithheldLost);
                self.give(hop);
                continue;
            }
            self.list_unrecorded(hop, why);
            let backlog = &self.nodes[switch].accounts[account_in as usize].backlog;
            if backlog.is_empty() {
                let has_room = self.next_room_of(to);
                assert!(!has_room, "durable: a FULFILL whose time is up did not go");
            }
            self.wait_for_room(hop);
        }
        assert!(
            self.log.rooms.is_empty(),
            "durable: the egress of a link was looked at for nothing"
        );
    }
}
