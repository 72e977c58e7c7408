//! A gossip peer on rust-libp2p 0.51, with the settings that the reference's service has by its
//! specification (`spec: p2p.md §2`). It is for tests alone: `alephd`'s nodes talk to it as they
//! would to a node of the reference.
//!
//! It is told what to do by JSON objects on standard input, one a line, and tells what it sees by
//! such lines on standard output; it ends when its input does.
//!
//! | it takes | |
//! |---|---|
//! | `{"do":"dial","address":"/ip4/…/tcp/…"}` | opens a new connection, also to a connected peer |
//! | `{"do":"publish","topic":"…","data":"…"}` | answers `published`, or `refused` with the reason |
//!
//! | it tells | |
//! |---|---|
//! | `{"event":"listening","address":"…","peer_id":"…"}` | once, first |
//! | `{"event":"connected"/"disconnected","peer":"…","connections":1}` | |
//! | `{"event":"subscribed","peer":"…","topic":"…"}` | |
//! | `{"event":"message","topic","author","from","data","text"}` | `text`: the data as the reference reads it, percent-decoded |
//! | `{"event":"published","id":"…","bytes":1}`, `{"event":"refused","reason":"…"}` | |

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::core::upgrade::{SelectUpgrade, Version};
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, PublishError, ValidationMode,
};
use libp2p::identity::Keypair;
#[allow(deprecated)]
use libp2p::mplex;
use libp2p::swarm::{SwarmBuilder, SwarmEvent};
use libp2p::{dns, noise, tcp, yamux, Multiaddr, PeerId, Swarm, Transport as _};
use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt as _, BufReader};

type Failure = Box<dyn Error>;

/// Bytes of one frame (`spec: p2p.md §2.2`).
const MAX_FRAME: usize = 262_144;

struct Options {
    /// RSA in PKCS#8 DER; without it a new Ed25519 key.
    key: Option<String>,
    topics: Vec<String>,
    peers: Vec<Multiaddr>,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { key: None, topics: Vec::new(), peers: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--key" => options.key = Some(value),
            "--topic" => options.topics.push(value),
            "--peer" => options.peers.push(value.parse()?),
            other => return Err(format!("unknown option {other}: --key, --topic, --peer").into()),
        }
    }
    if options.topics.is_empty() {
        options.topics = vec!["ALEPH-TEST".into(), "ALIVE".into()];
    }
    Ok(options)
}

// mplex is there for the old nodes that the reference still speaks to
#[allow(deprecated)]
fn swarm(key: Keypair) -> Result<Swarm<Behaviour>, Failure> {
    let me = PeerId::from(key.public());
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let transport = dns::TokioDnsConfig::system(tcp)?
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key)?)
        .multiplex(SelectUpgrade::new(yamux::Config::default(), mplex::MplexConfig::default()))
        .boxed();
    let config = ConfigBuilder::default()
        .heartbeat_interval(Duration::from_secs(1))
        .validation_mode(ValidationMode::Strict)
        .max_transmit_size(MAX_FRAME)
        .max_messages_per_rpc(Some(100))
        .duplicate_cache_time(Duration::from_secs(1800))
        .message_id_fn(|message: &gossipsub::Message| {
            let mut hasher = DefaultHasher::new();
            message.data.hash(&mut hasher);
            MessageId::from(hasher.finish().to_string())
        })
        .build()?;
    let behaviour = Behaviour::new(MessageAuthenticity::Signed(key), config)?;
    Ok(SwarmBuilder::with_tokio_executor(transport, behaviour, me).build())
}

fn tell(event: Value) {
    println!("{event}");
}

/// `%XX` to bytes, what is no such sequence stays, bytes that form no UTF-8 are replaced
/// (`spec: p2p.md §3.1`).
fn percent_decoded(data: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(data.len());
    let mut rest = data;
    while let [byte, tail @ ..] = rest {
        let digits = if *byte == b'%' { tail.get(..2) } else { None };
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(*byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn publish(swarm: &mut Swarm<Behaviour>, topic: &str, data: Vec<u8>) -> Result<(), PublishError> {
    let bytes = data.len();
    let id = swarm.behaviour_mut().publish(IdentTopic::new(topic), data)?;
    tell(json!({ "event": "published", "id": String::from_utf8_lossy(&id.0), "bytes": bytes }));
    Ok(())
}

fn obey(swarm: &mut Swarm<Behaviour>, line: &str) -> Result<(), Failure> {
    let order: Value = serde_json::from_str(line)?;
    let text = |key: &str| order[key].as_str().ok_or_else(|| format!("no text under '{key}' in {line:.200}"));
    match text("do")? {
        "dial" => swarm.dial(text("address")?.parse::<Multiaddr>()?)?,
        "publish" => publish(swarm, text("topic")?, text("data")?.as_bytes().to_vec())?,
        other => return Err(format!("unknown order '{other}'").into()),
    }
    Ok(())
}

fn on_event<E>(event: SwarmEvent<gossipsub::Event, E>) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, num_established, .. } => {
            tell(json!({
                "event": "connected", "peer": peer_id.to_string(), "connections": num_established.get(),
            }));
        }
        SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
            tell(json!({
                "event": "disconnected", "peer": peer_id.to_string(), "connections": num_established,
            }));
        }
        SwarmEvent::Behaviour(gossipsub::Event::Subscribed { peer_id, topic }) => {
            tell(json!({ "event": "subscribed", "peer": peer_id.to_string(), "topic": topic.as_str() }));
        }
        SwarmEvent::Behaviour(gossipsub::Event::Message { propagation_source, message, .. }) => {
            tell(json!({
                "event": "message",
                "topic": message.topic.as_str(),
                "author": message.source.map(|peer| peer.to_string()),
                "from": propagation_source.to_string(),
                "data": String::from_utf8_lossy(&message.data),
                "text": percent_decoded(&message.data),
            }));
        }
        _ => {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let options = options()?;
    let key = match &options.key {
        Some(path) => Keypair::rsa_from_pkcs8(&mut std::fs::read(path)?)?,
        None => Keypair::generate_ed25519(),
    };
    let mut swarm = swarm(key)?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            let me = swarm.local_peer_id().to_string();
            tell(json!({ "event": "listening", "address": address.to_string(), "peer_id": me }));
            break;
        }
    }
    for peer in options.peers {
        swarm.dial(peer)?;
    }
    for topic in options.topics {
        swarm.behaviour_mut().subscribe(&IdentTopic::new(topic))?;
    }
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = orders.next_line() => match line? {
                None => return Ok(()),
                Some(line) => {
                    if let Err(reason) = obey(&mut swarm, &line) {
                        tell(json!({ "event": "refused", "reason": reason.to_string() }));
                    }
                }
            },
            event = swarm.select_next_some() => on_event(event),
        }
    }
}
