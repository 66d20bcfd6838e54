//! What an amount of one account is worth in the units of another: an immutable snapshot.
//!
//! A rate is one ratio of two u64 with scales and spread folded in, so that converting is one
//! multiplication and one division in u128: `floor(amount x num / den)`. Rounding is always down,
//! in our favour; what is rounded off is counted (see [`crate::counters::PairTotal`]). Amounts
//! of one asset at one scale, without spread, pass unchanged. No float is anywhere near.

use core::fmt;

use crate::ids::AssetIndex;

/// Parts of a million: what a spread is counted in.
const SPREAD_WHOLE_PPM: u32 = 1_000_000;

/// An asset at a scale: one standard unit is 10^scale of the units that amounts count.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Asset {
    /// What it is called, `USD` say. Two assets of one code are worth the same.
    pub code: String,
    /// How many digits stand behind the point of one standard unit.
    pub scale: u8,
}

/// One rate as an operator states it: in standard units, before scales and spread.
#[derive(Clone, Debug)]
pub struct RateEntry {
    /// What comes in.
    pub from: AssetIndex,
    /// What goes out.
    pub to: AssetIndex,
    /// Standard units of `to` for `den` standard units of `from`.
    pub num: u64,
    /// See `num`.
    pub den: u64,
    /// What we keep, in parts of a million.
    pub spread_ppm: u32,
}

/// Why a list of rates is not one we can use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateError {
    /// `from` or `to` names no asset.
    UnknownAsset,
    /// The same pair stands twice.
    Duplicate,
    /// A rate, or what scales and spread leave of it, is zero.
    Zero,
    /// The spread takes everything, or more.
    Spread,
    /// An asset is worth what it is worth, at whatever scale: a spread is all that may stand there.
    SameCode,
    /// With scales and spread folded in, the ratio is not one of two u64.
    DoesNotFit,
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAsset => "names an asset that is not listed",
            Self::Duplicate => "gives a rate for the same pair a second time",
            Self::Zero => "is zero, so nothing would go out",
            Self::Spread => "has a spread of 1,000,000 ppm or more, so nothing would go out",
            Self::SameCode => "is not 1 though both assets have one code: only a spread may differ",
            Self::DoesNotFit => {
                "is no ratio of two 64-bit integers once scales and spread are folded in: give fewer \
                 digits"
            }
        })
    }
}

/// A rate ready to use: `floor(amount x num / den)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ratio {
    num: u64,
    den: u64,
}

/// Why an amount has no equal in the other asset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConversionError {
    /// Nobody told a rate for this pair.
    NoRate,
    /// Less than one unit would go out.
    TooSmall,
    /// More than a u64 would go out; this is the largest amount that does not.
    TooLarge {
        /// Inclusive, in units of the incoming account.
        maximum: u64,
    },
}

/// Rates for every pair of assets. Built whole, replaced whole.
#[derive(Debug)]
pub struct Rates {
    version: u32,
    asset_count: usize,
    /// `asset_count` squared, by row of `from`.
    table: Vec<Option<Ratio>>,
}

impl Rates {
    /// Folds scales and spreads into one ratio for each pair.
    ///
    /// Pairs of one asset code need no entry: they are worth the same, up to their scales.
    ///
    /// # Errors
    ///
    /// Which entry (by position) cannot be used, and why.
    pub fn build(
        version: u32,
        assets: &[Asset],
        entries: &[RateEntry],
    ) -> Result<Self, (usize, RateError)> {
        let count = assets.len();
        let mut table = vec![None; count * count];
        let mut stated = vec![false; count * count];
        for (position, entry) in entries.iter().enumerate() {
            let (from, to) = (usize::from(entry.from.0), usize::from(entry.to.0));
            let (Some(asset_from), Some(asset_to)) = (assets.get(from), assets.get(to)) else {
                return Err((position, RateError::UnknownAsset));
            };
            let pair = from * count + to;
            if core::mem::replace(&mut stated[pair], true) {
                return Err((position, RateError::Duplicate));
            }
            if asset_from.code == asset_to.code && entry.num != entry.den {
                return Err((position, RateError::SameCode));
            }
            let ratio = Ratio::fold(entry, asset_from.scale, asset_to.scale);
            table[pair] = Some(ratio.map_err(|error| (position, error))?);
        }
        for (from, asset_from) in assets.iter().enumerate() {
            for (to, asset_to) in assets.iter().enumerate() {
                let pair = from * count + to;
                if !stated[pair] && asset_from.code == asset_to.code {
                    let one = RateEntry {
                        from: AssetIndex(0),
                        to: AssetIndex(0),
                        num: 1,
                        den: 1,
                        spread_ppm: 0,
                    };
                    // Scales too far apart leave the pair without a rate.
                    table[pair] = Ratio::fold(&one, asset_from.scale, asset_to.scale).ok();
                }
            }
        }
        Ok(Self { version, asset_count: count, table })
    }

