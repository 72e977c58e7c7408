//! Base-10 numbers with the arithmetic of the network's reference (`spec: payments.md §7`).
//!
//! No crate on the registries has exactly these semantics: operands of any length (a price that was
//! sent as a JSON number is the exact expansion of a binary double, 55 digits and more), each result
//! rounded to 28 significant digits half to even, exponents that survive arithmetic because refusals
//! show them. Fixed 96-bit mantissas give other last digits. So: big integers from `num-bigint`, and
//! this page of rules on top; `tests/it/decimal.rs` compares it with Python's `decimal`.

mod text;

use std::cmp::Ordering;

use num_bigint::BigUint;

use crate::Amount;

/// Significant digits of every result.
const PRECISION: usize = 28;
/// Most significant digits of an operand: a binary double has at most 767.
const MOST_DIGITS: usize = 1100;
/// Exponents of operands: doubles lie between 5e-324 (751 digits from 1e-1074) and 1.8e308.
const LEAST_EXPONENT: i64 = -1100;
const MOST_EXPONENT: i64 = 400;

/// Why something is no number for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text is not a number.
    #[error("not a decimal number")]
    NotANumber,
    /// NaN or an infinity.
    #[error("not a finite number")]
    NotFinite,
    /// Too many digits, or an exponent beyond those of binary doubles.
    #[error("number out of range")]
    OutOfRange,
    /// With 18 decimals the number has more than 28 digits: 10¹⁰ or more.
    #[error("amount of 10^10 or more")]
    TooLarge,
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
}

/// A finite decimal number: sign, digits, exponent. Zero has no sign.
///
/// `==` and the order compare values (`1.0 == 1`); the exponent only shows in the text.
///
/// ```
/// use aleph_ledger::Decimal;
///
/// let hour = Decimal::from(3600u32);
/// let rate = Decimal::parse("86250").unwrap().divide(&hour).unwrap();
/// // 28 digits are not enough for 23.958333…: the floor of 24 such rates shows it.
/// let cost = rate.times(&Decimal::from(24u32)).floor18().unwrap();
/// assert_eq!(cost.to_string(), "574.999999999999999999");
/// ```
#[derive(Debug, Clone)]
pub struct Decimal {
    negative: bool,
    digits: BigUint,
    exponent: i64,
}

impl Decimal {
    /// Zero.
    pub fn zero() -> Self {
        Self { negative: false, digits: BigUint::ZERO, exponent: 0 }
    }

    fn new(negative: bool, digits: BigUint, exponent: i64) -> Self {
        Self { negative: negative && digits != BigUint::ZERO, digits, exponent }
    }

    /// The exact value of a binary double.
    ///
    /// # Errors
    /// [`DecimalError::NotFinite`] for NaN and infinities.
    pub fn from_f64(value: f64) -> Result<Self, DecimalError> {
        if !value.is_finite() {
            return Err(DecimalError::NotFinite);
        }
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let biased = (bits >> 52) & 0x7ff;
        let (mantissa, power) = match biased {
            0 => (fraction, -1074_i64),
            _ => (fraction | (1 << 52), i64::try_from(biased).unwrap_or(0) - 1075),
        };
        if mantissa == 0 {
            return Ok(Self::zero());
        }
        let even = mantissa.trailing_zeros();
        let (mantissa, power) = (mantissa >> even, power + i64::from(even));
        let digits = BigUint::from(mantissa);
        let magnitude = u32::try_from(power.unsigned_abs()).unwrap_or(0);
        Ok(if power >= 0 {
            Self::new(value < 0.0, digits << magnitude, 0)
        } else {
            // m / 2^k = m · 5^k / 10^k
            Self::new(value < 0.0, digits * BigUint::from(5u8).pow(magnitude), power)
        })
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        self.digits == BigUint::ZERO
    }

