//! `bench catch-up`: an empty node gets everything from one other over loopback, and is killed on the way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::ingest::{copy_folder, default_cache, existing_signed};
use crate::machine;
use crate::report::Report;
use crate::serve::Served;

/// How often both nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Nothing new for this long: it stands still.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many messages the other node has; made once, signed, and kept in the cache folder
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// Over HTTP instead of libp2p
    #[arg(long)]
    http: bool,
    /// Kill the empty node with -9 when it has that share of the messages; 0: never
    #[arg(long, default_value_t = 0.5)]
    kill_at: f64,
    /// Where filled stores are kept; outside the project, some GB a million messages
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// What one node has come to.
struct State {
    digest: String,
    messages: u64,
}

/// What a node answers, in a time that a busy one keeps.
async fn get(address: &str, path: &str) -> Result<Value> {
    let request = reqwest::Client::new().get(format!("http://{address}{path}")).timeout(PATIENCE);
    let answer = request.send().await.with_context(|| format!("GET {path}"))?;
    Ok(answer.json().await?)
}

async fn state(address: &str) -> Result<State> {
    let answer = get(address, "/api/v1/node/digest").await?;
    let digest = answer["digest"].as_str().context("no digest")?.to_owned();
    Ok(State { digest, messages: answer["messages"].as_u64().context("no messages")? })
}

/// Messages that came from the other node, as the catching-up node says.
async fn fetched(address: &str) -> Result<u64> {
    let answer = get(address, "/api/v1/node/sync").await?;
    let peers = answer["peers"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(peers.iter().filter_map(|peer| peer["fetched"].as_u64()).sum())
}

/// From an empty (or killed) node to a state, and what that took.
#[derive(Debug, Default)]
struct Leg {
    seconds: f64,
    messages: u64,
    cpu: f64,
    cpu_there: f64,
    peak: f64,
    fetched: u64,
}

/// Runs the catching-up node until it has `enough` messages, or the whole state.
async fn leg(
    folder: &Path,
    other: &Served,
    peers: &[String],
    enough: Option<u64>,
    wanted: &State,
) -> Result<(Leg, Served)> {
    let cpu_there = machine::cpu_seconds(other.pid());
    let started = Instant::now();
    let node = Served::start_with(folder, peers)?;
    let mut leg = Leg::default();
    let mut before = None;
    let (mut last, mut moved) = (0, Instant::now());
    let mut told = Instant::now();
    loop {
        let now = state(&node.address).await?;
        let first = *before.get_or_insert(now.messages);
        leg.messages = now.messages - first;
        leg.seconds = started.elapsed().as_secs_f64();
        leg.fetched = leg.fetched.max(fetched(&node.address).await?);
        if now.digest == wanted.digest || enough.is_some_and(|enough| now.messages >= enough) {
            break;
        }
        if now.messages != last {
            (last, moved) = (now.messages, Instant::now());
        }
        ensure!(moved.elapsed() < PATIENCE, "it stands still at {} of {}", now.messages, wanted.messages);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!("{} of {} after {:.0} s", now.messages, wanted.messages, leg.seconds);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    leg.cpu = machine::cpu_seconds(node.pid());
    leg.cpu_there = machine::cpu_seconds(other.pid()) - cpu_there;
    leg.peak = machine::peak_mib(node.pid());
    Ok((leg, node))
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut report = Report::new("catch-up", options.json);
    let cache = options.cache.clone().unwrap_or_else(default_cache);
    let filled = existing_signed(&cache, options.messages).await?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&cache)?;
    let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
    copy_folder(&filled, &full)?;
    let other = Served::start(&full, !options.http)?;
    let peers = if options.http {
        vec!["--http-peer".to_owned(), format!("http://{}", other.address)]
    } else {
        let info = get(&other.address, "/api/v0/info/public.json").await?;
        let address = info["node_multi_addresses"][0].as_str().context("the node tells no address")?;
        vec!["--p2p".to_owned(), "--peer".to_owned(), address.to_owned()]
    };
    let wanted = state(&other.address).await?;
    report.line(
        "full",
        format_args!(
            "{} messages, {:.0} MiB resident, over {}",
            wanted.messages,
            machine::resident_mib(other.pid()),
            if options.http { "http" } else { "libp2p" }
        ),
    );
    machine::forget_peak_of(other.pid());

    let mut legs = Vec::new();
    if options.kill_at > 0.0 {
        let enough = (wanted.messages as f64 * options.kill_at) as u64;
        let (leg, mut node) = leg(&empty, &other, &peers, Some(enough), &wanted).await?;
        node.kill()?;
        tell(&report, "killed", &leg);
        legs.push(leg);
    }
    let (last, node) = leg(&empty, &other, &peers, None, &wanted).await?;
    tell(&report, "whole", &last);
    legs.push(last);

    let sum = |of: &dyn Fn(&Leg) -> f64| legs.iter().map(of).sum::<f64>();
    let (seconds, count) = (sum(&|leg| leg.seconds), wanted.messages as f64);
    let (cpu, cpu_there) = (sum(&|leg| leg.cpu) / count * 1e6, sum(&|leg| leg.cpu_there) / count * 1e6);
    let fetched: u64 = legs.iter().map(|leg| leg.fetched).sum();
    let again = fetched as i64 - wanted.messages as i64;
    let (peak, peak_there) =
        (legs.iter().map(|leg| leg.peak).fold(0.0, f64::max), machine::peak_mib(other.pid()));
    report.line("rate", format_args!("{:.0} messages/s, {seconds:.1} s with starts", count / seconds));
    report.line("cpu", format_args!("{cpu:.1} µs a message here, {cpu_there:.1} µs there"));
    report.line("memory", format_args!("{peak:.0} MiB resident at most here, {peak_there:.0} MiB there"));
    report.line("fetched", format_args!("{fetched} messages: {again} more than there are"));
    report.line("digest", format_args!("{} on both", &wanted.digest[..16]));
    report.line("load", format_args!("{:.1} at the end", machine::load()));
    report.data(json!({
        "messages": wanted.messages,
        "via": if options.http { "http" } else { "libp2p" },
        "messages_per_second": count / seconds,
        "cpu_micros_per_message": cpu,
        "cpu_micros_per_message_there": cpu_there,
        "peak_resident_mib": peak,
        "peak_resident_mib_there": peak_there,
        "fetched": fetched,
        "load": machine::load(),
    }));
    drop(node);
    drop(other);
    report.finish();
    Ok(())
}

fn tell(report: &Report, name: &str, leg: &Leg) {
    let Leg { seconds, messages, cpu, cpu_there, peak, fetched } = leg;
    let of = |cpu: &f64| cpu / (*messages).max(1) as f64 * 1e6;
    report.line(
        name,
        format_args!(
            "after {seconds:.1} s: {messages} messages, {:.0} a second, {:.1} µs of processor each here, {:.1} there, \
             {peak:.0} MiB at most, {fetched} fetched, load {:.1}",
            *messages as f64 / seconds,
            of(cpu),
            of(cpu_there),
            machine::load(),
        ),
    );
}
