use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aleph_sdk::{Error, ErrorKind, Phase, ProgressListener, Upload};
use aleph_types::{ItemHash, MessageStatus, ParsedMessage};
use axum::extract::{DefaultBodyLimit, Multipart};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{account, client, serve};

fn router(handler: axum::routing::MethodRouter) -> Router {
    Router::new().route("/api/v0/storage/add_file", handler).layer(DefaultBodyLimit::disable())
}

/// Reads an upload: the parts' names in order, the metadata, and the file's hash.
async fn read(mut form: Multipart) -> (Vec<String>, Value, ItemHash) {
    let (mut names, mut metadata, mut file) = (Vec::new(), Value::Null, ItemHash::sha256(b""));
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        if name == "metadata" {
            assert_eq!(field.content_type(), Some("application/json"));
            metadata = serde_json::from_str(&field.text().await.unwrap()).unwrap();
        } else {
            file = ItemHash::sha256(&field.bytes().await.unwrap());
        }
        names.push(name);
    }
    (names, metadata, file)
}

#[tokio::test]
async fn files_go_with_their_signed_message() {
    let bytes = vec![5u8; 3 * 1024 * 1024 + 17];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let handler = post(|form: Multipart| async move {
        let (names, metadata, hash) = read(form).await;
        assert_eq!(names, ["metadata", "file"]);
        assert_eq!(metadata["sync"], true);
        let parsed = ParsedMessage::from_value(&metadata["message"]).unwrap();
        aleph_crypto::check(&parsed.message).unwrap();
        let aleph_types::content::Content::Store(store) = parsed.content.unwrap() else { panic!("no STORE") };
        assert_eq!(store.item_hash, hash);
        Json(json!({"status": "success", "hash": hash}))
    });
    let url = serve(router(handler)).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let listener = ProgressListener::new(move |progress| {
        if progress.phase == Phase::Sending {
            let before = counter.swap(progress.done, Ordering::SeqCst);
            assert!(before < progress.done);
        }
    });
    let stored = client(&url).upload(&account(), Upload::file(file.path()).progress(listener)).await.unwrap();
    assert_eq!(stored.file_hash, ItemHash::sha256(&bytes));
    assert_eq!((stored.size, stored.status), (bytes.len() as u64, MessageStatus::Processed));
    assert_eq!(sent.load(Ordering::SeqCst), bytes.len() as u64);
}

#[tokio::test]
async fn a_busy_node_gets_the_whole_file_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let handler = post(move |form: Multipart| async move {
        let (_, _, hash) = read(form).await;
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => Json(json!({"status": "success", "hash": hash})).into_response(),
        }
    });
    let url = serve(router(handler)).await;
    let stored = client(&url).upload(&account(), Upload::bytes(vec![1u8; 700_000])).await.unwrap();
    assert_eq!(stored.file_hash, ItemHash::sha256(&vec![1u8; 700_000]));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_node_that_stored_something_else_is_found_out() {
    let handler = post(|form: Multipart| async move {
        read(form).await;
        Json(json!({"status": "success", "hash": ItemHash::sha256(b"other")}))
    });
    let url = serve(router(handler)).await;
    let error = client(&url).upload(&account(), Upload::bytes("abc")).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn refusals_keep_status_and_text() {
    for (status, text) in [(402, "402: Payment Required"), (413, "Maximum request body size 5 exceeded.")] {
        let handler = post(move |form: Multipart| async move {
            read(form).await;
            (StatusCode::from_u16(status).unwrap(), text)
        });
        let url = serve(router(handler)).await;
        let error = client(&url).upload(&account(), Upload::bytes("abc")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().ends_with(text), "{error}");
    }
}

#[tokio::test]
async fn a_missing_file_is_the_callers_fault() {
    let error = client("http://127.0.0.1:1").upload(&account(), Upload::file("/no/such")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
