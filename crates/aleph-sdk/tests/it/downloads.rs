use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aleph_sdk::{Error, ErrorKind, ProgressListener};
use aleph_types::ItemHash;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;

use super::{client, serve};

const SIZE: usize = 2_000_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at * 31 % 251) as u8).collect()
}

fn wanted_from(headers: &HeaderMap) -> usize {
    let range = headers.get("range").and_then(|value| value.to_str().ok());
    range.and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0)
}

/// Serves the content; the first answer breaks in the middle.
fn breaking(ranges: bool) -> Router {
    let broken = Arc::new(AtomicBool::new(false));
    let handler = get(move |headers: HeaderMap| async move {
        let bytes = content();
        let length = [("content-length", SIZE.to_string())];
        if !broken.swap(true, Ordering::SeqCst) {
            let half = Bytes::from(bytes[..SIZE / 2].to_vec());
            // The error must not overtake the bytes before it.
            let parts = stream::unfold(0, move |part| {
                let half = half.clone();
                async move {
                    if part == 0 {
                        return Some((Ok(half), 1));
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    Some((Err(std::io::Error::other("gone")), 2))
                }
            });
            return (length, Body::from_stream(parts)).into_response();
        }
        match wanted_from(&headers) {
            from if ranges && from > 0 => {
                (StatusCode::PARTIAL_CONTENT, bytes[from..].to_vec()).into_response()
            }
            _ => bytes.into_response(),
        }
    });
    Router::new().route("/api/v0/storage/raw/{hash}", handler)
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    for ranges in [true, false] {
        let url = serve(breaking(ranges)).await;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let hash = ItemHash::sha256(&content());
        let client = client(&url);
        let error = client.download(&hash, &target, ProgressListener::silent()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!target.exists());
        assert_eq!(entries(folder.path()), 1);

        let done = client.download(&hash, &target, ProgressListener::silent()).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), content());
        assert!(done.verified);
        assert_eq!(done.size, SIZE as u64);
        assert_eq!(done.resumed_from > 0, ranges);
        assert_eq!(entries(folder.path()), 1);
    }
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_target() {
    let handler = get(|| async { "not what was asked for" });
    let url = serve(Router::new().route("/api/v0/storage/raw/{hash}", handler)).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    std::fs::write(&target, "precious").unwrap();
    let hash = ItemHash::sha256(b"x");
    let error = client(&url).download(&hash, &target, ProgressListener::silent()).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    assert_eq!(entries(folder.path()), 1);
    assert!(client(&url).download_bytes(&hash, 1000).await.is_err());
}

#[tokio::test]
async fn a_partial_file_of_something_else_does_not_poison() {
    let handler = get(|headers: HeaderMap| async move {
        let from = wanted_from(&headers);
        let bytes = content();
        if from >= bytes.len() {
            return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        }
        match from {
            0 => bytes.into_response(),
            from => (StatusCode::PARTIAL_CONTENT, bytes[from..].to_vec()).into_response(),
        }
    });
    let url = serve(Router::new().route("/api/v0/storage/raw/{hash}", handler)).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let hash = ItemHash::sha256(&content());
    let part = folder.path().join(format!(".file.{}.part", &hash.as_str()[..16]));
    let silent = ProgressListener::silent;

    // As long as the file, but other bytes: begun anew.
    std::fs::write(&part, vec![0u8; SIZE]).unwrap();
    client(&url).download(&hash, &target, silent()).await.unwrap();
    // The whole file is there already: only moved.
    std::fs::write(&part, content()).unwrap();
    let done = client(&url).download(&hash, &target, silent()).await.unwrap();
    assert_eq!(done.resumed_from, SIZE as u64);
    // Wrong beginning: found out by the hash, and gone afterwards.
    std::fs::write(&part, vec![0u8; 10]).unwrap();
    assert!(client(&url).download(&hash, &target, silent()).await.is_err());
    client(&url).download(&hash, &target, silent()).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content());
}

#[tokio::test]
async fn an_unknown_file_is_not_found() {
    let url = serve(Router::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let error = client(&url).download(&ItemHash::sha256(b"x"), &target, ProgressListener::silent()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(entries(folder.path()), 0);
}
