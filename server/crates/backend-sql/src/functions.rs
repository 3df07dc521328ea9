//! The functions that replace SQLite's own of the same name, because those take the product of their arguments' lengths, minutes for two long values, in
//! one instruction that nothing interrupts. What they compute stands in `text`; here is how SQLite calls it. `unsafe`, like `authorizer`.

use core::ffi::{CStr, c_int, c_void};
use core::slice;

use libsqlite3_sys as ffi;

use crate::gate::Gate;
use crate::text::{self, Set, Stopped};

type Function =
    unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

/// Their names, how many arguments they take, and themselves. The `trim` and `unhex` of one argument are quick as they are.
const FUNCTIONS: [(&CStr, c_int, Function); 6] = [
    (c"instr", 2, instr),
    (c"replace", 3, replace),
    (c"trim", 2, trim),
    (c"ltrim", 2, ltrim),
    (c"rtrim", 2, rtrim),
    (c"unhex", 2, unhex),
];

/// Puts them in place of SQLite's.
///
/// # Safety
/// `db` is open, nobody else uses it meanwhile, and `gate` lives for as long as statements run on it.
pub(crate) unsafe fn replace_slow(db: *mut ffi::sqlite3, gate: *const Gate) -> bool {
    // As SQLite's own are: usable in indexes and checks, and in the schema of a file that is not trusted.
    let traits = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;
    FUNCTIONS.into_iter().all(|(name, arguments, function)| {
        let data = gate.cast_mut().cast::<c_void>();
        // SAFETY: `db` is open and ours by the caller's word; the name is a C string, `function` has the signature that SQLite asks for, and `data` is only
        // ever read, as the gate that lives long enough.
        let made = unsafe {
            ffi::sqlite3_create_function_v2(
                db,
                name.as_ptr(),
                arguments,
                traits,
                data,
                Some(function),
                None,
                None,
                None,
            )
        };
        made == ffi::SQLITE_OK
    })
}

/// One call of a function: its arguments, and where its result goes.
struct Call<'a> {
    context: *mut ffi::sqlite3_context,
    values: &'a [*mut ffi::sqlite3_value],
}

impl<'a> Call<'a> {
    /// # Safety
    /// The arguments are those with which SQLite calls a function that `replace_slow` has made, and the call ends before that returns.
    unsafe fn new(
        context: *mut ffi::sqlite3_context,
        count: c_int,
        values: *mut *mut ffi::sqlite3_value,
    ) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: SQLite hands over `count` values, more than none, that live for the call.
        let values = unsafe { slice::from_raw_parts(values, count) };
        Self { context, values }
    }

    fn kind(&self, n: usize) -> c_int {
        self.values.get(n).map_or(ffi::SQLITE_NULL, |value| {
            // SAFETY: the value lives for the call.
            unsafe { ffi::sqlite3_value_type(*value) }
        })
    }

    /// The argument as text; none for NULL, and for want of memory.
    fn text(&self, n: usize) -> Option<&'a [u8]> {
        let value = *self.values.get(n)?;
        // SAFETY: the value lives for the call. The text is asked for before its length, as SQLite wants it, and both hold until the value is asked for
        // something else, which no function here does.
        unsafe { bytes(ffi::sqlite3_value_text(value), value) }
    }

    /// The argument as a blob, which an empty one is, too.
    fn blob(&self, n: usize) -> &'a [u8] {
        let Some(value) = self.values.get(n).copied() else {
            return &[];
        };
        // SAFETY: as for `text`.
        unsafe { bytes(ffi::sqlite3_value_blob(value).cast(), value) }.unwrap_or_default()
    }

    /// The longest value of the connection.
    fn most(&self) -> usize {
        // SAFETY: the context is SQLite's, for the call; -1 asks for the limit and leaves it.
        let most = unsafe {
            let db = ffi::sqlite3_context_db_handle(self.context);
            ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, -1)
        };
        usize::try_from(most).unwrap_or(0)
    }

    fn is_interrupted(&self) -> bool {
        // SAFETY: the data of these functions is the gate, which lives while statements run, and is only ever read through atomics and locks.
        let gate = unsafe { ffi::sqlite3_user_data(self.context).cast::<Gate>().as_ref() };
        gate.is_none_or(Gate::is_interrupted)
    }

    fn give_number(&self, number: usize) {
        // SAFETY: the context is SQLite's, for the call.
        unsafe { ffi::sqlite3_result_int64(self.context, number as i64) }
    }

    fn give_text(&self, text: &[u8]) {
        let start = text.as_ptr().cast();
        let encoding = ffi::SQLITE_UTF8 as u8;
        // SAFETY: the context is SQLite's, for the call; it copies the text, which is as long as is said, before it returns.
        unsafe {
            ffi::sqlite3_result_text64(
                self.context,
                start,
                text.len() as u64,
                ffi::SQLITE_TRANSIENT(),
                encoding,
            );
        }
    }

    fn give_blob(&self, blob: &[u8]) {
        let start = blob.as_ptr().cast();
        // SAFETY: as for `give_text`; the pointer of an empty slice is not null, so this is an empty blob and not NULL.
        unsafe {
            ffi::sqlite3_result_blob64(
                self.context,
                start,
                blob.len() as u64,
                ffi::SQLITE_TRANSIENT(),
            );
        }
    }

    fn fail(&self, code: c_int) {
        // SAFETY: the context is SQLite's, for the call.
        unsafe { ffi::sqlite3_result_error_code(self.context, code) }
    }
}

