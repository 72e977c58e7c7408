//! Messages that were forgotten before this node could get them.

use std::collections::HashMap;

use aleph_rules::Dependency;
use aleph_store::Skeleton;
use aleph_types::content::Content;
use aleph_types::{ItemHash, ParsedMessage};
use futures_util::future::{try_join, try_join_all};

use super::CatchUpError;
use super::source::Source;
use crate::intake::tombstones::{Tombstone, judge};
use crate::pipeline::{Computing, Origin, Pipeline, PipelineError};

/// Those of the messages that were forgotten before this node could get them of which that is believed.
pub(super) async fn believed_of(
    source: &Source,
    computing: &Computing,
    forgotten: Vec<Skeleton>,
    forgets: HashMap<String, ParsedMessage>,
) -> Result<Vec<Tombstone>, CatchUpError> {
    if forgotten.is_empty() {
        return Ok(Vec::new());
    }
    let trusted = source.trusted;
    let judging = computing
        .run(move || forgotten.iter().map(|skeleton| judge(skeleton, &forgets, trusted)).collect::<Vec<_>>());
    let judged = judging.await?;
    let believed = judged.into_iter().filter_map(|verdict| {
        verdict
            .inspect_err(|doubt| {
                tracing::debug!(peer = %source.name, %doubt, "a forgotten message is not believed");
            })
            .ok()
    });
    Ok(believed.collect())
}

/// Remembers messages that were forgotten before this node could get them; returns how many are news.
pub(super) async fn bury(pipeline: &Pipeline, tombstones: Vec<Tombstone>) -> Result<usize, PipelineError> {
    if tombstones.is_empty() {
        return Ok(0);
    }
    let forgets: HashMap<ItemHash, ParsedMessage> = tombstones
        .iter()
        .map(|tombstone| (tombstone.forget.message.item_hash.clone(), tombstone.forget.clone()))
        .collect();
    let now = crate::clock::now();
    let remembered = pipeline.write(move |transaction| {
        let mut news = Vec::new();
        for Tombstone { message, item_type, owner, forget } in tombstones {
            let gone_at = forget.content.as_ref().map_or(forget.message.time, Content::time);
            let by = [forget.message.item_hash];
            if transaction.remember_forgotten(&message, item_type, &owner, &by, gone_at, now)? {
                news.push(message.item_hash);
            }
        }
        Ok(news)
    });
    // Those that were refused because their targets were unknown are decided anew.
    let decided = forgets.into_values().map(|forget| pipeline.submit(forget, Origin::CatchUp));
    let (news, _) = try_join(remembered, try_join_all(decided)).await?;
    for hash in &news {
        pipeline.retry_waiting(&Dependency::Message(hash.clone()));
    }
    Ok(news.len())
}
