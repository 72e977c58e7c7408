use std::time::Duration;

use aleph_sdk::{DeployRequest, DeployStage, Error, ErrorKind, ProgramSpec, StageFacts, deploy};
use aleph_types::ItemHash;
use aleph_types::content::Encoding;
use axum::extract::{Multipart, Path};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{account, client, serve};

/// A core node that takes everything and places programs as told.
fn core(placement: Option<Value>) -> Router {
    let add = post(|mut form: Multipart| async move {
        let mut hash = None;
        while let Some(field) = form.next_field().await.unwrap() {
            if field.name() == Some("file") {
                hash = Some(ItemHash::sha256(&field.bytes().await.unwrap()));
            }
        }
        Json(json!({"status": "success", "hash": hash}))
    });
    let publish = post(|| async {
        Json(
            json!({"publication_status": {"status": "success", "failed": []}, "message_status": "processed"}),
        )
    });
    let status = get(|Path(hash): Path<String>| async move {
        Json(json!({"status": "processed", "item_hash": hash, "reception_time": "t"}))
    });
    let placed = get(move |Path(hash): Path<String>| async move {
        match placement {
            Some(mut placement) => {
                placement["program"] = hash.into();
                Json(placement).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    });
    Router::new()
        .route("/api/v0/storage/add_file", add)
        .route("/api/v0/messages", publish)
        .route("/api/v0/messages/{hash}/status", status)
        .route("/api/v1/programs/{hash}/placement", placed)
}

fn request() -> (tempfile::TempDir, DeployRequest) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.py"), "app = None").unwrap();
    let spec = ProgramSpec::new("", Encoding::Zip, ItemHash::sha256(b"runtime"));
    let mut request = DeployRequest::new(folder.path(), spec);
    request.patience = Duration::from_millis(400);
    (folder, request)
}

/// Deploys and notes the stations that were done.
async fn way(
    url: &str,
    request: DeployRequest,
) -> (Vec<DeployStage>, Vec<String>, Result<Option<String>, Error>) {
    let (mut done, mut words) = (Vec::new(), Vec::new());
    let outcome = deploy(&client(url), &account(), request, &mut |event| match event.facts {
        StageFacts::Begun => {}
        StageFacts::Waiting(why) | StageFacts::Skipped(why) => words.push(why),
        _ => done.push(event.stage),
    })
    .await;
    (done, words, outcome.map(|deployed| deployed.url))
}

const PUBLISHED: [DeployStage; 5] =
    [DeployStage::Pack, DeployStage::Upload, DeployStage::Sign, DeployStage::Accept, DeployStage::Store];

#[tokio::test]
async fn a_node_without_placements_ends_the_way_with_the_message() {
    let url = serve(core(None)).await;
    let (_folder, mut request) = request();
    request.witnesses = vec![client(&url)];
    let (mut done, words, outcome) = way(&url, request).await;
    assert_eq!(outcome.unwrap(), None);
    assert_eq!(done.pop(), Some(DeployStage::Spread));
    assert_eq!(done, PUBLISHED);
    assert!(words.iter().any(|word| word.contains("does not tell where programs run")), "{words:?}");
}

#[tokio::test]
async fn an_unplaceable_program_is_told_with_the_reasons() {
    let placement = json!({"responsible": {"hash": "aa", "name": "ccn-1"}, "allocation": null,
        "candidates": [{"name": "crn-0", "eligible": false, "reason": "no memory left"}]});
    let url = serve(core(Some(placement))).await;
    let (_folder, request) = request();
    let (done, words, outcome) = way(&url, request).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("crn-0: no memory left"), "{error}");
    assert_eq!(done.last(), Some(&DeployStage::Assign));
    assert_eq!(words.len(), 1, "the same reason is told once: {words:?}");
}

#[tokio::test]
async fn a_compute_node_that_is_not_ready_is_asked_again() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let program = get(move || async move {
        match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response(),
            _ => ([("aleph-program-itemhash", "x")], "hello").into_response(),
        }
    });
    let compute = serve(Router::new().route("/vm/{hash}/", program)).await;
    let placement = json!({"responsible": {"hash": "aa", "name": "ccn-1"},
        "allocation": {"crn_hash": "bb", "crn_url": compute, "name": "crn-0", "allocated_at": 1}});
    let url = serve(core(Some(placement))).await;
    let (_folder, mut request) = request();
    request.patience = Duration::from_secs(20);
    let (done, _, outcome) = way(&url, request).await;
    assert!(outcome.unwrap().unwrap().starts_with(&compute));
    let rest = [DeployStage::Assign, DeployStage::Allocate, DeployStage::Boot, DeployStage::Answer];
    assert_eq!(done, [PUBLISHED.as_slice(), rest.as_slice()].concat());
}

#[tokio::test]
async fn a_program_that_crashes_is_an_error_with_its_text() {
    let program = get(|| async {
        ([("aleph-program-itemhash", "x")], (StatusCode::INTERNAL_SERVER_ERROR, "Traceback: boom"))
            .into_response()
    });
    let broken = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "Error during runtime initialisation") });
    for (route, from_program) in [(program, true), (broken, false)] {
        let compute = serve(Router::new().route("/vm/{hash}/", route)).await;
        let placement = json!({"allocation": {"crn_url": compute}});
        let url = serve(core(Some(placement))).await;
        let (_folder, request) = request();
        let (done, _, outcome) = way(&url, request).await;
        if from_program {
            // The way was gone to its end: what the program says is its own business.
            assert_eq!(done.last(), Some(&DeployStage::Answer));
        } else {
            assert!(outcome.unwrap_err().to_string().contains("runtime initialisation"));
        }
    }
}
