//! `credits.json` and `credit_schema.json`: histories, lots, balances; forms of the posts.

use std::collections::BTreeSet;

use aleph_ledger::credit::{
    Action, CreditKind, CreditPost, CreditRules, Distribution, DistributionEntry, ExpenseEntry, Grant,
    Moment, Operation, Payment, Transfer, TransferEntry, Unfunded,
};
use aleph_ledger::{Decimal, cutoffs};
use aleph_types::{Address, ItemHash, Loc, Timestamp};
use serde_json::{Value, json};

use crate::book::Book;
use crate::vectors;

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `2023-01-01T12:00:00+00:00`, as recorded.
fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap();
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let years = year - i64::from(month <= 2);
    let month = (month + 9) % 12;
    let days =
        365 * years + years / 4 - years / 100 + years / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    let time = Timestamp::from_secs(seconds);
    let fraction = text[19..].strip_suffix("+00:00").unwrap();
    let micros = fraction.strip_prefix('.').map_or(0, |digits| digits.parse().unwrap());
    let time = time.plus_micros(micros);
    assert_eq!(time.iso_offset().to_string(), text);
    time
}

/// Recorded names become hashes in the same order.
struct Names(Vec<String>);

impl Names {
    fn of(scenario: &Value) -> Self {
        let operations = scenario["operations"].as_array().unwrap();
        let names: BTreeSet<String> =
            operations.iter().map(|operation| text(&operation["message_hash"]).unwrap()).collect();
        Self(names.into_iter().collect())
    }

    fn hash(&self, name: &Value) -> ItemHash {
        let rank = self.0.iter().position(|known| name == known.as_str()).unwrap();
        ItemHash::parse(&format!("{rank:064x}")).unwrap()
    }

    fn name(&self, hash: &ItemHash) -> &str {
        &self.0[usize::from_str_radix(hash.as_str(), 16).unwrap()]
    }
}

/// The call as the reference's ledger gets it, below all checks of posts.
fn operation(call: &Value, names: &Names) -> Operation {
    let credits = call["credits_list"].as_array().unwrap();
    let at = time(&call["message_timestamp"]);
    let factor = if at < cutoffs::CREDIT_PRECISION { 10_000 } else { 1 };
    let address = |entry: &Value| Address::from(entry["address"].as_str().unwrap());
    let amount = |entry: &Value| entry["amount"].as_i64().unwrap();
    let expiration = |entry: &Value| {
        let millis = entry["expiration"].as_i64().filter(|&millis| millis != 0)?;
        Some(Timestamp::from_micros(millis * 1000))
    };
    let name = call["op"].as_str().unwrap();
    let transfers = || -> Vec<Transfer> {
        let transfer = |entry| Transfer {
            recipient: address(entry),
            amount: amount(entry) * factor,
            expiration: expiration(entry),
        };
        credits.iter().map(transfer).collect()
    };
    let whitelisted = || call["whitelisted_addresses"].as_array().unwrap().contains(&call["sender_address"]);
    let action = match name {
        "distribution" => Action::Distribute {
            token: text(&call["token"]).unwrap(),
            chain: text(&call["chain"]).unwrap(),
            grants: credits
                .iter()
                .map(|entry| Grant {
                    amount: amount(entry) * factor,
                    expiration: expiration(entry),
                    entry: DistributionEntry {
                        address: address(entry),
                        amount: i128::from(amount(entry)),
                        price: text(&entry["price"]).unwrap(),
                        tx_hash: text(&entry["tx_hash"]).unwrap(),
                        provider: text(&entry["provider"]).unwrap(),
                        expiration_ms: entry["expiration"].as_i64().map(i128::from),
                        origin: text(&entry["origin"]),
                        reference: text(&entry["ref"]),
                        payment_method: text(&entry["payment_method"]),
                        bonus_amount: None,
                    },
                })
                .collect(),
        },
        "expense" => Action::Spend(
            credits
                .iter()
                .map(|entry| Payment {
                    amount: amount(entry) * factor,
                    entry: ExpenseEntry {
                        address: address(entry),
                        amount: i128::from(amount(entry)),
                        reference: text(&entry["ref"]),
                        execution_id: text(&entry["execution_id"]),
                        node_id: text(&entry["node_id"]),
                        price: text(&entry["price"]),
                        count: entry["count"].as_i64().map(i128::from),
                        size: text(&entry["size"]),
                    },
                })
                .collect(),
        ),
        "transfer" if whitelisted() => Action::Mint(transfers()),
        "transfer" => Action::Transfer(transfers()),
        other => panic!("{other}"),
    };
    Operation {
        moment: Moment {
            time: at,
            is_expense: name == "expense",
            message: names.hash(&call["message_hash"]),
        },
        sender: Address::from(call["sender_address"].as_str().unwrap_or("publisher")),
        factor,
        action,
    }
}

