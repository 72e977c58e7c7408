use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aleph_sdk::{Error, ErrorKind, MessageBuilder};
use aleph_types::{ErrorCode, ItemHash, MessageStatus};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{account, client, serve};

fn note() -> MessageBuilder {
    MessageBuilder::post("note", json!("hi"))
}

fn processed() -> Json<Value> {
    Json(json!({"publication_status": {"status": "success", "failed": []}, "message_status": "processed"}))
}

#[tokio::test]
async fn overload_is_retried_with_the_same_bytes() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (count, bodies) = (calls.clone(), seen.clone());
    let publish = post(move |body: String| async move {
        bodies.lock().push(body);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")], "slow down").into_response(),
            1 => StatusCode::BAD_GATEWAY.into_response(),
            _ => processed().into_response(),
        }
    });
    let url = serve(Router::new().route("/api/v0/messages", publish)).await;
    let outcome = client(&url).publish(&account(), note(), true).await.unwrap();
    assert_eq!(outcome.status, MessageStatus::Processed);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let seen = seen.lock();
    assert!(seen.iter().all(|body| *body == seen[0]));
}

#[tokio::test]
async fn lasting_overload_is_unavailable() {
    let publish = post(|| async { (StatusCode::SERVICE_UNAVAILABLE, "draining") });
    let url = serve(Router::new().route("/api/v0/messages", publish)).await;
    let error = client(&url).publish(&account(), note(), true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("503: draining"), "{error}");
}

#[tokio::test]
async fn a_refusal_comes_with_the_reasons_that_the_node_kept() {
    let publish = post(|| async {
        let body =
            json!({"publication_status": {"status": "success", "failed": []}, "message_status": "rejected"});
        (StatusCode::UNPROCESSABLE_ENTITY, Json(body))
    });
    let state = get(|Path(hash): Path<String>| async move {
        Json(json!({"status": "rejected", "item_hash": hash, "reception_time": "t", "message": {},
            "error_code": 2, "details": {"errors": ["Sender a is not authorized"]}}))
    });
    let router = Router::new().route("/api/v0/messages", publish).route("/api/v0/messages/{hash}", state);
    let error = client(&serve(router).await).publish(&account(), note(), true).await.unwrap_err();
    let rejected = error.rejected().expect("rejected");
    assert_eq!(rejected.error_code(), Some(ErrorCode::PermissionDenied));
    assert_eq!(rejected.detail_lines(), ["Sender a is not authorized"]);
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_refusal_at_the_door_keeps_its_text() {
    let publish = post(|| async { (StatusCode::UNPROCESSABLE_ENTITY, "InvalidMessageFormat") });
    let state = get(|| async { (StatusCode::NOT_FOUND, "404: Not Found") });
    let router = Router::new().route("/api/v0/messages", publish).route("/api/v0/messages/{hash}", state);
    let error = client(&serve(router).await).publish(&account(), note(), true).await.unwrap_err();
    assert_eq!(error.rejected().unwrap().detail_lines(), ["InvalidMessageFormat"]);
}

#[tokio::test]
async fn answers_that_are_none_are_the_nodes_fault() {
    for body in
        ["", "<html>", r#"{"publication_status":{"status":"success","failed":[]},"message_status":null}"#]
    {
        let publish = post(move || async move { body });
        let url = serve(Router::new().route("/api/v0/messages", publish)).await;
        let error = client(&url).publish(&account(), note(), true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug, "{body}: {error}");
    }
}

#[tokio::test]
async fn large_contents_are_stored_first() {
    let stored = Arc::new(parking_lot::Mutex::new(None));
    let kept = stored.clone();
    let add = post(move |mut form: axum::extract::Multipart| async move {
        let field = form.next_field().await.unwrap().unwrap();
        assert_eq!(field.name(), Some("file"));
        let bytes = field.bytes().await.unwrap();
        let hash = ItemHash::sha256(&bytes);
        *kept.lock() = Some(hash.clone());
        Json(json!({"status": "success", "hash": hash}))
    });
    let envelope = Arc::new(parking_lot::Mutex::new(Value::Null));
    let sent = envelope.clone();
    let publish = post(move |Json(body): Json<Value>| async move {
        *sent.lock() = body["message"].clone();
        processed()
    });
    let router = Router::new().route("/api/v0/storage/add_file", add).route("/api/v0/messages", publish);
    let large = MessageBuilder::post("note", json!("x".repeat(60_000)));
    let outcome = client(&serve(router).await).publish(&account(), large, true).await.unwrap();
    assert_eq!(Some(outcome.item_hash), *stored.lock());
    let envelope = envelope.lock();
    assert_eq!(envelope["item_type"], "storage");
    assert!(envelope.get("item_content").is_none_or(Value::is_null));
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let error = client("http://127.0.0.1:1").version().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
