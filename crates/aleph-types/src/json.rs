//! The JSON dialect of the network: strict, with a bound on nesting (`spec: messages.md §5`).

use serde::Deserialize;
use serde_json::Value;

use crate::limits::JSON_DEPTH;

/// Why bytes are no JSON document of the network.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Nested deeper than [`JSON_DEPTH`].
    #[error("nested deeper than {JSON_DEPTH} levels")]
    TooDeep,
    /// Not JSON.
    #[error("not valid JSON")]
    Syntax(#[source] serde_json::Error),
}

/// Parses a whole document. Duplicate keys: the last one wins; integers beyond 64 bits become doubles.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    check_depth(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    // The scan above bounds the recursion.
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).map_err(JsonError::Syntax)?;
    deserializer.end().map_err(JsonError::Syntax)?;
    Ok(value)
}

/// One pass over the bytes: brackets outside strings, no allocation.
fn check_depth(bytes: &[u8]) -> Result<(), JsonError> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(JSON_DEPTH).as_bytes()).is_ok());
        assert!(matches!(parse(nested(JSON_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep)));
        assert!(parse(br#"{"a":"[[[[\"[["}"#).is_ok());
    }

    #[test]
    fn the_dialect_is_strict() {
        for bad in ["NaN", "{\"a\":Infinity}", "01", "\u{feff}{}", "{} x", "\"\\ud800\"", "\"\n\""] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(parse(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
        assert!(parse(b"100000000000000000000").unwrap().is_f64());
    }
}
