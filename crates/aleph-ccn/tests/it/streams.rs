//! Server-sent events of messages and of the status.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const STREAM: &str = "/api/v1/messages/stream";

/// A reader of events as browsers read them.
struct Events {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
    last_id: String,
}

#[derive(Debug, Default)]
struct Event {
    id: String,
    name: String,
    data: String,
}

impl Events {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers().get("content-encoding"), None);
        Self { body: Box::pin(response.bytes_stream()), text: String::new(), last_id: String::new() }
    }

    async fn open(node: &TestNode, path: &str) -> Self {
        Self::of(node.get(path).header("accept-encoding", "gzip").send().await.unwrap())
    }

    async fn resume(node: &TestNode, path: &str, id: &str) -> Self {
        Self::of(node.get(path).header("last-event-id", id).send().await.unwrap())
    }

    /// The next event with data.
    async fn next(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let mut event = Event::default();
                for line in block.lines() {
                    match line.split_once(": ").or_else(|| line.split_once(':')) {
                        Some(("id", id)) => self.last_id = id.to_owned(),
                        Some(("event", name)) => event.name = name.to_owned(),
                        Some(("data", data)) => event.data.push_str(data),
                        _ => {}
                    }
                }
                if !event.data.is_empty() {
                    event.id.clone_from(&self.last_id);
                    return event;
                }
                continue;
            }
            let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&piece.unwrap().unwrap()).unwrap());
        }
    }

    async fn message(&mut self) -> Value {
        let event = self.next().await;
        assert_eq!(event.name, "", "{event:?}");
        serde_json::from_str(&event.data).unwrap()
    }

    /// Reads until the id is known that stands behind the history.
    async fn id(&mut self) -> String {
        while self.last_id.is_empty() {
            let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.unwrap();
            let piece = piece.unwrap().unwrap();
            for line in std::str::from_utf8(&piece).unwrap().lines() {
                if let Some(id) = line.strip_prefix("id: ") {
                    self.last_id = id.to_owned();
                }
            }
        }
        self.last_id.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_then_live_messages_then_what_was_missed() {
    let node = TestNode::start().await;
    let (alice, bob) = (Author::new(1), Author::new(2));
    let note = |number: u32| alice.note(f64::from(number), "TEST", json!({ "n": number }));
    let notes: Vec<Value> = (0..8).map(note).collect();
    for note in &notes[..3] {
        node.process(&[note]).await;
    }
    let mut all = Events::open(&node, &format!("{STREAM}?history=2")).await;
    assert_eq!(all.message().await["item_hash"], notes[1]["item_hash"]);
    assert_eq!(all.message().await["item_hash"], notes[2]["item_hash"]);
    let filter = format!("{STREAM}?history=0&addresses={}&contentFormat=headers", bob.address);
    let mut of_bob = Events::open(&node, &filter).await;
    let by_bob = bob.note(1.0, "TEST", json!(1));
    node.process(&[&notes[3], &by_bob]).await;
    assert_eq!(all.message().await["item_hash"], notes[3]["item_hash"]);
    let last = all.next().await;
    assert_eq!(serde_json::from_str::<Value>(&last.data).unwrap()["item_hash"], by_bob["item_hash"]);
    let shown = of_bob.message().await;
    assert_eq!(shown["item_hash"], by_bob["item_hash"]);
    assert_eq!(shown["content"], json!({ "address": bob.address, "type": "note" }));

    // The client goes away, messages come, it is back.
    drop((all, of_bob));
    node.process(&[&notes[4], &notes[5]]).await;
    let mut again = Events::resume(&node, STREAM, &last.id).await;
    assert_eq!(again.message().await["item_hash"], notes[4]["item_hash"]);
    let fifth = again.next().await;
    assert_eq!(serde_json::from_str::<Value>(&fifth.data).unwrap()["item_hash"], notes[5]["item_hash"]);
    node.process(&[&notes[6]]).await;
    assert_eq!(again.message().await["item_hash"], notes[6]["item_hash"]);

    // The id of the last event is enough, whatever the filter was.
    let mut of_one = Events::resume(&node, &format!("{STREAM}?hashes={}", hash(&notes[6])), &fifth.id).await;
    assert_eq!(of_one.message().await["item_hash"], notes[6]["item_hash"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_survives_a_restart_and_one_of_another_node_is_a_gap() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let notes: Vec<Value> =
        (0..3).map(|number| author.note(f64::from(number), "TEST", json!(number))).collect();
    node.process(&[&notes[0]]).await;
    let id = Events::open(&node, &format!("{STREAM}?history=0")).await.id().await;
    node.process(&[&notes[1]]).await;
    let folder = node.stop_and_keep().await;
    let node = TestNode::start_in(folder, |_| ()).await;
    let mut again = Events::resume(&node, STREAM, &id).await;
    assert_eq!(again.message().await["item_hash"], notes[1]["item_hash"]);
    node.process(&[&notes[2]]).await;
    assert_eq!(again.message().await["item_hash"], notes[2]["item_hash"]);
    let (database, _) = id.rsplit_once('-').unwrap();
    for wrong in ["elsewhere-1", "1", "x", &format!("{database}-99999"), &format!("{database}--5")] {
        let mut strange = Events::resume(&node, &format!("{STREAM}?history=1"), wrong).await;
        let event = strange.next().await;
        assert_eq!(event.name, "gap", "{wrong}: {event:?}");
        assert_eq!(strange.message().await["item_hash"], notes[2]["item_hash"]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_absence_is_made_up_for_in_order() {
    const MISSED: usize = 900;
    let node = TestNode::start().await;
    let author = Author::new(1);
    let id = Events::open(&node, &format!("{STREAM}?history=0")).await.id().await;
    let mut publications = Vec::new();
    for number in 0..MISSED {
        let channel = if number % 3 == 0 { "OTHER" } else { "TEST" };
        let note = author.note(number as f64, channel, json!(number));
        publications.push(node.publish(&note, false).await.status());
    }
    assert!(publications.iter().all(|status| status.is_success()));
    let mut again = Events::resume(&node, &format!("{STREAM}?channels=TEST"), &id).await;
    let mut seen = std::collections::HashSet::new();
    let mut place = 0;
    for _ in 0..MISSED * 2 / 3 {
        let event = again.next().await;
        let message: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(message["channel"], "TEST");
        assert!(seen.insert(hash(&message).to_owned()));
        let (_, next) = event.id.rsplit_once('-').unwrap();
        let next: i64 = next.parse().unwrap();
        assert!(next > place);
        place = next;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_and_the_status() {
    let node = TestNode::start().await;
    for query in ["history=200", "history=x", "chains=XYZ"] {
        let (status, _) = node.text(&format!("{STREAM}?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let mut status = Events::open(&node, "/api/v1/status/stream").await;
    assert_eq!(status.message().await["pyaleph_status_sync_messages_total"], 0);
    assert_eq!(node.ok("/metrics.json").await["aleph_event_streams"], 1);
    node.stop().await;
}
