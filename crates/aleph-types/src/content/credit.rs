//! The bodies of the posts that move credits (`spec: messages.md §13`, `payments.md §11`).
//!
//! Only their form: who may publish them, and whether there are funds, is not decided here.

use std::collections::HashSet;

use serde_json::Value;

use super::number::lax_float;
use super::reader::Object;
use crate::{Address, FormatError};

/// Credits granted to addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditDistribution {
    /// The token that was paid, free text.
    pub token: String,
    /// The chain it was paid on, free text.
    pub chain: String,
    /// At least one grant.
    pub credits: Vec<CreditGrant>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditGrant {
    /// Who gets it; not blank.
    pub address: Address,
    /// Credits as written, before any change of unit; above zero.
    pub amount: u64,
    /// Decimal text, in Python's grammar: exponents, `NaN` and `Infinity` included.
    pub price: String,
    /// The payment.
    pub tx_hash: String,
    /// Who took it.
    pub provider: String,
    /// Milliseconds since the epoch; absent and 0 mean never.
    pub expiration_millis: Option<i64>,
    /// Free text.
    pub origin: Option<String>,
    /// Free text.
    pub reference: Option<String>,
    /// Free text.
    pub payment_method: Option<String>,
    /// Anything.
    pub bonus_amount: Option<Value>,
}

/// Credits used up.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditExpense {
    /// At least one charge.
    pub credits: Vec<CreditCharge>,
}

/// One charge.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditCharge {
    /// Who pays; not blank.
    pub address: Address,
    /// Credits as written; above zero.
    pub amount: u64,
    /// What was paid for, free text (usually an item hash).
    pub reference: Option<String>,
    /// The execution, free text.
    pub execution_id: Option<String>,
    /// The compute node, free text.
    pub node_id: Option<String>,
    /// Decimal text.
    pub price: Option<String>,
    /// Seconds that are billed.
    pub time_secs: Option<f64>,
    /// Files that one entry sums up.
    pub count: Option<u64>,
    /// Decimal text of the MiB that are billed; at least zero.
    pub size_mib: Option<String>,
}

/// Credits handed on by `content.address`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditTransfer {
    /// At least one; no recipient twice.
    pub credits: Vec<CreditMove>,
}

/// One recipient of a transfer.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditMove {
    /// Who gets it; not blank.
    pub address: Address,
    /// Credits as written; above zero.
    pub amount: u64,
    /// Milliseconds since the epoch; absent and 0 mean never.
    pub expiration_millis: Option<i64>,
}

impl CreditDistribution {
    /// Reads the `content` of a post; keys that it does not know are ignored.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(body: &Value) -> Result<Self, FormatError> {
        let mut object = Object::root(body.clone())?;
        let distribution = object.required_child("distribution").and_then(|mut child| {
            let credits = child.required_children("credits", usize::MAX, |entry| {
                let address = recipient(entry);
                let amount = amount(entry);
                let price = match entry.take("price") {
                    None => {
                        entry.issue("missing", "price", "Field required");
                        None
                    }
                    Some(value) => price(entry, value),
                };
                let tx_hash = entry.required_string("tx_hash");
                let provider = entry.required_string("provider");
                let expiration_millis = expiration(entry);
                let origin = entry.optional_string("origin");
                let reference = entry.optional_string("ref");
                let payment_method = entry.optional_string("payment_method");
                let bonus_amount = entry.take("bonus_amount").filter(|value| !value.is_null());
                Some(CreditGrant {
                    address: address?,
                    amount: amount?,
                    price: price?,
                    tx_hash: tx_hash?,
                    provider: provider?,
                    expiration_millis,
                    origin,
                    reference,
                    payment_method,
                    bonus_amount,
                })
            });
            let credits = at_least_one(&mut child, credits);
            let token = child.required_string("token");
            let chain = child.required_string("chain");
            let whole = token.zip(chain).zip(credits);
            object.absorb(child, whole.map(|((token, chain), credits)| Self { token, chain, credits }))
        });
        object.finish(|| distribution)
    }
}

