mod check;
mod directory;
mod file;
mod map;
mod shard;
mod tree;

pub use check::FileCheck;
pub(crate) use directory::is_usable_name;
pub use directory::{DirectoryBuilder, MAX_NAME, NameError, symlink};
pub use file::FileBuilder;
pub use map::{FileMap, FileMapBuilder};
pub use tree::{MAX_TREE_DEPTH, TreeBuilder, TreeError};

use crate::block::{BlockSink, Discard};
use crate::cid::{Cid, Codec};
use crate::layout::Layout;

/// A finished file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Its root.
    pub cid: Cid,
    /// Bytes of content: of the file, or of a symlink's target; 0 for a directory, as Kubo says.
    pub size: u64,
    /// Bytes of all its blocks, counted as often as they are linked (Kubo's `CumulativeSize`).
    pub cumulative_size: u64,
}

/// The CID of `bytes` as a file.
pub fn cid_of(layout: Layout, bytes: &[u8]) -> Cid {
    let mut builder = FileBuilder::new(layout);
    let done = builder.update(bytes, &mut Discard).and_then(|()| builder.finish(&mut Discard));
    let Ok(built) = done;
    built.cid
}

/// Hashes and hands over a dag-pb block.
fn put_node<S: BlockSink>(layout: Layout, block: &[u8], sink: &mut S) -> Result<Cid, S::Error> {
    let cid = Cid::of(layout.version, Codec::DagPb, block);
    sink.put(&cid, block)?;
    Ok(cid)
}

/// The sum of sizes that a caller may have made up.
fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}
