use aleph_types::content::{CreditDistribution, CreditExpense, CreditTransfer};
use aleph_types::{FormatError, Loc};
use serde_json::{Value, json};

use crate::vectors;

/// The recording has an integer of 31 digits; on the wire such a number is read as a double, which is no
/// amount (`spec: messages.md §5`).
const BEYOND_THE_WIRE: &str = "amount_huge";

fn place(error: &FormatError) -> Vec<Value> {
    match error {
        FormatError::Text(_) => Vec::new(),
        FormatError::Issues(issues) => issues[0]
            .loc
            .iter()
            .map(|part| match part {
                Loc::Key(key) => json!(key),
                Loc::Index(index) => json!(index),
            })
            .collect(),
    }
}

#[test]
fn credit_bodies_are_judged_as_by_the_network() {
    let Some(root) = vectors::folder("") else { return };
    let text = std::fs::read(root.join("credit_schema.json")).unwrap();
    let recorded = aleph_types::json::parse(&text).unwrap();
    let (mut ran, mut beyond) = (0, 0);
    let mut disagreements = Vec::new();
    for case in recorded["cases"].as_array().unwrap() {
        let (kind, name) = (case["kind"].as_str().unwrap(), case["name"].as_str().unwrap());
        let body = &case["content"];
        let error = match kind {
            "distribution" => CreditDistribution::parse(body).err(),
            "expense" => CreditExpense::parse(body).err(),
            "transfer" => CreditTransfer::parse(body).err(),
            other => panic!("unknown kind {other}"),
        };
        ran += 1;
        if name == BEYOND_THE_WIRE {
            beyond += 1;
            assert!(error.is_some(), "{kind}: {name}");
            continue;
        }
        match (error, case["valid"].as_bool().unwrap()) {
            (None, true) => {}
            (Some(error), false) if Value::from(place(&error)) == case["first_error_at"] => {}
            (outcome, _) => disagreements.push(format!("{kind}: {name}: {outcome:?}")),
        }
    }
    println!("credit bodies: {ran} ran, {beyond} with numbers that do not travel");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
