//! Reading JSON objects the way the network's schema does (`spec: messages.md §§5, 18`).
//!
//! An [`Object`] is consumed key by key. A method that meets a wrong value notes an [`Issue`] and gives
//! `None`; the model is built by [`Object::finish`] only when nothing was noted, so a `None` of a required
//! field never goes unseen.

use std::str::FromStr;

use serde_json::{Map, Number, Value};

use super::number::{lax_bool, lax_float, lax_integer};
use crate::limits::{CONTENT_TIME_MAX_SECS, INDEXED_TEXT, TAG_CHARS, TAGS};
use crate::{Address, Chain, FormatError, Issue, ItemHash, ItemType, Loc, MessageType, Timestamp};

/// More issues than this help nobody and would let a sender choose the size of a refusal.
const MOST_ISSUES: usize = 50;
/// Longest part of a sent key that a refusal repeats, in characters.
const SHOWN_KEY_CHARS: usize = 80;

/// How scalars are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `"2"` is 2, `2.0` is 2, `"false"` is false, `true` is 1.
    Lax,
    /// Only the JSON type itself.
    Strict,
}

/// A JSON object being read; what was wrong is collected.
#[derive(Debug)]
pub(super) struct Object {
    fields: Map<String, Value>,
    /// Where the parent found this object: key, and index in a list.
    at: Option<(&'static str, Option<usize>)>,
    mode: Mode,
    issues: Vec<Issue>,
}

impl Object {
    /// The whole content.
    pub(super) fn root(document: Value) -> Result<Self, FormatError> {
        match document {
            Value::Object(fields) => Ok(Self { fields, at: None, mode: Mode::Lax, issues: Vec::new() }),
            _ => Err(FormatError::text("Content must be a JSON object")),
        }
    }

    /// From here on no scalar is coerced.
    pub(super) fn strict(mut self) -> Self {
        self.mode = Mode::Strict;
        self
    }

    fn child(&self, key: &'static str, index: Option<usize>, fields: Map<String, Value>) -> Self {
        Self { fields, at: Some((key, index)), mode: self.mode, issues: Vec::new() }
    }

    /// Notes that the value of `key` is wrong; an empty key means the object as a whole.
    pub(super) fn issue(&mut self, kind: &'static str, key: &str, msg: impl Into<String>) {
        self.note(kind, key, None, msg);
    }

    fn note(&mut self, kind: &'static str, key: &str, index: Option<usize>, msg: impl Into<String>) {
        if self.issues.len() >= MOST_ISSUES {
            return;
        }
        let mut loc = Vec::with_capacity(2);
        if !key.is_empty() {
            loc.push(Loc::Key(key.chars().take(SHOWN_KEY_CHARS).collect()));
        }
        loc.extend(index.map(Loc::Index));
        self.issues.push(Issue { kind, loc, msg: msg.into() });
    }

    /// Whether nothing wrong was met so far.
    pub(super) fn is_clean(&self) -> bool {
        self.issues.is_empty()
    }

    /// Whether `key` was sent and not taken yet, null included.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// How many keys are left.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The value of `key` as it was sent, null included.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.swap_remove(key)
    }

    /// The value of `key`; absent and null are the same.
    fn take_optional(&mut self, key: &str) -> Option<Value> {
        self.take(key).filter(|value| !value.is_null())
    }

    fn take_required(&mut self, key: &str) -> Option<Value> {
        let value = self.take(key);
        if value.is_none() {
            self.issue("missing", key, "Field required");
        }
        value
    }

