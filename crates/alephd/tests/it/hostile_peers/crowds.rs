//! Thousands of identities, from hundreds of addresses: each comes over a socket of its own, does wrong, and
//! goes.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Pending};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::gossipsub;
use libp2p::swarm::SwarmEvent;
use tokio::net::TcpSocket;

use super::*;
use crate::harness::alephd;
use crate::old_peer::ALIVE;

/// Identities altogether, and addresses that they come from.
const IDENTITIES: u32 = 3_600;
const ADDRESSES: u32 = 400;

/// Every second group comes at once, the others one after the other on so many ways.
const GROUP: u32 = 300;
const WAYS: u32 = 75;

/// How long an identity waits to be heard, if it is not refused, and how long it stays afterwards; longest life of
/// all.
const WAIT: Duration = Duration::from_secs(1);
const LIFE: Duration = Duration::from_millis(400);
const CROWD: Duration = Duration::from_secs(30);

/// What a machine that others use at the same time gets done at least.
const CAME: u32 = 1_000;
const HEARD: u32 = 200;

/// What the node's own bounds are: connections of strangers, with the honest peer's; peers that it remembers, and
/// those of them that it tells of.
const CONNECTED: usize = 256 + 8;
const REMEMBERED: u64 = 4_096;
const TOLD: usize = 256;

/// TCP from one address of this machine, which has a whole network of them.
struct OneAddress(Ipv4Addr);

impl Transport for OneAddress {
    type Output = tcp::tokio::TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Pending<Result<Self::Output, io::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let port = port_of(&address);
        let from = SocketAddrV4::new(self.0, 0);
        Ok(Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(from.into())?;
            let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
            stream.set_nodelay(true)?;
            Ok(tcp::tokio::TcpStream(stream))
        }))
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

/// What became of the crowd.
#[derive(Debug, Default)]
struct Tally {
    came: AtomicU32,
    /// Those that the node spoke gossip with.
    heard: AtomicU32,
    sent: AtomicU32,
}

/// What identities do, by their addresses.
#[derive(Debug, Clone, Copy)]
enum Misdeed {
    Garbage,
    Unsigned,
    Replays,
    Flood,
    TooLarge,
    Lies,
}

const MISDEEDS: [Misdeed; 6] =
    [Misdeed::Garbage, Misdeed::Unsigned, Misdeed::Replays, Misdeed::Flood, Misdeed::TooLarge, Misdeed::Lies];

