//! A tree block by block: from peers by bitswap, and from gateways when peers bring nothing.
//!
//! Every block is checked before it is kept, and kept as soon as those before it are there: see
//! [`super::partial`]. Blocks that are asked for and come out of order wait in memory, so that what is asked
//! for ahead is bounded by bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use aleph_cid::{Cid, MAX_BLOCK};
use aleph_p2p::{Bitswap, ConfiguredPeer, DhtConfig, DhtScope, NetworkHandle, PeerId, Session, SessionEvent};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncReadExt as _;

use super::partial::{Partial, PartialError, Partials};
use super::race::Progress;
use super::{STALL, rand_unit};
use crate::config::{Config, DhtKind, IpfsConfig};
use crate::files::Files;
use crate::files::archive::ImportError;

/// Blocks that are asked for at once: few at first, then as many as fit in memory.
const FIRST_WINDOW: usize = 16;
const MOST_WINDOW: usize = 192;

/// Bytes of blocks of one tree that may wait in memory.
const WINDOW_BYTES: usize = 32 << 20;

/// A tree of which nothing came for this long is given up for now.
const TREE_STALL: Duration = Duration::from_secs(30);

/// How long peers that were just dialled have to come.
const ARRIVAL: Duration = Duration::from_secs(6);

/// The same where it is looked up first who they are.
const LOOKED_UP: Duration = Duration::from_secs(20);

/// When peers bring nothing for this long, gateways are asked, somewhat earlier or later on each node.
const GATEWAYS_AFTER: Duration = Duration::from_secs(3);

/// Requests to gateways at once.
const GATEWAY_REQUESTS: usize = 4;

/// Failures in a row after which a gateway is asked no more for this tree.
const GATEWAY_FAILURES: u32 = 3;

/// Why a tree did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    #[error("no peer has it, and no gateway")]
    Nowhere,
    #[error("nothing came for {} s", TREE_STALL.as_secs())]
    Stalled,
    #[error(transparent)]
    Partial(#[from] PartialError),
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// A peer of `ipfs.peers` that can't be dialled.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is no address with an identity: write /ip4/1.2.3.4/tcp/4001/p2p/12D3…")]
pub struct NotAPeer {
    text: String,
    #[source]
    source: Option<aleph_p2p::InvalidPeer>,
}

fn parsed(text: &str) -> Result<(PeerId, ConfiguredPeer), NotAPeer> {
    let wrong = |source| NotAPeer { text: text.to_owned(), source };
    let peer: ConfiguredPeer = text.parse().map_err(|error| wrong(Some(error)))?;
    let id = peer.peer_id().ok_or_else(|| wrong(None))?;
    Ok((id, peer))
}

/// The distributed table that the settings name.
///
/// # Errors
/// A peer of `ipfs.dht_peers` is no address with an identity.
pub(crate) fn table_of(config: &IpfsConfig) -> Result<Option<DhtConfig>, NotAPeer> {
    let scope = match config.dht {
        DhtKind::Off => return Ok(None),
        DhtKind::Private => DhtScope::Private,
        DhtKind::Public => DhtScope::Public,
    };
    let bootstrap = config.dht_peers.iter().map(|text| parsed(text).map(|(_, peer)| peer));
    Ok(Some(DhtConfig { scope, bootstrap: bootstrap.collect::<Result<_, _>>()? }))
}

/// Where blocks are asked for.
#[derive(Debug, Clone)]
pub(crate) struct BlockPlaces {
    pub(super) partials: Partials,
    pub(super) bitswap: Option<Bitswap>,
    /// Where it is looked up who has what, if anywhere.
    pub(super) table: Option<NetworkHandle>,
    /// Peers of IPFS that are asked for everything.
    pub(super) peers: Vec<(PeerId, aleph_p2p::Multiaddr)>,
    /// Without a slash at the end.
    pub(super) gateways: Vec<String>,
    pub(super) client: reqwest::Client,
}

/// What brought a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) bytes: u64,
    /// Of those, bytes that were here from an earlier try.
    pub(super) resumed: u64,
    pub(super) from_peers: u64,
    pub(super) from_gateways: u64,
}

