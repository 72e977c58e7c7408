//! Prices of messages whose content is not inline (`spec: ccn-api.md §§9.2, 9.3`).

use aleph_types::{ItemHash, MessageType};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_760_000_000.0;

async fn estimate(node: &TestNode, message: Value) -> (StatusCode, String) {
    let body = json!({ "message": message });
    let answer = node.post("/api/v0/price/estimate").json(&body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

fn machine() -> Value {
    json!({
        "address": "0xA", "environment": {}, "resources": { "vcpus": 1, "memory": 2048 },
        "payment": { "type": "hold", "chain": "ETH" },
        "rootfs": { "parent": { "ref": "a".repeat(64) }, "persistence": "host", "size_mib": 20480 },
    })
}

async fn charging(peers: Vec<String>) -> TestNode {
    TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.http_peers = peers;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_found_on_this_node_or_on_another() {
    let first = charging(Vec::new()).await;
    let text = machine().to_string();
    let inline = json!({ "type": "INSTANCE", "item_content": text });
    let (status, expected) = estimate(&first, inline.clone()).await;
    assert_eq!(status, StatusCode::OK, "{expected}");
    assert!(expected.contains(r#""cost":"1000.000000000000000000""#), "{expected}");

    let name = first.node.blobs.put_bytes(text.clone().into_bytes()).await.unwrap().hash;
    let by_hash = json!({ "type": "INSTANCE", "item_type": "storage", "item_hash": name });
    assert_eq!(estimate(&first, by_hash.clone()).await, (StatusCode::OK, expected.clone()));

    // Another node asks the first, and keeps nothing of it.
    let dead = "http://127.0.0.1:9".to_owned();
    let second = charging(vec![dead, first.url.clone()]).await;
    let by_hash_only = json!({ "type": "INSTANCE", "item_hash": name, "item_content": null });
    assert_eq!(estimate(&second, by_hash_only).await, (StatusCode::OK, expected));
    assert!(!second.node.blobs.contains(&name).await.unwrap());

    let lost = ItemHash::sha256(b"lost");
    let cid = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    for (name, word) in [(lost.as_str(), "is on no node"), (cid, "is a file of IPFS")] {
        let (status, text) = estimate(&second, json!({ "type": "INSTANCE", "item_hash": name })).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
        assert!(text.contains(name) && text.contains(word) && text.contains("'item_content'"), "{text}");
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_estimated_is_refused_in_words() {
    let node = charging(Vec::new()).await;
    let text = machine().to_string();
    let garbage = node.node.blobs.put_bytes(b"no JSON".to_vec()).await.unwrap().hash;
    let long = node.node.blobs.put_bytes(vec![b' '; (16 << 20) + 1]).await.unwrap().hash;
    let other = ItemHash::sha256(b"other");
    for (message, words) in [
        (json!({ "type": "INSTANCE" }), "'item_content' or 'item_hash' is required"),
        (json!({ "type": "INSTANCE", "item_content": 5 }), "'item_content' must be text"),
        (json!({ "type": "INSTANCE", "item_content": text, "item_hash": other }), "is not the hash of"),
        (json!({ "type": "INSTANCE", "item_hash": "nonsense" }), "InvalidMessageFormat"),
        (json!({ "type": "INSTANCE", "item_hash": garbage }), "InvalidMessageFormat"),
        (json!({ "type": "INSTANCE", "item_hash": long }), "16777216"),
        (json!({ "type": "POST", "item_content": text }), "'type' must be STORE"),
        (json!({ "item_content": text }), "'type' must be STORE"),
        (json!([]), "'type' must be STORE"),
        (json!({ "type": "STORE", "item_content": "{}" }), "InvalidMessageFormat"),
    ] {
        let (status, text) = estimate(&node, message.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{message}: {text}");
        assert!(text.contains(words), "{message}: {text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_content_that_is_not_inline_has_a_price() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let address = publisher.address.clone();
    let node = TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.balance_publishers = vec![address];
    })
    .await;
    let funds = json!({ "chain": "ETH", "main_height": 1, "balances": { &owner.address: 100 } });
    let funds = json!({ "type": "balances-update", "content": funds });
    node.process(&[&publisher.sign(MessageType::Post, TIME, "c", funds)]).await;
    let bytes = vec![7; 20 << 20];
    let file = ItemHash::sha256(&bytes);
    let uploaded = node.post("/api/v0/storage/add_file").body(bytes).send().await.unwrap();
    assert_eq!(uploaded.status(), StatusCode::OK);
    let inline = owner.store(TIME, file.as_str(), json!({ "metadata": { "not": "inline" } }));
    let content = inline["item_content"].as_str().unwrap().as_bytes().to_vec();
    let name = node.node.blobs.put_bytes(content).await.unwrap().hash;
    let store = owner.sign_by_hash(MessageType::Store, TIME, name.as_str(), &inline);
    let asked = json!({ "type": "STORE", "item_type": "storage", "item_hash": name });
    let (status, before) = estimate(&node, asked).await;
    assert_eq!(status, StatusCode::OK, "{before}");
    let before: Value = serde_json::from_str(&before).unwrap();
    assert_eq!(before["cost"], "6.666666660000000000");
    node.process(&[&store]).await;
    let price = node.ok(&format!("/api/v0/price/{}", hash(&store))).await;
    assert_eq!((&price["cost"], &price["charged_address"]), (&before["cost"], &json!(owner.address)));
    let told = node.ok(&format!("/api/v1/price/{}/explain", hash(&store))).await;
    assert_eq!(told["total"], price["cost"]);
    node.stop().await;
}
