//! Answers are written as JSON text directly: contents pass through as they were stored.

use std::collections::HashMap;

use aleph_types::Timestamp;
use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Appends `text` as a JSON string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory and serialising text can't fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends seconds since the epoch with the microseconds that are not zero: `1714564800.25`.
pub(super) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    use std::io::Write as _;
    let micros = time.as_micros();
    if micros < 0 {
        let _ = serde_json::to_writer(out, &time);
        return;
    }
    let (seconds, mut fraction, mut digits) = (micros / 1_000_000, micros % 1_000_000, 6usize);
    while digits > 1 && fraction % 10 == 0 {
        fraction /= 10;
        digits -= 1;
    }
    let _ = write!(out, "{seconds}.{fraction:0digits$}");
}

/// An object under construction.
#[derive(Debug)]
pub(super) struct Object<'out> {
    out: &'out mut Vec<u8>,
    empty: bool,
}

impl<'out> Object<'out> {
    pub(super) fn new(out: &'out mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// An object whose first fields are written already.
    pub(super) fn going_on(out: &'out mut Vec<u8>) -> Self {
        Self { out, empty: false }
    }

    /// Starts a field; its value must be written next.
    pub(super) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        push_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        push_text(self.field(name), text);
        self
    }

    pub(super) fn optional_text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.field(name).extend_from_slice(json.as_bytes());
        self
    }

    pub(super) fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.raw(name, &number.to_string())
    }

    pub(super) fn optional_number(&mut self, name: &str, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(name, number),
            None => self.raw(name, "null"),
        }
    }

    /// Seconds since the epoch.
    pub(super) fn time(&mut self, name: &str, time: Timestamp) -> &mut Self {
        push_time(self.field(name), time);
        self
    }

    /// ISO 8601 ending in `Z`.
    pub(super) fn iso_z(&mut self, name: &str, time: Timestamp) -> &mut Self {
        self.text(name, &time.iso_z().to_string())
    }

    /// ISO 8601 ending in `+00:00`.
    pub(super) fn iso_offset(&mut self, name: &str, time: Timestamp) -> &mut Self {
        self.text(name, &time.iso_offset().to_string())
    }

    pub(super) fn end(&mut self) {
        self.out.push(b'}');
    }
}

/// Appends the items of a list, each by `write`.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// The fields of a stored document, unparsed; the last of equal names counts, as everywhere here.
pub(super) fn fields(document: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(document).unwrap_or_default()
}

/// The text of a field, if it is one.
pub(super) fn text_field(fields: &HashMap<String, &RawValue>, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

/// One field of a stored document, unparsed; the last of equal names counts.
pub(super) fn field<'d>(document: &'d str, name: &str) -> Option<&'d RawValue> {
    let mut reader = serde_json::Deserializer::from_str(document);
    let found = reader.deserialize_map(OneField(name)).ok()?;
    reader.end().ok()?;
    found
}

/// Reads the value of the field with this name.
struct OneField<'n>(&'n str);

impl<'d> Visitor<'d> for OneField<'_> {
    type Value = Option<&'d RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(IsName(self.0))? {
            let value = map.next_value::<&'d RawValue>()?;
            if is_wanted {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Whether a key is this name.
struct IsName<'n>(&'n str);

impl<'d> DeserializeSeed<'d> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_shortest_float() {
        for micros in
            [0, 250_000, 1_714_564_800_000_000, 1_714_564_800_250_000, 1_777_777_777_123_450, -1_500_000]
        {
            let time = Timestamp::from_micros(micros);
            let mut out = Vec::new();
            push_time(&mut out, time);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, serde_json::to_string(&time.as_secs_f64()).unwrap());
        }
    }

    #[test]
    fn objects_and_lists() {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.text("a", "x\"y").optional_text("b", None).number("c", 3).raw("d", "{}");
        push_list(object.field("e"), [1, 2], |out, item| out.extend_from_slice(item.to_string().as_bytes()));
        object.end();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":"x\"y","b":null,"c":3,"d":{},"e":[1,2]}"#);
    }

    #[test]
    fn the_last_of_equal_fields_counts() {
        let fields = fields(r#"{"content":1, "co\u006etent": {"x" : [1.50]}}"#);
        assert_eq!(fields["content"].get(), r#"{"x" : [1.50]}"#);
    }

    #[test]
    fn one_field_is_the_one_among_all() {
        for document in [
            r#"{"content":1, "co\u006etent": {"x" : [1.50]}}"#,
            r#" { "a" : 1 , "content" : "x\"y" , "b" : {"content":2} } "#,
            r#"{"a":{"content":1}}"#,
            "{}",
            "[1]",
            "null",
            r#"{"content":1"#,
            r#"{"content":1}x"#,
            "",
        ] {
            let of_all = fields(document);
            for name in ["content", "a", "b", ""] {
                let one = field(document, name).map(RawValue::get);
                assert_eq!(one, of_all.get(name).map(|value| value.get()), "{name} of {document}");
            }
        }
    }
}
