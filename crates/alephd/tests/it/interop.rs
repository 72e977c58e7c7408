//! Nodes of ours and a peer on the reference's version of libp2p, with its settings, its key format
//! and its way of reading payloads (`spec: p2p.md`, `interop/README.md`).

use std::path::Path;
use std::time::{Duration, Instant};

use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, Timestamp, limits};
use serde_json::{Value, json};

use crate::core_node::CoreNode;
use crate::harness::{PATIENCE, eventually};
use crate::old_peer::{ALIVE, MESSAGES, OldPeer};
use crate::traffic::Item;

/// The RSA key of a node as operators have it, made by OpenSSL for these tests, and its identity:
/// computed by hand from the public key (`spec: p2p.md §2.1`).
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/keys/node-secret.pkcs8.der");
const IDENTITY: &str = "QmPSWya2ggkfzAgDCUPRzGLoW4xVM5RuwuPWf7cpv4ixqM";

/// Seconds since 1970 of the first message.
const BEGINNING: f64 = 1_700_000_000.0;

/// A signed post with this text; `number` makes it another one.
pub(crate) fn post(number: u32, text: &str) -> Message {
    let key = EvmKey::from_bytes([7; 32]).expect("a key");
    let sender = Address::from(key.address().to_string());
    let time = BEGINNING + f64::from(number);
    let content = json!({
        "address": sender, "time": time, "type": "note", "content": { "text": text },
    })
    .to_string();
    let mut message = Message {
        item_hash: ItemHash::sha256(content.as_bytes()),
        message_type: MessageType::Post,
        chain: Chain::Eth,
        sender,
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(content.into()),
        time: Timestamp::from_secs_f64(time).expect("a time"),
        channel: Some("INTEROP".into()),
    };
    message.signature = Some(key.sign_message(&message));
    message
}

pub(crate) fn wire(message: &Message) -> String {
    serde_json::to_string(&message.to_wire()).expect("JSON")
}

/// A post whose wire text is as long as gossip takes, with two-byte letters: characters are counted
/// in the API, bytes on the wire.
fn largest_post(number: u32) -> Message {
    let shortest = wire(&post(number, "")).len();
    let room = limits::GOSSIP_PAYLOAD - shortest;
    let message = post(number, &format!("{}{}", "é".repeat(room / 2), "x".repeat(room % 2)));
    assert_eq!(wire(&message).len(), limits::GOSSIP_PAYLOAD);
    message
}

pub(crate) fn node(folder: &Path, peers: &[&str]) -> CoreNode {
    CoreNode::new(folder)
        .with("P2P__ENABLED", "true")
        .with("P2P__LISTEN", "/ip4/127.0.0.1/tcp/0")
        .with("P2P__PEERS", &json!(peers).to_string())
        .with("NETWORK__CHARGE", "false")
}

/// The node's address with its identity.
pub(crate) async fn address_of(node: &CoreNode) -> String {
    let answer = node.get("/api/v0/info/public.json").await;
    answer["node_multi_addresses"][0].as_str().expect("an address").to_owned()
}

async fn publish_on(node: &mut CoreNode, message: &Message) {
    let body = json!({ "message": message.to_wire(), "sync": true }).to_string();
    let item = Item { hash: message.item_hash.clone(), body, file: None };
    let (status, text) = node.publish_once(&item).await;
    assert!(status.is_success(), "{status}: {text}");
}

