//! Who has which content: the distributed table as this node takes part in it.

use std::num::NonZeroUsize;
use std::time::Duration;

use aleph_cid::Cid;
use libp2p::PeerId;
use libp2p::kad::{self, RecordKey, StoreInserts};
use libp2p::swarm::StreamProtocol;

use super::providers::{Bounds, KEPT_FOR, Providers};
use crate::{DhtConfig, DhtScope};

pub(crate) type Dht = kad::Behaviour<Providers>;

/// What of others' provider records is kept. In a private network every node has nearly all of them; of the public
/// network's it has those near to its own identity.
const PRIVATE: Bounds = Bounds { own: 131_072, records: 131_072, of_content: 20, of_peer: 32_768 };
const PUBLIC: Bounds = Bounds { own: 131_072, records: 32_768, of_content: 20, of_peer: 1_024 };

/// Providers that are dialled for one content.
pub(crate) const DIALLED: usize = 8;

/// Who looks something up hears of it within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn behaviour(config: &DhtConfig, me: PeerId) -> Dht {
    let mut settings = kad::Config::new(protocol(config.scope));
    settings
        // Nothing but providers is kept: see `Task::on_dht`.
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_query_timeout(PATIENCE)
        .set_parallelism(NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN))
        .set_provider_record_ttl(Some(KEPT_FOR))
        .set_provider_publication_interval(Some(Duration::from_secs(22 * 3600)));
    let bounds = match config.scope {
        DhtScope::Private => PRIVATE,
        DhtScope::Public => PUBLIC,
    };
    let mut dht = Dht::with_config(me, Providers::new(me, bounds), settings);
    if config.scope == DhtScope::Private {
        dht.set_mode(Some(kad::Mode::Server));
    }
    dht
}

pub(crate) fn protocol(scope: DhtScope) -> StreamProtocol {
    match scope {
        DhtScope::Private => StreamProtocol::new("/ipfs/lan/kad/1.0.0"),
        DhtScope::Public => StreamProtocol::new("/ipfs/kad/1.0.0"),
    }
}

/// The key of a content: the multihash of its CID, whatever its version and codec.
pub(crate) fn key_of(cid: &Cid) -> Option<RecordKey> {
    let digest = cid.digest()?;
    Some(RecordKey::new(&[&[0x12, 32], &digest[..]].concat()))
}
