//! Copies of messages, against every status that a message can have (`spec: messages.md §7`).

use aleph_ccn::{Origin, Outcome};
use aleph_types::{MessageType, ParsedMessage};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.25;

/// The same signature, written in another way: verifiers read both, texts differ.
fn other_valid(message: &Value) -> Value {
    let mut copy = message.clone();
    let text = copy["signature"].as_str().unwrap();
    let (body, v) = text.split_at(text.len() - 2);
    let v = u8::from_str_radix(v, 16).unwrap();
    copy["signature"] = format!("{body}{:02x}", v - 27).into();
    copy
}

fn invalid(message: &Value) -> Value {
    let mut copy = message.clone();
    copy["signature"] = format!("0x{}1b", "11".repeat(64)).into();
    copy
}

/// The same content, signed by somebody who may not act for its owner.
fn of_stranger(stranger: &Author, message: &Value) -> Value {
    let content: Value = serde_json::from_str(message["item_content"].as_str().unwrap()).unwrap();
    let kind: MessageType = message["type"].as_str().unwrap().parse().unwrap();
    // The stranger's own address and time are overwritten by those of the content.
    let channel = message["channel"].as_str().unwrap();
    let copy = stranger.sign(kind, message["time"].as_f64().unwrap(), channel, content);
    assert_eq!(hash(&copy), hash(message));
    copy
}

async fn submit(node: &TestNode, message: &Value) -> Outcome {
    let parsed = ParsedMessage::from_value(message).unwrap();
    node.node.pipeline.submit(parsed, Origin::CatchUp).await.unwrap()
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Processed => "processed".into(),
        Outcome::Pending => "pending".into(),
        Outcome::Rejected(rejection) => format!("rejected {}", rejection.code.as_i16()),
        Outcome::Forgotten => "forgotten".into(),
        Outcome::Removed => "removed".into(),
        Outcome::Removing => "removing".into(),
    }
}

/// Brings a new message into a status.
async fn message_with(node: &TestNode, author: &Author, status: &str, number: u64) -> Value {
    let time = TIME + number as f64;
    let note = author.note(time, "c", json!({ "number": number }));
    let database = || rusqlite::Connection::open(node.node.config.storage.database()).unwrap();
    match status {
        "none" => {}
        "pending" => {
            let missing = author.note(time, "c", json!({ "never sent": number }));
            let amend = author.amend(time, &missing, json!(1));
            assert_eq!(told(&submit(node, &amend).await), "pending");
            return amend;
        }
        "rejected" => assert_eq!(told(&submit(node, &invalid(&note)).await), "rejected 1"),
        "processed" => node.process(&[&note]).await,
        "forgotten" => {
            node.process(&[&note]).await;
            node.process(&[&author.forget(time + 0.5, &[&note])]).await;
        }
        // Nothing in this test costs anything: these two are written by hand.
        "removing" | "removed" => {
            node.process(&[&note]).await;
            let (database, hash) = (database(), hash(&note));
            let sql = "INSERT INTO statuses (item_hash, status, reception_time, message) \
                       SELECT item_hash, ?2, reception_time, seq FROM messages WHERE item_hash = ?1";
            database.execute(sql, (hash, status)).unwrap();
            if status == "removed" {
                database.execute("DELETE FROM messages WHERE item_hash = ?1", [hash]).unwrap();
                database.execute("UPDATE statuses SET message = NULL WHERE item_hash = ?1", [hash]).unwrap();
            }
        }
        other => panic!("unknown status {other}"),
    }
    note
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_meet_every_status() {
    let node = TestNode::start().await;
    let (author, stranger) = (Author::new(1), Author::new(2));
    let mut ran = 0;
    // For each copy: what its sender is told, and the status afterwards.
    for (status, same, other, wrong, foreign) in [
        (
            "none",
            ("processed", "processed"),
            ("processed", "processed"),
            ("rejected 1", "rejected"),
            ("rejected 2", "rejected"),
        ),
        (
            "pending",
            ("pending", "pending"),
            ("pending", "pending"),
            ("rejected 1", "pending"),
            ("rejected 2", "pending"),
        ),
        (
            "rejected",
            ("processed", "processed"),
            ("processed", "processed"),
            ("rejected 1", "rejected"),
            ("rejected 2", "rejected"),
        ),
        (
            "processed",
            ("processed", "processed"),
            ("processed", "processed"),
            ("rejected 1", "processed"),
            ("processed", "processed"),
        ),
        (
            "forgotten",
            ("forgotten", "forgotten"),
            ("forgotten", "forgotten"),
            ("rejected 1", "forgotten"),
            ("forgotten", "forgotten"),
        ),
        (
            "removing",
            ("removing", "removing"),
            ("removing", "removing"),
            ("rejected 1", "removing"),
            ("removing", "removing"),
        ),
        (
            "removed",
            ("removed", "removed"),
            ("removed", "removed"),
            ("rejected 1", "removed"),
            ("removed", "removed"),
        ),
    ] {
        for (name, (outcome, after)) in
            [("same", same), ("other", other), ("invalid", wrong), ("foreign", foreign)]
        {
            ran += 1;
            let message = message_with(&node, &author, status, ran).await;
            let path = format!("/api/v0/messages/{}/status", hash(&message));
            if status != "none" {
                assert_eq!(node.ok(&path).await["status"], status);
            }
            let copy = match name {
                "same" => message.clone(),
                "other" => other_valid(&message),
                "invalid" => invalid(&message),
                _ => of_stranger(&stranger, &message),
            };
            let case = format!("{name} copy of a message that is {status}");
            assert_eq!(told(&submit(&node, &copy).await), outcome, "{case}");
            assert_eq!(node.ok(&path).await["status"], after, "{case}");
            // What is stored keeps its own signature.
            if status == "processed" {
                let single = node.ok(&format!("/api/v0/messages/{}", hash(&message))).await;
                assert_eq!(single["message"]["signature"], message["signature"], "{case}");
                assert_eq!(single["message"]["sender"], message["sender"], "{case}");
            }
        }
    }
    println!("copies: {ran} cases ran");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_may_come_again_when_what_it_lacked_is_there() {
    let node = TestNode::start_with(|config| config.pipeline.patience_seconds = 0).await;
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!(1));
    let amend = author.amend(TIME + 1.0, &note, json!(2));
    let path = format!("/api/v0/messages/{}", hash(&amend));
    assert_eq!(node.publish(&amend, true).await.status().as_u16(), 202);
    let first = node.decided(&amend).await;
    assert_eq!((&first["status"], &first["error_code"]), (&json!("rejected"), &json!(101)));
    node.process(&[&note, &amend]).await;
    let again = node.ok(&path).await;
    assert_eq!(again["status"], "processed");
    // The first meeting counts.
    assert_eq!(again["reception_time"], first["reception_time"]);
    node.stop().await;
}
