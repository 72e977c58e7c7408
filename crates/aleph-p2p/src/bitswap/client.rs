//! Whom to ask for which block: a table that is stepped by what peers answer and by time, without any IO.
//!
//! Every peer is asked whether it has the root. Those that have it share the wants: who answers fast is asked
//! for more, who says no or nothing loses what it was asked for to another one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use aleph_cid::Cid;
use libp2p::PeerId;

use super::message::{Entry, WantKind};

/// Blocks that one peer is asked for at once.
const PER_PEER: usize = 32;

/// A peer that owes blocks and sends none for this long is asked no more.
const STALL: Duration = Duration::from_secs(10);

/// A peer that does not say whether it has the root within this time counts as one without it. It may have to
/// read a large file first.
const PROBE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Asked for the root, then.
    Probed(Instant),
    /// Has the root.
    Has,
    /// Has it not, or is not to be relied on.
    Useless,
}

#[derive(Debug)]
struct Peer {
    role: Role,
    /// Digests of the blocks that it owes.
    owes: HashSet<[u8; 32]>,
    /// When it began to owe, or sent something last.
    last: Instant,
    delivered: u64,
}

#[derive(Debug)]
struct Want {
    cid: Cid,
    asked: Option<PeerId>,
    /// Who said no.
    refused: HashSet<PeerId>,
}

/// What is to be sent to whom.
pub(super) type Orders = Vec<(PeerId, Entry)>;

/// One fetch.
#[derive(Debug)]
pub(super) struct Plan {
    root: Cid,
    peers: HashMap<PeerId, Peer>,
    wants: BTreeMap<u64, Want>,
    numbers: HashMap<[u8; 32], u64>,
    last_number: u64,
}

pub(super) fn entry(cid: &Cid, kind: WantKind, cancel: bool) -> Entry {
    Entry { cid: cid.to_bytes().into(), priority: 1, cancel, kind, send_dont_have: !cancel }
}

impl Plan {
    pub(super) fn new(root: Cid) -> Self {
        Self { root, peers: HashMap::new(), wants: BTreeMap::new(), numbers: HashMap::new(), last_number: 0 }
    }

    /// A peer that may have it.
    pub(super) fn join(&mut self, peer: PeerId, now: Instant) -> Orders {
        let known = self.peers.get(&peer).is_some_and(|known| known.role != Role::Useless);
        if known {
            return Orders::new();
        }
        let role = Role::Probed(now);
        self.peers.insert(peer, Peer { role, owes: HashSet::new(), last: now, delivered: 0 });
        vec![(peer, entry(&self.root, WantKind::Have, false))]
    }