fn date(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| time.iso_offset().to_string().into())
}

fn check(scenario: &Value, book: &Book, names: &Names, how: &str) {
    let name = format!("{} {how}", scenario["name"]);
    let expected = &scenario["expected"];
    let mut rows: Vec<_> = book.rows.values().collect();
    rows.sort_by_key(|row| {
        let moment = &row.place.moment;
        (moment.time, moment.message.clone(), row.place.index)
    });
    let history: Value = rows
        .into_iter()
        .map(|row| {
            let moment = &row.place.moment;
            json!({
                "address": row.address, "amount": row.amount, "price": row.price,
                "bonus_amount": row.bonus_amount, "tx_hash": row.tx_hash, "token": row.token,
                "chain": row.chain, "provider": row.provider, "origin": row.origin,
                "origin_ref": row.origin_ref, "payment_method": row.payment_method,
                "expense_count": row.expense_count.map(|count| i64::try_from(count).unwrap()),
                "expense_size_mib": row.expense_size_mib,
                "credit_ref": names.name(&moment.message), "credit_index": row.place.index,
                "expiration_date": date(row.expiration), "message_timestamp": date(Some(moment.time)),
            })
        })
        .collect();
    assert_eq!(history, expected["history"], "{name}");
    let mut lots: Vec<_> = book.lots.values().collect();
    lots.sort_by(|a, b| (&a.owner, &a.key).cmp(&(&b.owner, &b.key)));
    let lots: Value = lots
        .into_iter()
        .map(|lot| {
            json!({
                "address": lot.owner, "credit_ref": names.name(&lot.key.message),
                "credit_index": lot.key.index, "amount_remaining": lot.remaining,
                "expiration_date": date(lot.expiration), "message_timestamp": date(Some(lot.key.time)),
            })
        })
        .collect();
    assert_eq!(lots, expected["lots"], "{name}");
    for (instant, accounts) in expected["balances_at"].as_object().unwrap() {
        let now = time(&json!(instant));
        for (account, shown) in accounts.as_object().unwrap() {
            let balance = book.balance(&Address::from(account.as_str()), now);
            let details: Value = balance
                .shares
                .iter()
                .map(|share| json!({"expiration_date": date(share.expiration), "amount": i64::try_from(share.amount).unwrap()}))
                .collect();
            assert_eq!(details, shown["details"], "{name} {instant} {account}");
            assert_eq!(balance.total, i128::from(shown["total"].as_i64().unwrap()), "{name} {instant}");
        }
    }
}

#[test]
fn recorded_ledgers() {
    let Some(file) = vectors::read("credits.json") else { return };
    let scenarios = file["scenarios"].as_array().unwrap();
    let rules = CreditRules { unfunded: Unfunded::Creates, ..CreditRules::default() };
    for scenario in scenarios {
        let names = Names::of(scenario);
        let operations: Vec<Operation> =
            scenario["operations"].as_array().unwrap().iter().map(|call| operation(call, &names)).collect();
        let mut book = Book::default();
        for operation in &operations {
            book.apply(operation, &rules);
        }
        check(scenario, &book, &names, "in order");
        let mut reversed = Book::default();
        for operation in operations.iter().rev() {
            reversed.apply(operation, &rules);
            reversed.apply(operation, &rules);
        }
        check(scenario, &reversed, &names, "reversed and doubled");
    }
    println!("credits.json: {} scenarios agree, forwards and backwards", scenarios.len());
    assert_eq!(scenarios.len(), 41);
}