impl CreditExpense {
    /// Reads the `content` of a post; keys that it does not know are ignored.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(body: &Value) -> Result<Self, FormatError> {
        let mut object = Object::root(body.clone())?;
        let expense = object.required_child("expense").and_then(|mut child| {
            let credits = child.required_children("credits", usize::MAX, |entry| {
                let address = recipient(entry);
                let amount = amount(entry);
                let reference = entry.optional_string("ref");
                let execution_id = entry.optional_string("execution_id");
                let node_id = entry.optional_string("node_id");
                let given = entry.take("price").filter(|value| !value.is_null());
                let price = given.and_then(|value| price(entry, value));
                let given = entry.take("time").filter(|value| !value.is_null());
                let time_secs = given.and_then(|value| {
                    let seconds = lax_float(&value);
                    if seconds.is_none() {
                        entry.issue("float_type", "time", "must be a number of seconds");
                    }
                    seconds
                });
                let count = entry.optional_bounded_integer("count", 0, i128::from(u64::MAX));
                let given = entry.take("size").filter(|value| !value.is_null());
                let size_mib = given.and_then(|value| {
                    let text = decimal_text(&value).filter(|text| is_magnitude(text));
                    if text.is_none() {
                        entry.issue("decimal_type", "size", "must be a decimal number, at least 0");
                    }
                    text
                });
                Some(CreditCharge {
                    address: address?,
                    amount: amount?,
                    reference,
                    execution_id,
                    node_id,
                    price,
                    time_secs,
                    count,
                    size_mib,
                })
            });
            let credits = at_least_one(&mut child, credits);
            object.absorb(child, credits.map(|credits| Self { credits }))
        });
        object.finish(|| expense)
    }
}

impl CreditTransfer {
    /// Reads the `content` of a post; keys that it does not know are ignored.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(body: &Value) -> Result<Self, FormatError> {
        let mut object = Object::root(body.clone())?;
        let transfer = object.required_child("transfer").and_then(|mut child| {
            let credits = child.required_children("credits", usize::MAX, |entry| {
                let address = recipient(entry);
                let amount = amount(entry);
                let expiration_millis = expiration(entry);
                Some(CreditMove { address: address?, amount: amount?, expiration_millis })
            });
            let credits = at_least_one(&mut child, credits);
            object.absorb(child, credits.map(|credits| Self { credits }))
        });
        if let Some(transfer) = &transfer {
            let mut seen = HashSet::with_capacity(transfer.credits.len());
            if !transfer.credits.iter().all(|entry| seen.insert(entry.address.as_str())) {
                object.issue("value_error", "", "no recipient may be named twice in one transfer");
            }
        }
        object.finish(|| transfer)
    }
}

fn at_least_one<T>(object: &mut Object, credits: Option<Vec<T>>) -> Option<Vec<T>> {
    if credits.as_ref().is_some_and(Vec::is_empty) {
        object.issue("too_short", "credits", "at least one entry is required");
        return None;
    }
    credits
}

fn recipient(entry: &mut Object) -> Option<Address> {
    let address = entry.address()?;
    if address.as_str().trim().is_empty() {
        entry.issue("value_error", "address", "must not be blank");
        return None;
    }
    Some(address)
}

/// Integers of JSON only. What is beyond 64 bits is no integer any more when it was read
/// (`spec: messages.md §5`).
fn amount(entry: &mut Object) -> Option<u64> {
    entry.required_strict_integer("amount", 1, i128::from(u64::MAX))
}

fn expiration(entry: &mut Object) -> Option<i64> {
    entry.optional_bounded_integer("expiration", i128::from(i64::MIN), i128::from(i64::MAX))
}

fn price(entry: &mut Object, value: Value) -> Option<String> {
    let text = decimal_text(&value);
    if text.is_none() {
        entry.issue("value_error", "price", "must be a decimal number, as a number or as text");
    }
    text
}

/// The text of a number, or a text that Python's `Decimal` reads.
fn decimal_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if is_decimal(text) => Some(text.clone()),
        _ => None,
    }
}

/// Python's grammar of decimals: sign, digits with a point, exponent, or one of the special words;
/// underscores anywhere and spaces around count for nothing.
fn is_decimal(text: &str) -> bool {
    let plain = text.trim().replace('_', "").to_ascii_lowercase();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if matches!(unsigned, "inf" | "infinity") {
        return true;
    }
    if let Some(payload) = unsigned.strip_prefix("snan").or_else(|| unsigned.strip_prefix("nan")) {
        return all_digits(payload);
    }
    let (number, exponent) = match unsigned.split_once('e') {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

/// Finite and not below zero.
fn is_magnitude(decimal: &str) -> bool {
    let text = decimal.trim();
    let digits = text.trim_start_matches(['+', '-']);
    let finite = !digits.starts_with(['i', 'I', 'n', 'N', 's', 'S']);
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    finite && (!text.starts_with('-') || !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_as_python_reads_them() {
        for text in
            ["1", "+1.", ".5", "-0.0", "1e-3", "1E+5", " 1_000.5 ", "NaN", "-inf", "Infinity", "sNaN12"]
        {
            assert!(is_decimal(text), "{text}");
        }
        for text in ["", ".", "e5", "1e", "1e+", "0x1", "free", "1 2", "--1", "nanx", "1.2.3"] {
            assert!(!is_decimal(text), "{text}");
        }
        assert!(is_magnitude("-0.0") && is_magnitude("2e-5"));
        assert!(!is_magnitude("-0.1") && !is_magnitude("inf") && !is_magnitude("-NaN"));
    }
}
