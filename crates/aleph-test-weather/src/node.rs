//! One `alephd ccn` in a namespace.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::WeatherError;

/// A node that does not answer after so long does not start.
const READY: Duration = Duration::from_secs(60);
/// Requests that last longer are hung: clients are next to the node.
const REQUEST: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    program: PathBuf,
    namespace: String,
    pub(crate) base: String,
    folder: PathBuf,
    log_level: String,
    child: Option<Child>,
    pub(crate) http: reqwest::Client,
}

impl Node {
    /// Makes a node of a folder: begins a network, or joins the one of `invitation`. Gives what it printed.
    pub(crate) async fn set_up(
        number: usize,
        program: &Path,
        namespace: &str,
        address: std::net::Ipv4Addr,
        root: &Path,
        log_level: &str,
        invitation: Option<&str>,
    ) -> Result<(Self, Value), WeatherError> {
        let folder = root.join(format!("node{number}"));
        let mut command = Command::new(program);
        command.env_remove("ALEPHD_LOG").args(["--log", "error"]);
        match invitation {
            None => command.args(["init", "--private", "--name", "weather"]),
            Some(invitation) => command.args(["join", invitation]),
        };
        let address = address.to_string();
        let printed = command
            .args(["--json", "--address", &address, "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(WeatherError::system(format!("can't run {}", program.display())))?;
        let told = serde_json::from_slice(&printed.stdout).map_err(|_| WeatherError::Command {
            command: format!("{} init", program.display()),
            told: String::from_utf8_lossy(&printed.stderr).into_owned(),
        })?;
        let http = reqwest::Client::builder().timeout(REQUEST).build();
        let http =
            http.map_err(|source| WeatherError::Request { node: number, path: String::new(), source })?;
        let node = Self {
            number,
            program: program.to_owned(),
            namespace: namespace.to_owned(),
            base: format!("http://{address}:4024"),
            folder,
            log_level: log_level.to_owned(),
            child: None,
            http,
        };
        Ok((node, told))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn failed(&self, what: impl Into<String>) -> WeatherError {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        WeatherError::Node {
            node: self.number,
            what: what.into(),
            log: self.log(),
            log_end: lines[lines.len().saturating_sub(12)..].join("\n"),
        }
    }

    /// Starts the process; it may not answer yet.
    pub(crate) fn start(&mut self) -> Result<(), WeatherError> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .map_err(WeatherError::system(format!("can't write {}", self.log().display())))?;
        // `ip netns exec` becomes the program: a signal to the child reaches the node
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .arg(&self.program)
            .args(["--log", &self.log_level, "ccn", "--data-dir"])
            .arg(&self.folder)
            .env_remove("ALEPHD_LOG")
            // one client asks for thousands of fates
            .env("ALEPHD_CCN__API__LIMITS__ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(WeatherError::system("can't run ip"))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it answers.
    pub(crate) async fn answers(&mut self) -> Result<(), WeatherError> {
        let url = format!("{}/api/v0/version", self.base);
        let begun = Instant::now();
        loop {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(self.failed(format!("ended with {status}")));
            }
            let asked = self.http.get(&url).timeout(Duration::from_secs(2)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if begun.elapsed() > READY {
                return Err(self.failed("does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it with -9.
    pub(crate) async fn kill9(&mut self) -> Result<(), WeatherError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(WeatherError::system(format!("can't kill node {}", self.number)))?;
        }
        Ok(())
    }

    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// A document of its API.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, WeatherError> {
        let failed = |source| WeatherError::Request { node: self.number, path: path.to_owned(), source };
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }

    /// The digest of its state.
    pub(crate) async fn digest(&self) -> Result<String, WeatherError> {
        let answer = self.get("/api/v1/node/digest").await?;
        Ok(answer["digest"].as_str().unwrap_or_default().to_owned())
    }

    /// Peers that listen to its messages.
    pub(crate) async fn listeners(&self) -> Result<usize, WeatherError> {
        let answer = self.get("/api/v1/node/peers").await?;
        let peers = answer["connected"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(peers.iter().filter(|peer| peer["listens"] == true).count())
    }
}
