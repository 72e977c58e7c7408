//! `bench ingest`: bulk messages through the whole pipeline to durable commits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aleph_ccn::{Node, Origin, Outcome};
use aleph_store::Location;
use aleph_types::{Chain, ParsedMessage};
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::corpus::{self, Keys, Recipe};
use crate::report::Report;
use crate::{machine, serve};

/// Messages of the floor's sample.
const FLOOR_SAMPLE: usize = 4000;

/// Rises when the same options make another store, or the migrations rebuild much of it: a rebuilt index is
/// packed tighter than one that grew, and the rebuilding leaves the writer's cache warm.
const EXISTING_VERSION: u32 = 5;

/// Messages that are made at a time while a store is filled.
const FILL_CHUNK: usize = 20_000;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many signed messages of about 1 KB
    #[arg(long, default_value_t = 60_000)]
    messages: usize,
    /// Submissions that wait for their commit at once
    #[arg(long, default_value_t = 8192)]
    inside: usize,
    /// Messages that the store has before; made once and kept in the cache folder
    #[arg(long, default_value_t = 0)]
    existing: usize,
    /// 70 % posts, 15 % aggregates on shared keys, 10 % stores, 5 % forgets instead of posts only
    #[arg(long)]
    mix: bool,
    /// Whose keys sign the messages
    #[arg(long, default_value = "ETH")]
    chain: Chain,
    /// Runs, each on a fresh copy of the store; the figures are those of the median
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// An empty PostgreSQL database to use instead of SQLite (`postgres://user:password@host:port/name`)
    #[arg(long, conflicts_with_all = ["existing", "rounds"])]
    database: Option<Location>,
    /// Where corpora and filled stores are kept; outside the project, some GB a million messages
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// Where corpora and filled stores are kept unless told otherwise.
pub(crate) fn default_cache() -> PathBuf {
    std::env::home_dir().unwrap_or_else(std::env::temp_dir).join(".cache/alephd-bench")
}

/// One run.
struct Round {
    wall: f64,
    cpu: f64,
    floor: f64,
    pending: usize,
    batches: u64,
    stages: Vec<(String, f64)>,
    peak: f64,
    before: f64,
    disk: u64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut report = Report::new("ingest", options.json);
    let cache = options.cache.clone().unwrap_or_else(default_cache);
    let recipe = Recipe {
        first: options.existing,
        count: options.messages,
        mix: options.mix,
        chain: options.chain,
        signed: true,
    };
    let corpus = recipe.cached(&cache)?;
    let bytes = fs::metadata(&corpus)?.len();
    report.line(
        "corpus",
        format_args!(
            "{} {} messages, {} bytes on average, {}; {} before",
            options.messages,
            options.chain,
            bytes / options.messages.max(1) as u64,
            if options.mix { "mixed" } else { "POSTs" },
            options.existing,
        ),
    );
    let existing = match options.existing {
        0 => None,
        count => Some(existing(&cache, count).await?),
    };
    let mut rounds = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&cache)?;
        if let Some(existing) = &existing {
            copy_folder(existing, folder.path())?;
        }
        let round = round(&options, &corpus, folder.path()).await?;
        report.line(
            "round",
            format_args!(
                "{:.1} µs a message, floor {:.1} µs, ratio {:.2}, load {:.1}",
                round.cpu / options.messages as f64 * 1e6,
                round.floor,
                round.cpu / options.messages as f64 * 1e6 / round.floor,
                machine::load(),
            ),
        );
        rounds.push(round);
    }
    rounds.sort_by(|a, b| (a.cpu / a.floor).total_cmp(&(b.cpu / b.floor)));
    let median = rounds.swap_remove(rounds.len() / 2);
    tell(&mut report, &options, &median);
    report.finish();
    Ok(())
}

