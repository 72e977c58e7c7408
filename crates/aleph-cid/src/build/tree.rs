use std::collections::BTreeMap;

use super::directory::is_usable_name;
use super::{Built, DirectoryBuilder, NameError};
use crate::block::BlockSink;
use crate::layout::Layout;

/// Deepest nesting of directories.
pub const MAX_TREE_DEPTH: usize = 64;

/// Why a path can't be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A part of the path is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too many directories inside each other.
    #[error("a path has at most {MAX_TREE_DEPTH} parts")]
    TooDeep,
    /// Too many files and directories.
    #[error("a tree has at most {0} entries here")]
    TooManyEntries(usize),
    /// A file stands where the path needs a directory, or the other way round.
    #[error("'{0}' is a file and a directory at once")]
    FileAndDirectory(String),
}

/// Builds a tree of directories from files that are built already, as `ipfs add -r` does.
///
/// Holds a name and a CID for each entry, at most as many as allowed.
#[derive(Debug)]
pub struct TreeBuilder {
    layout: Layout,
    root: Directory,
    entries: usize,
    max_entries: usize,
}

type Directory = BTreeMap<String, Node>;

#[derive(Debug)]
enum Node {
    Entry(Built),
    Directory(Directory),
}

impl TreeBuilder {
    /// An empty tree that takes at most `max_entries` files and directories.
    pub fn new(layout: Layout, max_entries: usize) -> Self {
        Self { layout, root: Directory::new(), entries: 0, max_entries }
    }

    /// Adds a file or symlink at a path like `a/b/c.txt`, with the directories on the way.
    ///
    /// # Errors
    ///
    /// Paths with empty parts, `.` or `..`; a path that is taken; too many entries.
    pub fn insert(&mut self, path: &str, entry: &Built) -> Result<(), TreeError> {
        let (directory, name) = match path.rsplit_once('/') {
            Some((above, name)) => (self.directory(Some(above))?, name),
            None => (self.directory(None)?, path),
        };
        check(name)?;
        match directory.get(name) {
            Some(Node::Entry(_)) => return Err(NameError::Taken(name.to_owned()).into()),
            Some(Node::Directory(_)) => return Err(TreeError::FileAndDirectory(name.to_owned())),
            None => directory.insert(name.to_owned(), Node::Entry(*entry)),
        };
        self.count()
    }

    /// Adds a directory, which may stay empty.
    ///
    /// # Errors
    ///
    /// As [`TreeBuilder::insert`]; a directory that is there already is fine.
    pub fn insert_directory(&mut self, path: &str) -> Result<(), TreeError> {
        self.directory(Some(path)).map(|_| ())
    }

    fn count(&mut self) -> Result<(), TreeError> {
        self.entries += 1;
        if self.entries > self.max_entries {
            Err(TreeError::TooManyEntries(self.max_entries))
        } else {
            Ok(())
        }
    }

    /// The directory at a path, made if needed.
    fn directory(&mut self, path: Option<&str>) -> Result<&mut Directory, TreeError> {
        let parts: Vec<&str> =
            path.map(|path| path.split('/').take(MAX_TREE_DEPTH).collect()).unwrap_or_default();
        if parts.len() == MAX_TREE_DEPTH {
            return Err(TreeError::TooDeep);
        }
        let mut at = &mut self.root;
        for part in parts {
            check(part)?;
            if !at.contains_key(part) {
                self.entries += 1;
                if self.entries > self.max_entries {
                    return Err(TreeError::TooManyEntries(self.max_entries));
                }
            }
            match at.entry(part.to_owned()).or_insert_with(|| Node::Directory(Directory::new())) {
                Node::Directory(below) => at = below,
                Node::Entry(_) => return Err(TreeError::FileAndDirectory(part.to_owned())),
            }
        }
        Ok(at)
    }

    /// Makes the blocks of all directories and gives the root.
    ///
    /// # Errors
    ///
    /// The sink's own.
    pub fn finish<S: BlockSink>(self, sink: &mut S) -> Result<Built, S::Error> {
        finish(self.layout, self.root, sink)
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if is_usable_name(name) { Ok(()) } else { Err(NameError::Unusable(name.chars().take(80).collect())) }
}

/// As deep as [`MAX_TREE_DEPTH`].
fn finish<S: BlockSink>(layout: Layout, directory: Directory, sink: &mut S) -> Result<Built, S::Error> {
    let mut builder = DirectoryBuilder::new(layout);
    for (name, node) in directory {
        let entry = match node {
            Node::Entry(built) => built,
            Node::Directory(below) => finish(layout, below, sink)?,
        };
        builder.insert_checked(name, entry);
    }
    builder.finish(sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Discard, MemoryBlocks};
    use crate::build::symlink;

    #[test]
    fn paths_become_directories() {
        let mut blocks = MemoryBlocks::default();
        let file = symlink(Layout::KUBO_V0, "target", &mut blocks).unwrap();
        let mut tree = TreeBuilder::new(Layout::KUBO_V0, 10);
        tree.insert("a/b/c", &file).unwrap();
        tree.insert("a/d", &file).unwrap();
        tree.insert_directory("a/empty").unwrap();
        tree.insert_directory("a/b").unwrap();
        let root = tree.finish(&mut blocks).unwrap();
        // the symlink, the empty directory, a/b, a, the root
        assert_eq!((blocks.len(), root.size), (5, 0));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let file = symlink(Layout::KUBO_V0, "x", &mut Discard).unwrap();
        let mut tree = TreeBuilder::new(Layout::KUBO_V0, 3);
        for path in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\0b"] {
            assert!(matches!(tree.insert(path, &file), Err(TreeError::Name(_))), "{path}");
        }
        let mut tree = TreeBuilder::new(Layout::KUBO_V0, 3);
        tree.insert("a/b", &file).unwrap();
        assert!(matches!(tree.insert("a", &file), Err(TreeError::FileAndDirectory(_))));
        assert!(matches!(tree.insert("a/b/c", &file), Err(TreeError::FileAndDirectory(_))));
        assert!(matches!(tree.insert("a/b", &file), Err(TreeError::Name(NameError::Taken(_)))));
        tree.insert("c", &file).unwrap();
        assert_eq!(tree.insert("d", &file), Err(TreeError::TooManyEntries(3)));
        let deep = vec!["x"; 70].join("/");
        assert_eq!(TreeBuilder::new(Layout::KUBO_V0, 99).insert(&deep, &file), Err(TreeError::TooDeep));
    }
}
