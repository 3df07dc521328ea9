//! How the codecs walk tables: whether one is a list or a map, each table looked at once, all of it counted, and the clock looked at meanwhile; and how they
//! say where in a value something is wrong. What is written is not here.

use core::ffi::c_void;
use std::rc::Rc;

use mlua::{Table, Value};
use rustc_hash::FxHashMap;

use crate::convert::describe;
use crate::safepoint::{self, DOOM};

/// Values in what a script encodes or decodes at once; each costs about a tenth of a microsecond.
pub(crate) const NODES_MAX: usize = 100_000;

/// Values between two looks at the clock: a tenth of a millisecond.
const LOOK_EVERY: usize = 1_024;

/// To be called with each value, counted from 1, and with 0 before the first.
///
/// # Errors
/// When the call has used its time up.
pub(crate) fn look(count: usize) -> mlua::Result<()> {
    if count.is_multiple_of(LOOK_EVERY) && safepoint::is_over() {
        return Err(mlua::Error::runtime(DOOM));
    }
    Ok(())
}

/// Why a value cannot be written.
pub(crate) enum Unwritten {
    /// For this reason.
    Whole(String),
    /// What is wrong with a part of it: the keys that lead there, the last one first, and how the sentence goes on. They are collected on the way out, so
    /// that what can be written costs nothing for them.
    Part(Vec<String>, String),
    /// Luau could not say, or the call has to end.
    Luau(mlua::Error),
}

impl Unwritten {
    /// The value at hand is wrong.
    pub(crate) const fn here(text: String) -> Self {
        Self::Part(Vec::new(), text)
    }

    /// It is wrong in the value of this key.
    pub(crate) fn under(mut self, key: &Value) -> Self {
        if let Self::Part(keys, _) = &mut self {
            keys.push(match key {
                Value::String(key) => format!(".{}", key.to_string_lossy()),
                other => format!("[{}]", describe(other)),
            });
        }
        self
    }

    /// The keys as a script writes them.
    pub(crate) fn path(keys: Vec<String>) -> String {
        keys.into_iter().rev().collect()
    }
}

impl From<mlua::Error> for Unwritten {
    fn from(error: mlua::Error) -> Self {
        Self::Luau(error)
    }
}

impl From<Stopped> for Unwritten {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TooMany => Self::Whole(format!("more than {NODES_MAX} values")),
            Stopped::Luau(error) => Self::Luau(error),
        }
    }
}

/// What a table is to a codec.
pub(crate) enum Form {
    /// Its keys are 1 to n.
    List(usize),
    /// Anything else; an empty table is a list.
    Map(Vec<(Value, Value)>),
}

/// Why a table cannot be written.
pub(crate) enum Stopped {
    /// There are more than [`NODES_MAX`] values.
    TooMany,
    /// Luau could not say.
    Luau(mlua::Error),
}

impl From<mlua::Error> for Stopped {
    fn from(error: mlua::Error) -> Self {
        Self::Luau(error)
    }
}

/// The tables of one value that is written.
pub(crate) struct Walk {
    /// Values that may still come; none where the memory of the replica bounds them.
    left: Option<usize>,
    /// What was found out about a table that may come again. Empty slots are walked, though they hold nothing: a table with room for 200,000 items that
    /// is named 5,000 times would take seconds. Walked once, all slots together are no more than what fits the replica's memory. At most one entry for
    /// each value that may come.
    known: FxHashMap<*const c_void, Rc<Form>>,
}

impl Walk {
    /// For what a script encodes: bounded, and a table may come again.
    pub(crate) fn bounded() -> Self {
        Self {
            left: Some(NODES_MAX),
            known: FxHashMap::default(),
        }
    }

    /// For what is kept, where each table is written once.
    pub(crate) fn of_kept() -> Self {
        Self {
            left: None,
            known: FxHashMap::default(),
        }
    }

    /// What this table is, its items counted. With `map` it is one, whatever its keys are; that belongs to the table, so it is the same each time.
    pub(crate) fn form(&mut self, table: &Table, map: bool) -> Result<Rc<Form>, Stopped> {
        let Some(left) = self.left else {
            return form(table, map, usize::MAX).map(Rc::new);
        };
        let found = match self.known.get(&table.to_pointer()) {
            Some(form) => Rc::clone(form),
            None => {
                let form = Rc::new(form(table, map, left)?);
                self.known.insert(table.to_pointer(), Rc::clone(&form));
                form
            }
        };
        let count = match &*found {
            Form::List(length) => *length,
            Form::Map(pairs) => pairs.len(),
        };
        // The table itself was counted as an item of the one around it.
        self.left = Some(left.checked_sub(count).ok_or(Stopped::TooMany)?);
        Ok(found)
    }
}

fn form(table: &Table, map: bool, most: usize) -> Result<Form, Stopped> {
    if !map && let Some(length) = list(table, most)? {
        return Ok(Form::List(length));
    }
    let mut pairs = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        look(pairs.len() + 1)?;
        if pairs.len() == most {
            return Err(Stopped::TooMany);
        }
        pairs.push(pair?);
    }
    Ok(Form::Map(pairs))
}

/// The length of a table whose keys are 1 to n.
fn list(table: &Table, most: usize) -> Result<Option<usize>, Stopped> {
    let length = table.raw_len();
    let mut count = 0_usize;
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        match key {
            Value::Integer(n) if n >= 1 && n as usize <= length => count += 1,
            Value::Number(n) if n.fract() == 0.0 && n >= 1.0 && n <= length as f64 => count += 1,
            _ => return Ok(None),
        }
        if count > most {
            return Err(Stopped::TooMany);
        }
        look(count)?;
    }
    Ok((count == length).then_some(length))
}