/// # Safety
/// `start` is null or what SQLite says the content of `value` is, in the form whose length `sqlite3_value_bytes` now has.
unsafe fn bytes<'a>(start: *const u8, value: *mut ffi::sqlite3_value) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: by the caller's word.
    unsafe {
        let length = usize::try_from(ffi::sqlite3_value_bytes(value)).unwrap_or(0);
        Some(slice::from_raw_parts(start, length))
    }
}

/// A copy of a value, to be read in another form than the original, which stays what it is.
struct Duplicate(*mut ffi::sqlite3_value);

impl Duplicate {
    fn of(call: &Call<'_>, n: usize) -> Option<Self> {
        let value = *call.values.get(n)?;
        // SAFETY: the value lives for the call; the copy is freed once, by its owner.
        let copy = unsafe { ffi::sqlite3_value_dup(value) };
        (!copy.is_null()).then_some(Self(copy))
    }

    fn text(&self) -> Option<&[u8]> {
        // SAFETY: the copy lives as long as its owner, and is asked for nothing else.
        unsafe { bytes(ffi::sqlite3_value_text(self.0), self.0) }
    }
}

impl Drop for Duplicate {
    fn drop(&mut self) {
        // SAFETY: it was made by `sqlite3_value_dup`, is owned here alone and freed only here.
        unsafe { ffi::sqlite3_value_free(self.0) }
    }
}

unsafe extern "C" fn instr(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    let call = unsafe { Call::new(context, count, values) };
    let kinds = [call.kind(0), call.kind(1)];
    if kinds.contains(&ffi::SQLITE_NULL) {
        return;
    }
    if call.is_interrupted() {
        return call.fail(ffi::SQLITE_INTERRUPT);
    }
    let found =
        match kinds.map(|kind| kind == ffi::SQLITE_BLOB) {
            [true, true] => Some(text::position(call.blob(0), call.blob(1), false)),
            [false, false] => call
                .text(0)
                .zip(call.text(1))
                .map(|(haystack, needle)| text::position(haystack, needle, true)),
            // Of one value the other's form is wanted, and what else uses it must not find it changed.
            [true, false] | [false, true] => Duplicate::of(&call, 0)
                .zip(Duplicate::of(&call, 1))
                .map(|(haystack, needle)| {
                    // An empty blob has no text; SQLite looks at the needle's length before it asks for one.
                    let needle = needle.text().unwrap_or_default();
                    match haystack.text() {
                        Some(haystack) => text::position(haystack, needle, true),
                        None => usize::from(needle.is_empty()),
                    }
                }),
        };
    match found {
        Some(found) => call.give_number(found),
        None => call.fail(ffi::SQLITE_NOMEM),
    }
}

unsafe extern "C" fn replace(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    let call = unsafe { Call::new(context, count, values) };
    let Some((text, pattern)) = call.text(0).zip(call.text(1)) else {
        return;
    };
    // SQLite finds it empty by its first byte.
    if pattern.first().is_none_or(|first| *first == 0) {
        return call.give_text(text);
    }
    let Some(replacement) = call.text(2) else {
        return;
    };
    if call.is_interrupted() {
        return call.fail(ffi::SQLITE_INTERRUPT);
    }
    match text::replaced(text, pattern, replacement, call.most()) {
        Some(replaced) => call.give_text(&replaced),
        None => call.fail(ffi::SQLITE_TOOBIG),
    }
}

/// # Safety
/// As for [`Call::new`].
unsafe fn trimmed(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
    [at_start, at_end]: [bool; 2],
) {
    // SAFETY: by the caller's word.
    let call = unsafe { Call::new(context, count, values) };
    let Some((text, list)) = call.text(0).zip(call.text(1)) else {
        return;
    };
    let watch = || call.is_interrupted();
    if watch() {
        return call.fail(ffi::SQLITE_INTERRUPT);
    }
    if text.is_empty() {
        return call.give_text(text);
    }
    let set = Set::of(list);
    let trim = || -> Result<_, Stopped> {
        let text = if at_start {
            set.trim_start(text, &watch)?
        } else {
            text
        };
        if at_end {
            set.trim_end(text, &watch)
        } else {
            Ok(text)
        }
    };
    match trim() {
        Ok(text) => call.give_text(text),
        Err(Stopped) => call.fail(ffi::SQLITE_INTERRUPT),
    }
}

unsafe extern "C" fn trim(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    unsafe { trimmed(context, count, values, [true, true]) }
}

