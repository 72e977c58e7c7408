//! Decimal numbers as text: what counts as one, and how the reference prints them.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigUint;
use serde_json::Value;

use super::{Decimal, DecimalError, LEAST_EXPONENT, MOST_DIGITS, MOST_EXPONENT, digit_count};

/// Longest text that is looked at, in bytes.
const LONGEST: usize = 2 * MOST_DIGITS;

impl Decimal {
    /// Reads a number as Python's `Decimal` does: white space around it and underscores inside do not
    /// count, an exponent is allowed.
    ///
    /// # Errors
    /// [`DecimalError`]: not a number, not finite, or out of range.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        if text.len() > LONGEST {
            return Err(DecimalError::OutOfRange);
        }
        let plain: String = text.trim().chars().filter(|&character| character != '_').collect();
        let (negative, unsigned) = match plain.as_bytes().first() {
            Some(b'-') => (true, &plain[1..]),
            Some(b'+') => (false, &plain[1..]),
            _ => (false, plain.as_str()),
        };
        if is_special(unsigned) {
            return Err(DecimalError::NotFinite);
        }
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DecimalError::NotANumber);
        }
        let exponent = exponent - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        if digits.trim_start_matches('0').len() > MOST_DIGITS
            || !(LEAST_EXPONENT..=MOST_EXPONENT).contains(&exponent)
        {
            return Err(DecimalError::OutOfRange);
        }
        let digits = BigUint::from_str(&digits).map_err(|_| DecimalError::NotANumber)?;
        Ok(Self::new(negative, digits, exponent))
    }

    /// Whether a text is a number for Python's `Decimal`: finite ones, infinities and NaN.
    pub fn is_number(text: &str) -> bool {
        !matches!(Self::parse(text), Err(DecimalError::NotANumber))
    }

    /// A number of a JSON document: integers as they are, doubles by their exact binary value.
    pub fn from_json_exact(value: &Value) -> Option<Result<Self, DecimalError>> {
        let number = value.as_number()?;
        Some(match number.as_i128() {
            Some(integer) => Ok(Self::from(integer)),
            None => number.as_f64().ok_or(DecimalError::NotANumber).and_then(Self::from_f64),
        })
    }
}

fn exponent_of(text: &str) -> Result<i64, DecimalError> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    text.parse().map_err(|_| DecimalError::OutOfRange)
}

/// NaN with or without a payload, and infinities; the case does not count.
fn is_special(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let payload = lower.strip_prefix("snan").or_else(|| lower.strip_prefix("nan"));
    payload.is_some_and(|payload| payload.bytes().all(|byte| byte.is_ascii_digit()))
        || matches!(lower.as_str(), "inf" | "infinity")
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text)
    }
}

impl fmt::Display for Decimal {
    /// The reference's text: plain down to 1e-6, with an exponent beyond (`1E-18`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        let count = i64::try_from(digit_count(&self.digits)).unwrap_or(i64::MAX);
        let adjusted = self.exponent + count - 1;
        let mut text = String::with_capacity(digits.len() + 8);
        if self.negative {
            text.push('-');
        }
        if self.exponent <= 0 && adjusted >= -6 {
            let point = count + self.exponent;
            if self.exponent == 0 {
                text.push_str(&digits);
            } else if point > 0 {
                let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
                text.push_str(whole);
                text.push('.');
                text.push_str(fraction);
            } else {
                text.push_str("0.");
                text.extend(std::iter::repeat_n('0', usize::try_from(-point).unwrap_or(0)));
                text.push_str(&digits);
            }
        } else {
            let (first, rest) = digits.split_at(1);
            text.push_str(first);
            if !rest.is_empty() {
                text.push('.');
                text.push_str(rest);
            }
            text.push_str(&format!("E{adjusted:+}"));
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_a_number() {
        for (text, shown) in [
            (" 1 ", "1"),
            ("1_000.50", "1000.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0", "0"),
            ("1e-3", "0.001"),
            ("1E-18", "1E-18"),
            ("0E-18", "0E-18"),
            ("0.0000001", "1E-7"),
            ("0.000001", "0.000001"),
            ("12E+3", "1.2E+4"),
            ("000123.40", "123.40"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "free", "1.2.3", "e5", "1e", "--1", "1 2", "0x10", ".", "١"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::NotANumber), "{text}");
            assert!(!Decimal::is_number(text));
        }
        for text in ["NaN", "-infinity", "INF", "sNaN12"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::NotFinite), "{text}");
            assert!(Decimal::is_number(text));
        }
        for text in ["1e999999999", "1e-99999999999999999999", "1e401"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::OutOfRange), "{text}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(1101)), Err(DecimalError::OutOfRange));
        assert_eq!(Decimal::parse("1e22").unwrap().in_full().to_string(), "10000000000000000000000");
    }
}
