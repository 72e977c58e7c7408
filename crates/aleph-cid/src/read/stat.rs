use std::fmt;

use super::{Limits, ReadError, unixfs_node};
use crate::cid::{Cid, Codec};
use crate::unixfs::{NodeType, UnixFs};

/// What a block is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A file, or a piece of one.
    File,
    /// A directory, in one block or in shards.
    Directory,
    /// A symlink.
    Symlink,
    /// Not UnixFS: another codec, or an outdated form.
    Other,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Other => "block of another kind",
        })
    }
}

impl NodeKind {
    pub(crate) fn of(message: &UnixFs<'_>) -> Self {
        match message.node_type {
            NodeType::File | NodeType::Raw => Self::File,
            NodeType::Directory | NodeType::HamtShard => Self::Directory,
            NodeType::Symlink => Self::Symlink,
            NodeType::Metadata => Self::Other,
        }
    }
}

/// What the root block of a file or directory says about the whole, as Kubo's `files stat` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of content; 0 for a directory.
    pub size: u64,
    /// Bytes of all blocks, as far as the root's links say the truth; [`super::DagWalk`] counts them.
    pub cumulative_size: u64,
    /// Links of this block.
    pub links: usize,
}

impl Stat {
    /// Reads a root block.
    ///
    /// # Errors
    ///
    /// Another block, or one that is no node although its codec says so.
    pub fn read(cid: &Cid, block: &[u8], limits: &Limits) -> Result<Self, ReadError> {
        limits.verify(cid, block)?;
        let len = block.len() as u64;
        match cid.codec() {
            Codec::Raw => Ok(Self { kind: NodeKind::File, size: len, cumulative_size: len, links: 0 }),
            Codec::DagPb => {
                let (node, message) = unixfs_node(cid, block)?;
                let kind = NodeKind::of(&message);
                let size = match kind {
                    NodeKind::File => message.file_size.unwrap_or(message.data.len() as u64),
                    NodeKind::Symlink => message.data.len() as u64,
                    NodeKind::Directory | NodeKind::Other => 0,
                };
                let cumulative_size = node.cumulative_size(block);
                Ok(Self { kind, size, cumulative_size, links: node.links.len() })
            }
            _ => Ok(Self { kind: NodeKind::Other, size: len, cumulative_size: len, links: 0 }),
        }
    }
}