    /// The peer is gone, or speaks no bitswap.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        if let Some(gone) = self.peers.remove(peer) {
            self.release(&gone.owes);
        }
    }

    fn release(&mut self, digests: &HashSet<[u8; 32]>) {
        for digest in digests {
            if let Some(want) = self.numbers.get(digest).and_then(|number| self.wants.get_mut(number)) {
                want.asked = None;
            }
        }
    }

    /// Adds a block to what is wanted; whether it is new. One that stands inside its CID never travels.
    pub(super) fn want(&mut self, cid: Cid) -> bool {
        let Some(digest) = cid.digest() else { return false };
        if self.numbers.contains_key(&digest) {
            return false;
        }
        self.last_number += 1;
        self.numbers.insert(digest, self.last_number);
        self.wants.insert(self.last_number, Want { cid, asked: None, refused: HashSet::new() });
        true
    }

    /// The block came, from `from` or from elsewhere. Who was asked for it in vain is told.
    pub(super) fn settle(&mut self, digest: &[u8; 32], from: Option<&PeerId>, now: Instant) -> Orders {
        let mut orders = Orders::new();
        if let Some(peer) = from.and_then(|from| self.peers.get_mut(from)) {
            peer.last = now;
            peer.delivered += 1;
            peer.owes.remove(digest);
            // Small blocks come instead of the word that they are there.
            if matches!(peer.role, Role::Probed(_)) {
                peer.role = Role::Has;
            }
        }
        let Some(want) = self.numbers.remove(digest).and_then(|number| self.wants.remove(&number)) else {
            return orders;
        };
        if let Some(asked) = want.asked.filter(|asked| Some(asked) != from)
            && let Some(peer) = self.peers.get_mut(&asked)
        {
            peer.owes.remove(digest);
            orders.push((asked, entry(&want.cid, WantKind::Block, true)));
        }
        orders
    }

    /// A peer says whether it has a block.
    pub(super) fn presence(&mut self, peer: &PeerId, digest: &[u8; 32], has: bool, now: Instant) {
        let is_root = self.root.digest().as_ref() == Some(digest);
        let Some(known) = self.peers.get_mut(peer) else { return };
        if is_root && matches!(known.role, Role::Probed(_)) {
            known.role = if has { Role::Has } else { Role::Useless };
            known.last = now;
        } else if !has && known.owes.remove(digest) {
            known.last = now;
            if let Some(want) = self.numbers.get(digest).and_then(|number| self.wants.get_mut(number)) {
                want.asked = None;
                want.refused.insert(*peer);
            }
        }
    }

    /// Gives up on who is silent, and hands out what nobody was asked for.
    pub(super) fn step(&mut self, now: Instant) -> Orders {
        let mut orders = Orders::new();
        let mut released = HashSet::new();
        for (id, peer) in &mut self.peers {
            match peer.role {
                Role::Probed(since) if now.saturating_duration_since(since) >= PROBE => {
                    peer.role = Role::Useless;
                }
                Role::Has if !peer.owes.is_empty() && now.saturating_duration_since(peer.last) >= STALL => {
                    peer.role = Role::Useless;
                    for digest in peer.owes.drain() {
                        let want = self.numbers.get(&digest).and_then(|number| self.wants.get(number));
                        if let Some(want) = want {
                            orders.push((*id, entry(&want.cid, WantKind::Block, true)));
                        }
                        released.insert(digest);
                    }
                }
                _ => {}
            }
        }
        self.release(&released);
        for want in self.wants.values_mut().filter(|want| want.asked.is_none()) {
            let able = self.peers.iter_mut().filter(|(id, peer)| {
                peer.role == Role::Has && peer.owes.len() < PER_PEER && !want.refused.contains(*id)
            });
            let best =
                able.min_by_key(|(id, peer)| (peer.owes.len(), u64::MAX - peer.delivered, id.to_bytes()));
            let (Some((id, peer)), Some(digest)) = (best, want.cid.digest()) else { continue };
            if peer.owes.is_empty() {
                peer.last = now;
            }
            peer.owes.insert(digest);
            want.asked = Some(*id);
            orders.push((*id, entry(&want.cid, WantKind::Block, false)));
        }
        orders
    }

    /// When [`Plan::step`] has something to do though nothing came.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let of = |peer: &Peer| match peer.role {
            Role::Probed(since) => Some(since + PROBE),
            Role::Has if !peer.owes.is_empty() => Some(peer.last + STALL),
            _ => None,
        };
        self.peers.values().filter_map(of).min()
    }

    /// Whether something is wanted that nobody is left to be asked for.
    pub(super) fn is_stuck(&self) -> bool {
        let hope = |want: &Want| {
            want.asked.is_some()
                || self.peers.iter().any(|(id, peer)| match peer.role {
                    Role::Probed(_) => true,
                    Role::Has => !want.refused.contains(id),
                    Role::Useless => false,
                })
        };
        self.wants.values().any(|want| !hope(want))
    }

    pub(super) fn root(&self) -> Option<[u8; 32]> {
        self.root.digest()
    }

    /// What is wanted.
    pub(super) fn digests(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.numbers.keys()
    }

    /// What peers should forget when the fetch ends.
    pub(super) fn farewell(&self) -> Orders {
        let asked = self.wants.values().filter_map(|want| {
            let peer = want.asked?;
            Some((peer, entry(&want.cid, WantKind::Block, true)))
        });
        asked.collect()
    }
}

#[cfg(test)]
mod tests {
    use aleph_cid::Codec;

    use super::*;

