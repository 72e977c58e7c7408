//! HTTP from a loopback port to the application, one guest stream a request.
//!
//! The application's answer is hostile input: it is parsed here and sent on anew, with a bounded
//! head, no hop-by-hop headers and never our own error header.

mod answer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aleph_guest::protocol::StreamTarget;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::log::now_ms;
use super::mux::Mux;
use super::shared::Shared;
use crate::ERROR_HEADER;
use crate::error::ErrorKind;
use crate::status::Failure;
use answer::{Body, Bounded, Counted};

/// Connections at once.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// Most bytes of the head of the application's answer.
const MAX_HEAD: usize = 128 * 1024;
/// Headers that belong to one connection and not to the request.
const HOP_BY_HOP: [HeaderName; 5] =
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

/// Serves HTTP for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let requests = Arc::new(Semaphore::new(shared.plan.limits.concurrent_requests.max(1) as usize));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "HTTP socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let (shared, requests) = (shared.clone(), requests.clone());
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let (shared, requests) = (shared.clone(), requests.clone());
                async move { Ok::<_, std::convert::Infallible>(answer_to(request, shared, requests).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                // a client that goes away cancels its request; the application sees the connection close
                .half_close(false)
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades()
                .await;
            if let Err(error) = served {
                tracing::trace!(%error, "HTTP connection");
            }
        });
    }
}

async fn answer_to(request: Request<Incoming>, shared: Shared, requests: Arc<Semaphore>) -> Response<Body> {
    let counted = Counted::new(&shared.counters);
    let response = match forward(request, &shared, requests, counted).await {
        Ok(response) => response,
        Err(failure) => refusal(&failure),
    };
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    shared.counters.last_ms.store(now_ms(), Ordering::Relaxed);
    response
}

fn refusal(failure: &Failure) -> Response<Body> {
    let status = match failure.kind {
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::BadGateway | ErrorKind::GuestFailed => StatusCode::BAD_GATEWAY,
        ErrorKind::Busy | ErrorKind::NotRunning | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Rejected | ErrorKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = Response::new(answer::text(failure.message.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(ERROR_HEADER, HeaderValue::from_static(failure.kind.as_str()));
    response
}

fn failure(kind: ErrorKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into() }
}

async fn forward(
    mut request: Request<Incoming>,
    shared: &Shared,
    requests: Arc<Semaphore>,
    counted: Counted,
) -> Result<Response<Body>, Failure> {
    let limits = &shared.plan.limits;
    let place = {
        let waiting = &shared.counters.waiting;
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = scopeguard(|| {
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
        if before >= limits.waiting_requests {
            return Err(failure(ErrorKind::Busy, format!("{before} requests wait already; try again later")));
        }
        requests.acquire_owned().await.map_err(|_| failure(ErrorKind::Bug, "the proxy is closed"))?
    };
    let guest = shared.guest().await?;
    let limit = Duration::from_millis(limits.request_ms);
    let upgrade = request.headers().get(UPGRADE).cloned();
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    strip(request.headers_mut());
    let connection = match &upgrade {
        Some(protocol) => {
            request.headers_mut().insert(UPGRADE, protocol.clone());
            "upgrade"
        }
        None => "close",
    };
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static(connection));
    let exchange = exchange(&guest, request);
    let mut response = match tokio::time::timeout(limit, exchange).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            let seconds = limit.as_secs_f32();
            return Err(failure(
                ErrorKind::Timeout,
                format!("the application did not answer within {seconds} s, the limit of this program"),
            ));
        }
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let app_side = switched.then(|| hyper::upgrade::on(&mut response));
    strip(response.headers_mut());
    response.headers_mut().remove(ERROR_HEADER);
    if let (Some(client), Some(app)) = (client_side, app_side) {
        if let Some(protocol) = upgrade {
            response.headers_mut().insert(UPGRADE, protocol);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        tokio::spawn(async move {
            let _held = (place, counted);
            if let (Ok(client), Ok(app)) = tokio::join!(client, app) {
                let _ =
                    tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(app)).await;
            }
        });
        return Ok(response.map(|_| answer::empty()));
    }
    if switched {
        return Err(failure(ErrorKind::BadGateway, "the application switched protocols unasked"));
    }
    let stall = Duration::from_millis(limits.stall_ms);
    Ok(response.map(|body| Bounded::new(body, stall, (place, counted)).boxed_unsync()))
}

/// Removes what belongs to the connection, also what its `Connection` header names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP).chain([&UPGRADE]) {
        headers.remove(name);
    }
}

async fn exchange(guest: &Mux, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
    let pipe = guest
        .open(&StreamTarget::App)
        .await
        .ok_or_else(|| failure(ErrorKind::Busy, "the VM takes no more connections; try again later"))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(pipe))
        .await
        .map_err(|error| failure(ErrorKind::Bug, error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "connection to the application");
        }
    });
    sender.send_request(request).await.map_err(|error| {
        if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            failure(ErrorKind::BadGateway, format!("the application's answer is not HTTP: {error}"))
        } else {
            failure(
                ErrorKind::BadGateway,
                format!("the application closed the connection without an answer ({error})"),
            )
        }
    })
}

/// Runs `f` at the end of the scope.
fn scopeguard<F: FnMut()>(f: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(f)
}
