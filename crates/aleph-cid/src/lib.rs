//! IPFS forms without a daemon: CIDs, UnixFS trees identical to Kubo's defaults, and CAR archives.
//!
//! Everything here is pure and incremental: bytes and blocks are handed in piece by piece and come
//! out again; the caller owns disks and sockets. Three families:
//!
//! * **build**: [`FileBuilder`], [`DirectoryBuilder`], [`TreeBuilder`] make the blocks that `ipfs add`
//!   makes under the same [`Layout`], and give them to a [`BlockSink`]; [`Discard`] keeps only the CID,
//!   and [`FileCheck`] compares plain bytes with one;
//! * **read**: [`FileWalk`], [`DirectoryWalk`], [`PathWalk`], [`TreeWalk`], [`DagWalk`] say which block they want
//!   next, check it, and give what it holds. [`read_file`] and its siblings do the same on a
//!   [`BlockSource`];
//! * **archives**: [`CarReader`] checks every block of a CAR while it streams; [`export_car`] writes one,
//!   and so do [`CarHeader`] and [`car_section_head`] piece by piece. [`CarIndexer`] accepts an archive that is
//!   one whole tree and notes where its blocks are; [`FileMap`] does the same for the plain bytes of a file.
//!
//! Invariants:
//!
//! * What a reader gives was checked against its CID. Which source a block came from is of no interest.
//! * The CID of a file depends on its bytes and its [`Layout`] only, never on how the bytes were cut.
//! * Memory is bounded by constants and by the caller's [`Limits`], never by what a peer sends: a
//!   builder holds one chunk and one node a level, a CAR reader one block, a walk its links.
//! * A name that a reader gives is fit for a file system. Symlinks are listed, never followed.
//!
//! ```
//! use aleph_cid::{Cid, Layout, Limits, MemoryBlocks, FileBuilder, TreeBuilder, read_file, resolve_path};
//!
//! let mut blocks = MemoryBlocks::default();
//! let mut builder = FileBuilder::new(Layout::KUBO_V0);
//! builder.update(b"<h1>hello</h1>", &mut blocks).unwrap();
//! let page = builder.finish(&mut blocks).unwrap();
//!
//! let mut site = TreeBuilder::new(Layout::KUBO_V0, 1000);
//! site.insert("docs/index.html", &page).unwrap();
//! let root = site.finish(&mut blocks).unwrap();
//!
//! let limits = Limits::default();
//! let found = resolve_path(&mut blocks, root.cid, "docs/index.html", limits).unwrap();
//! let mut read = Vec::new();
//! read_file(&mut blocks, found, 4..9, limits, |bytes| {
//!     read.extend_from_slice(bytes);
//!     Ok(())
//! })
//! .unwrap();
//! assert_eq!(read, b"hello");
//! ```

mod block;
mod build;
mod car;
mod cbor;
mod cid;
mod dag_pb;
mod hamt;
mod layout;
mod protobuf;
mod read;
mod unixfs;
mod varint;

pub use block::{BlockSink, BlockSource, Discard, Leaf, MemoryBlocks};
pub use build::{
    Built, DirectoryBuilder, FileBuilder, FileCheck, FileMap, FileMapBuilder, MAX_NAME, MAX_TREE_DEPTH,
    NameError, TreeBuilder, TreeError, cid_of, symlink,
};
pub use car::{
    CarError, CarHeader, CarIndex, CarIndexer, CarItem, CarLimits, CarReader, CarTotals, IndexEntry,
    IndexError, MAX_INDEXED, car_section_head, export_car,
};
pub use cid::{Cid, CidError, Codec, MAX_CID_TEXT, MAX_INLINE, Version};
pub use layout::{Layout, LayoutError, MAX_BLOCK};
pub use read::{
    DagTotals, DagWalk, DirectoryWalk, Entry, ErrorKind, FileWalk, Limits, NodeKind, PathWalk, ReadError,
    SourceError, Stat, TreeItem, TreeWalk, check_dag, list_directory, read_file, resolve_path,
};
