//! When to dial whom: a table of targets stepped by time and outcomes, without any IO.

use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::ConfiguredPeer;
use crate::defaults::{
    CONNECT_TIMEOUT, DIAL_FAST, DIAL_FAST_ATTEMPTS, DIAL_SLOWEST, DIAL_SLOWEST_ALONE, FEW_PEERS, FEW_TARGETS,
};

/// Above this many connected peers, announced addresses are not dialled any more; configured ones
/// always are. The mesh of a topic holds twelve.
const ENOUGH_PEERS: usize = 128;

/// A target of the dialer, for as long as the dialer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TargetId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Configured,
    Announced,
}

#[derive(Debug)]
struct Target {
    id: TargetId,
    origin: Origin,
    /// Without `/p2p/…`.
    address: Multiaddr,
    peer: Option<PeerId>,
    /// The identity came from a connection, not from the configuration.
    learned: bool,
    failures: u32,
    next: Instant,
    /// An attempt is under way; `next` is when it counts as failed.
    busy: bool,
}

/// One dial to make now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) target: TargetId,
    pub(crate) peer: Option<PeerId>,
    pub(crate) address: Multiaddr,
}

#[derive(Debug)]
pub(crate) struct Dialer {
    me: PeerId,
    targets: Vec<Target>,
    last_id: u64,
}

/// The pause after `failures` failures in a row; `random` is in 0..1.
fn pause(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(DIAL_FAST_ATTEMPTS).min(16);
    let base = DIAL_FAST.saturating_mul(1 << doublings).min(DIAL_SLOWEST);
    base.mul_f64(0.8 + 0.4 * random)
}

impl Dialer {
    pub(crate) fn new(me: PeerId) -> Self {
        Self { me, targets: Vec::new(), last_id: 0 }
    }

    /// Adds a peer that is to be dialled for ever; one that is known already is tried at once.
    pub(crate) fn configure(&mut self, peer: &ConfiguredPeer, now: Instant) {
        let address: Multiaddr =
            peer.address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        let identity = peer.peer_id();
        if identity == Some(self.me) {
            return;
        }
        let known = self.targets.iter_mut().find(|target| target.address == address);
        if let Some(target) = known {
            target.origin = Origin::Configured;
            target.peer = identity.or(target.peer);
            target.learned = identity.is_none();
            if !target.busy {
                target.next = now;
            }
            return;
        }
        self.push(Origin::Configured, address, identity, now);
    }

    /// Takes the announced addresses as they are known now.
    pub(crate) fn announced(&mut self, known: &[(PeerId, Multiaddr)], now: Instant) {
        let mine = |target: &Target| {
            known.iter().any(|(peer, address)| target.peer == Some(*peer) && target.address == *address)
        };
        self.targets.retain(|target| target.origin == Origin::Configured || target.busy || mine(target));
        for (peer, address) in known {
            let has = self.targets.iter().any(|target| {
                target.address == *address
                    || (target.peer == Some(*peer) && target.origin == Origin::Configured)
            });
            if !has && *peer != self.me {
                self.push(Origin::Announced, address.clone(), Some(*peer), now);
            }
        }
    }

    fn push(&mut self, origin: Origin, address: Multiaddr, peer: Option<PeerId>, now: Instant) {
        self.last_id += 1;
        self.targets.push(Target {
            id: TargetId(self.last_id),
            origin,
            address,
            peer,
            learned: peer.is_none(),
            failures: 0,
            next: now,
            busy: false,
        });
    }

