//! `bench lists`: every list of the API, with its filters, orders and both kinds of pages, against a node
//! with a million messages.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aleph_types::{Chain, ItemHash, Timestamp};
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::corpus::{self, Draws, Keys};
use crate::http::Client;
use crate::ingest;
use crate::machine;
use crate::report::Report;
use crate::serve::Served;

/// What is promised of every list, milliseconds.
const PROMISED: f64 = 20.0;

/// Deepest page that is asked for.
const DEEPEST: usize = 5_000;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Messages in the store; made once and kept in the cache folder
    #[arg(long, default_value_t = 1_000_000)]
    existing: usize,
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Seconds for each group of requests
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Only groups whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Where filled stores are kept; outside the project
    #[arg(long)]
    cache: Option<PathBuf>,
    /// A copy of a filled store to use in place, instead of a fresh one
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

/// Requests of one kind.
struct Group {
    name: String,
    paths: Vec<String>,
}

/// A parameter that filters, with values from the frequent to the rare.
#[derive(Clone)]
struct Filter {
    name: &'static str,
    values: Vec<String>,
}

impl Filter {
    fn new(name: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        Self { name, values: values.into_iter().collect() }
    }

    fn draw(&self, draws: &mut Draws) -> String {
        format!("&{}={}", self.name, self.values[draws.below(self.values.len())])
    }
}

/// How a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    First,
    Deep,
    Cursor,
}

const PAGES: [Page; 3] = [Page::First, Page::Deep, Page::Cursor];

impl Page {
    fn name(self) -> &'static str {
        match self {
            Page::First => "page 1",
            Page::Deep => "page <= 5000",
            Page::Cursor => "cursor",
        }
    }

    /// `time` makes a cursor's place.
    fn query(self, draws: &mut Draws, chosen: &str, time: impl Fn(&mut Draws) -> f64) -> String {
        match self {
            Page::First => String::new(),
            Page::Deep => format!("&page={}", 2 + draws.below(DEEPEST - 1)),
            // Only the first page by cursor is defined in the order of confirmation.
            Page::Cursor if chosen.contains("Block") => "&cursor=".to_owned(),
            Page::Cursor => {
                let time = Timestamp::from_micros((time(draws) * 1e6) as i64);
                let place = json!({ "h": "7".repeat(64), "t": time.iso_offset().to_string() });
                format!("&cursor={}", URL_SAFE_NO_PAD.encode(place.to_string()))
            }
        }
    }
}

/// What the requests are made of.
struct Material {
    existing: usize,
    senders: Vec<String>,
    keyed: Vec<String>,
    hashes: Vec<String>,
}

/// Requests of a group of combinations.
const DRAWN: usize = 400;

impl Material {
    fn time(&self, draws: &mut Draws) -> f64 {
        corpus::time_of(draws.below(self.existing))
    }

    fn message_filters(&self) -> Vec<Filter> {
        let ranked = |name: &str, ranks: &[usize]| -> Vec<String> {
            ranks.iter().map(|rank| format!("{name}-{rank}")).collect()
        };
        vec![
            Filter::new("msgTypes", ["POST", "AGGREGATE", "STORE", "FORGET", "POST,STORE"].map(String::from)),
            Filter::new("addresses", self.some_senders()),
            Filter::new("owners", self.some_senders()),
            Filter::new("refs", ranked("thread", &[0, 1, 5, 40, 900, 9000])),
            Filter::new("contentHashes", [0, 1, 500].map(|n| ItemHash::sha256(&corpus::file(n)).to_string())),
            Filter::new("contentKeys", ranked("key", &[0, 1, 2, 19])),
            Filter::new("contentTypes", {
                let mut types = ranked("type", &[0, 1, 7, 100, 199]);
                types.extend(["amend".to_owned(), "type-0,type-3,type-150".to_owned()]);
                types
            }),
            Filter::new("chains", ["ETH", "SOL", "ETH,SOL"].map(String::from)),
            Filter::new("channels", {
                let mut channels = ranked("channel", &[0, 1, 9, 50, 99]);
                channels.extend(["channel-2,channel-60".to_owned(), "none".to_owned()]);
                channels
            }),
            Filter::new("tags", ["x", "x,y"].map(String::from)),
            Filter::new("hashes", self.hashes.chunks(20).map(|chunk| chunk.join(","))),
            Filter::new("paymentTypes", ["hold", "credit,superfluid"].map(String::from)),
            Filter::new("msgStatuses", ["processed", "removing", "processed,removing"].map(String::from)),
            Filter::new("startDate", [0.1, 0.5, 0.9].map(|part| self.date(part))),
            Filter::new("endDate", [0.1, 0.5, 0.9].map(|part| self.date(part))),
            Filter::new("startBlock", ["1", "20000000"].map(String::from)),
            Filter::new("endBlock", ["20000000"].map(String::from)),
        ]
    }

