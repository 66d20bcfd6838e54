//! What a comparison tells: each difference as it is found, then what they come to.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::super::line::Direction;
use super::super::positions::Window;
use super::packets::{self, Leg, Which};
use super::payments::{self, Payment};
use super::source::{Place, Side};
use super::sum;
use super::why::Why;
use crate::output::{self, Failure, Verdict, complain, grouped, hex, printable};
use crate::time;

/// Where the differences go.
pub(super) struct Report<'a> {
    is_json: bool,
    sides: [&'a Side; 2],
    out: Box<dyn Write>,
    /// By explanation: how many, and what they come to.
    whys: BTreeMap<&'static str, (u64, i128)>,
    unexplained: u64,
}

/// What there is besides differences.
pub(super) struct Summary<'a> {
    pub(super) sides: [&'a Side; 2],
    pub(super) window: Window,
    pub(super) matched: packets::Matched,
    pub(super) paid: payments::Matched,
    /// By side: how many amounts, and their sum.
    pub(super) frozen: [(usize, u128); 2],
}

impl<'a> Report<'a> {
    pub(super) fn new(is_json: bool, sides: [&'a Side; 2]) -> Self {
        let out = Box::new(output::stdout());
        Self { is_json, sides, out, whys: BTreeMap::new(), unexplained: 0 }
    }

    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if !self.is_json {
            let [here, there] = self.sides.map(|side| printable(&side.name));
            writeln!(self.out, "here: account {here}; there: account {there}")?;
        }
        Ok(())
    }

    /// A packet that both do not have alike.
    pub(super) fn packet(&mut self, difference: &packets::Difference) -> Result<(), Failure> {
        let packets::Difference { condition_head, direction, here, there, why } = difference;
        self.count(why, difference.change());
        let condition = hex(condition_head);
        if self.is_json {
            let line = json!({
                "type": "difference",
                "of": "packet",
                "has": has(here.is_some(), there.is_some()),
                "direction_here": direction,
                "condition_head": condition,
                "amount_here": here.map(|leg| leg.amount.to_string()),
                "amount_there": there.map(|leg| leg.amount.to_string()),
                "at_here_ms": here.map(|leg| leg.at_ms),
                "at_there_ms": there.map(|leg| leg.at_ms),
                "place_here": here.map(|leg| place(leg.place)),
                "place_there": there.map(|leg| place(leg.place)),
                "adds_to_sum": difference.change().to_string(),
                "why": why.word(),
                "explained": why.is_explained(),
                "explanation": why.text(),
            });
            return self.line(&line);
        }
        let way = match direction {
            Direction::In => "from there to here",
            Direction::Out => "from here to there",
        };
        let of = |leg: Option<Leg>, which: Which| {
            leg.map(|leg| {
                let Leg { amount, at_ms, place } = leg;
                format!("{} {amount} at {} ({})", which.word(), time::text(at_ms), at(place))
            })
        };
        let both: Vec<_> =
            [of(*here, Which::Here), of(*there, Which::There)].into_iter().flatten().collect();
        writeln!(
            self.out,
            "packet {way}, condition {condition}, {}: {}; {}: {}",
            has(here.is_some(), there.is_some()).replace('_', " "),
            both.join(", "),
            why.word().replace('_', " "),
            why.text()
        )?;
        Ok(())
    }

