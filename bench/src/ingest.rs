//! `bench ingest`: bulk messages through the whole pipeline to durable commits.

use std::path::PathBuf;
use std::time::Instant;

use aleph_ccn::{Origin, Outcome};
use aleph_types::ParsedMessage;
use anyhow::{Result, ensure};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{corpus, machine, serve};

/// Messages of the floor's sample.
const FLOOR_SAMPLE: usize = 4000;

pub(crate) async fn run(count: usize, inside: usize, data_dir: Option<PathBuf>) -> Result<()> {
    println!("machine   {}", machine::describe());
    println!("corpus    signing {count} messages …");
    let corpus = corpus::posts(count)?;
    let bytes: usize = corpus.iter().map(Vec::len).sum();
    println!("corpus    {count} EVM-signed inline POSTs, {} bytes on average", bytes / count.max(1));

    let floor = floor(&corpus[..FLOOR_SAMPLE.min(count)])?;
    let temporary = tempfile::tempdir()?;
    let folder = data_dir.unwrap_or_else(|| temporary.path().join("node"));
    let stop = CancellationToken::new();
    let running = aleph_ccn::start(serve::config(folder, false), stop.clone()).await?;
    let node = std::sync::Arc::clone(&running.node);
    let serving = tokio::spawn(running.serve());

    let me = std::process::id();
    let cpu_before = machine::cpu_seconds(me);
    let started = Instant::now();
    let outcomes = futures_util::stream::iter(corpus.iter().map(|bytes| {
        let pipeline = node.pipeline.clone();
        async move {
            let parsed = ParsedMessage::from_json(bytes)?;
            Ok::<_, anyhow::Error>(pipeline.submit(parsed, Origin::CatchUp).await?)
        }
    }))
    .buffer_unordered(inside);
    tokio::pin!(outcomes);
    let mut processed = 0usize;
    while let Some(outcome) = outcomes.next().await {
        if outcome? == Outcome::Processed {
            processed += 1;
        }
    }
    let wall = started.elapsed().as_secs_f64();
    let cpu = machine::cpu_seconds(me) - cpu_before;
    ensure!(processed == count, "only {processed} of {count} messages were processed");

    let micros = cpu / count as f64 * 1e6;
    println!("processed {processed} messages, each durable before it was answered");
    println!("wall      {wall:.2} s, {:.0} messages/s", count as f64 / wall);
    println!("cpu       {cpu:.2} s, {micros:.1} µs a message, {:.0} messages/s per core", 1e6 / micros);
    println!("floor     {floor:.1} µs: one signature check alone, same messages, one thread");
    println!("ratio     {:.2} × the floor", micros / floor);
    println!(
        "batches   {} transactions, {:.0} messages each",
        node.metrics.batches.get(),
        count as f64 / node.metrics.batches.get().max(1) as f64
    );
    println!("memory    {:.0} MiB resident, the corpus included", machine::resident_mib(me));
    stop.cancel();
    serving.await??;
    Ok(())
}

/// Microseconds of one signature check.
fn floor(sample: &[Vec<u8>]) -> Result<f64> {
    let parsed = sample.iter().map(|bytes| ParsedMessage::from_json(bytes)).collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    for message in &parsed {
        ensure!(aleph_crypto::check(&message.message).is_ok(), "a message of the corpus is not signed well");
    }
    Ok(started.elapsed().as_secs_f64() / parsed.len() as f64 * 1e6)
}