    /// Whether the number is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The number with the opposite sign.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self::new(!self.negative, self.digits.clone(), self.exponent)
    }

    /// The sum, rounded to 28 digits.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.plus_exact(other).rounded()
    }

    /// The difference, rounded to 28 digits.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&other.negated())
    }

    /// The sum with all its digits: how a database adds balances.
    #[must_use]
    pub fn plus_exact(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let (left, right) = (self.digits_at(exponent), other.digits_at(exponent));
        if self.negative == other.negative {
            return Self::new(self.negative, left + right, exponent);
        }
        match left.cmp(&right) {
            Ordering::Less => Self::new(other.negative, right - left, exponent),
            _ => Self::new(self.negative, left - right, exponent),
        }
    }

    /// The product, rounded to 28 digits.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        Self::new(
            self.negative != other.negative,
            &self.digits * &other.digits,
            self.exponent.saturating_add(other.exponent),
        )
        .rounded()
    }

    /// The quotient, rounded to 28 digits; exact quotients keep as few zeros as the operands allow.
    ///
    /// # Errors
    /// [`DecimalError::DivisionByZero`].
    pub fn divide(&self, other: &Self) -> Result<Self, DecimalError> {
        if other.is_zero() {
            return Err(DecimalError::DivisionByZero);
        }
        let ideal = self.exponent.saturating_sub(other.exponent);
        if self.is_zero() {
            return Ok(Self::new(false, BigUint::ZERO, ideal));
        }
        let negative = self.negative != other.negative;
        // Enough digits that one more than the precision is known, and whether anything follows.
        let lacking = digit_count(&other.digits) + PRECISION + 1;
        let shift = lacking.saturating_sub(digit_count(&self.digits));
        let scaled = &self.digits * power_of_ten(shift);
        let quotient = &scaled / &other.digits;
        let inexact = &quotient * &other.digits != scaled;
        let mut exponent = ideal - i64::try_from(shift).unwrap_or(i64::MAX);
        if inexact {
            // A last digit that is never half way: rounding sees that something follows.
            return Ok(Self::new(negative, quotient * 10u8 + 1u8, exponent - 1).rounded());
        }
        let mut digits = quotient;
        let ten = BigUint::from(10u8);
        while exponent < ideal && (&digits % &ten) == BigUint::ZERO {
            digits /= &ten;
            exponent += 1;
        }
        Ok(Self::new(negative, digits, exponent).rounded())
    }

    /// Rounded down (towards −∞) to 18 decimals.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] from 10¹⁰ on: the network's arithmetic has 28 digits.
    pub fn floor18(&self) -> Result<Amount, DecimalError> {
        let exponent = -i64::from(Amount::DECIMALS);
        let mut digits = if self.exponent >= exponent {
            if self.exponent > exponent + PRECISION as i64 && !self.is_zero() {
                return Err(DecimalError::TooLarge);
            }
            self.digits_at(exponent)
        } else {
            let cut = usize::try_from(exponent - self.exponent).unwrap_or(usize::MAX);
            if cut > digit_count(&self.digits) {
                // Nothing but decimals beyond the last.
                BigUint::from(u8::from(self.negative))
            } else {
                let unit = power_of_ten(cut);
                let kept = &self.digits / &unit;
                match self.negative && &kept * &unit != self.digits {
                    true => kept + 1u8,
                    false => kept,
                }
            }
        };
        if self.is_zero() {
            digits = BigUint::ZERO;
        }
        if digit_count(&digits) > PRECISION {
            return Err(DecimalError::TooLarge);
        }
        let magnitude = i128::try_from(digits).map_err(|_| DecimalError::TooLarge)?;
        Ok(Amount::from_atto(if self.negative { -magnitude } else { magnitude }))
    }

    /// The same value without a positive exponent, as a database shows it.
    #[must_use]
    pub fn in_full(self) -> Self {
        if self.exponent <= 0 {
            return self;
        }
        let digits = self.digits_at(0);
        Self::new(self.negative, digits, 0)
    }

    /// The value as the nearest binary double.
    pub fn to_f64(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// The digits of this number counted from a lower or equal exponent.
    fn digits_at(&self, exponent: i64) -> BigUint {
        let shift = usize::try_from(self.exponent - exponent).unwrap_or(0);
        if self.is_zero() || shift == 0 {
            return self.digits.clone();
        }
        &self.digits * power_of_ten(shift)
    }

    fn rounded(self) -> Self {
        let count = digit_count(&self.digits);
        if count <= PRECISION {
            return self;
        }
        let cut = count - PRECISION;
        let unit = power_of_ten(cut);
        let mut kept = &self.digits / &unit;
        let rest = &self.digits - &kept * &unit;
        let half = unit / 2u8;
        let up = match rest.cmp(&half) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => kept.bit(0),
        };
        let mut exponent = self.exponent.saturating_add(i64::try_from(cut).unwrap_or(i64::MAX));
        if up {
            kept += 1u8;
            if digit_count(&kept) > PRECISION {
                kept /= 10u8;
                exponent += 1;
            }
        }
        Self::new(self.negative, kept, exponent)
    }
}

