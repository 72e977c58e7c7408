//! Nodes in weather, and what is asked of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aleph_rules::invariants::{Violation, nothing_lost, one_state};
use aleph_types::{ItemHash, MessageStatus};
use futures_util::future::{join_all, try_join_all};

use crate::WeatherError;
use crate::client::{Posted, Watch, publish};
use crate::node::Node;
use crate::sky::{Conditions, Sky, next};
use crate::traffic::Author;

/// Longer than anything that heals takes; beyond it the nodes never agree.
const AGREE: Duration = Duration::from_secs(180);
/// Nodes find each other within this time after their start.
const MEET: Duration = Duration::from_secs(60);
/// How often digests are compared while nodes come to agree.
const LOOK: Duration = Duration::from_millis(50);

/// What weather, and how many nodes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes; each has its namespace.
    pub nodes: usize,
    /// Delay and loss between them.
    pub conditions: Conditions,
    /// What nodes write to the file `log` in their folders.
    pub log_level: String,
    /// Where their folders are made, and stay; else in a folder that goes with the town.
    pub folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 5, conditions: Conditions::default(), log_level: "info".to_owned(), folder: None }
    }
}

/// Messages of clients.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Altogether, spread over the nodes.
    pub per_second: u32,
    /// For how long.
    pub seconds: u64,
}

/// How fast messages reached all nodes. Times begin when the client begins to send.
#[derive(Debug, Clone, Copy)]
pub struct Propagation {
    /// Messages that were acknowledged; all of them were seen on all nodes, once.
    pub messages: usize,
    /// Half of them were seen on all nodes within this time.
    pub p50: Duration,
    /// 99 % of them.
    pub p99: Duration,
    /// All of them.
    pub most: Duration,
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, p50, p99, most } = self;
        write!(
            f,
            "{messages} messages, each seen once on every node: p50 {p50:.0?}, p99 {p99:.0?}, last {most:.0?}"
        )
    }
}

/// How the network got over something.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// Messages that were acknowledged meanwhile; all of them are on all nodes, once.
    pub messages: usize,
    /// Nodes that were killed.
    pub kills: usize,
    /// Dead connections that nodes still counted on when a cut ended.
    pub unnoticed: usize,
    /// From the end of a cut until all nodes had all others as listeners again.
    pub met_after: Option<Duration>,
    /// From the end of the trouble, and of the load, to one digest on all nodes.
    pub agreed_after: Duration,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, kills, unnoticed, met_after, agreed_after } = self;
        if *kills > 0 {
            write!(f, "{kills} kills, ")?;
        }
        if *unnoticed > 0 {
            write!(f, "{unnoticed} dead connections not noticed, ")?;
        }
        if let Some(met_after) = met_after {
            write!(f, "all connected again after {met_after:.1?}, ")?;
        }
        write!(
            f,
            "{messages} messages acknowledged, one state on all nodes {agreed_after:.1?} later, nothing lost or twice"
        )
    }
}

/// Five nodes, their weather, and clients.
#[derive(Debug)]
pub struct Town {
    nodes: Vec<Node>,
    /// Which nodes clients may ask; a killed one is not up.
    up: Vec<Arc<AtomicBool>>,
    author: Author,
    dice: u64,
    /// Everything that was ever acknowledged.
    acknowledged: HashSet<String>,
    /// After the nodes, so that it goes after them.
    sky: Sky,
    _root: Option<tempfile::TempDir>,
}

