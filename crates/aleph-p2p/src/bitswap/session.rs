use std::sync::Arc;
use std::time::Instant;

use aleph_cid::Cid;
use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::client::{Orders, Plan};
use super::{Engine, Input, SESSION_INPUTS, STEP};

/// What a fetch brings.
#[derive(Debug)]
pub enum SessionEvent {
    /// A block that was wanted. Its bytes have the hash of its name.
    Block {
        /// Its name; the version and codec are those of the sender.
        cid: Cid,
        /// Its bytes.
        data: Bytes,
        /// Who sent it.
        from: PeerId,
    },
    /// Something is wanted that no connected peer is left to be asked for. Peers that connect later are
    /// asked all the same.
    Stuck,
}

/// One fetch of blocks from peers. Dropped, it asks for nothing any more.
#[derive(Debug)]
pub struct Session {
    id: u64,
    engine: Arc<Engine>,
    plan: Plan,
    inputs: mpsc::Receiver<Input>,
    told_stuck: bool,
}

impl Session {
    pub(super) fn start(engine: Arc<Engine>, root: Cid) -> Self {
        let (sender, inputs) = mpsc::channel(SESSION_INPUTS);
        let (id, peers) = {
            let mut state = engine.state.lock();
            state.last_session += 1;
            let id = state.last_session;
            state.sessions.insert(id, sender);
            if let Some(digest) = root.digest() {
                state.roots.entry(digest).or_default().push(id);
            }
            let connected = state.peers.iter().filter(|(_, peer)| peer.connected && !peer.refuses);
            (id, connected.map(|(peer, _)| *peer).collect::<Vec<PeerId>>())
        };
        let mut session = Self { id, engine, plan: Plan::new(root), inputs, told_stuck: false };
        let now = Instant::now();
        for peer in peers {
            let orders = session.plan.join(peer, now);
            session.engine.send(orders);
        }
        session
    }

    /// Adds a block to what is wanted. One that stands inside its CID never comes.
    pub fn want(&mut self, cid: Cid) {
        let Some(digest) = cid.digest() else { return };
        if self.plan.want(cid) {
            self.engine.state.lock().register(digest, self.id);
            self.told_stuck = false;
        }
    }

    /// The block came from elsewhere.
    pub fn settle(&mut self, cid: &Cid) {
        let Some(digest) = cid.digest() else { return };
        let orders = self.plan.settle(&digest, None, Instant::now());
        self.engine.state.lock().unregister(digest, self.id);
        self.engine.send(orders);
    }

    /// What peers are asked for is expected from them: again, where an answer was lost.
    fn expect(&self, orders: &Orders) {
        let asked = orders.iter().filter(|(_, entry)| !entry.cancel);
        let digests = asked.filter_map(|(_, entry)| Cid::from_bytes(&entry.cid).ok()?.digest());
        let mut state = self.engine.state.lock();
        for digest in digests {
            state.register(digest, self.id);
        }
    }

    /// What comes next. May be cancelled at any time.
    pub async fn next(&mut self) -> SessionEvent {
        loop {
            let now = Instant::now();
            let orders = self.plan.step(now);
            self.expect(&orders);
            self.engine.send(orders);
            if !self.told_stuck && self.plan.is_stuck() {
                self.told_stuck = true;
                return SessionEvent::Stuck;
            }
            let wait = self.plan.next_deadline().map_or(STEP, |at| at.saturating_duration_since(now));
            let input = match tokio::time::timeout(wait.min(STEP), self.inputs.recv()).await {
                Ok(Some(input)) => input,
                // The engine holds the other end as long as this lives.
                Ok(None) | Err(_) => continue,
            };
            let now = Instant::now();
            match input {
                Input::Joined(peer) => {
                    let orders = self.plan.join(peer, now);
                    self.engine.send(orders);
                }
                Input::Left(peer) => self.plan.leave(&peer),
                Input::Presence { from, digest, has } => self.plan.presence(&from, &digest, has, now),
                Input::Block { from, cid, data } => {
                    let Some(digest) = cid.digest() else { continue };
                    let orders = self.plan.settle(&digest, Some(&from), now);
                    self.engine.send(orders);
                    self.told_stuck = false;
                    return SessionEvent::Block { cid, data, from };
                }
            }
            self.told_stuck = false;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let orders = self.plan.farewell();
        {
            let mut state = self.engine.state.lock();
            state.sessions.remove(&self.id);
            for digest in self.plan.digests() {
                state.unregister(*digest, self.id);
            }
            if let Some(digest) = self.plan.root()
                && let Some(watchers) = state.roots.get_mut(&digest)
            {
                watchers.retain(|id| *id != self.id);
                if watchers.is_empty() {
                    state.roots.remove(&digest);
                }
            }
        }
        self.engine.send(orders);
    }
}
