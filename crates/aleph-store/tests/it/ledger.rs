//! `credits.json` through the database of each engine: histories, lots, balances, in order and reversed.

use std::collections::BTreeSet;

use aleph_ledger::credit::{
    Action, Applied, CreditFacts, CreditRules, DistributionEntry, ExpenseEntry, Grant, Moment, Operation,
    Payment, Transfer, Unfunded, apply,
};
use aleph_ledger::cutoffs;
use aleph_rules::Facts;
use aleph_store::{Store, Writer};
use aleph_types::{Address, ItemHash, Timestamp};
use serde_json::{Value, json};

use crate::place::{Engine, on_both_engines};

on_both_engines!(recorded_ledgers);

/// A recorded file: under `ALEPH_VECTORS`, else beside the repository. `None` says so.
pub(crate) fn recorded(name: &str) -> Option<Value> {
    let root = std::env::var_os("ALEPH_VECTORS").map(std::path::PathBuf::from).unwrap_or_else(|| {
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors")
    });
    let path = root.join(name);
    if !path.is_file() {
        println!("skipped: no recorded data at {}; set ALEPH_VECTORS", path.display());
        return None;
    }
    Some(aleph_types::json::parse(&std::fs::read(path).unwrap()).unwrap())
}

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

/// Applies an operation in a transaction of its own, as its post would be.
fn run(writer: &mut Writer, operation: &Operation) {
    let rules = CreditRules { unfunded: Unfunded::Creates, ..CreditRules::default() };
    let mut transaction = writer.begin().unwrap();
    let applied = apply(operation, &rules, &mut transaction.facts().ledger(Timestamp::EPOCH)).unwrap();
    if let Applied::Now { effects, .. } = applied {
        transaction.apply_credits(&effects).unwrap();
    }
    transaction.commit().unwrap();
}

fn check(scenario: &Value, store: &Store, writer: &mut Writer, names: &Names, how: &str) {
    let name = format!("{} {how}", scenario["name"]);
    let expected = &scenario["expected"];
    let of = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    let accounts: BTreeSet<String> =
        of(&expected["history"], "address").into_iter().chain(of(&expected["lots"], "address")).collect();
    let mut transaction = writer.begin().unwrap();
    let mut facts = transaction.facts();
    let mut ledger = facts.ledger(Timestamp::EPOCH);
    let (mut rows, mut lots) = (Vec::new(), Vec::new());
    for account in &accounts {
        let account = Address::from(account.as_str());
        // Pages of one row: the order and the border are exact.
        let mut after = None;
        while let Some(row) = ledger.history(&account, after.as_ref(), 1).unwrap().pop() {
            after = Some(row.place.clone());
            rows.push(row);
        }
        lots.extend(ledger.lots(&account).unwrap());
    }
    drop(ledger);
    drop(facts);
    drop(transaction);
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
    lots.sort_by(|a, b| (&a.owner, &a.key).cmp(&(&b.owner, &b.key)));
    let lots: Vec<Value> = lots
        .into_iter()
        .map(|lot| {
            json!({
                "address": lot.owner, "credit_ref": names.name(&lot.key.message),
                "credit_index": lot.key.index, "amount_remaining": lot.remaining,
                "expiration_date": date(lot.expiration), "message_timestamp": date(Some(lot.key.time)),
            })
        })
        .collect();
    let open = |lot: &&Value| lot["amount_remaining"].as_i64() != Some(0);
    let left: Vec<Value> = expected["lots"].as_array().unwrap().iter().filter(open).cloned().collect();
    assert_eq!(lots, left, "{name}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (instant, accounts) in expected["balances_at"].as_object().unwrap() {
        for (account, shown) in accounts.as_object().unwrap() {
            let balance = store.credit_balance(Address::from(account.as_str()), time(&json!(instant)));
            let balance = runtime.block_on(balance).unwrap();
            let details: Value = balance
                .shares
                .iter()
                .map(|share| {
                    let amount = i64::try_from(share.amount).unwrap();
                    json!({"expiration_date": date(share.expiration), "amount": amount})
                })
                .collect();
            assert_eq!(details, shown["details"], "{name} {instant} {account}");
            assert_eq!(balance.total, i128::from(shown["total"].as_i64().unwrap()), "{name} {instant}");
        }
    }
}

fn recorded_ledgers(engine: Engine) {
    let Some(file) = recorded("credits.json") else { return };
    let scenarios = file["scenarios"].as_array().unwrap();
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for scenario in scenarios {
        let names = Names::of(scenario);
        let operations: Vec<Operation> =
            scenario["operations"].as_array().unwrap().iter().map(|call| operation(call, &names)).collect();
        for operation in &operations {
            run(&mut writer, operation);
        }
        check(scenario, &store, &mut writer, &names, "in order");
        let in_order = runtime.block_on(store.recompute_digest()).unwrap();
        assert_eq!(in_order.kept, in_order.recomputed, "{}", scenario["name"]);
        writer.empty().unwrap();
        for operation in operations.iter().rev() {
            run(&mut writer, operation);
            run(&mut writer, operation);
        }
        check(scenario, &store, &mut writer, &names, "reversed and doubled");
        let reversed = runtime.block_on(store.recompute_digest()).unwrap();
        assert_eq!(reversed.kept, reversed.recomputed, "{}", scenario["name"]);
        assert_eq!(reversed.kept, in_order.kept, "{}", scenario["name"]);
        writer.empty().unwrap();
    }
    println!("credits.json: {} scenarios agree on {engine:?}, forwards and backwards", scenarios.len());
    assert_eq!(scenarios.len(), 41);
}
