//! The file system of SQLite with gathered writes to the log; everything else is SQLite's own.

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

use super::{Below, Gathered, OK};

const NAME: &CStr = c"gathering";

/// SQLite's own file system of this platform.
struct Own {
    vfs: *mut ffi::sqlite3_vfs,
    open: Open,
}

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;

#[expect(unsafe_code, reason = "SQLite's own file system is never changed, and may be used from any thread")]
// SAFETY: the pointer is SQLite's and valid until the process ends; SQLite shares it among threads.
unsafe impl Send for Own {}
#[expect(unsafe_code, reason = "SQLite's own file system is never changed, and may be used from any thread")]
// SAFETY: as above.
unsafe impl Sync for Own {}

static OWN: OnceLock<Option<Own>> = OnceLock::new();

/// The name of the file system, for a connection that writes; none where SQLite does not take it.
pub(in crate::engine) fn name() -> Option<&'static CStr> {
    OWN.get_or_init(register).as_ref().map(|_| NAME)
}

/// A file of the log. SQLite's own file follows it in memory.
#[repr(C)]
struct LogFile {
    base: ffi::sqlite3_file,
    gathered: *mut Gathered,
}

const LOG_FILE: usize = size_of::<LogFile>();

#[expect(unsafe_code, reason = "SQLite is extended through C")]
fn register() -> Option<Own> {
    // SAFETY: finds the default, which SQLite keeps until the process ends.
    let vfs = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    if vfs.is_null() {
        return None;
    }
    // SAFETY: it is not null, and SQLite does not change it.
    let own = unsafe { &*vfs };
    let open = own.xOpen?;
    let size = c_int::try_from(LOG_FILE).ok()?.checked_add(own.szOsFile)?;
    // The other methods neither know nor ask whose they are but by `pAppData`, which is theirs here too.
    let gathering = ffi::sqlite3_vfs {
        szOsFile: size,
        pNext: std::ptr::null_mut(),
        zName: NAME.as_ptr(),
        xOpen: Some(open_file),
        ..*own
    };
    let gathering = Box::leak(Box::new(gathering));
    // SAFETY: it lives until the process ends.
    let registered = unsafe { ffi::sqlite3_vfs_register(gathering, 0) };
    (registered == OK).then_some(Own { vfs, open })
}

#[expect(unsafe_code, reason = "a method of SQLite's file system")]
unsafe extern "C" fn open_file(
    _gathering: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let Some(Some(own)) = OWN.get() else { return ffi::SQLITE_CANTOPEN };
    if flags & ffi::SQLITE_OPEN_WAL == 0 {
        // SAFETY: what SQLite called this with is passed on; the room at `file` is more than is asked for.
        return unsafe { (own.open)(own.vfs, name, file, flags, flags_out) };
    }
    let log = file.cast::<LogFile>();
    // SAFETY: SQLite gave room for a `LogFile` and a file of its own behind it, aligned for both: it aligns files
    // to eight bytes, as both need. It closes a file only if its methods are set.
    unsafe {
        (*log).base.pMethods = std::ptr::null();
        let opened = (own.open)(own.vfs, name, inner(file), flags, flags_out);
        if opened == OK {
            (*log).gathered = Box::into_raw(Box::default());
            (*log).base.pMethods = &raw const METHODS;
        }
        opened
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 1: a log is neither mapped nor shared.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// SQLite's own file behind a [`LogFile`].
///
/// # Safety
/// `file` has room for both.
#[expect(unsafe_code, reason = "SQLite has files of any size, in C's way")]
unsafe fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: as the caller promises.
    unsafe { file.byte_add(LOG_FILE) }
}

/// What is gathered for a file.
///
/// # Safety
/// `file` was opened by [`open_file`] as a log, and not closed. SQLite uses a connection's files from one thread
/// at a time.
#[expect(unsafe_code, reason = "SQLite has files of any size, in C's way")]
unsafe fn gathered<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Gathered {
    // SAFETY: as the caller promises; the box lives until the file is closed.
    unsafe { &mut *(*file.cast::<LogFile>()).gathered }
}

/// Calls a method of SQLite's own file. To be used where its caller promises what the method asks for.
macro_rules! own {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let inner = inner($file);
        match (*(*inner).pMethods).$method {
            Some(method) => method(inner $(, $argument)*),
            None => ffi::SQLITE_IOERR,
        }
    }};
}

/// Writes to SQLite's own file.
struct OwnFile(*mut ffi::sqlite3_file);

impl Below for OwnFile {
    #[expect(unsafe_code, reason = "SQLite's own file is called through C")]
    fn write(&mut self, bytes: &[u8], at: i64) -> c_int {
        let Ok(length) = c_int::try_from(bytes.len()) else { return ffi::SQLITE_TOOBIG };
        // SAFETY: only made from a log that is open, within a call of one of its methods.
        unsafe { own!(self.0, xWrite, bytes.as_ptr().cast(), length, at) }
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once, and does not use it afterwards.
    unsafe {
        let mut gathered = Box::from_raw((*file.cast::<LogFile>()).gathered);
        // What no transaction ended with is nobody's.
        let _ = gathered.flush(&mut OwnFile(file));
        let closed = own!(file, xClose);
        (*file).pMethods = std::ptr::null();
        closed
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    bytes: *mut c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe {
        let written = gathered(file).flush_for(&mut OwnFile(file), at, length.into());
        if written == OK { own!(file, xRead, bytes, length, at) } else { written }
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let Ok(count) = usize::try_from(length) else { return ffi::SQLITE_MISUSE };
    // SAFETY: the log is open; SQLite gives so many bytes, which it does not change meanwhile.
    unsafe {
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), count);
        gathered(file).write(&mut OwnFile(file), bytes, at)
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe {
        let gathered = gathered(file);
        let written = gathered.flush(&mut OwnFile(file));
        gathered.forget_end();
        if written == OK { own!(file, xTruncate, size) } else { written }
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe {
        let written = gathered(file).flush(&mut OwnFile(file));
        if written == OK { own!(file, xSync, flags) } else { written }
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe {
        let written = gathered(file).flush(&mut OwnFile(file));
        if written == OK { own!(file, xFileSize, size) } else { written }
    }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, kind: c_int) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe { own!(file, xLock, kind) }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, kind: c_int) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe { own!(file, xUnlock, kind) }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, is_reserved: *mut c_int) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe { own!(file, xCheckReservedLock, is_reserved) }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the log is open; what SQLite called this with is passed on.
    unsafe { own!(file, xFileControl, operation, argument) }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the log is open.
    unsafe { own!(file, xSectorSize) }
}

#[expect(unsafe_code, reason = "a method of SQLite's files")]
unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the log is open.
    unsafe { own!(file, xDeviceCharacteristics) }
}