impl Misdeed {
    /// Messages and their topic.
    fn payload(self, number: u32, valid: &str) -> (&'static str, u32, Vec<u8>) {
        match self {
            Self::Garbage => (MESSAGES, 60, format!("garbage {number}").into_bytes()),
            Self::Unsigned => (MESSAGES, 30, valid.as_bytes().to_vec()),
            Self::Replays => (MESSAGES, 100, valid.as_bytes().to_vec()),
            Self::Flood => (MESSAGES, 200, format!("{{\"flood\":{number}}}").into_bytes()),
            Self::TooLarge => (MESSAGES, 1, vec![b'x'; 1 << 20]),
            Self::Lies => (
                ALIVE,
                3,
                format!(r#"{{"address":"http://203.0.113.1:{number}","peer_type":"HTTP"}}"#).into_bytes(),
            ),
        }
    }
}

/// One identity of many: connects, does wrong, and leaves.
async fn come_and_go(target: Multiaddr, number: u32, valid: Arc<String>, tally: Arc<Tally>) {
    // All of an address do the same.
    let address = number % ADDRESSES;
    let misdeed = MISDEEDS[address as usize % MISDEEDS.len()];
    let from = OneAddress(Ipv4Addr::from_bits(0x7f01_0002 + (address / 200) * 256 + address % 200));
    let mut attacker = Attacker::over(from, &target, |pair| match misdeed {
        Misdeed::Unsigned => MessageAuthenticity::RandomAuthor,
        _ => MessageAuthenticity::Signed(pair),
    });
    tally.came.fetch_add(1, Ordering::Relaxed);
    let _ = attacker.swarm.dial(target);
    let mut leaves = Box::pin(tokio::time::sleep(WAIT));
    loop {
        let event = tokio::select! {
            () = &mut leaves => return,
            event = attacker.swarm.select_next_some() => event,
        };
        match event {
            SwarmEvent::Behaviour(gossipsub::Event::Subscribed { topic, .. })
                if topic.as_str() == MESSAGES =>
            {
                tally.heard.fetch_add(1, Ordering::Relaxed);
                leaves.as_mut().reset(tokio::time::Instant::now() + LIFE);
                for copy in 0..misdeed.payload(0, &valid).1 {
                    let (topic, _, payload) = misdeed.payload(number * 1_000 + copy, &valid);
                    if attacker.swarm.behaviour_mut().publish(IdentTopic::new(topic), payload).is_ok() {
                        tally.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            SwarmEvent::OutgoingConnectionError { .. } | SwarmEvent::ConnectionClosed { .. } => return,
            _ => {}
        }
    }
}

async fn crowd(target: Multiaddr, tally: Arc<Tally>) {
    let valid = Arc::new(wire(&post(999, "replayed by all")));
    let started = Instant::now();
    let one = |number| come_and_go(target.clone(), number, Arc::clone(&valid), Arc::clone(&tally));
    for group in 0..IDENTITIES / GROUP {
        if started.elapsed() > CROWD {
            break;
        }
        let first = group * GROUP;
        if group % 2 == 0 {
            futures_util::future::join_all((first..first + GROUP).map(one)).await;
        } else {
            let ways = (0..WAYS).map(|way| async move {
                for number in (first + way..first + GROUP).step_by(WAYS as usize) {
                    one(number).await;
                }
            });
            futures_util::future::join_all(ways).await;
        }
    }
    println!("{tally:?} in {} ms", started.elapsed().as_millis());
}

/// The most that the node showed of each.
#[derive(Debug, Default)]
struct Most {
    connected: usize,
    told: usize,
    remembered: u64,
    resident: u64,
}

impl Most {
    async fn look(&mut self, arena: &Arena) {
        let peers = arena.peers().await;
        let count = |list: &str| peers[list].as_array().expect("a list").len();
        self.connected = self.connected.max(count("connected"));
        self.told = self.told.max(count("faulty"));
        self.remembered = self.remembered.max(peers["remembered_peers"].as_u64().expect("a number"));
        let known = peers["known"].as_array().expect("a list");
        let honest = arena.honest.peer_id().to_string();
        assert!(known.iter().all(|known| known["peer"] == honest), "strangers are not believed: {known:?}");
        let health = arena.node.get("/api/v1/node/health").await;
        self.resident = self.resident.max(health["resident_memory_bytes"].as_u64().expect("a number"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_identities_come_and_go() {
    let arena = Arena::open().await;
    let quiet = arena.honest_share(0).await;
    let mut most = Most::default();
    most.look(&arena).await;
    let before = most.resident;

    let tally = Arc::new(Tally::default());
    let done = Arc::new(AtomicBool::new(false));
    let attack = {
        let (target, tally, done) = (arena.address.clone(), Arc::clone(&tally), Arc::clone(&done));
        tokio::spawn(async move {
            crowd(target, tally).await;
            done.store(true, Ordering::Relaxed);
        })
    };
    let mut shares = Vec::new();
    let honest = async {
        while !done.load(Ordering::Relaxed) {
            let round = u32::try_from(shares.len()).expect("few");
            shares.push(arena.honest_share(1 + round).await);
        }
    };
    let look = async {
        while !done.load(Ordering::Relaxed) {
            most.look(&arena).await;
            tokio::time::sleep(LIFE / 2).await;
        }
    };
    tokio::join!(honest, look);
    attack.await.expect("it ends well");
    let share = shares.iter().sum::<f64>() / shares.len() as f64;
    println!("honest messages there at once: {quiet:.2} in quiet, {share:.2} under attack {shares:.2?}");
    println!("{most:?}, {} MiB before", before >> 20);
    assert!(share >= 0.8 * quiet, "{shares:?} under attack, {quiet} in quiet: {:#}", arena.peers().await);

    let (came, heard) = (tally.came.load(Ordering::Relaxed), tally.heard.load(Ordering::Relaxed));
    assert!(came >= CAME && heard >= HEARD, "{tally:?}: a real crowd");
    assert!(most.connected <= CONNECTED && most.told <= TOLD && most.remembered <= REMEMBERED, "{most:?}");

    // They are gone, and so is what was kept of them, but for what they did.
    eventually("only the honest peer is connected", async || {
        arena.peers().await["connected"].as_array().expect("a list").len() == 1
    })
    .await;
    let peers = arena.peers().await;
    assert!(peers["shunned_peers"].as_u64() > Some(0), "{:#}", peers["words"]);
    assert!(peers["refused_connections"].as_u64() > Some(0), "{:#}", peers["words"]);

    // The operator sees why.
    let shown = alephd().args(["inspect", "peers", "--node", &arena.node.url("")]).output().await;
    let shown = String::from_utf8(shown.expect("it runs").stdout).expect("text");
    for words in ["peers and", "addresses are shunned", "shunned for", "was at 127.1.", "that can't be valid"]
    {
        assert!(shown.contains(words), "'{words}' is missing:\n{shown:.2000}");
    }
    arena.close().await;
}
