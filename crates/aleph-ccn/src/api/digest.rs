//! `GET /api/v1/node/digest`: one hash over the state that all nodes should share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aleph_rules::invariants::sound;
use aleph_store::{RecomputedDigest, StateDigest};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::Digest;
use super::params::Params;

/// How old a recomputed digest may be: computing it reads every row.
pub(super) const RECOMPUTED_AGE: Duration = Duration::from_secs(60);

/// One hash over the state that all nodes should share.
#[utoipa::path(
    get,
    path = "/api/v1/node/digest",
    tag = "node",
    operation_id = "digest_get",
    params(("recompute" = Option<bool>, Query, description = "Compute it from the tables as well; at most once a minute")),
    responses(
        (status = 200, description = "The answer", body = Digest),
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let recompute = params.flag(&["recompute"], false);
    params.finish()?;
    if !recompute {
        return Ok(json_value(&shown(&api.node.store.digest().await?)));
    }
    let make = async { Ok::<_, ApiError>(Arc::new(api.node.store.recompute_digest().await?)) };
    let RecomputedDigest { kept, recomputed } = &*api.recomputed_digest.get(make).await?;
    let mut answer = shown(kept);
    answer["recomputed"] = shown(recomputed);
    let sound = sound(&kept.digest, &recomputed.digest);
    if let Err(violation) = &sound {
        aleph_store::watch::note(violation);
    }
    answer["sound"] = (sound.is_ok() && kept == recomputed).into();
    Ok(json_value(&answer))
}

fn shown(state: &StateDigest) -> Value {
    let parts: BTreeMap<_, _> = state.parts.iter().map(|(table, part)| (table, &part.digest)).collect();
    let rows: BTreeMap<_, _> = state.parts.iter().map(|(table, part)| (table, part.rows)).collect();
    json!({ "digest": state.digest, "messages": state.messages, "parts": parts, "rows": rows })
}
