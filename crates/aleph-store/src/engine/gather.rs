//! SQLite's log, written many frames at a time.
//!
//! SQLite writes each page that a transaction changed with two writes: the head of its frame, and the page. A
//! bulk's transaction has thousands of them, one behind the other, of which nobody reads one before the last is
//! there. Here they are gathered, and written together; the frame that ends a transaction writes what is left,
//! so an error is still the commit's, and what is committed is in the file (`docs/adr/0014-speed-of-the-writer.md`).

mod vfs;

pub(super) use vfs::name;

/// Written at once: as much as SQLite's own files take. They cut the length of a write to 17 bits.
const AT_ONCE: usize = 0x1_ffff;

/// The head of the log, and the head of a frame (<https://sqlite.org/fileformat2.html#walformat>).
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// What SQLite takes for done.
const OK: i32 = rusqlite::ffi::SQLITE_OK;

/// Where gathered bytes go; answers with SQLite's code of what became of it.
trait Below {
    fn write(&mut self, bytes: &[u8], at: i64) -> i32;
}

/// The end of the log that is not in the file yet.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Where the last write ended; none if that is not known. The gathered bytes end there.
    end: Option<i64>,
    /// Bytes of a frame; none before the head of the log was written.
    frame: Option<i64>,
    /// The end of the frame that ends a transaction, once its head was written.
    commit: Option<i64>,
}

impl Gathered {
    /// Takes a write. What follows the one before is gathered; anything else goes into the file at once.
    fn write(&mut self, below: &mut impl Below, bytes: &[u8], at: i64) -> i32 {
        self.note(bytes, at);
        let follows = self.end == Some(at) && self.frame.is_some();
        if !follows {
            let written = self.flush(below);
            if written != OK {
                return written;
            }
        }
        let end = at.saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        self.end = Some(end);
        if !follows {
            return self.known(below.write(bytes, at));
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(AT_ONCE);
        }
        if self.bytes.len() + bytes.len() > AT_ONCE {
            let written = self.put(below, at);
            if written != OK {
                return written;
            }
        }
        self.bytes.extend_from_slice(bytes);
        if self.commit.is_some_and(|commit| commit <= end) {
            self.commit = None;
            return self.flush(below);
        }
        OK
    }

    /// Reads the sizes of the log off its head, and off the head of a frame whether it ends a transaction.
    fn note(&mut self, bytes: &[u8], at: i64) {
        if at == 0 {
            self.commit = None;
            // The size of a page is at byte 8.
            self.frame = (bytes.len() == LOG_HEAD).then(|| i64::from(be32(bytes, 8)) + FRAME_HEAD as i64);
        } else if let Some(frame) = self.frame
            && bytes.len() == FRAME_HEAD
            && (at - LOG_HEAD as i64) % frame == 0
        {
            // The size of the database after the transaction is at byte 4, and 0 in all its other frames.
            self.commit = (be32(bytes, 4) != 0).then_some(at + frame);
        }
    }

    /// Writes what is gathered.
    fn flush(&mut self, below: &mut impl Below) -> i32 {
        match self.end {
            Some(end) => self.put(below, end),
            None => OK,
        }
    }

    /// [`Self::flush`] before a part of the file is read.
    fn flush_for(&mut self, below: &mut impl Below, at: i64, length: i64) -> i32 {
        let Some(end) = self.end else { return OK };
        let begin = end - self.gathered();
        let overlaps = !self.bytes.is_empty() && at < end && at.saturating_add(length) > begin;
        if overlaps { self.flush(below) } else { OK }
    }

    /// Writes what is gathered, which ends at `end`.
    fn put(&mut self, below: &mut impl Below, end: i64) -> i32 {
        if self.bytes.is_empty() {
            return OK;
        }
        let written = below.write(&self.bytes, end - self.gathered());
        self.bytes.clear();
        self.known(written)
    }

    /// After an error nothing is known of the file's end, and SQLite takes its transaction back.
    fn known(&mut self, written: i32) -> i32 {
        if written != OK {
            self.bytes.clear();
            (self.end, self.commit) = (None, None);
        }
        written
    }

