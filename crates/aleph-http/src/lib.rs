//! How every node of this project serves HTTP.
//!
//! Connections are bounded in number; who opens more waits to be accepted. A request's head must arrive
//! in time, so that slow senders hold no connection, and who takes nothing of an answer for a minute loses
//! the connection. At the end, requests that are under way are answered and idle connections are closed.
//!
//! A handler may answer before it has read the body (too large, not allowed). A client that is still
//! sending would then find a broken connection instead of the answer, so the rest of such a body is read
//! and thrown away first, up to a bound.
//!
//! Handlers find the client's address in `axum::extract::ConnectInfo<SocketAddr>`.

mod stalled;
mod unread;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::stalled::Stalled;

/// A client that takes nothing of an answer for this long is gone.
const TAKES_NOTHING: Duration = Duration::from_secs(60);

/// Pause after a connection could not be accepted: descriptors come back when others close.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Bounds of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Time for the head of a request, the wait of a kept-alive connection for its next one included.
    pub head: Duration,
}

/// Serves `router` until `closing`; returns when the last request is answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, closing: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    loop {
        let place = tokio::select! {
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
            () = closing.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, closing) = (router.clone(), closing.clone());
                open.spawn(async move {
                    let _place = place;
                    connection(stream, peer, router, limits.head, closing).await;
                });
            }
            Err(error) => {
                // Out of descriptors, or a client that was gone already: the next may do better.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    open.close();
    open.wait().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head: Duration,
    closing: CancellationToken,
) {
    // Small answers must not wait for the acknowledgement of the ones before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%peer, %error, "connection keeps its delay");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let (watched, rest) = unread::watch(request);
        let mut request = watched.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            rest.discard().await;
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(Stalled::new(stream, TAKES_NOTHING)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "connection");
    }
}
