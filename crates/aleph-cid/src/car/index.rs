use std::collections::HashMap;
use std::num::NonZeroU64;

use super::{CarError, CarHeader, CarItem, CarLimits, CarReader};
use crate::cbor;
use crate::cid::{Cid, Codec};
use crate::dag_pb::Node;
use crate::read::{Limits, NodeKind, ReadError, Stat};
use crate::unixfs::UnixFs;

/// Most different blocks of an archive that is indexed, those that are only linked to counted as well:
/// what a hash table of 2^18 places holds without growing. An index takes about 20 MiB at most while it is
/// built.
pub const MAX_INDEXED: usize = 229_376;

/// Why an archive can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is no archive of right blocks.
    #[error(transparent)]
    Car(#[from] CarError),
    /// A block can't be read as what it says it is.
    #[error(transparent)]
    Block(#[from] ReadError),
    /// Something links to a block that is not in the archive.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// The block that the header names is not in the archive.
    #[error("the root {0} is missing")]
    MissingRoot(Cid),
    /// A block that the root does not lead to: nobody would hold or pay for it.
    #[error("{0} blocks are not part of the root's tree")]
    Unreachable(u64),
    /// Most of the archive is blocks that came before.
    #[error("{0} bytes of the archive repeat blocks that it has already")]
    Repeats(u64),
    /// A block is linked to as one thing and archived as another.
    #[error("block {0} is linked to under another codec than it is archived under")]
    CodecMismatch(Cid),
}

/// What an archive is about, and where its blocks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarIndex {
    /// Its only root.
    pub root: Cid,
    /// What the root is.
    pub stat: Stat,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Bytes of its different blocks.
    pub block_bytes: u64,
    /// Digest, place and length of each different block, by digest.
    pub blocks: Vec<IndexEntry>,
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    /// SHA-256 of the block.
    pub digest: [u8; 32],
    /// Where its bytes start in the archive.
    pub offset: u64,
    /// How many there are.
    pub len: u32,
}

/// What is known of a digest so far: 40 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    offset: u64,
    len: u32,
    codec: u32,
    /// Bytes of the file below, as the block says; none where it is no part of a file.
    size: Option<FileSize>,
    /// The same, as those say who link to it.
    declared: Option<FileSize>,
    present: bool,
    linked: bool,
}

/// Bytes of a file, in no more room than the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileSize(NonZeroU64);

impl FileSize {
    fn new(bytes: u64) -> Option<Self> {
        bytes.checked_add(1).and_then(NonZeroU64::new).map(Self)
    }

    fn bytes(self) -> u64 {
        self.0.get() - 1
    }
}

/// Checks an archive while it streams, and notes where its blocks are.
///
/// The archive holds the tree of its root: whole, and nothing else. That is known without going back to a
/// single block: if all that is linked to is there, nothing is missing; and since no block can link to itself,
/// however far around, whatever something links to is reached from the root in the end. Files whose parts say
/// other sizes than they have are refused, so that every file of the archive can be read.
///
/// Holds at most [`MAX_INDEXED`] digests and one block.
///
/// ```
/// use aleph_cid::{CarIndexer, CarLimits, FileBuilder, Layout, Limits, MemoryBlocks, export_car};
///
/// let mut blocks = MemoryBlocks::default();
/// let mut builder = FileBuilder::new(Layout::KUBO_V0.with_chunk(4).unwrap());
/// builder.update(b"hello world", &mut blocks).unwrap();
/// let file = builder.finish(&mut blocks).unwrap();
/// let mut car = Vec::new();
/// export_car(&mut blocks, file.cid, Limits::default(), |bytes| {
///     car.extend_from_slice(bytes);
///     Ok(())
/// })
/// .unwrap();
///
/// let mut indexer = CarIndexer::new(CarLimits::default());
/// for piece in car.chunks(10) {
///     indexer.update(piece).unwrap();
/// }
/// let index = indexer.finish().unwrap();
/// assert_eq!((index.root, index.stat.size), (file.cid, 11));
/// assert_eq!(index.blocks.len(), 4);
/// ```
#[derive(Debug)]
pub struct CarIndexer {
    reader: CarReader,
    content: Content,
}

#[derive(Debug, Default)]
struct Content {
    header: Option<CarHeader>,
    root: Option<(Cid, Option<Stat>)>,
    known: HashMap<[u8; 32], Known>,
    present: u64,
    block_bytes: u64,
}

impl CarIndexer {
    /// Before the first byte.
    pub fn new(limits: CarLimits) -> Self {
        Self { reader: CarReader::new(limits), content: Content::default() }
    }

    /// The header, once it was read.
    pub fn header(&self) -> Option<&CarHeader> {
        self.content.header.as_ref()
    }

