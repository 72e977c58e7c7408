//! `/control/allocations` and `/control/allocation/notify` (`spec: crn-api.md §6`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aleph_types::ItemHash;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::respond::{error, whole_body};
use crate::allocation::Desired;
use crate::auth::scheduler::{Claim, SchedulerAuthError, SignedRequest};
use crate::defaults::MAX_ALLOCATION;
use crate::execution::handle::{Command, Execution};
use crate::execution::machine::{Event, Goal, State as Phase};
use crate::failure::Failure;
use crate::network::messages::Standing;
use crate::node::Node;
use crate::time::now_seconds;

/// The signer under which allocations of the retired token scheme are kept.
const TOKEN_SIGNER: &str = "token";

/// The complete desired state of one scheduler.
pub(super) async fn allocations(State(node): State<Arc<Node>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match whole_body(&node, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let path = percent_decoded(parts.uri.path());
    let signed = SignedRequest {
        method: parts.method.as_str(),
        path: &path,
        has_query: parts.uri.query().is_some(),
        body: &body,
    };
    let signer = match signer_of(&node, &parts.headers, signed).await {
        Ok(signer) => signer,
        Err(cause) => {
            tracing::warn!(%cause, "allocation refused");
            return error(StatusCode::UNAUTHORIZED, "Authentication token received is invalid");
        }
    };
    let wanted = match Wanted::read(&body) {
        Ok(wanted) => wanted,
        Err(problems) => return (StatusCode::BAD_REQUEST, Json(problems)).into_response(),
    };
    let _turn = node.allocations.turn.lock().await;
    match apply(&node, &signer, wanted).await {
        Ok(outcome) => outcome.into_response(),
        Err(cause) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the allocation can't be kept: {cause}; check the node's state folder"),
        ),
    }
}

/// Who signed the request, if that account may allocate here.
async fn signer_of(
    node: &Node,
    headers: &HeaderMap,
    signed: SignedRequest<'_>,
) -> Result<String, SchedulerAuthError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key(header::AUTHORIZATION) {
        // A length is part of the scheme: what is signed is one whole body.
        if !headers.contains_key(header::CONTENT_LENGTH) {
            return Err(SchedulerAuthError::Body);
        }
        let claim = Claim::parse(text("authorization").ok_or(SchedulerAuthError::Header)?)?;
        let now = now_seconds();
        let signer = claim.signer(signed, now)?;
        if !node.signers.allows(&signer).await {
            return Err(SchedulerAuthError::Signer { address: signer });
        }
        claim.accept_once(&node.replay, &signer, now)?;
        return Ok(signer);
    }
    match (text("x-auth-signature"), &node.config.allocation_token_hash) {
        (Some(token), Some(hash)) if hex::encode(Sha256::digest(token)) == *hash => {
            Ok(TOKEN_SIGNER.to_owned())
        }
        _ => Err(SchedulerAuthError::Header),
    }
}

/// The lists of a request; unknown keys are ignored.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    persistent: Vec<ItemHash>,
    instances: Vec<ItemHash>,
    on_demand: Vec<ItemHash>,
}

impl Wanted {
    /// Errors with an array of what is wrong and where, as the reference's validator gives it.
    fn read(body: &[u8]) -> Result<Self, Value> {
        let problem = |place: Vec<Value>, kind: &str, words: String| json!([{"loc": place, "type": kind, "msg": words}]);
        let value: Value = serde_json::from_slice(body)
            .map_err(|cause| problem(vec![], "json_invalid", format!("Body is not valid JSON: {cause}")))?;
        let Value::Object(object) = &value else {
            return Err(problem(vec![], "model_type", "the body must be an object".to_owned()));
        };
        let mut count = 0;
        let mut list = |key: &str| -> Result<Vec<ItemHash>, Value> {
            let items = match object.get(key) {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(Value::Array(items)) => items,
                Some(_) => {
                    return Err(problem(
                        vec![key.into()],
                        "set_type",
                        "must be a list of item hashes".into(),
                    ));
                }
            };
            count += items.len();
            if count > MAX_ALLOCATION {
                let words = format!("more than {MAX_ALLOCATION} programs in one allocation");
                return Err(problem(vec![key.into()], "too_long", words));
            }
            let mut hashes = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let hash = item.as_str().and_then(|text| ItemHash::parse(text).ok());
                let words = || format!("{item} is no item hash");
                hashes.insert(
                    hash.ok_or_else(|| problem(vec![key.into(), index.into()], "value_error", words()))?,
                );
            }
            Ok(hashes.into_iter().collect())
        };
        Ok(Self {
            persistent: list("persistent_vms")?,
            instances: list("instances")?,
            on_demand: list("on_demand_vms")?,
        })
    }
}