    fn post_filters(&self) -> Vec<Filter> {
        let of = |name: &str| {
            self.message_filters().into_iter().find(|filter| filter.name == name).map(|filter| filter.values)
        };
        let values = |name: &str| of(name).unwrap_or_default();
        vec![
            Filter::new("addresses", values("addresses")),
            Filter::new("hashes", values("hashes")),
            Filter::new("refs", values("refs")),
            Filter::new("types", values("contentTypes")),
            Filter::new("tags", values("tags")),
            Filter::new("channels", values("channels")),
            Filter::new("startDate", values("startDate")),
            Filter::new("endDate", values("endDate")),
        ]
    }

    fn date(&self, part: f64) -> String {
        corpus::time_of((self.existing as f64 * part) as usize).to_string()
    }

    /// From the most frequent one to one with a single message, and several at once.
    fn some_senders(&self) -> Vec<String> {
        let mut senders: Vec<String> =
            [0, 1, 3, 10, 100, 1000, 9999].iter().map(|rank| self.senders[*rank].clone()).collect();
        senders.push(self.senders[..40].join(","));
        senders.push("0xnobody".to_owned());
        senders
    }

    /// One filter, in every order and kind of page.
    fn singles(&self, list: &str, path: &str, filters: &[Filter], groups: &mut Vec<Group>) {
        for filter in filters {
            for page in PAGES {
                let mut draws = Draws::new(1);
                let mut paths = Vec::new();
                for _ in 0..DRAWN / 4 {
                    let chosen = filter.draw(&mut draws);
                    let order = [-1, 1][draws.below(2)];
                    let page = page.query(&mut draws, &chosen, |draws| self.time(draws));
                    paths.push(format!("{path}?sortOrder={order}{chosen}{page}"));
                }
                groups.push(Group { name: format!("{list} {} {}", filter.name, page.name()), paths });
            }
        }
    }

    /// All pairs of filters, in every order and kind of page.
    fn pairs(&self, list: &str, path: &str, filters: &[Filter], groups: &mut Vec<Group>) {
        for page in PAGES {
            for (number, one) in filters.iter().enumerate() {
                let mut draws = Draws::new(2);
                let mut paths = Vec::new();
                for other in &filters[number + 1..] {
                    for _ in 0..DRAWN / filters.len() {
                        let chosen = format!("{}{}", one.draw(&mut draws), other.draw(&mut draws));
                        let order = [-1, 1][draws.below(2)];
                        let page = page.query(&mut draws, &chosen, |draws| self.time(draws));
                        let path = format!("{path}?sortOrder={order}{chosen}{page}");
                        let twice = chosen.contains("startDate") && chosen.contains("endDate")
                            || chosen.contains("startBlock") && chosen.contains("endBlock");
                        if !twice {
                            paths.push(path);
                        }
                    }
                }
                if !paths.is_empty() {
                    groups.push(Group { name: format!("{list} {} + any {}", one.name, page.name()), paths });
                }
            }
        }
    }

    fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut add = |name: &str, paths: Vec<String>| groups.push(Group { name: name.to_owned(), paths });
        let one = |path: &str| vec![path.to_owned()];
        let deep = |path: &str, pages: usize| -> Vec<String> {
            let mut draws = Draws::new(3);
            (0..DRAWN).map(|_| format!("{path}&page={}", 1 + draws.below(pages))).collect()
        };
        let messages = "/api/v0/messages.json";
        add("messages 20", one(messages));
        add("messages 200", one(&format!("{messages}?pagination=200")));
        add("messages 200 headers", one(&format!("{messages}?pagination=200&contentFormat=headers")));
        add("messages page <= 5000", deep(&format!("{messages}?pagination=20"), DEEPEST));
        add("messages page <= 5000 of 200", deep(&format!("{messages}?pagination=200"), DEEPEST));
        add(
            "messages page in path",
            (1..200).map(|page| format!("/api/v0/messages/page/{page}.json")).collect(),
        );
        for order in ["-1", "1"] {
            let by = format!("{messages}?sortBy=tx-time&sortOrder={order}");
            add(&format!("messages tx-time {order} page <= 5000"), deep(&by, DEEPEST));
            let by = format!("{messages}?msgStatuses=forgotten&sortOrder={order}");
            add(&format!("messages forgotten {order} page <= 5000"), deep(&by, DEEPEST));
        }
        let gone: Vec<String> = self
            .message_filters()
            .iter()
            .filter(|filter| ["msgTypes", "addresses", "owners", "chains", "channels"].contains(&filter.name))
            .flat_map(|filter| {
                filter
                    .values
                    .iter()
                    .map(|value| format!("{messages}?msgStatuses=forgotten&{}={value}", filter.name))
            })
            .collect();
        add("messages forgotten filtered", gone);
        add("messages removed", one(&format!("{messages}?msgStatuses=removed")));
        let hashes = "/api/v0/messages/hashes";
        add("hashes 20", one(hashes));
        add("hashes page <= 5000", deep(&format!("{hashes}?pagination=20"), DEEPEST));
        for status in ["processed", "removing"] {
            add(&format!("hashes {status}"), deep(&format!("{hashes}?status={status}"), DEEPEST));
        }
        add("hashes dates", one(&format!("{hashes}?startDate=1&endDate=4000000000")));
        for (version, path) in [("v0", "/api/v0/posts.json"), ("v1", "/api/v1/posts.json")] {
            add(&format!("posts {version} 20"), one(path));
            add(&format!("posts {version} 200"), one(&format!("{path}?pagination=200")));
            add(&format!("posts {version} page <= 5000"), deep(&format!("{path}?pagination=20"), DEEPEST));
            let by = format!("{path}?sortBy=tx-time");
            add(&format!("posts {version} tx-time page <= 5000"), deep(&by, DEEPEST));
        }
        self.other_routes(&mut groups);
        self.singles("messages", messages, &self.message_filters(), &mut groups);
        self.singles("posts", "/api/v1/posts.json", &self.post_filters(), &mut groups);
        self.pairs("messages", messages, &self.message_filters(), &mut groups);
        self.pairs("posts", "/api/v1/posts.json", &self.post_filters(), &mut groups);
        groups
    }

    fn other_routes(&self, groups: &mut Vec<Group>) {
        let mut add = |name: &str, paths: Vec<String>| groups.push(Group { name: name.to_owned(), paths });
        let each =
            |addresses: &[String], path: &dyn Fn(&String) -> String| addresses.iter().map(path).collect();
        let senders: Vec<String> =
            [0, 1, 2, 5, 20, 100, 1000, 9000].map(|rank| self.senders[rank].clone()).into();
        add("message by hash", each(&self.hashes, &|hash| format!("/api/v0/messages/{hash}")));
        add("message content", each(&self.hashes, &|hash| format!("/api/v0/messages/{hash}/content")));
        add("message status", each(&self.hashes, &|hash| format!("/api/v0/messages/{hash}/status")));
        let aggregates = "/api/v0/aggregates";
        add("aggregate", each(&self.keyed, &|owner| format!("{aggregates}/{owner}.json")));
        add(
            "aggregate keys",
            each(&self.keyed, &|owner| format!("{aggregates}/{owner}.json?keys=key-0&with_info=1")),
        );
        for sort in ["last_modified", "creation_time"] {
            for order in [-1, 1] {
                for (kind, query) in [
                    ("all", String::new()),
                    ("key", "&keys=key-0".to_owned()),
                    ("keys", "&keys=key-0,key-1,key-7".to_owned()),
                    ("owner", format!("&addresses={}", self.keyed[0])),
                    ("both", format!("&addresses={}&keys=key-1", self.keyed[0])),
                ] {
                    let path = format!("{aggregates}.json?sortBy={sort}&sortOrder={order}{query}");
                    let paths = vec![path.clone(), format!("{path}&page=9"), format!("{path}&cursor=")];
                    add(&format!("aggregates {kind} {sort} {order}"), paths);
                }
            }
        }
        add(
            "authorizations granted",
            each(&self.keyed, &|a| format!("/api/v0/authorizations/granted/{a}.json")),
        );
        add(
            "authorizations received",
            each(&self.keyed, &|a| format!("/api/v0/authorizations/received/{a}.json")),
        );
        let stats = "/api/v0/addresses/stats.json";
        add("stats v0 of one", each(&senders, &|a| format!("{stats}?addresses[]={a}")));
        let many: Vec<String> = self.senders[..20].iter().map(|a| format!("addresses[]={a}")).collect();
        add("stats v0 of 20", vec![format!("{stats}?{}", many.join("&"))]);
        let stats = "/api/v1/addresses/stats.json";
        for sort in ["total", "post", "store"] {
            for order in [-1, 1] {
                let path = format!("{stats}?sortBy={sort}&sortOrder={order}");
                let paths = vec![path.clone(), format!("{path}&page=500"), format!("{path}&cursor=")];
                add(&format!("stats v1 {sort} {order}"), paths);
            }
        }
        add(
            "stats v1 contains",
            vec![format!("{stats}?addressContains=ab12"), format!("{stats}?addressContains=f")],
        );
        let of = |what: &str| -> Vec<String> {
            senders.iter().map(|address| format!("/api/v0/addresses/{address}/{what}")).collect()
        };
        add("balance", of("balance"));
        add("files 20", of("files?pagination=20"));
        add("files cursor", of("files?pagination=20&cursor="));
        add("files deep", of("files?pagination=5&page=50"));
        let file = ItemHash::sha256(&corpus::file(3));
        add("files of one hash", of(&format!("files?pagination=20&file_hash={file}")));
        add("post types of", of("post_types"));
        add("channels of", of("channels"));
        add("credit history", of("credit_history?pagination=20"));
        add("channels", vec!["/api/v0/channels/list.json".to_owned()]);
        add("programs on message", vec!["/api/v0/programs/on/message".to_owned()]);
        add("metrics", vec!["/metrics.json".to_owned(), "/metrics".to_owned()]);
        add("version", vec!["/api/v0/version".to_owned()]);
    }
}

