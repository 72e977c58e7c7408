//! Peers that do not behave, against a running node that an honest peer talks to meanwhile.
//!
//! Every attack is bounded in count and time. What is compared is the share of the honest messages
//! that are there when the last one was sent, with and without the attack: no clock is asserted.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use aleph_p2p::{Event, KeyType, Network, NetworkConfig, NetworkHandle, NodeKey};
use aleph_types::{ItemHash, Message};
use futures_util::{AsyncRead, AsyncWrite, StreamExt as _};
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm, Transport, noise, swarm, tcp, yamux};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::core_node::CoreNode;
use crate::harness::{PATIENCE, eventually};
use crate::interop::{address_of, node, post, wire};
use crate::old_peer::MESSAGES;

mod crowds;

/// Honest messages of one round, and the pause between two.
const HONEST: u32 = 120;
const PAUSE: Duration = Duration::from_millis(40);

/// Longest life of an attack.
const ATTACK: Duration = Duration::from_secs(12);

/// How long an attacker stays when it has said all.
const LINGER: Duration = Duration::from_secs(3);

/// What the node may have resident after an attack, unoptimised as it is built for tests.
const MEMORY: u64 = 300 << 20;

/// A node, and an honest peer that its configuration names.
struct Arena {
    node: CoreNode,
    honest: NetworkHandle,
    address: Multiaddr,
    _folder: tempfile::TempDir,
}

impl Arena {
    async fn open() -> Self {
        let config = NetworkConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            ..NetworkConfig::default()
        };
        let key = NodeKey::generate(KeyType::Ed25519).expect("a key");
        let (honest, mut events) = Network::start(config, key).await.expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let of_honest = format!("{}/p2p/{}", honest.listen_addrs()[0], honest.peer_id());
        let mut node = node(folder.path(), &[&of_honest]);
        node.start().await;
        let met = async { while !matches!(events.recv().await, Some(Event::PeerSubscribed { .. })) {} };
        tokio::time::timeout(PATIENCE, met).await.expect("they meet");
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let address = address_of(&node).await.parse().expect("an address");
        Self { node, honest, address, _folder: folder }
    }

    async fn status(&self, hash: &ItemHash) -> String {
        self.node.ask_for(&format!("/api/v0/messages/{hash}/status")).await.1
    }

    /// Lets the honest peer publish, and says which share of it was processed when it was done.
    async fn honest_share(&self, round: u32) -> f64 {
        let messages = honest_messages(round);
        for message in &messages {
            self.honest.publish_message(wire(message)).await.expect("it is published");
            tokio::time::sleep(PAUSE).await;
        }
        let mut processed = 0;
        for message in &messages {
            processed += u32::from(self.status(&message.item_hash).await.contains("processed"));
        }
        eventually("every honest message is processed", async || {
            for message in &messages {
                if !self.status(&message.item_hash).await.contains("processed") {
                    return false;
                }
            }
            true
        })
        .await;
        f64::from(processed) / f64::from(HONEST)
    }

    async fn peers(&self) -> Value {
        self.node.get("/api/v1/node/peers").await
    }

    /// How the node says that a peer stands.
    async fn standing(&self, peer: PeerId) -> Value {
        let peers = self.peers().await;
        let lists = [&peers["connected"], &peers["faulty"]];
        let all = lists.iter().flat_map(|list| list.as_array().expect("a list"));
        all.into_iter().find(|told| told["peer"] == peer.to_string()).cloned().unwrap_or_default()
    }

    /// Waits until the peer is shunned, and the operator is told that it did this.
    async fn until_shunned_for(&self, peer: PeerId, fault: &str) {
        eventually("the peer is shunned", async || {
            self.standing(peer).await["shunned_seconds"].as_u64().is_some()
        })
        .await;
        let told = self.standing(peer).await;
        let faults = told["faults"].as_array().expect("a list");
        assert!(faults.iter().any(|told| told["fault"] == fault), "{told:#}");
        assert_eq!(told["score"], 0.0, "{told:#}");
    }

    /// Runs an attack beside honest traffic.
    async fn endures(&self, attack: impl Future<Output = ()> + Send + 'static) {
        let quiet = self.honest_share(0).await;
        let attack = tokio::spawn(attack);
        let attacked = self.honest_share(1).await;
        println!("honest messages there at once: {quiet:.2} in quiet, {attacked:.2} under attack");
        assert!(
            attacked >= 0.8 * quiet,
            "{attacked} under attack, {quiet} in quiet: {:#}",
            self.peers().await
        );
        tokio::time::timeout(PATIENCE, attack).await.expect("it is bounded").expect("it ends well");
    }

    /// What holds after every attack.
    async fn close(mut self) {
        let health = self.node.get("/api/v1/node/health").await;
        let resident = health["resident_memory_bytes"].as_u64().expect("a number");
        println!("{} MiB resident after the attack", resident >> 20);
        assert!(resident < MEMORY, "{resident} bytes");
        let honest = self.standing(self.honest.peer_id()).await;
        assert_eq!((&honest["trust"], &honest["score"]), (&json!("configured"), &json!(100.0)), "{honest:#}");
        assert!(honest["faults"].as_array().expect("a list").is_empty(), "{honest:#}");
        self.node.stop().await;
        self.honest.shutdown().await;
    }
}

