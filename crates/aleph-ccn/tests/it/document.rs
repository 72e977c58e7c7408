//! The document of the API and the page that shows it.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::StatusCode;
use serde_json::Value;

use crate::node::TestNode;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Set it to write the file anew.
const WRITE: &str = "ALEPH_WRITE_DOCS";

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_document_is_the_served_one() {
    let node = TestNode::start().await;
    let (status, served) = node.text("/api/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let path = Path::new(ROOT).join("docs/openapi.json");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == served,
        "docs/openapi.json is not what the program serves: run this test with {WRITE}=1 and commit the file"
    );
    assert_eq!(node.text("/api/docs/swagger.json").await.1, served);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_is_served() {
    let node = TestNode::start().await;
    let document = node.ok("/api/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} stands twice");
            assert!(operation["summary"].is_string(), "{verb} {path} says nothing");
            let mut address = path.clone();
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                let name = parameter["name"].as_str().unwrap();
                if parameter["in"] == "path" {
                    assert!(path.contains(&format!("{{{name}}}")), "{path} has no {name}");
                    address = address.replace(&format!("{{{name}}}"), "1");
                }
            }
            assert!(!address.contains('{'), "{verb} {path}: a part of the path is not described");
            let method = verb.to_uppercase().parse().unwrap();
            let answer = node.client.request(method, format!("{}{address}", node.url)).send().await.unwrap();
            let status = answer.status();
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{verb} {path}");
            let unknown = status == StatusCode::NOT_FOUND && answer.text().await.unwrap() == "404: Not Found";
            // Routes of things that are not there say so in the same words.
            let of_a_thing = path.contains('{') || path.contains("/uploads");
            assert!(!unknown || of_a_thing, "{verb} {path} is not served");
        }
    }
    assert!(operations.len() > 60, "{}", operations.len());
    check_references(&document, &document);
    node.stop().await;
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|field| check_references(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_stands_in_the_compatibility_page() {
    let node = TestNode::start().await;
    let document = node.ok("/api/openapi.json").await;
    let page = std::fs::read_to_string(Path::new(ROOT).join("COMPATIBILITY.md")).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        // Names of parameters may differ, and rows of many routes end with an ellipsis.
        let pattern = |text: &str| {
            let parts: Vec<&str> = text.split('/').collect();
            let blank = |part: &&str| match part.find('{') {
                Some(start) => {
                    let rest = part.find('}').map_or("", |end| &part[end + 1..]);
                    format!("{}{{}}{rest}", &part[..start])
                }
                None => (*part).to_owned(),
            };
            parts.iter().map(blank).collect::<Vec<_>>().join("/")
        };
        let wanted = pattern(path);
        let named = page.split('`').skip(1).step_by(2).any(|code| {
            let code = code.split(['?', ' ']).next().unwrap_or_default();
            pattern(code) == wanted || code.strip_suffix('…').is_some_and(|start| wanted.starts_with(start))
        });
        assert!(named, "COMPATIBILITY.md has no row of {path}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_elsewhere() {
    let node = TestNode::start().await;
    for path in ["/api/docs", "/api/docs/"] {
        let answer = node.get(path).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.text().await.unwrap();
        assert!(!page.contains("//"), "{page}");
        for (name, kind) in [("docs.js", "text/javascript"), ("docs.css", "text/css")] {
            assert!(page.contains(name));
            let part = node.get(&format!("/static/{name}")).send().await.unwrap();
            assert!(part.headers()["content-type"].to_str().unwrap().starts_with(kind));
        }
    }
    assert_eq!(node.text("/static/other.js").await.0, StatusCode::NOT_FOUND);
    node.stop().await;
}
