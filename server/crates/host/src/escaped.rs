//! Text that a module wrote, or a file's name, as the log and the console show it: it forges no line, colours nothing and ends somewhere. It decides
//! nothing about who reads it.

use core::fmt::{self, Display, Write};

use crate::limits::LOG_BYTES_MAX;

/// What stands before each further line. A bar, since records are indented, too: their times begin with spaces.
const CONTINUED: &str = "\n    | ";

/// Shows what is inside with its control characters escaped, a bar before its further lines, and no more of it than one line of the log may have
/// ([`LOG_BYTES_MAX`]): a module repeats what clients send, as often as they send it.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

/// As [`Escaped`], in one line: a name or a path, which has no further lines.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_on(f, &self.0, CONTINUED)
    }
}

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_on(f, &self.0, "\\n")
    }
}

fn write_on(
    f: &mut fmt::Formatter<'_>,
    text: &impl Display,
    line_break: &'static str,
) -> fmt::Result {
    let mut paper = Paper {
        out: f,
        line_break,
        left: LOG_BYTES_MAX,
        full: false,
    };
    let written = write!(paper, "{text}");
    if paper.full {
        return f.write_str(" … (cut)");
    }
    written
}

/// Whether a character does something to the text around it instead of standing in it: begins a line, moves the cursor, or turns the direction of what
/// follows, so that a console shows something else than what is there.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Takes text until it is full; then it refuses, which ends the writing.
struct Paper<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    line_break: &'static str,
    left: usize,
    full: bool,
}

impl Write for Paper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let is_shown = c == '\t' || !is_hidden(c);
            // As it is written: escapes are longer than what they stand for.
            let length = if c == '\n' {
                self.line_break.len()
            } else if is_shown {
                c.len_utf8()
            } else {
                c.escape_default().len()
            };
            let Some(left) = self.left.checked_sub(length) else {
                self.full = true;
                return Err(fmt::Error);
            };
            self.left = left;
            if c == '\n' {
                self.out.write_str(self.line_break)?;
            } else if is_shown {
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
            "a\\u{1b}[31m\\rb\n    | ERROR c"
        );
    }

    #[test]
    fn no_further_line_begins_as_a_record_does() {
        let text =
            "a\n   0.5s  INFO loaded\n2026-01-01T00:00:00Z ERROR b\n\n\r\n{\"level\":\"INFO\"}\n";
        let shown = Escaped(text).to_string();
        assert_eq!(shown.lines().count(), 7, "{shown}");
        for line in shown.lines().skip(1) {
            // Times, of either format, and JSON objects begin otherwise.
            assert!(line.starts_with("    | "), "{line:?}");
        }
    }

    #[test]
    fn what_turns_or_breaks_a_line_in_other_scripts_is_escaped_too() {
        assert_eq!(
            Escaped("a\u{2028}b\u{2029}c\u{202e}d\u{2066}e\u{200f}").to_string(),
            "a\\u{2028}b\\u{2029}c\\u{202e}d\\u{2066}e\u{200f}"
        );
    }

    #[test]
    fn a_name_stays_in_its_line() {
        assert_eq!(
            OneLine("x\n   0.5s  INFO loaded\u{1b}[31m").to_string(),
            "x\\n   0.5s  INFO loaded\\u{1b}[31m"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let whole = "ä".repeat(LOG_BYTES_MAX / 2);
        assert_eq!(Escaped(&whole).to_string(), whole);
        let longer = format!("{whole}ä{}", "b".repeat(10_000_000));
        assert_eq!(Escaped(&longer).to_string(), format!("{whole} … (cut)"));
        let escaped = Escaped("\u{1}".repeat(LOG_BYTES_MAX)).to_string();
        assert!(escaped.len() <= LOG_BYTES_MAX + 16, "{}", escaped.len());
    }
}
