//! The task that owns the swarm, and how it starts.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use libp2p::core::transport::TransportError;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, Transport as _, noise, swarm, tcp, yamux};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::ask::{self, Conversations};
use crate::handle::{Command, Counters, Shared};
use crate::key::Signer;
use crate::peers::PeerTable;
use crate::standing::Standings;
use crate::{
    ConfiguredPeer, DhtScope, Event, NetworkConfig, NetworkHandle, NodeKey, StartError, bitswap, book,
    defaults,
};

mod behaviour;
mod dht;
mod dialer;
mod gate;
mod gossip;
mod lookup;
mod outbox;
mod pace;
mod pending;
mod providers;
mod seen;
mod task;

use behaviour::Behaviour;
pub(crate) use lookup::{look_up, name_of};

/// The network of a node; see [`Network::start`].
#[derive(Debug)]
pub struct Network;

/// Streams of one connection: gossip needs two, the rest is room for other protocols. Each may hold
/// 256 KiB unread, more only while it is read fast.
const MAX_STREAMS: usize = 64;

/// The same with block exchange. yamux of JavaScript sends as much in a frame as the window has, and ours
/// gives a connection up at a frame above 1 MiB: so no window may grow beyond that. All windows of a
/// connection have 1 GiB, of which 256 KiB are kept for each of these streams; 768 KiB are left to grow by.
///
/// How many streams there really are is bounded by who reads them: the swarm while they are negotiated (128),
/// block exchange afterwards.
const MAX_BLOCK_STREAMS: usize = 4096 - 3;

/// Pause between two looks for the peers that the distributed table begins with.
const BOOTSTRAP_EVERY: Duration = Duration::from_secs(600);

impl Network {
    /// Listens, starts to dial the configured peers, and returns the two ends: commands go into
    /// the handle, events come out of the channel.
    ///
    /// Returns as soon as the addresses are bound. Events must be read: when
    /// [`crate::Limits::events`] of them wait, nothing more is read from peers. Dropping the
    /// receiver ends the network.
    pub async fn start(
        config: NetworkConfig,
        key: NodeKey,
    ) -> Result<(NetworkHandle, mpsc::Receiver<Event>), StartError> {
        let now = Instant::now();
        let configured = config.peers.iter().filter_map(ConfiguredPeer::peer_id);
        let mut standings = Standings::new(configured, now);
        if config.believe_everybody {
            standings.believe_everybody();
        }
        let standings = Arc::new(Mutex::new(standings));
        let signer = Signer::new(key.clone().into_pair());
        let (streams, bitswap) = match config.blocks.clone() {
            None => (None, None),
            Some(source) => {
                let (streams, bitswap) = bitswap::start(source, Arc::clone(&standings));
                (Some(streams), Some(bitswap))
            }
        };
        let (questions, door) = ask::start();
        let mut swarm = build(&config, key, &standings, questions, streams)?;
        let listening = listen(&mut swarm, &config.listen).await?;
        let listened = Some(listening.clone());
        let me = *swarm.local_peer_id();
        tracing::info!(peer = %me, ?listening, "gossip is listening");

        let mut peers = PeerTable::new(me, config.peers.clone(), Arc::clone(&standings));
        if let Some(path) = config.address_book.clone() {
            let entries = tokio::task::spawn_blocking(move || book::load_or_tell(&path)).await;
            peers.restore(entries.unwrap_or_default(), now, SystemTime::now());
        }
        let shared = Arc::new(Shared {
            me,
            own_url: config.announce.http.clone(),
            listening: Mutex::new(listening),
            peers: Mutex::new(peers),
            standings,
            counters: Counters::default(),
            door,
            conversations: Conversations::default(),
            bitswap,
            signer,
        });
        if let Some(dht) = &config.dht {
            let own = config.announce.address.clone();
            let listened = listened.filter(|_| dht.scope == DhtScope::Private).into_iter().flatten();
            own.into_iter().chain(listened).for_each(|address| swarm.add_external_address(address));
        }
        let (commands, incoming) = mpsc::channel(config.limits.commands.max(1));
        if let Some(dht) = &config.dht {
            tokio::spawn(bootstrap(dht.bootstrap.clone(), commands.downgrade()));
        }
        let (events, outgoing) = mpsc::channel(config.limits.events.max(1));
        let task = task::Task::new(swarm, config, Arc::clone(&shared), incoming, events);
        tokio::spawn(Box::pin(task.run()));
        Ok((NetworkHandle::new(commands, shared), outgoing))
    }
}

