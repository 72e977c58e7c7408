use std::vec;

use super::{DirectoryWalk, Entry, FileWalk, Limits, NodeKind, ReadError, unixfs_node};
use crate::build::MAX_TREE_DEPTH;
use crate::cid::{Cid, Codec};

/// What a [`TreeWalk`] comes across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeItem<'b> {
    /// A directory; its entries follow.
    Directory {
        /// Names from the root down, with `/` between them; empty for the root.
        path: String,
    },
    /// A file; its bytes follow.
    File {
        /// As for directories.
        path: String,
        /// Bytes that follow.
        size: u64,
    },
    /// A symlink; it is not followed.
    Symlink {
        /// As for directories.
        path: String,
        /// Where it points: as it was written, which may be anywhere.
        target: String,
    },
    /// The next bytes of the file that came last.
    Bytes(&'b [u8]),
}

/// Reads a whole tree of directories with the bytes of its files, in the order that an archive needs.
/// The caller fetches.
///
/// The entries of the whole tree are bounded by [`Limits::entries`], the size of each file by
/// [`Limits::file`]; the sum of all files is the caller's to bound, since a small tree can name one
/// large file many times.
#[derive(Debug)]
pub struct TreeWalk {
    /// The directories from the root down to where the walk is.
    levels: Vec<Level>,
    /// The file that is being read.
    file: Option<FileWalk>,
    next: Option<Next>,
    entries: usize,
    limits: Limits,
}

#[derive(Debug)]
struct Level {
    path: String,
    walk: DirectoryWalk,
    /// Entries of the directory's last block that were not visited yet.
    entries: vec::IntoIter<Entry>,
}

#[derive(Debug)]
struct Next {
    cid: Cid,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// The first block of what stands at this path.
    Start(String),
    /// A further block of the file.
    Piece,
    /// A further block of the directory.
    Shard,
}

impl TreeWalk {
    /// Reads everything below `root`, which may be a file itself.
    pub fn new(root: Cid, limits: Limits) -> Self {
        let next = Some(Next { cid: root, what: What::Start(String::new()) });
        Self { levels: Vec::new(), file: None, next, entries: 0, limits }
    }

    /// The block that is needed next; none when everything was read.
    pub fn wanted(&self) -> Option<&Cid> {
        self.next.as_ref().map(|next| &next.cid)
    }

    /// Takes the block that is wanted, and gives what it brings, in order.
    ///
    /// # Errors
    ///
    /// Another block, something that is neither file, directory nor symlink, or more than the
    /// [`Limits`] allow.
    pub fn supply<'b>(&mut self, block: &'b [u8]) -> Result<Vec<TreeItem<'b>>, ReadError> {
        let next = self.next.as_ref().ok_or(ReadError::Finished)?;
        let (cid, what) = (next.cid, next.what.clone());
        self.limits.verify(&cid, block)?;
        let mut items = Vec::new();
        match (what, &mut self.file, self.levels.last_mut()) {
            (What::Start(path), ..) => self.start(cid, path, block, &mut items)?,
            (What::Piece, Some(file), _) => push_bytes(file.accept(block)?, &mut items),
            (What::Shard, _, Some(level)) => {
                let entries = level.walk.accept(block)?;
                self.hold(entries)?;
            }
            _ => return Err(ReadError::Finished),
        }
        self.settle();
        Ok(items)
    }

    fn start<'b>(
        &mut self,
        cid: Cid,
        path: String,
        block: &'b [u8],
        items: &mut Vec<TreeItem<'b>>,
    ) -> Result<(), ReadError> {
        match kind(&cid, block)? {
            NodeKind::File => {
                let mut file = FileWalk::new(cid, .., self.limits);
                let bytes = file.accept(block)?;
                items.push(TreeItem::File { path, size: file.size().unwrap_or_default() });
                push_bytes(bytes, items);
                self.file = Some(file);
            }
            NodeKind::Directory => {
                if self.levels.len() == MAX_TREE_DEPTH {
                    return Err(ReadError::TooDeep { cid, limit: MAX_TREE_DEPTH as u32 });
                }
                let mut walk = DirectoryWalk::new(cid, self.limits);
                let entries = walk.accept(block)?;
                items.push(TreeItem::Directory { path: path.clone() });
                self.levels.push(Level { path, walk, entries: Vec::new().into_iter() });
                self.hold(entries)?;
            }
            NodeKind::Symlink => {
                let (_, message) = unixfs_node(&cid, block)?;
                let target = std::str::from_utf8(message.data)
                    .map_err(|_| ReadError::Malformed { cid, why: "a symlink's target is not UTF-8" })?;
                items.push(TreeItem::Symlink { path, target: target.to_owned() });
            }
            kind @ NodeKind::Other => {
                return Err(ReadError::WrongKind { cid, kind, wanted: NodeKind::File });
            }
        }
        Ok(())
    }

    /// Keeps the entries of a block of the innermost directory, to visit them.
    fn hold(&mut self, entries: Vec<Entry>) -> Result<(), ReadError> {
        self.entries = self.entries.saturating_add(entries.len());
        if self.entries > self.limits.entries {
            return Err(ReadError::TooMany { what: "directory entries", limit: self.limits.entries });
        }
        if let Some(level) = self.levels.last_mut() {
            level.entries = entries.into_iter();
        }
        Ok(())
    }

    /// Finds out what is wanted next.
    fn settle(&mut self) {
        if let Some(cid) = self.file.as_ref().and_then(FileWalk::wanted) {
            self.next = Some(Next { cid: *cid, what: What::Piece });
            return;
        }
        self.file = None;
        self.next = None;
        while let Some(level) = self.levels.last_mut() {
            if let Some(entry) = level.entries.next() {
                let path = match level.path.as_str() {
                    "" => entry.name,
                    above => format!("{above}/{}", entry.name),
                };
                self.next = Some(Next { cid: entry.cid, what: What::Start(path) });
                return;
            }
            if let Some(cid) = level.walk.wanted() {
                self.next = Some(Next { cid: *cid, what: What::Shard });
                return;
            }
            self.levels.pop();
        }
    }
}