/// What came out for a group.
struct Figures {
    /// Milliseconds of the slowest path when each was asked for the first time.
    first: f64,
    /// Milliseconds, ascending.
    latencies: Vec<f64>,
    per_second: f64,
    cpu_micros: f64,
    /// The path whose requests took the most on average, and that average.
    slowest: (String, f64),
}

impl Figures {
    fn at(&self, quantile: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * quantile).round() as usize).copied().unwrap_or(0.0)
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut report = Report::new("lists", options.json);
    let cache = options.cache.clone().unwrap_or_else(ingest::default_cache);
    let fresh;
    let folder = match &options.data_dir {
        Some(folder) => folder.as_path(),
        None => {
            let existing = ingest::existing(&cache, options.existing).await?;
            fresh = tempfile::Builder::new().prefix("lists-").tempdir_in(&cache)?;
            ingest::copy_folder(&existing, fresh.path())?;
            fresh.path()
        }
    };
    let node = Served::start(folder, false)?;
    let keys = Keys::new(Chain::Eth)?;
    let senders: Vec<String> = (0..10_000).map(|rank| keys.key(rank).address().to_string()).collect();
    let mut hashes = Vec::new();
    let mut client = Client::connect(&node.address).await?;
    for page in [1, 9, 90, 900, 2000] {
        let path = format!("/api/v0/messages.json?pagination=40&msgTypes=POST&page={page}");
        let (_, body) = client.send(Method::GET, &path, Bytes::new()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        let found = answer["messages"].as_array().into_iter().flatten();
        hashes.extend(found.filter_map(|message| Some(message["item_hash"].as_str()?.to_owned())));
    }
    let keyed = senders[..20].to_vec();
    let material = Material { existing: options.existing, senders, keyed, hashes };
    report.line(
        "promise",
        format_args!(
            "p99 at most {PROMISED} ms at {} clients beside the node, {} messages",
            options.clients, options.existing
        ),
    );
    let (mut slow, mut worst) = (Vec::new(), 0.0f64);
    let mut count = 0;
    for group in material.groups() {
        if options.only.as_ref().is_some_and(|only| !group.name.contains(only)) {
            continue;
        }
        let figures = measure(&node, &options, &group).await?;
        let (p50, p99) = (figures.at(0.5), figures.at(0.99));
        report.line(
            format_args!("{:<44}", group.name),
            format_args!(
                "p50 {p50:7.2} ms  p99 {p99:8.2} ms  max {:8.2} ms  first {:7.1} ms  {:7.0}/s  node {:7.0} µs  load {:.1}{}",
                figures.at(1.0),
                figures.first,
                figures.per_second,
                figures.cpu_micros,
                machine::load(),
                if p99 > PROMISED {
                    format!("  SLOW: {:.1} ms {}", figures.slowest.1, figures.slowest.0)
                } else {
                    String::new()
                },
            ),
        );
        report.data(json!({
            "group": group.name, "requests": figures.latencies.len(), "p50_ms": p50, "p99_ms": p99,
            "max_ms": figures.at(1.0), "first_ms": figures.first, "per_second": figures.per_second,
            "node_cpu_micros_per_request": figures.cpu_micros, "load": machine::load(),
        }));
        count += 1;
        worst = worst.max(p99);
        if p99 > PROMISED {
            slow.push(group.name);
        }
    }
    report
        .line("groups", format_args!("{count}, {} beyond the promise; worst p99 {worst:.1} ms", slow.len()));
    report.line("memory", format_args!("{:.0} MiB resident at the end", machine::resident_mib(node.pid())));
    report.finish();
    Ok(())
}

