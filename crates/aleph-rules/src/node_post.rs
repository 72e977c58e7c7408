//! Posts that the node itself acts upon (`spec: messages.md §13`).
//!
//! [`NodePost::recognise`] is the one place that tells such a post from an ordinary one and that refuses
//! what has the wrong form. What follows from a recognised post is decided by [`decide`].

mod metrics;

use aleph_ledger::credit::{
    Applied, CreditFacts, CreditKind, CreditPost, CreditPublishers, CreditRules, Operation, admit, apply,
};
use aleph_ledger::{BalanceUpdate, Decimal};
use aleph_types::content::PostContent;
use aleph_types::{Address, Channel, ErrorCode, ItemHash, Rejection, limits};
use serde_json::Value;

pub use metrics::{MetricRow, NetworkMetrics};

use crate::{Candidate, Decision, Effect, Facts};

const BALANCES: &str = "balances-update";
const METRICS: &str = "aleph-network-metrics";

/// The channel of posts that move credits.
const CREDIT_CHANNEL: &str = "ALEPH_CREDIT";
/// The channel of measurements of nodes.
const SCORING_CHANNEL: &str = "aleph-scoring";

/// The addresses whose node-level posts count; private networks have their own. They are compared
/// exactly, to `content.address`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Publishers {
    /// Publishers of `balances-update`.
    pub balances: Vec<Address>,
    /// Publishers of credit distributions and expenses; as senders of transfers they need no funds.
    pub credits: Vec<Address>,
    /// Publishers of `aleph-network-metrics`.
    pub metrics: Vec<Address>,
}

impl Publishers {
    fn of_credits(&self) -> CreditPublishers {
        CreditPublishers { addresses: self.credits.clone(), channels: vec![Channel::from(CREDIT_CHANNEL)] }
    }
}

/// One balance of a `balances-update`.
#[derive(Debug, Clone, PartialEq)]
pub struct BalanceEntry {
    /// Whose.
    pub address: Address,
    /// Decimal text, tokens: no binary floating point on the way.
    pub amount: String,
}

/// A post that the node itself acts upon, read. Amends are none: their type is `amend`.
#[derive(Debug, Clone, PartialEq)]
pub enum NodePost {
    /// Token balances as of a block.
    Balances(BalanceUpdate),
    /// Credits granted, used up, or handed on by anyone.
    Credits(CreditPost),
    /// Measurements of nodes.
    Metrics(NetworkMetrics),
}