    /// Which snapshot this is; records of pairs name it.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Converts `amount` of `from` into units of `to`, rounding down. Zero stays zero.
    ///
    /// # Errors
    ///
    /// When there is no rate, or the result is below one unit or above a u64.
    pub fn convert(
        &self,
        from: AssetIndex,
        to: AssetIndex,
        amount: u64,
    ) -> Result<u64, ConversionError> {
        let ratio = self.table[self.pair(from, to)].ok_or(ConversionError::NoRate)?;
        ratio.convert(amount)
    }

    /// Position of a pair in tables of all pairs.
    pub(crate) fn pair(&self, from: AssetIndex, to: AssetIndex) -> usize {
        usize::from(from.0) * self.asset_count + usize::from(to.0)
    }

    pub(crate) fn pair_count(&self) -> usize {
        self.table.len()
    }

    /// What rounding kept of a converted amount, in parts of [`Self::denominator`].
    pub(crate) fn remainder(&self, pair: usize, amount_in: u64, amount_out: u64) -> u64 {
        let ratio = self.table[pair].expect("an amount was converted at this rate");
        let exact = u128::from(amount_in) * u128::from(ratio.num);
        let paid = u128::from(amount_out) * u128::from(ratio.den);
        let remainder = exact.checked_sub(paid).expect("conversion rounds down");
        assert!(remainder < u128::from(ratio.den), "conversion rounds off less than one unit");
        u64::try_from(remainder).expect("less than a u64 denominator")
    }

    /// In parts of what the remainders of a pair are counted; 1 where there is no rate.
    pub(crate) fn denominator(&self, pair: usize) -> u64 {
        self.table[pair].map_or(1, |ratio| ratio.den)
    }
}

impl Ratio {
    fn fold(entry: &RateEntry, scale_from: u8, scale_to: u8) -> Result<Self, RateError> {
        if entry.num == 0 || entry.den == 0 {
            return Err(RateError::Zero);
        }
        if entry.spread_ppm >= SPREAD_WHOLE_PPM {
            return Err(RateError::Spread);
        }
        let kept = u128::from(SPREAD_WHOLE_PPM - entry.spread_ppm);
        let (mut num, mut den) = reduced(
            u128::from(entry.num) * kept,
            u128::from(entry.den) * u128::from(SPREAD_WHOLE_PPM),
        );
        let digits = u32::from(scale_from.abs_diff(scale_to));
        let power = 10_u128.checked_pow(digits).ok_or(RateError::DoesNotFit)?;
        if scale_to >= scale_from {
            let (power, reduced_den) = reduced(power, den);
            num = num.checked_mul(power).ok_or(RateError::DoesNotFit)?;
            den = reduced_den;
        } else {
            let (reduced_num, power) = reduced(num, power);
            num = reduced_num;
            den = den.checked_mul(power).ok_or(RateError::DoesNotFit)?;
        }
        match (u64::try_from(num), u64::try_from(den)) {
            (Ok(num), Ok(den)) => Ok(Self { num, den }),
            _ => Err(RateError::DoesNotFit),
        }
    }

