//! A private network as people make one: `alephd init --private` here, `alephd join` there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Child;

use crate::core_node::free_port;
use crate::harness::{alephd, eventually, install_tls, signal};
use crate::traffic::{Item, history};

/// A folder that is, or becomes, a node.
struct Machine {
    folder: PathBuf,
    http_port: u16,
    p2p_port: u16,
    child: Option<Child>,
    http: reqwest::Client,
}

impl Machine {
    fn new(root: &Path, name: &str) -> Self {
        install_tls();
        Self {
            folder: root.join(name),
            http_port: free_port(),
            p2p_port: free_port(),
            child: None,
            http: reqwest::Client::new(),
        }
    }

    /// Runs a command that sets this machine up; what it printed.
    async fn set_up(&self, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().await.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("one line of JSON")
    }

    /// Runs a command that must fail; what it said.
    async fn refused(&self, args: &[&str]) -> String {
        let output = self.command(args).output().await.expect("it runs");
        assert!(!output.status.success(), "{args:?} went well");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = alephd();
        command
            .args(["--log", "error"])
            .args(args)
            .args(["--address", "127.0.0.1", "--data-dir"])
            .arg(&self.folder)
            .args(["--http-port", &self.http_port.to_string(), "--p2p-port", &self.p2p_port.to_string()]);
        command
    }

