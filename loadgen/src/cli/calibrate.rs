//! `m2-load calibrate`: what the generator itself can do on this machine.

use std::num::NonZeroU32;

use clap::Args;

use super::drive::window;
use super::{FAILED, UNUSABLE, chosen_seed, complain, say};
use crate::calibrate::{Setup, calibrate};
use crate::limits;
use crate::link::Transport;
use crate::live::Live;
use crate::payload::Fulfillment;

#[derive(Args, Debug)]
pub(super) struct CalibrateArgs {
    /// What the two ends are joined by.
    #[arg(long, value_enum, default_value = "tcp")]
    transport: Transport,
    /// PREPAREs in flight.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = window)]
    window: NonZeroU32,
    /// How long to send.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=limits::SECONDS_MAX))]
    seconds: u64,
    /// How a fulfillment follows from its packet.
    #[arg(long, value_enum, default_value = "fixed")]
    fulfillment: Fulfillment,
    /// Seed of every draw.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Look for work again at once when there is none, rather than sleep.
    #[arg(long)]
    spin: bool,
    /// Print JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) fn command(args: &CalibrateArgs) -> u8 {
    let &CalibrateArgs { transport, window, seconds, fulfillment, spin, .. } = args;
    let seed = args.seed.unwrap_or_else(chosen_seed);
    let setup = Setup { transport, window, seconds, fulfillment, spin, seed };
    match calibrate(&setup, &mut Live::new(true)) {
        Ok(calibration) => {
            let text = if args.json {
                serde_json::to_string_pretty(&calibration).expect("numbers and strings") + "\n"
            } else {
                calibration.to_string()
            };
            say(&text);
            if calibration.failures.is_empty() { 0 } else { FAILED }
        }
        Err(sentence) => complain(&sentence, UNUSABLE),
    }
}
