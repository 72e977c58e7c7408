//! Many subscribers at once, and one that does not read.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::node::{Author, TestNode, hash};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What subscribers ask for, and whether a message of a channel by an author is meant.
const KINDS: usize = 5;

fn query(kind: usize, authors: &[Author; 2]) -> String {
    match kind {
        0 => String::new(),
        1 => "&channels=EVEN".to_owned(),
        2 => format!("&addresses={}", authors[0].address),
        3 => format!("&msgTypes=POST&channels=ODD&owners={},{}", authors[0].address, authors[1].address),
        _ => "&msgTypes=STORE".to_owned(),
    }
}

fn wants(kind: usize, channel: &str, author: usize) -> bool {
    match kind {
        0 => true,
        1 => channel == "EVEN",
        2 => author == 0,
        3 => channel == "ODD",
        _ => false,
    }
}

async fn hashes(socket: &mut Socket, expected: usize) -> HashSet<String> {
    let mut seen = HashSet::new();
    while seen.len() < expected {
        let next = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
        if let Message::Text(text) = next.unwrap().unwrap().unwrap() {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert!(seen.insert(hash(&message).to_owned()), "twice: {message}");
        }
    }
    // Nothing more comes: neither what was not asked for nor anything twice.
    let more = tokio::time::timeout(Duration::from_millis(300), socket.next()).await;
    assert!(!matches!(more, Ok(Some(Ok(Message::Text(_))))), "{more:?}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_one_of_many_gets_what_it_asked_for_once() {
    const SUBSCRIBERS: usize = 200;
    const MESSAGES: usize = 40;
    let node = TestNode::start().await;
    let authors = [Author::new(1), Author::new(2)];
    let mut sockets = Vec::new();
    for number in 0..SUBSCRIBERS {
        let kind = number % KINDS;
        let path = format!("/api/ws0/messages?history=0{}", query(kind, &authors));
        let url = format!("{}{path}", node.url.replace("http", "ws"));
        sockets.push((kind, connect_async(url).await.unwrap().0));
    }
    while node.node.metrics.ws_messages.get() < SUBSCRIBERS as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut published = Vec::new();
    for number in 0..MESSAGES {
        let (author, channel) = (number / 2 % 2, if number % 2 == 0 { "EVEN" } else { "ODD" });
        let note = authors[author].note(number as f64, channel, json!(number));
        node.process(&[&note]).await;
        published.push((channel, author, hash(&note).to_owned()));
    }
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|(kind, mut socket)| {
            let expected: HashSet<String> = published
                .iter()
                .filter(|(channel, author, _)| wants(kind, channel, *author))
                .map(|(_, _, hash)| hash.clone())
                .collect();
            tokio::spawn(async move { assert_eq!(hashes(&mut socket, expected.len()).await, expected) })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(node.node.metrics.ws_dropped.get(), 0);
    node.stop().await;
}

/// A client that opens a socket and never reads: its buffers fill, then the node lets it go and says why.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_dropped_and_others_notice_nothing() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let url = |path: &str| format!("{}{path}", node.url.replace("http", "ws"));
    let (mut silent, _) = connect_async(url("/api/ws0/messages?history=0")).await.unwrap();
    let (mut reading, _) =
        connect_async(url("/api/ws0/messages?history=0&contentFormat=none")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let reader = tokio::spawn(async move {
        let mut seen = 0u64;
        while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_secs(30), reading.next()).await
        {
            match message {
                Message::Text(_) => seen += 1,
                // The node stops at the end of the test.
                Message::Close(Some(frame)) if u16::from(frame.code) == 1001 => break,
                Message::Close(frame) => panic!("the reader was closed: {frame:?}"),
                _ => {}
            }
        }
        seen
    });
    let mut published = 0u64;
    // The system's buffers on the way take some megabytes.
    while node.node.metrics.ws_dropped.get() == 0 {
        assert!(published < 400, "the silent one was not dropped");
        let note = author.note(published as f64, "TEST", json!([published, "x".repeat(95_000)]));
        node.process(&[&note]).await;
        published += 1;
        if published > 120 {
            // It is full by now; the node gives it fifteen seconds.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    // Whatever the client reads later ends with the reason.
    let mut reason = None;
    while let Ok(Some(next)) = tokio::time::timeout(Duration::from_secs(5), silent.next()).await {
        match next {
            Ok(Message::Close(frame)) => reason = frame,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let frame = reason.expect("the one who was dropped is told why");
    assert_eq!(u16::from(frame.code), 1008);
    assert!(frame.reason.contains("too slow"));
    let count = node.ok("/api/v0/messages/hashes?pagination=1").await["pagination_total"].as_u64().unwrap();
    assert_eq!(count, published);
    node.stop().await;
    assert_eq!(reader.await.unwrap(), published);
}