fn push_bytes<'b>(bytes: &'b [u8], items: &mut Vec<TreeItem<'b>>) {
    if !bytes.is_empty() {
        items.push(TreeItem::Bytes(bytes));
    }
}

fn kind(cid: &Cid, block: &[u8]) -> Result<NodeKind, ReadError> {
    if cid.codec() == Codec::Raw {
        return Ok(NodeKind::File);
    }
    let (_, message) = unixfs_node(cid, block)?;
    Ok(NodeKind::of(&message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSource, MemoryBlocks};
    use crate::build::{Built, DirectoryBuilder, FileBuilder, TreeBuilder, symlink};
    use crate::layout::Layout;

    fn file(layout: Layout, bytes: &[u8], blocks: &mut MemoryBlocks) -> Built {
        let mut builder = FileBuilder::new(layout);
        builder.update(bytes, blocks).unwrap();
        builder.finish(blocks).unwrap()
    }

    /// Paths with a word on what stands there.
    fn walk(root: Cid, blocks: &mut MemoryBlocks, limits: Limits) -> Result<Vec<String>, ReadError> {
        let mut walk = TreeWalk::new(root, limits);
        let mut seen: Vec<String> = Vec::new();
        while let Some(cid) = walk.wanted().copied() {
            let block = blocks.get(&cid).unwrap().unwrap().into_owned();
            for item in walk.supply(&block)? {
                match item {
                    TreeItem::Directory { path } => seen.push(format!("{path}/")),
                    TreeItem::File { path, size } => seen.push(format!("{path} {size} ")),
                    TreeItem::Symlink { path, target } => seen.push(format!("{path} -> {target}")),
                    TreeItem::Bytes(bytes) => {
                        seen.last_mut().unwrap().push_str(std::str::from_utf8(bytes).unwrap())
                    }
                }
            }
        }
        Ok(seen)
    }

    #[test]
    fn everything_comes_in_order() {
        let layout = Layout::KUBO_V0.with_chunk(3).unwrap().with_max_links(2).unwrap();
        let mut blocks = MemoryBlocks::default();
        let long = file(layout, b"0123456789abcdef", &mut blocks);
        let empty = file(layout, b"", &mut blocks);
        let link = symlink(layout, "../up", &mut blocks).unwrap();
        let mut tree = TreeBuilder::new(layout, 100);
        tree.insert("b/long", &long).unwrap();
        tree.insert("b/a/link", &link).unwrap();
        tree.insert("z", &long).unwrap();
        tree.insert("a", &empty).unwrap();
        tree.insert_directory("nothing").unwrap();
        let root = tree.finish(&mut blocks).unwrap().cid;
        assert_eq!(
            walk(root, &mut blocks, Limits::default()).unwrap(),
            [
                "/",
                "a 0 ",
                "b/",
                "b/a/",
                "b/a/link -> ../up",
                "b/long 16 0123456789abcdef",
                "nothing/",
                "z 16 0123456789abcdef"
            ]
        );
        assert_eq!(walk(long.cid, &mut blocks, Limits::default()).unwrap(), [" 16 0123456789abcdef"]);
    }

    #[test]
    fn shards_are_walked() {
        let mut blocks = MemoryBlocks::default();
        let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
        let one = file(Layout::KUBO_V0, b"x", &mut blocks);
        for index in 0..7000 {
            directory.insert(&format!("f{index:04}"), &one).unwrap();
        }
        let root = directory.finish(&mut blocks).unwrap().cid;
        let mut seen = walk(root, &mut blocks, Limits::default()).unwrap();
        seen.sort_unstable();
        let expected: Vec<String> =
            std::iter::once("/".to_owned()).chain((0..7000).map(|i| format!("f{i:04} 1 x"))).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_bomb_of_directories_ends_at_the_entries_allowed() {
        let mut blocks = MemoryBlocks::default();
        let mut below = file(Layout::KUBO_V0, b"", &mut blocks);
        for _ in 0..40 {
            let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
            for name in ["a", "b", "c", "d"] {
                directory.insert(name, &below).unwrap();
            }
            below = directory.finish(&mut blocks).unwrap();
        }
        let limits = Limits { entries: 1000, ..Limits::default() };
        let error = walk(below.cid, &mut blocks, limits).unwrap_err();
        assert_eq!(error, ReadError::TooMany { what: "directory entries", limit: 1000 });
    }

    #[test]
    fn chains_of_directories_end_at_the_depth_allowed() {
        let mut blocks = MemoryBlocks::default();
        let mut below = file(Layout::KUBO_V0, b"", &mut blocks);
        for depth in 1..=MAX_TREE_DEPTH + 1 {
            let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
            directory.insert("a", &below).unwrap();
            below = directory.finish(&mut blocks).unwrap();
            let seen = walk(below.cid, &mut blocks, Limits::default());
            assert_eq!(seen.is_ok(), depth <= MAX_TREE_DEPTH, "{depth}");
        }
    }
}