    /// Everything that is left, as it was sent.
    pub(super) fn take_all(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.fields)
    }

    /// The same object, to be read in another way without consequence for this one.
    pub(super) fn duplicate(&self) -> Self {
        Self { fields: self.fields.clone(), at: self.at, mode: self.mode, issues: Vec::new() }
    }

    /// Takes over what a child noted, under the child's place; gives `value` back.
    pub(super) fn absorb<T>(&mut self, child: Object, value: Option<T>) -> Option<T> {
        let Object { at, issues, .. } = child;
        for mut issue in issues {
            if self.issues.len() >= MOST_ISSUES {
                break;
            }
            if let Some((key, index)) = at {
                let place = std::iter::once(Loc::from(key)).chain(index.map(Loc::Index));
                issue.loc.splice(0..0, place);
            }
            self.issues.push(issue);
        }
        value
    }

    /// Refuses the keys that no one took.
    pub(super) fn refuse_extra(&mut self) {
        for (key, _) in std::mem::take(&mut self.fields) {
            self.issue("extra_forbidden", &key, "Extra inputs are not permitted");
        }
    }

    /// The model, if nothing was wrong.
    pub(super) fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, FormatError> {
        if !self.issues.is_empty() {
            return Err(FormatError::Issues(self.issues));
        }
        // Not reached: whoever gives `None` for a required field notes an issue.
        build().ok_or_else(|| FormatError::text("content is incomplete"))
    }

    // Text.

    fn text(&mut self, key: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            _ => {
                self.issue("string_type", key, "must be a string");
                None
            }
        }
    }

    fn bounded(&mut self, key: &str, index: Option<usize>, text: String, most: usize) -> Option<String> {
        if is_longer(&text, most) {
            self.note("string_too_long", key, index, format!("at most {most} characters"));
            return None;
        }
        Some(text)
    }

    pub(super) fn required_string(&mut self, key: &str) -> Option<String> {
        let value = self.take_required(key)?;
        self.text(key, value)
    }

    pub(super) fn optional_string(&mut self, key: &str) -> Option<String> {
        let value = self.take_optional(key)?;
        self.text(key, value)
    }

    /// A text that is kept in an index.
    pub(super) fn required_indexed_string(&mut self, key: &str) -> Option<String> {
        let text = self.required_string(key)?;
        self.indexed(key, text)
    }

    /// The same, or null.
    pub(super) fn optional_indexed_string(&mut self, key: &str) -> Option<String> {
        let text = self.optional_string(key)?;
        self.indexed(key, text)
    }

    fn indexed(&mut self, key: &str, text: String) -> Option<String> {
        if text.len() > INDEXED_TEXT {
            self.issue("string_too_long", key, format!("at most {INDEXED_TEXT} bytes"));
            return None;
        }
        Some(text)
    }

    /// A text of at most `most` characters, or null.
    pub(super) fn optional_short_string(&mut self, key: &str, most: usize) -> Option<String> {
        let text = self.optional_string(key)?;
        self.bounded(key, None, text, most)
    }

    /// A text of at most `most` characters; empty when absent, never null.
    pub(super) fn defaulted_short_string(&mut self, key: &str, most: usize) -> Option<String> {
        match self.take(key) {
            None => Some(String::new()),
            Some(value) => {
                let text = self.text(key, value)?;
                self.bounded(key, None, text, most)
            }
        }
    }

    fn word<T: FromStr>(&mut self, key: &str, value: &Value, what: &str) -> Option<T> {
        let parsed = value.as_str().and_then(|text| text.parse().ok());
        if parsed.is_none() {
            self.issue("enum", key, format!("not a known {what}"));
        }
        parsed
    }

    /// One of the words that `T` knows.
    pub(super) fn required_word<T: FromStr>(&mut self, key: &str, what: &str) -> Option<T> {
        let value = self.take_required(key)?;
        self.word(key, &value, what)
    }

    pub(super) fn optional_word<T: FromStr>(&mut self, key: &str, what: &str) -> Option<T> {
        let value = self.take_optional(key)?;
        self.word(key, &value, what)
    }

    /// A text that must be exactly `expected`.
    pub(super) fn literal(&mut self, key: &str, expected: &str) -> Option<()> {
        let value = self.take_required(key)?;
        if value.as_str() == Some(expected) {
            return Some(());
        }
        self.issue("literal_error", key, format!("must be '{expected}'"));
        None
    }

    // Numbers and flags.

    fn integer(&mut self, key: &str, value: &Value) -> Option<i128> {
        let parsed = match self.mode {
            Mode::Lax => lax_integer(value),
            Mode::Strict => strict_integer(value),
        };
        if parsed.is_none() {
            self.issue("int_type", key, "must be an integer");
        }
        parsed
    }

    fn in_range<T: TryFrom<i128>>(&mut self, key: &str, number: i128, low: i128, high: i128) -> Option<T> {
        let fits = (low..=high).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            self.issue("out_of_range", key, format!("must be {low} to {high}"));
        }
        fits
    }

    pub(super) fn optional_integer(&mut self, key: &str) -> Option<i128> {
        let value = self.take_optional(key)?;
        self.integer(key, &value)
    }

    /// An integer from `low` to `high`; `default` when absent, never null.
    pub(super) fn defaulted_integer<T: TryFrom<i128>>(
        &mut self,
        key: &str,
        low: i128,
        high: i128,
        default: T,
    ) -> Option<T> {
        match self.take(key) {
            None => Some(default),
            Some(value) => {
                let number = self.integer(key, &value)?;
                self.in_range(key, number, low, high)
            }
        }
    }

    /// An integer from `low` to `high`, or null.
    pub(super) fn optional_bounded_integer<T: TryFrom<i128>>(
        &mut self,
        key: &str,
        low: i128,
        high: i128,
    ) -> Option<T> {
        let number = self.optional_integer(key)?;
        self.in_range(key, number, low, high)
    }

    pub(super) fn required_integer<T: TryFrom<i128>>(
        &mut self,
        key: &str,
        low: i128,
        high: i128,
    ) -> Option<T> {
        let value = self.take_required(key)?;
        let number = self.integer(key, &value)?;
        self.in_range(key, number, low, high)
    }

    /// A size: integers of JSON only, whatever the mode.
    pub(super) fn required_strict_integer<T: TryFrom<i128>>(
        &mut self,
        key: &str,
        low: i128,
        high: i128,
    ) -> Option<T> {
        let value = self.take_required(key)?;
        match strict_integer(&value) {
            Some(number) => self.in_range(key, number, low, high),
            None => {
                self.issue("int_type", key, "must be an integer, not coerced");
                None
            }
        }
    }

    fn flag(&mut self, key: &str, value: &Value) -> Option<bool> {
        let parsed = match self.mode {
            Mode::Lax => lax_bool(value),
            Mode::Strict => value.as_bool(),
        };
        if parsed.is_none() {
            self.issue("bool_type", key, "must be true or false");
        }
        parsed
    }

    pub(super) fn required_flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take_required(key)?;
        self.flag(key, &value)
    }

    pub(super) fn optional_flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take_optional(key)?;
        self.flag(key, &value)
    }

    /// A flag; `default` when absent, never null.
    pub(super) fn defaulted_flag(&mut self, key: &str, default: bool) -> Option<bool> {
        match self.take(key) {
            None => Some(default),
            Some(value) => self.flag(key, &value),
        }
    }

    // The network's own scalars.

    pub(super) fn address(&mut self) -> Option<Address> {
        self.required_string("address").map(Address::from)
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        let value = self.take_required("time")?;
        let seconds = match self.mode {
            Mode::Lax => lax_float(&value),
            Mode::Strict => value.as_f64(),
        };
        let Some(seconds) = seconds else {
            self.issue("float_type", "time", "must be a number of seconds since the epoch");
            return None;
        };
        let time = (0.0..=CONTENT_TIME_MAX_SECS)
            .contains(&seconds)
            .then(|| Timestamp::from_secs_f64(seconds).ok())
            .flatten();
        if time.is_none() {
            self.issue("out_of_range", "time", format!("must be 0 to {CONTENT_TIME_MAX_SECS} seconds"));
        }
        time
    }

    fn hash(&mut self, key: &str, index: Option<usize>, value: &Value) -> Option<ItemHash> {
        match value.as_str().map(ItemHash::parse) {
            Some(Ok(hash)) => Some(hash),
            Some(Err(error)) => {
                self.note("value_error", key, index, error.to_string());
                None
            }
            None => {
                self.note("string_type", key, index, "must be an item hash");
                None
            }
        }
    }

    pub(super) fn required_hash(&mut self, key: &str) -> Option<ItemHash> {
        let value = self.take_required(key)?;
        self.hash(key, None, &value)
    }

    pub(super) fn optional_hash(&mut self, key: &str) -> Option<ItemHash> {
        let value = self.take_optional(key)?;
        self.hash(key, None, &value)
    }

    /// `length` lower-case hexadecimal digits.
    pub(super) fn required_hex(&mut self, key: &str, length: usize) -> Option<String> {
        let text = self.required_string(key)?;
        if text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Some(text);
        }
        self.issue("string_pattern_mismatch", key, format!("must be {length} lower-case hexadecimal digits"));
        None
    }

    /// The `ref` of a POST: a text, or the legacy form with a whole message, whose hash is meant.
    pub(super) fn post_reference(&mut self, key: &'static str) -> Option<String> {
        match self.take_optional(key)? {
            Value::String(text) => self.indexed(key, text),
            Value::Object(fields) => {
                let mut child = self.child(key, None, fields);
                child.required_word::<Chain>("chain", "chain");
                child.optional_short_string("channel", 128);
                child.required_string("item_content");
                let hash = child.required_hash("item_hash");
                child.required_word::<ItemType>("item_type", "item type");
                child.required_string("sender");
                child.required_string("signature");
                match child.take_required("time") {
                    Some(time) if lax_float(&time).is_none() => {
                        child.issue("float_type", "time", "must be a number");
                    }
                    _ => {}
                }
                if child.has("type") {
                    child.literal("type", MessageType::Post.as_str());
                }
                self.absorb(child, hash.map(|hash| hash.as_str().to_owned()))
            }
            _ => {
                self.issue("string_type", key, "must be a string");
                None
            }
        }
    }

    // Lists.

    fn list(&mut self, key: &str, value: Value, most: usize) -> Option<Vec<Value>> {
        match value {
            Value::Array(items) if items.len() <= most => Some(items),
            Value::Array(items) => {
                self.issue("too_long", key, format!("at most {most} items, not {}", items.len()));
                None
            }
            _ => {
                self.issue("list_type", key, "must be a list");
                None
            }
        }
    }

    fn hashes(&mut self, key: &str, value: Value, most: usize) -> Option<Vec<ItemHash>> {
        let items = self.list(key, value, most)?;
        let mut hashes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            hashes.extend(self.hash(key, Some(index), item));
        }
        (hashes.len() == items.len()).then_some(hashes)
    }

    pub(super) fn required_hashes(&mut self, key: &str, most: usize) -> Option<Vec<ItemHash>> {
        let value = self.take_required(key)?;
        self.hashes(key, value, most)
    }

    /// A list of hashes; empty when absent, never null.
    pub(super) fn defaulted_hashes(&mut self, key: &str, most: usize) -> Option<Vec<ItemHash>> {
        match self.take(key) {
            None => Some(Vec::new()),
            Some(value) => self.hashes(key, value, most),
        }
    }

    /// A list of at most `most` texts of at most `chars` characters, or null.
    pub(super) fn optional_strings(&mut self, key: &str, most: usize, chars: usize) -> Option<Vec<String>> {
        let value = self.take_optional(key)?;
        let items = self.list(key, value, most)?;
        let count = items.len();
        let mut texts = Vec::with_capacity(count);
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.extend(self.bounded(key, Some(index), text, chars)),
                _ => self.note("string_type", key, Some(index), "must be a string"),
            }
        }
        (texts.len() == count).then_some(texts)
    }

    /// Labels for search, or null.
    pub(super) fn optional_tags(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take_optional(key)?;
        if !tags_are_well_formed(self, key, &value) {
            return None;
        }
        match value {
            Value::Array(items) => Some(
                items
                    .into_iter()
                    .filter_map(|item| match item {
                        Value::String(text) => Some(text),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => None,
        }
    }

    // Objects.

    fn object(&mut self, key: &str, value: Value) -> Option<Map<String, Value>> {
        match value {
            Value::Object(fields) => Some(fields),
            _ => {
                self.issue("dict_type", key, "must be an object");
                None
            }
        }
    }

    /// A free object, or null.
    pub(super) fn optional_object(&mut self, key: &str) -> Option<Map<String, Value>> {
        let value = self.take_optional(key)?;
        self.object(key, value)
    }

    /// An object with a model of its own, to be read and given to [`Object::absorb`].
    pub(super) fn required_child(&mut self, key: &'static str) -> Option<Object> {
        let value = self.take_required(key)?;
        let fields = self.object(key, value)?;
        Some(self.child(key, None, fields))
    }

    /// The same, or null.
    pub(super) fn optional_child(&mut self, key: &'static str) -> Option<Object> {
        let fields = self.optional_object(key)?;
        Some(self.child(key, None, fields))
    }

    fn read_children<T>(
        &mut self,
        key: &'static str,
        value: Value,
        most: usize,
        mut read: impl FnMut(&mut Object) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(key, value, most)?;
        let count = items.len();
        let mut children = Vec::with_capacity(count);
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(fields) => {
                    let mut child = self.child(key, Some(index), fields);
                    let value = read(&mut child);
                    children.extend(self.absorb(child, value));
                }
                _ => self.note("dict_type", key, Some(index), "must be an object"),
            }
        }
        (children.len() == count).then_some(children)
    }

    /// A list of objects, or null.
    pub(super) fn optional_children<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl FnMut(&mut Object) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.take_optional(key)?;
        self.read_children(key, value, most, read)
    }

    /// A list of objects; empty when absent, never null.
    pub(super) fn defaulted_children<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl FnMut(&mut Object) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.take(key) {
            None => Some(Vec::new()),
            Some(value) => self.read_children(key, value, most, read),
        }
    }

    pub(super) fn required_children<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl FnMut(&mut Object) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.take_required(key)?;
        self.read_children(key, value, most, read)
    }
}

