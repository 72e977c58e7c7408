//! A private network of real processes for one test.

use std::path::Path;
use std::process::Stdio;
use std::sync::Once;
use std::time::{Duration, Instant};

use aleph_sdk::{Account, Client};
use aleph_types::Chain;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Long enough for two busy cores; what is waited for is looked at every few milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `alephd devnet`. It ends with the test, however the test ends.
pub(crate) struct Devnet {
    child: Child,
    pub(crate) description: Value,
}

pub(crate) fn alephd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alephd"));
    command.env_remove("ALEPHD_LOG").stdin(Stdio::null());
    command
}

impl Devnet {
    /// Starts one on `state` and waits until it answers.
    pub(crate) async fn start(state: &Path) -> Self {
        install_tls();
        let mut child = alephd()
            .args(["--log", "warn", "devnet", "--no-vm", "--base-port", "0", "--json", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it answers in time");
        let line = line.expect("it is text").expect("the devnet printed its description");
        // the pipe stays open: what comes later goes nowhere
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, description: serde_json::from_str(&line).expect("it is JSON") }
    }

    pub(crate) fn url(&self, core_node: usize) -> &str {
        self.description["core_nodes"][core_node]["url"].as_str().expect("a URL")
    }

    pub(crate) fn client(&self, core_node: usize) -> Client {
        Client::new(self.url(core_node)).expect("a client")
    }

    pub(crate) fn account(&self) -> Account {
        let key = self.description["accounts"][0]["private_key"].as_str().expect("a key");
        Account::from_hex(Chain::Eth, key).expect("a key")
    }

    /// Process ids of all nodes as the state folder tells them now.
    pub(crate) fn pids(&self) -> Vec<Option<u64>> {
        let path = Path::new(self.description["state"].as_str().expect("a folder")).join("devnet.json");
        let text = std::fs::read(path).expect("the description is there");
        let now: Value = serde_json::from_slice(&text).expect("it is JSON");
        let nodes = ["core_nodes", "compute_nodes"].map(|list| now[list].as_array().expect("a list").clone());
        nodes.concat().iter().map(|node| node["pid"].as_u64()).collect()
    }

    pub(crate) fn pid(&self) -> u64 {
        u64::from(self.child.id().expect("it runs"))
    }

    /// An orderly end.
    pub(crate) async fn stop(mut self) {
        signal("TERM", self.pid()).await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops in time");
        assert!(ended.expect("it ended").success(), "the devnet ends with success");
    }

    /// The end that nobody is asked about.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is killed");
    }
}

pub(crate) async fn signal(name: &str, pid: u64) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().await;
    assert!(status.expect("kill runs").success(), "process {pid} takes a {name}");
}

pub(crate) fn is_alive(pid: u64) -> bool {
    // a zombie is no longer alive
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

/// Waits until `holds` does.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("the first one");
    });
}