    fn cid(number: usize) -> Cid {
        Cid::v1(Codec::Raw, &number.to_le_bytes())
    }

    fn digest(number: usize) -> [u8; 32] {
        cid(number).digest().unwrap()
    }

    /// A plan whose peers have the root, and the time.
    fn plan(peers: usize) -> (Plan, Vec<PeerId>, Instant) {
        let now = Instant::now();
        let mut plan = Plan::new(cid(0));
        let peers: Vec<PeerId> = (0..peers).map(|_| PeerId::random()).collect();
        for peer in &peers {
            assert_eq!(plan.join(*peer, now).len(), 1);
            plan.presence(peer, &digest(0), true, now);
        }
        (plan, peers, now)
    }

    #[test]
    fn wants_are_shared_and_windows_hold() {
        let (mut plan, peers, now) = plan(2);
        for number in 0..100 {
            plan.want(cid(number));
        }
        let orders = plan.step(now);
        assert_eq!(orders.len(), 2 * PER_PEER);
        for peer in &peers {
            assert_eq!(orders.iter().filter(|(to, _)| to == peer).count(), PER_PEER);
        }
        assert!(plan.step(now).is_empty());
        let (from, _) = orders[0];
        assert!(plan.settle(&digest(0), Some(&from), now).is_empty());
        assert_eq!(plan.step(now).len(), 1, "one place is free");
        assert!(!plan.is_stuck());
    }

    #[test]
    fn who_says_no_is_not_asked_again_and_nobody_left_is_told() {
        let (mut plan, peers, now) = plan(2);
        plan.want(cid(1));
        let (first, _) = plan.step(now)[0];
        plan.presence(&first, &digest(1), false, now);
        let (second, _) = plan.step(now)[0];
        assert!(first != second && peers.contains(&second));
        plan.presence(&second, &digest(1), false, now);
        assert!(plan.step(now).is_empty() && plan.is_stuck());
        // Somebody new is hope.
        let third = PeerId::random();
        plan.join(third, now);
        assert!(!plan.is_stuck());
        plan.presence(&third, &digest(0), false, now);
        assert!(plan.is_stuck());
    }

    #[test]
    fn who_stalls_loses_its_blocks_to_another_one() {
        let (mut plan, _, now) = plan(1);
        plan.want(cid(1));
        plan.want(cid(2));
        let (slow, _) = plan.step(now)[0];
        let half = now + STALL / 2;
        plan.settle(&digest(1), Some(&slow), half);
        assert!(plan.step(now + STALL).is_empty(), "it sent something lately");
        assert_eq!(plan.next_deadline(), Some(half + STALL));
        let late = half + STALL;
        let fast = PeerId::random();
        plan.join(fast, late);
        plan.presence(&fast, &digest(0), true, late);
        let orders = plan.step(late);
        assert!(orders.iter().any(|(to, entry)| *to == slow && entry.cancel));
        assert!(orders.iter().any(|(to, entry)| *to == fast && !entry.cancel));
        // What comes late is welcome, and the other one is told.
        let orders = plan.settle(&digest(2), Some(&slow), late);
        assert!(orders.iter().any(|(to, entry)| *to == fast && entry.cancel));
    }

    #[test]
    fn a_small_root_comes_instead_of_the_word_that_it_is_there() {
        let (mut plan, peer, now) = (Plan::new(cid(0)), PeerId::random(), Instant::now());
        plan.join(peer, now);
        plan.want(cid(0));
        plan.settle(&digest(0), Some(&peer), now);
        plan.want(cid(1));
        assert_eq!(plan.step(now).len(), 1);
    }

    #[test]
    fn who_goes_leaves_its_blocks_and_silent_ones_are_no_hope() {
        let (mut plan, peers, now) = plan(1);
        plan.want(cid(1));
        plan.step(now);
        let silent = PeerId::random();
        plan.join(silent, now);
        plan.leave(&peers[0]);
        assert!(!plan.is_stuck());
        plan.step(now + PROBE);
        assert!(plan.is_stuck() && plan.farewell().is_empty());
        assert!(plan.join(peers[0], now).len() == 1, "it may come back");
    }
}
