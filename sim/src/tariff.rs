//! What an amount is worth, calculated once more: the judge's own opinion of every conversion.
//!
//! `floor(amount x rate x (1 - spread) x 10^(scale_to - scale_from))`: the spread once, one rounding,
//! down. Numbers are kept small enough that the whole product fits 128 bits.

use m2_core::{AssetIndex, RateEntry, Rates};

use crate::dice::{dice, often, one_of};
use crate::plan::Plan;

/// The rates of one switch at one version.
#[derive(Debug)]
pub(crate) struct Tariff {
    /// From, to: numerator and denominator of what goes out for one unit.
    table: Vec<Option<(u128, u128)>>,
    count: usize,
}

/// Units, and parts of one more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) whole: u128,
    pub(crate) num: u128,
    pub(crate) den: u128,
}

/// Why an amount has no equal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoWorth {
    Unknown,
    TooSmall,
    TooLarge { maximum: u64 },
}

impl Tariff {
    /// Rates of a switch, for the core and for the judge.
    pub(crate) fn of(plan: &Plan, switch: usize, version: u32) -> (Rates, Self) {
        let dice = &mut dice(&[plan.seed, 0x7a7e, switch as u64, u64::from(version)]);
        let count = plan.assets.len();
        let mut entries = Vec::new();
        let mut table = vec![None; count * count];
        for from in 0..count {
            for to in 0..count {
                let same = plan.assets[from].code == plan.assets[to].code;
                let (mut num, mut den, mut ppm) = (1, 1, 0);
                let is_stated = if same { often(dice, 200) } else { !often(dice, 12) };
                if is_stated {
                    ppm = if often(dice, 5) {
                        999_999
                    } else {
                        one_of(dice, &[0, 1, 500, 500, 30_000, 30_000])
                    };
                    if !same {
                        num = plan.prices[from] * dice.u64(95..106);
                        den = plan.prices[to] * 100;
                    }
                    let index = |at: usize| AssetIndex(u16::try_from(at).expect("a few"));
                    let (from, to) = (index(from), index(to));
                    entries.push(RateEntry { from, to, num, den, spread_ppm: ppm });
                } else if !same {
                    continue;
                }
                let power = |at: usize| 10_u128.pow(u32::from(plan.assets[at].scale));
                table[from * count + to] = Some((
                    u128::from(num) * u128::from(1_000_000 - ppm) * power(to),
                    u128::from(den) * 1_000_000 * power(from),
                ));
            }
        }
        let rates = Rates::build(version, &plan.assets, &entries).expect("small numbers fit");
        (rates, Self { table, count })
    }

    /// What rounding and nothing else kept of all that came in, in units and parts of a unit.
    pub(crate) fn kept(&self, from: usize, to: usize, came: u128, went: u128) -> Kept {
        let Some((num, den)) = self.table[from * self.count + to] else {
            assert!((came, went) == (0, 0), "amount: converted without a rate");
            return Kept { whole: 0, num: 0, den: 1 };
        };
        let kept = (came * num).checked_sub(went * den).expect("amount: more went than came");
        Kept { whole: kept / den, num: kept % den, den }
    }

    /// What goes out for `amount`.
    pub(crate) fn convert(&self, from: u16, to: u16, amount: u64) -> Result<u64, NoWorth> {
        let ratio = self.table[usize::from(from) * self.count + usize::from(to)];
        let (num, den) = ratio.ok_or(NoWorth::Unknown)?;
        let exact = u128::from(amount) * num / den;
        if amount != 0 && exact == 0 {
            return Err(NoWorth::TooSmall);
        }
        u64::try_from(exact).map_err(|_| {
            let maximum = ((den << 64) - 1) / num;
            NoWorth::TooLarge { maximum: u64::try_from(maximum).unwrap_or(u64::MAX) }
        })
    }
}
