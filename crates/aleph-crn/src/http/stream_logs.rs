//! `GET /control/machine/{hash}/stream_logs`: the log as it grows, over a WebSocket
//! (`spec: crn-api.md §§3.3, 7.2`).

use std::sync::Arc;
use std::time::Duration;

use aleph_types::{Address, ItemHash};
use aleph_vm::{LogLine, LogSource, Supervisor};
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::machine::owner_of;
use super::respond::{error, hash_of};
use crate::auth::owner::{OwnerAuthError, authenticate_socket};
use crate::defaults::LOG_STREAMS;
use crate::execution::machine::State as Phase;
use crate::network::permissions;
use crate::node::Node;

/// How long a client may take to say who it is.
const FIRST_FRAME: Duration = Duration::from_secs(30);
/// How long a question for new lines waits at the supervisor.
const LOG_WAIT: Duration = Duration::from_secs(20);
/// Lines of one question.
const LOG_PAGE: usize = 500;
/// A first frame is two short documents.
const FRAME_BYTES: usize = 64 << 10;

/// Upgrades when the program is known; who asks is seen in the first frame.
pub(super) async fn open(
    State(node): State<Arc<Node>>,
    Path(reference): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let hash = match hash_of(&reference) {
        Ok(hash) => hash,
        Err(response) => return response,
    };
    let execution = node.executions.get(&hash);
    let Some(owner) = owner_of(&node, &hash, execution.as_ref()).await else {
        return error(StatusCode::NOT_FOUND, format!("No virtual machine with ref {hash}"));
    };
    let Ok(permit) = Arc::clone(&node.log_streams).try_acquire_owned() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, format!("{LOG_STREAMS} logs are followed already"));
    };
    upgrade
        .max_message_size(FRAME_BYTES)
        .on_upgrade(move |socket| async move {
            let _permit = permit;
            let shutdown = node.shutdown.clone();
            tokio::select! {
                () = follow(node, hash, owner, socket) => {}
                () = shutdown.cancelled() => {}
            }
        })
        .into_response()
}

async fn follow(node: Arc<Node>, hash: ItemHash, owner: Address, mut socket: WebSocket) {
    if let Err(reason) = admit(&node, &owner, &mut socket).await {
        let _ = send(&mut socket, json!({"status": "failed", "reason": reason})).await;
        let _ = socket.send(Frame::Close(None)).await;
        return;
    }
    if !send(&mut socket, json!({"status": "connected"})).await {
        return;
    }
    let execution = node.executions.get(&hash);
    let supervisor = match &execution {
        Some(execution) => execution.supervisor().await,
        None => None,
    };
    let last_word = match (supervisor, execution) {
        (Some(supervisor), Some(execution)) => {
            let live = || execution.view().state.has_vm();
            if !stream(&mut socket, &supervisor, live).await {
                return;
            }
            "VM is not running, past logs sent"
        }
        (None, Some(execution))
            if matches!(execution.view().state, Phase::Preparing { .. } | Phase::Starting { .. }) =>
        {
            "VM is starting, try again shortly"
        }
        _ => {
            for line in node.ended_logs(&hash).into_iter().flat_map(|page| page.lines) {
                if !send(&mut socket, frame_of(&line)).await {
                    return;
                }
            }
            "VM is not running, past logs sent"
        }
    };
    let _ = send(&mut socket, json!({"type": "system", "message": last_word})).await;
    let _ = socket.send(Frame::Close(None)).await;
}

/// Reads the first frame and checks who sent it.
async fn admit(node: &Node, owner: &Address, socket: &mut WebSocket) -> Result<(), String> {
    let first = tokio::time::timeout(FIRST_FRAME, socket.recv()).await;
    let text = match first {
        Ok(Some(Ok(Frame::Text(text)))) => text,
        Err(_) => return Err(format!("no 'auth' message within {} s", FIRST_FRAME.as_secs())),
        _ => return Err("the first message must be JSON text".to_owned()),
    };
    let value: Value =
        serde_json::from_str(text.as_str()).map_err(|_| "the first message must be JSON text")?;
    let auth = value.get("auth").ok_or("missing 'auth' key in message")?;
    let sealed = |name: &str| auth.get(name).map(Value::to_string);
    let (key, operation) = (sealed("X-SignedPubKey"), sealed("X-SignedOperation"));
    let sender =
        authenticate_socket(key.as_deref(), operation.as_deref(), &node.config.domain_name, Timestamp::now())
            .map_err(|cause| match cause {
                OwnerAuthError::Domain { .. } => "Invalid domain".to_owned(),
                other => other.to_string(),
            })?;
    if !permissions::may_operate(&node.messages, &sender, owner).await {
        return Err("unauthorized sender".to_owned());
    }
    Ok(())
}

/// Sends history, then what comes, until the VM is gone (`true`) or the client is (`false`).
async fn stream(socket: &mut WebSocket, supervisor: &Supervisor, live: impl Fn() -> bool) -> bool {
    let mut next = 0;
    loop {
        let was_live = live();
        let wait = was_live.then_some(LOG_WAIT);
        let page = tokio::select! {
            page = supervisor.logs(next, LOG_PAGE, wait) => page,
            // Pings are answered by the socket itself; anything else the client says is ignored.
            frame = socket.recv() => match frame {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => continue,
            },
        };
        let Ok(page) = page else { return true };
        for line in &page.lines {
            if !send(socket, frame_of(line)).await {
                return false;
            }
        }
        if page.lines.is_empty() && !was_live {
            return true;
        }
        next = page.next;
    }
}

fn frame_of(line: &LogLine) -> Value {
    let kind = if line.source == LogSource::Stderr { "stderr" } else { "stdout" };
    json!({"type": kind, "message": line.text})
}

async fn send(socket: &mut WebSocket, value: Value) -> bool {
    socket.send(Frame::Text(value.to_string().into())).await.is_ok()
}