    /// The file is cut, or otherwise not what it was.
    fn forget_end(&mut self) {
        self.end = None;
    }

    fn gathered(&self) -> i64 {
        i64::try_from(self.bytes.len()).unwrap_or(i64::MAX)
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use std::path::Path;

    use rusqlite::{Connection, OpenFlags, ffi};

    use super::*;

    const PAGE: usize = 512;

    /// A file in memory, which counts its writes and may fail.
    #[derive(Default)]
    struct File {
        bytes: Vec<u8>,
        writes: usize,
        fails: bool,
    }

    impl Below for File {
        fn write(&mut self, bytes: &[u8], at: i64) -> i32 {
            self.writes += 1;
            if self.fails {
                return ffi::SQLITE_FULL;
            }
            let at = usize::try_from(at).unwrap();
            self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            OK
        }
    }

    fn log_head() -> [u8; LOG_HEAD] {
        let mut head = [7; LOG_HEAD];
        head[8..12].copy_from_slice(&u32::try_from(PAGE).unwrap().to_be_bytes());
        head
    }

    fn frame_head(ends: bool) -> [u8; FRAME_HEAD] {
        let mut head = [9; FRAME_HEAD];
        head[4..8].copy_from_slice(&u32::from(ends).to_be_bytes());
        head
    }

    fn place(frame: usize) -> i64 {
        i64::try_from(LOG_HEAD + frame * (FRAME_HEAD + PAGE)).unwrap()
    }

    fn put_frame(gathered: &mut Gathered, file: &mut File, frame: usize, ends: bool) -> i32 {
        let written = gathered.write(file, &frame_head(ends), place(frame));
        if written != OK {
            return written;
        }
        gathered.write(file, &[u8::try_from(frame % 251).unwrap(); PAGE], place(frame) + FRAME_HEAD as i64)
    }

    fn size(frames: usize) -> usize {
        usize::try_from(place(frames)).unwrap()
    }

    #[test]
    fn a_transaction_is_in_the_file_when_its_last_frame_is_written() {
        let (mut gathered, mut file) = (Gathered::default(), File::default());
        assert_eq!(gathered.write(&mut file, &log_head(), 0), OK);
        let frames = 2000;
        for frame in 0..frames {
            assert_eq!(put_frame(&mut gathered, &mut file, frame, frame + 1 == frames), OK);
        }
        assert_eq!(file.bytes.len(), size(frames));
        assert!(file.writes <= 1 + size(frames) / AT_ONCE + 1, "{} writes", file.writes);
        // the next one, of one frame
        assert_eq!(put_frame(&mut gathered, &mut file, frames, true), OK);
        assert_eq!(file.bytes.len(), size(frames + 1));
        // one that is taken back: the next begins in its place
        for frame in 0..3 {
            put_frame(&mut gathered, &mut file, frames + 1 + frame, false);
        }
        assert_eq!(put_frame(&mut gathered, &mut file, frames + 1, true), OK);
        assert_eq!(file.bytes[size(frames + 1) + 4..][..4], [0, 0, 0, 1]);
        for frame in 0..frames + 2 {
            let page = &file.bytes[size(frame) + FRAME_HEAD..][..PAGE];
            assert!(page.iter().all(|byte| usize::from(*byte) == frame % 251), "frame {frame}");
        }
    }

    #[test]
    fn what_is_written_over_is_in_the_file_at_once() {
        let (mut gathered, mut file) = (Gathered::default(), File::default());
        gathered.write(&mut file, &log_head(), 0);
        for frame in 0..4 {
            put_frame(&mut gathered, &mut file, frame, frame == 3);
        }
        // SQLite does so where a transaction wrote a page twice: heads with new sums, the last one too
        for frame in 0..4 {
            let mut head = frame_head(frame == 3);
            head[16] = 200;
            assert_eq!(gathered.write(&mut file, &head, place(frame)), OK);
            assert_eq!(file.bytes[size(frame)..][..FRAME_HEAD], head);
        }
    }

    #[test]
    fn what_is_read_was_written() {
        let (mut gathered, mut file) = (Gathered::default(), File::default());
        gathered.write(&mut file, &log_head(), 0);
        for frame in 0..3 {
            put_frame(&mut gathered, &mut file, frame, false);
        }
        assert_eq!(file.bytes.len(), LOG_HEAD);
        assert_eq!(gathered.flush_for(&mut file, 0, LOG_HEAD as i64), OK);
        assert_eq!(file.bytes.len(), LOG_HEAD, "it was there");
        assert_eq!(gathered.flush_for(&mut file, place(2), 8), OK);
        assert_eq!(file.bytes.len(), size(3));
    }

    #[test]
    fn an_error_is_told_and_nothing_is_gathered_after_it() {
        let (mut gathered, mut file) = (Gathered::default(), File::default());
        gathered.write(&mut file, &log_head(), 0);
        put_frame(&mut gathered, &mut file, 0, false);
        file.fails = true;
        assert_eq!(put_frame(&mut gathered, &mut file, 1, true), ffi::SQLITE_FULL);
        file.fails = false;
        assert_eq!(gathered.flush(&mut file), OK);
        assert_eq!(file.bytes.len(), LOG_HEAD, "what failed is not written later");
        put_frame(&mut gathered, &mut file, 0, true);
        assert_eq!(file.bytes.len(), size(1));
    }

    fn gathering(path: &Path) -> Connection {
        let connection =
            Connection::open_with_flags_and_vfs(path, OpenFlags::default(), name().unwrap()).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
        connection
    }

    fn state(connection: &Connection) -> (i64, i64) {
        let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        connection.query_row("SELECT count(*), ifnull(sum(place), 0) FROM entries", (), read).unwrap()
    }

    /// What somebody finds who takes the files as they are now, as after the end of the process.
    fn state_of_files(path: &Path) -> (i64, i64) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.sqlite3");
        std::fs::copy(path, &copy).unwrap();
        std::fs::copy(path.with_extension("sqlite3-wal"), copy.with_extension("sqlite3-wal")).unwrap();
        state(&Connection::open(copy).unwrap())
    }

