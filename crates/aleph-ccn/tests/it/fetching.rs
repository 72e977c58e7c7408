//! Files that come from nodes whose connections break.

use std::sync::Arc;

use aleph_cid::{Layout, cid_of};
use aleph_types::ItemHash;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::json;

use crate::node::{Author, TestNode};

const TIME: f64 = 1_714_564_800.0;

/// Bytes that a connection lives.
const LIFE: usize = 700_000;

/// Where each request for the file began.
type Asked = Arc<Mutex<Vec<usize>>>;

/// A node whose connections break in the middle of a file.
struct Origin {
    content: Vec<u8>,
    /// It knows ranges.
    resumes: bool,
    /// Connections that live on.
    whole_from: usize,
}

impl Origin {
    /// Its base URL.
    async fn serve(self, asked: &Asked) -> String {
        let asked = Arc::clone(asked);
        let this = Arc::new(self);
        let answer = move |headers: HeaderMap| {
            let response = this.answer(&headers, &asked);
            async move { response }
        };
        let router = axum::Router::new().route("/api/v0/storage/raw/{hash}", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn answer(&self, headers: &HeaderMap, asked: &Asked) -> Response {
        let range = headers.get(header::RANGE).filter(|_| self.resumes);
        let from = range.map_or(0, |range| {
            range.to_str().unwrap().strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
        });
        let mut asked = asked.lock();
        asked.push(from);
        let all = self.content.len();
        if from >= all {
            return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        }
        let to = if asked.len() > self.whole_from { all } else { all.min(from + LIFE) };
        let piece = Ok(Bytes::copy_from_slice(&self.content[from..to]));
        let rest = (to < all).then(|| Err(std::io::Error::other("broken")));
        let body = Body::from_stream(stream::iter([Some(piece), rest].into_iter().flatten()));
        let length = (header::CONTENT_LENGTH, (all - from).to_string());
        if range.is_none() {
            return ([length], body).into_response();
        }
        let range = (header::CONTENT_RANGE, format!("bytes {from}-{}/{all}", all - 1));
        (StatusCode::PARTIAL_CONTENT, [length, range], body).into_response()
    }
}

fn content() -> Vec<u8> {
    (0..500_000_u32).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// Where the requests began that a node made to get the file from `origin`, under a SHA-256 or a CID.
async fn fetched(origin: Origin, by_cid: bool) -> Vec<usize> {
    let (content, asked) = (content(), Asked::default());
    let url = origin.serve(&asked).await;
    let node = TestNode::start_with(|config| config.network.http_peers = vec![url]).await;
    let (file, more) = if by_cid {
        (cid_of(Layout::KUBO_V0, &content).to_string(), json!({ "item_type": "ipfs" }))
    } else {
        (ItemHash::sha256(&content).to_string(), json!({}))
    };
    node.process(&[&Author::new(1).store(TIME, &file, more)]).await;
    let raw = node.get(&format!("/api/v0/storage/raw/{file}")).send().await.unwrap();
    assert!(raw.bytes().await.unwrap() == content);
    node.stop().await;
    let asked = asked.lock();
    asked.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_broke_off_goes_on_where_it_ended() {
    for by_cid in [false, true] {
        let origin = Origin { content: content(), resumes: true, whole_from: usize::MAX };
        assert_eq!(fetched(origin, by_cid).await, [0, LIFE, 2 * LIFE]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_knows_no_ranges_begins_anew() {
    let origin = Origin { content: content(), resumes: false, whole_from: 2 };
    assert_eq!(fetched(origin, false).await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_liar_began_is_given_up_when_it_does_not_lead_to_the_hash() {
    // One that breaks off early, and one that goes on and on beyond the end of the file.
    for (resumes, more) in [(false, 0), (true, 1_000_000)] {
        let (lies, asked) = (Asked::default(), Asked::default());
        let mut wrong = content();
        wrong[5] ^= 1;
        wrong.extend(vec![0; more]);
        let liar = Origin { content: wrong, resumes, whole_from: usize::MAX }.serve(&lies).await;
        // Whoever goes on after the liar finds out, and asks for all of it.
        let honest = Origin { content: content(), resumes: true, whole_from: 1 }.serve(&asked).await;
        let node = TestNode::start_with(|config| config.network.http_peers = vec![liar, honest]).await;
        let file = ItemHash::sha256(&content()).to_string();
        node.process(&[&Author::new(1).store(TIME, &file, json!({}))]).await;
        let raw = node.get(&format!("/api/v0/storage/raw/{file}")).send().await.unwrap();
        assert!(raw.bytes().await.unwrap() == content());
        node.stop().await;
    }
}