fn tell(report: &mut Report, options: &Options, round: &Round) {
    let count = options.messages as f64;
    let micros = round.cpu / count * 1e6;
    report.line("wall", format_args!("{:.2} s, {:.0} messages/s", round.wall, count / round.wall));
    report.line(
        "cpu",
        format_args!("{:.2} s, {micros:.1} µs a message, {:.0} messages/s per core", round.cpu, 1e6 / micros),
    );
    report.line("floor", format_args!("{:.1} µs of cpu: one signature check alone, one thread", round.floor));
    report.line("ratio", format_args!("{:.2} × the floor", micros / round.floor));
    for (stage, seconds) in &round.stages {
        report.line("stage", format_args!("{stage}: {:.1} µs a message", seconds / count * 1e6));
    }
    report.line(
        "batches",
        format_args!(
            "{} transactions, {:.0} messages each",
            round.batches,
            count / round.batches.max(1) as f64
        ),
    );
    report.line(
        "memory",
        format_args!(
            "{:.0} MiB resident at most, {:.0} MiB before the first message",
            round.peak, round.before
        ),
    );
    report.line("disk", format_args!("{} MiB of database and log", round.disk >> 20));
    if round.pending > 0 {
        report.line("pending", format_args!("{} messages waited for another first", round.pending));
    }
    report.data(json!({
        "messages": options.messages,
        "existing": options.existing,
        "mix": options.mix,
        "chain": options.chain.as_str(),
        "wall_seconds": round.wall,
        "cpu_micros_per_message": micros,
        "messages_per_second_and_core": 1e6 / micros,
        "floor_micros": round.floor,
        "ratio_to_floor": micros / round.floor,
        "stages_micros": round.stages.iter().map(|(stage, seconds)| (stage.clone(), (seconds / count * 1e6).into()))
            .collect::<serde_json::Map<_, _>>(),
        "transactions": round.batches,
        "peak_resident_mib": round.peak,
        "disk_bytes": round.disk,
    }));
}

async fn round(options: &Options, corpus: &Path, folder: &Path) -> Result<Round> {
    let stop = CancellationToken::new();
    let mut config = serve::config(folder.to_owned(), false);
    config.storage.database.clone_from(&options.database);
    let running = aleph_ccn::start(config, stop.clone()).await?;
    let node = Arc::clone(&running.node);
    let serving = tokio::spawn(running.serve());
    if options.mix {
        put_files(&node).await?;
    }
    let floor = floor(corpus)?;

    let lines = BufReader::with_capacity(1 << 20, fs::File::open(corpus)?).split(b'\n');
    machine::forget_peak();
    let before = machine::resident_mib(std::process::id());
    let stages_before = machine::cpu_by_stage();
    let cpu_before = machine::own_cpu_seconds();
    let started = Instant::now();
    let pipeline = node.pipeline.clone();
    let outcomes = futures_util::stream::iter(lines.map(|line| {
        let pipeline = pipeline.clone();
        async move {
            let parsed = ParsedMessage::from_json(&line?)?;
            Ok::<_, anyhow::Error>(pipeline.submit(parsed, Origin::CatchUp).await?)
        }
    }))
    .buffer_unordered(options.inside);
    tokio::pin!(outcomes);
    let (mut processed, mut pending) = (0usize, 0usize);
    while let Some(outcome) = outcomes.next().await {
        match outcome? {
            Outcome::Processed => processed += 1,
            Outcome::Pending => pending += 1,
            other => anyhow::bail!("a message of the corpus ended as {other:?}"),
        }
    }
    let wall = started.elapsed().as_secs_f64();
    let cpu = machine::own_cpu_seconds() - cpu_before;
    let stages = machine::cpu_by_stage()
        .into_iter()
        .map(|(stage, seconds)| {
            let before = stages_before.get(&stage).copied().unwrap_or(0.0);
            (stage, seconds - before)
        })
        .filter(|(_, seconds)| *seconds > 0.0)
        .collect();
    ensure!(
        processed + pending == options.messages,
        "only {processed} of {} were processed",
        options.messages
    );
    ensure!(options.mix || pending == 0, "{pending} posts wait");
    let peak = machine::peak_mib(std::process::id());
    let disk = node.store.disk_size();
    let batches = node.metrics.batches.get();
    drop(node);
    stop.cancel();
    serving.await??;
    Ok(Round { wall, cpu, floor, pending, batches, stages, peak, before, disk })
}

