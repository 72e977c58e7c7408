//! Files that nothing holds go; files that something holds never do (`spec: messages.md §16`).

use std::time::{Duration, SystemTime};

use aleph_types::{ItemHash, MessageType, Timestamp};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;
const HOUR: i64 = 3600 * 1_000_000;

/// Now, moved.
fn later(hours: i64) -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap()).plus_micros(hours * HOUR)
}

/// Makes the file look as if it had been stored long ago.
fn age(node: &TestNode, file: &str) {
    let path = node.node.blobs.local_path(&ItemHash::parse(file).unwrap()).unwrap().unwrap();
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
}

async fn upload(node: &TestNode, content: &[u8]) -> String {
    let response = node.post("/api/v0/storage/add_file").body(content.to_vec()).send().await.unwrap();
    let hash = response.json::<Value>().await.unwrap()["hash"].as_str().unwrap().to_owned();
    age(node, &hash);
    hash
}

async fn is_here(node: &TestNode, file: &str) -> bool {
    node.get(&format!("/api/v0/storage/raw/{file}")).send().await.unwrap().status() == 200
}

async fn on_record(node: &TestNode, file: &str) -> bool {
    node.get(&format!("/api/v0/storage/metadata/{file}")).send().await.unwrap().status() == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_forgotten_files_have_a_day() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let loose = upload(&node, b"loose").await;
    let kept = upload(&node, b"kept").await;
    let dropped = upload(&node, b"dropped").await;
    let store_kept = author.store(TIME, &kept, json!({}));
    let store_dropped = author.store(TIME, &dropped, json!({}));
    let shared = author.store(TIME + 1.0, &kept, json!({}));
    node.process(&[&store_kept, &store_dropped, &shared]).await;
    node.process(&[&author.forget(TIME + 2.0, &[&store_dropped, &shared])]).await;

    // A forgotten STORE says until when its file is kept.
    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&store_dropped))).await;
    assert_eq!(explained["status"], "forgotten");
    assert_eq!(
        (&explained["holds"][0]["file"], &explained["holds"][0]["pin"]),
        (&json!(dropped), &json!("grace_period"))
    );

    // Nothing is over yet.
    let report = node.node.collector.collect(later(23)).await.unwrap();
    assert_eq!((report.expired, report.files), (0, 0));
    for file in [&loose, &kept, &dropped] {
        assert!(is_here(&node, file).await);
    }
    // A day later the two that nothing holds go, from the disk and from the records.
    let report = node.node.collector.collect(later(25)).await.unwrap();
    assert_eq!((report.expired, report.files, report.bytes, report.failed), (2, 2, 12, 0));
    for file in [&loose, &dropped] {
        assert!(!is_here(&node, file).await);
        assert!(!on_record(&node, file).await);
    }
    assert!(is_here(&node, &kept).await);
    let report = node.node.collector.collect(later(1000)).await.unwrap();
    assert_eq!((report.expired, report.files), (0, 0));

    // Uploaded again, it is there again, with a day of its own; a STORE holds it.
    let again = upload(&node, b"loose").await;
    node.process(&[&author.store(TIME + 3.0, &again, json!({}))]).await;
    node.node.collector.collect(later(1000)).await.unwrap();
    assert!(is_here(&node, &again).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_node_does_not_know_stays() {
    let node = TestNode::start().await;
    // On disk without a record: from a database that was lost, or just fetched.
    let stored = node.node.blobs.put_bytes(b"unknown".to_vec()).await.unwrap();
    let unknown = stored.hash.as_str().to_owned();
    age(&node, &unknown);
    // On record without a pin, but stored a moment ago.
    let fresh = upload(&node, b"fresh").await;
    node.node.blobs.put_bytes(b"fresh".to_vec()).await.unwrap();
    let report = node.node.collector.collect(later(25)).await.unwrap();
    assert_eq!((report.expired, report.files), (1, 0));
    assert!(node.node.blobs.contains(&ItemHash::parse(&unknown).unwrap()).await.unwrap());
    assert!(is_here(&node, &fresh).await);
    // When it rested long enough, the next run takes it.
    age(&node, &fresh);
    assert_eq!(node.node.collector.collect(later(25)).await.unwrap().files, 1);
    assert!(!is_here(&node, &fresh).await);
    // A record whose file is gone already.
    let lost = upload(&node, b"lost").await;
    node.node.blobs.remove(&ItemHash::parse(&lost).unwrap()).await.unwrap();
    let report = node.node.collector.collect(later(25)).await.unwrap();
    assert_eq!((report.files, report.bytes), (1, 0));
    assert!(!on_record(&node, &lost).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_messages_are_kept_and_go_with_them() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let content = json!({ "address": author.address, "time": TIME, "type": "note", "content": 1 });
    let response = node.post("/api/v0/storage/add_json").body(content.to_string()).send().await.unwrap();
    let file = response.json::<Value>().await.unwrap()["hash"].as_str().unwrap().to_owned();
    age(&node, &file);
    let note = author.sign_by_hash(MessageType::Post, TIME, &file, &json!({ "channel": "c" }));
    node.process(&[&note]).await;
    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&note))).await;
    assert_eq!(explained["holds"], json!([{ "file": file, "pin": "content", "until": null }]));
    assert_eq!(node.node.collector.collect(later(1000)).await.unwrap().files, 0);
    node.process(&[&author.forget(TIME + 1.0, &[&note])]).await;
    assert_eq!(node.node.collector.collect(later(23)).await.unwrap().files, 0);
    assert_eq!(node.node.collector.collect(later(25)).await.unwrap().files, 1);
    assert!(!is_here(&node, &file).await);
    node.stop().await;
}

/// STOREs and uploads race with the collector: what a processed STORE names is always there, or it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_meanwhile_wins() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let mut waited = 0;
    for round in 0..40u32 {
        let files: Vec<String> = {
            let mut files = Vec::new();
            for number in 0..6u32 {
                files.push(upload(&node, format!("{round} {number}").as_bytes()).await);
            }
            files
        };
        let stores: Vec<Value> = files
            .iter()
            .enumerate()
            .map(|(number, file)| author.store(TIME + f64::from(round * 10) + number as f64, file, json!({})))
            .collect();
        let collecting = node.node.collector.collect(later(25));
        let storing = async {
            for store in &stores {
                node.publish(store, false).await;
            }
        };
        let (report, ()) = tokio::join!(collecting, storing);
        report.unwrap();
        for (store, file) in stores.iter().zip(&files) {
            let status = node.ok(&format!("/api/v0/messages/{}/status", hash(store))).await;
            match status["status"].as_str().unwrap() {
                "processed" => assert!(is_here(&node, file).await, "round {round}: pinned and gone"),
                "pending" => waited += 1,
                other => panic!("{other}"),
            }
        }
    }
    println!("40 rounds of 6 files, {waited} STOREs came too late and wait for their file");
    let both = node.node.store.recompute_digest().await.unwrap();
    assert_eq!(both.kept, both.recomputed);
    node.stop().await;
}