    /// Different blocks that it has met or heard of: each takes 72 to 150 bytes of memory.
    pub fn digests(&self) -> usize {
        self.content.known.len()
    }

    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    ///
    /// What is no archive of one tree. Nothing more can be read after one.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let mut input = bytes;
        while let Some(item) = self.reader.next_item(&mut input)? {
            match item {
                CarItem::Header(header) => {
                    self.content.root = Some((*header.single_root()?, None));
                    self.content.header = Some(header);
                }
                CarItem::Block { cid, block, offset } => self.content.take(&cid, block, offset)?,
            }
        }
        Ok(())
    }

    /// Says that the archive has ended.
    ///
    /// # Errors
    ///
    /// It is cut, blocks are missing, or there are others than the root's.
    pub fn finish(self) -> Result<CarIndex, IndexError> {
        let totals = self.reader.finish()?;
        let Content { root, known, present, block_bytes, .. } = self.content;
        let (root, stat) = root.ok_or(CarError::TruncatedHeader)?;
        let stat = stat.ok_or(IndexError::MissingRoot(root))?;
        let mut unreachable = 0;
        let mut blocks = Vec::with_capacity(usize::try_from(present).unwrap_or(0));
        for (digest, one) in known {
            if !one.present {
                return Err(IndexError::Missing(Cid::of_code(u64::from(one.codec), digest)));
            }
            unreachable += u64::from(!one.linked && root.digest() != Some(digest));
            blocks.push(IndexEntry { digest, offset: one.offset, len: one.len });
        }
        if unreachable > 0 {
            return Err(IndexError::Unreachable(unreachable));
        }
        let repeated = totals.block_bytes.saturating_sub(block_bytes);
        if repeated > block_bytes {
            return Err(IndexError::Repeats(repeated));
        }
        blocks.sort_unstable();
        Ok(CarIndex { root, stat, archive_bytes: totals.bytes, block_bytes, blocks })
    }
}

impl Content {
    fn take(&mut self, cid: &Cid, block: &[u8], offset: u64) -> Result<(), IndexError> {
        if let Some((root, stat @ None)) = &mut self.root
            && root.is_same_block(cid)
        {
            *stat = Some(Stat::read(root, block, &Limits::default())?);
        }
        let Some(digest) = cid.digest() else {
            // A section for what stands inside its links: nothing is kept under it.
            return Ok(());
        };
        let known = self.known.get(&digest).copied().unwrap_or_default();
        if known.present {
            return self.same_codec(cid, known.codec);
        }
        if known.linked {
            self.same_codec(cid, known.codec)?;
        }
        let size = self.links(cid, block)?;
        agree(cid, known.declared, size)?;
        // What the block links to may have led back to what is known of it: its parent came before.
        let known = self.known.get(&digest).copied().unwrap_or(known);
        // The reader passes no block beyond its limit, far below 4 GiB.
        let len = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let codec = code_of(cid)?;
        self.known.insert(digest, Known { offset, len, codec, size, present: true, ..known });
        self.present += 1;
        self.block_bytes += u64::from(len);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), IndexError> {
        if self.known.len() > MAX_INDEXED {
            return Err(CarError::TooManyBlocks { limit: MAX_INDEXED as u64 }.into());
        }
        Ok(())
    }

    fn same_codec(&self, cid: &Cid, codec: u32) -> Result<(), IndexError> {
        if code_of(cid)? == codec { Ok(()) } else { Err(IndexError::CodecMismatch(*cid)) }
    }

    /// Notes what the block links to; gives the bytes of the file that it is a part of.
    fn links(&mut self, cid: &Cid, block: &[u8]) -> Result<Option<FileSize>, IndexError> {
        let malformed = |why| ReadError::Malformed { cid: *cid, why };
        match cid.codec() {
            Codec::Raw => Ok(FileSize::new(block.len() as u64)),
            Codec::DagCbor => {
                for link in cbor::links(block).map_err(malformed)? {
                    self.link(&link, None)?;
                }
                Ok(None)
            }
            Codec::DagPb => {
                let node = Node::decode(block).map_err(malformed)?;
                let message = node.data.map(UnixFs::decode).transpose().map_err(malformed)?;
                let file = message.filter(|message| NodeKind::of(message) == NodeKind::File);
                let Some(file) = file else {
                    for link in &node.links {
                        self.link(&link.cid, None)?;
                    }
                    return Ok(None);
                };
                if node.links.len() != file.block_sizes.len() {
                    return Err(malformed("a file node has a size for each link").into());
                }
                let own = file.data.len() as u64;
                let sizes = file.block_sizes.iter();
                let actual = sizes.fold(own, |sum, size| sum.saturating_add(*size));
                let size = FileSize::new(actual).ok_or_else(|| malformed("sizes overflow"))?;
                if let Some(declared) = file.file_size.filter(|declared| *declared != actual) {
                    return Err(ReadError::SizeMismatch { cid: *cid, declared, actual }.into());
                }
                for (link, size) in node.links.iter().zip(&file.block_sizes) {
                    self.link(&link.cid, FileSize::new(*size))?;
                }
                Ok(Some(size))
            }
            Codec::DagJson | Codec::Other(_) => {
                Err(ReadError::UnknownCodec { cid: *cid, code: cid.codec().code() }.into())
            }
        }
    }