impl fmt::Display for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, resumed, from_peers, from_gateways } = self;
        write!(f, "{from_peers} blocks of peers and {from_gateways} of gateways, {bytes} bytes")?;
        if *resumed > 0 { write!(f, ", {resumed} of them from an earlier try") } else { Ok(()) }
    }
}

struct Gateway {
    url: String,
    failures: u32,
}

impl BlockPlaces {
    /// The places that the settings name.
    ///
    /// # Errors
    /// A peer of `ipfs.peers` is no address with an identity.
    pub(crate) fn new(
        config: &Config,
        network: Option<&NetworkHandle>,
        client: reqwest::Client,
    ) -> Result<Self, NotAPeer> {
        let peers = config.ipfs.peers.iter().map(|text| parsed(text));
        let gateways = config.ipfs.gateways.iter().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self {
            // As much again as the largest tree may have: what is older makes room.
            partials: Partials::new(
                config.storage.data_dir.join("partial"),
                config.ipfs.archive_bytes.saturating_mul(2),
            ),
            bitswap: network.and_then(NetworkHandle::bitswap).cloned(),
            table: network.filter(|_| config.ipfs.dht != DhtKind::Off).cloned(),
            peers: peers.map(|peer| peer.map(|(id, peer)| (id, peer.address))).collect::<Result<_, _>>()?,
            gateways: gateways.collect(),
            client,
        })
    }

    /// Whether there is anybody to ask.
    pub(super) fn has_any(&self) -> bool {
        self.bitswap.is_some() || !self.gateways.is_empty()
    }

    /// Fetches everything below `root` into `files`.
    pub(super) async fn fetch(
        &self,
        files: &Files,
        root: Cid,
        progress: &Progress,
    ) -> Result<Brought, TreeError> {
        let most = files.limits().archive_bytes;
        let partial = self.partials.open(root, most).await?;
        let resumed = if partial.wanted() == Some(&root) { 0 } else { partial.bytes() };
        let mut fetch = Fetch::new(self, root, partial, progress.clone()).await;
        let (partial, mut brought) = fetch.run().await?;
        brought.bytes = partial.bytes();
        brought.resumed = resumed;
        let mut whole = partial.finish().await?;
        let mut writer = files.archive_writer(most);
        let mut piece = BytesMut::with_capacity(256 << 10);
        let taken = loop {
            piece.clear();
            match whole.file.read_buf(&mut piece).await {
                Ok(0) => break writer.finish(Some(&root)).await.map(drop),
                Ok(_) => {}
                Err(error) => return Err(PartialError::from(error).into()),
            }
            progress.tick();
            if let Err(error) = writer.write(&piece).await {
                break Err(error);
            }
        };
        match taken {
            // Another try finds no room either, or more of it: what came stays.
            Err(error @ (ImportError::Busy | ImportError::Blob(_))) => Err(error.into()),
            taken => {
                whole.remove();
                taken?;
                Ok(brought)
            }
        }
    }
}

/// One fetch of one tree.
struct Fetch<'a> {
    places: &'a BlockPlaces,
    session: Option<Session>,
    partial: Option<Partial>,
    progress: Progress,
    /// What came and waits for what comes before it.
    arrived: HashMap<[u8; 32], Bytes>,
    requested: HashSet<[u8; 32]>,
    largest: usize,
    gateways: VecDeque<Gateway>,
    gateways_from: Duration,
    /// Asked of gateways now.
    asked: HashSet<[u8; 32]>,
    started: Instant,
    /// How long peers may be on their way.
    arrival: Duration,
    stuck: bool,
    brought: Brought,
}

