//! The JSON dialect of the network: strict, with a bound on nesting (`spec: messages.md §5`).
//!
//! The parser keeps its own stack: 1024 levels of a recursive one overflow the stack of a worker thread
//! in unoptimised builds, and a sender must never choose how deep we recurse. Strings with escapes and
//! numbers are left to `serde_json`, whose rules they follow.
//!
//! Read stored or received documents with [`parse`] and not with `serde_json::from_str::<Value>`, which
//! stops at 128 levels and gives one key a meaning of its own (`$serde_json::private::RawValue`): both
//! would fail on messages that the network accepts.

use serde_json::{Map, Number, Value};

use crate::limits::JSON_DEPTH;

/// Why bytes are no JSON document of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nested deeper than [`JSON_DEPTH`].
    #[error("nested deeper than {JSON_DEPTH} levels")]
    TooDeep,
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// The document ends too early.
    #[error("ends before the document is complete")]
    Incomplete,
    /// Something that can't stand where it stands.
    #[error("not valid JSON at byte {0}")]
    Syntax(usize),
}

/// A container whose end was not met yet.
enum Open {
    Array(Vec<Value>),
    Object(Map<String, Value>, String),
}

/// Keys that a message has: room that need not grow.
const ROOT_KEYS: usize = 12;

/// Control characters must be escaped in strings.
fn is_control(byte: u8) -> bool {
    byte < 0x20
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Parses a whole document. Duplicate keys: the last one wins; integers beyond 64 bits become doubles.
///
/// # Errors
/// [`JsonError`] says what is wrong and at which byte.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8(error.valid_up_to()))?;
    let mut parser = Parser { text, at: 0 };
    let value = parser.document()?;
    parser.skip_space();
    if parser.at < text.len() { Err(JsonError::Syntax(parser.at)) } else { Ok(value) }
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Value, JsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value starts here: a container is opened, or a scalar is complete.
            let mut complete = match self.next_token()? {
                b'[' => {
                    self.at += 1;
                    if open.len() == JSON_DEPTH {
                        return Err(JsonError::TooDeep);
                    }
                    if self.next_token()? == b']' {
                        self.at += 1;
                        Value::Array(Vec::new())
                    } else {
                        open.push(Open::Array(Vec::new()));
                        continue;
                    }
                }
                b'{' => {
                    self.at += 1;
                    if open.len() == JSON_DEPTH {
                        return Err(JsonError::TooDeep);
                    }
                    if self.next_token()? == b'}' {
                        self.at += 1;
                        Value::Object(Map::new())
                    } else {
                        let key = self.key()?;
                        // Room for an envelope; inner objects may be millions.
                        let room = if open.is_empty() { ROOT_KEYS } else { 0 };
                        open.push(Open::Object(Map::with_capacity(room), key));
                        continue;
                    }
                }
                _ => self.scalar()?,
            };
            // Put it where it belongs; closing brackets complete their containers in turn.
            loop {
                let Some(container) = open.last_mut() else { return Ok(complete) };
                let separator = self.next_token()?;
                self.at += 1;
                match (container, separator) {
                    (Open::Array(items), b',') => {
                        items.push(complete);
                        break;
                    }
                    (Open::Object(map, key), b',') => {
                        map.insert(std::mem::take(key), complete);
                        self.next_token()?;
                        *key = self.key()?;
                        break;
                    }
                    (Open::Array(_), b']') | (Open::Object(..), b'}') => match open.pop() {
                        Some(Open::Array(mut items)) => {
                            items.push(complete);
                            complete = Value::Array(items);
                        }
                        Some(Open::Object(mut map, key)) => {
                            map.insert(key, complete);
                            complete = Value::Object(map);
                        }
                        None => return Ok(complete),
                    },
                    _ => return Err(JsonError::Syntax(self.at - 1)),
                }
            }
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// The first byte of what comes after white space.
    fn next_token(&mut self) -> Result<u8, JsonError> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied().ok_or(JsonError::Incomplete)
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Result<String, JsonError> {
        if self.next_token()? != b'"' {
            return Err(JsonError::Syntax(self.at));
        }
        let key = self.string()?;
        if self.next_token()? != b':' {
            return Err(JsonError::Syntax(self.at));
        }
        self.at += 1;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<Value, JsonError> {
        match self.next_token()? {
            b'"' => self.string().map(Value::String),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(JsonError::Syntax(self.at))
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        self.at += length;
        serde_json::from_str(&self.text[start..self.at]).map_err(|_| JsonError::Syntax(start))
    }

    /// A string, from its opening quote.
    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start + 1..];
        let mut escaped = false;
        let mut length = 0;
        loop {
            let unread = rest.get(length..).unwrap_or_default();
            let special = memchr::memchr2(b'"', b'\\', unread);
            let plain = &unread[..special.unwrap_or(unread.len())];
            // Read to the end, not to the first: the compiler makes that a few instructions.
            if plain.iter().fold(false, |any, byte| any | is_control(*byte)) {
                let before = plain.iter().take_while(|byte| !is_control(**byte)).count();
                return Err(JsonError::Syntax(start + 1 + length + before));
            }
            length += plain.len();
            match special.map(|at| unread[at]) {
                None => return Err(JsonError::Incomplete),
                Some(b'"') => break,
                Some(_) => {
                    escaped = true;
                    length += 2;
                }
            }
        }
        let end = start + 1 + length;
        self.at = end + 1;
        if !escaped {
            return Ok(self.text[start + 1..end].to_owned());
        }
        serde_json::from_str(&self.text[start..=end]).map_err(|_| JsonError::Syntax(start))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(JSON_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(JsonError::TooDeep));
        assert!(parse(br#"{"a":"[[[[\"[["}"#).is_ok());
    }

    /// A worker thread has 2 MiB of stack: the deepest document must be usable there, unoptimised.
    #[test]
    fn the_deepest_document_fits_the_stack() {
        let text = format!("{}1{}", r#"{"a":"#.repeat(JSON_DEPTH), "}".repeat(JSON_DEPTH));
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value.clone(), value);
        assert_eq!(value.to_string(), text);
    }

    /// `serde_json` takes the value of this key for the document itself; found by fuzzing.
    #[test]
    fn no_key_has_a_meaning_of_its_own() {
        for text in [
            r#"{"$serde_json::private::RawValue":"[1]"}"#,
            r#"{"$serde_json::private::RawValue":{"a":1}}"#,
            r#"{"$serde_json::private::Number":"1"}"#,
        ] {
            assert_eq!(parse(text.as_bytes()).map(|value| value.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn the_dialect_is_strict() {
        for bad in [
            "NaN",
            "{\"a\":Infinity}",
            "01",
            "\u{feff}{}",
            "{} x",
            "\"\\ud800\"",
            "\"\n\"",
            "",
            "[",
            "[1",
            "[1,",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "[1,]",
            "[,1]",
            "{a:1}",
            "tru",
            "nulll",
            "\"",
            "\"\\",
            "\"\\\"",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "[1}",
            "{\"a\":1]",
            "]",
            "\"\\q\"",
            "1 2",
            "'a'",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(parse(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
        assert!(parse(b"100000000000000000000").unwrap().is_f64());
        assert_eq!(parse(b"\xff"), Err(JsonError::NotUtf8(0)));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"([\[\]{},:"\\ \n01.e+-]|null|true|"a"|"\\u00e9"|"\\ud83d\\ude00"|1.5){0,12}"#) {
            let expected: Option<Value> = serde_json::from_str(&text).ok();
            prop_assert_eq!(parse(text.as_bytes()).ok(), expected);
        }

        #[test]
        fn reads_what_serde_json_writes(text in ".*", number in any::<f64>(), whole in any::<i64>()) {
            let value = serde_json::json!({ &text: [number, whole, { "b": text }], "": null });
            prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
        }
    }
}
