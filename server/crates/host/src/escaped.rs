//! Text that a module wrote, as the log and the console show it: it forges no line, colours nothing and ends somewhere. It decides nothing about who
//! reads it.

use core::fmt::{self, Display, Write};

use crate::limits::LOG_BYTES_MAX;

/// Shows what is inside with its control characters escaped, its further lines indented, and no more of it than one line of the log may have
/// ([`LOG_BYTES_MAX`]): a module repeats what clients send, as often as they send it.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut paper = Paper {
            out: f,
            left: LOG_BYTES_MAX,
            full: false,
        };
        let written = write!(paper, "{}", self.0);
        if paper.full {
            return f.write_str(" … (cut)");
        }
        written
    }
}

/// Takes text until it is full; then it refuses, which ends the writing.
struct Paper<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
    full: bool,
}

impl Write for Paper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let Some(left) = self.left.checked_sub(c.len_utf8()) else {
                self.full = true;
                return Err(fmt::Error);
            };
            self.left = left;
            if c == '\n' {
                self.out.write_str("\n    ")?;
            } else if c == '\t' || !c.is_control() {
                self.out.write_char(c)?;
            } else {
                write!(self.out, "{}", c.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_cannot_forge_a_line_or_colour_the_console() {
        assert_eq!(
            Escaped("a\u{1b}[31m\rb\nERROR c").to_string(),
            "a\\u{1b}[31m\\rb\n    ERROR c"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let whole = "ä".repeat(LOG_BYTES_MAX / 2);
        assert_eq!(Escaped(&whole).to_string(), whole);
        let longer = format!("{whole}ä{}", "b".repeat(10_000_000));
        assert_eq!(Escaped(&longer).to_string(), format!("{whole} … (cut)"));
    }
}