    /// A payment that both do not have alike.
    pub(super) fn payment(&mut self, difference: &payments::Difference) -> Result<(), Failure> {
        let payments::Difference { paid_by, settled, credited, why } = difference;
        self.count(why, difference.change());
        let is_here = |payer: bool| {
            let which = if payer { *paid_by } else { paid_by.other() };
            which == Which::Here
        };
        let side = |which_is_here: bool| match is_here(true) == which_is_here {
            true => *settled,
            false => *credited,
        };
        let (here, there) = (side(true), side(false));
        let what = if matches!(why, Why::Reversed { .. }) { "reversal" } else { "payment" };
        if self.is_json {
            let line = json!({
                "type": "difference",
                "of": what,
                "has": has(here.is_some(), there.is_some()),
                "paid_by": paid_by.word(),
                "key_here": here.map(|it| hex(&it.key)),
                "key_there": there.map(|it| hex(&it.key)),
                "amount_here": here.map(|it| it.amount.to_string()),
                "amount_there": there.map(|it| it.amount.to_string()),
                "at_here_ms": here.map(|it| it.at_ms),
                "at_there_ms": there.map(|it| it.at_ms),
                "place_here": here.map(|it| place(it.place)),
                "place_there": there.map(|it| place(it.place)),
                "adds_to_sum": difference.change().to_string(),
                "why": why.word(),
                "explained": why.is_explained(),
                "explanation": why.text(),
            });
            return self.line(&line);
        }
        let of = |payment: Option<Payment>, which: Which| {
            payment.map(|payment| {
                let Payment { key, amount, at_ms, place } = payment;
                let (key, moment) = (hex(&key), time::text(at_ms));
                format!("{} {amount}, key {key}, at {moment} ({})", which.word(), at(place))
            })
        };
        let both: Vec<_> =
            [of(here, Which::Here), of(there, Which::There)].into_iter().flatten().collect();
        writeln!(
            self.out,
            "{what}, paid by the side {}, {}: {}; {}: {}",
            paid_by.word(),
            has(here.is_some(), there.is_some()).replace('_', " "),
            both.join(", "),
            why.word().replace('_', " "),
            why.text()
        )?;
        Ok(())
    }

    fn count(&mut self, why: &Why, change: i128) {
        let (count, sum) = self.whys.entry(why.word()).or_default();
        *count += 1;
        *sum = sum.saturating_add(change);
        self.unexplained += u64::from(!why.is_explained());
    }

    /// What all come to.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn end(mut self, summary: &Summary<'_>) -> Result<Verdict, Failure> {
        let listed = self.whys.values().fold(0, |sum: i128, (_, it)| sum.saturating_add(*it));
        let books = Books::of(summary, listed);
        if self.is_json {
            let line = self.summary_json(summary, &books);
            self.line(&line)?;
        } else {
            self.summary_text(summary, &books)?;
        }
        self.out.flush()?;
        let damage: Vec<_> = summary.sides.iter().flat_map(|side| &side.damage).collect();
        damage.iter().for_each(|sentence| {
            complain(sentence, 1);
        });
        let is_same = self.whys.is_empty() && books.is_even() && !summary.has_two_assets();
        Ok(Verdict::fine_if(is_same && damage.is_empty()))
    }

    fn summary_json(&self, summary: &Summary<'_>, books: &Books) -> Value {
        let side = |side: &Side, frozen: (usize, u128)| {
            json!({
                "account": side.name,
                "asset": side.asset,
                "position_before": side.before.map(|it| it.to_string()),
                "position_after": side.after.map(|it| it.to_string()),
                "frozen_count": frozen.0,
                "frozen_amount": frozen.1.to_string(),
                "generations": side.lives.iter().map(|it| it.generation).collect::<Vec<_>>(),
                "damage": side.damage,
            })
        };
        let whys = self.whys.iter().map(|(why, (count, sum))| {
            json!({ "why": why, "count": count, "adds_to_sum": sum.to_string() })
        });
        let Summary { sides, window, matched, paid, frozen } = summary;
        json!({
            "type": "summary",
            "here": side(sides[0], frozen[0]),
            "there": side(sides[1], frozen[1]),
            "from_ms": window.from_ms,
            "to_ms": window.to_ms,
            "packets_matched": matched.packets,
            "there_behind_here_ms_least": matched.behind_ms.map(|(least, _)| least),
            "there_behind_here_ms_most": matched.behind_ms.map(|(_, most)| most),
            "late_fulfills": matched.late,
            "payments_matched_by_key": paid.by_key,
            "payments_matched_by_amount": paid.by_amount,
            "differences": self.whys.values().map(|(count, _)| count).sum::<u64>(),
            "unexplained": self.unexplained,
            "by_explanation": whys.collect::<Vec<_>>(),
            "sum_before": books.before.map(|it| it.to_string()),
            "sum_after": books.after.map(|it| it.to_string()),
            "sum_of_differences": books.listed.to_string(),
            "sum_agrees": books.agrees(),
        })
    }

    fn summary_text(&mut self, summary: &Summary<'_>, books: &Books) -> Result<(), Failure> {
        let Summary { sides, matched, paid, .. } = summary;
        let count: u64 = self.whys.values().map(|(count, _)| count).sum();
        write!(self.out, "matched      {} packets", grouped(matched.packets))?;
        if let Some((least, most)) = matched.behind_ms {
            write!(self.out, " (there {least} to {most} ms later than here)")?;
        }
        writeln!(
            self.out,
            ", {} payments by key and {} by amount",
            grouped(paid.by_key),
            grouped(paid.by_amount)
        )?;
        if summary.has_two_assets() {
            let [here, there] = sides.map(|side| printable(&side.asset));
            writeln!(self.out, "ASSETS       here {here}, there {there}: these are no two sides")?;
        }
        writeln!(
            self.out,
            "differences  {}, of which {} without an explanation",
            grouped(count),
            grouped(self.unexplained)
        )?;
        for (why, (count, sum)) in &self.whys {
            let why = why.replace('_', " ");
            writeln!(self.out, "  {why:<20} {count:>10}  {sum:>24} units")?;
        }
        books.text(&mut self.out, *sides)
    }

    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }
}

