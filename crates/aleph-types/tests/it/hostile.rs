//! Every field of every content with a value of every type: read, or refused with the place.

use std::path::Path;

use aleph_types::content::Content;
use aleph_types::{FormatError, Loc, MessageType};
use serde_json::{Value, json};

/// The fuzzer's seeds have about every field that there is.
fn contents() -> Vec<(MessageType, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/content");
    ["post", "aggregate", "store", "program", "instance", "v_program", "forget"]
        .iter()
        .map(|name| {
            let seed = std::fs::read(folder.join(name)).unwrap();
            let (first, text) = seed.split_first().unwrap();
            let kind = MessageType::ALL[usize::from(*first) % MessageType::ALL.len()];
            (kind, serde_json::from_slice(text).unwrap())
        })
        .collect()
}

/// The way to every value.
fn ways(document: &Value) -> Vec<Vec<Loc>> {
    let mut found = Vec::new();
    let mut left = vec![(Vec::new(), document)];
    while let Some((way, value)) = left.pop() {
        let longer = |part: Loc| way.iter().cloned().chain([part]).collect::<Vec<_>>();
        match value {
            Value::Object(object) => {
                left.extend(object.iter().map(|(key, value)| (longer(Loc::from(key.as_str())), value)));
            }
            Value::Array(items) => {
                left.extend(items.iter().enumerate().map(|(index, value)| (longer(Loc::from(index)), value)));
            }
            _ => {}
        }
        if !way.is_empty() {
            found.push(way);
        }
    }
    found
}

fn place<'a>(document: &'a mut Value, way: &[Loc]) -> &'a mut Value {
    way.iter().fold(document, |value, part| match part {
        Loc::Key(key) => &mut value[key.as_str()],
        Loc::Index(index) => &mut value[*index],
    })
}

#[test]
fn every_field_with_a_value_of_every_type() {
    let long = "x".repeat(100_000);
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("2"),
        json!("é\u{0}\u{10ffff}"),
        json!(long),
        json!([]),
        json!([null]),
        json!({}),
        json!({ "": [] }),
        json!(vec![0; 5000]),
    ];
    let (mut read, mut refused) = (0, 0);
    for (kind, document) in contents() {
        Content::parse_value(kind, document.clone()).unwrap();
        for way in ways(&document) {
            for other in &others {
                let mut changed = document.clone();
                *place(&mut changed, &way) = other.clone();
                match Content::parse_value(kind, changed) {
                    Ok(content) => {
                        assert_eq!(content.message_type(), kind);
                        read += 1;
                    }
                    Err(FormatError::Issues(issues)) => {
                        refused += 1;
                        assert!(!issues.is_empty() && issues.len() <= 100, "{kind} {way:?}");
                        // A rule that holds several fields together names the document or another one.
                        let names = issues.iter().any(|issue| {
                            issue.loc.iter().any(|part| way.contains(part)) || issue.kind == "value_error"
                        });
                        assert!(names, "{kind} {way:?} {other}: {issues:?}");
                        for issue in &issues {
                            let told = issue.to_json().to_string();
                            assert!(told.len() < 600, "{kind} {way:?}: {} bytes are told", told.len());
                        }
                    }
                    Err(FormatError::Text(text)) => {
                        refused += 1;
                        assert!(!text.is_empty() && text.len() < 600, "{kind} {way:?}: {text}");
                    }
                }
            }
        }
    }
    println!("{read} changed contents read, {refused} refused");
    assert!(refused > read / 2 && read > 0);
}
