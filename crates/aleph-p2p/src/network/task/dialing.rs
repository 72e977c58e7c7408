//! Dials what the dialer says is due, and hangs up on peers that stay silent.

use std::time::Instant;

use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::{Lookup, Task};
use crate::defaults::{SILENT_FOR, SILENT_PAUSE};
use crate::handle::bump;
use crate::network::dialer::{Attempt, TargetId};
use crate::network::lookup::{look_up, name_of};

impl Task {
    pub(super) fn hang_up_on_silent_peers(&mut self, now: Instant) {
        let Some(since) = now.checked_sub(SILENT_FOR) else { return };
        let silent = self.shared.peers.lock().silent(since);
        for peer in silent {
            // Who was dialled for its blocks need not speak gossip.
            if !self.dialer.targets(&peer) {
                continue;
            }
            if self.paused.insert(peer, SILENT_PAUSE).is_none() {
                tracing::info!(%peer, "peer sent no subscriptions: dialling again later");
                // An error means that it is gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    pub(super) fn dial_due(&mut self) {
        let now = Instant::now();
        let swarm = &self.swarm;
        let connected = swarm.connected_peers().count();
        let attempts = self.dialer.due(now, connected, |peer| swarm.is_connected(peer), rand::random::<f64>);
        for attempt in attempts {
            if let Some((host, port, family)) = name_of(&attempt.address) {
                let Attempt { target, peer, .. } = attempt;
                self.lookups.spawn(async move { (target, peer, look_up(&host, port, family).await) });
            } else {
                self.dial(attempt.target, attempt.peer, vec![attempt.address]);
            }
        }
    }

    pub(super) fn on_lookup(&mut self, (target, peer, addresses): Lookup) {
        match addresses {
            Ok(addresses) => self.dial(target, peer, addresses),
            Err(error) => {
                let failures = self.dialer.failed(target, false, Instant::now(), rand::random());
                bump(&self.shared.counters.failed_dials, 1);
                tracing::debug!(%error, failures, "peer's name not found");
            }
        }
    }

    pub(super) fn dial(&mut self, target: TargetId, peer: Option<PeerId>, mut addresses: Vec<Multiaddr>) {
        let options = match (peer, addresses.pop()) {
            (Some(peer), Some(last)) => {
                addresses.push(last);
                DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(addresses)
                    .allocate_new_port()
                    .build()
            }
            (None, Some(address)) => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
            (_, None) => {
                self.dialer.failed(target, false, Instant::now(), rand::random());
                return;
            }
        };
        self.attempts.insert(options.connection_id(), target);
        let connection = options.connection_id();
        if let Err(error) = self.swarm.dial(options) {
            self.attempts.remove(&connection);
            self.dial_failed(target, &error);
        }
    }

    pub(super) fn dial_failed(&mut self, target: TargetId, error: &DialError) {
        match error {
            DialError::LocalPeerId { .. } => {
                self.dialer.is_self(target);
                return;
            }
            // The peer is being dialled or dialled us meanwhile.
            DialError::DialPeerConditionFalse(_) => {}
            _ => bump(&self.shared.counters.failed_dials, 1),
        }
        let wrong = matches!(error, DialError::WrongPeerId { .. });
        let failures = self.dialer.failed(target, wrong, Instant::now(), rand::random());
        if wrong {
            tracing::warn!(%error, "another peer answers at this address: correct the peer id");
        } else {
            tracing::debug!(%error, failures, "dial failed");
        }
    }
}
