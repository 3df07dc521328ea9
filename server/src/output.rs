//! What a command prints: results to standard output, what people should know to standard error. A reader that went away ends nothing.

use std::io::Write as _;

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{}", text.as_ref()));
}

/// Writes bytes as they are to standard output, and sends them on their way.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes a line to standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{}", text.as_ref()));
}
