//! A node of its own for each test, and messages for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_ccn::{Config, Node};
use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, Channel, ItemHash, ItemType, Message, MessageType, Timestamp};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running node without peers.
pub(crate) struct TestNode {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) node: Arc<Node>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _folder: TempDir,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// A node with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// A node on the folder of one that was stopped.
    pub(crate) async fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::default();
        // Tests of money say so; all others need no funds.
        config.network.charge = false;
        config.storage.data_dir = folder.path().join("node");
        config.http.listen = ([127, 0, 0, 1], 0).into();
        config.p2p.enabled = false;
        config.pipeline.verify_threads = 1;
        change(&mut config);
        let stop = CancellationToken::new();
        let running = aleph_ccn::start(config, stop.clone()).await.unwrap();
        let (url, node) = (format!("http://{}", running.address), Arc::clone(&running.node));
        let serving = tokio::spawn(async move { running.serve().await.unwrap() });
        Self { url, client: Client::new(), node, stop, serving, _folder: folder }
    }

    pub(crate) async fn stop(self) {
        self.stop_and_keep().await;
    }

    /// Stops the node; its folder lives on.
    pub(crate) async fn stop_and_keep(self) -> TempDir {
        let Self { stop, serving, node, client, _folder, .. } = self;
        drop((node, client));
        stop.cancel();
        serving.await.unwrap();
        _folder
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// Status and JSON of a GET.
    pub(crate) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let response = self.get(path).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status} {text}")))
    }

    /// The JSON of a GET that must work.
    pub(crate) async fn ok(&self, path: &str) -> Value {
        let (status, value) = self.json(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    /// A message as the API shows it once it waits for nothing any more.
    pub(crate) async fn decided(&self, message: &Value) -> Value {
        let path = format!("/api/v0/messages/{}", hash(message));
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = self.ok(&path).await;
            if shown["status"] != "pending" {
                return shown;
            }
            assert!(Instant::now() < end, "still pending: {message}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Status and text of a GET.
    pub(crate) async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.get(path).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub(crate) async fn publish(&self, message: &Value, sync: bool) -> Response {
        let body = json!({ "message": message, "sync": sync }).to_string();
        self.post("/api/v0/messages").body(body).send().await.unwrap()
    }

    /// Publishes messages that must be processed.
    pub(crate) async fn process(&self, messages: &[&Value]) {
        for message in messages {
            let response = self.publish(message, true).await;
            let status = response.status();
            assert_eq!(status, StatusCode::OK, "{} {message}", response.text().await.unwrap());
        }
    }
}

/// Who writes in tests.
pub(crate) struct Author {
    key: EvmKey,
    pub(crate) address: String,
}

impl Author {
    pub(crate) fn new(byte: u8) -> Self {
        let key = EvmKey::from_bytes([byte; 32]).unwrap();
        let address = key.address().to_string();
        Self { key, address }
    }

    /// A signed inline message; `content` gets address and time.
    pub(crate) fn sign(&self, message_type: MessageType, time: f64, channel: &str, content: Value) -> Value {
        let mut document = json!({ "address": self.address, "time": time });
        for (key, value) in content.as_object().unwrap() {
            document[key] = value.clone();
        }
        let text = document.to_string();
        let mut message = Message {
            item_hash: ItemHash::sha256(text.as_bytes()),
            message_type,
            chain: Chain::Eth,
            sender: Address::from(self.address.as_str()),
            signature: None,
            item_type: ItemType::Inline,
            item_content: Some(text.into()),
            time: Timestamp::from_secs_f64(time).unwrap(),
            channel: Some(Channel::from(channel)),
        };
        message.signature = Some(self.key.sign_message(&message));
        serde_json::to_value(message.to_wire()).unwrap()
    }

    /// A signed message whose content is the file `file`; channel as in `like`.
    pub(crate) fn sign_by_hash(
        &self,
        message_type: MessageType,
        time: f64,
        file: &str,
        like: &Value,
    ) -> Value {
        let mut message = Message {
            item_hash: ItemHash::parse(file).unwrap(),
            message_type,
            chain: Chain::Eth,
            sender: Address::from(self.address.as_str()),
            signature: None,
            item_type: if file.len() == 64 { ItemType::Storage } else { ItemType::Ipfs },
            item_content: None,
            time: Timestamp::from_secs_f64(time).unwrap(),
            channel: like["channel"].as_str().map(Channel::from),
        };
        message.signature = Some(self.key.sign_message(&message));
        serde_json::to_value(message.to_wire()).unwrap()
    }

    pub(crate) fn note(&self, time: f64, channel: &str, content: Value) -> Value {
        self.sign(MessageType::Post, time, channel, json!({ "type": "note", "content": content }))
    }

    pub(crate) fn amend(&self, time: f64, original: &Value, content: Value) -> Value {
        let content = json!({ "type": "amend", "ref": hash(original), "content": content });
        self.sign(MessageType::Post, time, "amends", content)
    }

    pub(crate) fn aggregate(&self, time: f64, key: &str, content: Value) -> Value {
        self.sign(MessageType::Aggregate, time, "keys", json!({ "key": key, "content": content }))
    }

    pub(crate) fn store(&self, time: f64, file: &str, more: Value) -> Value {
        let mut content = json!({ "item_type": "storage", "item_hash": file });
        for (key, value) in more.as_object().unwrap() {
            content[key] = value.clone();
        }
        self.sign(MessageType::Store, time, "files", content)
    }

    pub(crate) fn forget(&self, time: f64, targets: &[&Value]) -> Value {
        let hashes: Vec<&str> = targets.iter().map(|target| hash(target)).collect();
        self.sign(MessageType::Forget, time, "forgets", json!({ "hashes": hashes }))
    }
}

/// The item hash of a message.
pub(crate) fn hash(message: &Value) -> &str {
    message["item_hash"].as_str().unwrap()
}

/// One field of each item of a list.
pub(crate) fn each(list: &Value, field: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|item| item[field].clone()).collect()
}