/// What became of each program of an allocation.
#[derive(Debug, Default)]
struct Outcome {
    successful: BTreeSet<ItemHash>,
    failing: BTreeMap<ItemHash, String>,
    stopped: BTreeSet<ItemHash>,
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let status = match (self.failing.is_empty(), self.successful.is_empty()) {
            (true, _) => StatusCode::OK,
            (false, false) => StatusCode::MULTI_STATUS,
            (false, true) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = json!({
            "success": self.failing.is_empty(),
            "successful": self.successful,
            "failing": self.failing.keys().collect::<Vec<_>>(),
            "stopped": self.stopped,
            "errors": self.failing,
        });
        (status, Json(body)).into_response()
    }
}

/// Keeps the desired state, then makes it true: what only this signer wanted and wants no more is
/// stopped, what is wanted is started (persistent) or prepared (on demand).
async fn apply(node: &Arc<Node>, signer: &str, wanted: Wanted) -> std::io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let desired = Desired {
        persistent_vms: wanted.persistent.iter().cloned().collect(),
        on_demand_vms: wanted.on_demand.iter().cloned().collect(),
    };
    let change = node.allocations.replace(signer, desired).await?;
    for hash in change.dropped {
        if let Some(execution) = node.executions.get(&hash) {
            tracing::info!(%hash, signer, "no longer allocated");
            execution.tell(Command::Allocate { allocated: false, persistent: false, goal: None });
            execution.tell(Command::Event(Event::StopAsked));
            outcome.stopped.insert(hash);
        }
    }
    for hash in wanted.instances {
        let failure =
            Failure::Unsupported("it is listed as an instance, which this node does not run yet".to_owned());
        outcome.failing.insert(hash, setup_error(&failure));
    }
    let everything = node.allocations.all();
    let mut starting = Vec::new();
    for hash in wanted.persistent.iter().chain(&wanted.on_demand) {
        let persistent = everything.get(hash).copied().unwrap_or(false);
        match allocate(node, hash, persistent).await {
            Ok(execution) if persistent => starting.push(execution),
            Ok(_) => {
                outcome.successful.insert(hash.clone());
            }
            Err(failure) => {
                outcome.failing.insert(hash.clone(), setup_error(&failure));
            }
        }
    }
    // As long as the downloads and boots take.
    for execution in starting {
        let view = execution
            .wait_until(|view| {
                matches!(view.state, Phase::Running { .. } | Phase::Failed { .. } | Phase::Gone)
            })
            .await;
        match (&view.state, &view.failure) {
            (Phase::Running { .. }, _) => {
                outcome.successful.insert(execution.hash.clone());
            }
            (_, failure) => {
                let words =
                    failure.as_ref().map_or_else(|| "Exception('Unhandled Error')".to_owned(), setup_error);
                outcome.failing.insert(execution.hash.clone(), words);
            }
        }
    }
    Ok(outcome)
}

/// The reference prints exceptions; clients show them.
fn setup_error(failure: &Failure) -> String {
    format!("VmSetupError('{failure}')")
}

