//! Where in a module's files something stands, as far as Luau can tell: the line that runs, and the line at which a function begins. A table keeps no lines.

use core::fmt;

use mlua::{Function, Lua};

/// Frames between a function of the contract and the line that called it: what waits for it, a `pcall` or two, a function of the prelude.
const FRAMES_MAX: usize = 8;

/// A line of a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    source: String,
    line: usize,
}

impl Place {
    /// A line of this source; none if that is not the module's own.
    pub(crate) fn new(source: Option<&str>, line: Option<usize>) -> Option<Self> {
        let (source, line) = (source?, line?);
        // The prelude, what waits inside of the binding, and what is no Luau at all.
        let own = !source.starts_with("@cohnect/") && !source.starts_with("__mlua");
        (own && line > 0).then(|| Self {
            source: source.to_owned(),
            line,
        })
    }

    /// The innermost line of the module that runs.
    pub(crate) fn of_caller(lua: &Lua) -> Option<Self> {
        for level in 0..FRAMES_MAX {
            let place = lua.inspect_stack(level, |debug| {
                let source = debug.source();
                let lua = source.what != "C";
                lua.then(|| Self::new(source.short_src.as_deref(), debug.current_line()))
                    .flatten()
            })?;
            if place.is_some() {
                return place;
            }
        }
        None
    }

    /// Where a function of the module begins.
    pub(crate) fn of_function(function: &Function) -> Option<Self> {
        let info = function.info();
        if info.what == "C" {
            return None;
        }
        Self::new(info.short_src.as_deref(), info.line_defined)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}
