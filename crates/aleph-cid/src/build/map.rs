use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;

use super::FileBuilder;
use crate::block::{BlockSink, Leaf, MemoryBlocks};
use crate::cid::Cid;
use crate::layout::Layout;
use crate::unixfs;

/// Finds out where the blocks of a file stand in its plain bytes, while those pass.
///
/// A CID does not say how its file was cut: the layouts that are in use are tried side by side, as
/// [`crate::FileCheck`] does. Holds about 70 bytes for each leaf and each of them, and the nodes above.
#[derive(Debug)]
pub struct FileMapBuilder {
    expected: Cid,
    tries: Vec<(FileBuilder, Layout, Places)>,
}

/// Where the blocks of a file are that is kept as plain bytes.
///
/// ```
/// use aleph_cid::{Cid, FileMapBuilder};
///
/// let cid = Cid::parse("QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o").unwrap();
/// let mut builder = FileMapBuilder::new(cid);
/// builder.update(b"hello world\n");
/// let map = builder.finish().unwrap();
/// let place = map.leaf(&cid).unwrap();
/// assert_eq!(place, 0..12);
/// assert!(cid.matches(&map.leaf_block(b"hello world\n")));
/// ```
#[derive(Debug)]
pub struct FileMap {
    layout: Layout,
    places: Places,
}

#[derive(Debug, Default)]
struct Places {
    leaves: HashMap<[u8; 32], (u64, u32)>,
    nodes: MemoryBlocks,
}

impl BlockSink for Places {
    type Error = Infallible;

    fn put(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Infallible> {
        self.nodes.put(cid, block)
    }

    fn put_leaf(&mut self, leaf: &Leaf<'_>) -> Result<(), Infallible> {
        if let Some(digest) = leaf.cid.digest() {
            // A chunk is far below 4 GiB.
            let len = u32::try_from(leaf.content.len()).unwrap_or(u32::MAX);
            self.leaves.entry(digest).or_insert((leaf.offset, len));
        }
        Ok(())
    }
}

impl FileMapBuilder {
    /// Before the first byte of the file that is `expected`, in either version.
    pub fn new(expected: Cid) -> Self {
        let tries = super::check::layouts(&expected)
            .iter()
            .map(|layout| (FileBuilder::new(*layout), *layout, Places::default()))
            .collect();
        Self { expected, tries }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        for (builder, _, places) in &mut self.tries {
            let Ok(()) = builder.update(bytes, places);
        }
    }

    /// Where the blocks are, if one of the layouts leads to the CID.
    pub fn finish(self) -> Option<FileMap> {
        let expected = self.expected;
        self.tries.into_iter().find_map(|(builder, layout, mut places)| {
            let Ok(built) = builder.finish(&mut places);
            built.cid.is_same_block(&expected).then_some(FileMap { layout, places })
        })
    }
}

impl FileMap {
    /// A block above the leaves.
    pub fn node(&self, cid: &Cid) -> Option<&[u8]> {
        self.places.nodes.find(cid)
    }

    /// How many different blocks there are.
    pub fn blocks(&self) -> usize {
        self.places.leaves.len() + self.places.nodes.len()
    }

    /// Where the content of a leaf stands in the file.
    pub fn leaf(&self, cid: &Cid) -> Option<Range<u64>> {
        let (offset, len) = *self.places.leaves.get(&cid.digest()?)?;
        Some(offset..offset + u64::from(len))
    }

    /// The block of a leaf with this content.
    pub fn leaf_block(&self, content: &[u8]) -> Vec<u8> {
        if self.layout.raw_leaves {
            return content.to_vec();
        }
        let (head, tail) = unixfs::leaf_frame(content.len());
        [&head, content, &tail].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Discard;
    use crate::build::cid_of;
    use crate::read::{DagWalk, Limits};

    #[test]
    fn every_block_of_a_file_is_made_again_from_its_bytes() {
        let bytes: Vec<u8> = (0..1_500_000u32).map(|at| (at / 7 % 251) as u8).collect();
        for layout in [Layout::KUBO_V0, Layout::KUBO_V1, Layout::UNIXFS_V1_2025] {
            for bytes in [&bytes[..], &bytes[..100], &[]] {
                let root = cid_of(layout, bytes);
                for name in [Some(root), root.to_v0().ok(), Some(root.to_v1())].into_iter().flatten() {
                    let mut builder = FileMapBuilder::new(name);
                    for piece in bytes.chunks(100_000) {
                        builder.update(piece);
                    }
                    let map = builder.finish().unwrap();
                    let mut walk = DagWalk::new(name, Limits::default());
                    while let Some(cid) = walk.wanted().copied() {
                        let block = match map.leaf(&cid) {
                            Some(place) => map.leaf_block(&bytes[place.start as usize..place.end as usize]),
                            None => map.node(&cid).unwrap().to_vec(),
                        };
                        walk.supply(&block).unwrap();
                    }
                }
                let mut other = FileMapBuilder::new(root);
                other.update(b"something else");
                assert!(other.finish().is_none());
            }
        }
        let mut narrow = FileBuilder::new(Layout::KUBO_V0.with_chunk(1000).unwrap());
        narrow.update(&bytes, &mut Discard).unwrap();
        let mut builder = FileMapBuilder::new(narrow.finish(&mut Discard).unwrap().cid);
        builder.update(&bytes);
        assert!(builder.finish().is_none(), "a layout that nobody uses");
    }
}