    fn convert(self, amount: u64) -> Result<u64, ConversionError> {
        if self.num == self.den || amount == 0 {
            return Ok(amount);
        }
        // Most products fit 64 bits, whose division takes a fraction of the time.
        let exact = match amount.checked_mul(self.num) {
            Some(product) => u128::from(product / self.den),
            None => u128::from(amount) * u128::from(self.num) / u128::from(self.den),
        };
        match u64::try_from(exact) {
            Ok(0) => Err(ConversionError::TooSmall),
            Ok(amount_out) => Ok(amount_out),
            Err(_) => Err(ConversionError::TooLarge { maximum: self.largest_in() }),
        }
    }

    /// The largest amount whose conversion fits a u64: amounts up to it give less than 2^64.
    fn largest_in(self) -> u64 {
        let bound = (u128::from(self.den) << 64) - 1;
        u64::try_from(bound / u128::from(self.num)).unwrap_or(u64::MAX)
    }
}

fn reduced(a: u128, b: u128) -> (u128, u128) {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor, b / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: AssetIndex = AssetIndex(0);
    const B: AssetIndex = AssetIndex(1);

    fn rates(scales: [u8; 2], num: u64, den: u64, spread_ppm: u32) -> Result<Rates, RateError> {
        let asset = |code: &str, scale| Asset { code: code.into(), scale };
        let assets = [asset("USD", scales[0]), asset("XRP", scales[1])];
        let entry = RateEntry { from: A, to: B, num, den, spread_ppm };
        Rates::build(1, &assets, &[entry]).map_err(|(_, error)| error)
    }

    #[test]
    fn b08_one_asset_at_one_scale_passes_unchanged() {
        let rates = rates([9, 6], 5, 2, 0).unwrap();
        for amount in [0, 1, 1 << 53, u64::MAX] {
            assert_eq!(rates.convert(A, A, amount), Ok(amount));
        }
    }

    #[test]
    fn b08_b09_scales_rate_and_spread_are_folded_into_one_floor() {
        // 2.5 XRP for a USD, 1 % kept: 1 USD = 10^9 units gives 2.475 XRP = 2,475,000 units.
        let rates = rates([9, 6], 5, 2, 10_000).unwrap();
        assert_eq!(rates.convert(A, B, 1_000_000_000), Ok(2_475_000));
        assert_eq!(rates.convert(A, B, 1_000_000_403), Ok(2_475_000));
        assert_eq!(rates.convert(A, B, 404), Err(ConversionError::TooSmall));
        assert_eq!(rates.convert(A, B, 405), Ok(1));
        assert_eq!(rates.convert(A, B, 0), Ok(0));
    }

    #[test]
    fn a_pair_nobody_told_has_no_rate() {
        let rates = rates([9, 6], 5, 2, 0).unwrap();
        assert_eq!(rates.convert(B, A, 1), Err(ConversionError::NoRate));
    }

    #[test]
    fn two_scales_of_one_code_need_no_entry() {
        let assets = [9, 6].map(|scale| Asset { code: "USD".into(), scale });
        let rates = Rates::build(1, &assets, &[]).unwrap();
        assert_eq!(rates.convert(A, B, 1_999), Ok(1));
        assert_eq!(rates.convert(B, A, 1), Ok(1_000));
    }

    #[test]
    fn the_largest_amount_that_fits_is_told_and_does_fit() {
        let rates = rates([6, 9], 7, 3, 0).unwrap();
        let Err(ConversionError::TooLarge { maximum }) = rates.convert(A, B, u64::MAX) else {
            panic!("2^64 x 1000 x 7 / 3 fits no u64");
        };
        assert!(rates.convert(A, B, maximum).is_ok());
        assert_eq!(rates.convert(A, B, maximum + 1), Err(ConversionError::TooLarge { maximum }));
    }

    #[test]
    fn what_cannot_be_a_rate_is_refused_when_the_snapshot_is_built() {
        assert_eq!(rates([9, 6], 0, 1, 0).unwrap_err(), RateError::Zero);
        assert_eq!(rates([9, 6], 1, 0, 0).unwrap_err(), RateError::Zero);
        assert_eq!(rates([9, 6], 1, 1, 1_000_000).unwrap_err(), RateError::Spread);
        assert_eq!(rates([0, 255], 1, 1, 0).unwrap_err(), RateError::DoesNotFit);
        assert_eq!(rates([30, 0], 1, 1, 0).unwrap_err(), RateError::DoesNotFit);
        assert_eq!(rates([0, 19], u64::MAX, 1, 0).unwrap_err(), RateError::DoesNotFit);
        assert_eq!(rates([0, 0], u64::MAX, u64::MAX - 1, 7).unwrap_err(), RateError::DoesNotFit);
        let assets = [Asset { code: "USD".into(), scale: 9 }];
        let entry = RateEntry { from: A, to: B, num: 1, den: 1, spread_ppm: 0 };
        assert_eq!(Rates::build(1, &assets, &[entry]).unwrap_err(), (0, RateError::UnknownAsset));
        let entry = RateEntry { from: A, to: A, num: 1, den: 1, spread_ppm: 0 };
        assert_eq!(
            Rates::build(1, &assets, &[entry.clone(), entry.clone()]).unwrap_err(),
            (1, RateError::Duplicate)
        );
        // Found by a reader: three units came out for one that went in.
        let threefold = RateEntry { num: 3, ..entry };
        assert_eq!(Rates::build(1, &assets, &[threefold]).unwrap_err(), (0, RateError::SameCode));
    }

    #[test]
    fn between_scales_of_one_code_a_spread_is_all_that_may_be_stated() {
        let assets = [9, 6].map(|scale| Asset { code: "USD".into(), scale });
        let entry = RateEntry { from: A, to: B, num: 1, den: 1, spread_ppm: 10_000 };
        let rates = Rates::build(1, &assets, std::slice::from_ref(&entry)).unwrap();
        assert_eq!(rates.convert(A, B, 1_000_000), Ok(990));
        let other = RateEntry { num: 2, ..entry };
        assert_eq!(Rates::build(1, &assets, &[other]).unwrap_err(), (0, RateError::SameCode));
    }

    proptest! {
        /// The folded ratio is exactly the stated one, and every conversion is its exact floor.
        #[test]
        fn conversion_is_the_exact_floor_of_the_stated_rate(
            scales in [0_u8..12, 0_u8..12],
            num in 1..10_000_000_000_u64, den in 1..10_000_000_000_u64,
            spread_ppm in 0..1_000_000_u32, amount in 1..u64::MAX,
        ) {
            let Ok(rates) = rates(scales, num, den, spread_ppm) else { return Ok(()) };
            let ratio = rates.table[rates.pair(A, B)].unwrap();
            // num/den x 10^(to - from) x (1 - spread), cross-multiplied with the folded one.
            let shift = 10_u128.pow(u32::from(scales[0].abs_diff(scales[1])));
            let (up, down) = if scales[1] >= scales[0] { (shift, 1) } else { (1, shift) };
            let kept = u128::from(1_000_000 - spread_ppm);
            let stated = reduced(
                u128::from(num) * kept * up,
                u128::from(den) * 1_000_000 * down,
            );
            prop_assert_eq!(stated, (u128::from(ratio.num), u128::from(ratio.den)));

            let exact = u128::from(amount) * u128::from(ratio.num) / u128::from(ratio.den);
            match rates.convert(A, B, amount) {
                Ok(amount_out) => {
                    prop_assert_eq!(u128::from(amount_out), exact);
                    rates.remainder(rates.pair(A, B), amount, amount_out);
                }
                Err(ConversionError::TooSmall) => prop_assert_eq!(exact, 0),
                Err(ConversionError::TooLarge { maximum }) => {
                    prop_assert!(exact > u128::from(u64::MAX));
                    prop_assert!(rates.convert(A, B, maximum).is_ok());
                    prop_assert!(rates.convert(A, B, maximum + 1).is_err());
                }
                Err(ConversionError::NoRate) => prop_assert!(false),
            }
        }
    }
}
