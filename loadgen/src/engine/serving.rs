//! An engine that only answers: the receiving ends of runs in other processes.

use std::ops::ControlFlow;

use super::{Cut, Engine, Player};
use crate::limits;

impl Engine<'_> {
    /// Answers PREPAREs until `asked` breaks off, or `until_ns` after the start. `asked` is told each
    /// run whose books somebody asked for, once the answer has left.
    ///
    /// # Errors
    ///
    /// When a link ends or a signal comes before that. What was counted until then stays.
    pub fn serve(
        &mut self,
        until_ns: Option<u64>,
        mut asked: impl FnMut(&[Option<Player>], u32) -> ControlFlow<()>,
    ) -> Result<(), Cut> {
        let until_ns = until_ns.unwrap_or(u64::MAX);
        // Who serves for days must not go by what the wall clock was on the first.
        let mut wall_clock_ns = limits::WALL_CLOCK_NS;
        let mut events = Vec::with_capacity((self.players.len() + 1).max(16));
        loop {
            let now_ns = self.clock.now().ns;
            if self.interrupt.seen() {
                return Err(Cut::Interrupted { at_ns: now_ns });
            }
            if now_ns >= until_ns {
                return Ok(());
            }
            if now_ns >= wall_clock_ns {
                self.clock.read_wall_clock();
                wall_clock_ns = now_ns + limits::WALL_CLOCK_NS;
            }
            self.turn()?;
            for index in 0..self.players.len() {
                let receiver = self.players[index].as_mut().map(|player| &mut player.receiver);
                let run = receiver.and_then(|receiver| receiver.take_asked());
                if run.is_some_and(|run| asked(&self.players, run).is_break()) {
                    return Ok(());
                }
            }
            let idle = !self.drive.spin && !self.players.iter().flatten().any(Player::reads);
            let sleep_ns = if idle { until_ns - now_ns } else { 0 };
            self.sleep(&mut events, sleep_ns.min(limits::SECONDS_MAX * 1_000_000_000));
        }
    }
}
