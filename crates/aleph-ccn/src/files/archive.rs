//! Archives as they are kept: the CAR as it came, the places of its blocks, and a few numbers at the end.
//!
//! ```text
//! CAR │ digest (32) offset (8) length (4), for each block, by digest │ magic (8) CAR's bytes (8)
//!     │                                                              │ blocks (8) size (8) kind (8)
//! ```
//! Numbers are little-endian.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use aleph_blobs::{Blob, BlobError, BlobStore, BlobWriter, Verifier};
use aleph_cid::{
    BlockSource, CarIndex, CarIndexer, CarLimits, Cid, CidError, IndexEntry, IndexError, Limits, NodeKind,
    SourceError, read_file,
};
use aleph_rules::{FileInfo, FileKind};
use aleph_types::ItemHash;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MAGIC: &[u8; 8] = b"alephcar";
const TRAILER: u64 = 40;
const ENTRY: u64 = 44;

/// Bytes of indexes that are kept in memory for the next request.
const KEPT: usize = 16 << 20;

/// Blocks for which room is made at a time.
const ROOM: usize = 1024;

/// Entries of an index that are written at a time.
const WRITTEN: usize = 8192;

/// Why an archive was not taken in. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// It is not what is taken here.
    #[error(transparent)]
    Archive(#[from] IndexError),
    /// It is another one than was announced.
    #[error("its root is {root}, not {expected}")]
    WrongRoot {
        /// What it holds.
        root: Box<Cid>,
        /// What was expected.
        expected: Box<Cid>,
    },
    /// Messages can't name its root.
    #[error(transparent)]
    Name(#[from] CidError),
    /// Too many are on their way in.
    #[error("this node takes in as many blocks as it can: come back in a moment")]
    Busy,
    /// It can't be stored.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// What the archive's writer and its verifier share.
#[derive(Debug)]
struct Progress {
    /// None once the archive has ended, or was refused.
    indexer: Option<CarIndexer>,
    error: Option<IndexError>,
    /// The name that it gets.
    name: Option<ItemHash>,
}

/// An archive on its way in: checked and indexed while it is written.
#[derive(Debug)]
pub(crate) struct ArchiveWriter {
    writer: BlobWriter,
    progress: Arc<Mutex<Progress>>,
    limit: u64,
    /// Room for the blocks that it remembers, and where more comes from.
    room: Option<OwnedSemaphorePermit>,
    rooms: Arc<Semaphore>,
}

#[derive(Debug)]
struct ArchiveVerifier(Arc<Mutex<Progress>>);

impl Verifier for ArchiveVerifier {
    fn update(&mut self, block: &[u8]) {
        let mut progress = self.0.lock();
        let Some(indexer) = &mut progress.indexer else { return };
        if let Err(error) = indexer.update(block) {
            progress.indexer = None;
            progress.error = Some(error);
        }
    }

    fn finish(self: Box<Self>, _: Option<&ItemHash>) -> ItemHash {
        // Without a name nothing was expected that this could be.
        self.0.lock().name.take().unwrap_or_else(|| ItemHash::sha256(b""))
    }
}

impl ArchiveWriter {
    pub(super) fn new(archives: &BlobStore, limit: u64, rooms: Arc<Semaphore>) -> Self {
        let limits = CarLimits { bytes: limit, ..CarLimits::default() };
        let indexer = Some(CarIndexer::new(limits));
        let progress = Arc::new(Mutex::new(Progress { indexer, error: None, name: None }));
        let index = aleph_cid::MAX_INDEXED as u64 * ENTRY + TRAILER;
        let verifier = Box::new(ArchiveVerifier(Arc::clone(&progress)));
        let writer = archives.writer_with(limit.saturating_add(index), verifier);
        Self { writer, progress, limit, room: None, rooms }
    }

    /// Bytes of the archive so far.
    pub(crate) fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What came before is refused, or can't be stored.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), ImportError> {
        if self.written().saturating_add(chunk.len() as u64) > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit }.into());
        }
        self.writer.write(chunk).await?;
        self.refusal()?;
        self.make_room()
    }

    /// Slow clients hold no more than what they have sent takes.
    fn make_room(&mut self) -> Result<(), ImportError> {
        let needed = self.progress.lock().indexer.as_ref().map_or(0, CarIndexer::digests);
        let has = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= has {
            return Ok(());
        }
        let more = u32::try_from((needed - has).next_multiple_of(ROOM)).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.rooms).try_acquire_many_owned(more).map_err(|_| ImportError::Busy)?;
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        Ok(())
    }

    fn refusal(&self) -> Result<(), ImportError> {
        self.progress.lock().error.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends the archive, which must be the one of `expected`; size and kind of what it holds.
    pub(crate) async fn finish(mut self, expected: Option<&Cid>) -> Result<FileInfo, ImportError> {
        self.writer.pass().await?;
        self.refusal()?;
        self.make_room()?;
        let indexer = self.progress.lock().indexer.take().ok_or(BlobError::Interrupted)?;
        if let (Some(expected), Some(header)) = (expected, indexer.header())
            && let [root] = header.roots()
            && !root.is_same_block(expected)
        {
            return Err(ImportError::WrongRoot { root: Box::new(*root), expected: Box::new(*expected) });
        }
        let index = tokio::task::spawn_blocking(move || indexer.finish()).await;
        let index = index.map_err(|_| BlobError::Interrupted)??;
        let name = index.root.to_v0().unwrap_or(index.root).to_item_hash()?;
        let info = info_of(&index);
        for entries in index.blocks.chunks(WRITTEN) {
            self.writer.write(&entries.iter().flat_map(encoded).collect::<Vec<u8>>()).await?;
        }
        let kind = match info.kind {
            FileKind::File => 0u64,
            FileKind::Directory => 1,
        };
        let mut trailer = MAGIC.to_vec();
        for number in [index.archive_bytes, index.blocks.len() as u64, info.size, kind] {
            trailer.extend(number.to_le_bytes());
        }
        self.writer.write(&trailer).await?;
        self.progress.lock().name = Some(name.clone());
        self.writer.finish(Some(&name)).await?;
        Ok(info)
    }
}

