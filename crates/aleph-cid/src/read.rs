mod dag;
mod directory;
mod error;
mod file;
mod path;
mod source;
mod stat;
mod tree;

pub use dag::{DagTotals, DagWalk};
pub use directory::{DirectoryWalk, Entry};
pub use error::{ErrorKind, ReadError};
pub use file::FileWalk;
pub use path::PathWalk;
pub(crate) use source::with_block;
pub use source::{SourceError, check_dag, list_directory, read_file, resolve_path};
pub use stat::{NodeKind, Stat};
pub use tree::{TreeItem, TreeWalk};

use crate::cid::{Cid, Codec};
use crate::dag_pb::Node;
use crate::layout::MAX_BLOCK;
use crate::unixfs::UnixFs;

/// What a reader puts up with. Whoever built the tree decides its shape; these bound the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest block, in bytes.
    pub block: usize,
    /// Deepest tree of a file: nodes from the root to a leaf.
    pub depth: u32,
    /// Largest file, in bytes of content.
    pub file: u64,
    /// Most links of a file's tree held at once; each takes about 100 bytes of memory.
    pub links: usize,
    /// Most entries of a directory, and most blocks that it may take to list it.
    pub entries: usize,
    /// Most different blocks of a whole DAG; each takes about 60 bytes of memory.
    pub blocks: usize,
}

impl Default for Limits {
    /// Fits everything that Kubo builds up to a TiB.
    fn default() -> Self {
        Self { block: MAX_BLOCK, depth: 16, file: 1 << 40, links: 1 << 16, entries: 1 << 20, blocks: 1 << 22 }
    }
}

impl Limits {
    /// Checks that `block` is small enough and is what `cid` names.
    fn verify(&self, cid: &Cid, block: &[u8]) -> Result<(), ReadError> {
        if block.len() > self.block {
            return Err(ReadError::BlockTooLarge { cid: *cid, len: block.len(), limit: self.block });
        }
        if cid.matches(block) { Ok(()) } else { Err(ReadError::WrongBlock { cid: *cid }) }
    }
}

/// Reads a block that must be a UnixFS node.
fn unixfs_node<'a>(cid: &Cid, block: &'a [u8]) -> Result<(Node<'a>, UnixFs<'a>), ReadError> {
    let malformed = |why| ReadError::Malformed { cid: *cid, why };
    if cid.codec() != Codec::DagPb {
        return Err(ReadError::UnknownCodec { cid: *cid, code: cid.codec().code() });
    }
    let node = Node::decode(block).map_err(malformed)?;
    let data = node.data.ok_or_else(|| malformed("a node without UnixFS data"))?;
    let message = UnixFs::decode(data).map_err(malformed)?;
    Ok((node, message))
}