    fn link(&mut self, to: &Cid, declared: Option<FileSize>) -> Result<(), IndexError> {
        if let Some(inline) = to.inline_block() {
            // Each is smaller than what links to it, so they end.
            let inline = inline.to_vec();
            let actual = self.links(to, &inline)?;
            return agree(to, declared, actual);
        }
        let Some(digest) = to.digest() else { return Ok(()) };
        let codec = code_of(to)?;
        let known = self.known.entry(digest).or_default();
        if (known.present || known.linked) && known.codec != codec {
            return Err(IndexError::CodecMismatch(*to));
        }
        if known.present {
            agree(to, declared, known.size)?;
        }
        agree(to, declared, known.declared.or(declared))?;
        known.codec = codec;
        known.linked = true;
        known.declared = known.declared.or(declared);
        self.bounded()
    }
}

/// A part of a file has the size that its parent says.
fn agree(cid: &Cid, declared: Option<FileSize>, actual: Option<FileSize>) -> Result<(), IndexError> {
    match (declared, actual) {
        (Some(declared), Some(actual)) if declared != actual => {
            let (declared, actual) = (declared.bytes(), actual.bytes());
            Err(ReadError::SizeMismatch { cid: *cid, declared, actual }.into())
        }
        (Some(_), None) => {
            Err(ReadError::Malformed { cid: *cid, why: "a file links to what is no part of a file" }.into())
        }
        _ => Ok(()),
    }
}

