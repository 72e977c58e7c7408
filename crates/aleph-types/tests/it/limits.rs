//! Nothing from outside may panic or take long, whatever its shape.

use aleph_types::content::Content;
use aleph_types::{FormatError, ItemHash, MessageType, ParsedMessage, limits};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("a".repeat(64))),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((known_key(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn known_key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "address",
        "time",
        "type",
        "content",
        "ref",
        "key",
        "tags",
        "item_type",
        "item_hash",
        "payment",
        "hashes",
        "aggregates",
        "allow_amend",
        "environment",
        "resources",
        "volumes",
        "rootfs",
        "code",
        "runtime",
        "on",
        "requirements",
        "node",
        "gpu",
        "trusted_execution",
        "mode",
        "size_mib",
        "parent",
        "persistence",
        "workload",
        "verification",
        "backend",
        "measurements",
        "registers",
        "metadata",
        "variables",
        "vcpus",
        "http",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(document in any_json()) {
        for kind in MessageType::ALL {
            if let Err(error) = Content::parse_value(kind, document.clone()) {
                prop_assert!(!error.to_string().is_empty());
                prop_assert!(!error.to_json_errors().is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ParsedMessage::from_json(&bytes);
    }
}

#[test]
fn a_forget_of_very_many_is_refused_briefly() {
    let hashes: Vec<String> = (0..100_000).map(|_| "a".repeat(64)).collect();
    let error =
        Content::parse_value(MessageType::Forget, json!({ "address": "0xA", "time": 1, "hashes": hashes }))
            .unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn an_aggregate_bomb_is_refused_briefly() {
    let mut document = json!({ "address": "0xA", "time": 1, "key": "k", "content": {} });
    for number in 0..10_000 {
        document[format!("extra{number}{}", "x".repeat(1000))] = json!(1);
    }
    let FormatError::Issues(issues) = Content::parse_value(MessageType::Aggregate, document).unwrap_err()
    else {
        panic!("issues are listed")
    };
    assert!(issues.len() <= 100);
    assert!(issues.iter().all(|issue| issue.to_json().to_string().len() < 500));
}

#[test]
fn escaped_nul_is_refused_with_the_reference_text() {
    let text = r#"{"address":"0xA","time":1,"type":"t","content":"\\u0000"}"#;
    let hash = ItemHash::sha256(text.as_bytes());
    let error = Content::parse_text(MessageType::Post, &hash, text.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Invalid message content for {hash}: Unsupported character in message: \\u0000")
    );
}

#[test]
fn a_nul_in_the_envelope_is_refused() {
    let content = r#"{"address":"A","time":1,"type":"note","content":1}"#;
    let message = json!({
        "chain": "ETH", "sender": "A", "type": "POST", "time": 1, "signature": "x", "channel": "c",
        "item_content": content, "item_hash": ItemHash::sha256(content.as_bytes()),
    });
    assert!(ParsedMessage::from_value(&message).is_ok());
    for key in ["sender", "signature", "channel"] {
        let mut with_nul = message.clone();
        with_nul[key] = "a\0b".into();
        let error = ParsedMessage::from_value(&with_nul).unwrap_err().to_string();
        assert!(error.contains("NUL"), "{error}");
    }
}

#[test]
fn texts_of_indexes_are_bounded() {
    let most = "x".repeat(limits::INDEXED_TEXT);
    let over = format!("{most}x");
    let with = |text: &str| {
        [
            (MessageType::Post, json!({ "type": text, "content": 1 })),
            (MessageType::Post, json!({ "type": "note", "content": 1, "ref": text })),
            (MessageType::Aggregate, json!({ "key": text, "content": {} })),
            (MessageType::Aggregate, json!({ "key": "k", "content": { (text): 1 } })),
            (MessageType::Store, json!({ "item_type": "storage", "item_hash": "a".repeat(64), "ref": text })),
        ]
    };
    for ((kind, mut fits), (_, mut is_over)) in with(&most).into_iter().zip(with(&over)) {
        for document in [&mut fits, &mut is_over] {
            document["address"] = "0xA".into();
            document["time"] = 1.into();
        }
        assert!(Content::parse_value(kind, fits).is_ok());
        let error = Content::parse_value(kind, is_over).unwrap_err().to_string();
        assert!(error.contains("at most 1024 bytes"), "{error}");
    }
}
