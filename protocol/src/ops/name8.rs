//! Names as bodies carry them (PROTOCOL.md 6.2): a length byte and UTF-8 text. Names are compared by their bytes and never normalised.

use core::fmt;
use core::ops::Deref;

/// A text of 1 to 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name8<'a>(&'a str);

impl<'a> Name8<'a> {
    /// `text` as a name; none when it is empty or longer than 255 bytes.
    #[must_use]
    pub const fn new(text: &'a str) -> Option<Self> {
        if text.is_empty() || text.len() > u8::MAX as usize {
            None
        } else {
            Some(Self(text))
        }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let len = u8::try_from(self.0.len()).expect("invariant: a name has at most 255 bytes");
        out.push(len);
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl Deref for Name8<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for Name8<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Malformed, reader::Reader};
    use super::*;

    #[test]
    fn only_1_to_255_bytes_are_a_name() {
        assert_eq!(Name8::new(""), None);
        assert!(Name8::new(&"a".repeat(255)).is_some());
        assert_eq!(Name8::new(&"a".repeat(256)), None);
    }

    #[test]
    fn empty_cut_and_broken_names_are_malformed() {
        let read = |bytes| Reader::new(bytes).name("key");
        assert_eq!(read(b"\x00"), Err(Malformed::Name("key")));
        assert_eq!(read(b""), Err(Malformed::Truncated("key")));
        assert_eq!(read(b"\x02a"), Err(Malformed::Truncated("key")));
        assert_eq!(read(b"\x01\xff"), Err(Malformed::Name("key")));
        assert_eq!(read("\u{2}ä".as_bytes()), Ok(Name8("ä")));
    }
}
