//! Fixed-point money: what a floor to 18 decimals leaves.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

use crate::{Decimal, DecimalError};

/// An amount with exactly 18 decimals: tokens, tokens per second, or credits per second, as the column
/// says (`spec: payments.md §7`).
///
/// Sums saturate far beyond what 28 digits can hold; whoever shows or stores a sum asks [`Amount::checked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(i128);

impl Amount {
    /// Digits after the point.
    pub const DECIMALS: u32 = 18;
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// From units of 10⁻¹⁸.
    pub const fn from_atto(atto: i128) -> Self {
        Self(atto)
    }

    /// Units of 10⁻¹⁸.
    pub const fn as_atto(self) -> i128 {
        self.0
    }

    /// Reads what [`Amount`] writes, and every other number that is a whole count of 10⁻¹⁸.
    ///
    /// # Errors
    /// [`DecimalError`], also [`DecimalError::OutOfRange`] for more than 18 decimals.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let exact = Decimal::parse(text)?;
        let amount = exact.floor18()?;
        if Decimal::from(amount) == exact { Ok(amount) } else { Err(DecimalError::OutOfRange) }
    }

    /// This amount if it has at most 28 digits, as the network's arithmetic demands.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] from 10¹⁰ on.
    pub fn checked(self) -> Result<Self, DecimalError> {
        const LIMIT: u128 = 10u128.pow(28);
        if self.0.unsigned_abs() < LIMIT { Ok(self) } else { Err(DecimalError::TooLarge) }
    }

    /// The amount as the nearest binary double, for the API's float fields.
    pub fn to_f64(self) -> f64 {
        Decimal::from(self).to_f64()
    }
}

impl fmt::Display for Amount {
    /// Exactly 18 decimals, no exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: u128 = 10u128.pow(Amount::DECIMALS);
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{}.{:018}", magnitude / UNIT, magnitude % UNIT))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Amount {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        assert_eq!(Amount::parse("1.5").unwrap().to_string(), "1.500000000000000000");
        assert_eq!(Amount::parse("-0.000000000000000001").unwrap(), Amount::from_atto(-1));
        assert_eq!(Amount::from_atto(-1).to_string(), "-0.000000000000000001");
        assert_eq!(Amount::parse("0.0000000000000000001"), Err(DecimalError::OutOfRange));
        assert_eq!(Amount::parse("1e10"), Err(DecimalError::TooLarge));
        assert_eq!(Amount::parse("630.4").unwrap().to_f64(), 630.4);
    }

    #[test]
    fn sums_that_need_29_digits_are_told() {
        let most = Amount::parse("9999999999.999999999999999999").unwrap();
        assert_eq!(most.checked(), Ok(most));
        assert_eq!((most + Amount::from_atto(1)).checked(), Err(DecimalError::TooLarge));
    }
}
