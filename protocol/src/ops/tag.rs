//! The grammar of tags (PROTOCOL.md 6.2). A tag that a client set for itself and one that it was given never meet: the former is listed with a
//! `~` before it.

use core::fmt;

use super::Malformed;

/// The longest tag in bytes: long enough for `team/red:captain`, short enough to have thousands.
pub const TAG_LEN_MAX: usize = 64;

/// A tag by itself: 1 to 64 of `A-Z a-z 0-9 _ . : / -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag<'a>(&'a str);

impl<'a> Tag<'a> {
    /// `text` as a tag.
    ///
    /// # Errors
    /// [`Malformed::Tag`] when it is outside the grammar.
    pub fn new(text: &'a str) -> Result<Self, Malformed> {
        let len = (1..=TAG_LEN_MAX).contains(&text.len());
        if len && text.bytes().all(is_tag_byte) {
            Ok(Self(text))
        } else {
            Err(Malformed::Tag("a tag"))
        }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A tag as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedTag<'a> {
    /// Whether the client set it for itself; shown by a leading `~`.
    pub own: bool,
    /// The tag without the `~`.
    pub tag: Tag<'a>,
}

impl<'a> ListedTag<'a> {
    /// `text` as a listed tag.
    ///
    /// # Errors
    /// [`Malformed::Tag`] when what follows an optional `~` is outside the grammar.
    pub fn new(text: &'a str) -> Result<Self, Malformed> {
        let (own, text) = match text.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Tag::new(text).map(|tag| Self { own, tag })
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let len = self.tag.0.len() + usize::from(self.own);
        out.push(u8::try_from(len).expect("invariant: a listed tag has at most 65 bytes"));
        if self.own {
            out.push(b'~');
        }
        out.extend_from_slice(self.tag.0.as_bytes());
    }
}

/// In the order of the listed texts' bytes: `~` is above every byte of a tag, so a client's own come last.
impl Ord for ListedTag<'_> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.own, self.tag).cmp(&(other.own, other.tag))
    }
}

impl PartialOrd for ListedTag<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ListedTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.own { "~" } else { "" };
        write!(f, "{mark}{}", self.tag.0)
    }
}

/// Whether a byte may stand in a tag.
pub(super) const fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        let longest = "x".repeat(64);
        for good in ["a", "team/red:captain", "A-1_2.3", &longest] {
            assert_eq!(Tag::new(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(65);
        for bad in ["", "~a", "a b", "ä", "a*", "a|b", "a\0", &too_long] {
            assert!(Tag::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn order_is_that_of_the_listed_texts() {
        let mut tags =
            ["~a", "z", "~Z", "-", "a", "a/b", "a.b"].map(|t| ListedTag::new(t).unwrap());
        tags.sort();
        let texts = tags.map(|tag| tag.to_string());
        let mut sorted = texts.clone();
        sorted.sort();
        assert_eq!(texts, sorted);
    }
}
