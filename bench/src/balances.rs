//! `bench balances`: many accounts, the hourly job over them, and what a node takes in meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aleph_ccn::{Node, Origin, Outcome, RemovalReport};
use aleph_crypto::SigningKey;
use aleph_ledger::removal::{Job, JobState};
use aleph_store::Location;
use aleph_types::{Chain, ChainTx, ItemHash, ItemType, Message, MessageType, ParsedMessage, Timestamp};
use anyhow::{Result, ensure};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::corpus::{self, Recipe};
use crate::report::Report;
use crate::{ingest, machine, serve};

/// After the years without prices, before everything is on credit.
const TIME: f64 = 1_760_000_000.0;

/// Tokens that one machine of the smallest size needs.
const NEEDED: u32 = 1000;

/// Turns of taking messages in: without the job, with it, and so on; the first warms up.
const TURNS: usize = 7;

/// Submissions that wait for their commit at once.
const INSIDE: usize = 8192;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Accounts with a balance
    #[arg(long, default_value_t = 1_000_000)]
    accounts: usize,
    /// Machines, each of another account
    #[arg(long, default_value_t = 10_000)]
    resources: usize,
    /// Accounts that one `balances-update` post names
    #[arg(long, default_value_t = 200_000)]
    named: usize,
    /// Messages of each turn with and without the job beside it
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// An empty PostgreSQL database to use instead of SQLite (`postgres://user:password@host:port/name`)
    #[arg(long)]
    database: Option<Location>,
    /// Where corpora are kept; outside the project
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut report = Report::new("balances", options.json);
    let cache = options.cache.clone().unwrap_or_else(ingest::default_cache);
    fs::create_dir_all(&cache)?;
    let turns = (0..TURNS)
        .map(|turn| {
            let (first, count) = (turn * options.messages, options.messages);
            Recipe { first, count, mix: false, chain: Chain::Eth, signed: true }.cached(&cache)
        })
        .collect::<Result<Vec<_>>>()?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&cache)?;
    let publisher = SigningKey::for_chain(Chain::Eth, [11; 32])?;
    let stop = CancellationToken::new();
    let mut config = serve::config(folder.path().to_owned(), false);
    config.storage.database.clone_from(&options.database);
    config.network.charge = true;
    config.network.balance_publishers = vec![publisher.address().to_string()];
    let running = aleph_ccn::start(config, stop.clone()).await?;
    let node = Arc::clone(&running.node);
    let serving = tokio::spawn(running.serve());

    let network = Accounts { options: &options, publisher, node: &node };
    network.report_all(&mut report, "first", 1).await?;
    network.make_machines(&report).await?;
    // Every account is due, and every second of those with a machine can't pay for it any more.
    network.job(&mut report, "all stay").await?;
    network.report_all(&mut report, "again", 2).await?;
    let shortfall = network.job(&mut report, "half can't pay").await?;
    ensure!(
        shortfall.begun == options.resources as u64 / 2,
        "the job began {} removals of {} machines",
        shortfall.begun,
        options.resources
    );
    network.beside(&mut report, &turns).await?;
    drop(node);
    stop.cancel();
    serving.await??;
    report.finish();
    Ok(())
}

/// A node with accounts.
struct Accounts<'a> {
    options: &'a Options,
    publisher: SigningKey,
    node: &'a Arc<Node>,
}

/// The address of account `number`; no order of numbers is one of addresses.
fn address(number: usize) -> String {
    format!("0x{}", &ItemHash::sha256(&number.to_be_bytes()).as_str()[..40])
}

/// Asks the writer for nothing again and again: the longest answer is what a message waits at most.
struct Probe {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Probe {
    fn start(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (pipeline, stopped) = (node.pipeline.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                if pipeline.write(|_| Ok(())).await.is_err() {
                    break;
                }
                longest = longest.max(started.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            longest
        });
        Self { stop, task }
    }

