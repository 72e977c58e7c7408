//! Wrong types in every field of every content, at a running node.

use std::path::Path;

use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageType};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::hostile::{Forger, Memory, fate, is_well};
use crate::node::TestNode;

/// Requests at once: batches in the pipeline hold good and bad messages together.
const AT_ONCE: usize = 32;

/// A content of each type with about every field that there is; the fuzzer starts from the same.
fn contents(address: &str) -> Vec<(MessageType, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/content");
    ["post", "aggregate", "store", "program", "instance", "v_program", "forget"]
        .iter()
        .map(|name| {
            let seed = std::fs::read(folder.join(name)).unwrap();
            let (first, text) = seed.split_first().unwrap();
            let mut document: Value = serde_json::from_slice(text).unwrap();
            document["address"] = address.into();
            (MessageType::ALL[usize::from(*first) % MessageType::ALL.len()], document)
        })
        .collect()
}

/// The ways to all values of a document, as JSON pointers.
fn ways(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![(String::new(), document)];
    while let Some((way, value)) = left.pop() {
        match value {
            Value::Object(object) => {
                left.extend(object.iter().map(|(key, value)| (format!("{way}/{key}"), value)))
            }
            Value::Array(items) => {
                left.extend(items.iter().enumerate().map(|(index, value)| (format!("{way}/{index}"), value)));
            }
            _ => {}
        }
        if !way.is_empty() {
            found.push(way);
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_with_every_type() {
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let forger = Forger::new(1);
    let others =
        [json!(null), json!(true), json!(-1), json!(1e300), json!(""), json!([]), json!({}), json!([[{}]])];
    let mut sent = Vec::new();
    for (message_type, document) in contents(&forger.address) {
        for way in ways(&document) {
            for other in &others {
                let mut changed = document.clone();
                *changed.pointer_mut(&way).unwrap() = other.clone();
                // The owner's own messages only: what others may do is another matter.
                if changed["address"] == "" || changed == document {
                    continue;
                }
                sent.push((message_type, way.clone(), changed.to_string()));
            }
        }
    }
    let judged = futures_util::stream::iter(&sent)
        .map(|(message_type, way, text)| judge(&node, &forger, *message_type, way, text))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<bool>>()
        .await;
    let refused = judged.iter().filter(|taken| !**taken).count();
    println!("{} changed contents, {refused} refused for their form", judged.len());
    assert!(refused > judged.len() / 3 && refused < judged.len());
    memory.assert_below(192, "fields of wrong types");
    is_well(&node, 1).await;
    node.stop().await;
}

/// True when the node takes the content, false when it refuses the form; either way it says the right thing.
async fn judge(node: &TestNode, forger: &Forger, message_type: MessageType, way: &str, text: &str) -> bool {
    let message = forger.inline(message_type, text);
    let form = Content::parse_text(message_type, &ItemHash::sha256(text.as_bytes()), text.as_bytes());
    let response = node.publish(&message, false).await;
    let status = response.status();
    let answer = response.text().await.unwrap();
    let Err(error) = form else {
        assert_eq!(status, StatusCode::ACCEPTED, "{message_type} {way}: {answer}");
        let (status, code, details) = fate(node, &message).await;
        match status.as_str() {
            "processed" | "pending" => {}
            "rejected" => {
                assert!(code.is_some_and(|code| code >= 0), "{message_type} {way}: {code:?} {text}");
                assert!(details.to_string().len() < 1000, "{details}");
            }
            other => panic!("{message_type} {way}: {other}"),
        }
        return true;
    };
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{message_type} {way}: {answer}");
    assert!(answer.starts_with("InvalidMessageFormat: "), "{message_type} {way}: {answer}");
    assert!(!error.to_json_errors().is_empty());
    // Where it is: at least the field at the top, unless a rule of several fields is broken.
    let top = way.split('/').nth(1).unwrap();
    let is_of_several = answer.starts_with("InvalidMessageFormat: content: ");
    assert!(answer.contains(top) || is_of_several, "{message_type} {way}: {answer}");
    assert!(answer.len() < 2000, "{message_type} {way}: {answer}");
    false
}
