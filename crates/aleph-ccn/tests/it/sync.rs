//! What a node says about what it lacks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{Author, TestNode};

/// The answer, once it is `wanted`.
async fn until(node: &TestNode, wanted: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..100 {
        last = node.ok("/api/v1/node/sync").await;
        if last["status"] == wanted {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("not {wanted}: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_in_words_what_it_lacks() {
    let first = TestNode::start().await;
    let author = Author::new(1);
    let alone = first.ok("/api/v1/node/sync").await;
    assert_eq!(alone["status"], "alone");
    assert!(alone["words"][0].as_str().unwrap().contains("nobody to catch up with"), "{alone}");
    for number in 0..5 {
        first.process(&[&author.note(f64::from(number), "TEST", json!(number))]).await;
    }
    let url = first.url.clone();
    let second = TestNode::start_with(|config| config.network.http_peers = vec![url]).await;
    let mut synced = until(&second, "in sync").await;
    // Counts are kept for a moment, so they may be of before.
    while synced["messages"] != 5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        synced = until(&second, "in sync").await;
    }
    assert_eq!((synced["messages"].as_u64(), synced["caught_up"].as_u64()), (Some(5), Some(5)), "{synced}");
    assert_eq!(synced["log_end"], 5);
    let peer = &synced["peers"][0];
    assert_eq!((peer["compared"].as_bool(), peer["error"].is_null()), (Some(true), true), "{peer}");
    assert!(peer["words"].as_str().unwrap().contains("everything"), "{peer}");

    // The other node goes away: the next round tells.
    first.stop().await;
    let lost = until(&second, "unreachable").await;
    assert!(lost["peers"][0]["error"].is_string(), "{lost}");
    assert!(lost["problems"][0]["next"].as_str().unwrap().contains("way out"), "{lost}");
    let health = second.ok("/api/v1/node/health").await;
    let told = |problem: &Value| problem["next"].as_str().unwrap().contains("/api/v1/node/sync");
    assert!(health["problems"].as_array().unwrap().iter().any(told), "{health}");
    second.stop().await;
}

/// What `author` publishes on a node: notes, an amend, elements of an aggregate, and a note that it forgets.
async fn publish_some(node: &TestNode, author: &Author, from: u32, count: u32) {
    for number in from..from + count {
        node.process(&[&author.note(f64::from(number), "TEST", json!(number))]).await;
    }
    let gone = author.note(f64::from(from) + 0.5, "TEST", json!("to be forgotten"));
    node.process(&[&gone]).await;
    node.process(&[&author.forget(f64::from(from) + 0.75, &[&gone])]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_apart_find_exactly_what_differs() {
    let (first, second) = (TestNode::start().await, TestNode::start().await);
    let authors = [Author::new(1), Author::new(2)];
    publish_some(&first, &authors[0], 0, 60).await;
    publish_some(&second, &authors[1], 1000, 60).await;
    let common = Author::new(3).note(500.0, "TEST", json!("both"));
    first.process(&[&common]).await;
    second.process(&[&common]).await;

    // One is told of the other, then the other of the one.
    let (url, folder) = (first.url.clone(), second.stop_and_keep().await);
    let second = TestNode::start_in(folder, |config| config.network.http_peers = vec![url]).await;
    let synced = until(&second, "in sync").await;
    let peer = &synced["peers"][0];
    assert_eq!((peer["wanted"].as_u64(), peer["error"].is_null()), (Some(62), true), "{peer}");

    let url = second.url.clone();
    let folder = first.stop_and_keep().await;
    let first = TestNode::start_in(folder, |config| config.network.http_peers = vec![url]).await;
    until(&first, "in sync").await;
    let (ours, theirs) = (first.ok("/api/v1/node/digest").await, second.ok("/api/v1/node/digest").await);
    for node in [&first, &second] {
        let forgets = node.ok("/api/v0/messages.json?msgTypes=FORGET").await;
        assert_eq!(forgets["pagination_total"], 2, "{forgets}");
    }
    assert_eq!(ours["digest"], theirs["digest"], "{ours} {theirs}");
    first.stop().await;
    second.stop().await;
}
