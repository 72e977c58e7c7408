//! `costs.json`: every line of every recorded computation, to the last digit.

use std::convert::Infallible;

use aleph_ledger::{
    Estimate, Estimates, FileSizes, Origin, PriceTable, Settings, Timeline, Workload, default_prices,
};
use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageType, Timestamp};
use serde_json::Value;

use crate::vectors;

/// The files of one recorded case.
pub(crate) struct Files<'a>(pub(crate) &'a Value);

impl Files<'_> {
    fn find(&self, key: &str, value: &ItemHash) -> Option<u64> {
        let files = self.0.as_array()?;
        files.iter().find(|file| file[key] == value.as_str())?["size"].as_u64()
    }
}

impl FileSizes for Files<'_> {
    type Error = Infallible;

    fn size_behind(&mut self, reference: &ItemHash, use_latest: bool) -> Result<Option<u64>, Infallible> {
        Ok(self.find(if use_latest { "tag" } else { "pinned_by" }, reference))
    }

    fn size_of_file(&mut self, file: &ItemHash) -> Result<Option<u64>, Infallible> {
        Ok(self.find("file_hash", file))
    }
}

fn table(file: &Value, name: &str) -> PriceTable {
    match name {
        "default" => PriceTable::default(),
        other => PriceTable::read(file["pricing_aggregates"][other].as_object().unwrap(), &Origin::Aggregate),
    }
}

fn settings(file: &Value, name: &str) -> Settings {
    match name {
        "default" => Settings::default(),
        other => {
            let aggregate = file["settings_aggregates"][other].as_object().unwrap();
            Settings::read(aggregate, &Settings::default()).0
        }
    }
}

fn workload(case: &Value) -> Workload {
    let message_type: MessageType = case["message_type"].as_str().unwrap().parse().unwrap();
    let hash = ItemHash::parse(case["item_hash"].as_str().unwrap()).unwrap();
    let document = case["content"].clone();
    let (content, sizes) = match case["estimate"].as_bool().unwrap() {
        true => {
            let estimate = Estimate::read(message_type, document, Timestamp::EPOCH).unwrap();
            (estimate.content, estimate.sizes)
        }
        false => (Content::parse_value(message_type, document).unwrap(), Estimates::default()),
    };
    Workload::of(&hash, &content, &sizes, &mut Files(&case["files"])).unwrap().unwrap()
}

#[test]
fn recorded_costs() {
    let Some(file) = vectors::read("costs.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let table = table(&file, case["pricing"].as_str().unwrap());
        let settings = settings(&file, case["settings"].as_str().unwrap());
        let priced = workload(case).price(&table, &settings);
        let expected = &case["expected"];
        if let Some(error) = expected["error"].as_str() {
            let refusal = priced.unwrap_err().to_string();
            // The recorded text of the GPU errors is ours too; the others are the reference's own crash.
            if let Some(text) = error.strip_prefix("ValueError: ") {
                assert_eq!(refusal, text, "{name}");
            }
            continue;
        }
        let costing = priced.unwrap();
        assert_eq!(costing.payment.as_str(), expected["payment_type"], "{name}");
        assert_eq!(costing.product.as_str(), expected["product_type"], "{name}");
        let lines: Vec<Value> = costing
            .lines
            .iter()
            .map(|line| {
                serde_json::json!({
                    "type": line.cost_type.as_str(), "name": line.name, "ref": line.reference,
                    "cost_hold": line.costs.hold.to_string(), "cost_stream": line.costs.stream.to_string(),
                    "cost_credit": line.costs.credit.to_string(), "size_mib": line.size_mib,
                })
            })
            .collect();
        assert_eq!(Value::from(lines), expected["lines"], "{name}");
        assert_eq!(costing.total.to_string(), expected["cost"], "{name}");
    }
    println!("costs.json: {} cases agree", cases.len());
    assert_eq!(cases.len(), 88);
}

#[test]
fn the_defaults_are_the_recorded_ones() {
    let Some(file) = vectors::read("costs.json") else { return };
    assert_eq!(Value::Object(default_prices()), file["pricing_aggregates"]["default"]);
    let recorded = file["settings_aggregates"]["default"].as_object().unwrap();
    let (settings, notices) = Settings::read(recorded, &Settings::default());
    assert_eq!(settings, Settings::default());
    assert!(notices.is_empty());
    assert_eq!(Timeline::default().latest(), &PriceTable::default());
}

/// An explanation has every input, and its formulas end in the amounts of the lines.
#[test]
fn explanations_lead_to_the_recorded_amounts() {
    let Some(file) = vectors::read("costs.json") else { return };
    let mut lines = 0;
    for case in file["cases"].as_array().unwrap() {
        let table = table(&file, case["pricing"].as_str().unwrap());
        let settings = settings(&file, case["settings"].as_str().unwrap());
        let Ok(costing) = workload(case).price(&table, &settings) else { continue };
        let told = costing.explain();
        assert_eq!(told["total"], case["expected"]["cost"]);
        for (line, recorded) in
            told["lines"].as_array().unwrap().iter().zip(case["expected"]["lines"].as_array().unwrap())
        {
            for (way, column) in [("hold", "cost_hold"), ("stream", "cost_stream"), ("credit", "cost_credit")]
            {
                let amount = recorded[column].as_str().unwrap();
                assert_eq!(line[way]["amount"], amount);
                assert!(line[way]["formula"].as_str().unwrap().contains(amount), "{line}");
            }
            assert!(line["product"].is_string() && line["origin"]["kind"].is_string(), "{line}");
            lines += 1;
        }
    }
    println!("costs.json: {lines} lines explained");
    assert!(lines > 250);
}
