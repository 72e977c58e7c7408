//! Trees that came in part: what was verified stays on disk, and the next try goes on behind it.
//!
//! One file for each root, an archive (CAR) whose blocks stand in the order in which a
//! [`DagWalk`] visits them: so it shows by itself how far it is. It is read from its beginning when a
//! fetch starts, each block is checked again, and what is behind the last good one is cut off. Nothing has
//! to be synchronised, and a torn end costs one block.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aleph_cid::{CarHeader, Cid, DagWalk, Limits, MAX_BLOCK, ReadError, car_section_head};
use bytes::Bytes;
use parking_lot::Mutex;

/// What nobody went on with for this long is thrown away.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Why a tree can't be kept in part.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartialError {
    #[error("it is being fetched already")]
    Busy,
    #[error("its blocks are no tree that is kept here")]
    Tree(#[from] ReadError),
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("the folder of partial files can't be used")]
    Io(#[from] io::Error),
    #[error("this node is ending")]
    Ending,
}

/// Blocks by the SHA-256 of their bytes.
pub(super) type Arrived = HashMap<[u8; 32], Bytes>;

/// The folder of trees that came in part.
#[derive(Debug, Clone)]
pub(super) struct Partials {
    folder: PathBuf,
    /// Bytes of all of them together; the oldest go first.
    most: u64,
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

/// A place in the folder, for one fetch at a time.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.path);
    }
}

/// A tree that came in part, to go on with.
#[derive(Debug)]
pub(super) struct Partial {
    place: Place,
    file: BufWriter<File>,
    walk: DagWalk,
    bytes: u64,
    most: u64,
}

impl Partials {
    pub(super) fn new(folder: PathBuf, most: u64) -> Self {
        Self { folder, most, busy: Arc::default() }
    }

    /// What is here of `root`, nothing at first. At most `most` bytes may come to it.
    pub(super) async fn open(&self, root: Cid, most: u64) -> Result<Partial, PartialError> {
        let partials = self.clone();
        let work = tokio::task::spawn_blocking(move || partials.open_sync(root, most));
        work.await.map_err(|_| PartialError::Ending)?
    }

    fn open_sync(&self, root: Cid, most: u64) -> Result<Partial, PartialError> {
        fs::create_dir_all(&self.folder)?;
        // All texts of a CID lead to one tree.
        let path = self.folder.join(format!("{}.car", root.to_v1()));
        if !self.busy.lock().insert(path.clone()) {
            return Err(PartialError::Busy);
        }
        let place = Place { path, busy: Arc::clone(&self.busy) };
        self.tidy();
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&place.path)?;
        let mut walk = DagWalk::new(root, Limits::default());
        let good = replay(&options, root, &mut walk)?;
        options.set_len(good)?;
        let mut file = BufWriter::with_capacity(1 << 20, options);
        file.seek(SeekFrom::Start(good))?;
        let mut partial = Partial { place, file, walk, bytes: good, most };
        if good == 0 {
            let header = CarHeader::new(vec![root]).encode();
            partial.file.write_all(&header)?;
            partial.bytes = header.len() as u64;
        }
        Ok(partial)
    }

    /// Throws away what is old, and the oldest when all together have too many bytes.
    fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut all: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (modified, bytes, path) in files {
            let is_old = modified.elapsed().is_ok_and(|age| age > KEPT_FOR);
            if (is_old || all > self.most) && !self.busy.lock().contains(&path) {
                remove(&path);
                all = all.saturating_sub(bytes);
            }
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a partial file can't be removed");
    }
}

/// Gives the blocks of a file to the walk; says how many bytes of it are good.
fn replay(file: &File, root: Cid, walk: &mut DagWalk) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let header = CarHeader::new(vec![root]).encode();
    let mut start = vec![0; header.len()];
    if read_whole(&mut reader, &mut start)?.is_none() || start != header {
        return Ok(0);
    }
    let mut good = header.len() as u64;
    let mut block = Vec::new();
    while let Some(cid) = walk.wanted().copied() {
        if let Some(inline) = cid.inline_block() {
            // Checked when it was met first.
            if walk.supply(inline).is_err() {
                break;
            }
            continue;
        }
        let Some(len) = read_section(&mut reader, &cid, &mut block)? else { break };
        if walk.supply(&block).is_err() {
            break;
        }
        good += len;
    }
    Ok(good)
}

