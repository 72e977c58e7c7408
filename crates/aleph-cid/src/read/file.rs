use std::ops::{Bound, RangeBounds};

use super::{Limits, NodeKind, ReadError, unixfs_node};
use crate::cid::{Cid, Codec};

/// Reads a file, or a range of it, block by block and in order. The caller fetches.
///
/// [`FileWalk::wanted`] says which block is needed next; [`FileWalk::supply`] checks it and gives the
/// bytes of the file that follow, without copying. Holds links only: at most [`Limits::links`].
///
/// Parent and child must agree about sizes, so a range gives exactly what a whole reading would.
/// Subtrees without bytes are not visited; each visited block therefore brings the file forward, and
/// no tree costs more than its size and depth allow.
///
/// ```
/// use aleph_cid::{BlockSource, FileBuilder, FileWalk, Layout, Limits, MemoryBlocks};
///
/// let mut blocks = MemoryBlocks::default();
/// let mut builder = FileBuilder::new(Layout::KUBO_V1.with_chunk(4).unwrap());
/// builder.update(b"hello world", &mut blocks).unwrap();
/// let file = builder.finish(&mut blocks).unwrap();
///
/// let mut walk = FileWalk::new(file.cid, 3..8, Limits::default());
/// let mut read = Vec::new();
/// while let Some(cid) = walk.wanted().copied() {
///     let block = blocks.get(&cid).unwrap().expect("stored above");
///     read.extend_from_slice(walk.supply(&block).unwrap());
/// }
/// assert_eq!(read, b"lo wo");
/// assert_eq!(walk.size(), Some(11));
/// ```
#[derive(Debug)]
pub struct FileWalk {
    /// What is still to be read; the next one last.
    pending: Vec<Pending>,
    start: u64,
    /// One past the last byte asked for.
    end: u64,
    size: Option<u64>,
    limits: Limits,
}

#[derive(Debug)]
struct Pending {
    cid: Cid,
    /// Where its bytes start in the file.
    offset: u64,
    /// What its parent says about its size; the root has no parent.
    declared: Option<u64>,
    depth: u32,
}

impl FileWalk {
    /// Reads the bytes of `range` that the file has: past its end there are none.
    pub fn new(root: Cid, range: impl RangeBounds<u64>, limits: Limits) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let root = Pending { cid: root, offset: 0, declared: None, depth: 1 };
        Self { pending: vec![root], start, end, size: None, limits }
    }

    /// The block that is needed next; none when everything was read.
    ///
    /// An identity CID ([`Cid::inline_block`]) is its own block.
    pub fn wanted(&self) -> Option<&Cid> {
        self.pending.last().map(|next| &next.cid)
    }

    /// Blocks that will be needed, in order, as far as it is known: to fetch them ahead.
    pub fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        self.pending.iter().rev().map(|next| &next.cid)
    }

    /// Size of the whole file in bytes, once the root was supplied.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Takes the block that is wanted, and gives the bytes of the range that follow: often none.
    ///
    /// After [`ReadError::WrongBlock`] the same block is still wanted; other errors are final.
    ///
    /// # Errors
    ///
    /// Another block, something that is no file, or a tree beyond the [`Limits`].
    pub fn supply<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], ReadError> {
        let cid = self.wanted().ok_or(ReadError::Finished)?;
        self.limits.verify(cid, block)?;
        self.accept(block)
    }

    /// As [`FileWalk::supply`], for a block that is checked already.
    pub(super) fn accept<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], ReadError> {
        let next = self.pending.last().ok_or(ReadError::Finished)?;
        let (cid, offset, declared, depth) = (next.cid, next.offset, next.declared, next.depth);
        let (data, children) =
            if cid.codec() == Codec::Raw { (block, Vec::new()) } else { parts(&cid, block)? };
        let mut total = data.len() as u64;
        for (_, size) in &children {
            total = total.checked_add(*size).ok_or(ReadError::Malformed { cid, why: "sizes overflow" })?;
        }
        if let Some(declared) = declared.filter(|declared| *declared != total) {
            return Err(ReadError::SizeMismatch { cid, declared, actual: total });
        }
        if declared.is_none() {
            if total > self.limits.file {
                return Err(ReadError::FileTooLarge { size: total, limit: self.limits.file });
            }
            self.size = Some(total);
        }
        self.pending.pop();
        self.push(&cid, children, offset + data.len() as u64, depth)?;
        Ok(self.clip(data, offset))
    }

    /// Remembers the children that hold bytes of the range.
    fn push(
        &mut self,
        parent: &Cid,
        children: Vec<(Cid, u64)>,
        offset: u64,
        depth: u32,
    ) -> Result<(), ReadError> {
        let first = self.pending.len();
        let mut offset = offset;
        for (cid, size) in children {
            // Sums were checked above: no offset overflows.
            let end = offset + size;
            if size > 0 && end > self.start && offset < self.end {
                self.pending.push(Pending { cid, offset, declared: Some(size), depth: depth + 1 });
            }
            offset = end;
        }
        if self.pending.len() > first && depth >= self.limits.depth {
            return Err(ReadError::TooDeep { cid: *parent, limit: self.limits.depth });
        }
        if self.pending.len() > self.limits.links {
            return Err(ReadError::TooMany { what: "links held", limit: self.limits.links });
        }
        self.pending[first..].reverse();
        Ok(())
    }

    /// The part of `data`, which starts at `offset` in the file, that was asked for.
    fn clip<'b>(&self, data: &'b [u8], offset: u64) -> &'b [u8] {
        let len = data.len() as u64;
        let from = self.start.saturating_sub(offset).min(len);
        let to = self.end.saturating_sub(offset).min(len).max(from);
        &data[from as usize..to as usize]
    }
}