/// Makes sure that a program is known and on its way. An on-demand program counts as allocated once its
/// message is known to be one that can run; its files and its template follow in the background.
async fn allocate(node: &Arc<Node>, hash: &ItemHash, persistent: bool) -> Result<Execution, Failure> {
    let execution = node.executions.get_or_start(node, hash)?;
    let goal = match (persistent, node.uses_templates()) {
        (true, _) => Goal::Serve,
        (false, true) => Goal::Template,
        (false, false) => Goal::Files,
    };
    let view = execution.view();
    // Nothing to do for a program whose files, and template, were made ready before.
    let ready =
        !persistent && view.allocated && view.stages.images_fetched.is_some() && view.failure.is_none();
    // No room for a template now is no failure of the allocation: its files are here.
    let only_crowded = ready && matches!(view.failure, Some(Failure::NoCapacity(_)));
    if let (Phase::Failed { .. }, Some(failure), false) = (view.state, &view.failure, only_crowded) {
        execution.tell(Command::Allocate { allocated: true, persistent, goal: Some(goal) });
        return Err(failure.clone());
    }
    execution.tell(Command::Allocate { allocated: true, persistent, goal: (!ready).then_some(goal) });
    if ready || persistent {
        return Ok(execution);
    }
    let view = execution
        .wait_until(|view| {
            view.stages.message_resolved.is_some()
                || matches!(view.state, Phase::Running { .. } | Phase::Failed { .. } | Phase::Gone)
        })
        .await;
    match (&view.state, &view.failure) {
        (Phase::Failed { .. } | Phase::Gone, Some(failure)) => Err(failure.clone()),
        _ => Ok(execution),
    }
}

/// Anyone may prod: the message itself must justify a start. Only instances are started so, and this
/// node runs none yet.
pub(super) async fn notify(State(node): State<Arc<Node>>, request: Request) -> Response {
    let body = match whole_body(&node, request.into_body()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        return error(StatusCode::BAD_REQUEST, "Body is not valid JSON");
    };
    let instance = value.get("instance").and_then(Value::as_str).and_then(|text| ItemHash::parse(text).ok());
    let Some(hash) = instance else {
        let problems = json!([{"loc": ["instance"], "type": "missing", "msg": "an item hash is required"}]);
        return (StatusCode::BAD_REQUEST, Json(problems.to_string())).into_response();
    };
    match node.messages.standing(&hash).await {
        Ok(Standing::Processed(parsed, _)) => match parsed.message.message_type {
            aleph_types::MessageType::Instance => {
                let failure = Failure::Unsupported("this node does not run instances yet".to_owned());
                let body = json!({
                    "success": false, "successful": false, "failing": [hash],
                    "errors": {hash.to_string(): setup_error(&failure)},
                });
                (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
            }
            _ => error(StatusCode::BAD_REQUEST, "400: Message is not an instance"),
        },
        Ok(Standing::Gone(status)) => Failure::MessageGone { hash, status }.into_response(),
        Ok(Standing::NotProcessed { status, detail }) => {
            Failure::MessageNotProcessed { hash, status, detail }.into_response()
        }
        Ok(Standing::Unknown) => Failure::MessageNotFound(hash).into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// `%41` becomes `A`; signatures are over decoded paths.
pub(super) fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let hash = "a".repeat(64);
        let body =
            format!(r#"{{"persistent_vms":["{hash}","{hash}"],"on_demand_vms":null,"jobs":["x"],"more":1}}"#);
        let wanted = Wanted::read(body.as_bytes()).unwrap();
        assert_eq!(wanted.persistent, vec![hash.parse().unwrap()]);
        assert_eq!(Wanted::read(b"{}").unwrap(), Wanted::default());
        for bad in ["", "[]", r#"{"instances":["x"]}"#, r#"{"instances":"x"}"#, r#"{"on_demand_vms":[1]}"#] {
            assert!(Wanted::read(bad.as_bytes()).unwrap_err().is_array(), "{bad}");
        }
    }

    #[test]
    fn statuses() {
        let hash = |n: u8| ItemHash::sha256(&[n]);
        let outcome = |good: &[u8], bad: &[u8]| {
            let outcome = Outcome {
                successful: good.iter().map(|n| hash(*n)).collect(),
                failing: bad.iter().map(|n| (hash(*n), "e".to_owned())).collect(),
                stopped: BTreeSet::new(),
            };
            outcome.into_response().status().as_u16()
        };
        assert_eq!(outcome(&[], &[]), 200);
        assert_eq!(outcome(&[1], &[]), 200);
        assert_eq!(outcome(&[1], &[2]), 207);
        assert_eq!(outcome(&[], &[2]), 503);
    }

    #[test]
    fn escapes() {
        assert_eq!(percent_decoded("/a%20b%C3%A9%zz%4"), "/a bé%zz%4");
    }
}
