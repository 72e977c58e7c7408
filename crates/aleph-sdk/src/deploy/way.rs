//! The stations of a deployment and what is told about them.

use std::time::Duration;

use aleph_types::ItemHash;
use aleph_types::content::Encoding;
use tokio::time::Instant;

use crate::files::Stored;

/// A station on the way of a program from a folder to its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeployStage {
    /// The code becomes one file.
    Pack,
    /// The file goes to the node and is kept by a STORE message.
    Upload,
    /// The PROGRAM message is written and signed.
    Sign,
    /// The node took the message.
    Accept,
    /// The node has stored and applied it.
    Store,
    /// Other core nodes have it.
    Spread,
    /// A core node is responsible for it.
    Assign,
    /// That node chose a compute node.
    Allocate,
    /// The micro-VM is up.
    Boot,
    /// The program answered.
    Answer,
}

impl DeployStage {
    /// A stable word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Upload => "upload",
            Self::Sign => "sign",
            Self::Accept => "accept",
            Self::Store => "store",
            Self::Spread => "spread",
            Self::Assign => "assign",
            Self::Allocate => "allocate",
            Self::Boot => "boot",
            Self::Answer => "answer",
        }
    }
}

/// What was learned at a station.
#[derive(Debug, Clone, PartialEq)]
pub enum StageFacts {
    /// The station was reached; nothing is known yet.
    Begun,
    /// It takes longer than it should; why, as far as the network tells.
    Waiting(String),
    /// The station was left out; why.
    Skipped(String),
    /// See [`DeployStage::Pack`].
    Packed {
        /// Form of the file.
        encoding: Encoding,
        /// Bytes.
        size: u64,
        /// Files inside.
        files: usize,
    },
    /// See [`DeployStage::Upload`].
    Uploaded(Stored),
    /// See [`DeployStage::Sign`].
    Signed {
        /// The program's identity from now on.
        program: ItemHash,
    },
    /// See [`DeployStage::Accept`].
    Accepted {
        /// URL of the node.
        node: String,
    },
    /// See [`DeployStage::Store`].
    Stored {
        /// URL of the node.
        node: String,
    },
    /// See [`DeployStage::Spread`].
    Seen {
        /// URL of the node.
        node: String,
    },
    /// See [`DeployStage::Assign`].
    Assigned {
        /// Name of the core node, or its hash.
        node: String,
        /// Its URL, if known.
        url: Option<String>,
    },
    /// See [`DeployStage::Allocate`].
    Allocated {
        /// Name of the compute node, or its hash.
        node: String,
        /// Its URL.
        url: String,
    },
    /// See [`DeployStage::Boot`].
    Booted,
    /// See [`DeployStage::Answer`].
    Answered {
        /// Where the program answers.
        url: String,
        /// HTTP status of the first answer.
        status: u16,
    },
}

/// Something happened on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct DeployEvent {
    /// Where.
    pub stage: DeployStage,
    /// What.
    pub facts: StageFacts,
    /// Since that station was begun.
    pub elapsed: Duration,
    /// Since the deployment was begun.
    pub since_start: Duration,
}

/// Tells the listener about stations, with their times.
pub(super) struct Way<'a> {
    pub(super) start: Instant,
    begun: Vec<(DeployStage, Instant)>,
    listener: &'a mut (dyn FnMut(DeployEvent) + Send),
}

impl<'a> Way<'a> {
    pub(super) fn new(listener: &'a mut (dyn FnMut(DeployEvent) + Send)) -> Self {
        Self { start: Instant::now(), begun: Vec::new(), listener }
    }

    pub(super) fn tell(&mut self, stage: DeployStage, facts: StageFacts) {
        let now = Instant::now();
        let begun = match self.begun.iter().find(|(of, _)| *of == stage) {
            Some((_, at)) => *at,
            None => {
                self.begun.push((stage, now));
                now
            }
        };
        (self.listener)(DeployEvent { stage, facts, elapsed: now - begun, since_start: now - self.start });
    }

    pub(super) fn begin(&mut self, stage: DeployStage) {
        self.tell(stage, StageFacts::Begun);
    }
}
