//! Token balances that publishers report (`spec: chains.md §12.1`).

use aleph_types::{Address, Chain, FormatError, ItemHash};
use serde_json::{Map, Value};

use crate::Decimal;

/// The body of a `balances-update` post.
#[derive(Debug, Clone, PartialEq)]
pub struct BalanceUpdate {
    /// Where the tokens are.
    pub chain: Chain,
    /// The application that holds them for the account; such balances pay for nothing.
    pub dapp: Option<String>,
    /// Ethereum height that the balances belong to.
    pub height: i64,
    /// The balances, tokens.
    pub balances: Vec<(Address, Decimal)>,
}

impl BalanceUpdate {
    /// Reads the body; `None` when there is nothing in it. The caller has checked the publisher.
    ///
    /// A number counts by its shortest text, as the reference writes it to its database: 0.1 is a tenth
    /// here, not the double nearest to it.
    ///
    /// # Errors
    /// [`FormatError`]: chain, height or balances are missing or malformed. The post is refused.
    pub fn read(body: &Value) -> Result<Option<Self>, FormatError> {
        let Some(body) = body.as_object().filter(|body| !body.is_empty()) else { return Ok(None) };
        let wrong = |text: String| FormatError::text(format!("balances-update: {text}"));
        let chain =
            body.get("chain").and_then(Value::as_str).ok_or_else(|| wrong("'chain' is missing".into()))?;
        let chain = chain.parse::<Chain>().map_err(|error| wrong(error.to_string()))?;
        let height = body
            .get("main_height")
            .and_then(Value::as_i64)
            .ok_or_else(|| wrong("'main_height' is missing or no integer".into()))?;
        let dapp = match body.get("dapp") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
            Some(_) => return Err(wrong("'dapp' is no text".into())),
        };
        let entries: &Map<String, Value> = body
            .get("balances")
            .and_then(Value::as_object)
            .ok_or_else(|| wrong("'balances' is missing or no object".into()))?;
        let mut balances = Vec::with_capacity(entries.len());
        for (address, amount) in entries {
            let read = match amount {
                Value::Number(number) => Decimal::parse(&number.to_string()),
                Value::String(text) => Decimal::parse(text),
                _ => return Err(wrong(format!("the balance of '{address}' is no number"))),
            };
            let amount = read.map_err(|error| wrong(format!("the balance of '{address}': {error}")))?;
            balances.push((Address::from(address.as_str()), amount.in_full()));
        }
        Ok(Some(Self { chain, dapp, height, balances }))
    }
}

/// What is stored of a balance, beside address, chain and dapp.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBalance {
    /// Tokens.
    pub amount: Decimal,
    /// Ethereum height that it belongs to.
    pub height: i64,
    /// The post that said so.
    pub source: ItemHash,
}

/// What a report does to a stored balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceChange {
    /// Nothing: the stored one is newer.
    Stale,
    /// Height and source change, the amount does not: no job needs to look at the account.
    Same,
    /// The amount is new or changes: jobs look at the account.
    Changed,
}

impl StoredBalance {
    /// What `reported` does to `stored`. Of equal heights the post with the smaller hash wins, so that
    /// the order of arrival does not matter.
    pub fn change(stored: Option<&Self>, reported: &Self) -> BalanceChange {
        let Some(stored) = stored else { return BalanceChange::Changed };
        let place = |balance: &Self| (balance.height, std::cmp::Reverse(balance.source.clone()));
        if place(reported) <= place(stored) {
            BalanceChange::Stale
        } else if reported.amount == stored.amount {
            BalanceChange::Same
        } else {
            BalanceChange::Changed
        }
    }
}

/// The tokens of an account: the sum over chains of balances without a dapp, with all their digits.
/// `None` when no such balance was ever read: that is not zero, it is not knowing.
pub fn total_balance<'a>(rows: impl IntoIterator<Item = (Option<&'a str>, &'a Decimal)>) -> Option<Decimal> {
    rows.into_iter().filter(|(dapp, _)| dapp.is_none_or(str::is_empty)).fold(
        None,
        |sum: Option<Decimal>, (_, amount)| {
            Some(sum.map_or_else(|| amount.clone(), |sum| sum.plus_exact(amount)))
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_count_by_their_text() {
        let body = json!({"chain": "ETH", "main_height": 7, "tags": ["x"],
            "balances": {"0xA": 0.1, "0xB": 1e22, "0xC": 5, "0xD": "12.50", "0xE": 1e-7, "0xF": -3}});
        let update = BalanceUpdate::read(&body).unwrap().unwrap();
        let texts: Vec<String> = update.balances.iter().map(|(_, amount)| amount.to_string()).collect();
        assert_eq!(texts, ["0.1", "10000000000000000000000", "5", "12.50", "1E-7", "-3"]);
        assert_eq!(BalanceUpdate::read(&json!({})), Ok(None));
        assert_eq!(BalanceUpdate::read(&json!(null)), Ok(None));
    }

    #[test]
    fn malformed_reports_are_refused_as_a_whole() {
        let ok = json!({"chain": "ETH", "main_height": 7, "balances": {"0xA": 1}});
        for (key, value) in [
            ("chain", json!("MOON")),
            ("chain", json!(5)),
            ("chain", json!("eth")),
            ("main_height", json!("7")),
            ("main_height", json!(7.5)),
            ("balances", json!([])),
            ("balances", json!({"0xA": true})),
            ("balances", json!({"0xA": "NaN"})),
            ("balances", json!({"0xA": "1e999999"})),
            ("balances", json!({"0xA": {"a": 1}})),
            ("dapp", json!(5)),
        ] {
            let mut body = ok.clone();
            body[key] = value;
            assert!(BalanceUpdate::read(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn newest_height_wins_and_ties_do_not_depend_on_the_order() {
        let balance = |amount: u32, height, digit: &str| StoredBalance {
            amount: Decimal::from(amount),
            height,
            source: ItemHash::parse(&digit.repeat(64)).unwrap(),
        };
        let stored = balance(5, 10, "b");
        assert_eq!(StoredBalance::change(None, &stored), BalanceChange::Changed);
        assert_eq!(StoredBalance::change(Some(&stored), &balance(6, 9, "a")), BalanceChange::Stale);
        assert_eq!(StoredBalance::change(Some(&stored), &balance(6, 11, "c")), BalanceChange::Changed);
        assert_eq!(StoredBalance::change(Some(&stored), &balance(5, 11, "c")), BalanceChange::Same);
        assert_eq!(StoredBalance::change(Some(&stored), &balance(6, 10, "a")), BalanceChange::Changed);
        assert_eq!(StoredBalance::change(Some(&stored), &balance(6, 10, "c")), BalanceChange::Stale);
        assert_eq!(StoredBalance::change(Some(&stored), &stored), BalanceChange::Stale);
    }

    #[test]
    fn not_knowing_is_not_zero() {
        assert_eq!(total_balance([]), None);
        let (one, half) = (Decimal::from(1u32), Decimal::parse("0.50").unwrap());
        assert_eq!(total_balance([(Some("SABLIER"), &one)]), None);
        let sum = total_balance([(None, &one), (Some("SABLIER"), &one), (Some(""), &half)]).unwrap();
        assert_eq!(sum.to_string(), "1.50");
    }
}
