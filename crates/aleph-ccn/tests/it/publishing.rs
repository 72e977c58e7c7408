//! Publishing, and the fate of single messages.

use std::time::Duration;

use aleph_types::{ItemHash, MessageType};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.25;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_processed_and_read_back() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!({ "text": "hé" }));

    let response = node.publish(&note, true).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let answer: Value = response.json().await.unwrap();
    let expected =
        json!({ "publication_status": { "status": "success", "failed": [] }, "message_status": "processed" });
    assert_eq!(answer, expected);

    // Again: at once, without a wait.
    assert_eq!(node.publish(&note, true).await.status(), StatusCode::OK);
    // Without waiting the answer is always the same.
    let response = node.publish(&author.note(TIME, "TEST", json!(2)), false).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["message_status"], "pending");

    let single = node.ok(&format!("/api/v0/messages/{}", hash(&note))).await;
    assert_eq!(single["status"], "processed");
    assert_eq!(single["item_hash"], note["item_hash"]);
    assert!(single["reception_time"].as_str().unwrap().ends_with('Z'));
    let message = &single["message"];
    for field in ["sender", "chain", "signature", "type", "item_content", "item_type", "item_hash", "channel"]
    {
        assert_eq!(message[field], note[field], "{field}");
    }
    assert_eq!(message["time"], json!(TIME));
    assert_eq!(message["content"]["content"], json!({ "text": "hé" }));
    assert_eq!((&message["confirmed"], &message["confirmations"]), (&json!(false), &json!([])));
    assert_eq!(message.get("size"), None);

    let content = node.ok(&format!("/api/v0/messages/{}/content", hash(&note))).await;
    assert_eq!(content, json!({ "text": "hé" }));
    let status = node.ok(&format!("/api/v0/messages/{}/status", hash(&note))).await;
    assert_eq!(status["status"], "processed");
    assert_eq!(status.as_object().unwrap().len(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let node = TestNode::start().await;
    let author = Author::new(1);

    // Not JSON, and bodies of another form.
    for (body, expected) in [
        ("{", "422: Unprocessable Entity"),
        (r#"{"sync":true}"#, r#"[{"type":"missing","loc":["message"],"msg":"Field required"}]"#),
    ] {
        let response = node.post("/api/v0/messages").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.text().await.unwrap(), expected);
    }
    for body in [r#"{"message":1}"#, r#"{"message":{},"sync":[]}"#, "[]"] {
        let response = node.post("/api/v0/messages").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let deep = format!(r#"{{"message":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let response = node.post("/api/v0/messages").body(deep).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // A form that is none: the reference's word first, then the reason.
    let mut wrong = author.note(TIME, "TEST", json!(1));
    wrong["item_hash"] = "ab".repeat(32).into();
    let response = node.publish(&wrong, true).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = response.text().await.unwrap();
    assert!(text.starts_with("InvalidMessageFormat: 'item_hash' does not match"), "{text}");
    assert_eq!(node.get(&format!("/api/v0/messages/{}", hash(&wrong))).send().await.unwrap().status(), 404);

    // Signed by somebody else: rejected, and the reason can be read.
    let mut forged = author.note(TIME, "TEST", json!(1));
    forged["sender"] = Author::new(2).address.into();
    let response = node.publish(&forged, true).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let answer: Value = response.json().await.unwrap();
    assert_eq!((&answer["message_status"], &answer["error_code"]), (&json!("rejected"), &json!(1)));
    assert!(answer["explanation"].as_str().unwrap().contains("signature"), "{answer}");
    let single = node.ok(&format!("/api/v0/messages/{}", hash(&forged))).await;
    assert_eq!((&single["status"], &single["error_code"]), (&json!("rejected"), &json!(1)));
    assert!(single["details"]["errors"][0].is_string());
    assert_eq!(answer["details"], single["details"]);
    // as clients read any message
    assert_eq!(single["message"]["content"]["content"], json!(1));
    assert_eq!(single["message"]["sender"], forged["sender"]);
    let (status, text) = node.text(&format!("/api/v0/messages/{}/content", hash(&forged))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(text, format!("Message {} is not processed (status: rejected)", hash(&forged)));

    // The right one may follow.
    let good = author.note(TIME, "TEST", json!(1));
    assert_eq!(hash(&good), hash(&forged));
    node.process(&[&good]).await;

    let (status, text) = node.text("/api/v0/messages/xyz").await;
    assert_eq!((status, text.as_str()), (StatusCode::BAD_REQUEST, "Invalid message hash: xyz"));
    let (status, text) = node.text(&format!("/api/v0/messages/{}/status", "cd".repeat(32))).await;
    assert_eq!((status, text.as_str()), (StatusCode::NOT_FOUND, "404: Not Found"));

    let large = json!({ "message": {}, "pad": "x".repeat(1_048_576) }).to_string();
    let response = node.post("/api/v0/messages").body(large).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(response.text().await.unwrap().starts_with("Maximum request body size 1048576 exceeded"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_and_forgotten_messages_can_be_read() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!(1));
    let amend = author.amend(TIME + 1.0, &note, json!(2));

    // The amend waits for its post.
    assert_eq!(node.publish(&amend, false).await.status(), StatusCode::ACCEPTED);
    let single = node.ok(&format!("/api/v0/messages/{}", hash(&amend))).await;
    assert_eq!(single["status"], "pending");
    let copy = &single["messages"][0];
    assert_eq!(copy["sender"], author.address);
    assert_eq!(copy["time"], "2024-05-01T12:00:01.250000Z");
    assert_eq!(copy["content"]["type"], "amend");
    assert_eq!(copy["channel"], "amends");

    // When another message comes nobody knows: a caller that would wait is told at once.
    let answer = tokio::time::timeout(Duration::from_secs(20), node.publish(&amend, true)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.json::<Value>().await.unwrap()["message_status"], "pending");
    node.process(&[&note]).await;
    let woken = async {
        while node.ok(&format!("/api/v0/messages/{}/status", hash(&amend))).await["status"] != "processed" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), woken).await.unwrap();

    // A file may be on its way: a caller that waits is told when it is here.
    let file = b"on its way";
    let store = author.store(TIME, ItemHash::sha256(file).as_str(), json!({}));
    let (waited, ()) = tokio::join!(node.publish(&store, true), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let added = node.post("/api/v0/storage/add_file").body(file.to_vec()).send().await.unwrap();
        assert_eq!(added.status(), StatusCode::OK);
    });
    assert_eq!(waited.status(), StatusCode::OK);

    let forget = author.forget(TIME + 2.0, &[&note]);
    node.process(&[&forget]).await;
    let single = node.ok(&format!("/api/v0/messages/{}", hash(&note))).await;
    assert_eq!(single["status"], "forgotten");
    assert_eq!(single["forgotten_by"], json!([hash(&forget)]));
    assert_eq!(single["message"]["owner"], author.address);
    assert_eq!(single["message"]["forgotten_at"], json!(TIME + 2.0));
    assert_eq!(single["message"]["payment_type"], "hold");
    let answer = node.publish(&note, true).await;
    assert_eq!(answer.status(), StatusCode::GONE);
    assert_eq!(answer.json::<Value>().await.unwrap()["message_status"], "forgotten");

    let gone = node.ok("/api/v0/messages.json?msgStatuses=forgotten&sortOrder=1").await;
    assert_eq!(gone["pagination_total"], 2);
    assert_eq!(gone["messages"][0]["status"], "forgotten");
    for query in
        ["msgStatuses=forgotten,processed", "msgStatuses=forgotten&cursor=", "msgStatuses=removed&refs=x"]
    {
        let (status, _) = node.text(&format!("/api/v0/messages.json?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_publish_text() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!(1));
    let send = |topic: &str, data: Value| {
        let body = json!({ "topic": topic, "data": data }).to_string();
        node.post("/api/v0/ipfs/pubsub/pub").body(body).send()
    };
    let response = send("ALEPH-TEST", note.to_string().into()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "status": "success", "failed": [] }));
    assert_eq!(node.ok(&format!("/api/v0/messages/{}/status", hash(&note))).await["status"], "processed");

    for (topic, data, status, text) in [
        ("OTHER", json!("{}"), 403, "403: Unauthorized P2P topic: OTHER. Use ALEPH-TEST."),
        ("ALEPH-TEST", note.clone(), 422, "422: 'data': expected a serialized JSON string."),
        ("ALEPH-TEST", json!("{"), 422, "422: 'data': must be deserializable as JSON."),
    ] {
        let response = send(topic, data).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.text().await.unwrap(), text);
    }
    let response = send("ALEPH-TEST", "{}".into()).await.unwrap();
    assert!(response.text().await.unwrap().starts_with("InvalidMessageFormat"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_without_code_and_prices() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!(1));
    node.process(&[&note]).await;
    let (status, text) = node.text(&format!("/api/v0/price/{}", hash(&note))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.starts_with("Message is not an executable or store message"));
    let (status, _) = node.text(&format!("/api/v0/price/{}", "ab".repeat(32))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // Routes of their own, for POST; with GET the word is taken for a hash, and is none.
    for (path, expected) in [
        ("/api/v0/price/recalculate", "Invalid message hash: recalculate"),
        ("/api/v0/price/estimate", "Invalid message hash: estimate"),
        ("/api/v0/storage/add_file", "Invalid hash provided"),
    ] {
        assert_eq!(node.text(path).await, (StatusCode::BAD_REQUEST, expected.to_owned()));
    }

    // An estimate needs a whole content; on a network that charges nothing, that is the price.
    let ask = async |content: Value| {
        let program = author.sign(MessageType::Program, TIME, "vm", content);
        let body = json!({ "message": { "type": "PROGRAM", "item_content": program["item_content"] } });
        node.post("/api/v0/price/estimate").body(body.to_string()).send().await.unwrap()
    };
    let response = ask(json!({ "payment": { "type": "credit" } })).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(response.text().await.unwrap().starts_with("InvalidMessageFormat: "));
    let response = ask(json!({
        "type": "vm-function", "allow_amend": true, "resources": {}, "environment": {},
        "payment": { "type": "credit", "chain": "ETH" }, "on": { "http": true },
        "code": { "encoding": "zip", "entrypoint": "main:app", "ref": "a".repeat(64) },
        "runtime": { "ref": "a".repeat(64), "comment": "" },
    }))
    .await;
    let price: Value = response.json().await.unwrap();
    assert_eq!(price["required_tokens"], json!(0.0), "{price}");
    assert_eq!(price["payment_type"], "credit");
    assert_eq!(price["cost"], "0.000000000000000000");
    assert_eq!(price["charged_address"], author.address);
    let (status, text) = node.text(&format!("/api/v1/programs/{}/placement", hash(&note))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("is a POST, not a program"), "{text}");
    node.stop().await;
}
