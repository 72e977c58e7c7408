use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aleph_sdk::{Error, MessageFilter, WatchEvent};
use aleph_types::{ItemHash, MessageType};
use axum::Router;
use axum::extract::RawQuery;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use serde_json::json;

use super::{client, serve};

fn message(number: u8) -> String {
    json!({"item_hash": ItemHash::sha256(&[number]), "type": "POST", "chain": "ETH", "sender": "0xA", "time": 1.0})
        .to_string()
}

async fn send(mut socket: WebSocket, numbers: &[u8]) {
    for number in numbers {
        socket.send(Message::text(message(*number))).await.unwrap();
    }
    // Dropped without a closing handshake, as by a node that is killed.
}

#[tokio::test]
async fn a_break_loses_and_repeats_nothing() {
    let connections = Arc::new(AtomicU32::new(0));
    let queries = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = queries.clone();
    let handler = any(move |RawQuery(query): RawQuery, upgrade: WebSocketUpgrade| async move {
        seen.lock().push(query.unwrap_or_default());
        match connections.fetch_add(1, Ordering::SeqCst) {
            0 => upgrade.on_upgrade(|socket| send(socket, &[1, 2])),
            // The first attempt to come back fails as well.
            1 => StatusCode::BAD_GATEWAY.into_response(),
            _ => upgrade.on_upgrade(|socket| async move {
                send(socket, &[1, 2, 3]).await;
                std::future::pending::<()>().await;
            }),
        }
    });
    let url = serve(Router::new().route("/api/ws0/messages", handler)).await;
    let filter = MessageFilter { types: vec![MessageType::Post], ..MessageFilter::default() };
    let mut watch = client(&url).watch(filter, 5).await.unwrap();
    let mut seen = Vec::new();
    let mut lost = 0;
    let mut restored = 0;
    while seen.len() < 3 {
        match watch.next().await.unwrap() {
            WatchEvent::Message(message) => seen.push(message.item_hash),
            WatchEvent::Lost { .. } => lost += 1,
            WatchEvent::Restored => restored += 1,
        }
    }
    let expected: Vec<ItemHash> = [1u8, 2, 3].iter().map(|number| ItemHash::sha256(&[*number])).collect();
    assert_eq!(seen, expected);
    assert_eq!((lost, restored), (1, 1));
    let queries = queries.lock();
    assert_eq!(queries[0], "msgTypes=POST&history=5");
    assert!(queries[2].starts_with("msgTypes=POST&startDate=") && queries[2].ends_with("&history=199"));
}

#[tokio::test]
async fn a_refused_watch_tells_why() {
    let handler = any(|| async { (StatusCode::UNPROCESSABLE_ENTITY, "[bad filter]") });
    let url = serve(Router::new().route("/api/ws0/messages", handler)).await;
    match client(&url).watch(MessageFilter::default(), 0).await.unwrap_err() {
        Error::Status { status: 422, .. } => {}
        other => panic!("{other}"),
    }
    assert!(client("http://127.0.0.1:1").watch(MessageFilter::default(), 0).await.is_err());
}