/// A file node's own bytes, and its children with their sizes.
type Parts<'a> = (&'a [u8], Vec<(Cid, u64)>);

fn parts<'a>(cid: &Cid, block: &'a [u8]) -> Result<Parts<'a>, ReadError> {
    let (node, message) = unixfs_node(cid, block)?;
    let kind = NodeKind::of(&message);
    if kind != NodeKind::File {
        return Err(ReadError::WrongKind { cid: *cid, kind, wanted: NodeKind::File });
    }
    if node.links.len() != message.block_sizes.len() {
        return Err(ReadError::Malformed { cid: *cid, why: "a file node has a size for each link" });
    }
    let actual =
        message.block_sizes.iter().fold(message.data.len() as u64, |sum, size| sum.saturating_add(*size));
    if let Some(declared) = message.file_size.filter(|declared| *declared != actual) {
        return Err(ReadError::SizeMismatch { cid: *cid, declared, actual });
    }
    let children = node.links.iter().zip(message.block_sizes).map(|(link, size)| (link.cid, size)).collect();
    Ok((message.data, children))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSink, BlockSource, MemoryBlocks};
    use crate::dag_pb::{self, Link};
    use crate::read::{SourceError, read_file};
    use crate::unixfs;

    fn node(children: &[(Cid, u64)], blocks: &mut MemoryBlocks) -> Cid {
        let links = children.iter().map(|(cid, size)| Link { cid: *cid, name: "", tsize: *size });
        let block = dag_pb::encode(links, &unixfs::file_node(children.iter().map(|(_, size)| *size)));
        let cid = Cid::v0(&block);
        blocks.put(&cid, &block).unwrap();
        cid
    }

    fn read(root: Cid, blocks: &mut MemoryBlocks, limits: Limits) -> Result<u64, ReadError> {
        let mut count = 0;
        let taken = read_file(blocks, root, .., limits, |bytes| {
            count += bytes.len() as u64;
            Ok::<_, std::convert::Infallible>(())
        });
        match taken {
            Ok(_) => Ok(count),
            Err(SourceError::Read(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bomb_of_copies_is_as_large_as_it_says() {
        let mut blocks = MemoryBlocks::default();
        let leaf = Cid::v1(Codec::Raw, b"x");
        blocks.put(&leaf, b"x").unwrap();
        let (mut cid, mut size) = (leaf, 1u64);
        for _ in 0..6 {
            cid = node(&[(cid, size); 100], &mut blocks);
            size *= 100;
        }
        let limits = Limits { file: 1 << 20, ..Limits::default() };
        assert_eq!(read(cid, &mut blocks, limits), Err(ReadError::FileTooLarge { size, limit: 1 << 20 }));
        // A small range costs its depth, not the file.
        let mut walk = FileWalk::new(cid, 500_000_000_000..500_000_000_003, Limits::default());
        let mut visited = 0;
        while let Some(wanted) = walk.wanted().copied() {
            walk.supply(&blocks.get(&wanted).unwrap().unwrap()).unwrap();
            visited += 1;
        }
        assert_eq!((visited, walk.size()), (9, Some(size)));
    }

    #[test]
    fn a_bomb_without_bytes_is_not_visited() {
        let mut blocks = MemoryBlocks::default();
        let mut cid = node(&[], &mut blocks);
        for _ in 0..10 {
            cid = node(&[(cid, 0); 100], &mut blocks);
        }
        assert_eq!(read(cid, &mut blocks, Limits::default()), Ok(0));
    }

    #[test]
    fn chains_end_at_the_depth_allowed() {
        let mut blocks = MemoryBlocks::default();
        let leaf = Cid::v1(Codec::Raw, b"x");
        blocks.put(&leaf, b"x").unwrap();
        let mut cid = leaf;
        for depth in 2..=20 {
            cid = node(&[(cid, 1)], &mut blocks);
            let read = read(cid, &mut blocks, Limits::default());
            assert_eq!(read.is_ok(), depth <= 16, "{depth}: {read:?}");
        }
    }

    #[test]
    fn sizes_must_agree() {
        let mut blocks = MemoryBlocks::default();
        let leaf = Cid::v1(Codec::Raw, b"xyz");
        blocks.put(&leaf, b"xyz").unwrap();
        for (said, ok) in [(3, true), (2, false), (4, false), (u64::MAX, false)] {
            let root = node(&[(leaf, said)], &mut blocks);
            let limits = Limits { file: u64::MAX, ..Limits::default() };
            assert_eq!(read(root, &mut blocks, limits).is_ok(), ok, "{said}");
        }
        let links = [Link { cid: leaf, name: "", tsize: 3 }];
        let no_sizes = dag_pb::encode(links, &unixfs::file_node([].into_iter()));
        let root = Cid::v0(&no_sizes);
        blocks.put(&root, &no_sizes).unwrap();
        assert!(matches!(read(root, &mut blocks, Limits::default()), Err(ReadError::Malformed { .. })));
    }

    #[test]
    fn a_wrong_block_can_be_asked_for_again() {
        let leaf = Cid::v1(Codec::Raw, b"xyz");
        let mut walk = FileWalk::new(leaf, .., Limits::default());
        assert_eq!(walk.supply(b"xyZ"), Err(ReadError::WrongBlock { cid: leaf }));
        assert_eq!(walk.wanted(), Some(&leaf));
        assert_eq!(walk.supply(b"xyz"), Ok(&b"xyz"[..]));
        assert_eq!(walk.supply(b"xyz"), Err(ReadError::Finished));
    }

    #[test]
    fn too_many_links_are_refused() {
        let mut blocks = MemoryBlocks::default();
        let leaf = Cid::v1(Codec::Raw, b"x");
        let root = node(&[(leaf, 1); 1000], &mut blocks);
        let limits = Limits { links: 999, ..Limits::default() };
        let error = read(root, &mut blocks, limits).unwrap_err();
        assert_eq!(error, ReadError::TooMany { what: "links held", limit: 999 });
    }

    #[test]
    fn directories_and_other_codecs_are_no_files() {
        let block = dag_pb::encode([], &unixfs::directory());
        let mut walk = FileWalk::new(Cid::v0(&block), .., Limits::default());
        assert!(matches!(walk.supply(&block), Err(ReadError::WrongKind { kind: NodeKind::Directory, .. })));
        let mut walk = FileWalk::new(Cid::v1(Codec::DagCbor, &[0xf6]), .., Limits::default());
        assert!(matches!(walk.supply(&[0xf6]), Err(ReadError::UnknownCodec { code: 0x71, .. })));
        let large = vec![0; crate::layout::MAX_BLOCK + 1];
        let mut walk = FileWalk::new(Cid::v1(Codec::Raw, &large), .., Limits::default());
        assert!(matches!(walk.supply(&large), Err(ReadError::BlockTooLarge { .. })));
    }
}
