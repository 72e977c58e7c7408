//! An empty node gets everything from another: over libp2p, by a snapshot, after a kill.

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{Author, TestNode};

/// Messages that make a node begin with a snapshot.
const MANY: u32 = 2100;

/// Has a node gossip, with `peers`.
fn gossips(config: &mut aleph_ccn::Config, peers: Vec<String>) {
    config.p2p.enabled = true;
    config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
    config.p2p.key_type = aleph_ccn::KeyKind::Ed25519;
    config.p2p.peers = peers;
}

async fn gossiping(peers: Vec<String>) -> TestNode {
    TestNode::start_with(|config| gossips(config, peers)).await
}

async fn address(node: &TestNode) -> String {
    let info = node.ok("/api/v0/info/public.json").await;
    info["node_multi_addresses"][0].as_str().unwrap().to_owned()
}

/// Publishes many notes at once, and one that is forgotten.
async fn fill(node: &TestNode, author: &Author, count: u32) {
    let submitted = (0..count).map(|number| {
        let note = author.note(f64::from(number), "TEST", json!(number));
        let parsed = aleph_types::ParsedMessage::from_value(&note).unwrap();
        node.node.pipeline.submit(parsed, aleph_ccn::Origin::Genesis)
    });
    for outcome in futures_util::future::join_all(submitted).await {
        assert!(matches!(outcome.unwrap(), aleph_ccn::Outcome::Processed));
    }
    let gone = author.note(0.5, "TEST", json!("to be forgotten"));
    node.process(&[&gone, &author.forget(0.75, &[&gone])]).await;
}

async fn digest(node: &TestNode) -> String {
    node.ok("/api/v1/node/digest").await["digest"].as_str().unwrap().to_owned()
}

/// Waits until `node` has the state of `other`; returns what it says of how it came to it.
async fn until_same(node: &TestNode, other: &TestNode) -> Value {
    let wanted = digest(other).await;
    let mut last = Value::Null;
    for _ in 0..600 {
        last = node.ok("/api/v1/node/sync").await;
        if digest(node).await == wanted && last["status"] == "in sync" {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never the same: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_gets_everything_over_libp2p_from_a_snapshot() {
    let first = gossiping(Vec::new()).await;
    let author = Author::new(1);
    fill(&first, &author, MANY).await;
    let second = gossiping(vec![address(&first).await]).await;
    let sync = until_same(&second, &first).await;
    let peer = &sync["peers"][0];
    assert_eq!((peer["via"].as_str(), peer["error"].is_null()), (Some("libp2p"), true), "{peer}");
    assert!(sync["blocked"].is_null(), "{sync}");
    let forgets = second.ok("/api/v0/messages.json?msgTypes=FORGET").await;
    assert_eq!(forgets["pagination_total"], 1, "{forgets}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_had_a_part_fetches_the_other_part() {
    let first = gossiping(Vec::new()).await;
    let author = Author::new(1);
    fill(&first, &author, 2 * MANY).await;
    // The older half, and of the later one what is in some chunks' middle, too little to be most of one.
    let second = TestNode::start().await;
    fill(&second, &author, MANY).await;
    let later = (3500..3600).map(|number| author.note(f64::from(number), "TEST", json!(number)));
    let later: Vec<Value> = later.collect();
    second.process(&later.iter().collect::<Vec<_>>()).await;
    let folder = second.stop_and_keep().await;
    let peer = address(&first).await;
    let second = TestNode::start_in(folder, |config| gossips(config, vec![peer])).await;
    let sync = until_same(&second, &first).await;
    assert_eq!(second.node.metrics.caught_up.get(), u64::from(MANY) - 100, "{sync}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_node_had_is_not_fetched_again() {
    let first = gossiping(Vec::new()).await;
    let author = Author::new(1);
    fill(&first, &author, MANY).await;
    let peer = address(&first).await;
    let second = gossiping(vec![peer.clone()]).await;
    until_same(&second, &first).await;
    let folder = second.stop_and_keep().await;
    first.process(&[&author.note(5000.0, "TEST", json!("later"))]).await;
    let second = TestNode::start_in(folder, |config| gossips(config, vec![peer])).await;
    let sync = until_same(&second, &first).await;
    // Gossip may be faster with the one.
    assert!(second.node.metrics.caught_up.get() <= 1, "{sync}");
    assert!(sync["peers"][0]["fetched"].as_u64().unwrap() <= 1, "{sync}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_gossip_the_same_questions_go_over_http() {
    let first = TestNode::start().await;
    let author = Author::new(1);
    fill(&first, &author, MANY).await;
    let url = first.url.clone();
    // That node has no key to sign a snapshot with: the comparison alone does it.
    let second = TestNode::start_with(|config| config.network.http_peers = vec![url]).await;
    let sync = until_same(&second, &first).await;
    let peer = &sync["peers"][0];
    assert_eq!((peer["via"].as_str(), peer["foreign"].as_bool()), (Some("http"), Some(false)), "{peer}");
    assert_eq!(peer["known"], u64::from(MANY) + 2, "{peer}");
    second.stop().await;
    first.stop().await;
}