fn strict_integer(value: &Value) -> Option<i128> {
    value.as_number().and_then(Number::as_i128)
}

/// Whether `text` has more than `most` characters; most texts need no count.
pub(super) fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().count() > most
}

fn tags_are_well_formed(object: &mut Object, key: &str, tags: &Value) -> bool {
    let Some(items) = tags.as_array() else {
        object.issue("value_error", key, "tags must be a list");
        return false;
    };
    if items.len() > TAGS {
        object.issue("value_error", key, format!("at most {TAGS} tags"));
        return false;
    }
    let mut well_formed = true;
    for (index, item) in items.iter().enumerate() {
        let fits = item.as_str().is_some_and(|text| !text.is_empty() && !is_longer(text, TAG_CHARS));
        if !fits {
            let msg = format!("a tag must be a string of 1 to {TAG_CHARS} characters");
            object.note("value_error", key, Some(index), msg);
            well_formed = false;
        }
    }
    well_formed
}

/// Checks the key `tags` of a payload, if it has one that is not null.
pub(super) fn check_tags(object: &mut Object, payload: &Value) {
    if let Some(tags) = payload.get("tags").filter(|tags| !tags.is_null()) {
        tags_are_well_formed(object, "content", tags);
    }
}

/// Checks the key `tags` of metadata, where null is no list.
pub(super) fn check_metadata_tags(object: &mut Object, tags: &Value) {
    tags_are_well_formed(object, "metadata", tags);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::root(value).unwrap()
    }

    #[test]
    fn issues_are_bounded_and_carry_their_place() {
        let mut parent = object(json!({ "list": [{"n": 1}, {"n": "x"}] }));
        let read = parent.optional_children("list", 10, |child| child.required_integer::<u32>("n", 0, 9));
        assert!(read.is_none());
        assert_eq!(parent.issues[0].loc, [Loc::from("list"), Loc::from(1), Loc::from("n")]);

        let wrong: Vec<Value> = (0..1000).map(|number| json!(number)).collect();
        let mut many = object(json!({ "hashes": wrong }));
        assert!(many.required_hashes("hashes", 1000).is_none());
        assert_eq!(many.issues.len(), MOST_ISSUES);
    }

    #[test]
    fn strict_mode_is_inherited() {
        let mut parent = object(json!({ "child": {"flag": "true", "n": 2.0} })).strict();
        let mut child = parent.required_child("child").unwrap();
        assert_eq!(child.required_flag("flag"), None);
        assert_eq!(child.optional_integer("n"), None);
        parent.absorb(child, Some(()));
        assert_eq!(parent.issues.len(), 2);
    }

    #[test]
    fn absent_and_null_differ_where_the_schema_says_so() {
        let mut read = object(json!({ "flag": null, "hashes": null, "text": null }));
        assert_eq!(read.defaulted_flag("flag", true), None);
        assert_eq!(read.defaulted_hashes("hashes", 1), None);
        assert_eq!(read.issues.len(), 2);
        assert_eq!(read.optional_string("text"), None);
        assert_eq!(read.defaulted_flag("other", true), Some(true));
        assert_eq!(read.issues.len(), 2);
    }
}
