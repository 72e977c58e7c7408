//! Folding the log of SQLite into the database beside the writer.
//!
//! Left to SQLite, the commit that fills the log folds all of it in: of a bulk, that was a fifth of the
//! writer's time, half of it waiting for the disk (`docs/adr/0014-speed-of-the-writer.md`). Another
//! connection may do it while the writer goes on, but what is written meanwhile has to be folded in as
//! well before the log begins anew. So passes beside the writer follow each other, each shorter than the
//! one before, and the writer does the last, small one itself.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

/// When who folds in what, in pages of the log.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// A log of so many is folded in: pages which many transactions change are folded in once.
    from: i32,
    /// The writer folds in so many itself.
    last: i32,
    /// A log of so many is not written on before it is folded in.
    most: i32,
    /// After a pass that a reader or the disk cut short, the next one waits for so many more.
    again: i32,
}

/// From 256 MiB, since a bulk fills 64 MiB with one or two transactions; at most 1 GiB.
const BOUNDS: Bounds = Bounds { from: 65_536, last: 16_384, most: 262_144, again: 4096 };

/// What is folded in, and by whom.
#[derive(Debug)]
pub(super) struct Folding {
    database: PathBuf,
    bounds: Bounds,
    /// Pages of the present log that are in the database, as far as the writer knows.
    folded: i32,
    /// Pages of the log at the last commit.
    written: i32,
    /// Pages at which the next pass begins.
    next: i32,
    pass: Option<JoinHandle<rusqlite::Result<i32>>>,
}

/// What has to be done after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Beside,
    Here,
}

impl Folding {
    /// For the one connection that writes to `database`.
    pub(super) fn of(database: &Path) -> Self {
        Self::within(BOUNDS, database)
    }

    fn within(bounds: Bounds, database: &Path) -> Self {
        Self { database: database.to_owned(), bounds, folded: 0, written: 0, next: bounds.from, pass: None }
    }

    /// After each commit of the writer, which left `pages` in the log. Trouble is not the commit's: it has
    /// happened, and a disk that has no room for the database has none for the log either.
    pub(super) fn committed(&mut self, log: &mut Wal, pages: i32) {
        if pages < self.written {
            // it began anew
            (self.folded, self.next) = (0, self.bounds.from);
        }
        self.written = pages;
        if self.pass.as_ref().is_some_and(|pass| pass.is_finished() || pages >= self.bounds.most) {
            self.end_pass();
        }
        match self.step() {
            Step::Nothing => {}
            Step::Beside => {
                let database = self.database.clone();
                let pass = std::thread::Builder::new().name("fold".to_owned());
                // Without a thread, the next commit tries again, and the last resort needs none.
                self.pass = pass
                    .spawn(move || {
                        give_way();
                        fold(&database)
                    })
                    .ok();
                self.next = pages.saturating_add(self.bounds.again);
            }
            Step::Here => {
                let folded = log.checkpoint_v2(CheckpointMode::PASSIVE);
                self.folded = folded.map_or(self.folded, |(_, folded)| folded);
                self.next = pages.saturating_add(self.bounds.again);
            }
        }
    }

    fn step(&self) -> Step {
        if self.pass.is_some() || self.written < self.next {
            Step::Nothing
        } else if self.written - self.folded <= self.bounds.last || self.written >= self.bounds.most {
            Step::Here
        } else {
            Step::Beside
        }
    }

    fn end_pass(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        if let Ok(Ok(folded)) = pass.join()
            && folded > self.folded
        {
            self.folded = folded;
            self.next = self.bounds.from;
        }
    }
}

impl Drop for Folding {
    /// The writer closes after its pass, so that the log is gone when the database was closed.
    fn drop(&mut self) {
        self.end_pass();
    }
}

/// Has the calling thread give way to the writer on a busy core.
fn give_way() {
    // Elsewhere this is the whole process's to have. Where the system refuses, both are equal.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(5);
}

/// Folds in what is in the log now, as far as nobody reads what was before; returns how much of the log is
/// in the database.
fn fold(database: &Path) -> rusqlite::Result<i32> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A larger one would hold what is never read again.
    connection.pragma_update(None, "cache_size", 16)?;
    // A connection that has read nothing does not know that there is a log.
    connection.query_row("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)", [], |_| Ok(()))?;
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds { from: 512, last: 128, most: 4096, again: 32 };

    fn at(written: i32, folded: i32) -> Step {
        let mut folding = Folding::within(SMALL, Path::new("none"));
        (folding.written, folding.folded) = (written, folded);
        folding.step()
    }

    #[test]
    fn a_long_log_is_folded_in_beside_the_writer_and_its_rest_by_it() {
        assert_eq!(at(511, 0), Step::Nothing);
        assert_eq!(at(512, 0), Step::Beside);
        assert_eq!(at(641, 512), Step::Beside);
        assert_eq!(at(640, 512), Step::Here);
        assert_eq!(at(4096, 0), Step::Here);
    }

    fn pages_of_log(connection: &Connection) -> i32 {
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).expect("asks")
    }

    #[test]
    fn the_log_begins_anew_and_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.sqlite3");
        let mut writer = Connection::open(&path).expect("opens");
        writer.pragma_update(None, "journal_mode", "WAL").expect("a log");
        let mut folding = Folding::within(SMALL, &path);
        let hook = move |log: &mut Wal, pages| {
            folding.committed(log, pages);
            Ok(())
        };
        writer.wal_hook(Some(hook)).expect("a hook");
        writer.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)").expect("a table");
        let (mut largest, mut anew, mut last) = (0, 0, 0);
        for round in 0..400_i64 {
            let change = writer.transaction().expect("begins");
            for row in 0..50 {
                let id = (round * 7919 + row * 104_729) % 9973;
                change
                    .execute("INSERT OR REPLACE INTO t VALUES (?1, hex(zeroblob(1500)))", [id])
                    .expect("stored");
            }
            change.commit().expect("commits");
            let pages = pages_of_log(&writer);
            anew += usize::from(pages < last);
            (largest, last) = (largest.max(pages), pages);
        }
        assert!(anew >= 3, "the log began anew {anew} times; it has {last} pages");
        assert!(largest < 2 * SMALL.most, "the log grew to {largest} pages");

        // Somebody reads an old state: the log grows on, and goes when he is done.
        let reader = Connection::open(&path).expect("opens");
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("reads");
        for round in 0..100_i64 {
            writer.execute("UPDATE t SET text = ?1 WHERE id % 50 = ?2", [round, round % 50]).expect("stored");
        }
        reader.execute_batch("COMMIT").expect("done");
        let before = pages_of_log(&writer);
        for round in 0..100_i64 {
            writer.execute("UPDATE t SET text = ?1 WHERE id % 50 = ?2", [round, round % 50]).expect("stored");
        }
        assert!(pages_of_log(&writer) < before, "{before} pages and more");
        drop(reader);

        let count = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).expect("counts")
        };
        let stored = count(&writer);
        drop(writer);
        assert!(!path.with_extension("sqlite3-wal").exists(), "a closed database has no log");
        let again = Connection::open(&path).expect("opens");
        assert_eq!(count(&again), stored);
        let sound: String = again.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
        assert_eq!(sound, "ok");
    }
}
