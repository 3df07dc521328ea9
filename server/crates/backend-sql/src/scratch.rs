//! The room for SQLite's temporary files (large sorts, intermediate tables, undo logs of statements): all of the process share it, and what asks for more
//! fails. It is a VFS that hands every other file to SQLite's own untouched; nothing else in SQLite bounds these files.

use core::ffi::{CStr, c_int, c_void};
use core::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use libsqlite3_sys as ffi;

/// The VFS's name, for opening a file through it.
pub(crate) const VFS: &str = "cohnect";
const NAME: &CStr = c"cohnect";

/// Bytes in temporary files of the whole process. A sort takes its data once or twice, so it sorts whatever the default size of a database allows in an
/// honest table, and it is far below a disk; where the folder for temporary files is in memory, it is below that, too.
pub(crate) const SCRATCH_BYTES_MAX: u64 = 1 << 30;

static USED: AtomicU64 = AtomicU64::new(0);
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// How often a write was refused for want of room. A statement that fails with "full" while this grows has met this bound and not the file's.
pub(crate) fn refusals() -> u64 {
    REFUSALS.load(Ordering::Acquire)
}

/// Makes the VFS known to SQLite, once in a process.
pub(crate) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        // SAFETY: null asks for the default VFS, which lives as long as the process.
        let Some(base) = (unsafe { ffi::sqlite3_vfs_find(ptr::null()).as_ref() }) else {
            return false;
        };
        let header = HEADER as c_int;
        let vfs = ffi::sqlite3_vfs {
            szOsFile: header + base.szOsFile,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            // The other functions of SQLite's own are taken as they are: they use their VFS for its `mxPathname` and `pAppData`, which are the same.
            ..*base
        };
        // Never given back: SQLite keeps it in its list until the process ends.
        let vfs = Box::leak(Box::new(vfs));
        // SAFETY: `vfs` lives for ever, is written to by nobody but SQLite from now on, and its functions have the signatures that SQLite asks for.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) == ffi::SQLITE_OK }
    })
}

/// What is put before SQLite's own file object when the file is a temporary one.
#[repr(C)]
struct Counted {
    /// Where SQLite finds the methods of a file; null when it could not be opened.
    methods: *const ffi::sqlite3_io_methods,
    /// How long the file is, as far as it was written: what it has taken of the room.
    bytes: u64,
}

const HEADER: usize = size_of::<Counted>();
const _: () = assert!(HEADER.is_multiple_of(8));

const TEMPORARY: c_int = ffi::SQLITE_OPEN_TEMP_DB
    | ffi::SQLITE_OPEN_TRANSIENT_DB
    | ffi::SQLITE_OPEN_TEMP_JOURNAL
    | ffi::SQLITE_OPEN_SUBJOURNAL
    | ffi::SQLITE_OPEN_DELETEONCLOSE;

/// Version 1: no shared memory and no mapping, which SQLite then does without in temporary files.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
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

/// Takes room; false if there is not so much.
fn take(room: &AtomicU64, bytes: u64, most: u64) -> bool {
    room.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
        used.checked_add(bytes).filter(|used| *used <= most)
    })
    .is_ok()
}

fn give_back(bytes: u64) {
    USED.fetch_sub(bytes, Ordering::AcqRel);
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: as in `install`; the default VFS is never taken out of SQLite's list by anybody here.
    let base = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: it is null or a VFS that lives as long as the process.
    let Some(open) = (unsafe { base.as_ref() }).and_then(|base| base.xOpen) else {
        return ffi::SQLITE_CANTOPEN;
    };
    if flags & TEMPORARY == 0 {
        // SAFETY: `file` has more than the `szOsFile` bytes of the base, and everything else is as SQLite gave it.
        return unsafe { open(base, name, file, flags, flags_out) };
    }
    let counted = file.cast::<Counted>();
    let inner = inner(file);
    // SAFETY: `file` has `HEADER` bytes and after them those of the base's own file. SQLite aligns it to 8, which is all that either needs, and `HEADER` is a
    // multiple of that. The base may leave `pMethods` unset when it fails, so it is set to null first.
    let opened = unsafe {
        (*inner).pMethods = ptr::null();
        open(base, name, inner, flags, flags_out)
    };
    // SAFETY: `counted` is the first `HEADER` bytes of `file`, which are ours. SQLite calls `xClose` only where it finds methods, and so they are there
    // exactly when the base has set its own.
    unsafe {
        let is_open = !(*inner).pMethods.is_null();
        (*counted).methods = if is_open {
            &raw const METHODS
        } else {
            ptr::null()
        };
        (*counted).bytes = 0;
    }
    opened
}

/// The base's own file object, behind ours.
fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<u8>().wrapping_add(HEADER).cast()
}

/// Calls the base's method of this name on its own file object, or answers with what SQLite takes for "not there".
macro_rules! forward {
    ($file:ident . $method:ident ($($argument:expr),*), $absent:expr) => {{
        let inner = inner($file);
        // SAFETY: SQLite calls a file's methods only between `open` and `close`; then the base has opened its own file object, and its methods live as
        // long as the process. The arguments are those that SQLite gave.
        unsafe {
            match (*inner).pMethods.as_ref().and_then(|methods| methods.$method) {
                Some(method) => method(inner $(, $argument)*),
                None => $absent,
            }
        }
    }};
}