    #[test]
    fn others_see_each_commit_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite3");
        let mut writer = gathering(&path);
        // So few that a transaction writes its pages before it ends, reads them again, and writes them over.
        writer.pragma_update(None, "cache_size", 20).unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 700).unwrap();
        writer.execute_batch("CREATE TABLE entries (key BLOB PRIMARY KEY, place INT, text TEXT)").unwrap();
        let reader = Connection::open(&path).unwrap();
        let mut seed = 5_u64;
        for round in 0..80 {
            let before = state(&reader);
            let transaction = writer.transaction().unwrap();
            for _ in 0..60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let values = (seed.to_be_bytes(), (seed >> 40) as i64, "x".repeat((seed >> 53) as usize));
                transaction.execute("INSERT INTO entries VALUES (?1, ?2, ?3)", values).unwrap();
            }
            transaction.execute("UPDATE entries SET place = place + 1 WHERE place % 7 = 0", ()).unwrap();
            if round % 3 == 0 {
                transaction.execute("DELETE FROM entries WHERE place % 5 = ?1", [round % 5]).unwrap();
            }
            assert_eq!(state_of_files(&path), before, "round {round}: nothing before the commit");
            if round % 8 == 7 {
                transaction.rollback().unwrap();
                assert_eq!(state(&reader), before, "round {round}: taken back");
            } else {
                let after = state(&transaction);
                transaction.commit().unwrap();
                assert_eq!(state(&reader), after, "round {round}: seen by others");
                assert_eq!(state_of_files(&path), after, "round {round}: survives the process");
            }
        }
        let last = state(&reader);
        drop((reader, writer));
        assert!(!path.with_extension("sqlite3-wal").exists(), "a closed database has no log");
        assert_eq!(state(&Connection::open(&path).unwrap()), last);
        // A log that somebody left is gone on with.
        let writer = gathering(&path);
        writer.execute("UPDATE entries SET place = 1", ()).unwrap();
        assert_eq!(state(&Connection::open(&path).unwrap()).1, last.0);
    }
}
