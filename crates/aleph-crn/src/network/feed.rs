//! The feed of new messages: new versions of files, and deletions (`spec: crn.md §3`).
//!
//! The feed only says where to look. A program is stopped for good when a core node, asked about it,
//! says that its message was forgotten or removed; silence and errors stop nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aleph_types::content::Content;
use aleph_types::{Address, ItemHash, MessageType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::core_nodes::cause_of;
use super::messages::Standing;
use crate::execution::handle::Command;
use crate::execution::machine::Event;
use crate::node::Node;
use crate::time::now_seconds;

/// A message of the feed; contents are at most 200,000 characters, escaped twice at worst.
const FRAME_BYTES: usize = 4 << 20;
/// Pings, as the reference sends them.
const PING: Duration = Duration::from_secs(30);
/// A connection without any frame for this long is dead: our pings are answered.
const SILENCE: Duration = Duration::from_secs(75);
/// First and longest pause between connections.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));
/// All known programs are asked about this often, and after each new connection: the feed may have gaps.
const REVIEW: Duration = Duration::from_secs(600);
/// But not more often than this, however often the connection breaks.
const REVIEW_PAUSE: Duration = Duration::from_secs(60);

/// Follows the feed until the node stops.
pub(crate) async fn follow(node: Arc<Node>) {
    let mut pause = RECONNECT.0;
    let mut review_at = Instant::now();
    loop {
        let connected = Instant::now();
        tokio::select! {
            end = watch(&node, &mut review_at) => tracing::debug!(end, "feed ended"),
            () = node.shutdown.cancelled() => return,
        }
        if connected.elapsed() > SILENCE {
            pause = RECONNECT.0;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = node.shutdown.cancelled() => return,
        }
        pause = (pause * 2).min(RECONNECT.1);
    }
}

/// One connection, to the first core node that takes it; returns why it ended.
async fn watch(node: &Arc<Node>, review_at: &mut Instant) -> String {
    let mut problem = "no core node".to_owned();
    for index in node.core_nodes.order() {
        match connect(node, index).await {
            Ok(socket) => return receive(node, socket, review_at).await,
            Err(cause) => problem = cause,
        }
    }
    problem
}

type Socket = WebSocketStream<reqwest::Upgraded>;

async fn connect(node: &Arc<Node>, index: usize) -> Result<Socket, String> {
    let path = format!("api/ws0/messages?history=0&startDate={}", now_seconds());
    let url = node.core_nodes.url(index, &path).ok_or("no such URL")?;
    let mut nonce = [0_u8; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nonce)
        .map_err(|_| "no randomness")?;
    // The HTTP client is the one that knows proxies and certificates.
    let request = node
        .core_nodes
        .client()
        .get(url)
        .version(reqwest::Version::HTTP_11)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, STANDARD.encode(nonce));
    let response = tokio::time::timeout(SILENCE, request.send())
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(cause_of)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("status {}", response.status()));
    }
    let stream = response.upgrade().await.map_err(cause_of)?;
    let limits =
        WebSocketConfig::default().max_message_size(Some(FRAME_BYTES)).max_frame_size(Some(FRAME_BYTES));
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await)
}

async fn receive(node: &Arc<Node>, mut socket: Socket, review_at: &mut Instant) -> String {
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The last one set it a whole period ahead; a new connection brings it forward.
    let soonest = (*review_at).checked_sub(REVIEW - REVIEW_PAUSE).unwrap_or(*review_at);
    *review_at = soonest.max(Instant::now());
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            frame = socket.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Frame::Text(text))) => take(node, text.as_bytes()),
                    Some(Ok(Frame::Close(_))) | None => return "closed".to_owned(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.to_string(),
                }
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE {
                    return "silent".to_owned();
                }
                if let Err(error) = socket.send(Frame::Ping(Default::default())).await {
                    return error.to_string();
                }
            }
            () = tokio::time::sleep_until(*review_at) => {
                *review_at = Instant::now() + REVIEW;
                let node = Arc::clone(node);
                node.clone().tasks.spawn(async move { review(&node).await });
            }
        }
    }
}

