use crate::cid::{Cid, CidError};

/// Largest header, in bytes (`spec: ccn-api.md §10.2`).
pub(super) const MAX_HEADER: u64 = 8192;

/// Why bytes are no CAR, or none that is taken here.
///
/// The texts of header errors are those that clients know from the reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// A length that ends nowhere, or is not in its shortest form.
    #[error("malformed varint at byte {at}")]
    MalformedVarint {
        /// Where it starts in the archive.
        at: u64,
    },
    /// A header that no archive needs.
    #[error("header exceeds maximum size ({0} > {MAX_HEADER})")]
    HeaderTooLarge(u64),
    /// The archive ends before its header does.
    #[error("truncated header")]
    TruncatedHeader,
    /// The header is not the map that it must be.
    #[error("malformed DAG-CBOR header: {0}")]
    MalformedHeader(&'static str),
    /// Another version.
    #[error("unsupported CAR version (got {0}, expected 1)")]
    UnsupportedVersion(u64),
    /// An archive that does not say which block is meant, or says several.
    #[error("expected exactly 1 root, got {0}")]
    NotOneRoot(usize),
    /// A part without a CID.
    #[error("malformed section at byte {at}")]
    MalformedSection {
        /// Where it starts in the archive.
        at: u64,
        /// What is wrong with its CID.
        #[source]
        source: CidError,
    },
    /// A part of length zero.
    #[error("empty section at byte {at}")]
    EmptySection {
        /// Where it stands in the archive.
        at: u64,
    },
    /// A block that no node would carry.
    #[error("a section of {len} bytes at byte {at} is larger than the {limit} allowed")]
    SectionTooLarge {
        /// Where it starts in the archive.
        at: u64,
        /// Its length, in bytes.
        len: u64,
        /// Most bytes allowed.
        limit: u64,
    },
    /// The bytes are not what their CID says.
    #[error("block {0} does not match its CID")]
    WrongBlock(Cid),
    /// The archive ends inside a block.
    #[error("truncated at byte {at}: send the whole archive")]
    Truncated {
        /// How many bytes came.
        at: u64,
    },
    /// More bytes than allowed.
    #[error("the archive has more than the {limit} bytes allowed")]
    TooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// More blocks than allowed.
    #[error("the archive has more than the {limit} blocks allowed")]
    TooManyBlocks {
        /// Most blocks allowed.
        limit: u64,
    },
    /// The places that a version 2 header names can't be.
    #[error("malformed CARv2 header: {0}")]
    MalformedVersion2(&'static str),
    /// The reader was used after an error.
    #[error("the archive was refused before")]
    Refused,
}
