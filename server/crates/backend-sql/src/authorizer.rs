//! The calls into SQLite that sqlx does not make: the authorizer and the limits of a new connection, the brake on a running statement, the parse of one
//! before it runs, and the question whether a transaction is open. What is allowed is decided by `gate`.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use crate::functions;
use crate::gate::Gate;

/// A statement as SQLite reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Blanks and comments.
    Empty,
    /// One statement.
    One(Shape),
    /// One, and text behind it that is neither blank nor comment.
    Several,
}

/// The outside of one statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Its parameters as they are written, each once; none for a bare `?`.
    pub parameters: Vec<Option<String>>,
    /// Its columns' names, and the types that their tables declare, where they have one.
    pub columns: Vec<(String, Option<String>)>,
    /// It changes nothing in the file.
    pub reads_only: bool,
}

/// SQLite's own answer when something failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The extended result code.
    pub code: i32,
    /// Its text.
    pub message: String,
}

// A value or a stored row: no guest may send more in one call, and every row of a result is in memory once.
const VALUE_BYTES: (c_int, c_int) = (ffi::SQLITE_LIMIT_LENGTH, crate::VALUE_BYTES_MAX as c_int);
// A pattern's cost is its length times the text's, in one instruction that nothing interrupts: a second at most.
const PATTERN_BYTES: (c_int, c_int) = (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256);

