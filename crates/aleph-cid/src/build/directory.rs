use std::collections::BTreeMap;

use super::{Built, put_node, shard, total};
use crate::block::BlockSink;
use crate::dag_pb::{self, Link};
use crate::layout::{Layout, SHARD_ABOVE, Sharding};
use crate::unixfs;

/// Longest name of an entry, in bytes: what file systems take.
pub const MAX_NAME: usize = 255;

/// Why a name can't stand in a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No file system could hold it, or it leads out of the directory.
    #[error("'{0}' can't be the name of a file: 1 to {MAX_NAME} bytes without '/' and NUL, not '.' or '..'")]
    Unusable(String),
    /// The directory has an entry of that name.
    #[error("the name '{0}' appears twice in one directory")]
    Taken(String),
}

/// Whether a file system could hold the name and it stays inside its directory.
pub(crate) fn is_usable_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Builds one directory of entries that are built already.
///
/// Above 256 KiB of names and CIDs (about 4,000 entries) the directory is split into shards (HAMT,
/// fan-out 256), as Kubo does. Holds a name and a CID for each entry.
///
/// ```
/// use aleph_cid::{Discard, DirectoryBuilder, Layout};
///
/// let empty = DirectoryBuilder::new(Layout::KUBO_V0).finish(&mut Discard).unwrap();
/// assert_eq!(empty.cid.to_string(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
/// ```
#[derive(Debug)]
pub struct DirectoryBuilder {
    layout: Layout,
    /// In the order of the bytes of names, which is the order of links.
    entries: BTreeMap<String, Built>,
}

impl DirectoryBuilder {
    /// A directory without entries yet.
    pub fn new(layout: Layout) -> Self {
        Self { layout, entries: BTreeMap::new() }
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// Names that no directory can hold, and a second entry of the same name.
    pub fn insert(&mut self, name: &str, entry: &Built) -> Result<(), NameError> {
        if !is_usable_name(name) {
            return Err(NameError::Unusable(name.chars().take(MAX_NAME).collect()));
        }
        if self.entries.contains_key(name) {
            return Err(NameError::Taken(name.to_owned()));
        }
        self.entries.insert(name.to_owned(), *entry);
        Ok(())
    }

    /// Adds an entry whose name was checked and is not taken.
    pub(super) fn insert_checked(&mut self, name: String, entry: Built) {
        self.entries.insert(name, entry);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes the directory's blocks and gives its root.
    ///
    /// # Errors
    ///
    /// The sink's own.
    pub fn finish<S: BlockSink>(self, sink: &mut S) -> Result<Built, S::Error> {
        let links = self.entries.iter().map(|(name, entry)| link(name, entry));
        let data = unixfs::directory();
        let measured = match self.layout.sharding {
            Sharding::ByLinks => links.clone().map(|l| (l.name.len() + l.cid.encoded_len()) as u64).sum(),
            Sharding::ByBlock => dag_pb::encode(links.clone(), &data).len() as u64,
        };
        if measured > SHARD_ABOVE {
            return shard::build(self.layout, &self.entries, sink);
        }
        let block = dag_pb::encode(links.clone(), &data);
        let cid = put_node(self.layout, &block, sink)?;
        let cumulative_size = total(links.map(|l| l.tsize)).saturating_add(block.len() as u64);
        Ok(Built { cid, size: 0, cumulative_size })
    }
}

pub(super) fn link<'a>(name: &'a str, entry: &Built) -> Link<'a> {
    Link { cid: entry.cid, name, tsize: entry.cumulative_size }
}

/// Builds a symlink. It is kept as it is: readers list it and never follow it.
///
/// # Errors
///
/// The sink's own.
pub fn symlink<S: BlockSink>(layout: Layout, target: &str, sink: &mut S) -> Result<Built, S::Error> {
    let block = dag_pb::encode([], &unixfs::symlink(target));
    let cid = put_node(layout, &block, sink)?;
    Ok(Built { cid, size: target.len() as u64, cumulative_size: block.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Discard;

    #[test]
    fn empty_directories() {
        for (layout, cid) in [
            (Layout::KUBO_V0, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
            (Layout::KUBO_V1, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
        ] {
            let built = DirectoryBuilder::new(layout).finish(&mut Discard).unwrap();
            assert_eq!((built.cid.to_string().as_str(), built.cumulative_size), (cid, 4));
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let file = symlink(Layout::KUBO_V0, "x", &mut Discard).unwrap();
        let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
        for name in ["", ".", "..", "a/b", "/", "a\0", &"x".repeat(256)] {
            assert!(matches!(directory.insert(name, &file), Err(NameError::Unusable(_))), "{name}");
        }
        directory.insert("...", &file).unwrap();
        assert_eq!(directory.insert("...", &file), Err(NameError::Taken("...".to_owned())));
        assert_eq!(directory.len(), 1);
    }
}
