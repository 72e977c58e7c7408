use aleph_types::ParsedMessage;
use serde_json::{Map, Value};

use crate::vectors;

/// Builds the long text that the recording only describes.
fn cooked(recipe: &Value) -> String {
    let fill = recipe["fill"].as_str().unwrap();
    let count = recipe["fill_count"].as_u64().unwrap() as usize;
    let part = |key: &str| recipe.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    part("prefix") + &fill.repeat(count) + &part("suffix")
}

fn complete(case: &Value) -> Map<String, Value> {
    let mut message = case["message"].as_object().unwrap().clone();
    for (recipe, key) in [("item_content_recipe", "item_content"), ("channel_recipe", "channel")] {
        if let Some(recipe) = case.get(recipe) {
            message.insert(key.into(), cooked(recipe).into());
        }
    }
    message
}

#[test]
fn envelopes_are_judged_as_by_the_network() {
    let Some(folder) = vectors::folder("messages") else { return };
    let cases = vectors::read(&folder.join("envelope_validation.json"));
    let mut ran = 0;
    let mut disagreements = Vec::new();
    for case in cases.as_array().unwrap() {
        let note = case["note"].as_str().unwrap();
        let text = Value::Object(complete(case)).to_string();
        let judged = ParsedMessage::from_json(text.as_bytes());
        ran += 1;
        if judged.is_ok() != case["accepted"].as_bool().unwrap() {
            disagreements.push(format!("{note}: {judged:?}"));
            continue;
        }
        let Ok(parsed) = judged else { continue };
        assert_eq!(Some(parsed.message.item_type.as_str()), case["item_type"].as_str(), "{note}");
        let time = parsed.message.time.iso_offset().to_string();
        assert_eq!(Some(time.as_str()), case["time_utc"].as_str(), "{note}");
        // What we publish is read back as the same message.
        let published = serde_json::to_vec(&parsed.message.to_wire()).unwrap();
        assert_eq!(ParsedMessage::from_json(&published).unwrap(), parsed, "{note}");
    }
    println!("envelopes: {ran} ran");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
