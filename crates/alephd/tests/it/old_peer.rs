//! A peer on the reference's version of libp2p (`interop/`), as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::harness::PATIENCE;

pub(crate) const MESSAGES: &str = "ALEPH-TEST";
pub(crate) const ALIVE: &str = "ALIVE";

/// A running peer. It ends with the test.
pub(crate) struct OldPeer {
    _child: Child,
    orders: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    pub(crate) peer_id: String,
    pub(crate) address: String,
}

/// Builds the peer where that was not done, and says where it is.
///
/// Cargo takes a lock while it builds, so that tests that come here together wait for each other.
async fn program() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/Cargo.toml");
    let target = cache().join("interop-target");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .status()
        .await
        .expect("cargo runs");
    assert!(status.success(), "{} can't be built: see its README.md", manifest.display());
    target.join("debug/aleph-interop-peer")
}

/// As `xtask` finds it.
fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ALEPHD_CACHE")
        .or_else(|| variable("HOME").map(|home| home.join(".cache/alephd")))
        .unwrap_or_else(|| std::env::temp_dir().join("alephd-cache"))
}

impl OldPeer {
    /// Starts one with the RSA key in `key`, or with a new Ed25519 key.
    pub(crate) async fn start(key: Option<&Path>) -> Self {
        let mut command = Command::new(program().await);
        if let Some(key) = key {
            command.arg("--key").arg(key);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the peer can be run");
        let orders = child.stdin.take().expect("it is piped");
        let events = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut peer = Self { _child: child, orders, events, peer_id: String::new(), address: String::new() };
        let listening = peer.until("it listens", |event| event["event"] == "listening").await;
        peer.peer_id = text(&listening, "peer_id");
        peer.address = text(&listening, "address");
        peer
    }

    /// Its address with its identity, as configurations name it.
    pub(crate) fn multiaddress(&self) -> String {
        format!("{}/p2p/{}", self.address, self.peer_id)
    }

    async fn order(&mut self, order: Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it takes orders");
    }

    /// Opens one more connection.
    pub(crate) async fn dial(&mut self, address: &str) {
        self.order(json!({ "do": "dial", "address": address })).await;
    }

    /// Dials and waits until the node listens to both topics.
    pub(crate) async fn meet(&mut self, address: &str) {
        self.dial(address).await;
        let mut missing = vec![MESSAGES, ALIVE];
        while !missing.is_empty() {
            let event = self.until("the node subscribes", |event| event["event"] == "subscribed").await;
            missing.retain(|topic| event["topic"] != *topic);
        }
    }

    /// Publishes these bytes as they are; its library must let them go.
    pub(crate) async fn publish(&mut self, topic: &str, data: &str) {
        self.order(json!({ "do": "publish", "topic": topic, "data": data })).await;
        let told = self.until("it publishes", is_told_of_publishing).await;
        assert_eq!(told["event"], "published", "{told}");
    }

    /// The next event that is `wanted`; others on the way are dropped.
    pub(crate) async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let line = self.events.next_line().await.expect("it is text").expect("the peer runs");
                let event: Value = serde_json::from_str(&line).expect("it is JSON");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what}: not in time"))
    }

    /// The next message that reads as a JSON document which is `wanted`; the document as the
    /// reference has it, and who wrote it.
    pub(crate) async fn document(
        &mut self,
        topic: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> (Value, String) {
        let mut found = None;
        let event = self
            .until("the message comes", |event| {
                if event["event"] != "message" || event["topic"] != topic {
                    return false;
                }
                found = serde_json::from_str(event["text"].as_str().unwrap_or_default()).ok();
                found.as_ref().is_some_and(&mut wanted)
            })
            .await;
        (found.unwrap_or_default(), text(&event, "author"))
    }
}

fn is_told_of_publishing(event: &Value) -> bool {
    event["event"] == "published" || event["event"] == "refused"
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap_or_else(|| panic!("no text under {key}: {event}")).to_owned()
}