/// What a message of the feed means for this node.
#[derive(Debug, PartialEq)]
enum News {
    /// A new version of the file that `reference` names, by `owner`.
    Version { reference: ItemHash, owner: Address },
    /// These may be gone.
    Forgotten(Vec<ItemHash>),
}

fn news_of(frame: &[u8]) -> Option<News> {
    let value: Value = aleph_types::json::parse(frame).ok()?;
    // Frames without an item type are confirmations.
    value.get("item_type")?;
    let kind: MessageType = value.get("type")?.as_str()?.parse().ok()?;
    if !matches!(kind, MessageType::Store | MessageType::Forget) {
        return None;
    }
    let content = match value.get("item_content").and_then(Value::as_str) {
        Some(text) => aleph_types::json::parse(text.as_bytes()).ok()?,
        None => value.get("content")?.clone(),
    };
    match Content::parse_value(kind, content).ok()? {
        Content::Store(store) => Some(News::Version { reference: store.updated()?, owner: store.address }),
        Content::Forget(forget) => Some(News::Forgotten(forget.hashes)),
        _ => None,
    }
}

fn take(node: &Arc<Node>, frame: &[u8]) {
    match news_of(frame) {
        Some(News::Version { reference, owner }) => {
            node.messages.forget_latest(&reference);
            for execution in node.executions.all() {
                let concerned = execution.view().files.iter().any(|file| {
                    file.stored.use_latest
                        && file.stored.reference == reference
                        && file.stored.owner.is_same_as(&owner)
                });
                if concerned {
                    tracing::info!(hash = %execution.hash, %reference, "a file of the program has a new version");
                    execution.tell(Command::Event(Event::Updated));
                }
            }
        }
        Some(News::Forgotten(hashes)) => {
            let known: BTreeSet<ItemHash> =
                hashes.into_iter().filter(|hash| node.executions.get(hash).is_some()).collect();
            if !known.is_empty() {
                let node = Arc::clone(node);
                node.clone().tasks.spawn(async move {
                    for hash in known {
                        check(&node, &hash).await;
                    }
                });
            }
        }
        None => {}
    }
}

/// Asks about every known program.
async fn review(node: &Arc<Node>) {
    for execution in node.executions.all() {
        if node.shutdown.is_cancelled() {
            return;
        }
        check(node, &execution.hash).await;
    }
}

/// Removes the program when a core node says that its message is no more.
async fn check(node: &Arc<Node>, hash: &ItemHash) {
    // A core node tells of a FORGET as it applies it; a moment later it has.
    for wait in [0, 500, 2000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match node.messages.standing(hash).await {
            Ok(Standing::Gone(status)) => {
                tracing::info!(%hash, status, "the program's message is no more; removing the program");
                node.remove_program(hash).await;
                return;
            }
            Ok(Standing::Processed(..)) if wait == 0 => {}
            Ok(_) => return,
            Err(error) => tracing::debug!(%hash, %error, "the message's status can't be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news() {
        let reference = "a".repeat(64);
        let store = serde_json::json!({
            "type": "STORE", "item_type": "inline", "item_hash": "b".repeat(64),
            "content": {"address": "0xA", "time": 1.0, "item_type": "storage", "item_hash": "c".repeat(64), "ref": reference},
        });
        let owner = Address::from("0xA");
        let expected = News::Version { reference: reference.parse().unwrap(), owner };
        assert_eq!(news_of(store.to_string().as_bytes()), Some(expected));
        let forget = serde_json::json!({
            "type": "FORGET", "item_type": "inline",
            "content": {"address": "0xA", "time": 1.0, "hashes": [reference]},
        });
        let expected = News::Forgotten(vec![reference.parse().unwrap()]);
        assert_eq!(news_of(forget.to_string().as_bytes()), Some(expected));
        for other in
            ["", "{}", r#"{"type":"POST","item_type":"inline","content":{}}"#, r#"{"item_hash":"x"}"#]
        {
            assert_eq!(news_of(other.as_bytes()), None, "{other}");
        }
    }
}