impl Summary<'_> {
    fn has_two_assets(&self) -> bool {
        self.sides[0].asset != self.sides[1].asset
    }
}

/// The sum of both positions, which is 0 where the sides agree.
struct Books {
    before: Option<i128>,
    after: Option<i128>,
    /// What the differences come to.
    listed: i128,
}

impl Books {
    fn of(summary: &Summary<'_>, listed: i128) -> Self {
        let before = sum(summary.sides, |side| side.before);
        Self { before, after: sum(summary.sides, |side| side.after), listed }
    }

    /// Whether the differences are all that there is.
    fn agrees(&self) -> Option<bool> {
        Some(self.before?.checked_add(self.listed)? == self.after?)
    }

    fn is_even(&self) -> bool {
        self.before.is_none_or(|before| before == 0) && self.agrees() != Some(false)
    }

    fn text(&self, out: &mut impl Write, sides: [&Side; 2]) -> Result<(), Failure> {
        let told =
            |position: Option<i128>| position.map_or_else(|| "unknown".into(), |it| it.to_string());
        let [here, there] = sides;
        for (when, pick) in [("before", 0), ("after", 1)] {
            let of = |side: &Side| if pick == 0 { side.before } else { side.after };
            let both = if pick == 0 { self.before } else { self.after };
            writeln!(
                out,
                "{when:<12} here {}, there {}: together {}",
                told(of(here)),
                told(of(there)),
                told(both)
            )?;
        }
        let verdict = match self.agrees() {
            None => "a position is not known, as the records that it takes are gone",
            Some(true) => "the differences are all that there is",
            Some(false) => "the positions differ by something that is in no record",
        };
        writeln!(out, "sum          the differences come to {}: {verdict}", self.listed)?;
        Ok(())
    }
}

fn has(here: bool, there: bool) -> &'static str {
    match (here, there) {
        (true, true) => "both",
        (true, false) => "only_here",
        (false, _) => "only_there",
    }
}

fn place(place: Place) -> Value {
    let Place { generation, stream, position } = place;
    json!({ "generation": generation, "stream": stream, "position": position })
}

fn at(place: Place) -> String {
    let Place { generation, stream, position } = place;
    format!("generation {generation}, {stream}:{position}")
}
