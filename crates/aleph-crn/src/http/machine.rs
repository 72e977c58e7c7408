//! `/control/machine/{hash}/…`: what owners do with their programs (`spec: crn-api.md §7`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aleph_types::{Address, ItemHash};
use aleph_vm::{LogLine, LogSource, Supervisor};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::control::percent_decoded;
use super::respond::{error, hash_of, text, whole_body};
use crate::auth::owner::{OperationTarget, authenticate};
use crate::execution::handle::{Command, Execution};
use crate::execution::machine::{Event, Goal, State as Phase};
use crate::execution::record::Record;
use crate::network::messages::Program;
use crate::network::permissions;
use crate::node::Node;
use crate::time::spaced;

/// Lines asked of a supervisor at once.
const LOG_PAGE: usize = 500;
/// How long an operation waits for the VM to follow; it follows later all the same.
const OPERATION_TIME: Duration = Duration::from_secs(60);
/// Longest expiry, exclusive (`spec: crn-api.md §7.4`).
const EXPIRY_SECONDS: f64 = 864_000.0;

/// The program of an authenticated operation.
struct Target {
    hash: ItemHash,
    execution: Option<Execution>,
}

/// Looks the program up, then checks who asks (`spec: crn-api.md §3.2`, "Lookup order").
async fn target_of(
    node: &Arc<Node>,
    parts: &Parts,
    reference: &str,
    unknown: &str,
) -> Result<Target, Response> {
    let hash = hash_of(reference)?;
    let text_of = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let path = percent_decoded(parts.uri.path());
    let target =
        OperationTarget { domain: &node.config.domain_name, method: parts.method.as_str(), path: &path };
    let sender =
        authenticate(text_of("x-signedpubkey"), text_of("x-signedoperation"), target, Timestamp::now())
            .map_err(|cause| error(cause.status(), cause.to_string()))?;
    let execution = node.executions.get(&hash);
    let owner = owner_of(node, &hash, execution.as_ref()).await;
    let Some(owner) = owner else {
        return Err(error(StatusCode::NOT_FOUND, unknown.replace("{}", hash.as_str())));
    };
    if !permissions::may_operate(&node.messages, &sender, &owner).await {
        return Err(text(StatusCode::FORBIDDEN, "Unauthorized sender"));
    }
    Ok(Target { hash, execution })
}

/// Whose program it is: from its message, kept on disk while it is known, so that stopped programs stay
/// addressable.
pub(super) async fn owner_of(
    node: &Arc<Node>,
    hash: &ItemHash,
    execution: Option<&Execution>,
) -> Option<Address> {
    if let Some(program) = execution.and_then(|execution| execution.view().program.clone()) {
        return Some(program.content.base.address.clone());
    }
    let (folder, of) = (node.programs_dir(), hash.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let record = Record::load(&folder, &of)?;
        Program::from_document(&of, record.document)
    })
    .await;
    Some(kept.ok()??.content.base.address)
}

const NO_MACHINE: &str = "No virtual machine with ref {}";

/// The whole log that is kept, oldest first, as the reference's journal prints it.
pub(super) async fn logs(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let target = match target_of(&node, &parts, &reference, "No execution found for this VM").await {
        Ok(target) => target,
        Err(response) => return response,
    };
    let supervisor = match &target.execution {
        Some(execution) => execution.supervisor().await,
        None => None,
    };
    let Some(supervisor) = supervisor else {
        let Some(page) = node.ended_logs(&target.hash) else {
            return error(StatusCode::NOT_FOUND, "No execution found for this VM");
        };
        let lines: Vec<Value> = page.lines.iter().map(|line| entry_of(line, target.hash.as_str())).collect();
        return Json(lines).into_response();
    };
    let pages = stream::unfold(Pages::Start(supervisor, target.hash.to_string()), next_page);
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pages)).into_response()
}

/// Where the stream of log pages is.
enum Pages {
    Start(Supervisor, String),
    Go { supervisor: Supervisor, name: String, next: u64, first: bool },
    End,
}

async fn next_page(at: Pages) -> Option<(Result<Bytes, Infallible>, Pages)> {
    match at {
        Pages::Start(supervisor, name) => {
            Some((Ok(Bytes::from_static(b"[")), Pages::Go { supervisor, name, next: 0, first: true }))
        }
        Pages::Go { supervisor, name, next, first } => {
            // A supervisor that is gone ends the list: what came so far is valid.
            let page = supervisor.logs(next, LOG_PAGE, None).await.ok().filter(|page| !page.lines.is_empty());
            let Some(page) = page else { return Some((Ok(Bytes::from_static(b"]")), Pages::End)) };
            let mut text = String::new();
            for (index, line) in page.lines.iter().enumerate() {
                if index > 0 || !first {
                    text.push_str(", ");
                }
                text.push_str(&entry_of(line, &name).to_string());
            }
            Some((Ok(Bytes::from(text)), Pages::Go { supervisor, name, next: page.next, first: false }))
        }
        Pages::End => None,
    }
}