/// What the record of an archive says. A file has the size of its content, a directory what it and everything
/// below takes (`spec: messages.md §15`): as its links say, which may be a lie, but no less than its different
/// blocks have.
fn info_of(index: &CarIndex) -> FileInfo {
    match index.stat.kind {
        NodeKind::File => FileInfo { size: index.stat.size, kind: FileKind::File },
        NodeKind::Directory | NodeKind::Symlink | NodeKind::Other => {
            let size = index.stat.cumulative_size.max(index.block_bytes).min(i64::MAX.unsigned_abs());
            FileInfo { size, kind: FileKind::Directory }
        }
    }
}

fn encoded(entry: &IndexEntry) -> impl Iterator<Item = u8> + use<> {
    let (digest, offset, len) = (entry.digest, entry.offset.to_le_bytes(), entry.len.to_le_bytes());
    digest.into_iter().chain(offset).chain(len)
}

/// The numbers at the end.
#[derive(Debug, Clone, Copy)]
struct Trailer {
    archive_bytes: u64,
    blocks: u64,
    info: FileInfo,
}

impl Trailer {
    /// None for a file that is no archive of this form.
    fn read(bytes: &[u8], size: u64) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if bytes.get(..8)? != MAGIC {
            return None;
        }
        let (archive_bytes, blocks, content, kind) = (number(8)?, number(16)?, number(24)?, number(32)?);
        let index = blocks.checked_mul(ENTRY)?;
        if archive_bytes.checked_add(index)?.checked_add(TRAILER)? != size {
            return None;
        }
        let kind = if kind == 0 { FileKind::File } else { FileKind::Directory };
        Some(Self { archive_bytes, blocks, info: FileInfo { size: content, kind } })
    }

    fn place(blob: &Blob) -> std::ops::Range<u64> {
        blob.size().saturating_sub(TRAILER)..blob.size()
    }

    fn index(&self) -> std::ops::Range<u64> {
        self.archive_bytes..self.archive_bytes + self.blocks * ENTRY
    }
}

pub(super) fn info_sync(blob: &Blob) -> Result<Option<FileInfo>, BlobError> {
    let trailer = Trailer::read(&blob.read_at_sync(Trailer::place(blob))?, blob.size());
    Ok(trailer.map(|trailer| trailer.info))
}

