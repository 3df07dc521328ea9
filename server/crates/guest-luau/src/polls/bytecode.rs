//! Where the functions lie in a file of bytecode, and their instructions in them; nothing else of it is understood. The layout is that of Luau's loader,
//! `lvmload.cpp`, at bytecode version 9.

use core::ops::Range;

/// The versions of one layout: 4 brought the flags and types of a function, 11 brings more behind it.
const VERSIONS: core::ops::RangeInclusive<u8> = 4..=9;
/// The versions of the types, whose bytes are skipped.
const TYPE_VERSIONS: core::ops::RangeInclusive<u8> = 1..=3;
/// From here on the names of a host's types stand behind the texts.
const TYPE_VERSION_NAMED: u8 = 3;

/// A file of bytecode.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Versions, texts, and how many functions there are.
    pub(super) head: Range<usize>,
    pub(super) functions: Vec<Function>,
    /// Which function is the file's body.
    pub(super) tail: Range<usize>,
}

/// One function, in bytes of its file.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) whole: Range<usize>,
    /// Its instructions, each word in four bytes, the lowest first.
    pub(super) code: Range<usize>,
    lines: Option<Lines>,
}

/// The lines of a function's words: the line of each 2^`gap` words, and what each word adds to it.
#[derive(Clone, Debug)]
struct Lines {
    gap: u8,
    added: Range<usize>,
    bases: Range<usize>,
}

impl Chunk {
    /// Nothing if it is of another version or not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        if !VERSIONS.contains(&reader.byte()?) {
            return None;
        }
        let types = reader.byte()?;
        if !TYPE_VERSIONS.contains(&types) {
            return None;
        }
        for _ in 0..reader.number()? {
            let length = reader.number()?;
            reader.skip(length)?;
        }
        if types == TYPE_VERSION_NAMED {
            while reader.byte()? != 0 {
                reader.number()?;
            }
        }
        let count = reader.number()?;
        let head = 0..reader.at;
        let mut functions = Vec::new();
        for _ in 0..count {
            functions.push(reader.function()?);
        }
        let tail = reader.at..bytes.len();
        reader.number()?;
        (reader.at == bytes.len()).then_some(Self {
            head,
            functions,
            tail,
        })
    }
}

impl Function {
    /// The line of a word, if the file tells it.
    pub(super) fn line(&self, bytes: &[u8], word: usize) -> Option<u32> {
        let lines = self.lines.as_ref()?;
        let added = bytes.get(lines.added.clone())?.get(..=word)?;
        let bases = bytes.get(lines.bases.clone())?.as_chunks::<4>().0;
        // Both are written as differences to what stands before.
        let base = bases
            .get(..=word.checked_shr(u32::from(lines.gap))?)?
            .iter()
            .fold(0_i32, |sum, part| {
                sum.wrapping_add(i32::from_le_bytes(*part))
            });
        let offset = added.iter().fold(0_u8, |sum, part| sum.wrapping_add(*part));
        u32::try_from(base.checked_add(i32::from(offset))?).ok()
    }
}

/// Reads a file from its front; nothing behind its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len()).then(|| core::mem::replace(&mut self.at, end)..end)
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_u64;
        // 64 bits are the longest that is written.
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
            if byte < 128 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn function(&mut self) -> Option<Function> {
        let start = self.at;
        // Registers, parameters, upvalues, whether it is variadic, flags.
        self.skip(5)?;
        let types = self.number()?;
        self.skip(types)?;
        let words = self.number()?;
        let code = self.skip(words.checked_mul(4)?)?;
        for _ in 0..self.number()? {
            self.constant()?;
        }
        for _ in 0..self.number()? {
            self.number()?;
        }
        // The line it begins at, and its name.
        self.number()?;
        self.number()?;
        let lines = self.lines(words)?;
        self.locals()?;
        Some(Function {
            whole: start..self.at,
            code,
            lines,
        })
    }

    fn constant(&mut self) -> Option<()> {
        // Bytes behind it, besides what is read here.
        let rest = match self.byte()? {
            // Nil.
            0 => 0,
            // A boolean.
            1 => 1,
            // A number, as a double.
            2 => 8,
            // A text, or a function, by its number.
            3 | 6 => {
                self.number()?;
                0
            }
            // What a name of a library stands for.
            4 => 4,
            // The keys of a table.
            5 => {
                for _ in 0..self.number()? {
                    self.number()?;
                }
                0
            }
            // A vector of four.
            7 => 16,
            // The keys of a table with their values.
            8 => {
                for _ in 0..self.number()? {
                    self.number()?;
                    self.skip(4)?;
                }
                0
            }
            // A whole number with its sign before it.
            9 => {
                self.byte()?;
                self.number()?;
                0
            }
            _ => return None,
        };
        self.skip(rest).map(|_| ())
    }

    fn lines(&mut self, words: usize) -> Option<Option<Lines>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        let gap = self.byte()?;
        let intervals = words
            .checked_sub(1)?
            .checked_shr(u32::from(gap))?
            .checked_add(1)?;
        let added = self.skip(words)?;
        let bases = self.skip(intervals.checked_mul(4)?)?;
        Some(Some(Lines { gap, added, bases }))
    }

    /// The names of locals and upvalues, where they are written.
    fn locals(&mut self) -> Option<()> {
        if self.byte()? == 0 {
            return Some(());
        }
        for _ in 0..self.number()? {
            for _ in 0..3 {
                self.number()?;
            }
            self.byte()?;
        }
        for _ in 0..self.number()? {
            self.number()?;
        }
        Some(())
    }
}