/// The most of everything that one connection may be made to hold or walk through, and why.
const LIMITS: [(c_int, c_int); 12] = [
    VALUE_BYTES,
    (
        ffi::SQLITE_LIMIT_SQL_LENGTH,
        crate::STATEMENT_BYTES_MAX as c_int,
    ),
    // Wider than any table that people write; it bounds a row at columns × value.
    (ffi::SQLITE_LIMIT_COLUMN, 256),
    // The parser and the planner recurse over expressions on the thread's stack.
    (ffi::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    // A second bolt on ATTACH, behind the authorizer's.
    (ffi::SQLITE_LIMIT_ATTACHED, 0),
    PATTERN_BYTES,
    (
        ffi::SQLITE_LIMIT_VARIABLE_NUMBER,
        crate::PARAMETERS_MAX as c_int,
    ),
    (ffi::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
    // Instructions of one statement: nothing looks at an interrupt where they do not jump. Room for 10,000 rows of literals, which a text may have.
    (ffi::SQLITE_LIMIT_VDBE_OP, 60_000),
    // Arguments of one call, which all is one instruction; SQLite's own limit until 2025.
    (ffi::SQLITE_LIMIT_FUNCTION_ARG, 127),
    // One statement stays on its connection's thread.
    (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Shuts the connection's doors: the gate judges all that is compiled on it from now on, and the limits hold.
///
/// # Errors
/// SQLite had no memory for it.
pub(crate) fn shut(handle: &mut LockedSqliteHandle<'_>, gate: &Arc<Gate>) -> Result<(), Fault> {
    let db = handle.as_raw_handle().as_ptr();
    let data = Arc::into_raw(Arc::clone(gate)).cast_mut().cast::<c_void>();
    // SAFETY: the lock on the handle keeps the worker's thread out, so `db` is open and ours. `data` is a strong reference of the gate, which SQLite
    // gives to `release` when the connection closes (or at once, if it cannot keep it), so the pointer outlives every call of the authorizer.
    let kept =
        unsafe { ffi::sqlite3_set_clientdata(db, c"cohnect-gate".as_ptr(), data, Some(release)) };
    if kept != ffi::SQLITE_OK {
        return Err(fault(db));
    }
    // SAFETY: as above; `authorize` has the signature that SQLite asks for, and `data` lives as long as the connection.
    if unsafe { ffi::sqlite3_set_authorizer(db, Some(authorize), data) } != ffi::SQLITE_OK {
        return Err(fault(db));
    }
    for (limit, most) in LIMITS {
        // SAFETY: `db` is open and ours; an unknown limit is ignored.
        unsafe { ffi::sqlite3_limit(db, limit, most) };
    }
    // SAFETY: `db` is open and ours, and the gate lives until it closes, as for the authorizer.
    if !unsafe { functions::replace_slow(db, data.cast()) } {
        return Err(fault(db));
    }
    gate.brake().fit(db);
    for (option, on) in [
        // No statement writes to the schema table, to shadow tables, or turns the journal off.
        (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
        // What a file's schema calls is not trusted more than what a module calls.
        (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
        (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0),
        (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0),
        // "text" in double quotes is a name, never silently a string.
        (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
        (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
    ] {
        // SAFETY: `db` is open and ours, and each of these options takes an int and a pointer to an int, which may be null.
        let set = unsafe {
            ffi::sqlite3_db_config(db, option, c_int::from(on == 1), ptr::null_mut::<c_int>())
        };
        if set != ffi::SQLITE_OK {
            return Err(fault(db));
        }
    }
    Ok(())
}

/// What ends a running statement where it does not look for an interrupt: between two jumps it runs on, and an attacker writes thousands of long
/// functions without one. With no room for a value or a pattern, the next instruction that makes, loads or matches one fails.
#[derive(Debug, Default)]
pub(crate) struct Brake(Mutex<Option<Db>>);

#[derive(Debug)]
struct Db(*mut ffi::sqlite3);

// SAFETY: the pointer is used only for `sqlite3_limit`, which SQLite allows from any thread; the lock around it says that the connection is still open.
unsafe impl Send for Db {}

impl Brake {
    fn fit(&self, db: *mut ffi::sqlite3) {
        *self.lock() = Some(Db(db));
    }

    /// The connection closes.
    fn remove(&self) {
        *self.lock() = None;
    }

    /// Ends what runs, if it handles any value worth the name, until it is let go.
    pub(crate) fn pull(&self) {
        self.set([0, 0]);
    }

    /// Lets statements run again.
    pub(crate) fn let_go(&self) {
        self.set([VALUE_BYTES.1, PATTERN_BYTES.1]);
    }

    fn set(&self, [value, pattern]: [c_int; 2]) {
        let db = self.lock();
        let Some(Db(db)) = &*db else {
            return;
        };
        for (limit, most) in [(VALUE_BYTES.0, value), (PATTERN_BYTES.0, pattern)] {
            // SAFETY: the connection is open, for it takes itself out of here under the same lock before it closes. The limit is one aligned integer, which
            // the connection's thread reads anew for each use while we write it: it finds the old or the new one, and each is a limit that it can keep.
            unsafe { ffi::sqlite3_limit(*db, limit, most) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Db>> {
        // One assignment, so it is whole whatever happened.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a statement without running it.
///
/// # Errors
/// What SQLite finds wrong with it, the gate's refusals among it.
pub(crate) fn parse(handle: &mut LockedSqliteHandle<'_>, statement: &str) -> Result<Parsed, Fault> {
    let db = handle.as_raw_handle().as_ptr();
    refresh(db)?;
    let (first, rest) = prepare(db, statement)?;
    let Some(first) = first else {
        return Ok(Parsed::Empty);
    };
    // Nothing but blanks, comments and semicolons compiles to nothing; whatever does not compile is not that either.
    if !matches!(prepare(db, rest), Ok((None, _))) {
        return Ok(Parsed::Several);
    }
    Ok(Parsed::One(first.shape()))
}

/// A transaction is open on this connection.
pub(crate) fn in_transaction(handle: &mut LockedSqliteHandle<'_>) -> bool {
    // SAFETY: the lock keeps the worker's thread out, and the connection is open.
    unsafe { ffi::sqlite3_get_autocommit(handle.as_raw_handle().as_ptr()) == 0 }
}

/// A compiled statement that is never run; it ends with its owner.
struct Prepared(ptr::NonNull<ffi::sqlite3_stmt>);

impl Prepared {
    fn shape(&self) -> Shape {
        let statement = self.0.as_ptr();
        // SAFETY: the statement is compiled and not yet finalized, as for every call below; indices are within the counts that SQLite says, and what
        // it hands out (C strings or null) lives until the statement ends and is copied at once.
        let (parameters, columns) = unsafe {
            (
                ffi::sqlite3_bind_parameter_count(statement),
                ffi::sqlite3_column_count(statement),
            )
        };
        Shape {
            parameters: (1..=parameters)
                // SAFETY: see above.
                .map(|n| text(unsafe { ffi::sqlite3_bind_parameter_name(statement, n) }))
                .collect(),
            columns: (0..columns)
                .map(|n| {
                    // SAFETY: see above.
                    let name = unsafe { ffi::sqlite3_column_name(statement, n) };
                    // SAFETY: see above.
                    let declared = unsafe { ffi::sqlite3_column_decltype(statement, n) };
                    (text(name).unwrap_or_default(), text(declared))
                })
                .collect(),
            // SAFETY: see above.
            reads_only: unsafe { ffi::sqlite3_stmt_readonly(statement) } != 0,
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: it was compiled by `prepare`, is owned here alone and finalized only here.
        unsafe { ffi::sqlite3_finalize(self.0.as_ptr()) };
    }
}

/// Compiles the first statement of the text, and says what text follows it.
fn prepare(db: *mut ffi::sqlite3, statement: &str) -> Result<(Option<Prepared>, &str), Fault> {
    let mut compiled = ptr::null_mut();
    let mut tail: *const c_char = ptr::null();
    let Ok(length) = c_int::try_from(statement.len()) else {
        return Err(Fault {
            code: ffi::SQLITE_TOOBIG,
            message: "statement too long".into(),
        });
    };
    let start = statement.as_ptr().cast::<c_char>();
    // SAFETY: the caller holds the lock on the handle; the text is read up to `length` bytes, which it has; both results are valid to write to.
    let status = unsafe { ffi::sqlite3_prepare_v2(db, start, length, &mut compiled, &mut tail) };
    let compiled = ptr::NonNull::new(compiled).map(Prepared);
    if status != ffi::SQLITE_OK {
        return Err(fault(db));
    }
    // The tail points into the text, behind the first statement.
    let used = (tail as usize).saturating_sub(start as usize);
    Ok((compiled, statement.get(used..).unwrap_or_default()))
}

/// Notices what other connections have changed in the schema. SQLite itself does so only when a statement begins to run, and would then compile it anew
/// behind the back of sqlx, which knows the columns from the first time.
fn refresh(db: *mut ffi::sqlite3) -> Result<(), Fault> {
    let (Some(look), _) = prepare(db, "select 1 from sqlite_schema limit 0")? else {
        return Ok(());
    };
    // SAFETY: the statement is compiled and not finalized, and the caller holds the lock on its connection.
    match unsafe { ffi::sqlite3_step(look.0.as_ptr()) } {
        ffi::SQLITE_DONE | ffi::SQLITE_ROW => Ok(()),
        _ => Err(fault(db)),
    }
}

fn fault(db: *mut ffi::sqlite3) -> Fault {
    // SAFETY: the caller holds the lock on the open handle; the text lives until its next use and is copied at once.
    unsafe {
        Fault {
            code: ffi::sqlite3_extended_errcode(db),
            message: text(ffi::sqlite3_errmsg(db)).unwrap_or_default(),
        }
    }
}

fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: SQLite's texts end with a zero byte and live while their owner does, which is longer than this copy takes.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned())
}

/// SQLite asks before it compiles each action. It must not panic, nor use the connection.
unsafe extern "C" fn authorize(
    data: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: `data` is the gate that `shut` gave to the connection, which keeps it until it closes; the gate is only ever read through atomics.
    let Some(gate) = (unsafe { data.cast::<Gate>().as_ref() }) else {
        return ffi::SQLITE_DENY;
    };
    if gate.judge(action, text(first).as_deref(), text(second).as_deref()) {
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_DENY
    }
}

/// SQLite lets go of the gate: the connection closes, and is not yet freed.
unsafe extern "C" fn release(data: *mut c_void) {
    // SAFETY: `data` is the strong reference that `shut` gave away, and SQLite calls this once for it.
    let gate = unsafe { Arc::from_raw(data.cast::<Gate>().cast_const()) };
    gate.brake().remove();
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;
    use sqlx::sqlite::SqliteConnection;

    use super::*;

    async fn shut_connection() -> (SqliteConnection, Arc<Gate>) {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let gate = Arc::new(Gate::default());
        shut(&mut connection.lock_handle().await.unwrap(), &gate).unwrap();
        (connection, gate)
    }

    #[tokio::test]
    async fn the_connection_keeps_the_gate_and_lets_it_go() {
        let (connection, gate) = shut_connection().await;
        assert_eq!(Arc::strong_count(&gate), 2);
        connection.close().await.unwrap();
        // The worker's thread closes the file after it has answered; it holds nothing else that could wait.
        while Arc::strong_count(&gate) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_statement_is_read_as_sqlite_reads_it() {
        let (mut connection, gate) = shut_connection().await;
        let mut handle = connection.lock_handle().await.unwrap();
        let one = parse(
            &mut handle,
            "select $1 as a, ? as b, $1 as c -- done\n;; /* nothing */ ",
        )
        .unwrap();
        assert_eq!(
            one,
            Parsed::One(Shape {
                parameters: vec![Some("$1".into()), None],
                columns: vec![("a".into(), None), ("b".into(), None), ("c".into(), None)],
                reads_only: true,
            })
        );
        for several in [
            "select 1; select 2",
            "select 1; nonsense",
            "select 1; attach 'x' as y",
        ] {
            assert_eq!(
                parse(&mut handle, several),
                Ok(Parsed::Several),
                "{several}"
            );
        }
        for empty in ["", " ", "-- only a comment", ";;"] {
            assert_eq!(parse(&mut handle, empty), Ok(Parsed::Empty), "{empty}");
        }
        assert_eq!(
            parse(&mut handle, "selct").unwrap_err().code,
            ffi::SQLITE_ERROR
        );
        gate.reset();
        assert_eq!(
            parse(&mut handle, "attach 'x' as y").unwrap_err().code,
            ffi::SQLITE_AUTH
        );
        assert!(gate.refused().is_some());
        assert!(!in_transaction(&mut handle));
    }
}