/// Where a block is, by an index as it is kept.
fn find(index: &[u8], cid: &Cid) -> Option<std::ops::Range<u64>> {
    let digest = cid.digest()?;
    let (entries, _) = index.as_chunks::<{ ENTRY as usize }>();
    let at = entries.binary_search_by(|entry| entry[..32].cmp(&digest)).ok()?;
    let entry = &entries[at];
    let offset = u64::from_le_bytes(entry[32..40].try_into().ok()?);
    let len = u32::from_le_bytes(entry[40..].try_into().ok()?);
    Some(offset..offset.checked_add(u64::from(len))?)
}

/// A file of an archive, whole, on a thread that may block.
pub(super) fn read_sync(root: &Cid, blob: &Blob, cap: u64) -> Result<Option<Bytes>, BlobError> {
    let Some(trailer) = Trailer::read(&blob.read_at_sync(Trailer::place(blob))?, blob.size()) else {
        return Ok(None);
    };
    if trailer.info.kind != FileKind::File {
        return Ok(None);
    }
    if trailer.info.size > cap {
        return Err(BlobError::TooLarge { limit: cap });
    }
    let mut source = Source { index: blob.read_at_sync(trailer.index())?, blob };
    let mut content = Vec::new();
    let limits = Limits { file: cap, ..Limits::default() };
    let read = read_file(&mut source, *root, .., limits, |bytes| {
        content.extend_from_slice(bytes);
        Ok(())
    });
    match read {
        Ok(_) => Ok(Some(content.into())),
        Err(SourceError::Source(error)) => Err(error),
        Err(error) => {
            tracing::error!(cid = %root, %error, "an archive can't be read any more");
            Ok(None)
        }
    }
}

struct Source<'a> {
    index: Bytes,
    blob: &'a Blob,
}

impl BlockSource for Source<'_> {
    type Error = BlobError;

    fn get(&mut self, cid: &Cid) -> Result<Option<Cow<'_, [u8]>>, BlobError> {
        let Some(place) = find(&self.index, cid) else { return Ok(None) };
        Ok(Some(Cow::Owned(self.blob.read_at_sync(place)?.to_vec())))
    }
}

/// Indexes that were read lately: at most [`KEPT`] bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexes(Arc<Mutex<VecDeque<(ItemHash, Bytes)>>>);

impl Indexes {
    fn get(&self, name: &ItemHash) -> Option<Bytes> {
        let mut kept = self.0.lock();
        let at = kept.iter().position(|(of, _)| of == name)?;
        let found = kept.remove(at)?;
        kept.push_front(found.clone());
        Some(found.1)
    }

    fn put(&self, name: &ItemHash, index: &Bytes) {
        let mut kept = self.0.lock();
        kept.retain(|(of, _)| of != name);
        kept.push_front((name.clone(), index.clone()));
        let mut bytes: usize = kept.iter().map(|(_, index)| index.len()).sum();
        while bytes > KEPT
            && let Some((_, last)) = kept.pop_back()
        {
            bytes -= last.len();
        }
    }

    pub(super) fn forget(&self, name: &ItemHash) {
        self.0.lock().retain(|(of, _)| of != name);
    }
}

/// An archive that is here.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    root: Cid,
    blob: Blob,
    trailer: Trailer,
    index: Bytes,
}

impl Archive {
    pub(super) async fn open(
        root: Cid,
        name: ItemHash,
        blob: Blob,
        indexes: Indexes,
    ) -> Result<Option<Self>, BlobError> {
        let end = blob.read_at(Trailer::place(&blob)).await?;
        let Some(trailer) = Trailer::read(&end, blob.size()) else {
            tracing::error!(%name, "an archive is damaged");
            return Ok(None);
        };
        let index = match indexes.get(&name) {
            Some(index) => index,
            None => {
                let index = blob.read_at(trailer.index()).await?;
                indexes.put(&name, &index);
                index
            }
        };
        Ok(Some(Self { root, blob, trailer, index }))
    }

    /// What it is about, under the CID that was asked for.
    pub(crate) fn root(&self) -> Cid {
        self.root
    }