/// The code of a codec whose links can be followed: others are refused, so it fits.
fn code_of(cid: &Cid) -> Result<u32, IndexError> {
    let code = cid.codec().code();
    u32::try_from(code).map_err(|_| ReadError::UnknownCodec { cid: *cid, code }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSink, BlockSource, MemoryBlocks};
    use crate::build::{DirectoryBuilder, FileBuilder, TreeBuilder};
    use crate::car::{car_section_head, export_car};
    use crate::dag_pb::{self, Link};
    use crate::layout::Layout;
    use crate::unixfs;

    fn site(blocks: &mut MemoryBlocks) -> Cid {
        let layout = Layout::KUBO_V1.with_chunk(10).unwrap().with_max_links(3).unwrap();
        let mut builder = FileBuilder::new(layout);
        builder.update(&(0..=255).collect::<Vec<u8>>(), blocks).unwrap();
        let file = builder.finish(blocks).unwrap();
        let mut tree = TreeBuilder::new(layout, 10);
        tree.insert("a/one", &file).unwrap();
        tree.insert("b/same", &file).unwrap();
        tree.finish(blocks).unwrap().cid
    }

    fn archive(root: Cid, blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
        let mut car = CarHeader::new(vec![root]).encode();
        for (cid, block) in blocks {
            car.extend(car_section_head(cid, block.len()));
            car.extend(block);
        }
        car
    }

    fn index(car: &[u8], step: usize) -> Result<CarIndex, IndexError> {
        let mut indexer = CarIndexer::new(CarLimits::default());
        for piece in car.chunks(step) {
            indexer.update(piece)?;
        }
        indexer.finish()
    }

    #[test]
    fn every_block_is_found_where_the_index_says() {
        let mut blocks = MemoryBlocks::default();
        let root = site(&mut blocks);
        let mut car = Vec::new();
        export_car(&mut blocks, root, Limits::default(), |bytes| {
            car.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        let found = index(&car, 7).unwrap();
        assert_eq!((found.root, found.blocks.len()), (root, blocks.len()));
        assert_eq!((found.stat.kind, found.archive_bytes), (NodeKind::Directory, car.len() as u64));
        for (cid, block) in blocks.iter() {
            let digest = cid.digest().unwrap();
            let at = found.blocks.binary_search_by(|entry| entry.digest.cmp(&digest)).unwrap();
            let IndexEntry { offset, len, .. } = found.blocks[at];
            assert_eq!(&car[offset as usize..][..len as usize], block);
        }
    }

    #[test]
    fn any_order_will_do_and_nothing_may_lack_or_be_too_much() {
        let mut memory = MemoryBlocks::default();
        let root = site(&mut memory);
        let mut blocks: Vec<(Cid, Vec<u8>)> =
            memory.iter().map(|(cid, block)| (*cid, block.to_vec())).collect();
        blocks.sort();
        let whole = index(&archive(root, &blocks), 100).unwrap();
        blocks.reverse();
        assert_eq!(index(&archive(root, &blocks), 100).unwrap().blocks.len(), whole.blocks.len());
        for at in 0..blocks.len() {
            let mut fewer = blocks.clone();
            let (gone, _) = fewer.remove(at);
            let refused = index(&archive(root, &fewer), 100).unwrap_err();
            let told = match refused {
                IndexError::Missing(cid) | IndexError::MissingRoot(cid) => cid.is_same_block(&gone),
                _ => false,
            };
            // What hangs below the missing block only is unreachable, too: either is told.
            assert!(told || matches!(refused, IndexError::Unreachable(_)), "{refused}");
        }
        let mut more = blocks.clone();
        more.push((Cid::v1(Codec::Raw, b"stray"), b"stray".to_vec()));
        assert_eq!(index(&archive(root, &more), 100), Err(IndexError::Unreachable(1)));
        let twice = [blocks.clone(), blocks.clone()].concat();
        assert!(index(&archive(root, &twice), 100).is_ok());
        let thrice = [twice, blocks].concat();
        assert!(matches!(index(&archive(root, &thrice), 100), Err(IndexError::Repeats(_))));
    }

    #[test]
    fn a_file_that_could_not_be_read_is_refused_in_any_order() {
        let leaf = (Cid::v1(Codec::Raw, b"xyz"), b"xyz".to_vec());
        for (said, good) in [(3, true), (2, false), (4, false), (u64::MAX - 1, false), (u64::MAX, false)] {
            let links = [Link { cid: leaf.0, name: "", tsize: 3 }];
            let block = dag_pb::encode(links, &unixfs::file_node([said].into_iter()));
            let root = (Cid::v0(&block), block);
            for order in [[root.clone(), leaf.clone()], [leaf.clone(), root.clone()]] {
                assert_eq!(index(&archive(root.0, &order), 9).is_ok(), good, "{said}");
            }
        }
        // A directory in the place of a piece.
        let mut memory = MemoryBlocks::default();
        let directory = DirectoryBuilder::new(Layout::KUBO_V0).finish(&mut memory).unwrap().cid;
        let block = memory.get(&directory).unwrap().unwrap().into_owned();
        let links = [Link { cid: directory, name: "", tsize: 4 }];
        let node = dag_pb::encode(links, &unixfs::file_node([4].into_iter()));
        let root = (Cid::v0(&node), node);
        let below = (directory, block);
        for order in [[root.clone(), below.clone()], [below, root.clone()]] {
            assert!(index(&archive(root.0, &order), 9).is_err());
        }
    }

    #[test]
    fn one_block_has_one_codec() {
        let mut memory = MemoryBlocks::default();
        let leaf = Cid::v1(Codec::Raw, b"xyz");
        let links = [Link { cid: leaf, name: "", tsize: 3 }];
        let block = dag_pb::encode(links, &unixfs::file_node([3].into_iter()));
        memory.put(&leaf, b"xyz").unwrap();
        // Links hide behind a raw link to a node.
        let hidden = Cid::v1(Codec::Raw, &block);
        let top = dag_pb::encode(
            [Link { cid: hidden, name: "", tsize: 1 }],
            &unixfs::file_node([block.len() as u64].into_iter()),
        );
        let root = (Cid::v0(&top), top);
        let sections = [root.clone(), (Cid::v0(&block), block.clone()), (leaf, b"xyz".to_vec())];
        assert!(matches!(index(&archive(root.0, &sections), 50), Err(IndexError::CodecMismatch(_))));
        let mut reversed = sections.to_vec();
        reversed.reverse();
        assert!(matches!(index(&archive(root.0, &reversed), 50), Err(IndexError::CodecMismatch(_))));
        let honest = [root.clone(), (hidden, block)];
        assert!(index(&archive(root.0, &honest), 50).is_ok());
    }

    #[test]
    fn headers_without_their_root_and_cut_archives() {
        let leaf = (Cid::v1(Codec::Raw, b"xyz"), b"xyz".to_vec());
        let other = Cid::v1(Codec::Raw, b"other");
        assert_eq!(index(&archive(other, &[]), 9), Err(IndexError::MissingRoot(other)));
        assert!(index(&archive(other, std::slice::from_ref(&leaf)), 9).is_err());
        let whole = archive(leaf.0, &[leaf]);
        for cut in 0..whole.len() {
            assert!(index(&whole[..cut], 9).is_err(), "{cut}");
        }
        let two = CarHeader::new(vec![other, other]).encode();
        assert_eq!(index(&two, 9), Err(CarError::NotOneRoot(2).into()));
    }

    #[test]
    fn what_is_known_of_a_block_takes_little() {
        assert!(size_of::<([u8; 32], Known)>() <= 72);
    }
}
