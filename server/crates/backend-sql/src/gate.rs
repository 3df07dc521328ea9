//! What a module's statement may do, decided action by action while SQLite compiles it, and the flag that ends a running one. It calls nothing of
//! SQLite's but the brake: `authorizer` and the progress handler ask it, from whichever thread the connection works on.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use libsqlite3_sys as ffi;

use crate::authorizer::Brake;

/// One connection's judge. Only one statement at a time is compiled or run on a connection, so the flags belong to that one.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The statement is ours (BEGIN, COMMIT, ROLLBACK), not a module's.
    host: AtomicBool,
    /// The running statement shall end.
    interrupted: AtomicBool,
    /// The connection did not come to an end when it was told to.
    abandoned: AtomicBool,
    /// The action that was refused last; 0 for none (no action that is asked for has that number).
    refused: AtomicI32,
    /// Rows of a table are inserted, updated or deleted.
    changes_rows: AtomicBool,
    /// The schema is changed.
    changes_schema: AtomicBool,
    /// The schema may become larger.
    grows_schema: AtomicBool,
    /// Text is searched with MATCH.
    searches: AtomicBool,
    brake: Brake,
}

/// Why a statement was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It begins, ends or nests a transaction by itself.
    Transaction,
    /// It leaves the sandbox; which door it tried.
    Door(&'static str),
}

impl Gate {
    /// Forgets the last statement.
    pub(crate) fn reset(&self) {
        self.refused.store(0, Ordering::Release);
        self.changes_rows.store(false, Ordering::Release);
        self.changes_schema.store(false, Ordering::Release);
        self.grows_schema.store(false, Ordering::Release);
        self.searches.store(false, Ordering::Release);
    }

    /// Whether the next statements are ours.
    pub(crate) fn set_host(&self, host: bool) {
        self.host.store(host, Ordering::Release);
    }

    /// Ends the running statement at its next look, or at the next of its instructions that would take long.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.brake.pull();
    }

    /// Lets statements run again; not on a connection that was given up, where one may still be on its way to its end.
    pub(crate) fn clear_interrupt(&self) {
        if !self.is_abandoned() {
            self.interrupted.store(false, Ordering::Release);
            self.brake.let_go();
        }
    }

    /// What ends a statement that does not look.
    pub(crate) fn brake(&self) -> &Brake {
        &self.brake
    }

    /// The running statement shall end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Gives the connection up: whatever runs on it, nobody waits for it any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// The connection was given up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Why the last statement was refused; none if it was not refused here.
    pub(crate) fn refused(&self) -> Option<Refused> {
        match self.refused.load(Ordering::Acquire) {
            0 => None,
            ffi::SQLITE_TRANSACTION | ffi::SQLITE_SAVEPOINT => Some(Refused::Transaction),
            ffi::SQLITE_ATTACH => Some(Refused::Door("ATTACH or VACUUM")),
            ffi::SQLITE_DETACH => Some(Refused::Door("DETACH")),
            ffi::SQLITE_PRAGMA => Some(Refused::Door("PRAGMA")),
            ffi::SQLITE_ANALYZE => Some(Refused::Door("ANALYZE")),
            ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE => {
                Some(Refused::Door("statistics of the planner"))
            }
            ffi::SQLITE_FUNCTION => Some(Refused::Door("function")),
            ffi::SQLITE_CREATE_VTABLE | ffi::SQLITE_DROP_VTABLE => {
                Some(Refused::Door("virtual table"))
            }
            ffi::SQLITE_CREATE_TEMP_TABLE
            | ffi::SQLITE_CREATE_TEMP_VIEW
            | ffi::SQLITE_CREATE_TEMP_INDEX
            | ffi::SQLITE_CREATE_TEMP_TRIGGER => Some(Refused::Door("TEMP")),
            _ => Some(Refused::Door("unknown action")),
        }
    }

    /// The last statement changes rows, and SQLite's count of them is about it: a definition (CREATE TABLE … AS) leaves the count of an earlier one.
    pub(crate) fn counts_rows(&self) -> bool {
        self.changes_rows.load(Ordering::Acquire) && !self.changes_schema.load(Ordering::Acquire)
    }

    /// The last statement may make the schema larger.
    pub(crate) fn grows_schema(&self) -> bool {
        self.grows_schema.load(Ordering::Acquire)
    }

    /// The last statement searches text with MATCH.
    pub(crate) fn searches(&self) -> bool {
        self.searches.load(Ordering::Acquire)
    }

    /// Whether the action may be compiled; `first` and `second` are what SQLite says about it.
    pub(crate) fn judge(&self, action: i32, first: Option<&str>, second: Option<&str>) -> bool {
        // A compilation ends soonest at its next action: SQLite itself looks less often.
        if self.is_interrupted() {
            return false;
        }
        self.note(action, first, second);
        let allowed = self.host.load(Ordering::Acquire) || allows(action, first, second);
        if !allowed {
            self.refused.store(action, Ordering::Release);
        }
        allowed
    }

    fn note(&self, action: i32, first: Option<&str>, second: Option<&str>) {
        match action {
            // `a MATCH b` is compiled into `match(b, a)`.
            ffi::SQLITE_FUNCTION
                if second.is_some_and(|name| name.eq_ignore_ascii_case("match")) =>
            {
                self.searches.store(true, Ordering::Release);
            }
            // A definition is compiled into changes of SQLite's own tables.
            ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE
                if !first.is_some_and(|table| table.starts_with("sqlite_")) =>
            {
                self.changes_rows.store(true, Ordering::Release);
            }
            ffi::SQLITE_CREATE_TABLE
            | ffi::SQLITE_CREATE_INDEX
            | ffi::SQLITE_CREATE_TRIGGER
            | ffi::SQLITE_CREATE_VIEW
            | ffi::SQLITE_CREATE_VTABLE
            | ffi::SQLITE_ALTER_TABLE => {
                self.changes_schema.store(true, Ordering::Release);
                self.grows_schema.store(true, Ordering::Release);
            }
            ffi::SQLITE_DROP_TABLE
            | ffi::SQLITE_DROP_INDEX
            | ffi::SQLITE_DROP_TRIGGER
            | ffi::SQLITE_DROP_VIEW
            | ffi::SQLITE_DROP_VTABLE
            | ffi::SQLITE_REINDEX => self.changes_schema.store(true, Ordering::Release),
            _ => {}
        }
    }
}