impl Town {
    /// Makes the namespaces and the nodes in them with the program `alephd`, and waits until all know all.
    ///
    /// # Errors
    /// When the machine does not let it, or a node does not start.
    pub async fn start(alephd: &Path, options: Options) -> Result<Self, WeatherError> {
        let sky = Sky::new(options.nodes, options.conditions)?;
        let (root, temporary) = match options.folder {
            Some(folder) => (folder, None),
            None => {
                let folder = tempfile::tempdir().map_err(WeatherError::system("no temporary folder"))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let mut nodes = Vec::with_capacity(options.nodes);
        let mut invitation: Option<String> = None;
        for number in 0..options.nodes {
            let (namespace, address) = (sky.namespace(number), sky.address(number));
            let (node, told) = Node::set_up(
                number,
                alephd,
                namespace,
                address,
                &root,
                &options.log_level,
                invitation.as_deref(),
            )
            .await?;
            nodes.push(node);
            if let Some(string) = told["join"].as_str() {
                invitation = Some(string.to_owned());
            }
            // the first one must be there to be joined
            nodes[number].start()?;
        }
        let up = (0..options.nodes).map(|_| Arc::new(AtomicBool::new(true))).collect();
        let seed = options.conditions.seed;
        let author = Author::new(seed)?;
        let mut town =
            Self { nodes, up, author, dice: seed, acknowledged: HashSet::new(), sky, _root: temporary };
        for node in &mut town.nodes {
            node.answers().await?;
        }
        town.meet().await?;
        Ok(town)
    }

    /// Waits until every node has all others as listeners.
    async fn meet(&self) -> Result<(), WeatherError> {
        let begun = Instant::now();
        loop {
            let listeners = try_join_all(self.nodes.iter().map(Node::listeners)).await?;
            if listeners.iter().all(|count| *count >= self.nodes.len() - 1) {
                return Ok(());
            }
            if begun.elapsed() > MEET {
                return Err(WeatherError::Broken(format!(
                    "after {} s the nodes have only {listeners:?} peers",
                    MEET.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The switch between the nodes.
    pub fn sky(&self) -> &Sky {
        &self.sky
    }

    /// Base URLs of the nodes' APIs, as this process reaches them.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.base.clone()).collect()
    }

    /// Process ids of the nodes that run.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::process).collect()
    }

    fn clients(&self) -> Vec<(String, reqwest::Client)> {
        self.nodes.iter().map(|node| (node.base.clone(), node.http.clone())).collect()
    }

    async fn publish(&mut self, load: Load) -> Result<Posted, WeatherError> {
        let (clients, up) = (self.clients(), self.up.clone());
        let time = Duration::from_secs(load.seconds);
        let posted = publish(&clients, &up, &mut self.author, load.per_second, time).await?;
        self.acknowledged.extend(posted.acknowledged.keys().cloned());
        Ok(posted)
    }

    /// Publishes on all nodes in turn, and sees each message on all.
    ///
    /// # Errors
    /// When a message does not come everywhere, or comes twice.
    pub async fn calm(&mut self, load: Load) -> Result<Propagation, WeatherError> {
        let watches = try_join_all(self.nodes.iter().map(|node| Watch::on(&node.base))).await?;
        let posted = self.publish(load).await?;
        if !posted.unanswered.is_empty() {
            return Err(WeatherError::Broken(format!("{} messages were not taken", posted.unanswered.len())));
        }
        let expected = posted.acknowledged.len();
        let begun = Instant::now();
        while watches.iter().any(|watch| watch.count() < expected) && begun.elapsed() < MEET {
            tokio::time::sleep(LOOK).await;
        }
        let mut latest: HashMap<&str, Instant> = HashMap::new();
        for (node, watch) in watches.iter().enumerate() {
            let seen = watch.seen();
            for hash in posted.acknowledged.keys() {
                match seen.get(hash).map(Vec::as_slice) {
                    Some(&[at]) => {
                        let last = latest.entry(hash).or_insert(at);
                        *last = at.max(*last);
                    }
                    Some(times) => {
                        let times = times.len();
                        return Err(WeatherError::Broken(format!("node {node} told {hash} {times} times")));
                    }
                    None => {
                        let path = format!("/api/v0/messages/{hash}/status");
                        let status = self.nodes[node].get(&path).await;
                        return Err(WeatherError::Broken(format!(
                            "node {node} never told {hash}: {status:?}"
                        )));
                    }
                }
            }
        }
        let mut times: Vec<Duration> = latest
            .iter()
            .map(|(hash, at)| at.saturating_duration_since(posted.acknowledged[*hash]))
            .collect();
        times.sort_unstable();
        let at =
            |share: usize| times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default();
        Ok(Propagation { messages: expected, p50: at(50), p99: at(99), most: at(100) })
    }

    /// Cuts the network into two parts under load on both, heals it, and waits for one state.
    ///
    /// # Errors
    /// When the nodes do not agree, or something is lost or there twice.
    pub async fn cut(&mut self, parts: &[u8], load: Load) -> Result<Recovery, WeatherError> {
        self.sky.cut(parts);
        let posted = self.publish(load).await;
        let digests = join_all(self.nodes.iter().map(Node::digest)).await;
        let listeners = join_all(self.nodes.iter().map(Node::listeners)).await;
        self.sky.heal();
        let healed = Instant::now();
        let posted = posted?;
        let digests: HashSet<String> = digests.into_iter().collect::<Result<_, _>>()?;
        let part_of = |node: usize| parts.get(node).copied().unwrap_or_default();
        let mut unnoticed = 0;
        for (node, count) in listeners.into_iter().enumerate() {
            let reached = (0..self.nodes.len()).filter(|other| part_of(*other) == part_of(node)).count() - 1;
            unnoticed += count?.saturating_sub(reached);
        }
        if digests.len() < 2 {
            return Err(WeatherError::Broken("the cut divided nothing: all nodes agreed in it".to_owned()));
        }
        let met = async { self.meet().await.map(|()| healed.elapsed()) };
        let agreed = async { self.agree(healed).await.map(|()| healed.elapsed()) };
        let (met_after, agreed_after) = futures_util::try_join!(met, agreed)?;
        self.check().await?;
        let messages = posted.acknowledged.len();
        Ok(Recovery { messages, kills: 0, unnoticed, met_after: Some(met_after), agreed_after })
    }

    /// Kills two random nodes with -9 again and again under load, starts them again, and waits for one state.
    ///
    /// # Errors
    /// As of [`Town::cut`].
    pub async fn kills(&mut self, load: Load) -> Result<Recovery, WeatherError> {
        let (clients, up) = (self.clients(), self.up.clone());
        let mut author = std::mem::replace(&mut self.author, Author::new(0)?);
        let time = Duration::from_secs(load.seconds);
        let publishing = tokio::spawn(async move {
            let posted = publish(&clients, &up, &mut author, load.per_second, time).await;
            (author, posted)
        });
        let mut kills = 0;
        while !publishing.is_finished() {
            let first = (next(&mut self.dice) % self.nodes.len() as u64) as usize;
            let step = 1 + (next(&mut self.dice) % (self.nodes.len() as u64 - 1)) as usize;
            let pair = [first, (first + step) % self.nodes.len()];
            for node in pair {
                self.up[node].store(false, Ordering::Relaxed);
                self.nodes[node].kill9().await?;
                kills += 1;
                self.pause(50, 1_000).await;
            }
            self.pause(500, 3_000).await;
            for node in pair {
                self.nodes[node].start()?;
                self.nodes[node].answers().await?;
                self.up[node].store(true, Ordering::Relaxed);
            }
            self.pause(500, 4_000).await;
        }
        let (author, posted) =
            publishing.await.map_err(|error| WeatherError::Broken(format!("the client ended: {error}")))?;
        self.author = author;
        let posted = posted?;
        self.acknowledged.extend(posted.acknowledged.keys().cloned());
        let ended = Instant::now();
        self.agree(ended).await?;
        let agreed_after = ended.elapsed();
        self.check().await?;
        let messages = posted.acknowledged.len();
        Ok(Recovery { messages, kills, unnoticed: 0, met_after: None, agreed_after })
    }

    async fn pause(&mut self, least: u64, most: u64) {
        let millis = least + next(&mut self.dice) % (most - least);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Waits until all nodes have one digest.
    async fn agree(&self, since: Instant) -> Result<(), WeatherError> {
        loop {
            let digests = try_join_all(self.nodes.iter().map(Node::digest)).await?;
            if one_state(digests.iter().enumerate()).is_ok() {
                return Ok(());
            }
            if since.elapsed() > AGREE {
                let mut told = Vec::new();
                for node in &self.nodes {
                    let sync = node.get("/api/v1/node/sync").await?;
                    told.push(format!("node {}: {}", node.number, sync["words"]));
                }
                return Err(WeatherError::Broken(format!(
                    "after {} s the nodes still have {digests:?}\n{}",
                    AGREE.as_secs(),
                    told.join("\n")
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything that was acknowledged is on all nodes, each once, and the digests are those of the tables.
    async fn check(&self) -> Result<(), WeatherError> {
        for node in &self.nodes {
            let number = node.number;
            let listed = node.get("/api/v0/messages/hashes?pagination=0").await?;
            let listed = listed["hashes"].as_array().map_or(&[][..], Vec::as_slice);
            let hashes: HashSet<&str> = listed.iter().filter_map(serde_json::Value::as_str).collect();
            if hashes.len() != listed.len() {
                return Err(WeatherError::Broken(format!("node {number} lists a message twice")));
            }
            // the rest was forgotten, or is lost
            let mut others = BTreeMap::new();
            for hash in self.acknowledged.iter().filter(|hash| !hashes.contains(hash.as_str())) {
                let told = node.get(&format!("/api/v0/messages/{hash}/status")).await.unwrap_or_default();
                let status = told["status"].as_str().and_then(|word| word.parse::<MessageStatus>().ok());
                let hash = ItemHash::parse(hash).map_err(|error| WeatherError::Broken(error.to_string()))?;
                others.insert(hash, status);
            }
            nothing_lost(others.keys(), |hash| Ok::<_, Violation>(others.get(hash).copied().flatten()))
                .map_err(|violation| WeatherError::Broken(format!("node {number}: {violation}")))?;
            let digest = node.get("/api/v1/node/digest?recompute=true").await?;
            if digest["sound"] != true {
                return Err(WeatherError::Broken(format!("node {number}: the digest is not of its tables")));
            }
        }
        Ok(())
    }

    /// Whether all nodes run.
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(Node::is_running)
    }
}
