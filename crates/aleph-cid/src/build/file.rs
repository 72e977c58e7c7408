use super::{Built, put_node};
use crate::block::{BlockSink, Leaf};
use crate::cid::{Cid, Codec};
use crate::dag_pb::{self, Link};
use crate::layout::Layout;
use crate::unixfs::{self, LEAF_HEAD};

/// Builds the tree of a file while its bytes pass, as `ipfs add` does: equal chunks, all leaves at
/// the same depth, nodes filled from the left.
///
/// Holds one chunk and at most [`Layout`]'s links for each level of the tree: below 1 MiB for any
/// file, whatever the sizes of the pieces that come.
///
/// ```
/// use aleph_cid::{Discard, FileBuilder, Layout};
///
/// # fn main() -> Result<(), std::convert::Infallible> {
/// let mut builder = FileBuilder::new(Layout::KUBO_V0);
/// builder.update(b"hello ", &mut Discard)?;
/// builder.update(b"world\n", &mut Discard)?;
/// let file = builder.finish(&mut Discard)?;
/// assert_eq!(file.cid.to_string(), "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o");
/// assert_eq!((file.size, file.cumulative_size), (12, 20));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileBuilder {
    layout: Layout,
    /// Room for a leaf's head, then the bytes of the chunk that is not full yet.
    chunk: Vec<u8>,
    /// Head and tail of a full leaf.
    frame: (Vec<u8>, Vec<u8>),
    /// Links to finished subtrees that have no parent yet; the first level's are leaves.
    levels: Vec<Vec<Child>>,
    /// Bytes in finished leaves.
    offset: u64,
}

/// A finished subtree.
#[derive(Debug, Clone, Copy)]
struct Child {
    cid: Cid,
    size: u64,
    cumulative_size: u64,
}

impl FileBuilder {
    /// A file without bytes yet.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            chunk: vec![0; LEAF_HEAD],
            frame: unixfs::leaf_frame(layout.chunk),
            levels: vec![Vec::new()],
            offset: 0,
        }
    }

    /// Bytes that came so far.
    pub fn size(&self) -> u64 {
        self.offset + (self.chunk.len() - LEAF_HEAD) as u64
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    ///
    /// The sink's own; the builder must not be used after one.
    pub fn update<S: BlockSink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LEAF_HEAD + self.layout.chunk - self.chunk.len();
            // A full chunk waits for more: whether it is the last one decides nothing, but an
            // exact multiple must not end in an empty leaf.
            if room == 0 {
                self.close_leaf(sink)?;
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.chunk.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// Closes the tree and gives its root.
    ///
    /// # Errors
    ///
    /// The sink's own.
    pub fn finish<S: BlockSink>(mut self, sink: &mut S) -> Result<Built, S::Error> {
        if self.chunk.len() > LEAF_HEAD || self.offset == 0 {
            self.close_leaf(sink)?;
        }
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            if let ([root], true) = (self.levels[level].as_slice(), top) {
                return Ok(Built { cid: root.cid, size: root.size, cumulative_size: root.cumulative_size });
            }
            // Every level below the top gets a parent, even for one child: leaves are equally deep.
            if !self.levels[level].is_empty() {
                self.close_node(level, sink)?;
            }
            level += 1;
        }
    }

    /// Makes a leaf of the bytes held.
    fn close_leaf<S: BlockSink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let size = self.chunk.len() - LEAF_HEAD;
        let child = if self.layout.raw_leaves {
            let content = &self.chunk[LEAF_HEAD..];
            let cid = Cid::v1(Codec::Raw, content);
            sink.put_leaf(&Leaf { cid, block: content, content, offset: self.offset })?;
            Child { cid, size: size as u64, cumulative_size: size as u64 }
        } else {
            if size != self.layout.chunk {
                self.frame = unixfs::leaf_frame(size);
            }
            let (head, tail) = &self.frame;
            let start = LEAF_HEAD - head.len();
            self.chunk[start..LEAF_HEAD].copy_from_slice(head);
            self.chunk.extend_from_slice(tail);
            let block = &self.chunk[start..];
            let cid = Cid::of(self.layout.version, Codec::DagPb, block);
            let content = &block[head.len()..head.len() + size];
            sink.put_leaf(&Leaf { cid, block, content, offset: self.offset })?;
            Child { cid, size: size as u64, cumulative_size: block.len() as u64 }
        };
        self.chunk.truncate(LEAF_HEAD);
        self.offset += size as u64;
        self.add(0, child, sink)
    }

    /// Adds a subtree to a level; a full level becomes a node above first. As deep as the tree.
    fn add<S: BlockSink>(&mut self, level: usize, child: Child, sink: &mut S) -> Result<(), S::Error> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() == self.layout.max_links {
            self.close_node(level, sink)?;
        }
        self.levels[level].push(child);
        Ok(())
    }

    /// Makes a node of everything on a level, and puts it one level up.
    fn close_node<S: BlockSink>(&mut self, level: usize, sink: &mut S) -> Result<(), S::Error> {
        let children = &self.levels[level];
        let data = unixfs::file_node(children.iter().map(|child| child.size));
        let links =
            children.iter().map(|child| Link { cid: child.cid, name: "", tsize: child.cumulative_size });
        let block = dag_pb::encode(links, &data);
        let node = Child {
            cid: put_node(self.layout, &block, sink)?,
            size: children.iter().map(|child| child.size).sum(),
            cumulative_size: children.iter().map(|child| child.cumulative_size).sum::<u64>()
                + block.len() as u64,
        };
        self.levels[level].clear();
        self.add(level + 1, node, sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Discard, MemoryBlocks};
    use crate::build::cid_of;

    #[test]
    fn well_known_files() {
        for (bytes, v0, v1) in [
            (
                &b""[..],
                "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                b"hello world\n",
                "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o",
                "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
            ),
        ] {
            assert_eq!(cid_of(Layout::KUBO_V0, bytes).to_string(), v0);
            assert_eq!(cid_of(Layout::KUBO_V1, bytes).to_string(), v1);
        }
    }

    #[test]
    fn an_exact_multiple_has_no_empty_leaf() {
        let layout = Layout::KUBO_V1.with_chunk(4).unwrap().with_max_links(2).unwrap();
        let mut blocks = MemoryBlocks::default();
        let mut builder = FileBuilder::new(layout);
        builder.update(b"aaaabbbbcccc", &mut blocks).unwrap();
        assert_eq!(builder.size(), 12);
        let built = builder.finish(&mut blocks).unwrap();
        // three leaves, two nodes, a root
        assert_eq!((built.size, blocks.len()), (12, 6));
    }

    #[test]
    fn memory_stays_bounded() {
        let layout = Layout::KUBO_V1.with_chunk(1).unwrap().with_max_links(3).unwrap();
        let mut builder = FileBuilder::new(layout);
        for byte in 0..3u32.pow(6) {
            builder.update(&byte.to_le_bytes(), &mut Discard).unwrap();
            assert!(builder.levels.len() <= 9);
            assert!(builder.levels.iter().all(|level| level.len() <= 3));
            assert!(builder.chunk.capacity() <= 64);
        }
    }
}