fn port_of(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    port.expect("a port")
}

/// Different ones each round.
fn honest_messages(round: u32) -> Vec<Message> {
    (0..HONEST).map(|number| post(1_000 + round * HONEST + number, "honest")).collect()
}

/// A gossip peer with a key of its own that may break the rules: it sends the same bytes as often as
/// it likes.
struct Attacker {
    swarm: Swarm<Behaviour>,
    target: Multiaddr,
}

impl Attacker {
    fn new(target: &Multiaddr, signing: impl FnOnce(Keypair) -> MessageAuthenticity) -> Self {
        Self::over(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)), target, signing)
    }

    fn over<T>(transport: T, target: &Multiaddr, signing: impl FnOnce(Keypair) -> MessageAuthenticity) -> Self
    where
        T: Transport + Send + Unpin + 'static,
        T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        let pair = Keypair::generate_ed25519();
        let transport = transport
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&pair).expect("noise"))
            .multiplex(yamux::Config::default())
            .boxed();
        let me = pair.public().to_peer_id();
        let config = ConfigBuilder::default()
            .validation_mode(ValidationMode::None)
            .max_transmit_size(8 << 20)
            .build()
            .expect("settings");
        let mut behaviour = Behaviour::new(signing(pair), config).expect("gossip");
        behaviour.subscribe(&IdentTopic::new(MESSAGES)).expect("subscribe");
        let settings =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
        Self { swarm: Swarm::new(transport, behaviour, me, settings), target: target.clone() }
    }

    fn signed(target: &Multiaddr) -> Self {
        Self::new(target, MessageAuthenticity::Signed)
    }

    fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Publishes what `payload` gives, `times` at most, as fast as it goes; comes back when it is hung
    /// up on.
    async fn attack(mut self, times: u64, mut payload: impl FnMut(u64) -> Vec<u8>) {
        let started = Instant::now();
        let mut sent = 0;
        let mut next_dial = started;
        while sent < times && started.elapsed() < ATTACK {
            if self.swarm.connected_peers().next().is_none() && next_dial <= Instant::now() {
                next_dial = Instant::now() + Duration::from_millis(300);
                // The node may not let it in any more.
                let _ = self.swarm.dial(self.target.clone());
            }
            for _ in 0..64 {
                if sent >= times {
                    break;
                }
                match self.swarm.behaviour_mut().publish(IdentTopic::new(MESSAGES), payload(sent)) {
                    Ok(_) => sent += 1,
                    Err(_) => break,
                }
            }
            // What is queued must go out.
            let rest = tokio::time::sleep(Duration::from_millis(5));
            tokio::pin!(rest);
            loop {
                tokio::select! {
                    () = &mut rest => break,
                    _ = self.swarm.select_next_some() => {}
                }
            }
        }
        println!("{sent} sent");
        // What is queued still must go out as well.
        let rest = async {
            loop {
                self.swarm.select_next_some().await;
            }
        };
        let Err(_elapsed) = tokio::time::timeout(LINGER, rest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_garbage() {
    let arena = Arena::open().await;
    let attacker = Attacker::signed(&arena.address);
    let id = attacker.id();
    arena.endures(attacker.attack(20_000, |number| format!("garbage {number}").into_bytes())).await;
    arena.until_shunned_for(id, "published_invalid").await;
    arena.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_nobody_signed() {
    let arena = Arena::open().await;
    let attacker = Attacker::new(&arena.address, |_| MessageAuthenticity::RandomAuthor);
    let id = attacker.id();
    let copies = wire(&post(0, "copied"));
    arena.endures(attacker.attack(20_000, move |_| copies.clone().into_bytes())).await;
    arena.until_shunned_for(id, "bad_envelope").await;
    arena.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_too_large() {
    let arena = Arena::open().await;
    let attacker = Attacker::signed(&arena.address);
    // Its stream is closed at the first one. The muxer swallows what it writes to it from then on, so that
    // there is nothing more to hold against it (`spec: p2p.md §2.5`).
    arena.endures(attacker.attack(60, |number| vec![number as u8; 2 << 20])).await;
    arena.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_replays() {
    let arena = Arena::open().await;
    let attacker = Attacker::signed(&arena.address);
    let id = attacker.id();
    let valid: Vec<String> = (0..50).map(|number| wire(&post(number, "replayed"))).collect();
    arena
        .endures(attacker.attack(200_000, move |number| {
            valid[usize::try_from(number).expect("small") % valid.len()].clone().into_bytes()
        }))
        .await;
    eventually("the operator is told", async || {
        let told = arena.standing(id).await;
        told["faults"][0]["fault"] == "too_many_frames"
    })
    .await;
    arena.close().await;
}

/// Copies of honest messages that come before them: with another signature, with other content under
/// their hash, and cut. Nothing of it keeps the honest ones out.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_copies_do_no_harm_to_what_they_copy() {
    let arena = Arena::open().await;
    let honest = honest_messages(1);
    let broken = |message: &Message, way: u64| -> Vec<u8> {
        let mut document: Value = serde_json::from_str(&wire(message)).expect("JSON");
        match way {
            0 => document["signature"] = format!("0x{}", "1b".repeat(65)).into(),
            1 => {
                document["item_content"] =
                    "{\"address\":\"0x0\",\"time\":1,\"type\":\"x\",\"content\":1}".into()
            }
            2 => document["sender"] = "0x0000000000000000000000000000000000000001".into(),
            _ => document["time"] = "never".into(),
        }
        document.to_string().into_bytes()
    };
    // Several, since each is shunned before it is through.
    let mut attackers: Vec<Attacker> = (0..3).map(|_| Attacker::signed(&arena.address)).collect();
    let copies: Vec<Vec<u8>> =
        honest.iter().flat_map(|message| (0..4).map(move |way| broken(message, way))).collect();
    for (attacker, part) in attackers.drain(..).zip(copies.chunks(copies.len() / 3)) {
        let part = part.to_vec();
        let count = part.len() as u64;
        attacker.attack(count, move |number| part[usize::try_from(number).expect("small")].clone()).await;
    }
    let rejected = arena.peers().await["rejected"].as_u64().expect("a number");
    assert!(rejected > 20, "{rejected} of the copies arrived");
    let share = arena.honest_share(1).await;
    assert!(share > 0.0, "{share}");
    arena.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_drips_of_handshakes() {
    let arena = Arena::open().await;
    let port = port_of(&arena.address);
    arena
        .endures(async move {
            let mut streams = Vec::new();
            let started = Instant::now();
            while started.elapsed() < ATTACK / 2 {
                for _ in 0..20 {
                    streams.extend(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await);
                }
                for stream in &mut streams {
                    // Those that the node closed stay in the list: nothing comes of them.
                    let _ = stream.write_all(b"\x13").await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            println!("{} connections", streams.len());
        })
        .await;
    let refused = arena.peers().await["refused_connections"].as_u64().expect("a number");
    assert!(refused > 100, "{refused}");
    arena.close().await;
}
