//! One request through a VM's supervisor to a program, streamed both ways.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aleph_vm::{ERROR_HEADER, ErrorKind};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::defaults::BODY_STALL;
use crate::execution::handle::Lease;
use crate::failure::Failure;
use crate::node::Node;

/// Bytes of a supervisor's explanation that are passed on.
const CAUSE_BYTES: usize = 16 << 10;
/// Headers that belong to one connection, not to the message.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// The supervisor gives its own verdict at the request's limit; this is for a supervisor that is silent.
const GRACE: Duration = Duration::from_secs(5);

/// Connections to supervisors.
#[derive(Debug)]
pub(crate) struct GuestClient {
    client: Client<HttpConnector, Body>,
}

impl Default for GuestClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(16)
            .build(connector);
        Self { client }
    }
}

impl GuestClient {
    /// Sends `request` and returns the answer's head; its body streams on under the same lease.
    pub(crate) async fn forward(
        &self,
        node: &Arc<Node>,
        lease: Lease,
        permit: OwnedSemaphorePermit,
        peer: SocketAddr,
        request: Request,
    ) -> Result<Response, Failure> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", lease.http)
            .parse::<Uri>()
            .map_err(|error| Failure::InvalidAnswer(format!("the path can't be passed on: {error}")))?;
        parts.version = Version::HTTP_11;
        strip_hop_by_hop(&mut parts.headers);
        mark_forwarded(&mut parts.headers, peer);
        let most = usize::try_from(node.config.limits.request_body_bytes).unwrap_or(usize::MAX);
        let request = Request::from_parts(parts, Body::new(Limited::new(body, most)));

        let sent = self.client.request(request);
        let limit = lease.request_time.saturating_add(GRACE);
        let response = match tokio::time::timeout(limit, sent).await {
            Err(_) => return Err(Failure::Timeout(lease.request_time.as_secs())),
            Ok(Err(error)) if is_too_large(&error) => return Err(Failure::RequestTooLarge(most as u64)),
            Ok(Err(error)) => {
                let ended = lease.end_of_vm().await;
                return Err(ended.unwrap_or_else(|| Failure::Crashed(chain_of(&error))));
            }
            Ok(Ok(response)) => response,
        };
        let (mut parts, body) = response.into_parts();
        if let Some(kind) = parts.headers.remove(ERROR_HEADER) {
            return Err(refusal(&lease, kind.to_str().unwrap_or_default(), body).await);
        }
        lease.answered();
        strip_hop_by_hop(&mut parts.headers);
        let most = node.config.limits.response_body_bytes;
        let body = Body::new(Answer::new(body, lease, permit, most));
        Ok(Response::from_parts(parts, body))
    }
}

/// A supervisor's own answer in the words of the API.
async fn refusal(lease: &Lease, kind: &str, body: Incoming) -> Failure {
    let body = Limited::new(body, CAUSE_BYTES).collect().await;
    let cause =
        body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
    match kind {
        kind if kind == ErrorKind::Timeout.as_str() => Failure::Timeout(lease.request_time.as_secs()),
        // What is not HTTP says nothing about the VM.
        kind if kind == ErrorKind::BadGateway.as_str() && cause.contains("not HTTP") => {
            Failure::InvalidAnswer(cause)
        }
        kind if kind == ErrorKind::Busy.as_str() => Failure::Busy(cause),
        kind if kind == ErrorKind::GuestFailed.as_str() && cause.contains("does not listen") => {
            Failure::NeverListened(cause)
        }
        kind => match lease.end_of_vm().await {
            Some(crash) => crash,
            None if kind == ErrorKind::BadGateway.as_str() => Failure::InvalidAnswer(cause),
            None => Failure::Crashed(cause),
        },
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Says whom the program talks to, as proxies do; what a proxy in front already said is kept.
fn mark_forwarded(headers: &mut HeaderMap, peer: SocketAddr) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let peer = peer.ip().to_string();
    let chain = match headers.get(&FOR).and_then(|value| value.to_str().ok()) {
        Some(earlier) => format!("{earlier}, {peer}"),
        None => peer,
    };
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FOR, chain);
    }
    if !headers.contains_key(&HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(HOST, host);
    }
    if !headers.contains_key(&PROTO) {
        headers.insert(PROTO, HeaderValue::from_static("http"));
    }
}

/// The innermost causes of an error, which the library's own sentence leaves out.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Whether the client's own body was the trouble.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The body of an answer: bounded in size and silence; the VM stays leased until its end.
struct Answer {
    body: Incoming,
    left: u64,
    stall: Pin<Box<Sleep>>,
    /// Whether the wait for the next frame has begun. A slow reader is no silent program: the time
    /// counts from when a frame is asked for and none is there.
    waiting: bool,
    _lease: Lease,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    fn new(body: Incoming, lease: Lease, permit: OwnedSemaphorePermit, most: u64) -> Self {
        Self {
            body,
            left: most,
            stall: Box::pin(tokio::time::sleep(BODY_STALL)),
            waiting: false,
            _lease: lease,
            _permit: permit,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if !this.waiting {
                    this.waiting = true;
                    this.stall.as_mut().reset(Instant::now() + BODY_STALL);
                }
                ready!(this.stall.as_mut().poll(cx));
                return Poll::Ready(Some(Err("the program fell silent in the middle of its answer".into())));
            }
        };
        this.waiting = false;
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame?;
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(size) {
            Some(left) => this.left = left,
            None => {
                return Poll::Ready(Some(Err(
                    "the program's answer is larger than this node passes on".into()
                )));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_connection_stay_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("content-encoding", "gzip"),
            ("host", "a.b"),
            ("x-forwarded-for", "1.2.3.4"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        mark_forwarded(&mut headers, "5.6.7.8:9".parse().unwrap());
        let names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
        assert!(
            !names.contains(&"connection")
                && !names.contains(&"x-own")
                && !names.contains(&"transfer-encoding")
        );
        assert_eq!(headers["content-encoding"], "gzip", "the body is passed on as it is");
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 5.6.7.8");
        assert_eq!(headers["x-forwarded-host"], "a.b");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }
}
