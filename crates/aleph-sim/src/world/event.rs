//! What happens, and the queue's order.

use std::sync::Arc;

use aleph_types::ItemHash;

/// What travels between nodes.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// A gossip payload.
    Gossip(Arc<[u8]>),
    /// A frame of a comparison.
    Frame { talk: u64, frame: Vec<u8> },
    /// The answer to it.
    FrameAnswer { talk: u64, frame: Vec<u8> },
    /// The question for messages.
    Wanted { talk: u64, elements: Vec<[u8; 32]> },
    /// The answer to it.
    Parcel { talk: u64, text: String },
    /// The question for a file.
    FileWanted(ItemHash),
    /// The answer to it.
    File(Vec<u8>),
}

impl Packet {
    pub(super) fn letter(&self) -> u8 {
        match self {
            Self::Gossip(_) => b'g',
            Self::Frame { .. } => b'q',
            Self::FrameAnswer { .. } => b'a',
            Self::Wanted { .. } => b'w',
            Self::Parcel { .. } => b'p',
            Self::FileWanted(_) => b'?',
            Self::File(_) => b'f',
        }
    }
}

#[derive(Debug)]
pub(super) enum Event {
    /// A client hands item number so-and-so to a node.
    Client(usize),
    /// A client has no answer.
    NoAnswer(usize),
    Arrive {
        from: usize,
        to: usize,
        packet: Packet,
    },
    /// A node takes what it has through its pipeline. The second number says in which of its lives.
    Step(usize, u32),
    /// A node compares its set with that of another.
    Round(usize),
    /// A node gives a talk up.
    GiveUp(usize, u64),
    /// A node asks again for a file.
    Fetch(usize, u32, ItemHash),
    Crash(usize),
    Restart(usize),
    Full(usize, bool),
    Cut(u64),
    Heal,
    /// The trouble is over.
    Rest,
    Look,
}

impl Event {
    pub(super) fn letter(&self) -> u8 {
        match self {
            Self::Client(_) => b'C',
            Self::NoAnswer(_) => b'N',
            Self::Arrive { packet, .. } => packet.letter(),
            Self::Step(..) => b'S',
            Self::Round(_) => b'R',
            Self::GiveUp(..) => b'G',
            Self::Fetch(..) => b'F',
            Self::Crash(_) => b'X',
            Self::Restart(_) => b'U',
            Self::Full(..) => b'D',
            Self::Cut(_) => b'/',
            Self::Heal => b'=',
            Self::Rest => b'Z',
            Self::Look => b'L',
        }
    }
}

pub(super) struct Queued {
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub(super) fn node_of(event: &Event) -> Option<usize> {
    match event {
        Event::Arrive { to: node, .. }
        | Event::Step(node, _)
        | Event::Round(node)
        | Event::GiveUp(node, _)
        | Event::Fetch(node, ..)
        | Event::Crash(node)
        | Event::Restart(node)
        | Event::Full(node, _) => Some(*node),
        Event::Client(_) | Event::NoAnswer(_) | Event::Cut(_) | Event::Heal | Event::Rest | Event::Look => {
            None
        }
    }
}
