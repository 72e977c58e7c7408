//! One core node as a process, with clients that don't give up.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::process::Child;

use crate::harness::{PATIENCE, alephd, eventually, install_tls, signal};
use crate::traffic::Item;

/// Clients that publish at the same time.
const CLIENTS: usize = 8;

/// `alephd ccn` alone, on a port that it keeps over restarts.
pub(crate) struct CoreNode {
    settings: Vec<(String, String)>,
    folder: PathBuf,
    port: u16,
    environment: Vec<(String, OsString)>,
    child: Option<Child>,
    http: reqwest::Client,
}

impl CoreNode {
    /// A node on `folder`, not started yet: its data is in `data`, what it logs in `log`.
    pub(crate) fn new(folder: &Path) -> Self {
        install_tls();
        let settings = [("P2P__ENABLED", "false")];
        Self {
            settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            folder: folder.to_path_buf(),
            port: free_port(),
            environment: Vec::new(),
            child: None,
            http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client"),
        }
    }

    /// Adds a setting: `STORAGE__DATABASE` is `storage.database`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a variable to the process's environment.
    pub(crate) fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What the node wrote to its log since the first start.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Starts the process; it may not answer yet.
    pub(crate) fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let mut command = alephd();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (key, value) in &self.settings {
            command.env(format!("ALEPHD_CCN__{key}"), value);
        }
        command
            .args(["--log", "warn", "ccn", "--data-dir"])
            .arg(self.folder.join("data"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .stdout(Stdio::null())
            .stderr(log.expect("the log can be written"))
            .kill_on_drop(true);
        self.child = Some(command.spawn().expect("the node can be run"));
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.answers().await;
    }

    pub(crate) async fn answers(&mut self) {
        let url = self.url("/version");
        let http = self.http.clone();
        let (child, log) = (self.child.as_mut().expect("it was started"), self.folder.join("log"));
        eventually("the node answers", async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("the node ended with {status}; its log:\n{log}");
            }
            http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Starts a process that is to end by itself, with an error; gives its log.
    pub(crate) async fn fails_to_start(&mut self) -> String {
        self.spawn();
        let mut child = self.child.take().expect("it was started");
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends in time");
        assert!(!status.expect("it ended").success(), "it ended well; its log:\n{}", self.log());
        self.log()
    }

    /// The end that nobody is asked about.
    pub(crate) async fn kill9(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().await.expect("it is killed");
    }

    /// An orderly end.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it was started");
        signal("TERM", u64::from(child.id().expect("it runs"))).await;
        let status = child.wait().await.expect("it ends");
        assert!(status.success(), "it ends with {status}; its log:\n{}", self.log());
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.url(path)).send().await.expect("the node answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Whatever the node answers.
    pub(crate) async fn ask_for(&self, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(self.url(path)).send().await.expect("the node answers");
        (answer.status(), answer.text().await.expect("a body"))
    }

    /// Publishes one message, once, without its file; the status and the text of the answer.
    pub(crate) async fn publish_once(&mut self, item: &Item) -> (StatusCode, String) {
        let message = self.http.post(self.url("/api/v0/messages")).body(item.body.clone());
        self.told(message.header("content-type", "application/json")).await
    }

    /// Uploads a file without a message; the status and the text of the answer.
    pub(crate) async fn upload(&mut self, bytes: Vec<u8>) -> (StatusCode, String) {
        self.told(self.http.post(self.url("/api/v0/storage/add_file")).body(bytes)).await
    }

    async fn told(&mut self, request: reqwest::RequestBuilder) -> (StatusCode, String) {
        match request.send().await {
            Ok(answer) => (answer.status(), answer.text().await.expect("a body")),
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(3000)).await;
                let ended = self.child.as_mut().expect("it was started").try_wait();
                panic!("no answer: {error:?}; the process: {ended:?}; its log:\n{}", self.log());
            }
        }
    }

    /// The digest that the node keeps. The first time in the life of a process it is also computed from
    /// the tables, and must be the same (a node does that once a minute at most).
    pub(crate) async fn digest(&self) -> Value {
        let answer = self.get("/api/v1/node/digest?recompute=true").await;
        assert_eq!(answer["sound"], true, "{answer:#}");
        assert_eq!(answer["digest"], answer["recomputed"]["digest"], "{answer:#}");
        self.get("/api/v1/node/digest").await
    }