impl<'a> Fetch<'a> {
    async fn new(places: &'a BlockPlaces, root: Cid, partial: Partial, progress: Progress) -> Self {
        let mut gateways: Vec<&String> = places.gateways.iter().collect();
        // Not everybody asks the same one first.
        gateways.sort_by_cached_key(|_| rand_unit().to_bits());
        let session = places.bitswap.as_ref().map(|bitswap| bitswap.session(root));
        if let Some(bitswap) = &places.bitswap {
            for (peer, address) in &places.peers {
                bitswap.connect(*peer, vec![address.clone()]).await;
            }
        }
        if let Some(table) = &places.table {
            table.find_providers(root).await;
        }
        Self {
            places,
            stuck: session.is_none(),
            session,
            partial: Some(partial),
            progress,
            arrived: HashMap::new(),
            requested: HashSet::new(),
            largest: 0,
            gateways: gateways.into_iter().map(|url| Gateway { url: url.clone(), failures: 0 }).collect(),
            gateways_from: GATEWAYS_AFTER.mul_f64(0.5 + rand_unit()),
            asked: HashSet::new(),
            started: Instant::now(),
            arrival: match (&places.table, places.peers.is_empty()) {
                (Some(_), _) => LOOKED_UP,
                (None, false) => ARRIVAL,
                (None, true) => Duration::ZERO,
            },
            brought: Brought::default(),
        }
    }

