//! Single blocks of what is kept here, for peers that ask for them.
//!
//! There is no index of all blocks. Whoever fetches a tree begins with its root, whose CID is the name of a
//! file or an archive here: that is opened, and its blocks are found from then on, as long as it is among
//! those that were used lately. An archive has an index; of plain bytes one is made, for which all of
//! them are hashed once. A peer that asks for a block in the middle of a tree that was not opened lately is
//! told that it is not here, until it asks for the root.

use std::collections::VecDeque;
use std::sync::Arc;

use aleph_blobs::Blob;
use aleph_cid::{Cid, Codec, FileMap, MAX_BLOCK};
use aleph_p2p::BlockSource;
use aleph_types::ItemHash;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::archive::Archive;
use super::pieces::{PieceError, map_of};
use super::{Files, Opened, named};

/// Trees that are open, and bytes of memory for their indexes. Each holds a file open.
const MOST_TREES: usize = 256;
const MOST_BYTES: usize = 64 << 20;

/// Memory of a block in the map of a file, about.
const MAPPED: usize = 100;

/// Trees that are opened at once; those of one name one after another.
const OPENERS: usize = 16;

/// A file or archive whose blocks can be found.
#[derive(Debug)]
enum Tree {
    Archive(Archive),
    File { blob: Blob, map: FileMap },
}

impl Tree {
    fn has(&self, cid: &Cid) -> bool {
        match self {
            Self::Archive(archive) => archive.has(cid),
            Self::File { map, .. } => map.leaf(cid).is_some() || map.node(cid).is_some(),
        }
    }

    async fn block(&self, cid: &Cid) -> Result<Option<Bytes>, PieceError> {
        match self {
            Self::Archive(archive) => Ok(archive.block(cid).await?),
            Self::File { blob, map } => match map.leaf(cid) {
                Some(place) => Ok(Some(map.leaf_block(&blob.read_at(place).await?).into())),
                None => Ok(map.node(cid).map(Bytes::copy_from_slice)),
            },
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Archive(archive) => archive.index_bytes(),
            Self::File { map, .. } => map.blocks() * MAPPED,
        }
    }
}

/// The trees that were used lately, the last one first.
#[derive(Debug, Default)]
pub(super) struct Trees {
    open: Mutex<VecDeque<(ItemHash, Arc<Tree>)>>,
    openers: [tokio::sync::Mutex<()>; OPENERS],
}

impl Trees {
    fn find(&self, cid: &Cid) -> Option<Arc<Tree>> {
        let mut open = self.open.lock();
        let at = open.iter().position(|(_, tree)| tree.has(cid))?;
        let found = open.remove(at)?;
        let tree = Arc::clone(&found.1);
        open.push_front(found);
        Some(tree)
    }

    fn keep(&self, name: ItemHash, tree: &Arc<Tree>) {
        let mut open = self.open.lock();
        open.retain(|(other, _)| *other != name);
        open.push_front((name, Arc::clone(tree)));
        let mut bytes: usize = open.iter().map(|(_, tree)| tree.weight()).sum();
        // The one that was just opened stays, whatever it takes.
        while (open.len() > MOST_TREES || bytes > MOST_BYTES)
            && open.len() > 1
            && let Some((_, last)) = open.pop_back()
        {
            bytes -= last.weight();
        }
    }

    /// What was collected is held open no longer.
    pub(super) fn forget(&self, name: &ItemHash) {
        self.open.lock().retain(|(other, _)| other != name);
    }
}

impl Files {
    /// A block, if it belongs to something that is here.
    async fn find_block(&self, cid: &Cid) -> Result<Option<Bytes>, PieceError> {
        if let Some(tree) = self.trees.find(cid) {
            return tree.block(cid).await;
        }
        let Some(name) = named(cid) else { return Ok(None) };
        if cid.codec() == Codec::Raw {
            // A whole file, known by its SHA-256.
            return match self.open(&name).await? {
                Some(Opened::File(blob)) if blob.size() <= MAX_BLOCK as u64 => {
                    Ok(Some(blob.read_at(0..blob.size()).await?))
                }
                _ => Ok(None),
            };
        }
        match self.open_tree(cid, name).await? {
            Some(tree) => tree.block(cid).await,
            None => Ok(None),
        }
    }

    async fn open_tree(&self, root: &Cid, name: ItemHash) -> Result<Option<Arc<Tree>>, PieceError> {
        let Some(opener) = root.digest().map(|digest| usize::from(digest[31]) % OPENERS) else {
            return Ok(None);
        };
        let _turn = self.trees.openers[opener].lock().await;
        // Somebody may have opened it meanwhile.
        if let Some(tree) = self.trees.find(root) {
            return Ok(Some(tree));
        }
        let tree = match self.open(&name).await? {
            None => return Ok(None),
            Some(Opened::Archive(archive)) => Tree::Archive(archive),
            Some(Opened::File(blob)) => {
                let map = map_of(&blob, *root, &self.maps).await?;
                Tree::File { blob, map }
            }
        };
        let tree = Arc::new(tree);
        self.trees.keep(name, &tree);
        Ok(Some(tree))
    }

    async fn has_block(&self, cid: &Cid) -> Result<bool, PieceError> {
        if self.trees.find(cid).is_some() {
            return Ok(true);
        }
        let Some(name) = named(cid) else { return Ok(false) };
        if cid.codec() == Codec::Raw {
            let opened = self.open(&name).await?;
            return Ok(matches!(opened, Some(Opened::File(blob)) if blob.size() <= MAX_BLOCK as u64));
        }
        Ok(self.contains(&name).await?)
    }
}

impl BlockSource for Files {
    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Option<Bytes>> {
        async move {
            let block = match self.find_block(cid).await {
                Ok(block) => block?,
                Err(error) => {
                    tracing::warn!(%cid, %error, "a block can't be read");
                    return None;
                }
            };
            if cid.matches(&block) {
                return Some(block);
            }
            tracing::error!(%cid, "a stored file is damaged: its block is not given to peers");
            None
        }
        .boxed()
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, bool> {
        async move {
            self.has_block(cid).await.unwrap_or_else(|error| {
                tracing::warn!(%cid, %error, "a block can't be looked up");
                false
            })
        }
        .boxed()
    }
}
