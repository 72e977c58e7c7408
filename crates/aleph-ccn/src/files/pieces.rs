//! What is kept in blocks as streams: files, archives of files and directories.

use std::ops::Range;
use std::sync::Arc;

use aleph_blobs::{Blob, BlobError};
use aleph_cid::{
    CarHeader, Cid, DagWalk, FileMap, FileMapBuilder, FileWalk, Limits, PathWalk, ReadError, Stat, TreeItem,
    TreeWalk, car_section_head,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use super::archive::Archive;
use super::tar;

/// Bytes of files that one tar may hold: a small tree can name a large file very often.
const TAR_BYTES: u64 = 64 << 30;

/// Entries of a directory and everything below that a tar may hold: about 100 bytes of memory each.
const TAR_ENTRIES: usize = 1 << 18;

/// Why something can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PieceError {
    /// The disk or the object store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is not what was asked for.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A block is not here.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// No layout that is in use leads from the bytes to the CID.
    #[error("the blocks of {0} can't be made from its bytes")]
    Layout(Cid),
    /// More than one answer may hold.
    #[error("a tar has at most {TAR_BYTES} bytes here: ask for parts of the directory, or for a CAR")]
    TooMuch,
}

/// Blocks, and where they come from.
#[derive(Debug)]
pub(crate) enum Blocks {
    /// An archive has them.
    Archive(Archive),
    /// They are made from the bytes of a file: not before the first one is asked for.
    File {
        /// The file.
        blob: Blob,
        /// Its root.
        root: Cid,
        /// Where they stand in it.
        map: Option<FileMap>,
        /// Room for looking for them.
        room: Arc<Semaphore>,
    },
    /// There is one: the file itself.
    One(Blob),
}

impl Blocks {
    /// A block; whoever reads it checks it.
    pub(crate) async fn get(&mut self, cid: &Cid) -> Result<Bytes, PieceError> {
        if let Some(inline) = cid.inline_block() {
            return Ok(Bytes::copy_from_slice(inline));
        }
        match self {
            Self::Archive(archive) => archive.block(cid).await?.ok_or(PieceError::Missing(*cid)),
            Self::One(blob) => Ok(blob.read_at(0..blob.size()).await?),
            Self::File { blob, root, map, room } => {
                let map = match map {
                    Some(map) => map,
                    None => map.insert(map_of(blob, *root, room).await?),
                };
                match map.leaf(cid) {
                    Some(place) => Ok(map.leaf_block(&blob.read_at(place).await?).into()),
                    None => map.node(cid).map(Bytes::copy_from_slice).ok_or(PieceError::Missing(*cid)),
                }
            }
        }
    }

    /// How many blocks somebody remembers who reads all of them.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Archive(archive) => archive.blocks(),
            // Leaves of the smallest chunk in use, and a few nodes above them; for each layout that is tried.
            Self::File { blob, .. } => 64 + blob.size() / (64 << 10),
            Self::One(_) => 1,
        }
    }

    /// What a block says of the tree below.
    pub(crate) async fn stat(&mut self, cid: &Cid) -> Result<Stat, PieceError> {
        let block = self.get(cid).await?;
        Ok(Stat::read(cid, &block, &Limits::default())?)
    }

    /// What stands at a path below `root`.
    pub(crate) async fn resolve(&mut self, root: Cid, path: &str) -> Result<Cid, PieceError> {
        let mut walk = PathWalk::new(root, path, Limits::default())?;
        while let Some(cid) = walk.wanted().copied() {
            walk.supply(&self.get(&cid).await?)?;
        }
        Ok(walk.found().copied().unwrap_or(root))
    }
}

/// Reads a file once, to find its blocks.
pub(super) async fn map_of(blob: &Blob, root: Cid, room: &Semaphore) -> Result<FileMap, PieceError> {
    let _permit = room.acquire().await.map_err(|_| BlobError::Interrupted)?;
    let mut builder = FileMapBuilder::new(root);
    let mut pieces = blob.stream(0..blob.size());
    while let Some(piece) = pieces.try_next().await? {
        let work = tokio::task::spawn_blocking(move || {
            builder.update(&piece);
            builder
        });
        builder = work.await.map_err(|_| BlobError::Interrupted)?;
    }
    builder.finish().ok_or(PieceError::Layout(root))
}

