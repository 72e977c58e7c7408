use super::{Limits, NodeKind, ReadError, unixfs_node};
use crate::build::is_usable_name;
use crate::cid::Cid;
use crate::dag_pb::{Link, Node};
use crate::hamt;
use crate::unixfs::{MURMUR3_X64_64, NodeType, UnixFs};

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: fit for a file system, without `/`.
    pub name: String,
    /// What stands there.
    pub cid: Cid,
    /// Bytes of all its blocks, as the directory says.
    pub cumulative_size: u64,
}

/// Lists a directory, in one block or in shards, block by block. The caller fetches.
///
/// Entries of one block come in the order of the directory; shards come in the order of hashes.
#[derive(Debug)]
pub struct DirectoryWalk {
    /// What is still to be read; the next one last.
    pending: Vec<Pending>,
    entries: usize,
    visited: usize,
    limits: Limits,
}

#[derive(Debug)]
struct Pending {
    cid: Cid,
    /// Whether it must be a part of a sharded directory.
    shard: bool,
    /// The bits of names' hashes that lead here, and how many.
    path: (u64, u32),
}

impl DirectoryWalk {
    /// Lists the directory whose root is `root`.
    pub fn new(root: Cid, limits: Limits) -> Self {
        let root = Pending { cid: root, shard: false, path: (0, 0) };
        Self { pending: vec![root], entries: 0, visited: 0, limits }
    }

    /// The block that is needed next; none when everything was listed.
    pub fn wanted(&self) -> Option<&Cid> {
        self.pending.last().map(|next| &next.cid)
    }

    /// Takes the block that is wanted, and gives its entries.
    ///
    /// # Errors
    ///
    /// Another block, something that is no directory, names that no file system could hold, or more
    /// than the [`Limits`] allow.
    pub fn supply(&mut self, block: &[u8]) -> Result<Vec<Entry>, ReadError> {
        let cid = self.wanted().ok_or(ReadError::Finished)?;
        self.limits.verify(cid, block)?;
        self.accept(block)
    }

    /// As [`DirectoryWalk::supply`], for a block that is checked already.
    pub(super) fn accept(&mut self, block: &[u8]) -> Result<Vec<Entry>, ReadError> {
        let next = self.pending.last().ok_or(ReadError::Finished)?;
        let (cid, shard, path) = (next.cid, next.shard, next.path);
        let (node, message) = open(&cid, block, shard)?;
        self.pending.pop();
        self.visited += 1;
        let mut entries = Vec::new();
        if message.node_type == NodeType::Directory {
            for link in &node.links {
                entries.push(entry(&cid, link, link.name)?);
            }
        } else {
            self.supply_shard(&cid, &node, &message, path, &mut entries)?;
        }
        self.entries += entries.len();
        if self.entries.max(self.visited) > self.limits.entries {
            return Err(ReadError::TooMany { what: "directory entries", limit: self.limits.entries });
        }
        Ok(entries)
    }

    fn supply_shard(
        &mut self,
        cid: &Cid,
        node: &Node<'_>,
        message: &UnixFs<'_>,
        path: (u64, u32),
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let malformed = |why| ReadError::Malformed { cid: *cid, why };
        let width = Width::of(cid, message)?;
        // Builders make no empty shards; without this, shards could be nested for nothing.
        if node.links.is_empty() && path.1 > 0 {
            return Err(malformed("a shard without entries"));
        }
        let first = self.pending.len();
        for link in &node.links {
            let (place, name) =
                width.split(link.name).ok_or_else(|| malformed("a shard's link without a place"))?;
            let below = path.1 + width.bits;
            if below > u64::BITS {
                return Err(malformed("more shards inside each other than a hash has bits"));
            }
            let bits = path.0 << width.bits.min(63) | place;
            if name.is_empty() {
                self.pending.push(Pending { cid: link.cid, shard: true, path: (bits, below) });
                continue;
            }
            // Entries stand where their hashes say: no part of a tree can stand in two places.
            if hamt::place(hamt::name_hash(name), 0, below) != Some(bits) {
                return Err(malformed("an entry stands where its name's hash does not lead"));
            }
            entries.push(entry(cid, link, name)?);
        }
        if self.pending.len() > self.limits.links {
            return Err(ReadError::TooMany { what: "links held", limit: self.limits.links });
        }
        self.pending[first..].reverse();
        Ok(())
    }
}

/// Reads a block that must be a directory, or a shard of one.
pub(super) fn open<'a>(cid: &Cid, block: &'a [u8], shard: bool) -> Result<(Node<'a>, UnixFs<'a>), ReadError> {
    if cid.codec() == crate::cid::Codec::Raw {
        return Err(ReadError::WrongKind { cid: *cid, kind: NodeKind::File, wanted: NodeKind::Directory });
    }
    let (node, message) = unixfs_node(cid, block)?;
    match (message.node_type, shard) {
        (NodeType::HamtShard, _) | (NodeType::Directory, false) => Ok((node, message)),
        (_, true) => Err(ReadError::Malformed { cid: *cid, why: "a shard that is none" }),
        _ => {
            let kind = NodeKind::of(&message);
            Err(ReadError::WrongKind { cid: *cid, kind, wanted: NodeKind::Directory })
        }
    }
}