    /// Size and kind of its root.
    pub(crate) fn info(&self) -> FileInfo {
        self.trailer.info
    }

    /// How many different blocks it has.
    pub(crate) fn blocks(&self) -> u64 {
        self.trailer.blocks
    }

    /// Memory that its index takes.
    pub(super) fn index_bytes(&self) -> usize {
        self.index.len()
    }

    /// Whether a block is in it.
    pub(super) fn has(&self, cid: &Cid) -> bool {
        find(&self.index, cid).is_some()
    }

    /// A block of it, to be checked by whoever reads it.
    pub(crate) async fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlobError> {
        match find(&self.index, cid) {
            Some(place) => self.blob.read_at(place).await.map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use aleph_cid::{FileBuilder, Layout, MemoryBlocks, export_car};

    use super::*;

    #[tokio::test]
    async fn what_is_remembered_takes_room_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let archives = BlobStore::open(folder.path()).unwrap().archives();
        let content: Vec<u8> = (0..3000u32).flat_map(u32::to_le_bytes).collect();
        let mut blocks = MemoryBlocks::default();
        let mut builder = FileBuilder::new(Layout::KUBO_V1.with_chunk(4).unwrap());
        builder.update(&content, &mut blocks).unwrap();
        let root = builder.finish(&mut blocks).unwrap().cid;
        let mut car = Vec::new();
        let exported = export_car(&mut blocks, root, Limits::default(), |bytes| {
            car.extend_from_slice(bytes);
            Ok(())
        });
        assert!(exported.is_ok());
        for (room, fits) in [(3 * ROOM, true), (2 * ROOM, false)] {
            let rooms = Arc::new(Semaphore::new(room));
            let mut writer = ArchiveWriter::new(&archives, 1 << 20, Arc::clone(&rooms));
            for piece in car.chunks(10_000) {
                writer.write(piece).await.unwrap();
            }
            let finished = writer.finish(Some(&root)).await;
            assert_eq!(finished.is_ok(), fits);
            assert_eq!(matches!(finished, Err(ImportError::Busy)), !fits);
            assert_eq!(rooms.available_permits(), room);
        }
        // What is kept is read as it came.
        let name = root.to_v0().unwrap().to_item_hash().unwrap();
        let blob = archives.find(&name).await.unwrap().unwrap();
        assert_eq!(read_sync(&root, &blob, 12_000).unwrap().unwrap(), content);
        assert!(matches!(read_sync(&root, &blob, 11_999), Err(BlobError::TooLarge { .. })));
        let archive = Archive::open(root, name, blob, Indexes::default()).await.unwrap().unwrap();
        for (cid, block) in blocks.iter() {
            assert_eq!(archive.block(cid).await.unwrap().unwrap(), block);
        }
        assert_eq!(archive.block(&Cid::v0(b"another")).await.unwrap(), None);
    }

    #[test]
    fn indexes_are_kept_up_to_a_size() {
        let indexes = Indexes::default();
        let name = |number: usize| ItemHash::sha256(&number.to_le_bytes());
        for number in 0..40 {
            indexes.put(&name(number), &Bytes::from(vec![0; 1 << 20]));
            // The one that is used stays.
            assert!(indexes.get(&name(0)).is_some());
        }
        assert_eq!(indexes.0.lock().len(), KEPT >> 20);
        indexes.forget(&name(0));
        assert!(indexes.get(&name(0)).is_none() && indexes.get(&name(39)).is_some());
    }

    #[test]
    fn what_is_no_trailer_is_none() {
        let mut good = MAGIC.to_vec();
        for number in [100u64, 2, 7, 1] {
            good.extend(number.to_le_bytes());
        }
        let size = 100 + 2 * ENTRY + TRAILER;
        let read = Trailer::read(&good, size).unwrap();
        assert_eq!(
            (read.info.size, read.info.kind, read.index()),
            (7, FileKind::Directory, 100..100 + 2 * ENTRY)
        );
        assert!(Trailer::read(&good, size + 1).is_none() && Trailer::read(&good[..39], size).is_none());
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Trailer::read(&huge, size).is_none());
        good[0] = 0;
        assert!(Trailer::read(&good, size).is_none());
    }
}
