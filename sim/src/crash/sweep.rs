//! Not by chance: two shards, a small scene, a power cut after every step of it (every append, every
//! hop in a ring, every call of the disk), with snapshots begun and finished at each of these points,
//! and a restart with one, two and three shards.

use std::rc::Rc;

use m2_core::Durability;
use m2_journal::Op as Request;

use super::disk::Luck;
use super::machine::Step;
use super::plan::{AccountPlan, MS, Plan};
use super::seen::Seen;
use super::world::World;
use crate::case::{Failure, caught};
use crate::dice::mix;

/// Steps after which a scene must have ended.
const STEPS_MAX: u64 = 2_000;

/// Steps from one snapshot to the next.
const AGAIN_STEPS: u64 = 45;

/// How many schedules there are to choose from.
pub const SCHEDULES: u64 = 4;

/// One run through a scene.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    /// The accounts stand on two shards, or on one of the two.
    pub is_apart: bool,
    /// Which thread takes its step when several can.
    pub schedule: u64,
    /// Before which step images are made for snapshots, if any are: the first ones.
    pub begin: Option<u64>,
    /// How many steps later these are written, at once.
    pub delay: u64,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Swept {
    /// What occurred.
    pub seen: Seen,
    /// How many steps it took.
    pub steps: u64,
}

impl Point {
    /// Runs the scene, and cuts the power after every step.
    ///
    /// # Errors
    ///
    /// What failed first.
    pub fn run(&self) -> Result<Swept, Failure> {
        caught(|| {
            let mut world = World::of(Rc::new(self.plan()), false);
            let steps = self.play(&mut world);
            let mut seen = core::mem::take(&mut world.seen);
            seen.runs = 0;
            Swept { seen, steps }
        })
    }

    /// Runs the scene again, and tells what happened up to its end or its failure.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let mut world = World::of(Rc::new(self.plan()), true);
        let failed = caught(|| self.play(&mut world)).err();
        let mut lines = world.trace.take().unwrap_or_default();
        lines.extend(failed.map(|failure| failure.message));
        lines
    }

    fn plan(&self) -> Plan {
        let account = |asset, durability| AccountPlan {
            asset: m2_core::AssetIndex(asset),
            durability,
            balance_max: 100_000,
            payable_max: 100_000,
        };
        let accounts = vec![account(0, Durability::Sync), account(1, Durability::Async)];
        let shards = if self.is_apart { vec![0, 1] } else { vec![0, 0] };
        Plan::of_scene(self.schedule, accounts, shards)
    }

    fn play(&self, world: &mut World) -> u64 {
        let (mut acts, mut cut) = (0, Cutter::default());
        for number in 0..STEPS_MAX {
            if self.begins(number) {
                (0..2).for_each(|shard| world.make_image(shard));
            }
            let writes = self.begin.is_none_or(|begin| number >= begin + self.delay);
            match self.choose(world, writes, number) {
                Some(step) => {
                    world.step(step, 0);
                    // Before its images, a run is like the one without any.
                    if self.begin.is_none_or(|begin| number >= begin) {
                        cut.cut(world);
                    }
                }
                None if !world.machine.journal.is_idle => unreachable!("it was asked"),
                None => {
                    if !act(world, &mut acts) {
                        return number;
                    }
                }
            }
        }
        panic!("a scene has an end: {self:?}");
    }

    /// Whether images are made before this step: where the point says so and, as the two newest
    /// snapshots are kept with all that they rest on, twice behind it, so that segments go.
    fn begins(&self, number: u64) -> bool {
        let since = self.begin.and_then(|begin| number.checked_sub(begin));
        let is_time = |since: u64| since.is_multiple_of(AGAIN_STEPS) && since <= 2 * AGAIN_STEPS;
        since.is_some_and(is_time)
    }

    /// Snapshots wait until they are wanted, and then come first.
    fn choose(&self, world: &World, writes: bool, number: u64) -> Option<Step> {
        let mut steps = world.possible();
        let running = &world.machine.journal.running;
        let is_snapshot = |step: &Step| match step {
            Step::Image(_) => true,
            Step::Call(index) | Step::Done(index) => {
                matches!(running[*index].op, Request::Snapshot { .. })
            }
            _ => false,
        };
        if writes && let Some(step) = steps.iter().find(|step| is_snapshot(step)) {
            return Some(*step);
        }
        steps.retain(|step| !is_snapshot(step));
        let count = steps.len() as u64;
        let which = match self.schedule {
            0 => 0,
            1 => count.checked_sub(1)?,
            other => mix(other, number).checked_rem(count)?,
        };
        steps.get(usize::try_from(which).expect("a few")).copied()
    }
}

/// What comes next from outside, once nothing is left to do inside; `false` at the end.
fn act(world: &mut World, acts: &mut u64) -> bool {
    *acts += 1;
    match *acts {
        // From the account of the second shard as well: each stream has legs of both.
        1 => {
            world.send([0, 0, 700, 5]);
            world.money(true, 0, 301);
            world.send([1, 0, 301, 5]);
            world.send([0, 0, 502, 5]);
        }
        2 => {
            world.money(false, 1, 61);
            world.freeze(1, 100);
            world.send([1, 0, 403, 5]);
        }
        3 => {
            world.end_frozen(true, 0);
            world.limits(0, 40_000, 40_000);
        }
        // What nobody waits for is written by and by.
        4..9 => world.pass(50 * MS),
        _ => return false,
    }
    true
}

/// Cuts the power on copies of the disk.
#[derive(Debug, Default)]
struct Cutter {
    /// The version of the disk that was looked at last.
    version: Option<u64>,
    count: u64,
}

impl Cutter {
    fn cut(&mut self, world: &mut World) {
        // What else has changed is what was told; that must be true of the disk as it was before.
        let is_new = self.version.replace(world.disk.version()) != Some(world.disk.version());
        for luck in [Luck::Nothing, Luck::Everything, Luck::Sectors(self.count)] {
            if !is_new && luck != Luck::Nothing {
                continue;
            }
            self.count += 1;
            let mut disk = world.disk.clone();
            disk.cut_power(luck);
            let shards = u16::try_from(1 + self.count % 3).expect("3");
            world.look_into(disk, shards, is_new);
        }
    }
}
