//! Well-formed messages that mean harm: very many of something, rings, and what names itself.
//!
//! A message is named by the hash of its content, so none can name itself, and two can't name each other.
//! What can be built is tried: chains in the worst order, names that lead back, rights that go in a ring.

use std::time::{Duration, Instant};

use aleph_ccn::{Origin, Outcome};
use aleph_types::{ErrorCode, ItemHash, MessageType, ParsedMessage};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::hostile::{Forger, Memory, TIME, fate, is_well};
use crate::node::{Author, TestNode, hash};

/// Messages that are submitted at once.
const AT_ONCE: usize = 256;

async fn submit(node: &TestNode, message: &Value) -> Outcome {
    node.node.pipeline.submit(ParsedMessage::from_value(message).unwrap(), Origin::Gossip).await.unwrap()
}

async fn submit_all(node: &TestNode, messages: &[Value]) -> Vec<Outcome> {
    let outcomes = futures_util::stream::iter(messages).map(|message| submit(node, message));
    outcomes.buffered(AT_ONCE).collect().await
}

/// Puts content into a file on the node's disk and publishes a message that names it.
async fn by_file(
    node: &TestNode,
    forger: &Forger,
    message_type: MessageType,
    text: String,
) -> (Value, Outcome) {
    let file = ItemHash::sha256(text.as_bytes());
    node.node.blobs.put_bytes(text.into_bytes()).await.unwrap();
    let message = forger.by_hash(message_type, file);
    let outcome = submit(node, &message).await;
    (message, outcome)
}

fn code(outcome: &Outcome) -> Option<ErrorCode> {
    match outcome {
        Outcome::Rejected(rejection) => Some(rejection.code),
        _ => None,
    }
}

