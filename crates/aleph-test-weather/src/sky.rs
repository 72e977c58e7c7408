//! The switch between the nodes, and its weather: delay, loss, cuts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::WeatherError;
use crate::namespace::{Names, Namespace, set_up_here, sweep};
use crate::tun;

/// Packets under way at most; beyond it they are lost, as in any router.
const UNDER_WAY: usize = 50_000;
/// Packets that are taken from one device before the others have their turn.
const AT_ONCE: usize = 64;
/// How often the switch looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
const PACKET_MAX: usize = 65_536;

/// Delays and loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Time of a packet from one node to another, one way; each pair of nodes has its own, between these.
    pub delay: (Duration, Duration),
    /// Share of packets that are lost, from 0 to 1.
    pub loss: f64,
    /// What delays and losses follow from.
    pub seed: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { delay: (Duration::from_millis(20), Duration::from_millis(100)), loss: 0.01, seed: 1 }
    }
}

/// What the switch does now.
#[derive(Debug)]
struct Rules {
    conditions: Conditions,
    /// Part of the network that each node belongs to; packets stay inside of it.
    parts: Vec<u8>,
}

/// Packets since the start.
#[derive(Debug, Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
    cut: AtomicU64,
}

/// The nodes' namespaces and the switch between them. It ends with the value.
#[derive(Debug)]
pub struct Sky {
    namespaces: Vec<Namespace>,
    rules: Arc<Mutex<Rules>>,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
    switch: Option<JoinHandle<()>>,
    net: u8,
}

impl Sky {
    /// Makes that many namespaces with a switch between them, and a way from this process to all of them.
    ///
    /// # Errors
    /// When the system refuses; see [`crate::possible`].
    pub fn new(nodes: usize, conditions: Conditions) -> Result<Self, WeatherError> {
        sweep()?;
        let names = Names::of_this_process();
        // 198.18.0.0/15 is kept for measurements (RFC 2544): no route of the machine is in the way
        let net = u8::try_from(std::process::id() % 250).unwrap_or_default();
        let mut devices = Vec::with_capacity(nodes + 1);
        let mut namespaces = Vec::with_capacity(nodes);
        for node in 0..nodes {
            let device = names.device(node);
            devices.push(tun::open(&device)?);
            let namespace = Namespace::new(&names.namespace(node))?;
            namespace.take(&device, address(net, node))?;
            namespaces.push(namespace);
        }
        let here = names.device(nodes);
        devices.push(tun::open(&here)?);
        set_up_here(&here, Ipv4Addr::new(198, 18, net, 254))?;
        let rules = Arc::new(Mutex::new(Rules { conditions, parts: vec![0; nodes] }));
        let counts = Arc::new(Counts::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let switch = Switch {
            devices,
            nodes,
            rules: Arc::clone(&rules),
            counts: Arc::clone(&counts),
            stopping: Arc::clone(&stopping),
            waiting: BinaryHeap::new(),
            number: 0,
            dice: conditions.seed,
        };
        let switch = std::thread::Builder::new()
            .name("sky".to_owned())
            .spawn(move || switch.run())
            .map_err(WeatherError::system("can't start the switch"))?;
        Ok(Self { namespaces, rules, counts, stopping, switch: Some(switch), net })
    }

    /// The address of a node; this process and all nodes reach it there.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        address(self.net, node)
    }

    /// The name of a node's namespace, for `ip netns exec`.
    pub fn namespace(&self, node: usize) -> &str {
        &self.namespaces[node].name
    }

    /// Cuts the network: nodes reach those of the same part only. Nodes that are not named are part 0.
    pub fn cut(&self, parts: &[u8]) {
        let mut rules = self.rules.lock();
        for (part, now) in rules.parts.iter_mut().zip(parts.iter().chain(std::iter::repeat(&0))) {
            *part = *now;
        }
    }

    /// All reach all again.
    pub fn heal(&self) {
        self.cut(&[]);
    }

