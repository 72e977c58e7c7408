//! Requests to programs, by path and by host name (`spec: crn-api.md §§8, 9`).

use std::net::SocketAddr;
use std::sync::Arc;

use aleph_types::ItemHash;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::respond::{error, too_large};
use crate::execution::handle::Lease;
use crate::failure::Failure;
use crate::hostname::program_of_host;
use crate::node::Node;

/// `ANY /vm/{hash}` and everything below.
pub(super) async fn by_path(
    State(node): State<Arc<Node>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(parameters): Path<Vec<(String, String)>>,
    mut request: Request,
) -> Response {
    let reference = parameters.first().map_or("", |(_, value)| value.as_str());
    let Ok(hash) = ItemHash::parse(reference) else {
        return error(StatusCode::BAD_REQUEST, format!("Invalid message reference: {reference}"));
    };
    // The suffix as it was sent: escapes stay escapes.
    let sent = request.uri().path_and_query().map_or("/", |sent| sent.as_str());
    let suffix = sent.strip_prefix("/vm/").and_then(|rest| rest.get(reference.len()..)).unwrap_or("/");
    let suffix = if suffix.starts_with('/') { suffix.to_owned() } else { format!("/{suffix}") };
    match suffix.parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return error(StatusCode::BAD_REQUEST, "Invalid path"),
    }
    run(node, peer, hash, request).await
}

/// Any path on the host name of a program.
pub(super) async fn by_host(node: Arc<Node>, peer: SocketAddr, request: Request, host: &str) -> Response {
    match program_of_host(host) {
        Some(hash) => run(node, peer, hash, request).await,
        None => error(StatusCode::NOT_FOUND, "404: Invalid message reference"),
    }
}

async fn run(node: Arc<Node>, peer: SocketAddr, hash: ItemHash, request: Request) -> Response {
    let most = node.config.limits.request_body_bytes;
    if let Some(size) = axum::body::HttpBody::size_hint(request.body()).exact()
        && size > most
    {
        return too_large(most, Some(size));
    }
    let Ok(permit) = Arc::clone(&node.requests).try_acquire_owned() else {
        let busy =
            format!("{} requests are inside programs, this node's limit", node.config.limits.max_requests);
        return Failure::Busy(busy).into_response();
    };
    let lease = match acquire(&node, &hash).await {
        Ok(lease) => lease,
        Err(failure) => return failure.into_response(),
    };
    let code_reference = lease.code_reference.clone();
    let mut response = match node.guests.forward(&node, lease, permit, peer, request).await {
        Ok(response) => response,
        Err(failure) => {
            tracing::info!(%hash, code = failure.code(), %failure, "request to a program failed");
            return failure.into_response();
        }
    };
    // These say that the answer is the program's own.
    let marks =
        [("aleph-program-itemhash", Some(&hash)), ("aleph-program-code-ref", code_reference.as_ref())];
    for (name, value) in marks {
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value.as_str())) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Lets the request in, starting the program if need be.
async fn acquire(node: &Arc<Node>, hash: &ItemHash) -> Result<Lease, Failure> {
    // A program that is removed at this moment is asked for once more.
    for _ in 0..2 {
        if !node.config.serve_unallocated {
            let known = node.executions.get(hash).is_some_and(|execution| execution.view().allocated);
            if !known {
                return Err(Failure::NotAllocated(hash.clone()));
            }
        }
        let execution = node.executions.get_or_start(node, hash)?;
        if let Some(result) = execution.acquire().await {
            return result;
        }
    }
    Err(Failure::Stopping("it was removed".to_owned()))
}
