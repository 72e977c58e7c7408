//! Which texts and numbers count as a number or a flag (`spec: messages.md §5`, lax mode).

use serde_json::Value;

/// Longest text that is looked at as a number, in bytes.
const NUMBER_TEXT: usize = 64;

/// Digits with single underscores between them, underscores taken out.
fn digits(text: &str) -> Option<String> {
    let well_placed = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    let plain: String = text.chars().filter(|&character| character != '_').collect();
    (well_placed && !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit())).then_some(plain)
}

fn integer_of_text(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.len() > NUMBER_TEXT {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole = match unsigned.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => unsigned,
    };
    let magnitude: i128 = digits(whole)?.parse().ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Integers, doubles without a fraction, flags, and texts of these integers.
pub fn lax_integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i128().or_else(|| {
            let float = number.as_f64()?;
            let exact = float.fract() == 0.0 && float > i64::MIN as f64 && float < i64::MAX as f64;
            exact.then_some(float as i128)
        }),
        Value::Bool(flag) => Some(i128::from(*flag)),
        Value::String(text) => integer_of_text(text),
        _ => None,
    }
}

/// Numbers, flags, and texts of numbers. May be NaN or infinite: ranges refuse these.
pub fn lax_float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => {
            let text = text.trim();
            if text.len() > NUMBER_TEXT {
                return None;
            }
            text.parse().ok().or_else(|| {
                let well_placed = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
                well_placed.then(|| text.replace('_', "").parse().ok()).flatten()
            })
        }
        _ => None,
    }
}

/// Flags, 0 and 1, and the usual words.
pub(super) fn lax_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) if text.len() <= 5 => match text.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers() {
        for (value, expected) in [
            (json!(2), Some(2)),
            (json!(2.0), Some(2)),
            (json!(2.5), None),
            (json!(true), Some(1)),
            (json!("2"), Some(2)),
            (json!(" +02.00 "), Some(2)),
            (json!("1_000"), Some(1000)),
            (json!("_1"), None),
            (json!("2."), None),
            (json!("2.5"), None),
            (json!(""), None),
            (json!("-"), None),
            (json!("-3"), Some(-3)),
            (json!(1e300), None),
            (json!(u64::MAX), Some(i128::from(u64::MAX))),
            (json!("9".repeat(60)), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            assert_eq!(lax_integer(&value), expected, "{value}");
        }
    }

    #[test]
    fn flags() {
        for (value, expected) in [
            (json!("False"), Some(false)),
            (json!("yes"), Some(true)),
            (json!(1), Some(true)),
            (json!(0.0), Some(false)),
            (json!(2), None),
            (json!("maybe"), None),
            (json!(null), None),
        ] {
            assert_eq!(lax_bool(&value), expected, "{value}");
        }
    }

    #[test]
    fn floats() {
        assert_eq!(lax_float(&json!("1.5e3")), Some(1500.0));
        assert_eq!(lax_float(&json!(true)), Some(1.0));
        assert_eq!(lax_float(&json!("x")), None);
        assert!(lax_float(&json!("nan")).unwrap().is_nan());
    }
}
