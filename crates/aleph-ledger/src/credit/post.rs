//! What credit posts say, and every way in which they can be malformed (`spec: payments.md §11.1`).

use std::collections::HashSet;

use aleph_types::content::{lax_float, lax_integer};
use aleph_types::{Address, Channel, ErrorCode, Issue, Loc, Rejection, Timestamp};
use serde_json::{Map, Value};

use crate::{Decimal, DecimalError};

/// Which of the three posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreditKind {
    /// Grants credits that were paid for.
    Distribution,
    /// Takes what resources cost.
    Expense,
    /// Moves credits between accounts.
    Transfer,
}

impl CreditKind {
    /// The key of the body, and the word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Expense => "expense",
            Self::Transfer => "transfer",
        }
    }

    /// The kind of a post of that `content.type`.
    pub fn of_post_type(post_type: &str) -> Option<Self> {
        match post_type {
            "aleph_credit_distribution" => Some(Self::Distribution),
            "aleph_credit_expense" => Some(Self::Expense),
            "aleph_credit_transfer" => Some(Self::Transfer),
            _ => None,
        }
    }
}

/// Whose credit posts count, and where. Private networks have their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreditPublishers {
    /// May distribute and spend anybody's credits, and transfer from nothing. Spelling counts.
    pub addresses: Vec<Address>,
    /// Posts in other channels are ordinary posts.
    pub channels: Vec<Channel>,
}

impl CreditPublishers {
    /// The public network's.
    pub fn mainnet() -> Self {
        Self {
            addresses: vec![Address::from("0x2E4454fAD1906c0Ce6e45cBFA05cE898Ac3AC1dC")],
            channels: vec![Channel::from("ALEPH_CREDIT")],
        }
    }

    /// Whether an address may act for everybody.
    pub fn is_privileged(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }

    /// Which credit post this is; `None` for an ordinary post. `owner` is `content.address`.
    pub fn recognise(
        &self,
        post_type: &str,
        owner: &Address,
        channel: Option<&Channel>,
    ) -> Option<CreditKind> {
        let kind = CreditKind::of_post_type(post_type)?;
        let may = kind == CreditKind::Transfer || self.is_privileged(owner);
        (may && channel.is_some_and(|channel| self.channels.contains(channel))).then_some(kind)
    }
}

/// What a credit post says; amounts as sent, unscaled.
#[derive(Debug, Clone, PartialEq)]
pub enum CreditPost {
    /// Grants.
    Distribution(Distribution),
    /// Expenses.
    Expense(Vec<ExpenseEntry>),
    /// Transfers; no recipient twice.
    Transfer(Vec<TransferEntry>),
}

/// Grants that were paid for together.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// What they were paid with; free text.
    pub token: String,
    /// Where; free text.
    pub chain: String,
    /// At least one.
    pub entries: Vec<DistributionEntry>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq)]
pub struct DistributionEntry {
    /// Who gets it.
    pub address: Address,
    /// Credits, above 0.
    pub amount: i128,
    /// Decimal text, or `NaN`, `Infinity`.
    pub price: String,
    /// Payment transaction.
    pub tx_hash: String,
    /// Payment provider.
    pub provider: String,
    /// Milliseconds since the epoch; `None` and 0 mean never.
    pub expiration_ms: Option<i128>,
    /// Free text.
    pub origin: Option<String>,
    /// Free text.
    pub reference: Option<String>,
    /// Free text.
    pub payment_method: Option<String>,
    /// As sent: text as it is, anything else as JSON.
    pub bonus_amount: Option<String>,
}

