//! One node of the network as a child process: started, watched, started again, stopped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A node that ends sooner than this did not really start.
const STARTED: Duration = Duration::from_secs(5);
/// After so many false starts in a row a node is left alone.
const FALSE_STARTS: u32 = 5;
/// Pause before a node is started again, doubled with each false start.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);
/// An orderly end that takes longer is ended by force: a compute node stops its machines first.
const STOP: Duration = Duration::from_secs(25);
/// A node's log is cut off at a start when it is larger, in bytes.
const LONGEST_LOG: u64 = 64 << 20;

/// What is run, and where what it says goes.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// `ccn0`
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) folder: PathBuf,
    /// before it is started again; [`PAUSE`]
    pub(crate) pause: Duration,
}

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    /// with this process id
    Running(u32),
    /// ended, and started again in a moment
    Restarting(String),
    /// it failed too often
    GivenUp(String),
    Stopped,
}

impl Node {
    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Keeps the node running until `stop`; tells through `state`.
    pub(crate) async fn keep_running(self, stop: CancellationToken, state: watch::Sender<State>) {
        let mut false_starts = 0;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let ended = match self.spawn() {
                Ok(mut child) => {
                    state.send_replace(State::Running(child.id().unwrap_or_default()));
                    self.follow(&mut child, &stop).await
                }
                Err(error) => Ended { how: format!("{error:#}"), killed: false },
            };
            if stop.is_cancelled() {
                break;
            }
            let is_false_start = started.elapsed() < STARTED && !ended.killed;
            false_starts = if is_false_start { false_starts + 1 } else { 0 };
            let ended = ended.how;
            if false_starts >= FALSE_STARTS {
                let last = last_lines(&self.log_path(), 5);
                let why = format!(
                    "{ended}, {FALSE_STARTS} times in a row; its log {} ends with:\n{last}",
                    self.log_path().display()
                );
                tracing::error!(node = self.name, "given up: {why}");
                state.send_replace(State::GivenUp(why));
                return;
            }
            tracing::warn!(node = self.name, ended, "the node ended; starting it again");
            state.send_replace(State::Restarting(ended));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.pause * 2u32.pow(false_starts)) => {}
            }
        }
        state.send_replace(State::Stopped);
    }

    fn spawn(&self) -> Result<Child> {
        let log = self.open_log()?;
        let errors = log.try_clone().context("can't write the log twice")?;
        Command::new(&self.program)
            .args(&self.args)
            // the node ends when the other end of this pipe does, however this process ends
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C in a terminal goes to the whole group; the nodes are stopped in order by us
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {}", self.program.display()))
    }

    fn open_log(&self) -> Result<File> {
        let path = self.log_path();
        let is_long = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LONGEST_LOG);
        OpenOptions::new()
            .create(true)
            .append(!is_long)
            .write(true)
            .truncate(is_long)
            .open(&path)
            .with_context(|| format!("can't write {}", path.display()))
    }

    /// Waits for the child's end, or ends it when `stop` says so.
    async fn follow(&self, child: &mut Child, stop: &CancellationToken) -> Ended {
        // Taken out first: `wait` closes what the child still holds, and that end would stop it at once.
        let input = child.stdin.take();
        tokio::select! {
            ended = child.wait() => return describe(ended),
            () = stop.cancelled() => {}
        }
        // the end of its standard input asks it to stop
        drop(input);
        match tokio::time::timeout(STOP, child.wait()).await {
            Ok(ended) => describe(ended),
            Err(_) => {
                tracing::warn!(node = self.name, "the node does not stop; killing it");
                child.kill().await.ok();
                describe(child.wait().await)
            }
        }
    }
}

/// How a node ended.
struct Ended {
    how: String,
    /// from outside, by SIGKILL: says nothing of the node itself
    killed: bool,
}

fn describe(ended: std::io::Result<ExitStatus>) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    const SIGKILL: i32 = 9;
    let killed = ended.as_ref().is_ok_and(|status| status.signal() == Some(SIGKILL));
    let how = match ended {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("can't be waited for: {error}"),
    };
    Ended { how, killed }
}

/// The last lines of a log, indented.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(16 << 10)..]).into_owned();
    let lines: Vec<&str> = tail.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(folder: &Path, script: &str) -> Node {
        Node {
            name: "test".into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            folder: folder.to_owned(),
            pause: Duration::from_millis(5),
        }
    }

    #[tokio::test]
    async fn a_node_that_is_killed_is_started_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (sender, mut state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let task = tokio::spawn(node(folder.path(), "echo up; cat").keep_running(stop.clone(), sender));
        let State::Running(first) =
            state.wait_for(|state| matches!(state, State::Running(_))).await.expect("it runs").clone()
        else {
            unreachable!()
        };
        std::process::Command::new("kill").args(["-9", &first.to_string()]).status().expect("kill runs");
        let again = state
            .wait_for(|state| matches!(state, State::Running(pid) if *pid != first))
            .await
            .expect("again")
            .clone();
        assert!(matches!(again, State::Running(_)));
        stop.cancel();
        task.await.expect("it stops");
        assert_eq!(*state.borrow(), State::Stopped);
        assert!(last_lines(&folder.path().join("node.log"), 5).contains("up"));
    }

    #[tokio::test]
    async fn a_node_that_never_starts_is_given_up_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let (sender, mut state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        tokio::spawn(node(folder.path(), "echo the disk is full; exit 3").keep_running(stop, sender));
        let state =
            state.wait_for(|state| matches!(state, State::GivenUp(_))).await.expect("it gives up").clone();
        let State::GivenUp(why) = state else { unreachable!() };
        assert!(why.contains("code 3") && why.contains("the disk is full"), "{why}");
    }
}