fn place(loc: &[Loc]) -> Value {
    let step = |step: &Loc| match step {
        Loc::Key(key) => json!(key),
        Loc::Index(index) => json!(index),
    };
    loc.iter().map(step).collect()
}

#[test]
fn recorded_forms() {
    let Some(file) = vectors::read("credit_schema.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let name = format!("{} {}", case["kind"], case["name"]);
        let kind = match case["kind"].as_str().unwrap() {
            "distribution" => CreditKind::Distribution,
            "expense" => CreditKind::Expense,
            "transfer" => CreditKind::Transfer,
            other => panic!("{other}"),
        };
        match CreditPost::read(kind, &case["content"]) {
            Ok(post) => {
                assert_eq!(case["valid"], true, "{name}");
                assert!(post.is_some(), "{name}");
            }
            Err(error) => {
                assert_eq!(case["valid"], false, "{name}: {error:?}");
                assert_eq!(place(&error.issues[0].loc), case["first_error_at"], "{name}: {error:?}");
            }
        }
    }
    println!("credit_schema.json: {} cases agree", cases.len());
    assert_eq!(cases.len(), 125);
}

/// Every entry of the recorded expense costs ceil(time · price) and can be read.
#[test]
fn a_recorded_expense() {
    let Some(file) = vectors::read("expense_sample.json") else { return };
    let body = &file["content"]["content"];
    let Ok(Some(CreditPost::Expense(entries))) = CreditPost::read(CreditKind::Expense, body) else {
        panic!("the recorded expense is valid")
    };
    for (entry, sent) in entries.iter().zip(body["expense"]["credits"].as_array().unwrap()) {
        let number = |key: &str| Decimal::parse(&sent[key].to_string()).unwrap();
        let exact = number("time").times(&number("price"));
        let amount = Decimal::from(entry.amount);
        assert!(amount >= exact && amount.minus(&exact) < Decimal::from(1u32), "{sent}");
    }
    println!("expense_sample.json: {} entries agree", entries.len());
}

#[test]
fn what_no_ledger_can_hold_is_refused() {
    use aleph_ledger::credit::{CreditPublishers, CreditRefusal};
    let publishers = CreditPublishers::mainnet();
    let hash = ItemHash::sha256(b"post");
    let sender = Address::from("0xA");
    let post = |amount, expiration_ms| {
        CreditPost::Transfer(vec![TransferEntry { address: Address::from("0xB"), amount, expiration_ms }])
    };
    let new = |seconds, post| {
        let time = Timestamp::from_secs(seconds);
        Operation::new(hash.clone(), time, sender.clone(), post, &publishers)
    };
    let huge = 10i128.pow(30);
    assert_eq!(new(1_800_000_000, post(huge, None)), Err(CreditRefusal::AmountTooLarge(huge)));
    let most = i128::from(i64::MAX);
    assert!(new(1_800_000_000, post(most, None)).is_ok());
    assert_eq!(new(1_700_000_000, post(most, None)), Err(CreditRefusal::AmountTooLarge(most)));
    let late = i128::from(i64::MAX);
    assert_eq!(new(1_800_000_000, post(1, Some(late))), Err(CreditRefusal::ExpirationOutOfRange(late)));
    // In the past is a time like any other: the lot is never usable.
    assert!(new(1_800_000_000, post(1, Some(-5))).is_ok());
    // The parser turns 10^30 into a double; the form is right, the amount is not.
    let body = aleph_types::json::parse(
        br#"{"distribution":{"token":"T","chain":"C","credits":[{"address":"0xA","amount":1000000000000000000000000000000,
            "price":1e-7,"tx_hash":"","provider":""}]}}"#,
    )
    .unwrap();
    let Ok(Some(CreditPost::Distribution(Distribution { entries, .. }))) =
        CreditPost::read(CreditKind::Distribution, &body)
    else {
        panic!("the form is right")
    };
    assert_eq!(entries[0].price, "1E-7");
    assert!(i64::try_from(entries[0].amount).is_err());
}