/// What is not named here is refused: a door that a later SQLite opens stays shut until somebody has looked through it.
fn allows(action: i32, first: Option<&str>, second: Option<&str>) -> bool {
    match action {
        // What ANALYZE has found every connection loads with the schema, up to a value of the largest size for each sample: a file's worth of memory, and
        // a database that nobody can open any more.
        ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE => {
            !first.is_some_and(|table| table.to_ascii_lowercase().starts_with("sqlite_stat"))
        }
        ffi::SQLITE_SELECT
        | ffi::SQLITE_READ
        | ffi::SQLITE_RECURSIVE
        | ffi::SQLITE_DELETE
        | ffi::SQLITE_CREATE_TABLE
        | ffi::SQLITE_CREATE_INDEX
        | ffi::SQLITE_CREATE_TRIGGER
        | ffi::SQLITE_CREATE_VIEW
        | ffi::SQLITE_DROP_TABLE
        | ffi::SQLITE_DROP_INDEX
        | ffi::SQLITE_DROP_TRIGGER
        | ffi::SQLITE_DROP_VIEW
        | ffi::SQLITE_ALTER_TABLE
        | ffi::SQLITE_REINDEX => true,
        // The name stands second.
        ffi::SQLITE_FUNCTION => second
            .is_some_and(|name| !FUNCTIONS_REFUSED.contains(&name.to_ascii_lowercase().as_str())),
        // Full text and spatial search stay inside the file; anything else that is virtual may not.
        ffi::SQLITE_CREATE_VTABLE | ffi::SQLITE_DROP_VTABLE => second
            .is_some_and(|module| VIRTUAL_TABLES.contains(&module.to_ascii_lowercase().as_str())),
        // These two SQLite's own search tables ask for, and asking changes nothing.
        ffi::SQLITE_PRAGMA => {
            second.is_none() && matches!(first, Some("data_version" | "page_size"))
        }
        // Temporary objects would stay on the pooled connection and meet the next module there.
        _ => false,
    }
}

