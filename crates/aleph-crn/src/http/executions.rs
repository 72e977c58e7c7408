//! `/api/v1/executions…`: a program's way up with times, for people and tools. An extension of ours.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::respond::{error, hash_of};
use crate::execution::handle::Execution;
use crate::hostname::label_of;
use crate::node::Node;
use crate::time::iso;

/// Every program that this node knows.
pub(super) async fn list(State(node): State<Arc<Node>>) -> Response {
    let executions: Vec<Value> =
        node.executions.all().iter().map(|execution| report(&node, execution)).collect();
    Json(json!({"executions": executions})).into_response()
}

/// One program.
pub(super) async fn one(State(node): State<Arc<Node>>, Path(reference): Path<String>) -> Response {
    let hash = match hash_of(&reference) {
        Ok(hash) => hash,
        Err(response) => return response,
    };
    match node.executions.get(&hash) {
        Some(execution) => Json(report(&node, &execution)).into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            format!("this node does not know program {hash}; request /vm/{hash}/ to start it here"),
        ),
    }
}

fn report(node: &Node, execution: &Execution) -> Value {
    let view = execution.view();
    let hash = &execution.hash;
    let fetched: u64 = view.files.iter().map(|file| file.fetched).sum();
    let stages: Vec<Value> = view
        .stages
        .reached()
        .into_iter()
        .map(|(name, at)| {
            let mut stage = json!({"name": name, "at": iso(at), "at_ms": at});
            if name == "images_fetched" {
                stage["bytes"] = fetched.into();
                stage["total_bytes"] = view.files.iter().map(|file| file.size).sum::<u64>().into();
            }
            stage
        })
        .collect();
    let files: Vec<Value> = view
        .files
        .iter()
        .map(|file| {
            json!({
                "what": file.what, "ref": file.stored.reference, "store_hash": file.stored.store,
                "file_hash": file.stored.file, "size": file.size, "fetched_bytes": file.fetched,
            })
        })
        .collect();
    let vm = view.vm.as_ref().map(|vm| {
        json!({
            "direct_url": format!("http://{}/", vm.http),
            "mode": vm.mode,
            "acceleration": vm.acceleration,
            "timeline_ms": vm.timeline,
            "supervisor_pid": vm.supervisor_pid,
            "hypervisor_pid": vm.hypervisor_pid,
            "template_note": vm.template_note,
            "adopted": vm.adopted,
            "request_limit_ms": vm.request_ms,
        })
    });
    json!({
        "item_hash": hash,
        "state": view.state.as_str(),
        "running": view.is_running(),
        "allocated": view.allocated,
        "allocated_by": node.allocations.signers_of(hash),
        "persistent": view.persistent,
        "owner": view.program.as_ref().map(|program| program.content.base.address.clone()),
        "stages": stages,
        "files": files,
        "vm": vm,
        "starts": view.starts,
        "requests": view.requests,
        "failure": view.failure.as_ref().map(|failure| failure.report()),
        "path": format!("/vm/{hash}/"),
        "host": label_of(hash).map(|label| format!("{label}.{}", node.config.domain_name)),
    })
}