/// One expense.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpenseEntry {
    /// Who pays.
    pub address: Address,
    /// Credits, above 0.
    pub amount: i128,
    /// Free text; the resource, for files.
    pub reference: Option<String>,
    /// The machine.
    pub execution_id: Option<String>,
    /// The compute node.
    pub node_id: Option<String>,
    /// Decimal text, or `NaN`, `Infinity`.
    pub price: Option<String>,
    /// How many expenses are summed up.
    pub count: Option<i128>,
    /// MiB, decimal text.
    pub size: Option<String>,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferEntry {
    /// Who gets it.
    pub address: Address,
    /// Credits, above 0.
    pub amount: i128,
    /// Milliseconds since the epoch; `None` and 0 mean never.
    pub expiration_ms: Option<i128>,
}

/// What is wrong with a credit post, in the order of the schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the credit {} does not have the required form", kind.as_str())]
pub struct CreditFormatError {
    kind: CreditKind,
    /// At least one.
    pub issues: Vec<Issue>,
}

impl From<CreditFormatError> for Rejection {
    fn from(error: CreditFormatError) -> Self {
        let issues: Value = error.issues.iter().map(Issue::to_json).collect();
        Self::text(
            ErrorCode::InvalidFormat,
            format!("Invalid credit {} content: {issues}", error.kind.as_str()),
        )
    }
}

impl CreditPost {
    /// Reads the body (`content.content`); `None` when there is nothing in it: then the post is an
    /// ordinary one.
    ///
    /// # Errors
    /// [`CreditFormatError`] names every wrong field. The post is refused with code 0.
    pub fn read(kind: CreditKind, body: &Value) -> Result<Option<Self>, CreditFormatError> {
        if crate::pricing::is_falsy(body) {
            return Ok(None);
        }
        let mut reader = Reader { path: Vec::new(), issues: Vec::new() };
        let post = reader.post(kind, body);
        match post {
            Some(post) if reader.issues.is_empty() => Ok(Some(post)),
            _ => Err(CreditFormatError { kind, issues: reader.issues }),
        }
    }
}

struct Reader {
    path: Vec<Loc>,
    issues: Vec<Issue>,
}

/// A number as the reference writes it to its database: plain digits.
fn price_text(text: &str) -> Option<String> {
    match Decimal::parse(text) {
        Ok(price) => Some(price.in_full().to_string()),
        Err(DecimalError::NotANumber) => None,
        Err(DecimalError::NotFinite) => {
            let lower = text.trim().to_ascii_lowercase();
            Some(match (lower.contains("nan"), lower.starts_with('-')) {
                (true, _) => "NaN".to_owned(),
                (false, true) => "-Infinity".to_owned(),
                (false, false) => "Infinity".to_owned(),
            })
        }
        // Out of every database's range too.
        Err(_) => None,
    }
}

/// A strict JSON integer. Integers beyond 64 bits arrive as doubles (`spec: messages.md §5`): they have
/// the right form, and [`Operation::new`](super::Operation::new) refuses them as too large.
fn strict_integer(value: &Value) -> Option<i128> {
    const BEYOND_64_BITS: f64 = 18_446_744_073_709_551_616.0;
    let number = value.as_number()?;
    number.as_i128().or_else(|| {
        number.as_f64().filter(|double| double.abs() >= BEYOND_64_BITS).map(|double| double as i128)
    })
}

impl Reader {
    fn issue(&mut self, kind: &'static str, field: Option<&str>, msg: impl Into<String>) {
        let mut loc = self.path.clone();
        loc.extend(field.map(Loc::from));
        self.issues.push(Issue { kind, loc, msg: msg.into() });
    }

