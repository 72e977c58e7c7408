//! Query parameters, read the way the reference reads them (`spec: ccn-api.md §1`).

use std::str::FromStr;

use aleph_store::queries::SortOrder;
use aleph_types::{ItemHash, Timestamp};
use serde_json::{Value, json};

use super::errors::ApiError;

/// Both spellings of a parameter: the caller's, and the internal one of the reference.
pub(super) type Names = &'static [&'static str];

/// Parameters of a request; collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    problems: Vec<Value>,
    json: bool,
}

impl Params {
    /// Reads the part of the address after `?`.
    pub(super) fn read(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { pairs, problems: Vec::new(), json: false }
    }

    /// Refusals of this route declare themselves as JSON.
    pub(super) fn refuse_in_json(mut self) -> Self {
        self.json = true;
        self
    }

    /// Names and values as they came.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The first value under the first name that is there.
    fn first(&self, names: Names) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let (_, value) = self.pairs.iter().find(|(key, _)| key == name)?;
            Some((*name, value.clone()))
        })
    }

    /// Whether the parameter was sent.
    pub(super) fn has(&self, names: Names) -> bool {
        self.first(names).is_some()
    }

    fn problem(&mut self, kind: &str, name: &str, msg: impl Into<String>, input: &str) {
        let (msg, url) = (msg.into(), format!("https://errors.pydantic.dev/2.13/v/{kind}"));
        self.problems.push(json!({ "type": kind, "loc": [name], "msg": msg, "input": input, "url": url }));
    }

    /// Notes a rule between several parameters that was broken.
    pub(super) fn conflict(&mut self, msg: &str) {
        self.problems.push(json!({ "type": "value_error", "loc": [], "msg": format!("Value error, {msg}") }));
    }

    pub(super) fn text(&self, names: Names) -> Option<String> {
        self.first(names).map(|(_, value)| value)
    }

    /// A list: one text, split at commas, nothing trimmed.
    pub(super) fn list(&self, names: Names) -> Option<Vec<String>> {
        self.text(names).map(|text| text.split(',').map(str::to_owned).collect())
    }

    /// One of the words that `T` knows.
    pub(super) fn word<T: FromStr>(&mut self, names: Names, what: &str) -> Option<T> {
        let (name, text) = self.first(names)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem("enum", name, format!("Input should be a known {what}"), &text);
        }
        parsed
    }

    /// A list of words that `T` knows.
    pub(super) fn words<T: FromStr>(&mut self, names: Names, what: &str) -> Option<Vec<T>> {
        let (name, text) = self.first(names)?;
        let mut words = Vec::new();
        for part in text.split(',') {
            match part.parse() {
                Ok(word) => words.push(word),
                Err(_) => self.problem("enum", name, format!("Input should be a known {what}"), part),
            }
        }
        Some(words)
    }

    /// A list of item hashes.
    pub(super) fn hashes(&mut self, names: Names) -> Option<Vec<ItemHash>> {
        let (name, text) = self.first(names)?;
        let mut hashes = Vec::new();
        for part in text.split(',') {
            match ItemHash::parse(part) {
                Ok(hash) => hashes.push(hash),
                Err(error) => self.problem("value_error", name, format!("Value error, {error}"), part),
            }
        }
        Some(hashes)
    }

    /// An integer of at least `least`; `default` when it was not sent.
    pub(super) fn integer(&mut self, names: Names, default: u64, least: u64) -> u64 {
        self.bounded_integer(names, default, least, u64::MAX)
    }

    /// The same, of at most `most`.
    pub(super) fn bounded_integer(&mut self, names: Names, default: u64, least: u64, most: u64) -> u64 {
        let Some((name, text)) = self.first(names) else {
            return default;
        };
        match integer(&text) {
            None => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                self.problem("int_parsing", name, msg, &text);
            }
            Some(number) if number < i128::from(least) => {
                let msg = format!("Input should be greater than or equal to {least}");
                self.problem("greater_than_equal", name, msg, &text);
            }
            Some(number) if number > i128::from(most.min(i64::MAX.unsigned_abs())) => {
                let msg = format!("Input should be less than or equal to {most}");
                self.problem("less_than_equal", name, msg, &text);
            }
            Some(number) => return u64::try_from(number).unwrap_or(default),
        }
        default
    }

    /// A number of at least 0.
    fn float(&mut self, names: Names) -> Option<(&'static str, f64)> {
        let (name, text) = self.first(names)?;
        match text.trim().parse::<f64>() {
            Ok(number) if number >= 0.0 => return Some((name, number)),
            Ok(_) => {
                let msg = "Input should be greater than or equal to 0";
                self.problem("greater_than_equal", name, msg, &text);
            }
            Err(_) => {
                let msg = "Input should be a valid number, unable to parse string as a number";
                self.problem("float_parsing", name, msg, &text);
            }
        }
        None
    }

    /// Seconds since the epoch; 0 and absence mean no bound.
    pub(super) fn date(&mut self, names: Names) -> Option<Timestamp> {
        let (name, seconds) = self.float(names)?;
        if seconds == 0.0 {
            return None;
        }
        let time = Timestamp::from_secs_f64(seconds).ok();
        if time.is_none() {
            self.problem("datetime", name, "Input is outside the range of times", &seconds.to_string());
        }
        time
    }

    /// `startDate` and `endDate`, in order.
    pub(super) fn dates(&mut self) -> (Option<Timestamp>, Option<Timestamp>) {
        let start = self.date(&["startDate", "start_date"]);
        let end = self.date(&["endDate", "end_date"]);
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            self.conflict("end date cannot be lower than start date.");
        }
        (start, end)
    }

    pub(super) fn flag(&mut self, names: Names, default: bool) -> bool {
        let Some((name, text)) = self.first(names) else {
            return default;
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "y" | "t" => true,
            "false" | "0" | "no" | "off" | "n" | "f" => false,
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                self.problem("bool_parsing", name, msg, &text);
                default
            }
        }
    }

    /// `-1` or `1`.
    pub(super) fn sort_order(&mut self, names: Names) -> SortOrder {
        let Some((name, text)) = self.first(names) else {
            return SortOrder::Descending;
        };
        match integer(&text) {
            Some(-1) => SortOrder::Descending,
            Some(1) => SortOrder::Ascending,
            _ => {
                self.problem("enum", name, "Input should be -1 or 1", &text);
                SortOrder::Descending
            }
        }
    }

    /// Refuses the request if anything was wrong.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::parameters(self.problems, self.json)) }
    }

    /// What was wrong, for routes that refuse in their own way.
    pub(super) fn into_problems(self) -> Vec<Value> {
        self.problems
    }
}

