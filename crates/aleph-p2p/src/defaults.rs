//! The numbers of the wire and of this node, with their reasons.

use std::time::Duration;

/// Most bytes of one gossip frame, on the wire of every peer (`spec: p2p.md §2.2`).
pub(crate) const MAX_FRAME: usize = 262_144;

/// Most bytes of one message with its envelope: it makes a frame of its own when it is passed on, whose tag and
/// length take four.
pub(crate) const MAX_MESSAGE: usize = MAX_FRAME - 4;

/// Most bytes that gossipsub may have read of a stream before it gives the stream up.
///
/// gossipsub 0.50 compares its bound for a frame with all that it has read: the frame, its length, and the
/// beginning of what follows, for it reads 8 KiB at a time. With [`MAX_FRAME`] as the bound, a large frame that
/// another one follows at once would end the stream, and nothing more would be heard of that peer. What is
/// larger than a frame may be is refused by [`MAX_MESSAGE`].
pub(crate) const READ_BUFFER: usize = MAX_FRAME + 3 + 8 * 1024;

/// Most bytes of one published payload, after percent signs were escaped.
///
/// A larger one would make a frame that the receiver can't decode, and every later message to that
/// receiver would be lost silently (`spec: p2p.md §2.5`).
pub const MAX_PUBLISH: usize = 261_000;

/// How long an id keeps its repeats away (`spec: p2p.md §2.2`).
pub(crate) const DUPLICATE_CACHE: Duration = Duration::from_secs(1800);

/// The reference closes idle connections after 120 s; being the first to close would make it dial
/// again for nothing (`spec: p2p.md §4`).
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// A verdict later than this finds the message gone: gossipsub keeps unjudged messages for five
/// heartbeats of one second.
pub const VERDICT_WITHIN: Duration = Duration::from_secs(4);

/// How long a message published while nobody listens waits for a first listener.
pub const OUTBOX_FOR: Duration = Duration::from_secs(10);

/// Most bytes and messages in the outbox; older ones make room.
pub(crate) const OUTBOX_BYTES: usize = 4 << 20;
pub(crate) const OUTBOX_MESSAGES: usize = 2048;

/// After a start, publishing waits this long for configured peers that are not there yet, so that
/// nodes started together hear each other's first message.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

/// Messages waiting for one peer's connection. At usual sizes (below 1 KB) a few MiB, and a burst
/// of half a second at full rate; beyond it gossipsub drops for that peer.
pub(crate) const SEND_QUEUE: usize = 4096;

/// The control part of one frame may fill the frame: an old peer sends one IHAVE with up to 5000
/// ids of 20 bytes, about 110 KiB (`spec: p2p.md §4`).
pub(crate) const MAX_CONTROL: usize = MAX_FRAME;

/// A peer older than 0.50 sends up to 100 messages in a frame; ours sends one.
pub(crate) const MAX_MESSAGES_PER_FRAME: usize = 500;

/// Gossip streams that a peer opens on one connection before gossipsub gives the connection up, in the
/// reference's version as in ours (`spec: p2p.md §2.2`).
pub(crate) const MOST_STREAMS: usize = 5;

/// How often the address book is written, if it changed.
pub(crate) const BOOK_EVERY: Duration = Duration::from_secs(60);

/// Peers with faults that are told at most.
pub(crate) const FAULTY_TOLD: usize = 256;

/// First ALIVE after start and pause between two (`spec: p2p.md §3.2`).
pub(crate) const ALIVE_FIRST: Duration = Duration::from_secs(2);
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(120);

/// A new subscriber gets to hear an ALIVE early, but never more often than this.
pub(crate) const ALIVE_GAP: Duration = Duration::from_secs(15);

/// Most bytes of an announcement: a version, an address and some unknown keys.
pub(crate) const ALIVE_MAX: usize = 4096;

/// Announced addresses are forgotten after a day (`spec: p2p.md §3.2`).
pub(crate) const PEER_AGE: Duration = Duration::from_secs(24 * 3600);

/// Most peers whose announcements are remembered; the network has about a hundred.
pub(crate) const KNOWN_PEERS: usize = 1024;

/// Attempts in the first seconds, for nodes that start together; then rarer and rarer.
pub(crate) const DIAL_FAST: Duration = Duration::from_secs(1);
pub(crate) const DIAL_FAST_ATTEMPTS: u32 = 10;
pub(crate) const DIAL_SLOWEST: Duration = Duration::from_secs(60);

/// With fewer connections than [`FEW_PEERS`] the pauses grow to this only: the network may be cut, and a
/// handful of dials costs nothing. With more than [`FEW_TARGETS`] to dial they grow as usual.
pub(crate) const DIAL_SLOWEST_ALONE: Duration = Duration::from_secs(4);
pub(crate) const FEW_PEERS: usize = 4;
pub(crate) const FEW_TARGETS: usize = 32;

/// How often peers are asked whether they are there, and how long an answer may take: a connection that died
/// without a word is noticed within the sum. Reference nodes know no such question and say so at once; it
/// says nothing about them, and keeps no connection open (`spec: p2p.md §2, §4`).
pub(crate) const PING_EVERY: Duration = Duration::from_secs(5);
pub(crate) const PING_WITHIN: Duration = Duration::from_secs(10);

/// A connection ends when what was sent is not taken for so long; about when a ping would tell.
#[cfg(target_os = "linux")]
pub(crate) const UNTAKEN_FOR: Duration = Duration::from_secs(15);

/// A dial that is not connected by then has failed.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A dialled peer that sends no subscriptions still holds an old connection of ours and believes
/// we know it: hang up and come back (`spec: p2p.md §4`, restart hazard).
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(10);
pub(crate) const SILENT_PAUSE: Duration = Duration::from_secs(15);

/// How long connections get to close at shutdown.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// How often timers are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(500);
