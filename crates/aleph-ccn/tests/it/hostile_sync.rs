//! Peers that answer wrong while a node catches up: they cost little, others serve, the operator sees who.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aleph_p2p::{AnswerLimits, KeyType, Network, NetworkConfig, NodeKey};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_json::{Value, json};

use crate::node::{Author, TestNode};

type Answer = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
type BoxedAnswer = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A server that answers every question of a node that catches up with `answer`.
struct BadPeer {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl BadPeer {
    async fn start(answer: Answer) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let route = post(move |question: Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer(&question);
            async move { answer }
        });
        let router = Router::new().route("/api/v1/sync/exchange", route);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked }
    }
}

fn count(number: u64) -> Vec<u8> {
    [&[4u8][..], &number.to_be_bytes()].concat()
}

fn packed(kind: u8, text: &[u8]) -> Vec<u8> {
    [&[kind][..], &zstd::bulk::compress(text, 1).unwrap()].concat()
}

/// An answer to a comparison: of a set of new elements each time.
fn endless(question: &[u8]) -> Vec<u8> {
    let mut set = NegentropyStorageVector::new();
    for _ in 0..300 {
        let mut id = [0; 32];
        rand::fill(&mut id);
        set.insert(rand::random_range(0..u64::MAX / 2), Id::from_byte_array(id)).unwrap();
    }
    set.seal().unwrap();
    let frame = Negentropy::borrowed(&set, 256 * 1024).unwrap().reconcile(&question[1..]).unwrap();
    [&[1u8][..], &frame].concat()
}

/// Says that there is a range up to the end with another fingerprint, whatever is asked.
fn never_converges(_: &[u8]) -> Vec<u8> {
    [&[1u8, 0x61, 0, 0, 1][..], &[0xee; 16]].concat()
}