/// `load_extension` runs foreign code; `fts3_tokenizer` takes an address. The others take everything with everything (keys of two objects, places of a
/// word), for minutes and in one instruction; json can be patched, and texts be cut and marked, by the module.
const FUNCTIONS_REFUSED: [&str; 6] = [
    "load_extension",
    "fts3_tokenizer",
    "json_patch",
    "jsonb_patch",
    "snippet",
    "highlight",
];
const VIRTUAL_TABLES: [&str; 2] = ["fts5", "rtree"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_refused_and_named() {
        let cases = [
            (
                ffi::SQLITE_ATTACH,
                Some("/etc/x"),
                None,
                Refused::Door("ATTACH or VACUUM"),
            ),
            (ffi::SQLITE_DETACH, Some("x"), None, Refused::Door("DETACH")),
            (
                ffi::SQLITE_PRAGMA,
                Some("synchronous"),
                Some("OFF"),
                Refused::Door("PRAGMA"),
            ),
            (
                ffi::SQLITE_PRAGMA,
                Some("page_size"),
                Some("512"),
                Refused::Door("PRAGMA"),
            ),
            (
                ffi::SQLITE_FUNCTION,
                None,
                Some("LOAD_extension"),
                Refused::Door("function"),
            ),
            (
                ffi::SQLITE_CREATE_VTABLE,
                Some("t"),
                Some("csv"),
                Refused::Door("virtual table"),
            ),
            (
                ffi::SQLITE_CREATE_TEMP_TABLE,
                Some("t"),
                None,
                Refused::Door("TEMP"),
            ),
            (
                ffi::SQLITE_SAVEPOINT,
                Some("BEGIN"),
                Some("a"),
                Refused::Transaction,
            ),
            (
                ffi::SQLITE_TRANSACTION,
                Some("BEGIN"),
                None,
                Refused::Transaction,
            ),
            (999, None, None, Refused::Door("unknown action")),
        ];
        for (action, first, second, expected) in cases {
            let gate = Gate::default();
            assert!(!gate.judge(action, first, second), "{action}");
            assert_eq!(gate.refused(), Some(expected), "{action}");
            gate.reset();
            assert_eq!(gate.refused(), None);
        }
    }

    #[test]
    fn our_own_transactions_pass() {
        let gate = Gate::default();
        gate.set_host(true);
        assert!(gate.judge(ffi::SQLITE_TRANSACTION, Some("BEGIN"), None));
        gate.set_host(false);
        assert!(!gate.judge(ffi::SQLITE_TRANSACTION, Some("BEGIN"), None));
    }

    #[test]
    fn nothing_more_is_compiled_once_it_is_interrupted() {
        let gate = Gate::default();
        gate.interrupt();
        assert!(!gate.judge(ffi::SQLITE_SELECT, None, None));
        assert_eq!(gate.refused(), None);
        gate.clear_interrupt();
        assert!(gate.judge(ffi::SQLITE_SELECT, None, None));
        gate.interrupt();
        gate.abandon();
        gate.clear_interrupt();
        assert!(
            gate.is_interrupted(),
            "what nobody waits for ends all the same"
        );
    }

    #[test]
    fn a_search_is_noticed_until_the_next_statement() {
        let gate = Gate::default();
        gate.judge(ffi::SQLITE_FUNCTION, None, Some("count"));
        assert!(!gate.searches());
        gate.judge(ffi::SQLITE_FUNCTION, None, Some("match"));
        assert!(gate.searches());
        gate.reset();
        assert!(!gate.searches());
    }

    #[test]
    fn only_changed_rows_count() {
        let gate = Gate::default();
        gate.judge(ffi::SQLITE_SELECT, None, None);
        assert!(!gate.counts_rows());
        gate.judge(ffi::SQLITE_UPDATE, Some("sqlite_master"), None);
        assert!(!gate.counts_rows());
        gate.judge(ffi::SQLITE_INSERT, Some("t"), None);
        assert!(gate.counts_rows());
        gate.judge(ffi::SQLITE_CREATE_TABLE, Some("t"), None);
        assert!(!gate.counts_rows());
    }
}