/// Files for the STORE messages.
async fn put_files(node: &Node) -> Result<()> {
    for index in 0..corpus::FILES {
        let content = corpus::file(index);
        if node.blobs.size(&aleph_types::ItemHash::sha256(&content)).await?.is_none() {
            node.blobs.put_bytes(content).await?;
        }
    }
    Ok(())
}

/// A stopped node's folder with `count` messages of all types, made once.
pub(crate) async fn existing(cache: &Path, count: usize) -> Result<PathBuf> {
    existing_of(cache, count, false).await
}

/// The same with messages that are signed as they must be, for another node to verify.
pub(crate) async fn existing_signed(cache: &Path, count: usize) -> Result<PathBuf> {
    existing_of(cache, count, true).await
}

async fn existing_of(cache: &Path, count: usize, signed: bool) -> Result<PathBuf> {
    let signs = if signed { "signed-" } else { "" };
    let folder = cache.join(format!("existing-{signs}v{EXISTING_VERSION}-{count}"));
    if folder.exists() {
        return Ok(folder);
    }
    eprintln!("filling a store with {count} messages, once; it is kept in {}", folder.display());
    let unfinished = folder.with_extension("part");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let stop = CancellationToken::new();
    let running = aleph_ccn::start(serve::config(unfinished.clone(), false), stop.clone()).await?;
    let node = Arc::clone(&running.node);
    let serving = tokio::spawn(running.serve());
    put_files(&node).await?;
    let recipe = Recipe { first: 0, count, mix: true, chain: Chain::Eth, signed };
    let keys = Keys::new(recipe.chain)?;
    for start in (0..count).step_by(FILL_CHUNK) {
        let messages = recipe.messages(&keys, start, FILL_CHUNK.min(count - start))?;
        submit_trusted(&node, messages).await?;
    }
    drop(node);
    stop.cancel();
    serving.await??;
    fs::rename(&unfinished, &folder).context("the filled store can't be kept")?;
    Ok(folder)
}

/// Messages of a trusted origin: their signatures are not read.
pub(crate) async fn submit_trusted(node: &Node, messages: Vec<aleph_types::Message>) -> Result<()> {
    let outcomes = futures_util::stream::iter(messages.into_iter().map(|message| {
        let pipeline = node.pipeline.clone();
        async move {
            let parsed = ParsedMessage::from_json(&serde_json::to_vec(&message.to_wire())?)?;
            Ok::<_, anyhow::Error>(pipeline.submit(parsed, Origin::Genesis).await?)
        }
    }))
    .buffer_unordered(8192);
    tokio::pin!(outcomes);
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome?;
        ensure!(
            matches!(outcome, Outcome::Processed | Outcome::Pending),
            "a message of the corpus ended as {outcome:?}"
        );
    }
    Ok(())
}

pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Microseconds of processor that one signature check takes.
fn floor(corpus: &Path) -> Result<f64> {
    let parsed = BufReader::new(fs::File::open(corpus)?)
        .split(b'\n')
        .take(FLOOR_SAMPLE)
        .map(|line| Ok(ParsedMessage::from_json(&line?)?))
        .collect::<Result<Vec<_>>>()?;
    let started = machine::thread_cpu_seconds();
    for message in &parsed {
        ensure!(aleph_crypto::check(&message.message).is_ok(), "a message of the corpus is not signed well");
    }
    Ok((machine::thread_cpu_seconds() - started) / parsed.len() as f64 * 1e6)
}