    /// `alephd ccn` on the folder, as the last line of the set-up says.
    async fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let child = alephd()
            .args(["ccn", "--data-dir"])
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(log.expect("the log"))
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("the node runs"));
        self.answers().await;
    }

    async fn answers(&mut self) {
        let url = self.url("/api/v0/version");
        let (http, log) = (self.http.clone(), self.folder.join("log"));
        let child = self.child.as_mut().expect("it was started");
        eventually("the node answers", async || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the node ended: {status}; {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    async fn stop(&mut self) {
        let mut child = self.child.take().expect("it was started");
        signal("TERM", u64::from(child.id().expect("it runs"))).await;
        assert!(child.wait().await.expect("it ends").success());
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.url(path)).send().await.expect("the node answers");
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    async fn publish(&self, items: &[Item]) {
        for item in items {
            if let Some(file) = &item.file {
                let url = self.url("/api/v0/storage/add_file");
                let sent = self.http.post(url).body(file.clone()).send().await.expect("an answer");
                assert!(sent.status().is_success(), "{}", sent.text().await.unwrap_or_default());
            }
            let request = self.http.post(self.url("/api/v0/messages")).body(item.body.clone());
            let sent = request.header("content-type", "application/json").send().await.expect("an answer");
            let status = sent.status();
            assert!(status.is_success(), "{status}: {}", sent.text().await.unwrap_or_default());
        }
    }

    async fn digest(&self) -> Value {
        self.get("/api/v1/node/digest").await["digest"].clone()
    }
}

/// Waits until all have one state, with every one of these messages decided.
async fn agree(machines: &[&Machine], items: &[Item]) {
    for machine in machines {
        for item in items {
            let path = format!("/api/v0/messages/{}/status", item.hash);
            eventually("every message is decided everywhere", async || {
                let answer = machine.http.get(machine.url(&path)).send().await.expect("the node answers");
                if !answer.status().is_success() {
                    return false;
                }
                let status: Value = answer.json().await.expect("JSON");
                status["status"].as_str().is_some_and(|status| status != "pending")
            })
            .await;
        }
    }
    eventually("all have one state", async || {
        let first = machines[0].digest().await;
        for machine in &machines[1..] {
            if machine.digest().await != first {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_begun_joined_and_lives_on() {
    let root = tempfile::tempdir().expect("a folder");
    let mut first = Machine::new(root.path(), "first");
    let begun = first.set_up(&["init", "--private", "--name", "harbour"]).await;
    assert_eq!(begun["network"], "harbour");
    let string = begun["join"].as_str().expect("a join string").to_owned();
    first.run().await;
    let items = history(11, 150);
    let (before, rest) = items.split_at(60);
    let (on_first, rest) = rest.split_at(30);
    let (on_second, while_away) = rest.split_at(30);
    first.publish(before).await;

    // a machine with nothing gets what was before it, files included
    let mut second = Machine::new(root.path(), "second");
    let joined = second.set_up(&["join", &string]).await;
    assert_eq!(joined["reachable"], true, "{joined}");
    assert_eq!(joined["owner"], begun["owner"]);
    second.run().await;
    agree(&[&first, &second], before).await;

    // and each what the other has from then on
    first.publish(on_first).await;
    second.publish(on_second).await;
    agree(&[&first, &second], &items[..120]).await;
    let peers = first.get("/api/v1/node/peers").await;
    assert_eq!(peers["connected"][0]["trust"], "member", "{peers:#}");

    // the first one is named in nobody's list but finds the second by its address book; a third machine
    // may join with the string of any node
    first.stop().await;
    second.publish(while_away).await;
    let shown = second.set_up(&["init", "--show"]).await;
    assert_ne!(shown["join"], string.as_str(), "it names the second machine");
    let mut third = Machine::new(root.path(), "third");
    third.set_up(&["init", "--join", shown["join"].as_str().expect("a string")]).await;
    third.run().await;
    first.run().await;
    agree(&[&first, &second, &third], &items).await;
    for machine in [&mut first, &mut second, &mut third] {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_joins_and_runs() {
    let root = tempfile::tempdir().expect("a folder");
    let mut first = Machine::new(root.path(), "first");
    let string = first.set_up(&["init", "--private"]).await["join"].as_str().expect("a string").to_owned();
    first.run().await;
    let items = history(12, 20);
    first.publish(&items).await;
    let mut second = Machine::new(root.path(), "second");
    let child = second.command(&["join", &string, "--run"]).stdout(Stdio::null()).kill_on_drop(true).spawn();
    second.child = Some(child.expect("it runs"));
    second.answers().await;
    agree(&[&first, &second], &items).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn what_can_not_be_done_is_told_with_a_next_step() {
    let root = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(root.path(), "one");
    let told = machine.refused(&["init", "--show"]).await;
    assert!(told.contains("alephd init --private"), "{told}");
    let told = machine.refused(&["join", "hello"]).await;
    assert!(told.contains("alephd init --show"), "{told}");
    let string = machine.set_up(&["init", "--private", "--charge"]).await["join"].as_str().map(str::to_owned);
    let string = string.expect("a string");
    let told = machine.refused(&["init", "--private"]).await;
    assert!(told.contains("is a node already") && told.contains("--data-dir"), "{told}");
    let told = machine.refused(&["join", &string]).await;
    assert!(told.contains("is a node already"), "{told}");
    assert_eq!(machine.set_up(&["init", "--show"]).await["join"], string.as_str());

    let other = Machine::new(root.path(), "two");
    let mut damaged = string.clone();
    damaged.replace_range(30..31, if &string[30..31] == "z" { "y" } else { "z" });
    let told = other.refused(&["join", &damaged]).await;
    assert!(told.contains("copy it again"), "{told}");
    assert!(!other.folder.join("config.toml").exists(), "a refused string leaves no node");
    // nobody answers there: it is a node all the same, and the operator hears of it
    let joined = other.set_up(&["join", &string]).await;
    assert_eq!((&joined["reachable"], &joined["charge"]), (&false.into(), &true.into()), "{joined}");

    // the configuration explains itself, and every value of it is used
    let text = std::fs::read_to_string(other.folder.join("config.toml")).expect("a configuration");
    assert!(text.contains("# Same on every node") && text.contains("alephd ccn --data-dir"), "{text}");
    let checked = alephd()
        .args(["config", "check", "ccn", "--config"])
        .arg(other.folder.join("config.toml"))
        .output()
        .await
        .expect("it runs");
    let shown = String::from_utf8_lossy(&checked.stdout);
    let shown: toml::Table = shown.parse().expect("TOML");
    let written: toml::Table = text.parse().expect("TOML");
    for (name, table) in &written {
        for (key, value) in table.as_table().expect("a table") {
            assert_eq!(&shown[name][key], value, "{name}.{key}");
        }
    }
}
