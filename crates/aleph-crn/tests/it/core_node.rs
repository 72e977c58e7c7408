//! A core node that serves what a test puts into it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aleph_crypto::EvmKey;
use aleph_types::{ItemHash, ParsedMessage};
use axum::body::Body;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// What it has; cheap to clone.
#[derive(Clone)]
pub(crate) struct CoreNode {
    pub(crate) url: String,
    pub(crate) key: EvmKey,
    inner: Arc<Inner>,
}

struct Inner {
    messages: Mutex<HashMap<String, (String, Value)>>,
    files: Mutex<HashMap<String, Vec<u8>>>,
    /// Files whose download begins and never goes on.
    stalled: Mutex<Vec<String>>,
    aggregates: Mutex<HashMap<(String, String), Value>>,
    /// Downloads of files that were answered with bytes.
    pub(crate) downloads: AtomicUsize,
    feed: broadcast::Sender<String>,
}

impl CoreNode {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Inner {
            messages: Mutex::default(),
            files: Mutex::default(),
            stalled: Mutex::default(),
            aggregates: Mutex::default(),
            downloads: AtomicUsize::new(0),
            feed: broadcast::channel(64).0,
        });
        let router = Router::new()
            .route("/api/v0/messages.json", get(list))
            .route("/api/v0/messages/{hash}", get(message))
            .route("/api/v0/storage/raw/{hash}", get(raw))
            .route("/api/v0/aggregates/{file}", get(aggregate))
            .route("/api/v0/info/public.json", get(|| async { Json(json!({"node_multi_addresses": []})) }))
            .route("/api/ws0/messages", get(feed))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let key = EvmKey::from_bytes([7; 32]).unwrap();
        Self { url: format!("http://{address}"), key, inner }
    }

    /// Publishes a signed message with `content` (owner and time are added) as processed.
    pub(crate) fn publish(&self, kind: &str, mut content: Value) -> ItemHash {
        let address = self.key.address().to_string();
        let time = 1_700_000_000.0 + self.inner.messages.lock().len() as f64;
        content["address"] = json!(address);
        content["time"] = json!(time);
        let text = content.to_string();
        let hash = ItemHash::sha256(text.as_bytes());
        let mut document = json!({
            "chain": "ETH", "sender": address, "type": kind, "time": time, "channel": "TEST",
            "item_type": "inline", "item_content": text, "item_hash": hash, "signature": null,
        });
        let parsed = ParsedMessage::from_value(&document).unwrap();
        document["signature"] = json!(self.key.sign_message(&parsed.message).as_str());
        document["content"] = content;
        document["confirmed"] = json!(false);
        document["confirmations"] = json!([]);
        self.inner.messages.lock().insert(hash.to_string(), ("processed".to_owned(), document.clone()));
        let _ = self.inner.feed.send(document.to_string());
        hash
    }

    /// Stores a file and publishes it; returns the hash of the STORE message.
    pub(crate) fn store(&self, bytes: impl Into<Vec<u8>>) -> ItemHash {
        let bytes = bytes.into();
        let file = ItemHash::sha256(&bytes);
        self.inner.files.lock().insert(file.to_string(), bytes);
        self.publish("STORE", json!({"item_type": "storage", "item_hash": file}))
    }

    /// Publishes a new version of what `original` stored.
    pub(crate) fn store_version(&self, original: &ItemHash, bytes: impl Into<Vec<u8>>) -> ItemHash {
        let bytes = bytes.into();
        let file = ItemHash::sha256(&bytes);
        self.inner.files.lock().insert(file.to_string(), bytes);
        self.publish("STORE", json!({"item_type": "storage", "item_hash": file, "ref": original}))
    }

    /// A small ASGI program of one `main.py`-like zip, whose files are made of `code` and `runtime`.
    pub(crate) fn program(&self, code: &ItemHash, runtime: &ItemHash, changes: Value) -> ItemHash {
        let mut content = json!({
            "type": "vm-function", "allow_amend": false,
            "code": {"encoding": "plain", "entrypoint": "main:app", "ref": code},
            "runtime": {"ref": runtime, "comment": "test", "use_latest": true},
            "on": {"http": true},
            "environment": {"internet": false, "aleph_api": true},
            "resources": {"vcpus": 1, "memory": 192, "seconds": 3},
        });
        for (key, value) in changes.as_object().unwrap() {
            content[key] = value.clone();
        }
        self.publish("PROGRAM", content)
    }

    /// Replaces the bytes that are served under a file's hash.
    pub(crate) fn corrupt(&self, file: &ItemHash, bytes: &[u8]) {
        self.inner.files.lock().insert(file.to_string(), bytes.to_vec());
    }

    /// Lets downloads of a file begin and never go on.
    pub(crate) fn stall(&self, file: &ItemHash) {
        self.inner.stalled.lock().push(file.to_string());
    }

    pub(crate) fn remove_file(&self, file: &ItemHash) {
        self.inner.files.lock().remove(file.as_str());
    }

    /// Forgets a message as a core node does, and says so on the feed.
    pub(crate) fn forget(&self, hash: &ItemHash) {
        if let Some(entry) = self.inner.messages.lock().get_mut(hash.as_str()) {
            entry.0 = "forgotten".to_owned();
        }
        self.publish("FORGET", json!({"hashes": [hash]}));
    }

    pub(crate) fn set_status(&self, hash: &ItemHash, status: &str) {
        if let Some(entry) = self.inner.messages.lock().get_mut(hash.as_str()) {
            entry.0 = status.to_owned();
        }
    }

    pub(crate) fn set_aggregate(&self, owner: &str, key: &str, content: Value) {
        self.inner.aggregates.lock().insert((owner.to_owned(), key.to_owned()), content);
    }

    /// Downloads that were answered with bytes so far.
    pub(crate) fn downloads(&self) -> usize {
        self.inner.downloads.load(Ordering::SeqCst)
    }

    /// Listeners of the feed.
    pub(crate) fn listeners(&self) -> usize {
        self.inner.feed.receiver_count()
    }
}

