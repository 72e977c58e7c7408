//! `alephd store convert`: a node moves to PostgreSQL and back, and nothing of its state changes.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use aleph_test_postgres::{Options, Server};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::core_node::CoreNode;
use crate::harness::alephd;
use crate::traffic::{Item, history};

const MESSAGES: usize = 1_600;
/// Taken before the node moves for the first time.
const BEFORE: usize = 1_200;

fn convert(from: &str, to: &str) -> tokio::process::Command {
    let mut command = alephd();
    command.args(["store", "convert", "--json", "--from", from, "--to", to]).kill_on_drop(true);
    command
}

/// Runs to the end; the last event, and how many rows an earlier run had copied.
pub(crate) async fn converted(from: &str, to: &str) -> (Value, u64) {
    let output = convert(from, to).output().await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let done = events[0]["done"].as_u64().expect("how many were done");
    assert_eq!(events[0]["event"], "begun", "{text}");
    let last = events.last().expect("events").clone();
    assert_eq!(last["event"], "done", "{text}");
    (last, done)
}

/// Runs it to its refusal.
async fn refused(from: &str, to: &str) -> String {
    let output = convert(from, to).output().await.expect("it runs");
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Kills a conversion after it has begun to copy `table`.
async fn killed_at(table: &str, from: &str, to: &str) {
    let mut child = convert(from, to).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("it is text") {
        let event: Value = serde_json::from_str(&line).expect("JSON");
        if event["event"] == "copied" && event["table"] == table {
            child.kill().await.expect("it is killed");
            return;
        }
    }
    panic!("it ended before it copied {table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_moves_to_postgres_and_back() {
    let items: Arc<[Item]> = history(5, MESSAGES).into();
    let server = Server::start(Options::fast()).expect("a server");
    let url = server.database("node").expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let first = text(&data);

    let mut node = CoreNode::new(folder.path());
    node.start().await;
    node.take_all(&items, 0..BEFORE).await;
    let state = node.digest().await;
    let busy = refused(&first, &url).await;
    assert!(busy.contains("in use by another alephd"), "{busy}");
    node.stop().await;

    killed_at("messages", &first, &url).await;
    let mut half = CoreNode::new(folder.path()).with("STORAGE__DATABASE", &url);
    let log = half.fails_to_start().await;
    assert!(log.contains("unfinished copy"), "{log}");
    let (done, kept) = converted(&first, &url).await;
    println!("{done}, {kept} rows of them before the kill");
    assert!(kept > 0, "the second run began anew");
    assert_eq!(done["digest"], state["digest"]);

    let occupied = refused(&first, &url).await;
    assert!(occupied.contains("is not empty"), "{occupied}");
    assert!(!occupied.contains(server.password()), "{occupied}");
    let nothing = refused(&text(&folder.path().join("nothing.sqlite3")), &url).await;
    assert!(nothing.contains("there is no database"), "{nothing}");

    // the node goes on from there
    let mut moved = CoreNode::new(folder.path()).with("STORAGE__DATABASE", &url);
    moved.start().await;
    assert_eq!(moved.digest().await, state);
    moved.take_all(&items, BEFORE..MESSAGES).await;
    let state = moved.digest().await;
    let busy = refused(&url, &text(&folder.path().join("other/node.sqlite3"))).await;
    assert!(busy.contains("another alephd writes this database"), "{busy}");
    moved.stop().await;

    let back = text(&folder.path().join("back/node.sqlite3"));
    let (done, _) = converted(&url, &back).await;
    assert_eq!(done["digest"], state["digest"]);
    // messages that were processed at once have no row in `statuses` (docs/adr/0014-speed-of-the-writer.md)
    let rows = |table: &str| done["tables"][table].as_u64().expect("a count");
    assert!(rows("messages") + rows("statuses") >= MESSAGES as u64, "{done}");
    let mut home = CoreNode::new(folder.path()).with("STORAGE__DATABASE", &back);
    home.start().await;
    assert_eq!(home.digest().await, state);
    home.stop().await;
    assert!(!home.log().contains(server.password()), "{}", home.log());
}