/// Waits until no message waits any more.
async fn settled(node: &TestNode, left: u64) {
    for _ in 0..1000 {
        if node.node.metrics.pending.get() == left {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} messages still wait", node.node.metrics.pending.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn forgets_that_mean_harm() {
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let (author, other, forger) = (Author::new(1), Author::new(2), Forger::new(1));
    let mine = author.note(TIME, "c", json!({ "n": 1 }));
    let again = author.note(TIME, "c", json!({ "n": 2 }));
    let theirs = other.note(TIME, "c", json!({ "n": 3 }));
    let first = author.forget(TIME + 1.0, &[&mine]);
    node.process(&[&mine, &again, &theirs, &first]).await;
    let forget = |time: f64, hashes: Value, aggregates: Value| {
        author.sign(
            MessageType::Forget,
            TIME + time,
            "c",
            json!({ "hashes": hashes, "aggregates": aggregates }),
        )
    };
    let nobody = "ab".repeat(32);

    for (what, message, expected) in [
        ("nothing", forget(2.0, json!([]), json!([])), Some(ErrorCode::ForgetNoTarget)),
        ("a FORGET", forget(2.0, json!([hash(&first)]), json!([])), Some(ErrorCode::ForgetForget)),
        (
            "a FORGET among others",
            forget(2.0, json!([hash(&again), hash(&first)]), json!([])),
            Some(ErrorCode::ForgetForget),
        ),
        ("another's", forget(2.0, json!([hash(&theirs)]), json!([])), Some(ErrorCode::PermissionDenied)),
        ("nobody's", forget(2.0, json!([nobody]), json!([])), None),
        ("what is gone", forget(3.0, json!([hash(&mine)]), json!([])), None),
        ("an aggregate that is none", forget(2.0, json!([]), json!([nobody])), None),
        (
            "1,000 that are none",
            forget(2.0, (0..1000).map(|n| format!("{n:064x}")).collect(), json!([])),
            None,
        ),
    ] {
        let outcome = submit(&node, &message).await;
        assert_eq!(code(&outcome), expected, "{what}: {outcome:?}");
        match &outcome {
            Outcome::Rejected(rejection) => {
                assert_eq!(fate(&node, &message).await.0, "rejected", "{what}");
                assert!(rejection.details.as_ref().is_none_or(|details| details.to_string().len() < 300));
            }
            outcome => assert_eq!(*outcome, Outcome::Pending, "{what}"),
        }
    }
    // A thousand times the same is once.
    let same = forget(4.0, vec![hash(&again); 1000].into(), json!([]));
    assert_eq!(submit(&node, &same).await, Outcome::Processed);
    assert_eq!(fate(&node, &again).await.0, "forgotten");

    // More than a thousand, inline and in a file.
    let many = |count: usize| -> Value { (0..count).map(|n| format!("{n:064x}")).collect() };
    for hashes in
        [many(1001), json!(["x"]), json!([1]), json!([hash(&again).to_uppercase()]), json!(hash(&again))]
    {
        let message = forget(5.0, hashes, json!([]));
        let response = node.publish(&message, true).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let text = response.text().await.unwrap();
        assert!(
            text.starts_with("InvalidMessageFormat: ") && text.contains("hashes") && text.len() < 300,
            "{text}"
        );
    }
    let huge = json!({ "address": author.address, "time": TIME, "hashes": many(100_000) });
    let (message, outcome) = by_file(&node, &forger, MessageType::Forget, huge.to_string()).await;
    assert_eq!(code(&outcome), Some(ErrorCode::InvalidFormat), "{outcome:?}");
    let (_, _, details) = fate(&node, &message).await;
    assert!(details.to_string().contains("hashes") && details.to_string().len() < 300, "{details}");

    memory.assert_below(192, "FORGETs");
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_of_amends_and_updates_in_the_worst_order() {
    const LONG: usize = 300;
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!({ "n": 0 }));
    let mut chain = vec![note.clone()];
    for number in 1..LONG {
        let amend = author.amend(TIME + number as f64, &chain[number - 1], json!({ "n": number }));
        chain.push(amend);
    }
    // Backwards: each waits for one that waits itself. The last one wakes them all, one after the other.
    for message in chain.iter().skip(1).rev() {
        assert_eq!(submit(&node, message).await, Outcome::Pending);
    }
    assert_eq!(node.node.metrics.pending.get(), LONG as u64 - 1);
    assert_eq!(submit(&node, &note).await, Outcome::Processed);
    // The first amend is one; the second amends an amend; whoever waits for a rejected one waits on.
    for _ in 0..500 {
        if fate(&node, &chain[2]).await.0 == "rejected" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fate(&node, &chain[1]).await.0, "processed");
    let (status, code_of, _) = fate(&node, &chain[2]).await;
    assert_eq!((status.as_str(), code_of), ("rejected", Some(i64::from(ErrorCode::PostAmendAmend.as_i16()))));
    assert_eq!(fate(&node, &chain[3]).await.0, "pending");
    settled(&node, LONG as u64 - 3).await;

    // Amends of what is no post, and of what is no hash.
    let aggregate = author.aggregate(TIME, "k", json!({ "a": 1 }));
    node.process(&[&aggregate]).await;
    let odd = author.amend(TIME + 1.0, &aggregate, json!(1));
    assert_eq!(submit(&node, &odd).await, Outcome::Pending);
    for reference in ["x", "security", "%", "é"] {
        let content = json!({ "type": "amend", "ref": reference, "content": 1 });
        let outcome = submit(&node, &author.sign(MessageType::Post, TIME, "c", content)).await;
        assert_eq!(code(&outcome), Some(ErrorCode::PostAmendTargetNotFound), "{reference}");
    }

    // A file that is stored as the next version of itself, of its own bytes' hash, and of a version.
    node.node.blobs.put_bytes(b"file".to_vec()).await.unwrap();
    let file = ItemHash::sha256(b"file");
    let own = author.store(TIME, file.as_str(), json!({ "ref": file.as_str() }));
    assert_eq!(submit(&node, &own).await, Outcome::Pending);
    let first = author.store(TIME, file.as_str(), json!({}));
    let second = author.store(TIME + 1.0, file.as_str(), json!({ "ref": hash(&first) }));
    let third = author.store(TIME + 2.0, file.as_str(), json!({ "ref": hash(&second) }));
    assert_eq!(submit(&node, &third).await, Outcome::Pending);
    assert_eq!(submit(&node, &second).await, Outcome::Pending);
    assert_eq!(submit(&node, &first).await, Outcome::Processed);
    for _ in 0..500 {
        if fate(&node, &third).await.0 == "rejected" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, code_of, _) = fate(&node, &third).await;
    assert_eq!(
        (status.as_str(), code_of),
        ("rejected", Some(i64::from(ErrorCode::StoreUpdateUpdate.as_i16())))
    );
    assert_eq!(fate(&node, &second).await.0, "processed");
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_in_a_ring() {
    let node = TestNode::start().await;
    let people = [1, 2, 3].map(Author::new);
    let grant = |from: &Author, to: &Author, time: f64| {
        from.aggregate(time, "security", json!({ "authorizations": [{ "address": to.address }] }))
    };
    let on_behalf = |of: &Author, by: &Author, number: u32| {
        let content = json!({ "type": "note", "content": { "number": number }, "address": of.address });
        by.sign(MessageType::Post, TIME, "c", content)
    };
    let [one, two, three] = &people;
    // To oneself, and once around.
    node.process(&[
        &grant(one, one, TIME),
        &grant(one, two, TIME + 1.0),
        &grant(two, three, TIME),
        &grant(three, one, TIME),
    ])
    .await;
    node.process(&[&on_behalf(one, two, 1), &on_behalf(two, three, 2), &on_behalf(three, one, 3)]).await;
    // Rights are not handed on, however often the ring is gone around.
    for (of, by) in [(one, three), (two, one), (three, two)] {
        let outcome = submit(&node, &on_behalf(of, by, 4)).await;
        assert_eq!(code(&outcome), Some(ErrorCode::PermissionDenied));
    }
    // A delegate may hand out what it was given, and take it back from itself.
    let by_two = json!({ "key": "security", "content": { "authorizations": [{ "address": three.address }] }, "address": one.address });
    node.process(&[&two.sign(MessageType::Aggregate, TIME + 2.0, "c", by_two), &on_behalf(one, three, 5)])
        .await;
    assert_eq!(code(&submit(&node, &on_behalf(one, two, 6)).await), Some(ErrorCode::PermissionDenied));
    // Lists of any shape are no list.
    for (number, entries) in
        [json!(null), json!("x"), json!({}), json!([[]]), json!([{ "address": 1 }]), json!(vec![0; 10_000])]
            .into_iter()
            .enumerate()
    {
        let odd =
            one.aggregate(TIME + 10.0 + number as f64, "security", json!({ "authorizations": entries }));
        node.process(&[&odd]).await;
        let outcome = submit(&node, &on_behalf(one, three, 10 + number as u32)).await;
        assert_eq!(code(&outcome), Some(ErrorCode::PermissionDenied));
    }
    is_well(&node, 1).await;
    node.stop().await;
}

/// A list of rights that is read for every message of a delegate.
#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_list_of_rights() {
    const ENTRIES: usize = 100_000;
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let (owner, delegate, stranger, forger) =
        (Author::new(1), Author::new(2), Author::new(3), Forger::new(1));
    let mut entries = vec![json!({ "address": "0x0000000000000000000000000000000000000000" }); ENTRIES];
    entries.push(json!({ "address": delegate.address }));
    let content = json!({ "authorizations": entries });
    let list = json!({ "address": owner.address, "time": TIME, "key": "security", "content": content });
    let (_, outcome) = by_file(&node, &forger, MessageType::Aggregate, list.to_string()).await;
    assert_eq!(outcome, Outcome::Processed);
    let posts = |by: &Author| -> Vec<Value> {
        let content = |n: u32| json!({ "type": "note", "content": { "n": n, "by": by.address }, "address": owner.address });
        (0..10).map(|n| by.sign(MessageType::Post, TIME, "c", content(n))).collect()
    };
    let (granted, denied) = (posts(&delegate), posts(&stranger));
    let begun = Instant::now();
    let granted = submit_all(&node, &granted).await;
    assert!(granted.iter().all(|outcome| *outcome == Outcome::Processed));
    let denied = submit_all(&node, &denied).await;
    println!("20 messages under a list of {ENTRIES} rights: {:?}", begun.elapsed());
    assert!(denied.iter().all(|outcome| code(outcome) == Some(ErrorCode::PermissionDenied)));
    memory.assert_below(512, "a list of 100,000 rights");
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_that_mean_harm() {
    const KEYS: usize = 100_000;
    const ELEMENTS: usize = 10_000;
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let (author, forger) = (Author::new(1), Forger::new(1));

    // One element with 100,000 keys; a good message right behind it.
    let fields: serde_json::Map<String, Value> = (0..KEYS).map(|n| (format!("key{n}"), json!(n))).collect();
    let bomb =
        json!({ "address": author.address, "time": TIME, "key": "bomb", "content": fields }).to_string();
    let begun = Instant::now();
    let (bomb, outcome) = by_file(&node, &forger, MessageType::Aggregate, bomb).await;
    assert_eq!(outcome, Outcome::Processed);
    println!("an element of {KEYS} keys: durable after {:?}", begun.elapsed());
    let note = author.note(TIME, "c", json!(1));
    node.process(&[&note]).await;
    let (status, text) = node.text(&format!("/api/v0/aggregates/{}.json?keys=bomb", author.address)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(&format!("key{}", KEYS - 1)));
    memory.assert_below(512, "an element of 100,000 keys");
    let forget = author.forget(TIME + 1.0, &[&bomb]);
    node.process(&[&forget]).await;

    // 10,000 elements of one key, each with a field of its own and one that all share.
    let key = "ab".repeat(32);
    let elements: Vec<Value> = (0..ELEMENTS)
        .map(|n| author.aggregate(TIME + n as f64, &key, json!({ format!("f{n}"): n, "shared": n })))
        .collect();
    let memory = Memory::mark();
    let begun = Instant::now();
    let outcomes = submit_all(&node, &elements).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Processed));
    println!("{ELEMENTS} elements of one key: durable after {:?}", begun.elapsed());
    let aggregate = node.ok(&format!("/api/v0/aggregates/{}.json?keys={key}", author.address)).await;
    assert_eq!(aggregate["data"][&key]["shared"], ELEMENTS - 1);
    assert_eq!(aggregate["data"][&key].as_object().unwrap().len(), ELEMENTS + 1);
    // The one that most is built on goes, then all of them.
    node.process(&[&author.forget(TIME + 1.0, &[&elements[ELEMENTS - 1]])]).await;
    let aggregate = node.ok(&format!("/api/v0/aggregates/{}.json?keys={key}", author.address)).await;
    assert_eq!(aggregate["data"][&key]["shared"], ELEMENTS - 2);
    let all = author.sign(MessageType::Forget, TIME + 2.0, "c", json!({ "hashes": [], "aggregates": [key] }));
    let begun = Instant::now();
    node.process(&[&all]).await;
    println!("all of them forgotten after {:?}", begun.elapsed());
    let (status, _) = node.text(&format!("/api/v0/aggregates/{}.json?keys={key}", author.address)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    memory.assert_below(512, "10,000 elements of one key");
    is_well(&node, 1).await;
    node.stop().await;
}

/// Thousands that wait for one thing are woken together, and hold no memory while they wait.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_that_wait_for_one() {
    const WAITING: usize = 3000;
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "c", json!(0));
    let padding = "x".repeat(10_000);
    let amends: Vec<Value> =
        (0..WAITING).map(|n| author.amend(TIME + 1.0 + n as f64, &note, json!([n, padding]))).collect();
    let memory = Memory::mark();
    let outcomes = submit_all(&node, &amends).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Pending));
    memory.assert_below(192, "30 MB that wait");
    let memory = Memory::mark();
    assert_eq!(submit(&node, &note).await, Outcome::Processed);
    settled(&node, 0).await;
    memory.assert_below(256, "30 MB that are woken");
    let posts = node.ok(&format!("/api/v0/posts.json?hashes={}", hash(&note))).await;
    assert_eq!(posts["posts"][0]["item_hash"], amends[WAITING - 1]["item_hash"]);
    is_well(&node, 1).await;
    node.stop().await;
}

/// Files that are all brackets take thirty times as much when they are read. However many of them are named
/// at once, few are in memory together.
#[tokio::test(flavor = "multi_thread")]
async fn many_heavy_contents_at_once() {
    const FILES: usize = 8;
    /// 3 MiB of text, about 80 MiB when read.
    const ITEMS: usize = 1 << 20;
    let node = TestNode::start().await;
    let forger = Forger::new(1);
    let mut messages = Vec::new();
    for number in 0..FILES {
        let items = "{},".repeat(ITEMS);
        let address = &forger.address;
        let text =
            format!(r#"{{"address":"{address}","time":{number},"type":"note","content":[{items}{{}}]}}"#);
        let file = ItemHash::sha256(text.as_bytes());
        node.node.blobs.put_bytes(text.into_bytes()).await.unwrap();
        messages.push(forger.by_hash(MessageType::Post, file));
    }
    let memory = Memory::mark();
    let outcomes = submit_all(&node, &messages).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Processed));
    memory.assert_below(400, "8 contents of 3 MiB");
    is_well(&node, 1).await;
    node.stop().await;
}
