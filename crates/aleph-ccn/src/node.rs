//! A core node as a whole: its parts, their start and their end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_blobs::BlobStore;
use aleph_cid::Cid;
use aleph_crypto::AuthKey;
use aleph_http::Limits;
use aleph_p2p::{
    Announce, AnswerLimits, BlockSource, ConfiguredPeer, Network, NetworkHandle, NodeKey, Topics,
};
use aleph_rules::Publishers;
use aleph_store::Store;
use aleph_types::Address;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::collector::Collector;
use crate::config::{Config, DhtKind};
use crate::defaults;
use crate::files::{self, Files, OpenError};
use crate::intake::{
    catch_up::CatchUp,
    exchange::{Exchange, QUESTION_MAX},
    genesis, gossip,
};
use crate::metrics::Metrics;
use crate::money_watch::MoneyWatch;
use crate::peers::{HttpPeers, follow_node_list};
use crate::pipeline::{Origin, Outcome, Pipeline, PipelineError, PipelineOptions, PipelineThreads};
use crate::placement::{Placement, PlacementError};
use crate::removals::Removals;
use crate::resolve::{self, BlockPlaces, NotAPeer, Resolver};
use crate::{api, outlet};

/// Why a node can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder can't be used.
    #[error("can't use the data folder {path}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {path} is in use by another alephd; stop it, or choose another 'storage.data_dir'"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The port can't be listened on.
    #[error("can't listen on {address}: is another node running there? choose another 'http.listen'")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error("can't open the database {location} ('storage.database')")]
    Database {
        /// Where it is; the password is not shown.
        location: aleph_store::Location,
        /// Why.
        #[source]
        source: aleph_store::StoreError,
    },
    /// The database is a copy that was never finished.
    #[error(
        "the database {location} is an unfinished copy of another one: run the same `alephd store convert` \
         again, or choose another database"
    )]
    HalfConverted {
        /// Where it is; the password is not shown.
        location: aleph_store::Location,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
    /// The place of files.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// The node's key.
    #[error(transparent)]
    Key(#[from] aleph_p2p::KeyError),
    /// A peer address of the configuration.
    #[error("'p2p.{key}' is not valid")]
    Peer {
        /// The setting.
        key: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A peer of IPFS of the configuration.
    #[error("'ipfs.peers' or 'ipfs.dht_peers' is not valid")]
    IpfsPeer(#[from] NotAPeer),
    /// The peer-to-peer part.
    #[error(transparent)]
    Network(#[from] aleph_p2p::StartError),
    /// The genesis file.
    #[error(transparent)]
    Genesis(#[from] genesis::GenesisError),
    /// A genesis message was refused.
    #[error("a genesis message was refused ({hash}): {reason}")]
    GenesisRefused {
        /// The message.
        hash: aleph_types::ItemHash,
        /// Why.
        reason: String,
    },
    /// Placement.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The pipeline.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The HTTP client.
    #[error("the HTTP client can't be made")]
    Client(#[source] reqwest::Error),
    /// The operators' key.
    #[error("'api.operators.public_key' is not valid")]
    OperatorsKey(#[source] aleph_crypto::KeyError),
}

/// The parts that requests and jobs share.
pub struct Node {
    /// Settings.
    pub config: Config,
    /// Database readers.
    pub store: Store,
    /// Files by hash.
    pub blobs: BlobStore,
    pub(crate) files: Files,
    /// The way in.
    pub pipeline: Pipeline,
    /// Answers nodes that catch up.
    pub(crate) exchange: Exchange,
    /// Gossip, unless it is off.
    pub network: Option<NetworkHandle>,
    /// Programs on compute nodes.
    pub placement: Placement,
    /// Holds accounts against what they pay for.
    pub removals: Removals,
    /// Deletes files that nothing holds.
    pub collector: Collector,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The APIs of other nodes.
    pub(crate) peers: HttpPeers,
    /// Asks them.
    pub(crate) client: reqwest::Client,
    /// What an operator should know of money.
    pub(crate) money: Arc<MoneyWatch>,
    /// Whose tokens are believed.
    pub(crate) operators: Option<AuthKey>,
    /// When the node started.
    pub started: Instant,
    /// Cancelled when the node is about to end.
    pub stopping: CancellationToken,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("data_dir", &self.config.storage.data_dir).finish_non_exhaustive()
    }
}

/// A started node with what must be ended in order.
pub struct RunningNode {
    /// The shared parts.
    pub node: Arc<Node>,
    /// Where the API listens.
    pub address: SocketAddr,
    listener: TcpListener,
    threads: PipelineThreads,
    tasks: TaskTracker,
    _lock: std::fs::File,
}

impl std::fmt::Debug for RunningNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningNode").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Runs a core node until `stop` is cancelled; returns when everything is on disk.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), NodeError> {
    let running = start(config, stop.clone()).await?;
    running.serve().await
}

/// Messages of one page of [`catch_up_ledger`].
const BACKFILL_PAGE: u32 = 2_000;

/// Gives a database that is older than the ledger what it lacks, before anything is accepted or refused by
/// it. A node that is killed meanwhile goes on where it was.
async fn catch_up_ledger(
    mut writer: aleph_store::Writer,
    network: aleph_rules::Network,
    location: aleph_store::Location,
) -> Result<aleph_store::Writer, NodeError> {
    let done = tokio::task::spawn_blocking(move || {
        let mut told = Instant::now();
        while let Some(page) = writer.backfill(&network, BACKFILL_PAGE)? {
            if page.is_complete || told.elapsed() > Duration::from_secs(5) {
                tracing::info!(messages = page.done, of = page.all, "the ledger reads older messages");
                told = Instant::now();
            }
        }
        Ok(writer)
    });
    match done.await {
        Ok(done) => done.map_err(|source| NodeError::Database { location, source }),
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(NodeError::Database { location, source: aleph_store::StoreError::Closed }),
        },
    }
}

/// Starts every part; the API answers from the moment [`RunningNode::serve`] is polled.
pub async fn start(config: Config, stopping: CancellationToken) -> Result<RunningNode, NodeError> {
    let started = Instant::now();
    let data_dir = config.storage.data_dir.clone();
    std::fs::create_dir_all(&data_dir)
        .map_err(|source| NodeError::DataDir { path: data_dir.clone(), source })?;
    let lock = lock_data_dir(&data_dir)?;
    let genesis = match &config.network.genesis {
        Some(path) => genesis::load(path, &config.network)?,
        None => Vec::new(),
    };
    let operators = match config.api.operators.public_key.as_str() {
        "" => None,
        key => Some(AuthKey::from_hex(key).map_err(NodeError::OperatorsKey)?),
    };
    // The port first: a second node on the same port must not touch anything else.
    let listener = TcpListener::bind(config.http.listen)
        .await
        .map_err(|source| NodeError::Listen { address: config.http.listen, source })?;
    let address =
        listener.local_addr().map_err(|source| NodeError::Listen { address: config.http.listen, source })?;

    let location = config.storage.location();
    let (store, writer) = Store::open(&location)
        .map_err(|source| NodeError::Database { location: location.clone(), source })?;
    if store.is_unfinished_copy().await? {
        return Err(NodeError::HalfConverted { location });
    }
    let blobs = files::open_blobs(&config.storage, &config.files)?;
    let metrics = Arc::new(Metrics::default());
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .user_agent(concat!("alephd/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(NodeError::Client)?;
    let files = Files::new(blobs.clone(), &config.ipfs, &client);
    let (after_commit, to_do) = mpsc::channel(crate::pipeline::OUTLET);
    let publishers = Publishers {
        balances: addresses(&config.network.balance_publishers),
        credits: addresses(&config.network.credit_publishers),
        metrics: addresses(&config.network.metrics_publishers),
    };
    let pricing = config.network.charge.then(|| Address::from(config.network.price_publisher.as_str()));
    let options = PipelineOptions {
        network: aleph_rules::Network {
            publishers: publishers.clone(),
            payments: pricing
                .clone()
                .map(|publisher| aleph_rules::Payments { publisher, ..aleph_rules::Payments::default() }),
        },
        patience: config.pipeline.patience(),
        verify_threads: config.pipeline.verify_threads,
    };
    let writer = catch_up_ledger(writer, options.network.clone(), location).await?;
    let (pipeline, threads) =
        Pipeline::start(options, store.clone(), writer, files.clone(), Arc::clone(&metrics), after_commit)?;
    let (network, events) = match start_network(&config, &files, address).await? {
        Some((network, events)) => (Some(network), Some(events)),
        None => (None, None),
    };
    let places = BlockPlaces::new(&config, network.as_ref(), client.clone())?;
    let placement = Placement::new(&config, store.clone(), pipeline.clone(), client.clone())?;
    let peers = HttpPeers::new(&config.network.http_peers, network.clone());
    let settle_interval = config.network.settle_interval();
    let node = Arc::new(Node {
        config,
        store: store.clone(),
        blobs,
        files: files.clone(),
        pipeline: pipeline.clone(),
        exchange: Exchange::new(store.clone(), network.clone()),
        network: network.clone(),
        placement: placement.clone(),
        removals: Removals::new(
            store.clone(),
            pipeline.clone(),
            peers.clone(),
            Arc::clone(&metrics),
            settle_interval,
        ),
        peers: peers.clone(),
        client: client.clone(),
        collector: Collector::new(store.clone(), files.clone(), pipeline.clone()),
        metrics: Arc::clone(&metrics),
        money: Arc::new(MoneyWatch::new(store.clone(), publishers, pricing, Arc::clone(&metrics))),
        operators,
        started,
        stopping: stopping.clone(),
    });

    let tasks = TaskTracker::new();
    // Before anything is processed.
    tasks.spawn(Arc::clone(&node.money).run(pipeline.clone(), stopping.clone()));
    let resolver = Resolver::new(
        files,
        peers.clone(),
        places,
        pipeline.clone(),
        Arc::clone(&metrics),
        node.config.pipeline.patience(),
        stopping.clone(),
    );
    let nudge = Arc::new(Notify::new());
    if let Some(network) = &network {
        let follow = follow_node_list(network.clone(), placement.clone(), pipeline.clone(), stopping.clone());
        tasks.spawn(follow);
    }
    tasks.spawn(outlet::run(to_do, network, resolver, Arc::clone(&metrics)));
    if let Some(events) = events {
        let gossip = gossip::Gossip {
            pipeline: pipeline.clone(),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            new_peer: Arc::clone(&nudge),
        };
        tasks.spawn(gossip.run(events, stopping.clone()));
    }
    for parsed in genesis {
        let hash = parsed.message.item_hash.clone();
        if let Outcome::Rejected(rejection) = pipeline.submit(parsed, Origin::Genesis).await? {
            let reason = crate::pipeline::refusal_text(&rejection);
            return Err(NodeError::GenesisRefused { hash, reason });
        }
    }
    if let Some(network) = &node.network
        && node.config.ipfs.dht != DhtKind::Off
    {
        tasks.spawn(tell_contents(network.clone(), node.files.clone(), stopping.clone()));
    }
    let exchange = node.exchange.clone();
    if let Some(network) = node.network.clone() {
        tasks.spawn(answer_peers(network, exchange.clone(), stopping.clone()));
    }
    let network = node.network.clone();
    let catch_up = CatchUp {
        peers,
        network,
        client,
        store,
        exchange,
        pipeline: pipeline.clone(),
        metrics,
        shared: Default::default(),
    };
    tasks.spawn(catch_up.run(nudge, stopping.clone()));
    tasks.spawn(placement.run(stopping.clone()));
    tasks.spawn(expire(pipeline, stopping.clone()));
    if node.config.network.charge {
        tasks.spawn(node.removals.clone().run(stopping.clone()));
    }
    let collector = node.collector.clone();
    tasks.spawn(collector.run(node.config.storage.collect_interval(), stopping.clone()));
    Ok(RunningNode { node, address, listener, threads, tasks, _lock: lock })
}

impl RunningNode {
    /// Answers requests until the node is told to stop, then ends every part in order.
    pub async fn serve(self) -> Result<(), NodeError> {
        let Self { node, address, listener, threads, tasks, _lock } = self;
        tracing::info!(
            %address,
            peer_id = node.network.as_ref().map(|network| network.peer_id().to_string()),
            start_ms = node.started.elapsed().as_millis(),
            "core node is up"
        );
        let stopping = node.stopping.clone();
        let router = api::router(Arc::clone(&node));
        let limits = Limits { connections: defaults::CONNECTIONS, head: defaults::REQUEST_HEAD };
        let served = aleph_http::serve(listener, router, limits, stopping.clone());
        tokio::select! {
            () = served => {}
            // Open requests get a moment to finish.
            () = async { stopping.cancelled().await; tokio::time::sleep(defaults::DRAIN).await } => {}
        }
        stopping.cancel();
        if let Some(network) = &node.network {
            network.shutdown().await;
        }
        node.pipeline.stop();
        let _ = tokio::task::spawn_blocking(move || threads.join()).await;
        tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(3), tasks.wait()).await;
        tracing::info!("core node stopped");
        Ok(())
    }
}

fn addresses(texts: &[String]) -> Vec<Address> {
    texts.iter().map(|text| Address::from(text.as_str())).collect()
}

/// Pause between two contents that others are told of, and between two looks at what came.
const TELL_PAUSE: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Tells the distributed table what is here, and what has come since.
async fn tell_contents(network: NetworkHandle, files: Files, stopping: CancellationToken) {
    let mut told = HashSet::new();
    let telling = async {
        loop {
            let all = files.clone();
            let roots = tokio::task::spawn_blocking(move || all.roots()).await.unwrap_or_default();
            let gone: Vec<Cid> = told.difference(&roots).copied().collect();
            for cid in gone {
                told.remove(&cid);
                network.stop_providing(cid).await;
            }
            for cid in roots {
                if told.insert(cid) {
                    network.provide(cid).await;
                    tokio::time::sleep(TELL_PAUSE).await;
                }
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = telling => {}
    }
}

/// What is done at once for peers that catch up. An answer holds some MiB until it is sent.
const ANSWERS: AnswerLimits = AnswerLimits {
    question: QUESTION_MAX,
    streams_per_peer: 8,
    streams_of_strangers: 32,
    answers_to_strangers: 4,
    answers: 6,
};

/// Answers peers that catch up over libp2p.
async fn answer_peers(network: NetworkHandle, exchange: Exchange, stopping: CancellationToken) {
    let answers = network.answer(ANSWERS, move |_, question| {
        let exchange = exchange.clone();
        async move { exchange.answer(&question).await.ok() }
    });
    tokio::select! {
        () = stopping.cancelled() => {}
        () = answers => {}
    }
}

/// Rejects overdue messages.
async fn expire(pipeline: Pipeline, stopping: CancellationToken) {
    let mut tick = tokio::time::interval(defaults::EXPIRY_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => pipeline.expire(),
        }
    }
}

/// Keeps other processes of alephd off a data folder; the lock goes with the file, or the process.
///
/// # Errors
/// When another one holds it, or the folder can't be written.
pub fn lock_data_dir(data_dir: &std::path::Path) -> Result<std::fs::File, NodeError> {
    let path = data_dir.join("lock");
    let file = std::fs::File::create(&path)
        .map_err(|source| NodeError::DataDir { path: data_dir.to_owned(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::InUse { path: data_dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(NodeError::DataDir { path: data_dir.to_owned(), source })
        }
    }
}

async fn start_network(
    config: &Config,
    files: &Files,
    http: SocketAddr,
) -> Result<Option<(NetworkHandle, mpsc::Receiver<aleph_p2p::Event>)>, NodeError> {
    if !config.p2p.enabled {
        return Ok(None);
    }
    let wrong = |key: &'static str| {
        move |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Peer { key, source }
    };
    let key_path = config.storage.data_dir.join(&config.p2p.key_file);
    let key = NodeKey::load_or_generate(&key_path, config.p2p.key_type.into())?;
    let listen = config.p2p.listen.parse().map_err(|error| wrong("listen")(Box::new(error)))?;
    let peers = config
        .p2p
        .peers
        .iter()
        .map(|text| text.parse::<ConfiguredPeer>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong("peers")(Box::new(error)))?;
    let announced = config
        .p2p
        .announce
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| wrong("announce")(Box::new(error)))?;
    let http_url = config
        .http
        .public_url
        .clone()
        .or_else(|| (!http.ip().is_unspecified()).then(|| format!("http://{http}")));
    let network = aleph_p2p::NetworkConfig {
        dht: resolve::table_of(&config.ipfs)?,
        listen: vec![listen],
        peers,
        believe_everybody: config.p2p.believe_everybody,
        topics: Topics { messages: config.p2p.topic.clone(), alive: config.p2p.alive_topic.clone() },
        announce: Announce { address: announced, http: http_url, ..Announce::default() },
        address_book: Some(config.storage.data_dir.join("peers.json")),
        limits: aleph_p2p::Limits::default().with_outgoing(config.ipfs.connections),
        blocks: config.ipfs.bitswap.then(|| Arc::new(files.clone()) as Arc<dyn BlockSource>),
    };
    Ok(Some(Network::start(network, key).await?))
}