async fn until_processed(node: &CoreNode, message: &Message) {
    let path = format!("/api/v0/messages/{}/status", message.item_hash);
    let started = Instant::now();
    loop {
        let (status, text) = node.ask_for(&path).await;
        if status.is_success() && text.contains("processed") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{status}: {text}; the node's log:\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the peer has a message, read as the reference reads it, with its content unharmed.
async fn until_read(peer: &mut OldPeer, message: &Message) -> String {
    let (document, author) =
        peer.document(MESSAGES, |document| document["item_hash"] == message.item_hash.as_str()).await;
    let content = document["item_content"].as_str().expect("inline content");
    assert_eq!(ItemHash::sha256(content.as_bytes()), message.item_hash, "the content came through");
    let sent: Value = serde_json::from_str(&wire(message)).expect("JSON");
    assert_eq!(document, sent, "and so did everything else");
    author
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_travel_both_ways_to_the_edge_of_a_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = node(folder.path(), &[]);
    node.start().await;
    let address = address_of(&node).await;
    let mut peer = OldPeer::start(Some(KEY.as_ref())).await;
    assert_eq!(peer.peer_id, IDENTITY);
    peer.meet(&address).await;

    // From ours to it: what it decodes by its rule is what was signed.
    let texts = ["plain", "100% of %41 and %2541, %zz", "é+%C3%A9"];
    let mut sent: Vec<Message> = (0..).zip(texts).map(|(number, text)| post(number, text)).collect();
    sent.push(largest_post(10));
    for message in &sent {
        publish_on(&mut node, message).await;
        let author = until_read(&mut peer, message).await;
        assert!(address.ends_with(&author), "{author} wrote it, not {address}");
    }

    // From it to ours: raw, as its nodes write; escaped, as one may; and the largest.
    let raw = post(20, "raw %41 and 100%");
    peer.publish(MESSAGES, &wire(&raw)).await;
    let escaped = post(21, "escaped %41 and 100%");
    peer.publish(MESSAGES, &wire(&escaped).replace('%', "%25")).await;
    let largest = largest_post(22);
    peer.publish(MESSAGES, &wire(&largest)).await;
    for message in [&raw, &escaped, &largest] {
        until_processed(&node, message).await;
    }

    // The largest right after each other, among them what is no message.
    for number in 60..64 {
        peer.publish(MESSAGES, &wire(&largest_post(number))).await;
        peer.publish(MESSAGES, &format!("{number}").repeat(limits::GOSSIP_PAYLOAD / 2)).await;
    }
    until_processed(&node, &largest_post(60)).await;
    until_processed(&node, &largest_post(63)).await;

    // More than any window of the stream, in small pieces.
    for number in 100..800 {
        peer.publish(MESSAGES, &wire(&post(number, &"y".repeat(1_000)))).await;
    }
    let after = post(23, "after all that");
    peer.publish(MESSAGES, &wire(&after)).await;
    until_processed(&node, &after).await;
    let back = post(24, "and back");
    publish_on(&mut node, &back).await;
    until_read(&mut peer, &back).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_key_file_gives_both_the_same_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::copy(KEY, data.join("node-secret.pkcs8.der")).expect("it is copied");
    let mut node = node(folder.path(), &[]);
    node.start().await;
    assert!(address_of(&node).await.ends_with(&format!("/p2p/{IDENTITY}")));

    // With an RSA key of ours, too, messages are signed as it wants them.
    let mut peer = OldPeer::start(None).await;
    assert!(peer.peer_id.starts_with("12D3KooW"), "{}", peer.peer_id);
    peer.meet(&address_of(&node).await).await;
    let message = largest_post(30);
    publish_on(&mut node, &message).await;
    assert_eq!(until_read(&mut peer, &message).await, IDENTITY);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_understood_both_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut peer = OldPeer::start(None).await;
    let mut node = node(folder.path(), &[&peer.multiaddress()]);
    node.start().await;
    let id = address_of(&node).await.rsplit('/').next().expect("an identity").to_owned();

    let mut kinds = vec!["P2P", "HTTP"];
    while !kinds.is_empty() {
        let (said, author) = peer.document(ALIVE, |document| document["peer_type"].is_string()).await;
        assert_eq!(author, id);
        let address = said["address"].as_str().expect("an address");
        match said["peer_type"].as_str() {
            Some("P2P") => assert!(address.ends_with(&format!("/p2p/{id}")), "{said}"),
            Some("HTTP") => assert!(address.starts_with("http://127.0.0.1:"), "{said}"),
            _ => panic!("{said}"),
        }
        assert!(said["interests"].is_null() && said["version"].is_string(), "{said}");
        kinds.retain(|kind| said["peer_type"] != *kind);
    }

    // Byte for byte what a reference node says; the second one percent-encoded.
    let p2p = peer.multiaddress();
    let p2p = format!(r#"{{"address":"{p2p}","interests":null,"peer_type":"P2P","version":"v0.9.0"}}"#);
    peer.publish(ALIVE, &p2p).await;
    let http = r#"{"address":"http://127.0.0.1:9","interests":null,"peer_type":"HTTP","version":"v0.9.0"}"#;
    peer.publish(ALIVE, &http.replace('"', "%22")).await;
    eventually("the announced API is known", async || {
        let sync = node.get("/api/v1/node/sync").await;
        sync["peers"].as_array().expect("a list").iter().any(|peer| peer["url"] == "http://127.0.0.1:9")
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_carries_messages_between_two_nodes_that_do_not_know_each_other() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut between = OldPeer::start(None).await;
    let mut nodes = Vec::new();
    for folder in &folders {
        // No announcement, so that they can't catch up with each other over HTTP.
        let mut node =
            node(folder.path(), &[&between.multiaddress()]).with("P2P__ALIVE_TOPIC", "ALIVE-OTHER");
        node.start().await;
        between
            .until("it listens", |event| event["event"] == "subscribed" && event["topic"] == MESSAGES)
            .await;
        nodes.push(node);
    }
    for (from, number) in [(0, 40), (1, 41)] {
        let message = post(number, "over %41 hops");
        publish_on(&mut nodes[from], &message).await;
        until_read(&mut between, &message).await;
        until_processed(&nodes[1 - from], &message).await;
    }
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn re_dials_and_a_killed_node_are_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut peer = OldPeer::start(None).await;
    let mut node = node(folder.path(), &[&peer.multiaddress()]);
    node.start().await;
    peer.until("it listens", |event| event["event"] == "subscribed" && event["topic"] == MESSAGES).await;

    // It dials connected peers once a minute.
    let address = address_of(&node).await;
    for _ in 0..4 {
        peer.dial(&address).await;
        peer.until("it connects", |event| event["event"] == "connected").await;
    }
    let many = post(50, "over one of many connections");
    peer.publish(MESSAGES, &wire(&many)).await;
    until_processed(&node, &many).await;

    node.kill9().await;
    node.start().await;
    let heard = post(51, "after the node came back");
    eventually("the node hears it again", async || {
        // The same bytes are published once; what was said to nobody is lost.
        peer.until("the node is back", |event| event["event"] == "subscribed").await;
        true
    })
    .await;
    peer.publish(MESSAGES, &wire(&heard)).await;
    until_processed(&node, &heard).await;
    let told = post(52, "from the node that came back");
    publish_on(&mut node, &told).await;
    until_read(&mut peer, &told).await;
    node.stop().await;
}
