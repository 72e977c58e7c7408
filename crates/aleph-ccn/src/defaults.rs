//! Values that work without a configuration, and why they are what they are.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// Beside the place where the node is started; packages set an absolute folder.
pub(crate) const DATA_DIR: &str = "alephd-data";

/// The port that other nodes derive from the multiaddress of the node list (`spec: p2p.md §1`).
pub(crate) const HTTP_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4024));

/// The reference's port; IPv4 as there (`spec: p2p.md §2`).
pub(crate) const P2P_LISTEN: &str = "/ip4/0.0.0.0/tcp/4025";

/// The production topic, in spite of its name (`spec: p2p.md §3`).
pub(crate) const TOPIC: &str = "ALEPH-TEST";

/// (`spec: p2p.md §3`)
pub(crate) const ALIVE_TOPIC: &str = "ALIVE";

/// Publisher of the node list (`spec: nodes.md §6`).
pub(crate) const CORECHANNEL_ADDRESS: &str = "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10";

/// (`spec: messages.md §13`)
pub(crate) const BALANCE_PUBLISHERS: [&str; 2] =
    ["0xB34f25f2c935bCA437C061547eA12851d719dEFb", "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10"];

/// (`spec: messages.md §13`)
pub(crate) const CREDIT_PUBLISHERS: [&str; 1] = ["0x2E4454fAD1906c0Ce6e45cBFA05cE898Ac3AC1dC"];

/// (`spec: messages.md §13`)
pub(crate) const METRICS_PUBLISHERS: [&str; 1] = ["0x4D52380D3191274a04846c89c069E6C3F2Ed94e4"];

/// The key of the reference's `aleph.auth.public_key` (`spec: ccn-config.md`).
pub(crate) const OPERATORS_KEY: &str = "0209fe82e08ec3c5c3ee4904fa147a11d49c7130579066c8a452d279d539959389";

/// The reference tries eleven times over about seven minutes on average, fourteen at most, in each of two
/// stages (`spec: messages.md §9`); ten minutes lie between.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// As the reference's collector: files rest a day in any case before they go (`spec: messages.md §16`).
pub(crate) const COLLECT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// As the reference's jobs of balances (`spec: payments.md §10`).
pub(crate) const SETTLE_EVERY: Duration = Duration::from_secs(3600);

/// How often overdue messages are looked for; a refusal may be late by as much.
pub(crate) const EXPIRY_TICK: Duration = Duration::from_secs(1);

/// How often other nodes are asked for what this one missed. Gossip brings nearly everything at once; this
/// bounds how long the rest takes.
pub(crate) const CATCH_UP_EVERY: Duration = Duration::from_secs(10);

/// How often programs are held against their placement: compute nodes come, go and fill up.
pub(crate) const PLACEMENT_EVERY: Duration = Duration::from_secs(10);

/// Connections of clients: a thousand WebSockets and a crowd beside them, far below the usual limit of
/// descriptors.
pub(crate) const CONNECTIONS: usize = 16_384;

/// Long enough for a kept-alive connection between two requests of a person.
pub(crate) const REQUEST_HEAD: Duration = Duration::from_secs(75);

/// Requests that are under way when the node stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);