/// Tells the distributed table whom to begin with, now and again: names may lead elsewhere later.
async fn bootstrap(peers: Vec<ConfiguredPeer>, commands: mpsc::WeakSender<Command>) {
    loop {
        for configured in &peers {
            let Some(peer) = configured.peer_id() else { continue };
            let addresses = match name_of(&configured.address) {
                None => vec![configured.address.clone()],
                Some((host, port, family)) => look_up(&host, port, family).await.unwrap_or_default(),
            };
            let Some(commands) = commands.upgrade() else { return };
            if commands.send(Command::Meet { peer, addresses }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(BOOTSTRAP_EVERY).await;
        if commands.upgrade().is_none() {
            return;
        }
    }
}

fn build(
    config: &NetworkConfig,
    key: NodeKey,
    standings: &Arc<Mutex<Standings>>,
    questions: ask::Streams,
    blocks: Option<bitswap::Streams>,
) -> Result<Swarm<Behaviour>, StartError> {
    let pair = key.into_pair();
    let setup = |error: &dyn std::fmt::Display| StartError::Setup(error.to_string());
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(if blocks.is_some() { MAX_BLOCK_STREAMS } else { MAX_STREAMS });
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .map(|stream, _| {
            end_when_silent(&stream);
            stream
        })
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&pair).map_err(|error| setup(&error))?)
        .multiplex(muxer)
        .timeout(defaults::CONNECT_TIMEOUT)
        .boxed();
    let peer = pair.public().to_peer_id();
    let behaviour = Behaviour::new(config, pair, standings, questions, blocks).map_err(StartError::Setup)?;
    let settings = swarm::Config::with_tokio_executor().with_idle_connection_timeout(defaults::IDLE_TIMEOUT);
    Ok(Swarm::new(transport, behaviour, peer, settings))
}

/// Has the system end a connection whose other end takes nothing any more.
///
/// Closing a connection that pings found dead is not enough: what was written before is waited for, by TCP for
/// a quarter of an hour, and by then in pauses of minutes; until it is over the peer counts as connected and
/// is not dialled.
fn end_when_silent(stream: &tcp::tokio::TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let limit = u32::try_from(defaults::UNTAKEN_FOR.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream.0, limit) {
            tracing::debug!(%error, "a connection has no limit of silence");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Binds every address and waits until the swarm knows them.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<Vec<Multiaddr>, StartError> {
    let mut waiting = Vec::new();
    for address in addresses {
        let failed = |source| StartError::Listen { address: address.clone(), source };
        let socket = socket_address(address).ok_or_else(|| StartError::Unsupported(address.clone()))?;
        // The transport shares ports between processes; a second node on one must be told instead.
        drop(TcpListener::bind(socket).map_err(failed)?);
        match swarm.listen_on(address.clone()) {
            Ok(listener) => waiting.push((listener, address)),
            Err(TransportError::Other(source)) => return Err(failed(source)),
            Err(TransportError::MultiaddrNotSupported(address)) => {
                return Err(StartError::Unsupported(address));
            }
        }
    }
    let mut listening = Vec::new();
    while !waiting.is_empty() {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                waiting.retain(|(listener, _)| *listener != listener_id);
                listening.push(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                let address = waiting.iter().find(|(listener, _)| *listener == listener_id);
                let source = reason.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into());
                if let Some((_, address)) = address {
                    return Err(StartError::Listen { address: (*address).clone(), source });
                }
            }
            _ => {}
        }
    }
    Ok(listening)
}

fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}
