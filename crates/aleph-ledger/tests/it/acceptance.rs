//! `cost_acceptance.json`: who may have what, with the refusals' codes and details.

use std::convert::Infallible;

use aleph_ledger::{
    AccountFacts, Amount, Decimal, Estimates, FileSizes, Gate, PaymentRules, PriceTable, Settings, Workload,
};
use aleph_types::content::{Content, PaymentType};
use aleph_types::{Address, ItemHash, MessageType, Rejection, Timestamp};
use serde_json::{Value, json};

use crate::vectors;

struct Account<'a>(&'a Value);

impl AccountFacts for Account<'_> {
    type Error = Infallible;

    fn token_balance(&mut self, _: &Address) -> Result<Option<Decimal>, Infallible> {
        Ok(Some(Decimal::parse(self.0["token_balance"].as_str().unwrap()).unwrap()))
    }

    fn credit_balance(&mut self, _: &Address) -> Result<i128, Infallible> {
        Ok(i128::from(self.0["credit_balance"].as_i64().unwrap()))
    }

    fn running_cost(&mut self, _: &Address, payment: PaymentType) -> Result<Amount, Infallible> {
        let rows = self.0["running_costs"].as_array().unwrap();
        let of_type = rows.iter().filter(|row| row[0] == payment.as_str());
        Ok(of_type.map(|row| Amount::parse(row[1].as_str().unwrap()).unwrap()).sum())
    }
}

struct OneFile(Option<u64>);

impl FileSizes for OneFile {
    type Error = Infallible;

    fn size_behind(&mut self, _: &ItemHash, _: bool) -> Result<Option<u64>, Infallible> {
        Ok(None)
    }

    fn size_of_file(&mut self, _: &ItemHash) -> Result<Option<u64>, Infallible> {
        Ok(self.0)
    }
}

#[test]
fn recorded_acceptance() {
    let Some(file) = vectors::read("cost_acceptance.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let message_type: MessageType = case["message_type"].as_str().unwrap().parse().unwrap();
        let content = Content::parse_value(message_type, case["content"].clone()).unwrap();
        let size = case["file_size"].as_u64();
        let hash = ItemHash::sha256(name.as_bytes());
        let workload =
            Workload::of(&hash, &content, &Estimates::default(), &mut OneFile(size)).unwrap().unwrap();
        let costing = workload.price(&PriceTable::default(), &Settings::default()).unwrap();
        let time = Timestamp::from_secs_f64(case["time"].as_f64().unwrap()).unwrap();
        let gate = Gate::of(&content, time, case["confirmed_height"].as_u64(), size).unwrap();
        let terms = gate.terms(&PaymentRules::default());
        let verdict = terms.check(&gate.owner, costing.total, &mut Account(case)).unwrap();
        let answer = match verdict.map_err(Rejection::from) {
            Ok(()) => json!({"accepted": true}),
            Err(rejection) => json!({
                "accepted": false, "error_code": rejection.code.as_i16(), "details": rejection.details,
            }),
        };
        assert_eq!(answer, case["expected"], "{name}");
    }
    println!("cost_acceptance.json: {} cases agree", cases.len());
    assert_eq!(cases.len(), 37);
}