unsafe extern "C" fn ltrim(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    unsafe { trimmed(context, count, values, [true, false]) }
}

unsafe extern "C" fn rtrim(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    unsafe { trimmed(context, count, values, [false, true]) }
}

unsafe extern "C" fn unhex(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite calls it.
    let call = unsafe { Call::new(context, count, values) };
    let Some((hex, passed)) = call.text(0).zip(call.text(1)) else {
        return;
    };
    if call.is_interrupted() {
        return call.fail(ffi::SQLITE_INTERRUPT);
    }
    if let Some(bytes) = text::unhexed(hex, passed) {
        call.give_blob(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::sqlite::SqliteConnection;
    use sqlx::{AssertSqlSafe, Connection as _};

    use crate::authorizer;

    use super::*;

    /// Small numbers that are as good as drawn.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % most as u64) as usize
        }

        /// An argument as it stands in a statement: NULL, a number, a text or a blob, of few different bytes, so that much of it repeats and matches.
        fn argument(&mut self) -> String {
            const BYTES: [u8; 14] = [
                b'a', b'a', b'b', b'0', b'F', b' ', 0, 0xC3, 0xB1, 0xB1, 0xE2, 0x82, 0xF0, 0xFF,
            ];
            let kinds = if self.below(2) == 0 { 5 } else { BYTES.len() };
            let bytes: String = (0..self.below(9))
                .map(|_| format!("{:02x}", BYTES[self.below(kinds)]))
                .collect();
            match self.below(12) {
                0 => "null".to_owned(),
                1 => self.below(200).to_string(),
                2 => format!("{}.5", self.below(20)),
                3..=5 => format!("x'{bytes}'"),
                _ => format!("cast(x'{bytes}' as text)"),
            }
        }
    }

    async fn own_and_ours() -> [SqliteConnection; 2] {
        let own = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut ours = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let gate = Arc::new(Gate::default());
        authorizer::shut(&mut ours.lock_handle().await.unwrap(), &gate).unwrap();
        [own, ours]
    }

    async fn answer(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
            .persistent(false)
            .fetch_all(connection)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn they_answer_as_sqlites_own_do() {
        let [mut own, mut ours] = own_and_ours().await;
        let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
        for _ in 0..4_000 {
            let [a, b, c] = [draw.argument(), draw.argument(), draw.argument()];
            let calls = [
                format!("instr({a}, {b})"),
                format!("replace({a}, {b}, {c})"),
                format!("trim({a}, {b})"),
                format!("ltrim({a}, {b})"),
                format!("rtrim({a}, {b})"),
                format!("unhex({a}, {b})"),
            ];
            let calls = calls.map(|call| {
                format!("select coalesce(typeof(r) || hex(r), 'none') from (select {call} as r)")
            });
            let statement = calls.join(" union all ");
            let expected = answer(&mut own, &statement).await;
            assert_eq!(expected.len(), 6);
            assert_eq!(answer(&mut ours, &statement).await, expected, "{statement}");
        }
    }

    #[tokio::test]
    async fn an_argument_that_is_read_in_another_form_stays_what_it_is() {
        let [mut own, mut ours] = own_and_ours().await;
        for call in [
            "instr(a, 'b')",
            "instr('xab', a)",
            "replace(a, 'a', 'b')",
            "trim(a, 'a')",
        ] {
            let statement = format!(
                "select typeof(a) || {call} || typeof(a) from (select x'6162' as a union all select 12)"
            );
            let expected = answer(&mut own, &statement).await;
            assert_eq!(answer(&mut ours, &statement).await, expected, "{statement}");
        }
    }

    #[tokio::test]
    async fn they_serve_in_indexes_and_checks_as_sqlites_own_do() {
        let [_, mut ours] = own_and_ours().await;
        for statement in [
            "create table t (a text check (instr(a, 'x') = 0), b text generated always as (replace(a, 'a', 'b')) stored)",
            "create index by_trimmed on t (trim(a, '-'))",
            "insert into t (a) values ('-a-')",
        ] {
            sqlx::query(AssertSqlSafe(statement))
                .persistent(false)
                .execute(&mut ours)
                .await
                .unwrap();
        }
        let found = answer(&mut ours, "select b from t where trim(a, '-') = 'a'").await;
        assert_eq!(found, ["-b-"]);
        let plan = "explain query plan select b from t where trim(a, '-') = 'a'";
        let plan: (i64, i64, i64, String) =
            sqlx::query_as(plan).fetch_one(&mut ours).await.unwrap();
        assert!(plan.3.contains("by_trimmed"), "{}", plan.3);
    }

    #[tokio::test]
    async fn a_result_beyond_the_longest_value_is_an_error() {
        let [_, mut ours] = own_and_ours().await;
        let statement = "select replace(hex(zeroblob(400000)), '0', 'long')";
        let error = sqlx::query(statement)
            .persistent(false)
            .execute(&mut ours)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("too big"), "{error}");
    }
}
