//! WebSockets of messages and of the status.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::node::{Author, TestNode, hash};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const TIME: f64 = 1_714_564_800.0;

async fn connect(node: &TestNode, path: &str) -> Socket {
    connect_async(format!("{}{path}", node.url.replace("http", "ws"))).await.unwrap().0
}

/// The next text frame.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let frame =
            tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = frame {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_then_live_messages() {
    let node = TestNode::start().await;
    let (alice, bob) = (Author::new(1), Author::new(2));
    let notes: Vec<Value> =
        (0..4).map(|number| alice.note(TIME + f64::from(number), "TEST", json!({ "n": number }))).collect();
    for note in &notes[..3] {
        node.process(&[note]).await;
    }
    let mut all = connect(&node, "/api/ws0/messages?history=2").await;
    let first = next(&mut all).await;
    assert_eq!(first["item_hash"], notes[1]["item_hash"]);
    assert!(first["size"].is_number());
    assert_eq!(next(&mut all).await["item_hash"], notes[2]["item_hash"]);

    let mut of_bob = connect(&node, &format!("/api/ws0/messages?history=0&addresses={}", bob.address)).await;
    let mut tagged =
        connect(&node, "/api/ws0/messages?history=0&msgTypes=POST&tags=x&contentFormat=none").await;
    let mut keyed = connect(&node, "/api/ws0/messages?contentKeys=k").await;
    // The sockets are open when the server's side is: give it a moment to subscribe.
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.process(&[&notes[3]]).await;
    let by_bob = bob.note(TIME, "TEST", json!({ "tags": ["x"] }));
    let key = bob.aggregate(TIME, "k", json!({ "a": 1 }));
    node.process(&[&by_bob, &key]).await;

    let live = next(&mut all).await;
    assert_eq!(live["item_hash"], notes[3]["item_hash"]);
    assert_eq!(live["content"]["content"], json!({ "n": 3 }));
    assert_eq!((live.get("size"), &live["confirmed"]), (None, &json!(false)));
    assert_eq!(next(&mut all).await["item_hash"], by_bob["item_hash"]);
    assert_eq!(next(&mut of_bob).await["item_hash"], by_bob["item_hash"]);
    assert_eq!(next(&mut of_bob).await["item_hash"], key["item_hash"]);
    let plain = next(&mut tagged).await;
    assert_eq!((plain["item_hash"].as_str().unwrap(), plain.get("content")), (hash(&by_bob), None));
    assert_eq!(next(&mut keyed).await["item_hash"], key["item_hash"]);

    // What clients say is ignored, and their end is answered.
    all.send(Message::text("hello")).await.unwrap();
    all.close(None).await.unwrap();
    while let Some(Ok(_)) = all.next().await {}
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_refuse_before_they_open() {
    let node = TestNode::start().await;
    let (status, _) = node.text("/api/ws0/messages").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for query in ["history=200", "history=x", "chains=XYZ", "hashes="] {
        let url = format!("{}/api/ws0/messages?{query}", node.url.replace("http", "ws"));
        match connect_async(url).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), 422, "{query}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_message_once() {
    const SUBSCRIBERS: usize = 40;
    const MESSAGES: usize = 60;
    let node = TestNode::start().await;
    let author = Author::new(1);
    let mut sockets = Vec::new();
    for _ in 0..SUBSCRIBERS {
        sockets.push(connect(&node, "/api/ws0/messages?history=0&channels=TEST").await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            tokio::spawn(async move {
                let mut seen = std::collections::HashSet::new();
                for _ in 0..MESSAGES {
                    assert!(seen.insert(next(&mut socket).await["item_hash"].to_string()));
                }
            })
        })
        .collect();
    for number in 0..MESSAGES {
        let channel = |name| author.note(TIME, name, json!([name, number]));
        node.process(&[&channel("OTHER"), &channel("TEST")]).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_says_goodbye() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "/api/ws0/messages?history=0").await;
    let mut status = connect(&node, "/api/ws0/status").await;
    assert_eq!(next(&mut status).await["pyaleph_status_sync_messages_total"], 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = tokio::spawn(node.stop());
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 1001);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop((socket, status));
    stopped.await.unwrap();
}