fn power_of_ten(exponent: usize) -> BigUint {
    match u32::try_from(exponent) {
        Ok(small) if small <= 19 => BigUint::from(10u64.pow(small)),
        Ok(large) => BigUint::from(10u8).pow(large),
        Err(_) => BigUint::ZERO,
    }
}

/// Decimal digits; zero has one.
fn digit_count(digits: &BigUint) -> usize {
    if let Ok(small) = u128::try_from(digits) {
        return small.checked_ilog10().map_or(1, |log| log as usize + 1);
    }
    digits.to_string().len()
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let difference = self.plus_exact(&other.negated());
        match (difference.is_zero(), difference.negative) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        }
    }
}

macro_rules! from_integer {
    ($($integer:ty),+) => {$(
        impl From<$integer> for Decimal {
            fn from(value: $integer) -> Self {
                #[allow(unused_comparisons, reason = "one rule for signed and unsigned")]
                let negative = value < 0;
                Self::new(negative, BigUint::from(i128::from(value).unsigned_abs()), 0)
            }
        }
    )+};
}

from_integer!(u32, i64, u64, i128);

impl From<Amount> for Decimal {
    fn from(amount: Amount) -> Self {
        let atto = amount.as_atto();
        Self::new(atto < 0, BigUint::from(atto.unsigned_abs()), -i64::from(Amount::DECIMALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn doubles_are_expanded_exactly() {
        for (value, expected) in [
            (26.5, "26.5"),
            (0.1, "0.1000000000000000055511151231257827021181583404541015625"),
            (0.05, "0.05000000000000000277555756156289135105907917022705078125"),
            (-0.5, "-0.5"),
            (0.0, "0"),
            (-0.0, "0"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e22, "10000000000000000000000"),
        ] {
            assert_eq!(Decimal::from_f64(value).unwrap().to_string(), expected);
        }
        assert_eq!(Decimal::from_f64(f64::NAN), Err(DecimalError::NotFinite));
        assert_eq!(Decimal::from_f64(5e-324).unwrap().to_f64(), 5e-324);
        assert_eq!(Decimal::from_f64(f64::MAX).unwrap().to_f64(), f64::MAX);
    }

    #[test]
    fn results_have_28_digits_half_to_even() {
        let third = decimal("1").divide(&decimal("3")).unwrap();
        assert_eq!(third.to_string(), "0.3333333333333333333333333333");
        let two_thirds = decimal("2").divide(&decimal("3")).unwrap();
        assert_eq!(two_thirds.to_string(), "0.6666666666666666666666666667");
        let even = decimal("1000000000000000000000000000").plus(&decimal("0.5"));
        assert_eq!(even.to_string(), "1000000000000000000000000000");
        let odd = decimal("1000000000000000000000000001").plus(&decimal("0.5"));
        assert_eq!(odd.to_string(), "1000000000000000000000000002");
        let carried = decimal("9999999999999999999999999999").plus(&decimal("0.5"));
        assert_eq!(carried.to_string(), "1.000000000000000000000000000E+28");
        assert_eq!(decimal("1").divide(&decimal("0")), Err(DecimalError::DivisionByZero));
        assert_eq!(
            decimal("14250").divide(&decimal("3600")).unwrap().to_string(),
            "3.958333333333333333333333333"
        );
        assert_eq!(decimal("7200").divide(&decimal("3600")).unwrap().to_string(), "2");
    }

    #[test]
    fn the_floor_goes_to_minus_infinity() {
        for (value, floor) in [
            ("0.0000000000000000019", "0.000000000000000001"),
            ("-0.0000000000000000019", "-0.000000000000000002"),
            ("-1e-900", "-0.000000000000000001"),
            ("1e-900", "0.000000000000000000"),
            ("0e300", "0.000000000000000000"),
            ("9999999999.999999999999999999", "9999999999.999999999999999999"),
            ("-1", "-1.000000000000000000"),
        ] {
            assert_eq!(decimal(value).floor18().unwrap().to_string(), floor, "{value}");
        }
        for value in ["1e10", "1e300", "-1e10", "10000000000.0"] {
            assert_eq!(decimal(value).floor18(), Err(DecimalError::TooLarge), "{value}");
        }
    }
}
