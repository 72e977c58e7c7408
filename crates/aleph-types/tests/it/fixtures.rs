use std::path::{Path, PathBuf};

use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageType, ParsedMessage};
use serde_json::Value;

use crate::vectors;

/// Recorded files whose message the network itself refuses.
const REFUSED: &[&str] = &[
    // As an API of another kind shows it: the envelope's time is ISO text.
    "instance_content.json",
    // The CID of the stored file is made up and of no valid length.
    "store_message.json",
    // `metadata` is a list, which was allowed once (`spec: messages.md §29`).
    "program-with-array-as-metadata.json",
];

fn json_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// Every object inside `value` that looks like a message.
fn messages(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(object) => {
            let looks = ["chain", "sender", "type", "item_type"].iter().all(|key| object.contains_key(*key));
            if looks && (object.contains_key("item_content") || object.contains_key("content")) {
                found.push(value.clone());
                return;
            }
            object.values().for_each(|inner| messages(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| messages(inner, found)),
        _ => {}
    }
}

#[test]
fn recorded_messages_are_read() {
    let Some(root) = vectors::folder("messages") else { return };
    let mut files = Vec::new();
    for folder in
        std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        json_files(&folder, &mut files);
    }
    files.sort();
    let (mut whole, mut contents, mut refused) = (0, 0, 0);
    let mut disagreements = Vec::new();
    for file in &files {
        let mut found = Vec::new();
        messages(&vectors::read(file), &mut found);
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        for message in found {
            let Ok(kind) = message["type"].as_str().unwrap_or_default().parse::<MessageType>() else {
                println!("{name}: type {} is dead", message["type"]);
                continue;
            };
            let expected_refusal = REFUSED.iter().any(|refused| name.ends_with(refused));
            // Some recordings were edited: their hash does not match, only their content can be judged.
            let intact = message["item_content"].as_str().is_some_and(|text| {
                Some(ItemHash::sha256(text.as_bytes()).as_str()) == message["item_hash"].as_str()
            });
            let error = if intact {
                whole += 1;
                ParsedMessage::from_value(&wire_form(&message)).err()
            } else if message["content"].is_object() {
                contents += 1;
                Content::parse_value(kind, message["content"].clone()).err()
            } else {
                println!("{name}: no content of {} to judge", message["item_hash"]);
                continue;
            };
            match (error, expected_refusal) {
                (Some(error), false) => disagreements.push(format!("{name}: {error}")),
                (None, true) => disagreements.push(format!("{name}: was accepted")),
                (Some(_), true) => refused += 1,
                (None, false) => {}
            }
        }
    }
    println!(
        "fixtures: {whole} messages and {contents} contents of {} files, {refused} refused as expected",
        files.len()
    );
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// Some recordings are what an API showed: signatures of Solana as objects, times as ISO text.
fn wire_form(message: &Value) -> Value {
    let mut message = message.clone();
    if message["signature"].is_object() {
        message["signature"] = message["signature"].to_string().into();
    }
    message
}
