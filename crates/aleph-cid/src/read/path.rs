use super::directory::{Width, open};
use super::{Limits, ReadError};
use crate::cid::Cid;
use crate::hamt;
use crate::unixfs::NodeType;

/// Longest path, in bytes.
const MAX_PATH: usize = 4096;
/// Most parts of a path.
const MAX_PARTS: usize = 64;

/// Follows a path like `docs/index.html` from a directory, block by block. The caller fetches.
///
/// A sharded directory costs one block a level. Symlinks are never followed.
#[derive(Debug)]
pub struct PathWalk {
    at: Cid,
    /// Names still to follow, the next one last.
    parts: Vec<String>,
    /// Bits of the next name's hash that were used to get to `at`; none where a directory starts.
    consumed: Option<u32>,
    limits: Limits,
}

impl PathWalk {
    /// Follows `path` from `root`. Slashes at both ends and doubled ones mean nothing.
    ///
    /// # Errors
    ///
    /// Paths with `.` and `..`, and very long ones.
    pub fn new(root: Cid, path: &str, limits: Limits) -> Result<Self, ReadError> {
        if path.len() > MAX_PATH {
            return Err(ReadError::BadPath("it has more than 4096 bytes"));
        }
        let mut parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.len() > MAX_PARTS {
            return Err(ReadError::BadPath("it has more than 64 parts"));
        }
        if parts.iter().any(|part| part == "." || part == "..") {
            return Err(ReadError::BadPath("'.' and '..' lead nowhere"));
        }
        parts.reverse();
        Ok(Self { at: root, parts, consumed: None, limits })
    }

    /// The block that is needed next; none when the path's end was reached.
    pub fn wanted(&self) -> Option<&Cid> {
        (!self.parts.is_empty()).then_some(&self.at)
    }

    /// What stands at the end of the path, once it is known.
    pub fn found(&self) -> Option<&Cid> {
        self.parts.is_empty().then_some(&self.at)
    }

    /// Takes the block that is wanted.
    ///
    /// # Errors
    ///
    /// Another block, something that is no directory, or an entry that isn't there.
    pub fn supply(&mut self, block: &[u8]) -> Result<(), ReadError> {
        let Some(name) = self.parts.last() else { return Err(ReadError::Finished) };
        self.limits.verify(&self.at, block)?;
        let (node, message) = open(&self.at, block, self.consumed.is_some())?;
        let not_found = || ReadError::NotFound { cid: self.at, name: name.clone() };
        if message.node_type == NodeType::Directory {
            let link = node.links.iter().find(|link| link.name == *name).ok_or_else(not_found)?;
            self.at = link.cid;
            self.parts.pop();
            return Ok(());
        }
        let width = Width::of(&self.at, &message)?;
        let consumed = self.consumed.unwrap_or(0);
        // Where the hash ends, nothing more can be below.
        let place = hamt::place(hamt::name_hash(name), consumed, width.bits).ok_or_else(not_found)?;
        let link = node
            .links
            .iter()
            .find(|link| match width.split(link.name) {
                Some((at, entry)) => at == place && (entry == name || entry.is_empty()),
                None => false,
            })
            .ok_or_else(not_found)?;
        let is_shard = width.split(link.name).is_some_and(|(_, entry)| entry.is_empty());
        self.at = link.cid;
        if is_shard {
            self.consumed = Some(consumed + width.bits);
        } else {
            self.parts.pop();
            self.consumed = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemoryBlocks;
    use crate::build::{TreeBuilder, symlink};
    use crate::cid::Codec;
    use crate::layout::Layout;
    use crate::read::{SourceError, resolve_path};

    #[test]
    fn paths_are_followed() {
        let mut blocks = MemoryBlocks::default();
        let link = symlink(Layout::KUBO_V0, "/etc", &mut blocks).unwrap();
        let mut tree = TreeBuilder::new(Layout::KUBO_V0, 10);
        tree.insert("a/b/link", &link).unwrap();
        let root = tree.finish(&mut blocks).unwrap().cid;
        let mut resolve = |path: &str| resolve_path(&mut blocks, root, path, Limits::default());
        assert_eq!(resolve("").unwrap(), root);
        assert_eq!(resolve("/a//b/link/").unwrap(), link.cid);
        for (path, kind) in [("a/c", "not found"), ("a/b/link/passwd", "kind"), ("a/../a", "path")] {
            let Err(SourceError::Read(error)) = resolve(path) else { panic!("{path} leads somewhere") };
            let same = match kind {
                "not found" => matches!(error, ReadError::NotFound { .. }),
                "kind" => matches!(error, ReadError::WrongKind { .. }),
                _ => matches!(error, ReadError::BadPath(_)),
            };
            assert!(same, "{path}: {error}");
        }
        assert!(resolve(&"a/".repeat(65)).is_err());
        assert!(resolve(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn files_have_no_entries() {
        let raw = Cid::v1(Codec::Raw, b"x");
        let mut walk = PathWalk::new(raw, "a", Limits::default()).unwrap();
        assert!(matches!(walk.supply(b"x"), Err(ReadError::WrongKind { .. })));
        let mut walk = PathWalk::new(raw, "", Limits::default()).unwrap();
        assert_eq!((walk.wanted(), walk.found()), (None, Some(&raw)));
        assert_eq!(walk.supply(b"x"), Err(ReadError::Finished));
    }
}