    /// Publishes in this order, some at the same time, until everything is acknowledged or `stop`
    /// is set. Gives the places in `items` of what was acknowledged.
    pub(crate) fn publish(
        &self,
        items: &Arc<[Item]>,
        order: impl IntoIterator<Item = usize>,
        stop: &Arc<AtomicBool>,
    ) -> Publishing {
        let queue = Arc::new(Mutex::new(order.into_iter().collect::<VecDeque<_>>()));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let clients = (0..CLIENTS)
            .map(|_| {
                let client = Publisher {
                    items: Arc::clone(items),
                    queue: Arc::clone(&queue),
                    acknowledged: Arc::clone(&acknowledged),
                    stop: Arc::clone(stop),
                    http: self.http.clone(),
                    messages: self.url("/api/v0/messages"),
                    files: self.url("/api/v0/storage/add_file"),
                };
                tokio::spawn(client.run())
            })
            .collect();
        Publishing { clients, acknowledged }
    }

    /// Publishes all of it and waits until nothing of it waits any more.
    pub(crate) async fn take_all(&self, items: &Arc<[Item]>, order: impl IntoIterator<Item = usize>) {
        let order: Vec<usize> = order.into_iter().collect();
        let publishing = self.publish(items, order.iter().copied(), &Arc::default());
        assert_eq!(publishing.end().await.len(), order.len());
        self.ask(items, &order, |status| status != "pending").await;
    }

    /// Fails when one of these has no fate here.
    pub(crate) async fn knows(&self, items: &Arc<[Item]>, places: &[usize]) {
        self.ask(items, places, |_| true).await;
    }

    /// Asks for the status of each, some at the same time, until it is `enough`. There must be one.
    async fn ask(&self, items: &Arc<[Item]>, places: &[usize], enough: fn(&str) -> bool) {
        let queue = Mutex::new(places.to_vec());
        let client = async || {
            loop {
                let Some(place) = queue.lock().pop() else { return };
                let url = self.url(&format!("/api/v0/messages/{}/status", items[place].hash));
                eventually("its fate is final", async || {
                    let answer = self.http.get(&url).send().await.expect("the node answers");
                    let code = answer.status();
                    let text = answer.text().await.expect("a body");
                    assert!(code.is_success(), "what was acknowledged is gone: {url}: {code}: {text}");
                    let told: Value = serde_json::from_str(&text).expect("JSON");
                    enough(told["status"].as_str().expect("a status"))
                })
                .await;
            }
        };
        futures_util::future::join_all((0..CLIENTS).map(|_| client())).await;
    }
}

/// Clients at work.
pub(crate) struct Publishing {
    clients: Vec<tokio::task::JoinHandle<()>>,
    acknowledged: Arc<Mutex<Vec<usize>>>,
}

impl Publishing {
    /// Waits until the clients are done or stopped; gives the places of what was acknowledged.
    pub(crate) async fn end(self) -> Vec<usize> {
        for client in self.clients {
            client.await.expect("the client ends well");
        }
        self.acknowledged.lock().clone()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.clients.iter().all(tokio::task::JoinHandle::is_finished)
    }
}

struct Publisher {
    items: Arc<[Item]>,
    queue: Arc<Mutex<VecDeque<usize>>>,
    acknowledged: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
    http: reqwest::Client,
    messages: String,
    files: String,
}

impl Publisher {
    async fn run(self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(place) = self.queue.lock().pop_front() else { return };
            if self.one(&self.items[place]).await {
                self.acknowledged.lock().push(place);
            } else {
                // a client that got no answer tries again
                self.queue.lock().push_front(place);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// True once the node said that it has the message.
    async fn one(&self, item: &Item) -> bool {
        if let Some(file) = &item.file {
            let sent = self.http.post(&self.files).body(file.clone()).send().await;
            if !sent.is_ok_and(|answer| answer.status().is_success()) {
                return false;
            }
        }
        let sent = self
            .http
            .post(&self.messages)
            .header("content-type", "application/json")
            .body(item.body.clone())
            .send()
            .await;
        let Ok(answer) = sent else { return false };
        match answer.status().as_u16() {
            // the body's end counts too: a killed node may cut it off
            200 | 202 | 410 => answer.bytes().await.is_ok(),
            422 => panic!("{} was rejected: {:?}", item.hash, answer.text().await),
            _ => false,
        }
    }
}

/// Below the ports that the system gives to outgoing connections: nobody takes it while the node is
/// down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 2_000) as u16;
    loop {
        let port = 30_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
