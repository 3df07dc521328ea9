//! Lines for the server's log, and the last words of a panic.

use crate::logging;

/// Makes a module, and sees to it that a panic says something: a trap alone has no text.
#[doc(hidden)]
#[must_use]
pub fn module<T: Default>() -> T {
    std::panic::set_hook(Box::new(|panic| {
        logging::log(logging::Level::Error, &panic.to_string(), &[]);
    }));
    T::default()
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
