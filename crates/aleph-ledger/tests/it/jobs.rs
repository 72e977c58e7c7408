//! `balance_jobs.json`: one run of a job over one account.

use std::convert::Infallible;

use aleph_ledger::removal::{
    Account, Change, Circumstances, Event, Job, PricedMessage, RemovalEffect, RemovalRules, Standing,
    Subject, Verdict, settle_page, step,
};
use aleph_ledger::{Amount, Decimal};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash, MessageStatus, MessageType, Timestamp};
use serde_json::{Value, json};

use crate::vectors;

fn status(message: &Value) -> MessageStatus {
    match message["status"].as_str().unwrap() {
        "processed" => MessageStatus::Processed,
        "removing" => MessageStatus::Removing,
        "removed" => MessageStatus::Removed,
        other => panic!("{other}"),
    }
}

fn rows(case: &Value) -> Vec<PricedMessage> {
    let mut rows = Vec::new();
    for message in case["messages"].as_array().unwrap() {
        for height in message["heights"].as_array().unwrap() {
            rows.push(PricedMessage {
                message: ItemHash::parse(message["item_hash"].as_str().unwrap()).unwrap(),
                message_type: message["type"].as_str().unwrap().parse().unwrap(),
                status: status(message),
                cost: Amount::parse(message["cost"].as_str().unwrap()).unwrap(),
                height: height.as_u64().unwrap(),
                time: Timestamp::from_secs_f64(message["time"].as_f64().unwrap()).unwrap(),
                file_bytes: message["file_size"].as_u64(),
            });
        }
    }
    rows
}

/// What a database would say of a message after the changes.
fn outcome(message: &Value, changes: &[Change], job: Job) -> Value {
    let is_file = message["type"] == "STORE";
    let before = status(message);
    let mut pin = match before {
        MessageStatus::Processed if is_file => Some("message"),
        MessageStatus::Removing if is_file => Some("grace_period"),
        _ => None,
    };
    let size = message["file_size"].as_u64().filter(|_| is_file);
    let mut record = size.filter(|_| before == MessageStatus::Removing);
    let now = Timestamp::from_secs(1_800_000_000);
    let mut standing = match before {
        MessageStatus::Processed => Standing::Processed,
        MessageStatus::Removing => Standing::Removing { until: Some(now) },
        _ => Standing::Removed { at: now },
    };
    let subject = Subject {
        message_type: message["type"].as_str().unwrap().parse::<MessageType>().unwrap(),
        payment: if job == Job::Credit { PaymentType::Credit } else { PaymentType::Hold },
        file_bytes: message["file_size"].as_u64(),
    };
    for change in changes.iter().filter(|change| change.message.message.as_str() == message["item_hash"]) {
        let event = match change.verdict {
            Verdict::Remove => Event::Shortfall,
            Verdict::Recover => Event::Covered,
            other => panic!("{other:?}"),
        };
        let circumstances = Circumstances { now, is_catching_up: false };
        let (next, effects) = step(standing, event, &subject, &circumstances);
        standing = next;
        for effect in effects {
            match effect {
                RemovalEffect::StartRemoval { file_bytes, .. } => record = file_bytes,
                RemovalEffect::GraceFile(_) => pin = Some("grace_period"),
                RemovalEffect::RestoreFile => pin = Some("message"),
                RemovalEffect::StopRemoval => record = None,
                RemovalEffect::SetDeadline(_) | RemovalEffect::Remove(_) => panic!("{effect:?}"),
            }
        }
    }
    let status = match standing {
        Standing::Processed => "processed",
        Standing::Removing { .. } => "removing",
        Standing::Removed { .. } => "removed",
        Standing::Elsewhere => "elsewhere",
    };
    json!({
        "item_hash": message["item_hash"], "status": status, "pin_type": pin, "removed_record_size": record,
    })
}

#[test]
fn recorded_jobs() {
    let Some(file) = vectors::read("balance_jobs.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let job = match case["job"].as_str().unwrap() {
            "balance" => Job::Hold,
            "credit_balance" => Job::Credit,
            other => panic!("{other}"),
        };
        let balance = match &case["balance"] {
            Value::String(text) => Decimal::parse(text).unwrap(),
            number => Decimal::from(number.as_i64().unwrap()),
        };
        let owner = Address::from("0xA");
        let accounts = [Account { address: owner.clone(), balance: Some(balance) }];
        let rows = rows(case).into_iter().map(|row| Ok::<_, Infallible>((owner.clone(), row)));
        let mut changes = Vec::new();
        settle_page(job, &RemovalRules::default(), true, &accounts, rows, |change| changes.push(change))
            .unwrap();
        let messages = case["messages"].as_array().unwrap();
        let outcomes: Value = messages.iter().map(|message| outcome(message, &changes, job)).collect();
        assert_eq!(outcomes, case["expected"], "{name}");
    }
    println!("balance_jobs.json: {} cases agree", cases.len());
    assert_eq!(cases.len(), 24);
}
