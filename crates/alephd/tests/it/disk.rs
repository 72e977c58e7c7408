//! A running node whose disk fills up, or turns read-only: it refuses in words, loses nothing, and
//! goes on by itself when the disk does.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::core_node::CoreNode;
use crate::harness::eventually;
use crate::traffic::{Dice, Item, history};

const MESSAGES: usize = 1_500;
/// Taken before the trouble begins.
const BEFORE: usize = 300;
const SMALL_DISK: &str = "ALEPHD_SMALL_DISK";
const INNER: &str = "disk::inside_the_small_disk";

/// Runs [`inside_the_small_disk`] where a small file system is mounted.
#[test]
fn a_full_disk_refuses_in_words_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let script =
        r#"mount -t tmpfs -o size=128m none "$1" || exit 77; exec "$2" --exact "$3" --ignored --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this program"))
        .arg(INNER)
        .env(SMALL_DISK, folder.path())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    };
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    match output.status.success() {
        true => assert!(text[0].contains("1 passed"), "{}", text[0]),
        false if text[0].contains("running 1 test") => panic!("{}{}", text[0], text[1]),
        false => eprintln!("skipped: no mount namespace can be made here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_full_disk_refuses_in_words_and_loses_nothing"]
async fn inside_the_small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else {
        eprintln!("skipped: run by another test");
        return;
    };
    let ballast = disk.join("ballast");
    let trouble = Trouble {
        // all that is left, to the last byte
        begins: Box::new(|| fill(&ballast)),
        ends: Box::new(|| std::fs::remove_file(&ballast).expect("it can be removed")),
        message: ["disk of the database is full", "free some space", "by itself"],
        file: (StatusCode::INSUFFICIENT_STORAGE, "no space left"),
        health: "full",
    };
    let node = CoreNode::new(&disk);
    refuses_and_recovers(node, trouble).await;
}

/// The kernel lets nobody remount a file system that is open for writing, and a disk that failed does
/// not come back: so a library between the node and the system answers as a read-only disk does.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_refuses_in_words_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("read_only.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/read_only.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("there is a C compiler").success());
    let data = folder.path().join("data");
    let switch = folder.path().join("switch");
    let trouble = Trouble {
        begins: Box::new(|| std::fs::write(&switch, "").expect("it can be written")),
        ends: Box::new(|| std::fs::remove_file(&switch).expect("it can be removed")),
        message: ["database", "check the disk", "by itself"],
        file: (StatusCode::SERVICE_UNAVAILABLE, "can't"),
        health: "disk",
    };
    let node = CoreNode::new(folder.path())
        .environment("LD_PRELOAD", &library)
        .environment("READ_ONLY_FOLDER", &data)
        .environment("READ_ONLY_SWITCH", &switch);
    refuses_and_recovers(node, trouble).await;
}

struct Trouble<'a> {
    begins: Box<dyn Fn() + 'a>,
    ends: Box<dyn Fn() + 'a>,
    /// What the refusal of a message says.
    message: [&'static str; 3],
    /// How an upload is refused.
    file: (StatusCode, &'static str),
    /// What the node's health says.
    health: &'static str,
}

fn fill(ballast: &Path) {
    let mut file = std::fs::File::options().create(true).append(true).open(ballast).expect("a file");
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

async fn refuses_and_recovers(mut node: CoreNode, trouble: Trouble<'_>) {
    let items: Arc<[Item]> = history(3, MESSAGES).into();
    node.start().await;
    node.take_all(&items, 0..BEFORE).await;
    let mut acknowledged: Vec<usize> = (0..BEFORE).collect();

    (trouble.begins)();
    // a file may still have room that it took before
    let mut rest = BEFORE..MESSAGES;
    let (refused, status, text) = loop {
        let place = rest.next().expect("a node without a disk took everything");
        let (status, text) = node.publish_once(&items[place]).await;
        if !status.is_success() {
            break (place, status, text);
        }
        acknowledged.push(place);
    };
    println!("{} more were taken, then: {status}: {text}", acknowledged.len() - BEFORE);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    for word in trouble.message {
        assert!(text.contains(word), "the refusal does not say {word:?}: {text}");
    }
    let state = node.get("/api/v1/node/digest").await;
    for place in refused..refused + 20 {
        assert_eq!(node.publish_once(&items[place]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    let (status, text) = node.upload(vec![9; 3_000_000]).await;
    println!("an upload: {status}: {text}");
    assert_eq!(status, trouble.file.0, "{text}");
    assert!(text.contains(trouble.file.1), "{text}");

    let health = node.get("/api/v1/node/health").await;
    println!("health: {}", health["problems"]);
    assert!(write_problem(&health).is_some_and(|problem| problem.contains(trouble.health)), "{health:#}");
    // what is there is read as ever
    node.knows(&items, &acknowledged).await;
    assert_eq!(node.get("/api/v1/node/digest").await, state, "refused messages changed the state");
    let list = node.get("/api/v0/messages.json?pagination=50").await;
    assert_eq!(list["messages"].as_array().map(Vec::len), Some(50), "{list}");

    (trouble.ends)();
    let recovered = Instant::now();
    eventually("it takes messages again", async || node.publish_once(&items[refused]).await.0.is_success())
        .await;
    assert!(recovered.elapsed() < Duration::from_secs(10), "it took {:?}", recovered.elapsed());
    let health = node.get("/api/v1/node/health").await;
    assert_eq!(write_problem(&health), None, "{health:#}");
    node.take_all(&items, 0..MESSAGES).await;
    let state = node.digest().await;
    node.kill9().await;
    node.start().await;
    assert_eq!(node.digest().await, state);
    node.stop().await;

    let calm_folder = tempfile::tempdir().expect("a folder");
    let mut calm = CoreNode::new(calm_folder.path());
    calm.start().await;
    let mut order: Vec<usize> = (0..MESSAGES).collect();
    Dice::new(4).shuffle(&mut order);
    calm.take_all(&items, order).await;
    assert_eq!(state, calm.digest().await, "the node with the bad disk on the left");
    calm.stop().await;
}

/// What the node says about writing, if it says something.
fn write_problem(health: &Value) -> Option<&str> {
    let problems = health["problems"].as_array().into_iter().flatten();
    problems.filter_map(|problem| problem["what"].as_str()).find(|what| what.contains("can't store"))
}
