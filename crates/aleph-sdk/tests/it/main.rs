//! The client against a node that misbehaves in ways a real one can't be made to. What a well-behaved node
//! does is tested against the real one.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod deploying;
mod downloads;
mod publishing;
mod uploads;
mod watching;

use std::time::Duration;

use aleph_sdk::{Account, Client, RetryPolicy};
use aleph_types::Chain;
use axum::Router;
use tokio::net::TcpListener;

/// Serves `router` on a free port of loopback until the test ends; returns its URL.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A client that retries at once.
fn client(url: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryPolicy {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(10),
    };
    Client::with_retry(url, retry).unwrap()
}

fn account() -> Account {
    Account::from_secret(Chain::Eth, &[7; 32]).unwrap()
}
