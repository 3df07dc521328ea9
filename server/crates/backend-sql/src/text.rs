//! What the functions of `functions` compute, on plain bytes: SQLite's `instr`, `replace`, `trim` and `unhex` to the letter, but in a time that grows with
//! their arguments and not with the product of two. Text is UTF-8 that may be malformed; SQLite says nowhere what follows from that, its code does.

use std::collections::{HashMap, HashSet};

use memchr::memmem;

/// Looks whether the work should end; whoever asked for it no longer waits.
pub(crate) type Watch<'a> = &'a dyn Fn() -> bool;

/// It was told to end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Where `needle` stands first in `haystack`, counted from 1, in characters of text or bytes of blobs; 0 if nowhere.
pub(crate) fn position(haystack: &[u8], needle: &[u8], is_text: bool) -> usize {
    let Some(first) = needle.first() else {
        return 1;
    };
    // In text SQLite looks only where a character begins, and at the very start.
    if is_text && is_continuation(*first) {
        return usize::from(haystack.starts_with(needle));
    }
    match memmem::find(haystack, needle) {
        Some(at) if is_text => {
            let through = haystack.get(1..=at).unwrap_or_default();
            1 + through.iter().filter(|c| !is_continuation(**c)).count()
        }
        Some(at) => 1 + at,
        None => 0,
    }
}

/// `text` with each `pattern` in it replaced; none if that is longer than `most`. The pattern is not empty.
pub(crate) fn replaced(
    text: &[u8],
    pattern: &[u8],
    replacement: &[u8],
    most: usize,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for at in memmem::find_iter(text, pattern) {
        out.extend_from_slice(text.get(copied..at).unwrap_or_default());
        out.extend_from_slice(replacement);
        if out.len() > most {
            return None;
        }
        copied = at + pattern.len();
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    (out.len() <= most).then_some(out)
}

/// The characters that `trim` takes away. One that stands earlier in the list is tried before a later one, which matters where one begins another.
pub(crate) struct Set<'a> {
    /// By its bytes, where it stood.
    places: HashMap<&'a [u8], usize>,
    /// How long they are, each length once, none of them 0.
    lengths: Vec<usize>,
}

impl<'a> Set<'a> {
    /// Of a list of characters, up to its first zero byte.
    pub(crate) fn of(list: &'a [u8]) -> Self {
        let mut set = Self {
            places: HashMap::new(),
            lengths: Vec::new(),
        };
        let mut rest = list.split(|c| *c == 0).next().unwrap_or_default();
        let mut place = 0;
        while let Some(first) = rest.first() {
            let more = rest.iter().skip(1).take_while(|c| is_continuation(**c));
            // A lead byte and whatever continues it; any other byte is a character by itself.
            let length = if *first < 0xC0 { 1 } else { 1 + more.count() };
            let (character, behind) = rest.split_at(length);
            set.places.entry(character).or_insert(place);
            place += 1;
            rest = behind;
        }
        set.lengths = set.places.keys().map(|character| character.len()).collect();
        set.lengths.sort_unstable();
        set.lengths.dedup();
        set
    }

    /// `text` without those at its start.
    pub(crate) fn trim_start<'t>(
        &self,
        mut text: &'t [u8],
        watch: Watch<'_>,
    ) -> Result<&'t [u8], Stopped> {
        while let Some(first) = text.first() {
            // Only a lead byte begins a longer one.
            let longest = if *first < 0xC0 { 1 } else { usize::MAX };
            match self.first(longest, |length| text.get(..length), watch)? {
                Some(length) => text = text.get(length..).unwrap_or_default(),
                None => break,
            }
        }
        Ok(text)
    }

    /// `text` without those at its end.
    pub(crate) fn trim_end<'t>(
        &self,
        mut text: &'t [u8],
        watch: Watch<'_>,
    ) -> Result<&'t [u8], Stopped> {
        while let Some(last) = text.last() {
            let longest = if is_continuation(*last) {
                usize::MAX
            } else {
                1
            };
            let end = |length| text.len().checked_sub(length).and_then(|at| text.get(at..));
            match self.first(longest, end, watch)? {
                Some(length) => text = text.get(..text.len() - length).unwrap_or_default(),
                None => break,
            }
        }
        Ok(text)
    }

    /// How long the earliest of them is that stands there.
    fn first<'t>(
        &self,
        longest: usize,
        there: impl Fn(usize) -> Option<&'t [u8]>,
        watch: Watch<'_>,
    ) -> Result<Option<usize>, Stopped> {
        let mut earliest = None;
        for length in self.lengths.iter().take_while(|length| **length <= longest) {
            // Malformed text has characters of many lengths, and is looked up in each; well-formed text in four.
            if watch() {
                return Err(Stopped);
            }
            let Some(place) = there(*length).and_then(|piece| self.places.get(piece)) else {
                continue;
            };
            if earliest.is_none_or(|(other, _)| place < other) {
                earliest = Some((place, *length));
            }
        }
        Ok(earliest.map(|(_, length)| length))
    }
}