    async fn longest(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// Wall clock, processor, memory and the writer's longest silence of something.
struct Watch {
    started: Instant,
    cpu: f64,
    before: f64,
    probe: Probe,
}

/// What a [`Watch`] saw.
struct Seen {
    wall: f64,
    cpu: f64,
    /// Resident memory, MiB.
    before: f64,
    peak: f64,
    after: f64,
    longest: Duration,
}

impl Watch {
    fn start(node: &Node) -> Self {
        machine::forget_peak();
        Self {
            before: machine::resident_mib(std::process::id()),
            probe: Probe::start(node),
            cpu: machine::own_cpu_seconds(),
            started: Instant::now(),
        }
    }

    async fn stop(self) -> Result<Seen> {
        let (wall, cpu) = (self.started.elapsed().as_secs_f64(), machine::own_cpu_seconds() - self.cpu);
        let (pid, before) = (std::process::id(), self.before);
        let (peak, after) = (machine::peak_mib(pid), machine::resident_mib(pid));
        Ok(Seen { wall, cpu, before, peak, after, longest: self.probe.longest().await? })
    }
}

impl Accounts<'_> {
    /// Tokens of an account: those with machines have enough at first, later every second has not.
    fn amount(&self, number: usize, height: u32) -> String {
        let spacing = (self.options.accounts / self.options.resources.max(1)).max(1);
        let whole = match (number.is_multiple_of(spacing), height) {
            (true, 1) => NEEDED + 1,
            (true, _) if (number / spacing).is_multiple_of(2) => NEEDED - 1,
            (true, _) => NEEDED + 2,
            (false, _) => number as u32 % 5000,
        };
        format!("{whole}.{:018}", number as u64 * 7919 + u64::from(height))
    }

    /// Takes in posts that name all accounts, one post after the other.
    async fn report_all(&self, report: &mut Report, name: &str, height: u32) -> Result<()> {
        let (mut wall, mut cpu, mut bytes, mut posts) = (0.0, 0.0, 0, 0);
        let (mut peak, mut before, mut longest) = (0.0_f64, 0.0_f64, Duration::ZERO);
        for first in (0..self.options.accounts).step_by(self.options.named.max(1)) {
            let last = (first + self.options.named).min(self.options.accounts);
            let balances: Map<String, Value> =
                (first..last).map(|number| (address(number), self.amount(number, height).into())).collect();
            let time = TIME + f64::from(height) * 100.0 + posts as f64 * 0.01;
            let body = json!({ "chain": "ETH", "main_height": height, "balances": balances });
            let text = json!({ "address": self.publisher.address(), "time": time,
                "type": "balances-update", "content": body })
            .to_string();
            drop(body);
            bytes += text.len();
            posts += 1;
            let message = self.stored(MessageType::Post, text, time).await?;
            let watch = Watch::start(self.node);
            self.submit(&message).await?;
            let seen = watch.stop().await?;
            wall += seen.wall;
            cpu += seen.cpu;
            peak = peak.max(seen.peak);
            before = before.max(seen.before);
            longest = longest.max(seen.longest);
        }
        let accounts = self.options.accounts as f64;
        report.line(
            "receipt",
            format_args!(
                "{name}: {posts} posts of {} accounts, {} MB: {wall:.2} s, {:.1} µs of cpu an account; \
                 the writer was silent for {} ms at most; {before:.0} MiB before, {peak:.0} at most",
                self.options.named,
                bytes / 1_000_000,
                cpu / accounts * 1e6,
                longest.as_millis(),
            ),
        );
        report.data(json!({
            "what": "receipt", "name": name, "posts": posts, "accounts": self.options.accounts,
            "wall_seconds": wall, "cpu_micros_per_account": cpu / accounts * 1e6,
            "longest_silence_ms": longest.as_millis() as u64, "peak_resident_mib": peak,
        }));
        Ok(())
    }

    /// A message whose content is a file; the node has it.
    async fn stored(&self, message_type: MessageType, text: String, time: f64) -> Result<Message> {
        let hash = ItemHash::sha256(text.as_bytes());
        let mut message = corpus::envelope(&self.publisher, message_type, String::new(), time, None, false)?;
        message.item_hash = hash;
        message.item_type = ItemType::Storage;
        message.item_content = None;
        message.signature = Some(self.publisher.sign_message(&message));
        self.node.blobs.put_bytes(text.into_bytes()).await?;
        Ok(message)
    }

    async fn submit(&self, message: &Message) -> Result<()> {
        let parsed = ParsedMessage::from_json(&serde_json::to_vec(&message.to_wire())?)?;
        let outcome = self.node.pipeline.submit(parsed, Origin::CatchUp).await?;
        ensure!(outcome == Outcome::Processed, "a message ended as {outcome:?}");
        Ok(())
    }

    /// Machines of accounts far from each other, confirmed on a chain.
    async fn make_machines(&self, report: &Report) -> Result<()> {
        let image = self.node.blobs.put_bytes(b"an image of the benchmark".to_vec()).await?.hash;
        let text = json!({ "address": self.publisher.address(), "time": TIME, "item_type": "storage",
            "item_hash": image });
        let store =
            corpus::envelope(&self.publisher, MessageType::Store, text.to_string(), TIME, None, true)?;
        self.submit(&store).await?;
        let spacing = (self.options.accounts / self.options.resources.max(1)).max(1);
        let started = Instant::now();
        let machines = (0..self.options.resources).map(|index| {
            let owner = address(index * spacing);
            let time = TIME + 300.0 + index as f64;
            let text = json!({
                "address": owner, "time": time, "allow_amend": false, "environment": {},
                "resources": { "vcpus": 1, "memory": 2048 }, "payment": { "type": "hold", "chain": "ETH" },
                "rootfs": { "parent": { "ref": store.item_hash }, "persistence": "host", "size_mib": 20_480 },
            })
            .to_string();
            async move {
                let mut message =
                    corpus::envelope(&self.publisher, MessageType::Instance, text, time, None, false)?;
                message.sender = owner.as_str().into();
                let parsed = ParsedMessage::from_json(&serde_json::to_vec(&message.to_wire())?)?;
                let tx = ChainTx {
                    chain: Chain::Eth,
                    hash: "0xaa".into(),
                    height: 23_000_000,
                    time: Timestamp::from_secs_f64(time)?,
                    publisher: "0xP".into(),
                };
                let outcome = self.node.pipeline.submit_confirmed(parsed, tx, true).await?;
                ensure!(outcome == Outcome::Processed, "a machine ended as {outcome:?}");
                Ok(())
            }
        });
        let mut machines = futures_util::stream::iter(machines).buffer_unordered(INSIDE);
        while let Some(done) = machines.next().await {
            done?;
        }
        report.line(
            "machines",
            format_args!("{} in {:.2} s", self.options.resources, started.elapsed().as_secs_f64()),
        );
        Ok(())
    }

    /// Lets the next round look at every account anew.
    async fn forget_job(&self) -> Result<()> {
        let fresh = JobState::resume(Job::Hold, None, Timestamp::EPOCH);
        self.node.pipeline.write(move |transaction| transaction.set_job(&fresh)).await?;
        Ok(())
    }

    async fn job(&self, report: &mut Report, name: &str) -> Result<RemovalReport> {
        self.forget_job().await?;
        let watch = Watch::start(self.node);
        let done = self.node.removals.round(now()).await?;
        let seen = watch.stop().await?;
        report.line(
            "job",
            format_args!(
                "{name}: {:.2} s, {:.2} s of cpu; {} accounts looked at, {} removals begun; the writer was \
                 silent for {} ms at most; {:.0} MiB before, {:.0} at most, {:.0} after",
                seen.wall,
                seen.cpu,
                done.accounts,
                done.begun,
                seen.longest.as_millis(),
                seen.before,
                seen.peak,
                seen.after,
            ),
        );
        report.data(json!({
            "what": "job", "name": name, "wall_seconds": seen.wall, "cpu_seconds": seen.cpu,
            "accounts": done.accounts, "begun": done.begun,
            "longest_silence_ms": seen.longest.as_millis() as u64, "resident_mib_before": seen.before,
            "resident_mib_peak": seen.peak, "resident_mib_after": seen.after,
        }));
        Ok(done)
    }

    /// Takes messages in without the job and with it, by turns.
    async fn beside(&self, report: &mut Report, turns: &[PathBuf]) -> Result<()> {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        let mut rounds = 0u64;
        for (turn, corpus) in turns.iter().enumerate() {
            if turn % 2 == 0 {
                let seconds = self.take_in(corpus).await?;
                // The first warms up.
                if turn > 0 {
                    without.push(seconds);
                }
                continue;
            }
            let stop = Arc::new(AtomicBool::new(false));
            let job = async {
                let mut rounds = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    self.forget_job().await?;
                    self.node.removals.round(now()).await?;
                    rounds += 1;
                }
                Ok::<_, anyhow::Error>(rounds)
            };
            let taking = async {
                let seconds = self.take_in(corpus).await;
                stop.store(true, Ordering::Relaxed);
                seconds
            };
            let (done, seconds) = tokio::join!(job, taking);
            rounds += done?;
            with.push(seconds?);
        }
        let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len().max(1) as f64;
        let rate = |list: &[f64]| self.options.messages as f64 / mean(list);
        let ratio = rate(&with) / rate(&without);
        report.line(
            "beside",
            format_args!(
                "{:.0} messages/s without the job, {:.0} with it all the time ({rounds} rounds over all \
                 accounts): {:.0} %",
                rate(&without),
                rate(&with),
                ratio * 100.0
            ),
        );
        report.data(json!({
            "what": "beside", "messages_per_second_without": rate(&without),
            "messages_per_second_with": rate(&with), "ratio": ratio, "rounds": rounds,
        }));
        Ok(())
    }

    /// Seconds that the messages of a corpus take.
    async fn take_in(&self, corpus: &Path) -> Result<f64> {
        let lines = BufReader::with_capacity(1 << 20, fs::File::open(corpus)?).split(b'\n');
        let started = Instant::now();
        let outcomes = futures_util::stream::iter(lines.map(|line| async move {
            let parsed = ParsedMessage::from_json(&line?)?;
            Ok::<_, anyhow::Error>(self.node.pipeline.submit(parsed, Origin::CatchUp).await?)
        }))
        .buffer_unordered(INSIDE);
        tokio::pin!(outcomes);
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            ensure!(outcome == Outcome::Processed, "a message of the corpus ended as {outcome:?}");
        }
        Ok(started.elapsed().as_secs_f64())
    }
}

/// Two hours from now: the job is due, whenever it ran.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)).plus_micros(7200 * 1_000_000)
}