fn entry_of(line: &LogLine, name: &str) -> Value {
    let file = match line.source {
        LogSource::Stderr => "stderr",
        _ => "stdout",
    };
    json!({
        "SYSLOG_IDENTIFIER": format!("vm-{name}-{file}"),
        "MESSAGE": line.text,
        "file": file,
        "source": line.source,
        "__REALTIME_TIMESTAMP": spaced(line.time_ms),
    })
}

/// Ends the VM; the next request starts it again.
pub(super) async fn stop(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let target = match target_of(&node, &parts, &reference, NO_MACHINE).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    let running = target.execution.filter(|execution| execution.view().state.has_vm());
    let Some(execution) = running else { return text(StatusCode::OK, "Already stopped, nothing to do") };
    execution.tell(Command::Event(Event::StopAsked));
    let stopped = execution.wait_until(|view| !view.state.has_vm());
    if tokio::time::timeout(OPERATION_TIME, stopped).await.is_err() {
        tracing::info!(hash = %target.hash, "stop takes long; it goes on");
    }
    text(StatusCode::OK, format!("Stopped VM with ref {}", target.hash))
}

/// Ends the VM and starts it again.
pub(super) async fn reboot(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let target = match target_of(&node, &parts, &reference, NO_MACHINE).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    let execution = match target.execution {
        Some(execution) => execution,
        None => match node.executions.get_or_start(&node, &target.hash) {
            Ok(execution) => execution,
            Err(failure) => return failure.into_response(),
        },
    };
    if execution.view().state.has_vm() {
        execution.tell(Command::Event(Event::RebootAsked));
        return text(StatusCode::OK, format!("Rebooted VM with ref {}", target.hash));
    }
    execution.tell(Command::Event(Event::Wanted(Goal::Serve)));
    text(StatusCode::OK, format!("Starting VM (was not running) with ref {}", target.hash))
}

/// Ends the VM and deletes what it kept: its persistent volumes and its record.
pub(super) async fn erase(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let target = match target_of(&node, &parts, &reference, NO_MACHINE).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    if let Some(execution) = &target.execution {
        execution.tell(Command::Event(Event::RemoveAsked));
        let gone = execution.wait_until(|view| view.state == Phase::Gone);
        if tokio::time::timeout(OPERATION_TIME, gone).await.is_err() {
            return error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the VM does not end; its volumes are untouched, repeat the request",
            );
        }
    }
    match node.delete_volumes(&target.hash).await {
        Ok(()) => text(StatusCode::OK, format!("Erased VM with ref {}", target.hash)),
        Err(cause) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, format!("the volumes can't be deleted: {cause}"))
        }
    }
}

/// Ends the VM after `timeout` seconds, from a JSON body or from the query.
pub(super) async fn expire(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let target = match target_of(&node, &parts, &reference, NO_MACHINE).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    let body = match whole_body(&node, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let sent = serde_json::from_slice::<Value>(&body).ok().and_then(|value| value.get("timeout")?.as_f64());
    let seconds = sent.or_else(|| query.get("timeout")?.parse().ok());
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0 && *seconds < EXPIRY_SECONDS) else {
        return error(StatusCode::BAD_REQUEST, "Invalid timeout duration");
    };
    let Some(execution) = target.execution else {
        return error(StatusCode::NOT_FOUND, NO_MACHINE.replace("{}", target.hash.as_str()));
    };
    execution.tell(Command::ExpireIn(Duration::from_secs_f64(seconds)));
    text(StatusCode::OK, format!("Expiring VM with ref {} in {seconds} seconds", target.hash))
}

/// Port forwards and domains of a VM; programs have none, so there is nothing to read again.
pub(super) async fn update(State(node): State<Arc<Node>>, Path(reference): Path<String>) -> Response {
    let hash = match hash_of(&reference) {
        Ok(hash) => hash,
        Err(response) => return response,
    };
    match node.executions.get(&hash) {
        None => error(StatusCode::NOT_FOUND, "404: VM not found"),
        Some(execution) if !execution.view().is_running() => {
            Json(json!({"status": "ok", "msg": "VM not starting yet"})).into_response()
        }
        Some(_) => Json(json!({})).into_response(),
    }
}