impl NodePost {
    /// Reads a post by its type, owner and channel; `None` for an ordinary post, and for an empty body.
    ///
    /// # Errors
    /// The refusal of a post that would count but has the wrong form.
    pub fn recognise(
        post: &PostContent,
        channel: Option<&Channel>,
        publishers: &Publishers,
    ) -> Result<Option<Self>, Rejection> {
        let body = &post.content;
        let owner = &post.address;
        let on = |expected: &str| channel.is_some_and(|channel| channel.as_str() == expected);
        if is_falsy(body) {
            return Ok(None);
        }
        match post.post_type.as_str() {
            BALANCES if publishers.balances.contains(owner) => {
                let wrong = |text: &str| Rejection::text(ErrorCode::InvalidFormat, text);
                if body.get("chain").is_none() || body.get("main_height").is_none() {
                    return Err(wrong("Missing field(s) chain and/or main_height for balance post"));
                }
                let update = BalanceUpdate::read(body).map_err(|error| wrong(&error.to_string()))?;
                let mut addresses = update.iter().flat_map(|update| &update.balances);
                if addresses.any(|(address, _)| address.as_str().len() > limits::INDEXED_TEXT) {
                    return Err(too_long());
                }
                Ok(update.map(Self::Balances))
            }
            METRICS if on(SCORING_CHANNEL) && publishers.metrics.contains(owner) => {
                Ok(NetworkMetrics::parse(body).map(Self::Metrics))
            }
            other if CreditKind::of_post_type(other).is_some() => {
                match publishers.of_credits().recognise(other, owner, channel) {
                    Some(kind) => {
                        let credits = CreditPost::read(kind, body)?;
                        if credits.as_ref().is_some_and(has_long_text) {
                            return Err(too_long());
                        }
                        if let Some(CreditPost::Transfer(entries)) = &credits
                            && entries.iter().any(|entry| entry.address == *owner)
                        {
                            let text =
                                format!("Self-transfer not allowed: sender and recipient are both {owner}");
                            return Err(Rejection::text(ErrorCode::InvalidFormat, text));
                        }
                        Ok(credits.map(Self::Credits))
                    }
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// Why a post of a type that nodes act upon is an ordinary post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unheeded {
    /// Its owner is none of the configured publishers.
    Publisher,
    /// It came on another channel than such posts count on.
    Channel,
}

impl Unheeded {
    /// Why a post of that type, owner and channel has no effect; `None` when it has one, and for types
    /// that no node acts upon.
    pub fn of(
        post_type: &str,
        owner: &Address,
        channel: Option<&Channel>,
        publishers: &Publishers,
    ) -> Option<Self> {
        let (may, expected) = match post_type {
            BALANCES => (publishers.balances.contains(owner), None),
            METRICS => (publishers.metrics.contains(owner), Some(SCORING_CHANNEL)),
            other => match CreditKind::of_post_type(other)? {
                CreditKind::Transfer => (true, Some(CREDIT_CHANNEL)),
                CreditKind::Distribution | CreditKind::Expense => {
                    (publishers.credits.contains(owner), Some(CREDIT_CHANNEL))
                }
            },
        };
        let on = channel.map(Channel::as_str);
        if !may {
            Some(Self::Publisher)
        } else if expected.is_some() && expected != on {
            Some(Self::Channel)
        } else {
            None
        }
    }
}

/// Whether a text that is looked up by is longer than an index holds.
fn has_long_text(credits: &CreditPost) -> bool {
    let long = |text: &str| text.len() > limits::INDEXED_TEXT;
    let opt = |text: &Option<String>| text.as_deref().is_some_and(long);
    match credits {
        CreditPost::Distribution(distribution) => distribution
            .entries
            .iter()
            .any(|entry| long(entry.address.as_str()) || opt(&entry.origin) || opt(&entry.reference)),
        CreditPost::Expense(entries) => entries
            .iter()
            .any(|entry| long(entry.address.as_str()) || opt(&entry.execution_id) || opt(&entry.reference)),
        CreditPost::Transfer(entries) => entries.iter().any(|entry| long(entry.address.as_str())),
    }
}

fn too_long() -> Rejection {
    let text = format!("an address or reference is longer than {} bytes", limits::INDEXED_TEXT);
    Rejection::text(ErrorCode::InvalidFormat, text)
}

/// The effects of a post on the node's own tables, if it is one that has any.
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    post: &PostContent,
    publishers: &Publishers,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    match NodePost::recognise(post, candidate.message.channel.as_ref(), publishers) {
        Err(refusal) => return Ok(Some(Decision::Reject(refusal))),
        Ok(None) => {}
        Ok(Some(NodePost::Balances(update))) => {
            effects.push(balances(update, &candidate.message.item_hash));
        }
        Ok(Some(NodePost::Credits(credits))) => {
            return move_credits(candidate, post, credits, publishers, facts, effects);
        }
        // Checked, and kept as posts: no table of this node follows them.
        Ok(Some(NodePost::Metrics(_))) => {}
    }
    Ok(None)
}

/// The types of posts that [`stored_money`] has something to say of.
pub const MONEY_POSTS: [&str; 4] =
    [BALANCES, "aleph_credit_distribution", "aleph_credit_expense", "aleph_credit_transfer"];

/// What a post does to balances and credits that was stored before this node had a ledger. Nobody asked then
/// whether a transfer is funded: it moves what was there at its time.
///
/// Errors are those of the facts' source.
pub fn stored_money<L: CreditFacts>(
    message: &ItemHash,
    post: &PostContent,
    channel: Option<&Channel>,
    publishers: &Publishers,
    ledger: &mut L,
) -> Result<Vec<Effect>, L::Error> {
    let credits = match NodePost::recognise(post, channel, publishers) {
        Ok(Some(NodePost::Balances(update))) => return Ok(vec![balances(update, message)]),
        Ok(Some(NodePost::Credits(credits))) => credits,
        // What has the wrong form was stored by a node that did not look at it.
        Ok(Some(NodePost::Metrics(_)) | None) | Err(_) => return Ok(Vec::new()),
    };
    let (owner, publishers) = (post.address.clone(), publishers.of_credits());
    let Ok(operation) = Operation::new(message.clone(), post.time, owner, credits, &publishers) else {
        return Ok(Vec::new());
    };
    Ok(match apply(&operation, &CreditRules::default(), ledger)? {
        Applied::Before => Vec::new(),
        Applied::Now { effects, .. } => vec![Effect::Credits(effects)],
    })
}

fn balances(update: BalanceUpdate, source: &ItemHash) -> Effect {
    let entry = |(address, amount): (Address, Decimal)| BalanceEntry { address, amount: amount.to_string() };
    Effect::SetBalances {
        chain: update.chain.as_str().to_owned(),
        dapp: update.dapp.unwrap_or_default(),
        height: update.height,
        entries: update.balances.into_iter().map(entry).collect(),
        source: source.clone(),
    }
}

/// What a credit post does to the ledger (`spec: payments.md §11`).
fn move_credits<F: Facts>(
    candidate: &Candidate<'_>,
    post: &PostContent,
    credits: CreditPost,
    publishers: &Publishers,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let message = candidate.message.item_hash.clone();
    let publishers = publishers.of_credits();
    let operation = match Operation::new(message, post.time, post.address.clone(), credits, &publishers) {
        Ok(operation) => operation,
        Err(refusal) => return Ok(Some(Decision::Reject(refusal.into()))),
    };
    let mut ledger = facts.ledger(candidate.now);
    if let Err(refusal) = admit(&operation, candidate.now, &mut ledger)? {
        return Ok(Some(Decision::Reject(refusal.into())));
    }
    match apply(&operation, &CreditRules::default(), &mut ledger)? {
        // A forgotten post that was sent again: its ledger rows are still there.
        Applied::Before => {}
        Applied::Now { effects: changes, .. } => {
            drop(ledger);
            effects.push(Effect::Credits(changes));
        }
    }
    Ok(None)
}

/// What Python counts as false.
pub(crate) fn is_falsy(body: &Value) -> bool {
    match body {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use aleph_types::Timestamp;
    use serde_json::json;

    use super::*;

    const DISTRIBUTION: &str = "aleph_credit_distribution";
    const EXPENSE: &str = "aleph_credit_expense";
    const TRANSFER: &str = "aleph_credit_transfer";
    const PUBLISHER: &str = "0xPublisher";

    fn publishers() -> Publishers {
        let own = || vec![Address::from(PUBLISHER)];
        Publishers { balances: own(), credits: own(), metrics: own() }
    }

    fn recognised(
        post_type: &str,
        owner: &str,
        channel: &str,
        body: Value,
    ) -> Result<Option<NodePost>, Rejection> {
        let post = PostContent {
            address: owner.into(),
            time: Timestamp::from_secs(1),
            post_type: post_type.to_owned(),
            content: body,
            reference: None,
        };
        NodePost::recognise(&post, Some(&Channel::from(channel)), &publishers())
    }

    fn transfer(to: &str) -> Value {
        json!({ "transfer": { "credits": [{ "address": to, "amount": 5 }] } })
    }

    #[test]
    fn type_owner_and_channel_decide() {
        let expense = || json!({ "expense": { "credits": [{ "address": "0xA", "amount": 5 }] } });
        let grant = || {
            json!({ "distribution": { "token": "T", "chain": "C", "credits": [
                { "address": "0xA", "amount": 5, "price": "1", "tx_hash": "t", "provider": "p" } ] } })
        };
        let balances = || json!({ "chain": "ETH", "main_height": 3, "balances": { "0xA": 1.5 } });
        let metrics = || json!({ "metrics": { "crn": [], "ccn": [] } });
        for (post_type, owner, channel, body, counts) in [
            (BALANCES, PUBLISHER, "any", balances(), true),
            (BALANCES, "0xpublisher", "any", balances(), false),
            (EXPENSE, PUBLISHER, CREDIT_CHANNEL, expense(), true),
            (EXPENSE, PUBLISHER, "other", expense(), false),
            (EXPENSE, "0xOther", CREDIT_CHANNEL, expense(), false),
            (DISTRIBUTION, PUBLISHER, CREDIT_CHANNEL, grant(), true),
            (DISTRIBUTION, "0xOther", CREDIT_CHANNEL, grant(), false),
            (TRANSFER, "0xAnyone", CREDIT_CHANNEL, transfer("0xA"), true),
            (TRANSFER, "0xAnyone", "other", transfer("0xA"), false),
            (METRICS, PUBLISHER, SCORING_CHANNEL, metrics(), true),
            (METRICS, PUBLISHER, CREDIT_CHANNEL, metrics(), false),
            ("amend", PUBLISHER, CREDIT_CHANNEL, grant(), false),
        ] {
            let found = recognised(post_type, owner, channel, body).unwrap();
            assert_eq!(found.is_some(), counts, "{post_type} of {owner} on {channel}");
            let (owner, channel) = (Address::from(owner), Channel::from(channel));
            let unheeded = Unheeded::of(post_type, &owner, Some(&channel), &publishers());
            assert_eq!(unheeded.is_none(), counts || post_type == "amend", "{post_type}: {unheeded:?}");
        }
    }

    #[test]
    fn empty_bodies_do_nothing_and_wrong_ones_are_refused() {
        for post_type in [BALANCES, DISTRIBUTION, EXPENSE, TRANSFER] {
            for empty in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
                assert_eq!(recognised(post_type, PUBLISHER, CREDIT_CHANNEL, empty).unwrap(), None);
            }
            for wrong in [json!(1), json!("text"), json!([1]), json!({ "a": 1 }), json!(true)] {
                let refusal = recognised(post_type, PUBLISHER, CREDIT_CHANNEL, wrong).unwrap_err();
                assert_eq!(refusal.code, ErrorCode::InvalidFormat, "{post_type}");
            }
        }
        // Measurements are never refused.
        assert_eq!(recognised(METRICS, PUBLISHER, SCORING_CHANNEL, json!([1])).unwrap(), None);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let text = |refusal: Rejection| refusal.details.unwrap()["errors"][0].as_str().unwrap().to_owned();
        let none = json!({ "transfer": { "credits": [] } });
        let refusal = recognised(TRANSFER, "0xA", CREDIT_CHANNEL, none).unwrap_err();
        assert!(text(refusal).starts_with("Invalid credit transfer content: ["));
    }
}