/// The section of the block that comes next, as long as it is whole; its bytes in the file.
fn read_section(reader: &mut impl Read, cid: &Cid, block: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut len = 0usize;
    let mut head = 0u64;
    for index in 0..4 {
        let mut byte = [0];
        if read_whole(reader, &mut byte)?.is_none() {
            return Ok(None);
        }
        head += 1;
        len |= usize::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let name = cid.to_bytes();
    if !(name.len()..=name.len() + MAX_BLOCK).contains(&len) {
        return Ok(None);
    }
    block.resize(len, 0);
    if read_whole(reader, block)?.is_none() || !block.starts_with(&name) {
        return Ok(None);
    }
    block.drain(..name.len());
    Ok(Some(head + len as u64))
}

fn read_whole(reader: &mut impl Read, into: &mut [u8]) -> io::Result<Option<()>> {
    match reader.read_exact(into) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Partial {
    /// What is wanted next, in order; none when all of it is here.
    pub(super) fn wanted(&self) -> Option<&Cid> {
        self.walk.wanted()
    }

    /// What will be wanted, as far as it is known.
    pub(super) fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        self.walk.upcoming()
    }

    /// Bytes that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what comes next out of what has arrived, as far as it goes. Blocks that stand inside their CIDs
    /// need not arrive.
    pub(super) async fn take(mut self, mut arrived: Arrived) -> Result<(Self, Arrived), PartialError> {
        let work = tokio::task::spawn_blocking(move || {
            self.skip_inline()?;
            while let Some(digest) = self.walk.wanted().and_then(Cid::digest)
                && let Some(block) = arrived.remove(&digest)
            {
                self.take_one(&block)?;
                self.skip_inline()?;
            }
            Ok((self, arrived))
        });
        work.await.map_err(|_| PartialError::Ending)?
    }

    fn skip_inline(&mut self) -> Result<(), PartialError> {
        while let Some(cid) = self.walk.wanted().copied()
            && let Some(inline) = cid.inline_block()
        {
            self.walk.supply(inline)?;
        }
        Ok(())
    }

    fn take_one(&mut self, block: &[u8]) -> Result<(), PartialError> {
        let Some(cid) = self.walk.wanted().copied() else { return Ok(()) };
        self.walk.supply(block)?;
        let head = car_section_head(&cid, block.len());
        self.bytes += (head.len() + block.len()) as u64;
        if self.bytes > self.most {
            return Err(PartialError::TooLarge(self.most));
        }
        self.file.write_all(&head)?;
        self.file.write_all(block)?;
        Ok(())
    }

    /// The whole archive, to be read from its beginning, when nothing is wanted any more.
    pub(super) async fn finish(self) -> Result<Whole, PartialError> {
        let work = tokio::task::spawn_blocking(move || {
            let Self { place, file, .. } = self;
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(Whole { place, file: tokio::fs::File::from_std(file) })
        });
        work.await.map_err(|_| PartialError::Ending)?
    }
}

/// A tree that came whole.
#[derive(Debug)]
pub(super) struct Whole {
    place: Place,
    pub(super) file: tokio::fs::File,
}

impl Whole {
    /// It is kept elsewhere now, or it is of no use.
    pub(super) fn remove(self) {
        remove(&self.place.path);
    }
}

#[cfg(test)]
mod tests {
    use aleph_cid::{FileBuilder, Layout, MemoryBlocks};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn tree() -> (Cid, Vec<Bytes>) {
        let content: Vec<u8> = (0..3000u32).flat_map(u32::to_le_bytes).collect();
        let mut blocks = MemoryBlocks::default();
        let mut builder = FileBuilder::new(Layout::KUBO_V1.with_chunk(1000).unwrap());
        builder.update(&content, &mut blocks).unwrap();
        let root = builder.finish(&mut blocks).unwrap().cid;
        let mut walk = DagWalk::new(root, Limits::default());
        let mut order = Vec::new();
        while let Some(cid) = walk.wanted().copied() {
            let block = blocks.iter().find(|(other, _)| other.digest() == cid.digest()).unwrap().1.to_vec();
            walk.supply(&block).unwrap();
            order.push(Bytes::from(block));
        }
        (root, order)
    }

    fn arrived(blocks: &[Bytes]) -> Arrived {
        blocks.iter().map(|block| (Cid::v0(block).digest().unwrap(), block.clone())).collect()
    }

    #[tokio::test]
    async fn a_fetch_goes_on_where_it_stopped_and_a_torn_end_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let partials = Partials::new(folder.path().join("partial"), 1 << 20);
        let (root, blocks) = tree();
        let partial = partials.open(root, 1 << 20).await.unwrap();
        assert!(matches!(partials.open(root.to_v0().unwrap_or(root), 1).await, Err(PartialError::Busy)));
        let (partial, rest) = partial.take(arrived(&[&blocks[..5], &blocks[6..7]].concat())).await.unwrap();
        assert_eq!(rest.len(), 1, "one before it is missing");
        let bytes = partial.bytes();
        drop(partial);
        // Torn, and with something else behind.
        let path = folder.path().join("partial").join(format!("{}.car", root.to_v1()));
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&[0xff; 700]).unwrap();
        let partial = partials.open(root, 1 << 20).await.unwrap();
        assert_eq!(partial.bytes(), bytes);
        drop(partial);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes - 1).unwrap();
        let partial = partials.open(root, 1 << 20).await.unwrap();
        assert!(partial.wanted().unwrap().matches(&blocks[4]) && partial.bytes() < bytes);
        let (partial, _) = partial.take(arrived(&blocks)).await.unwrap();
        assert!(partial.wanted().is_none());
        let all = partial.bytes();
        let mut whole = partial.finish().await.unwrap();
        let mut archive = Vec::new();
        whole.file.read_to_end(&mut archive).await.unwrap();
        assert_eq!(archive.len() as u64, all);
        whole.remove();
        assert!(!path.exists());
        assert!(partials.open(root, 1 << 20).await.unwrap().wanted().unwrap().is_same_block(&root));
    }

    #[tokio::test]
    async fn wrong_blocks_and_too_many_bytes_are_refused_and_old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let partials = Partials::new(folder.path().to_owned(), 5_000);
        let (root, blocks) = tree();
        let partial = partials.open(root, 4_000).await.unwrap();
        let wrong =
            partial.take(HashMap::from([(root.digest().unwrap(), Bytes::from_static(b"wrong"))])).await;
        assert!(matches!(wrong, Err(PartialError::Tree(_))));
        let partial = partials.open(root, 4_000).await.unwrap();
        assert!(matches!(partial.take(arrived(&blocks)).await, Err(PartialError::TooLarge(4_000))));
        // More than all may have, and used by nobody.
        fs::write(folder.path().join("large.car"), vec![0; 6_000]).unwrap();
        drop(partials.open(root, 4_000).await.unwrap());
        assert!(!folder.path().join("large.car").exists());
    }
}
