//! Lines for the server's log, and the last words of a panic.

use crate::logging;

/// Makes a module.
#[doc(hidden)]
#[must_use]
pub fn module<T: Default>() -> T {
    say_panics();
    T::default()
}

/// Sees to it that a panic says something: a trap alone has no text. `describe` needs it as well, which runs without a module.
#[doc(hidden)]
pub fn say_panics() {
    std::panic::set_hook(Box::new(|panic| {
        logging::log(logging::Level::Error, &panic.to_string(), &[]);
    }));
}

/// Writes a line to the server's log, when anybody reads its level: `log!(Info, "{name} joined")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($message:tt)+) => {
        if $crate::logging::enabled($crate::logging::Level::$level) {
            $crate::logging::log(
                $crate::logging::Level::$level,
                &::std::format!($($message)+),
                &[],
            );
        }
    };
}