    /// Packets since the start: brought, lost, stopped by a cut.
    pub fn packets(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.counts.passed), of(&self.counts.lost), of(&self.counts.cut))
    }
}

impl Drop for Sky {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(switch) = self.switch.take() {
            // A switch that panicked told so.
            let _ = switch.join();
        }
    }
}

fn address(net: u8, node: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, net, u8::try_from(node + 1).unwrap_or(253))
}

/// A packet under way; the order is that of its arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Instant,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

struct Switch {
    /// Of the nodes, and at last that of this process.
    devices: Vec<File>,
    nodes: usize,
    rules: Arc<Mutex<Rules>>,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
    waiting: BinaryHeap<Reverse<UnderWay>>,
    number: u64,
    dice: u64,
}

impl Switch {
    fn run(mut self) {
        let mut buffer = vec![0; PACKET_MAX];
        while !self.stopping.load(Ordering::Relaxed) {
            self.bring();
            let until = self
                .waiting
                .peek()
                .map_or(LOOK, |Reverse(next)| next.at.saturating_duration_since(Instant::now()).min(LOOK));
            let mut watched: Vec<PollFd<'_>> =
                self.devices.iter().map(|device| PollFd::new(device, PollFlags::IN)).collect();
            let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(until.subsec_nanos()) };
            if poll(&mut watched, Some(&limit)).is_err() {
                continue;
            }
            let ready: Vec<usize> = watched
                .iter()
                .enumerate()
                .filter(|(_, device)| device.revents().contains(PollFlags::IN))
                .map(|(place, _)| place)
                .collect();
            for from in ready {
                self.take(from, &mut buffer);
            }
        }
    }

    /// Takes what a node sends.
    fn take(&mut self, from: usize, buffer: &mut [u8]) {
        for _ in 0..AT_ONCE {
            let length = match (&self.devices[from]).read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let packet = &buffer[..length];
            // IPv4 only: neighbours need no discovery on a TUN device
            let Some(to) = destination(packet).and_then(|last| self.place_of(last)) else { continue };
            let Some(at) = self.arrival(from, to) else { continue };
            if self.waiting.len() >= UNDER_WAY {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.number += 1;
            self.waiting.push(Reverse(UnderWay { at, number: self.number, to, packet: packet.to_vec() }));
        }
    }

    /// The device behind the last byte of an address.
    fn place_of(&self, last: u8) -> Option<usize> {
        match usize::from(last) {
            254 => Some(self.nodes),
            node => node.checked_sub(1).filter(|node| *node < self.nodes),
        }
    }

    /// When a packet arrives, if it does.
    fn arrival(&mut self, from: usize, to: usize) -> Option<Instant> {
        let now = Instant::now();
        // clients are not in the weather
        if from == self.nodes || to == self.nodes {
            return Some(now);
        }
        let rules = self.rules.lock();
        if rules.parts[from] != rules.parts[to] {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let Conditions { delay: (least, most), loss, seed } = rules.conditions;
        drop(rules);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough of a die")]
        let rolled = (next(&mut self.dice) >> 11) as f64 / (1u64 << 53) as f64;
        if rolled < loss {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        // the same both ways, and for all packets: a way has its length
        let (low, high) = (from.min(to) as u64, from.max(to) as u64);
        let mut of_way = seed ^ (low << 32 | high).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        next(&mut of_way);
        let span = most.saturating_sub(least).as_micros().max(1) as u64;
        Some(now + least + Duration::from_micros(next(&mut of_way) % span))
    }

    /// Hands over what arrives now.
    fn bring(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(packet)) = self.waiting.pop() else { return };
            // a device that takes no more loses packets, as any does
            let count = match (&self.devices[packet.to]).write(&packet.packet) {
                Ok(_) => &self.counts.passed,
                Err(_) => &self.counts.lost,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The last byte of the address that an IPv4 packet goes to.
fn destination(packet: &[u8]) -> Option<u8> {
    (packet.first()? >> 4 == 4).then(|| packet.get(19).copied()).flatten()
}

/// SplitMix64.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