fn entry(directory: &Cid, link: &Link<'_>, name: &str) -> Result<Entry, ReadError> {
    if !is_usable_name(name) {
        return Err(ReadError::BadName { cid: *directory, name: name.chars().take(80).collect() });
    }
    Ok(Entry { name: name.to_owned(), cid: link.cid, cumulative_size: link.tsize })
}

/// How a shard's places are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Width {
    /// Bits of the hash that a level takes.
    pub(super) bits: u32,
    digits: usize,
}

impl Width {
    pub(super) fn of(cid: &Cid, message: &UnixFs<'_>) -> Result<Self, ReadError> {
        let malformed = |why| ReadError::Malformed { cid: *cid, why };
        if message.hash_type != Some(MURMUR3_X64_64) {
            return Err(malformed("a shard of another hash than murmur3"));
        }
        match message.fanout {
            Some(fanout) if fanout.is_power_of_two() && (2..=1024).contains(&fanout) => {
                Ok(Self { bits: fanout.trailing_zeros(), digits: hamt::prefix_len(fanout) })
            }
            _ => Err(malformed("a shard's fan-out is a power of two up to 1024")),
        }
    }

    /// The place and the name that a link's name says; a shard below has no name.
    pub(super) fn split<'a>(&self, name: &'a str) -> Option<(u64, &'a str)> {
        let (place, name) = name.split_at_checked(self.digits)?;
        if !place.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')) {
            return None;
        }
        let place = u64::from_str_radix(place, 16).ok()?;
        (place < 1 << self.bits).then_some((place, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSink, MemoryBlocks};
    use crate::cid::Codec;
    use crate::dag_pb;
    use crate::read::{SourceError, list_directory};
    use crate::unixfs;

    fn put(links: &[(&str, Cid)], data: &[u8], blocks: &mut MemoryBlocks) -> Cid {
        let links = links.iter().map(|(name, cid)| Link { cid: *cid, name, tsize: 1 });
        let block = dag_pb::encode(links, data);
        let cid = Cid::v0(&block);
        blocks.put(&cid, &block).unwrap();
        cid
    }

    fn list(root: Cid, blocks: &mut MemoryBlocks) -> Result<Vec<Entry>, ReadError> {
        list_directory(blocks, root, Limits::default()).map_err(|error| match error {
            SourceError::Read(error) => error,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let file = Cid::v1(Codec::Raw, b"x");
        let mut blocks = MemoryBlocks::default();
        for name in ["", ".", "..", "../etc", "a/b", "a\0"] {
            let root = put(&[(name, file)], &unixfs::directory(), &mut blocks);
            assert!(matches!(list(root, &mut blocks), Err(ReadError::BadName { .. })), "{name:?}");
        }
        let root = put(&[("fine", file)], &unixfs::directory(), &mut blocks);
        assert_eq!(list(root, &mut blocks).unwrap()[0].name, "fine");
    }

    #[test]
    fn shards_stand_where_hashes_lead() {
        let file = Cid::v1(Codec::Raw, b"x");
        let mut blocks = MemoryBlocks::default();
        let place = hamt::name_hash("name") >> 56;
        let good = format!("{place:02X}name");
        let bad = format!("{:02X}name", (place + 1) % 256);
        let data = unixfs::shard(&[1], 256);
        let root = put(&[(&good, file)], &data, &mut blocks);
        assert_eq!(list(root, &mut blocks).unwrap()[0].name, "name");
        for (links, why) in [
            (vec![(bad.as_str(), file)], "another place"),
            (vec![("zzname", file)], "no place"),
            (vec![("é", file)], "a place cut in a letter"),
            (vec![("00", root)], "a shard in another place"),
            (vec![("00", put(&[], &data, &mut blocks))], "an empty shard"),
            (vec![("00", put(&[("a", file)], &unixfs::directory(), &mut blocks))], "a directory as a shard"),
        ] {
            let root = put(&links, &data, &mut blocks);
            assert!(matches!(list(root, &mut blocks), Err(ReadError::Malformed { .. })), "{why}");
        }
        for data in [unixfs::shard(&[1], 3), unixfs::shard(&[1], 1), unixfs::shard(&[1], 1 << 20)] {
            let root = put(&[(&good, file)], &data, &mut blocks);
            assert!(list(root, &mut blocks).is_err());
        }
    }

    #[test]
    fn entries_are_counted() {
        let file = Cid::v1(Codec::Raw, b"x");
        let mut blocks = MemoryBlocks::default();
        let root = put(&[("a", file), ("b", file), ("c", file)], &unixfs::directory(), &mut blocks);
        let limits = Limits { entries: 2, ..Limits::default() };
        let error = list_directory(&mut blocks, root, limits).unwrap_err();
        assert!(matches!(error, SourceError::Read(ReadError::TooMany { limit: 2, .. })));
    }
}
