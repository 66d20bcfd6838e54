//! Amounts between the scale of an account and that of a token.
//!
//! One standard unit is `10^scale` units (RFC 38). **Totals are converted, never rises:** the floor of a
//! total keeps what is less than a unit for the next one, where the sum of floors would lose it each time.
//! So what is left over is at every moment below one unit, and known to the last digit.

use serde::{Deserialize, Serialize};

/// The most that two scales may differ: beyond it one unit of the coarser is no u128 of the finer.
pub const SCALE_DIFFERENCE_MAX: u8 = 38;

/// How units of an account and of a token compare.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scales {
    account: u8,
    token: u8,
}

impl Scales {
    /// `None` if they differ by more than [`SCALE_DIFFERENCE_MAX`].
    #[must_use]
    pub fn new(account: u8, token: u8) -> Option<Self> {
        (account.abs_diff(token) <= SCALE_DIFFERENCE_MAX).then_some(Self { account, token })
    }

    /// A total of the account in units of the token, rounded down. `None` if there is no such amount.
    #[must_use]
    pub fn to_token(self, total: u128) -> Option<u128> {
        convert(total, self.account, self.token)
    }

    /// A total of the token in units of the account, rounded down. `None` if there is no such amount.
    #[must_use]
    pub fn to_account(self, total: u128) -> Option<u128> {
        convert(total, self.token, self.account)
    }
}

fn convert(total: u128, from: u8, to: u8) -> Option<u128> {
    let factor = 10_u128.checked_pow(from.abs_diff(to).into())?;
    if to >= from { total.checked_mul(factor) } else { Some(total / factor) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn totals_are_rounded_down_and_never_wrapped() {
        let [up, down, same] = [(9, 6), (6, 9), (6, 6)].map(|(a, t)| Scales::new(a, t).unwrap());
        assert_eq!((up.to_token(1_999), up.to_account(1)), (Some(1), Some(1_000)));
        assert_eq!((down.to_token(1), down.to_account(1_999)), (Some(1_000), Some(1)));
        assert_eq!((same.to_token(u128::MAX), same.to_account(7)), (Some(u128::MAX), Some(7)));
        assert_eq!(down.to_token(u128::MAX / 1_000 + 1), None);
        let far = Scales::new(0, 38).unwrap();
        assert_eq!((far.to_token(3), far.to_token(4)), (Some(3 * 10_u128.pow(38)), None));
        assert_eq!(Scales::new(0, 39), None);
    }

    proptest! {
        /// However a sum is cut into rises, the floor of each total pays no more than is owed, and all
        /// but less than a unit.
        #[test]
        fn what_is_left_over_stays_below_a_unit(
            rises in prop::collection::vec(0_u64.., 1..20),
            account in 0_u8..20,
            token in 0_u8..20,
        ) {
            let scales = Scales::new(account, token).unwrap();
            let (mut owed, mut paid) = (0_u128, 0_u128);
            for rise in rises {
                owed += u128::from(rise);
                let Some(total) = scales.to_token(owed) else { return Ok(()) };
                prop_assert!(total >= paid);
                paid = total;
                let left = owed - scales.to_account(paid).unwrap();
                prop_assert!(left < 10_u128.pow(account.saturating_sub(token).into()));
            }
        }
    }
}
