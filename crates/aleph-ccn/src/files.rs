//! What this node keeps under hashes of every kind: files by SHA-256, files and directories by CID.
//!
//! * A file whose bytes came whole is kept as they are, whatever it is called. Its blocks are made again from
//!   them when somebody asks for an archive.
//! * What came as an archive is kept as it came, with an index of its blocks behind it ([`archive`]): every
//!   block was checked, and it holds the tree of its root and nothing else.
//! * A CID has several texts. Messages keep the one that they were written with; here all of them lead to one
//!   file, which has the name [`canonical`] gives.

pub(crate) mod archive;
mod blocks;
mod kubo;
pub(crate) mod pieces;
mod tar;
mod verifier;

use std::collections::HashSet;
use std::sync::Arc;

use aleph_blobs::{Blob, BlobError, BlobStore, BlobWriter, S3Options, Withdrawal, Withdrawn};
use aleph_cid::{Cid, Codec, Layout, Version};
use aleph_rules::{FileInfo, FileKind};
use aleph_types::{HashKind, ItemHash};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::{FilesConfig, IpfsConfig, StorageConfig};
use archive::{Archive, ArchiveWriter, Indexes};
use blocks::Trees;
pub(crate) use kubo::Kubo;
use verifier::CidVerifier;

/// Different blocks of all archives together that are on their way in or out: about 100 bytes of memory each.
/// As many as eight of the largest archives have, or hundreds of ordinary ones.
const BLOCKS_AT_ONCE: usize = 8 * aleph_cid::MAX_INDEXED;

/// KiB of all folders together that are being added.
const ADDED_AT_ONCE: usize = 128 * 1024;

/// Contents that others are told of.
const MOST_TOLD: usize = 16_384;

/// Files whose blocks are looked for at once: all of their bytes are hashed.
const MAPS: usize = 2;

/// The files of the node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    blobs: BlobStore,
    archives: BlobStore,
    indexes: Indexes,
    trees: Arc<Trees>,
    imports: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    additions: Arc<Semaphore>,
    maps: Arc<Semaphore>,
    limits: IpfsConfig,
    kubo: Option<Kubo>,
}

/// Something that is here, ready to be read.
#[derive(Debug, Clone)]
pub(crate) enum Opened {
    /// Plain bytes.
    File(Blob),
    /// A file or directory in blocks.
    Archive(Archive),
}

/// The name under which a file is kept, whatever text of its CID is given: that of version 0 where there is
/// one.
pub(crate) fn canonical(hash: &ItemHash) -> ItemHash {
    name_of(hash).unwrap_or_else(|| hash.clone())
}

fn name_of(hash: &ItemHash) -> Option<ItemHash> {
    Cid::try_from(hash).ok()?.to_v0().ok()?.to_item_hash().ok()
}

/// Every text that messages may know the same file by; the given one first.
pub(crate) fn forms(hash: &ItemHash) -> Vec<ItemHash> {
    let mut forms = vec![hash.clone()];
    if let Ok(cid) = Cid::try_from(hash) {
        for other in [cid.to_v0().ok(), Some(cid.to_v1())].into_iter().flatten() {
            if let Ok(other) = other.to_item_hash()
                && !forms.contains(&other)
            {
                forms.push(other);
            }
        }
    }
    forms
}

/// The name of what a CID leads to; none for one that messages can't name. A raw block has the name of a file
/// by SHA-256.
pub(crate) fn named(cid: &Cid) -> Option<ItemHash> {
    match cid.codec() {
        Codec::Raw => cid.block_hash(),
        _ => cid.to_v0().unwrap_or(*cid).to_item_hash().ok(),
    }
}

/// Opens the place that the settings name.
///
/// # Errors
/// The folder can't be made, or the settings of the object store can't be used.
pub(crate) fn open_blobs(storage: &StorageConfig, files: &FilesConfig) -> Result<BlobStore, OpenError> {
    let Some(s3) = &files.s3 else { return Ok(BlobStore::open(storage.blobs())?) };
    let secret = match &s3.secret_key_file {
        None => None,
        Some(path) => {
            let path = storage.data_dir.join(path);
            let secret = std::fs::read_to_string(&path)
                .map_err(|source| OpenError::Secret { path: path.clone(), source })?;
            Some(secret.trim().to_owned())
        }
    };
    let options = S3Options {
        endpoint: s3.endpoint.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        region: s3.region.clone(),
        access_key_id: s3.access_key_id.clone(),
        secret_access_key: secret,
    };
    Ok(BlobStore::open_s3(&options)?)
}