async fn measure(node: &Served, options: &Options, group: &Group) -> Result<Figures> {
    // What the first request after a start has to read is told by itself.
    let mut first = 0.0f64;
    let mut client = Client::connect(&node.address).await?;
    for path in &group.paths {
        let sent = Instant::now();
        client.send(Method::GET, path, Bytes::new()).await?;
        first = first.max(sent.elapsed().as_secs_f64() * 1e3);
    }
    let paths = Arc::new(group.paths.clone());
    let next = Arc::new(AtomicUsize::new(0));
    let cpu = machine::cpu_seconds(node.pid());
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(options.seconds);
    let mut tasks = Vec::new();
    for _ in 0..options.clients {
        let mut client = Client::connect(&node.address).await?;
        let (paths, next) = (Arc::clone(&paths), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed) % paths.len();
                let sent = Instant::now();
                let (status, body) = client.send(Method::GET, &paths[number], Bytes::new()).await?;
                taken.push((number, sent.elapsed().as_secs_f64() * 1e3));
                ensure!(
                    matches!(status, 200 | 404),
                    "{}: {status} {}",
                    paths[number],
                    String::from_utf8_lossy(&body)
                );
            }
            Ok::<_, anyhow::Error>(taken)
        }));
    }
    let (mut latencies, mut by_path) = (Vec::new(), HashMap::<usize, (f64, f64)>::new());
    for task in tasks {
        for (number, millis) in task.await?? {
            latencies.push(millis);
            let sum = by_path.entry(number).or_default();
            *sum = (sum.0 + millis, sum.1 + 1.0);
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    let cpu = machine::cpu_seconds(node.pid()) - cpu;
    latencies.sort_by(f64::total_cmp);
    let slowest = by_path
        .into_iter()
        .map(|(number, (sum, count))| (number, sum / count))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map_or((String::new(), 0.0), |(number, mean)| {
            (group.paths[number].chars().take(160).collect(), mean)
        });
    let count = latencies.len() as f64;
    Ok(Figures { first, latencies, per_second: count / wall, cpu_micros: cpu / count * 1e6, slowest })
}