/// The bytes that `hex` writes, with any of the characters of `passed` between two of them; none if anything else stands there.
pub(crate) fn unhexed(hex: &[u8], passed: &[u8]) -> Option<Vec<u8>> {
    let mut passing = HashSet::new();
    let mut rest = passed;
    while let Some((character, behind)) = character(rest) {
        passing.insert(character);
        rest = behind;
    }
    let mut out = Vec::with_capacity(hex.len() / 2);
    // SQLite reads up to a zero byte.
    let mut rest = hex.split(|c| *c == 0).next().unwrap_or_default();
    while let Some((first, behind)) = rest.split_first() {
        let Some(high) = digit(*first) else {
            let (character, behind) = character(rest)?;
            if !passing.contains(&character) {
                return None;
            }
            rest = behind;
            continue;
        };
        let (second, behind) = behind.split_first()?;
        out.push(high << 4 | digit(*second)?);
        rest = behind;
    }
    Some(out)
}

fn digit(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The first character as SQLite decodes it, and what stands behind it; none at the end.
fn character(text: &[u8]) -> Option<(u32, &[u8])> {
    let (first, mut rest) = text.split_first()?;
    let first = *first;
    if first < 0xC0 {
        return Some((u32::from(first), rest));
    }
    let mut code = u32::from(match first {
        0xC0..=0xDF => first & 0x1F,
        0xE0..=0xEF => first & 0x0F,
        0xF0..=0xF7 => first & 0x07,
        0xF8..=0xFB => first & 0x03,
        0xFC..=0xFD => first & 0x01,
        _ => 0,
    });
    while let Some((next, behind)) = rest.split_first()
        && is_continuation(*next)
    {
        code = code << 6 | u32::from(next & 0x3F);
        rest = behind;
    }
    if code < 0x80 || code & 0xFFFF_F800 == 0xD800 || code & 0xFFFF_FFFE == 0xFFFE {
        code = 0xFFFD;
    }
    Some((code, rest))
}

fn is_continuation(c: u8) -> bool {
    c & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_characters_of_text_and_bytes_of_blobs() {
        let text = "añb".as_bytes();
        assert_eq!(position(text, b"b", true), 3);
        assert_eq!(position(text, b"b", false), 4);
        assert_eq!(position(text, b"", true), 1);
        assert_eq!(position(b"", b"a", true), 0);
        assert_eq!(
            position(text, &[0xB1], true),
            0,
            "no character begins there"
        );
        assert_eq!(position(text, &[0xB1], false), 3);
    }

    #[test]
    fn a_replacement_that_grows_too_long_is_none() {
        assert_eq!(replaced(b"aXbX", b"X", b"--", 6), Some(b"a--b--".to_vec()));
        assert_eq!(replaced(b"aXbX", b"X", b"--", 5), None);
        assert_eq!(replaced(b"aaa", b"aa", b"", 5), Some(b"a".to_vec()));
    }

    #[test]
    fn trimming_takes_whole_characters_and_ends_when_told() {
        let set = Set::of("ñx".as_bytes());
        assert_eq!(
            set.trim_start("xñaxñ".as_bytes(), &|| false),
            Ok("axñ".as_bytes())
        );
        assert_eq!(
            set.trim_end("xñaxñ".as_bytes(), &|| false),
            Ok("xña".as_bytes())
        );
        assert_eq!(set.trim_end(b"a", &|| true), Err(Stopped));
    }

    #[test]
    fn hex_is_read_past_what_may_stand_between() {
        assert_eq!(unhexed(b"0aFF", b""), Some(vec![10, 255]));
        assert_eq!(
            unhexed("0añFF".as_bytes(), "-ñ".as_bytes()),
            Some(vec![10, 255])
        );
        assert_eq!(unhexed(b"0-a", b"-"), None);
        assert_eq!(unhexed(b"0", b""), None);
    }
}
