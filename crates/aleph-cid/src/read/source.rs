use std::ops::RangeBounds;

use super::{DagTotals, DagWalk, DirectoryWalk, Entry, FileWalk, Limits, PathWalk, ReadError};
use crate::block::BlockSource;
use crate::cid::Cid;

/// Why something can't be read from a [`BlockSource`].
#[derive(Debug, thiserror::Error)]
pub enum SourceError<E> {
    /// The source failed.
    #[error("blocks can't be looked up")]
    Source(E),
    /// The source lacks a block.
    #[error("block {0} is missing: fetch it, then read again")]
    Missing(Cid),
    /// The blocks are not what was asked for.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Gives the block that is wanted to `take`.
pub(crate) fn with_block<S: BlockSource, T>(
    source: &mut S,
    cid: &Cid,
    take: impl FnOnce(&[u8]) -> Result<T, ReadError>,
) -> Result<T, SourceError<S::Error>> {
    if let Some(inline) = cid.inline_block() {
        return Ok(take(inline)?);
    }
    let block = source.get(cid).map_err(SourceError::Source)?.ok_or(SourceError::Missing(*cid))?;
    Ok(take(&block)?)
}

/// Reads a file, or a range of it, and hands its bytes over in order. Gives the size of the whole file.
///
/// # Errors
///
/// The source's, a missing block, a tree that is no file or beyond the limits; `write`'s own as
/// [`SourceError::Source`].
pub fn read_file<S: BlockSource>(
    source: &mut S,
    root: Cid,
    range: impl RangeBounds<u64>,
    limits: Limits,
    mut write: impl FnMut(&[u8]) -> Result<(), S::Error>,
) -> Result<u64, SourceError<S::Error>> {
    let mut walk = FileWalk::new(root, range, limits);
    while let Some(cid) = walk.wanted().copied() {
        with_block(source, &cid, |block| {
            let bytes = walk.supply(block)?;
            Ok(if bytes.is_empty() { Ok(()) } else { write(bytes) })
        })?
        .map_err(SourceError::Source)?;
    }
    Ok(walk.size().unwrap_or_default())
}

/// Every entry of a directory.
///
/// # Errors
///
/// The source's, a missing block, or something that is no directory.
pub fn list_directory<S: BlockSource>(
    source: &mut S,
    root: Cid,
    limits: Limits,
) -> Result<Vec<Entry>, SourceError<S::Error>> {
    let mut walk = DirectoryWalk::new(root, limits);
    let mut entries = Vec::new();
    while let Some(cid) = walk.wanted().copied() {
        entries.extend(with_block(source, &cid, |block| walk.supply(block))?);
    }
    Ok(entries)
}

/// What stands at a path below a directory.
///
/// # Errors
///
/// The source's, a missing block, a bad path, or one that leads nowhere.
pub fn resolve_path<S: BlockSource>(
    source: &mut S,
    root: Cid,
    path: &str,
    limits: Limits,
) -> Result<Cid, SourceError<S::Error>> {
    let mut walk = PathWalk::new(root, path, limits)?;
    while let Some(cid) = walk.wanted().copied() {
        with_block(source, &cid, |block| walk.supply(block))?;
    }
    Ok(walk.found().copied().unwrap_or(root))
}

/// Checks that every block below `root` is there and right, and counts them.
///
/// # Errors
///
/// The source's, a missing block, or more than the limits allow.
pub fn check_dag<S: BlockSource>(
    source: &mut S,
    root: Cid,
    limits: Limits,
) -> Result<DagTotals, SourceError<S::Error>> {
    let mut walk = DagWalk::new(root, limits);
    while let Some(cid) = walk.wanted().copied() {
        with_block(source, &cid, |block| walk.supply(block))?;
    }
    Ok(walk.totals())
}
