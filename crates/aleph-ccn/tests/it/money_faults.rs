//! Faults of prices and settings, and posts that look like orders to nodes: what an operator finds of them
//! in the node's health, its metrics and its explanations.

use std::time::{Duration, Instant};

use aleph_types::MessageType;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_760_000_000.0;

async fn charging(publisher: &Author) -> TestNode {
    let address = publisher.address.clone();
    TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.price_publisher = address.clone();
        config.network.credit_publishers = vec![address];
    })
    .await
}

/// The health of the node as soon as it is as expected.
async fn health(node: &TestNode, expected: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let health = node.ok("/api/v1/node/health").await;
        if expected(&health) {
            return health;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{health:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn says(list: &Value, words: &[&str]) -> bool {
    list.as_array().unwrap().iter().any(|problem| {
        let next = problem["next"].as_str().unwrap();
        assert!(!next.is_empty() && !next.contains("  "), "{next:?}");
        words.iter().all(|word| problem["what"].as_str().unwrap().contains(word))
    })
}

async fn metric(node: &TestNode, name: &str) -> u64 {
    node.ok("/metrics.json").await[name].as_u64().unwrap_or_else(|| panic!("no metric {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_prices_and_settings_are_told_until_they_are_right() {
    let (publisher, other) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let estimate = async || {
        let content = json!({ "address": "0xA", "time": TIME, "item_type": "storage",
                              "item_hash": "a".repeat(64), "estimated_size_mib": 30 });
        let body = json!({ "message": { "type": "STORE", "item_content": content.to_string() } });
        let answer = node.post("/api/v0/price/estimate").json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default()["cost"].clone())
    };
    let good = json!({ "storage": { "price": { "storage": { "holding": "2" } } } });
    node.process(&[&publisher.aggregate(TIME, "pricing", good.clone())]).await;
    assert_eq!(estimate().await, (200, json!("60.000000000000000000")));

    // Everything that can be wrong, once; and somebody else's aggregate, which counts for nobody.
    let bad = json!({
        "storage": { "price": { "storage": { "holding": "cheap" } } },
        "program": { "price": 7 },
        "moon_base": { "price": {} },
    });
    let bad = publisher.aggregate(TIME + 1.0, "pricing", bad);
    let settings = publisher.aggregate(TIME + 1.0, "settings", json!({ "compatible_gpus": "all" }));
    node.process(&[&bad, &settings, &other.aggregate(TIME + 2.0, "pricing", json!({ "storage": 1 }))]).await;
    let told = health(&node, |health| {
        says(&health["problems"], &["compatible_gpus"]) && says(&health["problems"], &["storage"])
    })
    .await;
    assert_eq!(told["status"], "attention");
    let problems = &told["problems"];
    assert!(
        says(problems, &["prices of storage are malformed, the last good ones stay", hash(&bad)]),
        "{told:#}"
    );
    assert!(says(problems, &["prices of program are malformed and there are no earlier ones"]), "{told:#}");
    assert!(says(problems, &["unknown product 'moon_base'"]), "{told:#}");
    for name in ["price_kept", "price_unusable", "unknown_product", "setting_kept"] {
        assert_eq!(metric(&node, &format!("aleph_tariff_{name}")).await, 1, "{name}");
    }
    assert!(node.text("/metrics").await.1.contains("\naleph_tariff_price_kept 1\n"));
    assert_eq!(estimate().await, (200, json!("60.000000000000000000")), "the last good price");

    // A node that starts anew finds the same.
    let folder = node.stop_and_keep().await;
    let address = publisher.address.clone();
    let node = TestNode::start_in(folder, move |config| {
        config.network.charge = true;
        config.network.price_publisher = address;
    })
    .await;
    let again = health(&node, |health| says(&health["problems"], &["storage"])).await;
    assert!(says(&again["problems"], &["compatible_gpus"]), "{again:#}");

    // Put right, piece by piece; what is forgotten is no fault either.
    let right =
        json!({ "storage": good["storage"], "program": { "price": { "storage": { "holding": "1" } } } });
    node.process(&[
        &publisher.aggregate(TIME + 3.0, "pricing", right),
        &publisher.aggregate(TIME + 3.0, "settings", json!({ "compatible_gpus": [] })),
    ])
    .await;
    let left = health(&node, |health| !says(&health["problems"], &["compatible_gpus"])).await;
    assert!(!says(&left["problems"], &["prices of"]), "{left:#}");
    assert!(says(&left["problems"], &["moon_base"]), "{left:#}");
    node.process(&[&publisher.forget(TIME + 4.0, &[&bad])]).await;
    health(&node, |health| !says(&health["problems"], &["moon_base"])).await;
    for name in ["price_kept", "price_unusable", "unknown_product", "setting_kept"] {
        assert_eq!(metric(&node, &format!("aleph_tariff_{name}")).await, 0, "{name}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_unknown_products_are_told_shortly() {
    let publisher = Author::new(1);
    let node = charging(&publisher).await;
    let many: serde_json::Map<String, Value> =
        (0..3_000).map(|number| (format!("product-{number}"), json!({}))).collect();
    node.process(&[&publisher.aggregate(TIME, "pricing", many.into())]).await;
    let told = health(&node, |health| says(&health["problems"], &["unknown product"])).await;
    assert!(told["problems"].as_array().unwrap().len() < 40, "{}", told["problems"]);
    assert_eq!(metric(&node, "aleph_tariff_unknown_product").await, 3_000);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_unknown_publishers_leave_a_trace() {
    let (publisher, stranger) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let post = |author: &Author, number: f64, channel: &str, kind: &str, body: Value| {
        author.sign(MessageType::Post, TIME + number, channel, json!({ "type": kind, "content": body }))
    };
    let balances = json!({ "chain": "ETH", "main_height": 1, "balances": { "0xA": 5 } });
    let grant = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [
        { "address": "0xA", "amount": 100, "price": "1", "tx_hash": "0x1", "provider": "P" } ] } });
    let of_stranger = post(&stranger, 1.0, "c", "balances-update", balances.clone());
    let elsewhere = post(&publisher, 2.0, "OTHER", "aleph_credit_distribution", grant.clone());
    // The publisher of credits is none of balances.
    let wrong_role = post(&publisher, 3.0, "c", "balances-update", balances);
    let heeded = post(&publisher, 4.0, "ALEPH_CREDIT", "aleph_credit_distribution", grant.clone());
    let granted = post(&stranger, 5.0, "ALEPH_CREDIT", "aleph_credit_distribution", grant);
    let ordinary = post(&stranger, 6.0, "c", "note", json!(1));
    node.process(&[&of_stranger, &elsewhere, &wrong_role, &heeded, &granted, &ordinary]).await;
    assert_eq!(node.ok("/api/v0/balances").await["balances"], json!([]), "they are ordinary posts");
    let credits = node.ok("/api/v0/addresses/0xA/balance").await["credit_balance"].clone();
    assert_eq!(credits, 1_000_000, "100 of the configured publisher, from before the change of precision");

    let told = health(&node, |health| health["notes"].as_array().unwrap().len() == 4).await;
    let notes = &told["notes"];
    assert!(
        says(notes, &["balances-update", &stranger.address, hash(&of_stranger), "configured"]),
        "{told:#}"
    );
    assert!(says(notes, &["balances-update", &publisher.address, hash(&wrong_role)]), "{told:#}");
    assert!(says(notes, &["aleph_credit_distribution", &stranger.address, hash(&granted)]), "{told:#}");
    assert!(says(notes, &["aleph_credit_distribution", &publisher.address, "another channel"]), "{told:#}");
    assert!(
        !told["problems"].to_string().contains(&stranger.address),
        "anybody can send such posts: they are no problem of the node"
    );
    assert_eq!(metric(&node, "aleph_unheeded_posts_total").await, 4);

    let explain =
        async |message: &Value| node.ok(&format!("/api/v1/messages/{}/explain", hash(message))).await;
    let story = explain(&of_stranger).await;
    assert_eq!(story["unheeded_because_of"], "publisher");
    assert!(story["words"].to_string().contains("none of the publishers"), "{story:#}");
    assert_eq!(explain(&elsewhere).await["unheeded_because_of"], "channel");
    assert_eq!(explain(&heeded).await.get("unheeded_because_of"), None);
    assert_eq!(explain(&ordinary).await.get("unheeded_because_of"), None);

    // Whoever publishes under many names fills no memory and no page.
    for number in 0..60u8 {
        let author = Author::new(100 + number);
        node.process(&[&post(&author, 7.0, "c", "balances-update", json!({ "n": number }))]).await;
    }
    let told = health(&node, |health| health["notes"].as_array().unwrap().len() > 30).await;
    assert_eq!(told["notes"].as_array().unwrap().len(), 32);
    let started = Instant::now();
    while metric(&node, "aleph_unheeded_posts_total").await < 64 {
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}