/// A range of a file that is kept in blocks.
pub(crate) fn file(
    blocks: Blocks,
    root: Cid,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, PieceError>> {
    let walk = FileWalk::new(root, range, Limits::default());
    stream::try_unfold((blocks, walk), |(mut blocks, mut walk)| async move {
        while let Some(cid) = walk.wanted().copied() {
            let block = blocks.get(&cid).await?;
            let bytes = walk.supply(&block)?;
            if !bytes.is_empty() {
                let bytes = block.slice_ref(bytes);
                return Ok(Some((bytes, (blocks, walk))));
            }
        }
        Ok(None)
    })
}

/// Everything below `root` as an archive of version 1: each block once, parents first. `room` is held until
/// its end.
pub(crate) fn car<R: Send>(
    blocks: Blocks,
    root: Cid,
    room: R,
) -> impl Stream<Item = Result<Bytes, PieceError>> {
    let header = Bytes::from(CarHeader::new(vec![root]).encode());
    let walk = DagWalk::new(root, Limits::default());
    let state = (Some(header), blocks, walk, room);
    stream::try_unfold(state, |(header, mut blocks, mut walk, room)| async move {
        if header.is_some() {
            return Ok(header.map(|header| (header, (None, blocks, walk, room))));
        }
        while let Some(cid) = walk.wanted().copied() {
            let block = blocks.get(&cid).await?;
            walk.supply(&block)?;
            if cid.inline_block().is_none() {
                let mut section = BytesMut::from(&car_section_head(&cid, block.len())[..]);
                section.extend_from_slice(&block);
                return Ok(Some((section.freeze(), (None, blocks, walk, room))));
            }
        }
        Ok(None)
    })
}

/// Everything below `root` as a tar, as `ipfs get` gives it: below a folder with the name of the CID.
pub(crate) fn tar(blocks: Blocks, root: Cid, name: String) -> impl Stream<Item = Result<Bytes, PieceError>> {
    struct State {
        blocks: Blocks,
        walk: TreeWalk,
        name: String,
        bytes: u64,
        /// Zeros that end the file that came last.
        padding: usize,
        ended: bool,
    }
    let limits = Limits { entries: TAR_ENTRIES, ..Limits::default() };
    let walk = TreeWalk::new(root, limits);
    let state = State { blocks, walk, name, bytes: 0, padding: 0, ended: false };
    stream::try_unfold(state, |mut state| async move {
        let mut out = BytesMut::new();
        while let Some(cid) = state.walk.wanted().copied() {
            let block = state.blocks.get(&cid).await?;
            for item in state.walk.supply(&block)? {
                let path = |path: &str| match path {
                    "" => state.name.clone(),
                    path => format!("{}/{path}", state.name),
                };
                match item {
                    TreeItem::Bytes(bytes) => out.extend_from_slice(bytes),
                    TreeItem::File { path: at, size } => {
                        out.resize(out.len() + state.padding, 0);
                        state.padding = tar::padding(size);
                        state.bytes = state.bytes.saturating_add(size);
                        tar::head(&path(&at), tar::Entry::File(size), &mut out);
                    }
                    TreeItem::Directory { path: at } => {
                        out.resize(out.len() + std::mem::take(&mut state.padding), 0);
                        tar::head(&path(&at), tar::Entry::Directory, &mut out);
                    }
                    TreeItem::Symlink { path: at, target } => {
                        out.resize(out.len() + std::mem::take(&mut state.padding), 0);
                        tar::head(&path(&at), tar::Entry::Symlink(&target), &mut out);
                    }
                }
            }
            if state.bytes > TAR_BYTES {
                return Err(PieceError::TooMuch);
            }
            if !out.is_empty() {
                return Ok(Some((out.freeze(), state)));
            }
        }
        if state.ended {
            return Ok(None);
        }
        state.ended = true;
        out.resize(state.padding + tar::END, 0);
        Ok(Some((out.freeze(), state)))
    })
}