async fn message(State(node): State<Arc<Inner>>, Path(hash): Path<String>) -> Response {
    match node.messages.lock().get(&hash) {
        None => (StatusCode::NOT_FOUND, "404: Not Found").into_response(),
        Some((status, document)) if status == "processed" => {
            Json(json!({"status": status, "item_hash": hash, "message": document})).into_response()
        }
        Some((status, _)) => {
            Json(json!({"status": status, "item_hash": hash, "message": {}})).into_response()
        }
    }
}

async fn list(State(node): State<Arc<Inner>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let messages = node.messages.lock();
    let matches = |key: &str, value: Option<&str>| query.get(key).is_none_or(|wanted| value == Some(wanted));
    let mut found: Vec<&Value> = messages
        .values()
        .filter(|(status, _)| status == "processed")
        .map(|(_, document)| document)
        .filter(|document| {
            matches("msgType", document["type"].as_str())
                && matches("refs", document["content"]["ref"].as_str())
                && matches("owners", document["content"]["address"].as_str())
        })
        .collect();
    found.sort_by(|a, b| b["time"].as_f64().unwrap().total_cmp(&a["time"].as_f64().unwrap()));
    Json(json!({"messages": found})).into_response()
}

async fn raw(State(node): State<Arc<Inner>>, Path(hash): Path<String>) -> Response {
    if node.stalled.lock().contains(&hash) {
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>("app")]);
        let never = futures_util::stream::pending();
        return Body::from_stream(begun.chain(never)).into_response();
    }
    match node.files.lock().get(&hash) {
        Some(bytes) => {
            node.downloads.fetch_add(1, Ordering::SeqCst);
            bytes.clone().into_response()
        }
        None => (StatusCode::NOT_FOUND, "Not found").into_response(),
    }
}

async fn aggregate(
    State(node): State<Arc<Inner>>,
    Path(file): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let owner = file.trim_end_matches(".json").to_owned();
    let key = query.get("keys").cloned().unwrap_or_default();
    match node.aggregates.lock().get(&(owner.clone(), key.clone())) {
        Some(content) => Json(json!({"address": owner, "data": {key: content}})).into_response(),
        None => (StatusCode::NOT_FOUND, "No aggregate found for this address").into_response(),
    }
}

async fn feed(State(node): State<Arc<Inner>>, upgrade: WebSocketUpgrade) -> Response {
    let receiver = node.feed.subscribe();
    upgrade.on_upgrade(move |socket| send_feed(socket, receiver))
}

async fn send_feed(mut socket: WebSocket, mut receiver: broadcast::Receiver<String>) {
    loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Ok(text) => if socket.send(Frame::Text(text.into())).await.is_err() { return },
                Err(_) => return,
            },
            frame = socket.recv() => if !matches!(frame, Some(Ok(_))) { return },
        }
    }
}