/// Why the place of files can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The place itself.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The file with the secret key of the object store.
    #[error("the secret key of 'files.s3' can't be read from '{}': name a file that the node may read", path.display())]
    Secret {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Files {
    pub(crate) fn new(blobs: BlobStore, ipfs: &IpfsConfig, client: &reqwest::Client) -> Self {
        Self {
            archives: blobs.archives(),
            blobs,
            indexes: Indexes::default(),
            trees: Arc::default(),
            imports: Arc::new(Semaphore::new(BLOCKS_AT_ONCE)),
            exports: Arc::new(Semaphore::new(BLOCKS_AT_ONCE)),
            additions: Arc::new(Semaphore::new(ADDED_AT_ONCE)),
            maps: Arc::new(Semaphore::new(MAPS)),
            limits: ipfs.clone(),
            kubo: ipfs.kubo.as_deref().map(|url| Kubo::new(url, client.clone())),
        }
    }

    /// What uploads and fetches under CIDs may have.
    pub(crate) fn limits(&self) -> &IpfsConfig {
        &self.limits
    }

    /// The node of IPFS beside this one.
    pub(crate) fn kubo(&self) -> Option<&Kubo> {
        self.kubo.as_ref()
    }

    /// Plain bytes that will be known by their SHA-256.
    pub(crate) fn writer(&self, limit: u64) -> BlobWriter {
        self.blobs.writer(limit)
    }

    /// Plain bytes that will be known by a CID: as `ipfs add` gives it in version 0, or in version 1 if that
    /// is the one that is expected at the end.
    pub(crate) fn cid_writer(&self, limit: u64) -> BlobWriter {
        let verifier = CidVerifier::new(&[Layout::KUBO_V0, Layout::KUBO_V1]);
        self.blobs.writer_with(limit, Box::new(verifier))
    }

    /// Plain bytes that should have a CID; every layout that is in use is tried.
    pub(crate) fn check_writer(&self, limit: u64, expected: &Cid) -> BlobWriter {
        let raw = Layout::KUBO_V0.with_raw_leaves(true);
        let mut layouts = vec![Layout::KUBO_V0, Layout::KUBO_V1, Layout::UNIXFS_V1_2025];
        if expected.version() == Version::V0 {
            layouts.push(raw);
        } else {
            layouts.push(Layout::KUBO_V1.with_raw_leaves(false));
        }
        self.blobs.writer_with(limit, Box::new(CidVerifier::new(&layouts)))
    }

    /// An archive on its way in.
    pub(crate) fn archive_writer(&self, limit: u64) -> ArchiveWriter {
        ArchiveWriter::new(&self.archives, limit, Arc::clone(&self.imports))
    }

    /// Room for an answer that remembers so many blocks; none when there is none now.
    pub(crate) fn export(&self, blocks: u64) -> Option<OwnedSemaphorePermit> {
        let blocks = u32::try_from(blocks).ok()?;
        Arc::clone(&self.exports).try_acquire_many_owned(blocks).ok()
    }

    /// Room for so many bytes of a folder that is being added; none when there is none now.
    pub(crate) fn addition(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.additions).try_acquire_many_owned(kib).ok()
    }

    /// Gives what was stored to the node of IPFS beside this one, if there is one, in the background.
    pub(crate) fn hand_over(&self, hash: &ItemHash, stopping: &CancellationToken) {
        let Some(kubo) = self.kubo.clone().filter(|_| hash.kind() == HashKind::Ipfs) else { return };
        let Some(place) = kubo.place() else {
            tracing::warn!(cid = %hash, "the IPFS node is too slow: the rest of IPFS does not get it from here");
            return;
        };
        let (files, hash, stopping) = (self.clone(), hash.clone(), stopping.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = stopping.cancelled() => {}
                given = kubo.give(&files, &hash) => match given {
                    Ok(()) => tracing::debug!(cid = %hash, "handed to the IPFS node"),
                    Err(error) => {
                        tracing::warn!(cid = %hash, %error, "the rest of IPFS does not get it from here");
                    }
                },
            }
        });
    }

    /// What is here under `hash`, or under another text of the same CID.
    pub(crate) async fn open(&self, hash: &ItemHash) -> Result<Option<Opened>, BlobError> {
        // The texts of envelopes may hold anything; such a one names no file.
        if ItemHash::parse(hash.as_str()).is_err() {
            return Ok(None);
        }
        let name = canonical(hash);
        if let Some(blob) = self.blobs.find(&name).await? {
            return Ok(Some(Opened::File(blob)));
        }
        let Ok(root) = Cid::try_from(hash) else { return Ok(None) };
        let Some(blob) = self.archives.find(&name).await? else { return Ok(None) };
        let archive = Archive::open(root, name, blob, self.indexes.clone()).await?;
        Ok(archive.map(Opened::Archive))
    }

    /// Whether `hash` is here.
    pub(crate) async fn contains(&self, hash: &ItemHash) -> Result<bool, BlobError> {
        let name = canonical(hash);
        let is_cid = hash.kind() == HashKind::Ipfs;
        Ok(self.blobs.contains(&name).await? || is_cid && self.archives.contains(&name).await?)
    }

    /// Size and kind of what is here under `hash`; on the calling thread.
    pub(crate) fn info_sync(&self, hash: &ItemHash) -> Result<Option<FileInfo>, BlobError> {
        let name = canonical(hash);
        if let Some(size) = self.blobs.size_sync(&name)? {
            return Ok(Some(FileInfo { size, kind: FileKind::File }));
        }
        if hash.kind() != HashKind::Ipfs {
            return Ok(None);
        }
        let Some(blob) = self.archives.find_sync(&name)? else { return Ok(None) };
        archive::info_sync(&blob)
    }

    /// The bytes of a file of at most `cap` bytes; on the calling thread. None for what is not here, and for
    /// directories.
    pub(crate) fn read_sync(&self, hash: &ItemHash, cap: u64) -> Result<Option<Bytes>, BlobError> {
        let name = canonical(hash);
        if let Some(bytes) = self.blobs.read_sync(&name, cap)? {
            return Ok(Some(bytes));
        }
        let Ok(root) = Cid::try_from(hash) else { return Ok(None) };
        let Some(blob) = self.archives.find_sync(&name)? else { return Ok(None) };
        archive::read_sync(&root, &blob, cap)
    }

    /// Takes what is here under `hash` out, unless it was stored less than `idle` ago; on the calling thread.
    pub(crate) fn withdraw_sync(
        &self,
        hash: &ItemHash,
        idle: std::time::Duration,
    ) -> Result<Taken, BlobError> {
        let name = canonical(hash);
        let mut taken = Vec::new();
        let stores =
            if hash.kind() == HashKind::Ipfs { &[&self.blobs, &self.archives][..] } else { &[&self.blobs] };
        for store in stores {
            match store.withdraw_sync(&name, idle)? {
                Withdrawal::Absent => {}
                // What was taken before comes back.
                Withdrawal::InUse => return Ok(Taken::InUse),
                Withdrawal::Done(withdrawn) => taken.push(withdrawn),
            }
        }
        self.indexes.forget(&name);
        self.trees.forget(&name);
        Ok(Taken::Out(taken))
    }

    /// The CIDs of what is here, as many as are told to others; on the calling thread.
    pub(crate) fn roots(&self) -> HashSet<Cid> {
        let names = self.blobs.iter().chain(self.archives.iter()).filter_map(Result::ok);
        let cids = names
            .filter(|(name, _)| name.kind() == HashKind::Ipfs)
            .filter_map(|(name, _)| Cid::try_from(&name).ok());
        cids.take(MOST_TOLD).collect()
    }

    /// Room for another file whose blocks are looked for.
    pub(crate) fn maps(&self) -> Arc<Semaphore> {
        Arc::clone(&self.maps)
    }

    /// Whether files can be stored now.
    pub(crate) async fn check(&self) -> Result<(), BlobError> {
        self.blobs.check().await
    }
}

/// What became of a file that was to be taken out.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Somebody stored it again a moment ago: it stays.
    InUse,
    /// It can't be read any more. Dropped, it comes back.
    Out(Vec<Withdrawn>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_cid_leads_to_one_name() {
        let parse = |text: &str| ItemHash::parse(text).unwrap();
        let v0 = parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
        let v1 = parse("bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y");
        assert_eq!((canonical(&v0), canonical(&v1)), (v0.clone(), v0.clone()));
        assert_eq!((forms(&v0), forms(&v1)), (vec![v0.clone(), v1.clone()], vec![v1, v0]));
        let storage = ItemHash::sha256(b"x");
        assert_eq!((canonical(&storage), forms(&storage)), (storage.clone(), vec![storage.clone()]));
        // The right shape, and no CID.
        let shape = parse(&format!("Qm{}", "1".repeat(42)));
        assert_eq!((canonical(&shape), forms(&shape)), (shape.clone(), vec![shape]));
        assert_eq!(named(&Cid::v1(Codec::Raw, b"x")), Some(storage));
        let cbor = Cid::v1(Codec::DagCbor, &[0xf6]);
        assert_eq!(named(&cbor).unwrap().as_str(), cbor.to_string());
    }
}
