use crate::cid::Version;

/// Most bytes of a block: what Kubo accepts and bitswap carries.
pub const MAX_BLOCK: usize = 2 << 20;

/// How a file or directory is cut into blocks. The same bytes under another layout have another CID.
///
/// ```
/// use aleph_cid::{Layout, cid_of};
///
/// assert_eq!(cid_of(Layout::KUBO_V0, b"").to_string(), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub(crate) version: Version,
    pub(crate) raw_leaves: bool,
    pub(crate) chunk: usize,
    pub(crate) max_links: usize,
    pub(crate) sharding: Sharding,
}

/// How the size of a directory is measured against [`SHARD_ABOVE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharding {
    /// Bytes of names and CIDs.
    ByLinks,
    /// Bytes of the block.
    ByBlock,
}

/// A directory above this many bytes is split into shards.
pub(crate) const SHARD_ABOVE: u64 = 256 << 10;

/// A layout that no node would accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Blocks would be empty or too large.
    #[error("a chunk has 1 to {MAX_CHUNK} bytes, not {0}")]
    Chunk(usize),
    /// A tree with one link a node never ends.
    #[error("a node has 2 to {MAX_LINKS} links, not {0}")]
    Links(usize),
}

/// Leaves room for the frame of a leaf in a block of [`MAX_BLOCK`].
const MAX_CHUNK: usize = MAX_BLOCK - 64;
const MAX_LINKS: usize = 8192;

impl Layout {
    /// `ipfs add`: version 0, 256 KiB chunks wrapped in dag-pb, 174 links a node.
    pub const KUBO_V0: Self = Self {
        version: Version::V0,
        raw_leaves: false,
        chunk: 256 << 10,
        max_links: 174,
        sharding: Sharding::ByLinks,
    };

    /// `ipfs add --cid-version=1`: as [`Layout::KUBO_V0`], with raw leaves.
    pub const KUBO_V1: Self = Self { version: Version::V1, raw_leaves: true, ..Self::KUBO_V0 };

    /// The profile `unixfs-v1-2025`: version 1, raw leaves of 1 MiB, 1,024 links a node.
    pub const UNIXFS_V1_2025: Self =
        Self { chunk: 1 << 20, max_links: 1024, sharding: Sharding::ByBlock, ..Self::KUBO_V1 };

    /// Another chunk size, in bytes (`--chunker=size-…`).
    ///
    /// # Errors
    ///
    /// Chunks that fit no block.
    pub fn with_chunk(self, bytes: usize) -> Result<Self, LayoutError> {
        if (1..=MAX_CHUNK).contains(&bytes) {
            Ok(Self { chunk: bytes, ..self })
        } else {
            Err(LayoutError::Chunk(bytes))
        }
    }

    /// Another width of the tree (`--max-file-links`).
    ///
    /// # Errors
    ///
    /// Fewer than two links, or too many for a block.
    pub fn with_max_links(self, links: usize) -> Result<Self, LayoutError> {
        if (2..=MAX_LINKS).contains(&links) {
            Ok(Self { max_links: links, ..self })
        } else {
            Err(LayoutError::Links(links))
        }
    }

    /// Leaves as plain bytes, or wrapped in dag-pb (`--raw-leaves`).
    #[must_use]
    pub fn with_raw_leaves(self, raw: bool) -> Self {
        Self { raw_leaves: raw, ..self }
    }

    /// Bytes of content in a full leaf.
    pub fn chunk(&self) -> usize {
        self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let layout = Layout::KUBO_V0;
        assert_eq!(layout.with_chunk(0), Err(LayoutError::Chunk(0)));
        assert_eq!(layout.with_chunk(MAX_BLOCK), Err(LayoutError::Chunk(MAX_BLOCK)));
        assert_eq!(layout.with_max_links(1), Err(LayoutError::Links(1)));
        assert_eq!(layout.with_chunk(MAX_CHUNK).unwrap().chunk(), MAX_CHUNK);
    }
}
