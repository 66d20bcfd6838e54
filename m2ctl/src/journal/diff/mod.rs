//! `m2ctl journal diff`: the two sides of a link, packet by packet.
//!
//! ```text
//!   our account for them       their account for us
//!   incoming 100  ------------ outgoing 100           the same packet, by condition and amount
//!   credited 500  ------------ settled 500            the same payment, by key or amount
//!   outgoing 7    ------------                        a difference, and what explains it
//!
//!   our position + their position = 0, but for the differences
//! ```
//!
//! Each side is a journal's folder, or a file that `dump --json` wrote elsewhere.

mod packets;
mod payments;
mod report;
mod source;
mod why;

use std::path::PathBuf;

use clap::Args;
use m2_core::limits::HOLD_MS_MAX;

use super::positions::Window;
use crate::output::{Failure, Verdict};
use crate::time;
use packets::{Matched, PASS_MAX, Packets, Which};
use payments::Payments;
use report::{Report, Summary};
use source::{Happened, Side, Source};
use why::Judge;

/// See [`super::Command::Diff`].
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// One side: a journal's folder, or a file that `dump --json` wrote
    here: PathBuf,
    /// The other side
    there: PathBuf,
    /// The account, by name or number: twice, once for each side in the order of the paths
    #[arg(long = "account", value_name = "NAME", required = true)]
    accounts: Vec<String>,
    /// Only what was decided from this moment on: RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<u64>,
    /// Only what was decided up to this moment, it included
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<u64>,
    /// How long a packet may be in flight, and the clocks of both sides be apart: what lies so near to
    /// the end of a process, or to an edge of what is known, is explained by it
    #[arg(long, value_name = "MS", default_value_t = u64::from(HOLD_MS_MAX))]
    in_flight_ms: u64,
    /// One JSON object a line: each difference, and a summary
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &DiffArgs) -> Result<Verdict, Failure> {
    let [account_here, account_there] = &args.accounts[..] else {
        return Err(Failure::Unusable(
            "a link has two sides: name --account twice, once for each".into(),
        ));
    };
    let here = Source::open(&args.here, account_here)?;
    let there = Source::open(&args.there, account_there)?;
    let asked = Window { from_ms: args.from, to_ms: args.to };
    let window = narrowest([asked, here.window(), there.window()]);
    let mut payments = Payments::default();
    let mut count = 0;
    let first_look = |which, source: &Source, payments: &mut Payments, count: &mut u64| {
        source.read(window, &mut |event| {
            *count += u64::from(!matches!(event.what, Happened::Money { .. }));
            payments.take(which, &event);
            Ok(())
        })
    };
    let side_here = first_look(Which::Here, &here, &mut payments, &mut count)?;
    let side_there = first_look(Which::There, &there, &mut payments, &mut count)?;
    let judge = Judge { here: &side_here, there: &side_there, window, slack_ms: args.in_flight_ms };
    let mut report = Report::new(args.json, [&side_here, &side_there]);
    report.begin()?;
    let mut matched = Matched::default();
    let passes = count.div_ceil(PASS_MAX).max(1);
    for pass in 0..passes {
        let mut packets = Packets::of_pass(pass, passes);
        let both = [(Which::Here, &here, &side_here), (Which::There, &there, &side_there)];
        for (which, source, side) in both {
            source.read_again(side, window, &mut |event| {
                packets.take(which, &event);
                Ok(())
            })?;
        }
        for difference in packets.differences(&judge, &mut matched) {
            report.packet(&difference)?;
        }
    }
    let frozen = [payments.frozen(Which::Here), payments.frozen(Which::There)];
    let (differences, paid) = payments.differences();
    for difference in differences {
        report.payment(&difference)?;
    }
    report.end(&Summary { sides: [&side_here, &side_there], window, matched, paid, frozen })
}

/// What lies in all of them.
fn narrowest(windows: [Window; 3]) -> Window {
    Window {
        from_ms: windows.iter().filter_map(|window| window.from_ms).max(),
        to_ms: windows.iter().filter_map(|window| window.to_ms).min(),
    }
}

/// The sum of both positions; `None` where one of them is not known.
fn sum(sides: [&Side; 2], position: impl Fn(&Side) -> Option<i128>) -> Option<i128> {
    position(sides[0])?.checked_add(position(sides[1])?)
}
