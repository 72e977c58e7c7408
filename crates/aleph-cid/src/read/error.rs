use super::NodeKind;
use crate::cid::Cid;

/// Why blocks can't be read as what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not the block that was asked for.
    #[error("the bytes that came are not the block {cid}: ask another source")]
    WrongBlock {
        /// What was asked for.
        cid: Cid,
    },
    /// A block that no node would carry.
    #[error("block {cid} has {len} bytes, more than the {limit} allowed")]
    BlockTooLarge {
        /// Its name.
        cid: Cid,
        /// Its size, in bytes.
        len: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The block has its hash, but can't be read.
    #[error("block {cid} can't be read: {why}")]
    Malformed {
        /// Its name.
        cid: Cid,
        /// What is wrong.
        why: &'static str,
    },
    /// A block in a format that this reader does not follow.
    #[error("block {cid} has the codec 0x{code:x}, which is not followed here")]
    UnknownCodec {
        /// Its name.
        cid: Cid,
        /// The code of its codec.
        code: u64,
    },
    /// Something else was expected.
    #[error("{cid} is a {kind}, not a {wanted}")]
    WrongKind {
        /// Its name.
        cid: Cid,
        /// What it is.
        kind: NodeKind,
        /// What was expected.
        wanted: NodeKind,
    },
    /// A parent and its child don't agree about the bytes below, so no offset could be trusted.
    #[error("{cid} holds {actual} bytes, its parent or its own header says {declared}")]
    SizeMismatch {
        /// The child.
        cid: Cid,
        /// What was said.
        declared: u64,
        /// What there is.
        actual: u64,
    },
    /// A file larger than allowed.
    #[error("the file has {size} bytes, more than the {limit} allowed")]
    FileTooLarge {
        /// Its size, in bytes.
        size: u64,
        /// Most bytes allowed.
        limit: u64,
    },
    /// A tree deeper than any builder makes.
    #[error("the tree is deeper than {limit} nodes at {cid}")]
    TooDeep {
        /// Where it goes on.
        cid: Cid,
        /// Most nodes allowed.
        limit: u32,
    },
    /// More links, entries or blocks than allowed.
    #[error("there are more than the {limit} {what} allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Most allowed.
        limit: usize,
    },
    /// A directory says a name that no file system could hold.
    #[error("{cid} names an entry {name:?}, which can't be the name of a file")]
    BadName {
        /// The directory.
        cid: Cid,
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The path that was asked for is none.
    #[error("the path can't be followed: {0}")]
    BadPath(&'static str),
    /// A directory lacks an entry.
    #[error("there is no '{name}' in {cid}")]
    NotFound {
        /// The directory.
        cid: Cid,
        /// The entry.
        name: String,
    },
    /// A block was given when none was wanted.
    #[error("a block was given after the last one that was wanted")]
    Finished,
}

/// What a caller can do about a [`ReadError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another source may have the right block.
    WrongSource,
    /// The data is at fault: the same CID fails everywhere.
    Rejected,
    /// Nothing stands at the path.
    NotFound,
    /// The calling code is at fault.
    Bug,
}

impl ReadError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongBlock { .. } => ErrorKind::WrongSource,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Finished => ErrorKind::Bug,
            _ => ErrorKind::Rejected,
        }
    }
}
