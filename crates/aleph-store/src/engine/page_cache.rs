//! SQLite's own page cache, spared a walk through all its pages at each commit.
//!
//! Where SQLite swaps the numbers of two pages of a b-tree, one of them has that of the lock-byte page for a
//! moment, which never holds anything (page 262,145 of 4 KiB, at 1 GiB). The cache remembers the highest
//! number that it ever met, and at the end of each transaction it looks for pages beyond the end of the
//! database if that number is beyond it: below 1 GiB it walks all pages, and finds none. Here the page is
//! kept under number 0 for that moment, which is no page's either (`docs/adr/0014-speed-of-the-writer.md`).

use std::collections::BTreeSet;
use std::ffi::{c_int, c_uint};
use std::sync::OnceLock;

use parking_lot::Mutex;
use rusqlite::ffi;

/// The lock-byte page is where SQLite's files have byte 2³⁰.
const LOCK_BYTE: c_uint = 0x4000_0000;

/// The size of pages that this is for: with others it is another number.
const PAGE_BYTES: c_int = 4096;

const LOCK_BYTE_PAGE: c_uint = LOCK_BYTE / PAGE_BYTES.unsigned_abs() + 1;

type Create = unsafe extern "C" fn(c_int, c_int, c_int) -> *mut ffi::sqlite3_pcache;
type Rekey = unsafe extern "C" fn(*mut ffi::sqlite3_pcache, *mut ffi::sqlite3_pcache_page, c_uint, c_uint);
type Destroy = unsafe extern "C" fn(*mut ffi::sqlite3_pcache);

/// What SQLite comes with.
struct Own {
    create: Create,
    rekey: Rekey,
    destroy: Destroy,
}

static OWN: OnceLock<Option<Own>> = OnceLock::new();

/// Addresses of the caches whose pages have another size: they are left alone.
static OTHERS: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// Has SQLite use it, if no connection of this process was opened before; else all is as it was.
pub(super) fn install() {
    OWN.get_or_init(configure);
}

#[expect(unsafe_code, reason = "SQLite is configured through C")]
fn configure() -> Option<Own> {
    let mut methods = std::mem::MaybeUninit::<ffi::sqlite3_pcache_methods2>::zeroed();
    // SAFETY: SQLite writes its table of methods to where the one argument of this option points.
    let methods = unsafe {
        if ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETPCACHE2, methods.as_mut_ptr()) != ffi::SQLITE_OK {
            return None;
        }
        methods.assume_init()
    };
    let own = Own { create: methods.xCreate?, rekey: methods.xRekey?, destroy: methods.xDestroy? };
    let hooked = ffi::sqlite3_pcache_methods2 {
        xCreate: Some(create),
        xRekey: Some(rekey),
        xDestroy: Some(destroy),
        ..methods
    };
    // SAFETY: SQLite copies the table; the methods that it names live as long as the process, and reach
    // SQLite's own as soon as `OWN` is set, which is before a connection is opened by who called `install`.
    let configured = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_PCACHE2, &raw const hooked) };
    (configured == ffi::SQLITE_OK).then_some(own)
}

fn own() -> Option<&'static Own> {
    OWN.wait().as_ref()
}

#[expect(unsafe_code, reason = "a method of SQLite's page cache")]
unsafe extern "C" fn create(page: c_int, extra: c_int, purgeable: c_int) -> *mut ffi::sqlite3_pcache {
    let Some(own) = own() else { return std::ptr::null_mut() };
    // SAFETY: what SQLite called this with is passed on.
    let cache = unsafe { (own.create)(page, extra, purgeable) };
    if page != PAGE_BYTES && !cache.is_null() {
        OTHERS.lock().insert(cache.addr());
    }
    cache
}

#[expect(unsafe_code, reason = "a method of SQLite's page cache")]
unsafe extern "C" fn rekey(
    cache: *mut ffi::sqlite3_pcache,
    page: *mut ffi::sqlite3_pcache_page,
    old: c_uint,
    new: c_uint,
) {
    let Some(own) = own() else { return };
    let is_swap = old == LOCK_BYTE_PAGE || new == LOCK_BYTE_PAGE;
    let (old, new) =
        if is_swap && !OTHERS.lock().contains(&cache.addr()) { (aside(old), aside(new)) } else { (old, new) };
    // SAFETY: what SQLite called this with is passed on, but for the number of a page that it never reads:
    // it gets that number here, and another one here before anybody asks for a page by its number.
    unsafe { (own.rekey)(cache, page, old, new) }
}

#[expect(unsafe_code, reason = "a method of SQLite's page cache")]
unsafe extern "C" fn destroy(cache: *mut ffi::sqlite3_pcache) {
    OTHERS.lock().remove(&cache.addr());
    let Some(own) = own() else { return };
    // SAFETY: what SQLite called this with is passed on.
    unsafe { (own.destroy)(cache) }
}

/// The number that a page has here.
const fn aside(number: c_uint) -> c_uint {
    if number == LOCK_BYTE_PAGE { 0 } else { number }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use rusqlite::Connection;

    use super::*;

    /// Entries come in no order, so pages are split, merged and swapped, in many transactions and some that
    /// are taken back.
    fn shuffle(path: &std::path::Path, page: i64) {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "page_size", page).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let schema = "CREATE TABLE entries (key BLOB PRIMARY KEY, place INT, text TEXT) WITHOUT ROWID;
                      CREATE INDEX places ON entries (place, text);";
        connection.execute_batch(schema).unwrap();
        let (mut seed, mut kept) = (1_u64, 0);
        for batch in 0..60 {
            let transaction = connection.transaction().unwrap();
            for _ in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let text = "x".repeat((seed >> 54) as usize);
                let values = (seed.to_le_bytes(), (seed >> 33) as i64, text);
                transaction.execute("INSERT INTO entries VALUES (?1, ?2, ?3)", values).unwrap();
            }
            if batch % 7 == 0 {
                transaction.rollback().unwrap();
            } else {
                transaction.commit().unwrap();
                kept += 200;
            }
            if batch % 5 == 0 {
                kept -= connection.execute("DELETE FROM entries WHERE place % 3 = 0", ()).unwrap();
            }
        }
        let count: usize =
            connection.query_row("SELECT count(*) FROM entries", (), |row| row.get(0)).unwrap();
        assert_eq!(count, kept);
        let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let real: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0)).unwrap();
        assert_eq!(real, page);
    }

    #[test]
    fn pages_of_any_size_are_found_again() {
        install();
        assert!(own().is_some(), "no connection was opened before");
        let folder = tempfile::tempdir().unwrap();
        for page in [512, 1024, 4096, 8192] {
            shuffle(&folder.path().join(format!("{page}.sqlite3")), page);
        }
        assert!(OTHERS.lock().is_empty(), "caches that are gone are forgotten");
    }
}