/// Decimal text with spaces around it, a sign, and `.0` after it.
fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = match unsigned.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => unsigned,
    };
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a 128-bit number has are out of every range anyway.
    let magnitude = whole.parse::<i128>().unwrap_or(i128::MAX);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Whether the storage routes take this for a hash: looser than [`ItemHash::parse`]
/// (`spec: ccn-api.md §1.4`).
pub(super) fn file_hash(text: &str) -> Option<ItemHash> {
    ItemHash::recognise(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::read(Some(query))
    }

    #[test]
    fn integers_as_the_reference_takes_them() {
        for (text, expected) in [
            ("20", Some(20)),
            (" 20 ", Some(20)),
            ("+20", Some(20)),
            ("20.0", Some(20)),
            ("20.", None),
            ("2e1", None),
            ("", None),
            ("-1", Some(-1)),
            ("99999999999999999999999999999999999999999999999999", Some(i128::MAX)),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
        let mut huge = params("pagination=99999999999999999999");
        huge.integer(&["pagination"], 20, 0);
        assert!(huge.finish().is_err());
    }

    #[test]
    fn lists_are_split_and_not_trimmed() {
        assert_eq!(params("a=x,%20y,").list(&["a"]), Some(vec!["x".into(), " y".into(), "".into()]));
        assert_eq!(params("a=").list(&["a"]), Some(vec!["".into()]));
        assert_eq!(params("b=1").list(&["a"]), None);
        assert_eq!(params("a=1&a=2").list(&["a"]), Some(vec!["1".into()]));
    }

    #[test]
    fn problems_name_the_spelling_that_was_used() {
        let mut params = params("start_date=nan&endDate=x&sortOrder=2");
        params.dates();
        params.sort_order(&["sortOrder", "sort_order"]);
        let names: Vec<_> = params.into_problems().iter().map(|problem| problem["loc"][0].clone()).collect();
        assert_eq!(names, ["start_date", "endDate", "sortOrder"]);
    }

    #[test]
    fn flags() {
        for (text, expected) in [("TRUE", true), ("y", true), ("0", false), ("Off", false)] {
            let mut params = params(&format!("f={text}"));
            assert_eq!(params.flag(&["f"], !expected), expected);
            assert!(params.finish().is_ok());
        }
        let mut wrong = params("f=2");
        wrong.flag(&["f"], false);
        assert!(wrong.finish().is_err());
    }
}
