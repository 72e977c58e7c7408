//! Clients: one that publishes at a given rate, and one at each node that watches what comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::WeatherError;
use crate::traffic::{Author, Letter};

/// Requests under way at most: a client that waits for a node publishes to the others meanwhile.
const UNDER_WAY: usize = 256;
/// A letter that no node took in this time counts as not published.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the letters.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// When a letter was handed over, by its hash; only of those that a node acknowledged.
    pub(crate) acknowledged: HashMap<String, Instant>,
    /// Letters that no node acknowledged: they may be there or not.
    pub(crate) unanswered: Vec<String>,
}

/// Publishes at `per_second` for `time`, each letter on the next of the nodes that are `up`.
pub(crate) async fn publish(
    nodes: &[(String, reqwest::Client)],
    up: &[Arc<AtomicBool>],
    author: &mut Author,
    per_second: u32,
    time: Duration,
) -> Result<Posted, WeatherError> {
    let posted = Arc::new(Mutex::new(Posted::default()));
    let mut requests = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut turn = 0;
    while begun.elapsed() < time {
        ticks.tick().await;
        let letter = author.write()?;
        turn += 1;
        let client = Client { nodes: nodes.to_vec(), up: up.to_vec(), turn, posted: Arc::clone(&posted) };
        requests.spawn(client.post(letter));
        while requests.len() > UNDER_WAY {
            requests.join_next().await;
        }
    }
    while requests.join_next().await.is_some() {}
    Ok(std::mem::take(&mut posted.lock()))
}

struct Client {
    nodes: Vec<(String, reqwest::Client)>,
    up: Vec<Arc<AtomicBool>>,
    turn: usize,
    posted: Arc<Mutex<Posted>>,
}

impl Client {
    /// Tries one node after the other until one acknowledges.
    async fn post(self, letter: Letter) {
        let begun = Instant::now();
        for attempt in self.turn.. {
            let place = attempt % self.nodes.len();
            if self.up[place].load(Ordering::Relaxed) {
                let (base, http) = &self.nodes[place];
                let request = http.post(format!("{base}/api/v0/messages")).body(letter.body.clone());
                let sent = request.header("content-type", "application/json").send().await;
                if let Ok(answer) = sent
                    && matches!(answer.status().as_u16(), 200 | 202)
                    // the end of the answer counts too: a killed node may cut it off
                    && answer.bytes().await.is_ok()
                {
                    self.posted.lock().acknowledged.insert(letter.hash, begun);
                    return;
                }
            }
            if begun.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.posted.lock().unanswered.push(letter.hash);
    }
}

/// What one node told its subscriber: when each message came.
pub(crate) type Seen = HashMap<String, Vec<Instant>>;

/// Watches the messages of a node; the hand-over ends with the value.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub(crate) async fn on(base: &str) -> Result<Self, WeatherError> {
        let url = format!("{}/api/ws0/messages?history=0", base.replacen("http", "ws", 1));
        let (mut socket, _) = connect_async(&url)
            .await
            .map_err(|error| WeatherError::Broken(format!("can't subscribe to {url}: {error}")))?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (ready, mut is_ready) = mpsc::channel(1);
        let written = Arc::clone(&seen);
        let reader = tokio::spawn(async move {
            let _ = ready.send(()).await;
            while let Some(Ok(frame)) = socket.next().await {
                let Message::Text(text) = frame else { continue };
                let now = Instant::now();
                // only the hash is wanted of a message that is long
                if let Some(hash) = hash_of(&text) {
                    written.lock().entry(hash).or_default().push(now);
                }
            }
        });
        let _ = is_ready.recv().await;
        Ok(Self { seen, reader })
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn hash_of(text: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(text).ok()?;
    message["item_hash"].as_str().map(str::to_owned)
}