/// What a bad peer does, and what the node says of it.
fn bad_ways() -> Vec<(&'static str, Answer)> {
    let author = Author::new(9);
    let other = author.note(1.0, "TEST", json!("nobody asked"));
    let way = |name, answer: BoxedAnswer| (name, Answer::from(answer));
    let unasked = format!("m{other}\n");
    let mut unsigned = author.note(2.0, "TEST", json!("x"));
    unsigned["signature"] = json!("0x1234");
    vec![
        way(
            "frames that lead to nothing",
            Box::new(|question| match question[0] {
                1 => never_converges(question),
                4 => count(5),
                _ => vec![0],
            }),
        ),
        way(
            "neither hands them out",
            Box::new(|question| match question[0] {
                1 => endless(question),
                4 => count(5),
                _ => packed(3, b""),
            }),
        ),
        way(
            "not asked for",
            Box::new(move |question| match question[0] {
                1 => endless(question),
                4 => count(5),
                _ => packed(3, unasked.as_bytes()),
            }),
        ),
        way(
            "something else than asked for",
            Box::new(|question| match question[0] {
                1 => endless(question),
                4 => count(5),
                _ => packed(3, &vec![b'\n'; 40 << 20]),
            }),
        ),
        way("something else than asked for", Box::new(|_| b"<html>".to_vec())),
        way(
            "can't be read",
            Box::new(|question| match question[0] {
                4 => count(5),
                _ => vec![1, 0x10, 0xff, 0xff],
            }),
        ),
        way(
            "can't be believed",
            Box::new(|question| match question[0] {
                4 => count(1 << 40),
                _ => packed(5, br#"{"manifest":"{}","signature":"00","public_key":"00"}"#),
            }),
        ),
        way("refused: no", Box::new(|_| b"\0no".to_vec())),
    ]
}

async fn says_of(node: &TestNode, url: &str) -> Value {
    let sync = node.ok("/api/v1/node/sync").await;
    sync["peers"].as_array().unwrap().iter().find(|peer| peer["url"] == url).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_cost_little_and_others_serve() {
    let good = TestNode::start().await;
    let author = Author::new(1);
    for number in 0..20 {
        good.process(&[&author.note(f64::from(number), "TEST", json!(number))]).await;
    }
    let mut bad = Vec::new();
    for (words, answer) in bad_ways() {
        bad.push((words, BadPeer::start(answer).await));
    }
    let mut urls: Vec<String> = bad.iter().map(|(_, peer)| peer.url.clone()).collect();
    urls.push(good.url.clone());
    let node = TestNode::start_with(|config| config.network.http_peers = urls).await;
    for (words, peer) in &bad {
        let mut said = Value::Null;
        for _ in 0..300 {
            said = says_of(&node, &peer.url).await;
            if said["error"].is_string() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(said["error"].as_str().is_some_and(|error| error.contains(words)), "{words}: {said}");
    }
    for _ in 0..300 {
        if node.node.metrics.caught_up.get() == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.node.metrics.caught_up.get(), 20);
    // Each had one round of questions, and is left alone now.
    let asked = |bad: &[(&str, BadPeer)]| -> Vec<usize> {
        bad.iter().map(|(_, peer)| peer.asked.load(Ordering::Relaxed)).collect()
    };
    let before = asked(&bad);
    assert!(before.iter().all(|asked| (1..400).contains(asked)), "{before:?}");
    let good_digest = good.ok("/api/v1/node/digest").await;
    assert_eq!(node.ok("/api/v1/node/digest").await["digest"], good_digest["digest"]);
    node.stop().await;
    good.stop().await;
}

/// What a node does when it is asked for messages; it compares honestly.
#[derive(Clone)]
enum HandsOut {
    /// It never answers.
    Nothing,
    /// It says that it has lost them.
    Gone,
    /// It changes their signatures.
    Forged,
    /// It hands them out once it is told to; before, it refuses every question.
    All(Arc<AtomicBool>),
}

/// A node between the one that catches up and an honest one.
async fn between(honest: &TestNode, hands_out: HandsOut) -> String {
    let to = format!("{}/api/v1/sync/exchange", honest.url);
    let client = reqwest::Client::new();
    let route = post(move |question: Bytes| {
        let (to, client, hands_out) = (to.clone(), client.clone(), hands_out.clone());
        async move {
            let is_wanted = question[0] == 3;
            match &hands_out {
                HandsOut::All(ready) if !ready.load(Ordering::Relaxed) => return b"\0not yet".to_vec(),
                HandsOut::Nothing if is_wanted => std::future::pending().await,
                HandsOut::Gone if is_wanted => {
                    let lines: Vec<String> =
                        question[1..].chunks(32).map(|id| format!("w{}\n", hex::encode(id))).collect();
                    return packed(3, lines.concat().as_bytes());
                }
                _ => {}
            }
            let answer = client.post(to).body(question).send().await.unwrap().bytes().await.unwrap();
            if !is_wanted || !matches!(hands_out, HandsOut::Forged) {
                return answer.to_vec();
            }
            let text = zstd::stream::decode_all(&answer[1..]).unwrap();
            let forged =
                String::from_utf8(text).unwrap().replace("\"signature\":\"0x", "\"signature\":\"0xab");
            packed(3, forged.as_bytes())
        }
    });
    let router = Router::new().route("/api/v1/sync/exchange", route);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn until_caught_up(node: &TestNode, count: u64) {
    for _ in 0..600 {
        if node.node.metrics.caught_up.get() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("only {} of {count} came", node.node.metrics.caught_up.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_never_answer_hold_up_nobody() {
    let good = TestNode::start().await;
    let author = Author::new(2);
    for number in 0..20 {
        good.process(&[&author.note(f64::from(number), "TEST", json!(number))]).await;
    }
    let mut urls = Vec::new();
    // More than are asked at a time while they are of use.
    for _ in 0..6 {
        urls.push(between(&good, HandsOut::Nothing).await);
    }
    urls.push(good.url.clone());
    let node = TestNode::start_with(|config| config.network.http_peers = urls.clone()).await;
    until_caught_up(&node, 20).await;
    // They have all been asked, and none has answered yet, so nobody waited for them.
    let mut asked = 0;
    for url in &urls[..6] {
        let said = says_of(&node, url).await;
        assert!(said["error"].is_null(), "{said}");
        asked += usize::from(said["known"] == 20);
    }
    assert!(asked > 0, "some were asked first, or beside");
    good.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_lost_or_spoiled_comes_from_another() {
    let good = TestNode::start().await;
    let author = Author::new(3);
    for number in 0..20 {
        good.process(&[&author.note(f64::from(number), "TEST", json!(number))]).await;
    }
    let ready = Arc::new(AtomicBool::new(false));
    let bad = [between(&good, HandsOut::Gone).await, between(&good, HandsOut::Forged).await];
    let last = between(&good, HandsOut::All(Arc::clone(&ready))).await;
    let urls = vec![bad[0].clone(), bad[1].clone(), last];
    let node = TestNode::start_with(|config| config.network.http_peers = urls).await;
    for url in &bad {
        let mut said = Value::Null;
        for _ in 0..300 {
            said = says_of(&node, url).await;
            if said["compared"] == true {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(said["compared"], true, "{said}");
    }
    assert_eq!(node.node.metrics.caught_up.get(), 0);
    ready.store(true, Ordering::Relaxed);
    until_caught_up(&node, 20).await;
    good.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_here_and_was_forgotten_elsewhere_is_forgotten() {
    let good = TestNode::start().await;
    let author = Author::new(4);
    let file = good.node.blobs.put_bytes(b"a file that is gone".to_vec()).await.unwrap().hash;
    let store = author.store(1.0, file.as_str(), json!({}));
    good.process(&[&store, &author.forget(2.0, &[&store])]).await;
    let ready = Arc::new(AtomicBool::new(false));
    // Files can't be had through it.
    let url = between(&good, HandsOut::All(Arc::clone(&ready))).await;
    let node = TestNode::start_with(|config| config.network.http_peers = vec![url]).await;
    let parsed = aleph_types::ParsedMessage::from_value(&store).unwrap();
    let outcome = node.node.pipeline.submit(parsed, aleph_ccn::Origin::Gossip).await.unwrap();
    assert!(matches!(outcome, aleph_ccn::Outcome::Pending), "{outcome:?}");
    ready.store(true, Ordering::Relaxed);
    let path = format!("/api/v0/messages/{}/status", store["item_hash"].as_str().unwrap());
    let mut status = Value::Null;
    for _ in 0..300 {
        status = node.ok(&path).await["status"].clone();
        if status == "forgotten" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, "forgotten");
    let digest = good.ok("/api/v1/node/digest").await;
    assert_eq!(node.ok("/api/v1/node/digest").await["digest"], digest["digest"]);
    good.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_over_libp2p_that_answers_wrong_loses_its_standing() {
    let config =
        NetworkConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..Default::default() };
    let (network, mut events) =
        Network::start(config, NodeKey::generate(KeyType::Ed25519).unwrap()).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let limits = AnswerLimits {
        question: 1 << 20,
        streams_per_peer: 8,
        streams_of_strangers: 8,
        answers_to_strangers: 4,
        answers: 4,
    };
    let answering = network.clone();
    tokio::spawn(async move { answering.answer(limits, |_, _| async { Some(vec![99]) }).await });
    let peer = format!("{}/p2p/{}", network.listen_addrs()[0], network.peer_id());
    let node = TestNode::start_with(|config| {
        config.p2p.enabled = true;
        config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
        config.p2p.key_type = aleph_ccn::KeyKind::Ed25519;
        config.p2p.peers = vec![peer];
    })
    .await;
    let mut peers = Value::Null;
    for _ in 0..300 {
        peers = node.ok("/api/v1/node/peers").await;
        if peers["connected"][0]["faults"][0]["fault"] == "bad_answer" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(peers["connected"][0]["faults"][0]["fault"], "bad_answer", "{peers}");
    let name = format!("/p2p/{}", network.peer_id());
    let said = says_of(&node, &name).await;
    assert!(said["error"].as_str().unwrap().contains("something else"), "{said}");
    node.stop().await;
    network.shutdown().await;
}