    /// Whom to dial now. Every attempt must end in [`Dialer::succeeded`] or [`Dialer::failed`]; one
    /// that does neither fails by itself.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        connected: usize,
        is_connected: impl Fn(&PeerId) -> bool,
        random: impl Fn() -> f64,
    ) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        // Pauses that grew before become short again when connections go.
        let is_alone = connected < FEW_PEERS && self.targets.len() <= FEW_TARGETS;
        for target in &mut self.targets {
            if is_alone && !target.busy && target.failures > 0 {
                target.next = target.next.min(now + DIAL_SLOWEST_ALONE);
            }
            if target.next > now || target.peer.is_some_and(|peer| is_connected(&peer)) {
                continue;
            }
            if target.busy {
                target.busy = false;
                target.failures = target.failures.saturating_add(1);
                target.next = now + pause(target.failures, random());
                continue;
            }
            if target.origin == Origin::Announced && connected >= ENOUGH_PEERS {
                continue;
            }
            target.busy = true;
            // Longer than an attempt can take, name resolution included.
            target.next = now + CONNECT_TIMEOUT * 2;
            attempts.push(Attempt { target: target.id, peer: target.peer, address: target.address.clone() });
        }
        attempts
    }

    /// The target answered as `peer`.
    pub(crate) fn succeeded(&mut self, id: TargetId, peer: PeerId) {
        if let Some(target) = self.find(id) {
            target.busy = false;
            target.failures = 0;
            target.peer = Some(peer);
        }
    }

    /// A connection to `peer` stands, whoever dialled. If it could not be reached before, a way is open again,
    /// and others may be behind it: they are tried within a second, not after their pauses.
    pub(crate) fn reached(&mut self, peer: &PeerId, now: Instant, random: impl Fn() -> f64) {
        let was_lost = |target: &Target| target.peer == Some(*peer) && target.failures > 0;
        if !self.targets.iter().any(was_lost) {
            return;
        }
        for target in &mut self.targets {
            if target.peer == Some(*peer) {
                target.failures = 0;
            } else if !target.busy && target.failures > 0 {
                // the pauses stay as long as they were, should this fail
                target.next = target.next.min(now + DIAL_FAST.mul_f64(random()));
            }
        }
    }

    /// The attempt failed. Returns how many failed in a row.
    pub(crate) fn failed(&mut self, id: TargetId, wrong_identity: bool, now: Instant, random: f64) -> u32 {
        let Some(target) = self.find(id) else { return 0 };
        target.busy = false;
        target.failures = target.failures.saturating_add(1);
        target.next = now + pause(target.failures, random);
        if wrong_identity && target.learned {
            target.peer = None;
        }
        target.failures
    }

    /// The target turned out to be this node.
    pub(crate) fn is_self(&mut self, id: TargetId) {
        self.targets.retain(|target| target.id != id);
    }

    /// The last connection to `peer` closed: come back after `wait`.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, wait: Duration, now: Instant) {
        for target in self.targets.iter_mut().filter(|target| target.peer == Some(*peer)) {
            target.busy = false;
            target.failures = 0;
            target.next = now + wait;
        }
    }

    /// Whether the peer is one that is dialled again and again.
    pub(crate) fn targets(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|target| target.peer == Some(*peer))
    }

    /// The identities of configured peers, as far as they are known; `None` for others.
    pub(crate) fn configured(&self) -> impl Iterator<Item = Option<PeerId>> + '_ {
        self.targets.iter().filter(|target| target.origin == Origin::Configured).map(|target| target.peer)
    }

    fn find(&mut self, id: TargetId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    fn configured(text: &str) -> ConfiguredPeer {
        text.parse().unwrap()
    }

    fn due(dialer: &mut Dialer, now: Instant) -> Vec<Attempt> {
        dialer.due(now, 0, |_| false, || MIDDLE)
    }

    #[test]
    fn pauses_are_short_at_first_and_never_above_a_minute() {
        assert_eq!(pause(1, MIDDLE), DIAL_FAST);
        assert_eq!(pause(DIAL_FAST_ATTEMPTS, MIDDLE), DIAL_FAST);
        assert_eq!(pause(DIAL_FAST_ATTEMPTS + 3, MIDDLE), DIAL_FAST * 8);
        assert_eq!(pause(u32::MAX, MIDDLE), DIAL_SLOWEST);
        assert!(pause(u32::MAX, 1.0) <= DIAL_SLOWEST * 6 / 5);
        assert!(pause(1, 0.0) < pause(1, 0.9));
    }

    #[test]
    fn a_target_is_dialled_until_it_answers_and_again_when_it_goes() {
        let (me, peer, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut dialer = Dialer::new(me);
        dialer.configure(&configured("/ip4/127.0.0.1/tcp/1"), start);
        let first = due(&mut dialer, start);
        assert_eq!(first.len(), 1);
        assert!(due(&mut dialer, start).is_empty(), "one attempt at a time");
        dialer.failed(first[0].target, false, start, MIDDLE);
        assert!(due(&mut dialer, start).is_empty());
        let second = due(&mut dialer, start + DIAL_FAST);
        dialer.succeeded(second[0].target, peer);
        let later = start + DIAL_FAST * 2;
        assert!(dialer.due(later, 1, |other| *other == peer, || MIDDLE).is_empty());
        dialer.disconnected(&peer, DIAL_FAST, later);
        assert!(due(&mut dialer, later).is_empty());
        assert_eq!(due(&mut dialer, later + DIAL_FAST)[0].peer, Some(peer));
    }

    #[test]
    fn one_peer_that_is_back_has_the_others_tried_at_once() {
        let (back, start) = (PeerId::random(), Instant::now());
        let mut dialer = Dialer::new(PeerId::random());
        for port in 1..4 {
            let peer = if port == 1 { back } else { PeerId::random() };
            dialer.configure(&configured(&format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}")), start);
        }
        // a long cut
        let mut now = start;
        for _ in 0..DIAL_FAST_ATTEMPTS + 8 {
            for attempt in due(&mut dialer, now) {
                dialer.failed(attempt.target, false, now, MIDDLE);
            }
            now += DIAL_SLOWEST;
        }
        for attempt in due(&mut dialer, now) {
            dialer.failed(attempt.target, false, now, MIDDLE);
        }
        let soon = now + DIAL_FAST;
        dialer.reached(&PeerId::random(), now, || MIDDLE);
        assert!(due(&mut dialer, soon).is_empty(), "a stranger says nothing of the others");
        dialer.reached(&back, now, || MIDDLE);
        let attempts = dialer.due(soon, 1, |peer| *peer == back, || MIDDLE);
        assert_eq!(attempts.len(), 2);
        for attempt in attempts {
            dialer.failed(attempt.target, false, soon, MIDDLE);
        }
        dialer.reached(&back, soon, || MIDDLE);
        assert!(due(&mut dialer, soon + DIAL_FAST).iter().all(|attempt| attempt.peer == Some(back)), "once");
    }

    #[test]
    fn with_few_connections_pauses_stay_short() {
        let start = Instant::now();
        let mut dialer = Dialer::new(PeerId::random());
        dialer.configure(&configured("/ip4/127.0.0.1/tcp/1"), start);
        let mut now = start;
        for _ in 0..DIAL_FAST_ATTEMPTS + 8 {
            for attempt in dialer.due(now, FEW_PEERS, |_| false, || MIDDLE) {
                dialer.failed(attempt.target, false, now, MIDDLE);
            }
            now += DIAL_SLOWEST;
        }
        let attempt = dialer.due(now, FEW_PEERS, |_| false, || MIDDLE).remove(0);
        dialer.failed(attempt.target, false, now, MIDDLE);
        let soon = now + DIAL_SLOWEST_ALONE;
        assert!(dialer.due(soon, FEW_PEERS, |_| false, || MIDDLE).is_empty(), "there are others");
        // The others went.
        assert!(due(&mut dialer, now).is_empty());
        let attempt = due(&mut dialer, soon).remove(0);
        // A pause that has another reason stays.
        let peer = PeerId::random();
        dialer.succeeded(attempt.target, peer);
        dialer.disconnected(&peer, DIAL_SLOWEST_ALONE * 3, soon);
        assert!(due(&mut dialer, soon).is_empty());
        assert!(due(&mut dialer, soon + DIAL_SLOWEST_ALONE * 2).is_empty());
        assert_eq!(due(&mut dialer, soon + DIAL_SLOWEST_ALONE * 3).len(), 1);
    }

    #[test]
    fn a_learned_identity_is_forgotten_when_another_answers() {
        let start = Instant::now();
        let mut dialer = Dialer::new(PeerId::random());
        dialer.configure(&configured("/ip4/127.0.0.1/tcp/1"), start);
        let attempt = due(&mut dialer, start).remove(0);
        dialer.succeeded(attempt.target, PeerId::random());
        dialer.failed(attempt.target, true, start, MIDDLE);
        assert_eq!(due(&mut dialer, start + DIAL_FAST)[0].peer, None);
    }

    #[test]
    fn this_node_is_never_dialled() {
        let (me, start) = (PeerId::random(), Instant::now());
        let mut dialer = Dialer::new(me);
        dialer.configure(&configured(&format!("/ip4/127.0.0.1/tcp/1/p2p/{me}")), start);
        dialer.announced(&[(me, "/ip4/127.0.0.1/tcp/2".parse().unwrap())], start);
        assert!(due(&mut dialer, start).is_empty());
        dialer.configure(&configured("/ip4/127.0.0.1/tcp/3"), start);
        let attempt = due(&mut dialer, start).remove(0);
        dialer.is_self(attempt.target);
        assert!(due(&mut dialer, start + DIAL_SLOWEST * 2).is_empty());
    }

    #[test]
    fn announced_targets_come_and_go_with_their_announcements() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut dialer = Dialer::new(PeerId::random());
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        dialer.announced(&[(peer, address.clone())], start);
        dialer.announced(&[(peer, address)], start);
        assert_eq!(dialer.targets.len(), 1);
        assert!(dialer.due(start, ENOUGH_PEERS, |_| false, || MIDDLE).is_empty());
        dialer.announced(&[], start);
        assert!(dialer.targets.is_empty());
    }

    #[test]
    fn an_attempt_that_never_ends_counts_as_failed() {
        let start = Instant::now();
        let mut dialer = Dialer::new(PeerId::random());
        dialer.configure(&configured("/ip4/127.0.0.1/tcp/1"), start);
        assert_eq!(due(&mut dialer, start).len(), 1);
        let late = start + CONNECT_TIMEOUT * 2;
        assert!(due(&mut dialer, late).is_empty());
        assert_eq!(due(&mut dialer, late + DIAL_FAST).len(), 1);
    }
}