/// The file's own length as it is counted.
fn counted(file: *mut ffi::sqlite3_file) -> *mut u64 {
    // SAFETY: `file` was opened by `open` as a temporary one, so a `Counted` stands at its start; no reference is made, only the field's address.
    unsafe { &raw mut (*file.cast::<Counted>()).bytes }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see `counted`; one file is used by one thread at a time.
    give_back(unsafe { counted(file).replace(0) });
    forward!(file.xClose(), ffi::SQLITE_OK)
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    forward!(file.xRead(to, amount, at), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    let end = u64::try_from(at.saturating_add(i64::from(amount))).unwrap_or(0);
    // SAFETY: see `counted`; one file is used by one thread at a time.
    let bytes = unsafe { *counted(file) };
    if end > bytes {
        if !take(&USED, end - bytes, SCRATCH_BYTES_MAX) {
            REFUSALS.fetch_add(1, Ordering::AcqRel);
            return ffi::SQLITE_FULL;
        }
        // SAFETY: as above.
        unsafe { *counted(file) = end };
    }
    forward!(file.xWrite(from, amount, at), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let done = forward!(file.xTruncate(size), ffi::SQLITE_IOERR);
    let size = u64::try_from(size).unwrap_or(0);
    // SAFETY: see `counted`; one file is used by one thread at a time.
    let bytes = unsafe { *counted(file) };
    if done == ffi::SQLITE_OK && size < bytes {
        give_back(bytes - size);
        // SAFETY: as above.
        unsafe { *counted(file) = size };
    }
    done
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    forward!(file.xSync(flags), ffi::SQLITE_OK)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    forward!(file.xFileSize(size), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file.xLock(level), ffi::SQLITE_OK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file.xUnlock(level), ffi::SQLITE_OK)
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    reserved: *mut c_int,
) -> c_int {
    forward!(file.xCheckReservedLock(reserved), ffi::SQLITE_IOERR)
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    forward!(file.xFileControl(operation, argument), ffi::SQLITE_NOTFOUND)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file.xSectorSize(), 0)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file.xDeviceCharacteristics(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_up_to_its_end_and_no_further() {
        let room = AtomicU64::new(0);
        assert!(take(&room, 60, 100));
        assert!(!take(&room, 41, 100));
        assert!(take(&room, 40, 100));
        assert!(!take(&room, 1, 100));
        assert!(!take(&room, u64::MAX, 100));
        assert_eq!(room.load(Ordering::Acquire), 100);
    }

    /// Opens a temporary file as SQLite does.
    fn temporary() -> (Vec<u128>, *mut ffi::sqlite3_file) {
        assert!(install());
        // SAFETY: the VFS is installed and lives for ever; the memory is as large as it asks for, and zeroed as SQLite's own is.
        unsafe {
            let vfs = ffi::sqlite3_vfs_find(NAME.as_ptr());
            let mut memory = vec![0_u128; ((*vfs).szOsFile as usize).div_ceil(16)];
            let file = memory.as_mut_ptr().cast::<ffi::sqlite3_file>();
            let flags = ffi::SQLITE_OPEN_TEMP_DB
                | ffi::SQLITE_OPEN_DELETEONCLOSE
                | ffi::SQLITE_OPEN_EXCLUSIVE
                | ffi::SQLITE_OPEN_CREATE
                | ffi::SQLITE_OPEN_READWRITE;
            let opened = (*vfs).xOpen.unwrap()(vfs, ptr::null(), file, flags, ptr::null_mut());
            assert_eq!(opened, ffi::SQLITE_OK);
            (memory, file)
        }
    }

    #[test]
    fn a_temporary_file_takes_what_it_writes_and_gives_it_back() {
        let (_memory, file) = temporary();
        let content = [7_u8; 1_000];
        let refused = refusals();
        // SAFETY: `file` is open until `close`, its memory lives in this function, and the buffers are as long as is said.
        unsafe {
            let source = content.as_ptr().cast();
            assert_eq!(write(file, source, 1_000, 500), ffi::SQLITE_OK);
            assert_eq!(*counted(file), 1_500);
            assert_eq!(write(file, source, 1_000, 0), ffi::SQLITE_OK);
            assert_eq!(*counted(file), 1_500, "what is there is not taken twice");
            let mut back = [0_u8; 1_000];
            assert_eq!(
                read(file, back.as_mut_ptr().cast(), 1_000, 500),
                ffi::SQLITE_OK
            );
            assert_eq!(back, content);
            let mut size = 0;
            assert_eq!(file_size(file, &raw mut size), ffi::SQLITE_OK);
            assert_eq!(size, 1_500);
            let far = SCRATCH_BYTES_MAX as i64;
            assert_eq!(write(file, source, 1_000, far), ffi::SQLITE_FULL);
            assert!(refusals() > refused);
            assert_eq!(truncate(file, 100), ffi::SQLITE_OK);
            assert_eq!(*counted(file), 100);
            assert_eq!(close(file), ffi::SQLITE_OK);
        }
    }
}
