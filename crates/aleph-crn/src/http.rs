//! The node's HTTP interface (`spec: crn-api.md`): one file a group of routes.

mod about;
mod control;
mod cors;
mod executions;
pub(crate) mod guest;
mod index;
mod machine;
mod programs;
mod respond;
mod status;
mod stream_logs;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use crate::defaults::REFERENCE_VERSION;
use crate::hostname::{program_of_host, without_port};
use crate::node::Node;
use respond::error;

/// Paths that are never a program's, whatever the host.
const OWN: [&str; 5] = ["/about/", "/control/", "/status/", "/static/", "/debug/"];

/// The whole interface.
pub(crate) fn router(node: Arc<Node>) -> Router {
    // Browsers may call these: `cors::is_open` names the same paths.
    let open = Router::new()
        .route("/about/login", get(about::login))
        .route("/about/executions/list", get(about::executions_v1))
        .route("/v2/about/executions/list", get(about::executions_v2))
        .route("/about/usage/system", get(about::usage))
        .route("/about/capability", get(about::capability))
        .route("/about/certificates", get(about::certificates))
        .route("/status/config", get(status::config))
        .route("/status/check/ipv6", get(status::ipv6))
        .route("/status/check/version", get(status::version))
        .route("/control/allocation/notify", post(control::notify))
        .route("/control/machine/{reference}/update", post(machine::update))
        .route("/control/machine/{reference}/logs", get(machine::logs))
        .route("/control/machine/{reference}/stream_logs", get(stream_logs::open))
        .route("/control/machine/{reference}/stop", post(machine::stop))
        .route("/control/machine/{reference}/reboot", post(machine::reboot))
        .route("/control/machine/{reference}/erase", post(machine::erase))
        .route("/control/machine/{reference}/expire", post(machine::expire))
        .route("/api/v1/executions", get(executions::list))
        .route("/api/v1/executions/{reference}", get(executions::one));
    Router::new()
        .route("/control/allocations", post(control::allocations))
        .route("/vm/{reference}", any(programs::by_path))
        .route("/vm/{reference}/", any(programs::by_path))
        .route("/vm/{reference}/{*rest}", any(programs::by_path))
        .merge(open)
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
        .layer(middleware::from_fn(cors::allow))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), envelope))
        .with_state(node)
}

/// Whatever has no route: the index page on the node's own name, 404 under its own folders, else a
/// program by host name (`spec: crn-api.md §§1, 9`).
async fn elsewhere(
    State(node): State<Arc<Node>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let own_folder = ["/about/", "/control/", "/status/"].iter().any(|folder| path.starts_with(folder));
    if own_folder && request.method() == Method::GET {
        return error(StatusCode::NOT_FOUND, "404: Not Found");
    }
    let host = host_of(&request);
    let own_name = host.is_empty() || host == node.config.domain_name || is_address(&host);
    if own_name && path == "/" && request.method() == Method::GET {
        return index::page(&node).into_response();
    }
    programs::by_host(node, peer, request, &host).await
}

/// What every response has, and the drain.
async fn envelope(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let for_program = path.starts_with("/vm/")
        || (!OWN.iter().any(|folder| path.starts_with(folder))
            && host_of(&request) != node.config.domain_name);
    let host = host_of(&request);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let mut response = if node.is_draining() && for_program {
        error(StatusCode::SERVICE_UNAVAILABLE, "Server is draining, try another node")
    } else if let Some(peer) = peer
        && path.starts_with("/api/")
        && program_of_host(&host).is_some()
    {
        // Our own extension must not hide what programs serve under the same path.
        programs::by_host(Arc::clone(&node), peer, request, &host).await
    } else {
        next.run(request).await
    };
    if let Ok(server) = HeaderValue::from_str(&format!("aleph-vm/{REFERENCE_VERSION}")) {
        response.headers_mut().insert(header::SERVER, server);
    }
    response
}

/// The host that was asked for, without port, in lower case.
fn host_of(request: &Request) -> String {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host =
        header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    without_port(host).to_ascii_lowercase()
}

/// Whether a host is an IP address or this machine's own name: nobody's program.
fn is_address(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}