    fn inside<T>(&mut self, step: Loc, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    fn object<'a>(&mut self, value: Option<&'a Value>) -> Option<&'a Map<String, Value>> {
        match value {
            None => self.issue("missing", None, "Field required"),
            Some(Value::Object(map)) => return Some(map),
            Some(_) => self.issue("model_type", None, "must be an object"),
        }
        None
    }

    fn post(&mut self, kind: CreditKind, body: &Value) -> Option<CreditPost> {
        let Value::Object(map) = body else {
            self.issue("model_type", None, "must be an object");
            return None;
        };
        let post = self.inside(kind.as_str().into(), |reader| {
            let inner = reader.object(map.get(kind.as_str()))?;
            Some(match kind {
                CreditKind::Distribution => {
                    let entries = reader.entries(inner, Self::distribution);
                    let token = reader.text(inner, "token");
                    let chain = reader.text(inner, "chain");
                    CreditPost::Distribution(Distribution { token: token?, chain: chain?, entries: entries? })
                }
                CreditKind::Expense => CreditPost::Expense(reader.entries(inner, Self::expense)?),
                CreditKind::Transfer => CreditPost::Transfer(reader.entries(inner, Self::transfer)?),
            })
        });
        if let Some(CreditPost::Transfer(entries)) = &post {
            let mut known = HashSet::new();
            if !entries.iter().all(|entry| known.insert(entry.address.as_str())) {
                self.issue(
                    "value_error",
                    None,
                    "Duplicate recipient addresses are not allowed in a single transfer",
                );
            }
        }
        post
    }

    fn entries<T>(
        &mut self,
        map: &Map<String, Value>,
        read: impl Fn(&mut Self, &Map<String, Value>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.inside("credits".into(), |reader| {
            let items = match map.get("credits") {
                Some(Value::Array(items)) if !items.is_empty() => items,
                Some(Value::Array(_)) => {
                    reader.issue("too_short", None, "at least one entry is required");
                    return None;
                }
                Some(_) => {
                    reader.issue("list_type", None, "must be a list");
                    return None;
                }
                None => {
                    reader.issue("missing", None, "Field required");
                    return None;
                }
            };
            let entries: Vec<Option<T>> = items
                .iter()
                .enumerate()
                .map(|(place, item)| {
                    reader.inside(place.into(), |reader| {
                        let entry = reader.object(Some(item))?;
                        read(reader, entry)
                    })
                })
                .collect();
            entries.into_iter().collect()
        })
    }

    fn distribution(&mut self, map: &Map<String, Value>) -> Option<DistributionEntry> {
        let address = self.address(map);
        let amount = self.amount(map);
        if map.get("price").is_none() {
            self.issue("missing", Some("price"), "Field required");
        } else if map.get("price").is_some_and(Value::is_null) {
            self.issue("string_type", Some("price"), "must be a decimal number");
        }
        let price = self.price(map);
        let tx_hash = self.text(map, "tx_hash");
        let provider = self.text(map, "provider");
        let expiration_ms = self.expiration(map);
        let origin = self.optional_text(map, "origin");
        let reference = self.optional_text(map, "ref");
        let payment_method = self.optional_text(map, "payment_method");
        let bonus_amount =
            map.get("bonus_amount").filter(|value| !value.is_null()).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        Some(DistributionEntry {
            address: address?,
            amount: amount?,
            price: price??,
            tx_hash: tx_hash?,
            provider: provider?,
            expiration_ms: expiration_ms?,
            origin: origin?,
            reference: reference?,
            payment_method: payment_method?,
            bonus_amount,
        })
    }

    fn expense(&mut self, map: &Map<String, Value>) -> Option<ExpenseEntry> {
        let address = self.address(map);
        let amount = self.amount(map);
        let reference = self.optional_text(map, "ref");
        let execution_id = self.optional_text(map, "execution_id");
        let node_id = self.optional_text(map, "node_id");
        let price = self.price(map);
        if map.get("time").is_some_and(|time| !time.is_null() && lax_float(time).is_none()) {
            self.issue("float_type", Some("time"), "must be a number of seconds");
        }
        let count = match map.get("count") {
            None | Some(Value::Null) => Some(None),
            Some(value) => match lax_integer(value).filter(|&count| count >= 0) {
                Some(count) => Some(Some(count)),
                None => {
                    self.issue("int_type", Some("count"), "must be a whole number, 0 or more");
                    None
                }
            },
        };
        let size = match map.get("size") {
            None | Some(Value::Null) => Some(None),
            Some(value) => match size_text(value) {
                Some(size) => Some(Some(size)),
                None => {
                    self.issue("decimal_type", Some("size"), "must be a decimal number, 0 or more");
                    None
                }
            },
        };
        Some(ExpenseEntry {
            address: address?,
            amount: amount?,
            reference: reference?,
            execution_id: execution_id?,
            node_id: node_id?,
            price: price?,
            count: count?,
            size: size?,
        })
    }

    fn transfer(&mut self, map: &Map<String, Value>) -> Option<TransferEntry> {
        let address = self.address(map);
        let amount = self.amount(map);
        let expiration_ms = self.expiration(map);
        Some(TransferEntry { address: address?, amount: amount?, expiration_ms: expiration_ms? })
    }

    fn text(&mut self, map: &Map<String, Value>, field: &str) -> Option<String> {
        match map.get(field) {
            None => self.issue("missing", Some(field), "Field required"),
            Some(Value::String(text)) => return Some(text.clone()),
            Some(_) => self.issue("string_type", Some(field), "must be a string"),
        }
        None
    }

    /// The outer option: whether the field has the right form.
    fn optional_text(&mut self, map: &Map<String, Value>, field: &str) -> Option<Option<String>> {
        match map.get(field) {
            None | Some(Value::Null) => Some(None),
            Some(_) => self.text(map, field).map(Some),
        }
    }

    fn address(&mut self, map: &Map<String, Value>) -> Option<Address> {
        let text = self.text(map, "address")?;
        if text.trim().is_empty() {
            self.issue("value_error", Some("address"), "address must not be empty");
            return None;
        }
        Some(Address::from(text))
    }

    fn amount(&mut self, map: &Map<String, Value>) -> Option<i128> {
        let Some(value) = map.get("amount") else {
            self.issue("missing", Some("amount"), "Field required");
            return None;
        };
        let Some(amount) = strict_integer(value) else {
            self.issue("value_error", Some("amount"), "amount must be an integer");
            return None;
        };
        if amount <= 0 {
            self.issue("greater_than", Some("amount"), "must be greater than 0");
            return None;
        }
        Some(amount)
    }

    fn price(&mut self, map: &Map<String, Value>) -> Option<Option<String>> {
        let text = match map.get("price") {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(text)) => price_text(text),
            Some(Value::Number(number)) => price_text(&number.to_string()),
            Some(_) => None,
        };
        if text.is_none() {
            self.issue("value_error", Some("price"), "price must be a valid decimal");
        }
        text.map(Some)
    }

    fn expiration(&mut self, map: &Map<String, Value>) -> Option<Option<i128>> {
        match map.get("expiration") {
            None | Some(Value::Null) => Some(None),
            Some(value) => match strict_integer(value).or_else(|| lax_integer(value)) {
                Some(millis) => Some(Some(millis)),
                None => {
                    self.issue("int_type", Some("expiration"), "must be whole milliseconds since the epoch");
                    None
                }
            },
        }
    }
}

fn size_text(value: &Value) -> Option<String> {
    let size = match value {
        Value::String(text) => Decimal::parse(text).ok()?,
        Value::Number(number) => Decimal::parse(&number.to_string()).ok()?,
        _ => return None,
    };
    (!size.is_negative()).then(|| size.in_full().to_string())
}

/// Milliseconds since the epoch as a time; 0 means never.
pub(super) fn expiration_of(millis: Option<i128>) -> Result<Option<Timestamp>, ()> {
    let Some(millis) = millis.filter(|&millis| millis != 0) else { return Ok(None) };
    let micros = millis.checked_mul(1000).and_then(|micros| i64::try_from(micros).ok()).ok_or(())?;
    // Only times that have a calendar date.
    Timestamp::from_secs_f64(micros as f64 / 1e6).map_err(|_| ())?;
    Ok(Some(Timestamp::from_micros(micros)))
}