    async fn run(&mut self) -> Result<(Partial, Brought), TreeError> {
        let mut requests = FuturesUnordered::new();
        loop {
            let partial = self.drain().await?;
            if partial.wanted().is_none() {
                return Ok((partial, self.brought));
            }
            let ahead = self.ahead(&partial);
            self.partial = Some(partial);
            self.want(&ahead);
            if self.may_ask_gateways() {
                for cid in &ahead {
                    if requests.len() >= GATEWAY_REQUESTS {
                        break;
                    }
                    let Some(digest) = cid.digest() else { continue };
                    if self.arrived.contains_key(&digest) || !self.asked.insert(digest) {
                        continue;
                    }
                    let Some(gateway) = self.gateways.pop_front() else {
                        self.asked.remove(&digest);
                        break;
                    };
                    let (client, cid, url) = (self.places.client.clone(), *cid, gateway.url.clone());
                    // Each in its turn.
                    self.gateways.push_back(gateway);
                    requests.push(async move { (cid, from_gateway(&client, &url, &cid).await, url) });
                }
            }
            self.check_hope(requests.len())?;
            let session = async {
                match &mut self.session {
                    Some(session) => session.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = session => match event {
                    SessionEvent::Block { cid, data, .. } => {
                        if self.arrive(&cid, data) {
                            self.brought.from_peers += 1;
                        }
                    }
                    SessionEvent::Stuck => self.stuck = true,
                },
                Some((cid, result, url)) = requests.next() => self.answered(&cid, result, &url),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    /// Keeps what came in order.
    async fn drain(&mut self) -> Result<Partial, TreeError> {
        let Some(partial) = self.partial.take() else { return Err(PartialError::Ending.into()) };
        let goes_on = partial.wanted().is_some_and(|cid| match cid.digest() {
            Some(digest) => self.arrived.contains_key(&digest),
            None => true,
        });
        if !goes_on {
            return Ok(partial);
        }
        let (partial, arrived) = partial.take(std::mem::take(&mut self.arrived)).await?;
        self.arrived = arrived;
        Ok(partial)
    }

    /// What is to be asked for now.
    fn ahead(&self, partial: &Partial) -> Vec<Cid> {
        let most = match self.largest {
            0 => FIRST_WINDOW,
            largest => (WINDOW_BYTES / largest.max(1)).clamp(FIRST_WINDOW, MOST_WINDOW),
        };
        partial.upcoming().filter(|cid| cid.inline_block().is_none()).take(most).copied().collect()
    }

    fn want(&mut self, ahead: &[Cid]) {
        for cid in ahead {
            let Some(digest) = cid.digest() else { continue };
            if !self.arrived.contains_key(&digest)
                && self.requested.insert(digest)
                && let Some(session) = &mut self.session
            {
                session.want(*cid);
                self.stuck = false;
            }
        }
    }

    fn may_ask_gateways(&self) -> bool {
        !self.gateways.is_empty() && (self.stuck || self.progress.idle() >= self.gateways_from)
    }

    /// A block that was asked for; whether it is new.
    fn arrive(&mut self, cid: &Cid, data: Bytes) -> bool {
        let Some(digest) = cid.digest() else { return false };
        if !self.requested.remove(&digest) {
            return false;
        }
        self.largest = self.largest.max(data.len());
        self.arrived.insert(digest, data);
        self.progress.tick();
        true
    }

    fn answered(&mut self, cid: &Cid, result: Result<Bytes, GatewayError>, url: &str) {
        let Some(digest) = cid.digest() else { return };
        self.asked.remove(&digest);
        let place = self.gateways.iter().position(|gateway| gateway.url == url);
        match result {
            Ok(data) => {
                if let Some(place) = place {
                    self.gateways[place].failures = 0;
                }
                if self.arrive(cid, data) {
                    self.brought.from_gateways += 1;
                    if let Some(session) = &mut self.session {
                        session.settle(cid);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(block = %cid, gateway = url, %error, "gateway gave no block");
                if let Some(place) = place {
                    self.gateways[place].failures += 1;
                    if self.gateways[place].failures >= GATEWAY_FAILURES || error.is_lie() {
                        self.gateways.remove(place);
                    }
                }
            }
        }
    }

    fn check_hope(&self, requests: usize) -> Result<(), TreeError> {
        let arriving = self.started.elapsed() < self.arrival;
        if self.stuck && requests == 0 && self.gateways.is_empty() && !arriving {
            return Err(TreeError::Nowhere);
        }
        if self.progress.idle() >= TREE_STALL {
            return Err(TreeError::Stalled);
        }
        Ok(())
    }
}

/// Why a gateway gave no block.
#[derive(Debug, thiserror::Error)]
enum GatewayError {
    #[error("sent nothing for {} s", STALL.as_secs())]
    Stalled,
    #[error("answered status {0}")]
    Status(u16),
    #[error("sent another block, or too much")]
    Wrong,
    #[error("request failed")]
    Http(#[source] reqwest::Error),
}

impl GatewayError {
    fn is_lie(&self) -> bool {
        matches!(self, Self::Wrong)
    }
}

/// A block from a trustless gateway.
async fn from_gateway(client: &reqwest::Client, url: &str, cid: &Cid) -> Result<Bytes, GatewayError> {
    let request = client
        .get(format!("{url}/ipfs/{cid}"))
        .query(&[("format", "raw")])
        .header(http::header::ACCEPT, "application/vnd.ipld.raw");
    let response = tokio::time::timeout(STALL, request.send()).await.map_err(|_| GatewayError::Stalled)?;
    let response = response.map_err(GatewayError::Http)?;
    if !response.status().is_success() {
        return Err(GatewayError::Status(response.status().as_u16()));
    }
    let mut block = BytesMut::new();
    let mut body = response.bytes_stream();
    while let Some(piece) =
        tokio::time::timeout(STALL, body.next()).await.map_err(|_| GatewayError::Stalled)?
    {
        let piece = piece.map_err(GatewayError::Http)?;
        if block.len() + piece.len() > MAX_BLOCK {
            return Err(GatewayError::Wrong);
        }
        block.extend_from_slice(&piece);
    }
    let (block, cid) = (block.freeze(), *cid);
    let checked = tokio::task::spawn_blocking(move || cid.matches(&block).then_some(block)).await;
    checked.ok().flatten().ok_or(GatewayError::Wrong)
}
