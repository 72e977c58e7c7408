//! Who has what, by the distributed table.

use std::collections::HashSet;

use aleph_cid::Cid;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify};

use super::Task;
use crate::DhtScope;
use crate::network::dht::{self, DIALLED};

/// Addresses of one peer that are believed.
const ADDRESSES: usize = 8;

/// Contents that wait until the table has peers, and how many of them are told in half a second then.
const UNTOLD: usize = 131_072;
const TOLD_AT_ONCE: usize = 8;

impl Task {
    /// Tells others that this node has it, from now on.
    pub(super) fn provide(&mut self, cid: &Cid) {
        let Some(key) = dht::key_of(cid) else { return };
        if self.swarm.behaviour().dht.as_ref().is_some() && self.untold.len() < UNTOLD {
            self.untold.push_back(key);
            self.tell_untold();
        }
    }

    /// Tells what waits to be told, some at a time. What is told to an empty table is told to nobody, and not again
    /// for most of a day.
    pub(super) fn tell_untold(&mut self) {
        let Some(table) = self.swarm.behaviour_mut().dht.as_mut() else { return };
        if self.untold.is_empty() || table.kbuckets().all(|bucket| bucket.is_empty()) {
            return;
        }
        for key in self.untold.drain(..self.untold.len().min(TOLD_AT_ONCE)) {
            if let Err(error) = table.start_providing(key) {
                tracing::debug!(%error, "content is not told to others");
            }
        }
    }

    /// Tells it no more.
    pub(super) fn stop_providing(&mut self, cid: &Cid) {
        if let Some(key) = dht::key_of(cid) {
            self.untold.retain(|untold| *untold != key);
        }
        if let (Some(table), Some(key)) = (self.swarm.behaviour_mut().dht.as_mut(), dht::key_of(cid)) {
            table.stop_providing(&key);
        }
    }

    /// Looks up who has it, and connects to some of them.
    pub(super) fn find_providers(&mut self, cid: &Cid) {
        if let (Some(table), Some(key)) = (self.swarm.behaviour_mut().dht.as_mut(), dht::key_of(cid)) {
            table.get_providers(key);
        }
    }

    /// A peer that the table may begin with.
    pub(super) fn meet(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let Some(table) = self.swarm.behaviour_mut().dht.as_mut() else { return };
        for address in addresses {
            table.add_address(&peer, address);
        }
    }

    pub(super) fn on_dht(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { result, .. } => match result {
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                    self.connect_to_providers(&providers);
                }
                QueryResult::StartProviding(Err(error)) => tracing::debug!(%error, "content was not told"),
                QueryResult::Bootstrap(Err(error)) => tracing::debug!(%error, "the table has no peers"),
                _ => {}
            },
            // Only who has something itself may tell of it: the protocol sees to that.
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                if let Some(table) = self.swarm.behaviour_mut().dht.as_mut() {
                    // A full table takes no more, until what it has expires.
                    let _ = table.store_mut().add_provider(record);
                }
            }
            _ => {}
        }
    }

    fn connect_to_providers(&mut self, providers: &HashSet<PeerId>) {
        let me = self.shared.me;
        let unknown = providers.iter().filter(|peer| **peer != me);
        let peers: Vec<PeerId> = unknown.filter(|peer| !self.swarm.is_connected(peer)).copied().collect();
        for peer in peers.into_iter().take(DIALLED) {
            // Now: the table knows the addresses only as long as it looks.
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .allocate_new_port()
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "provider not dialled");
            }
        }
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(scope) = self.config.dht.as_ref().map(|dht| dht.scope) else { return };
        if !info.protocols.contains(&dht::protocol(scope)) {
            return;
        }
        let addresses = info.listen_addrs.into_iter().filter(|address| is_of(scope, address));
        self.meet(peer_id, addresses.take(ADDRESSES).collect());
    }
}

/// Whether an address is one of those that a table is about.
fn is_of(scope: DhtScope, address: &Multiaddr) -> bool {
    use libp2p::multiaddr::Protocol;
    let is_local = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        _ => return false,
    };
    scope == DhtScope::Private || !is_local
}
