//! Luau's instructions, as far as a run of them is measured: how many words each has, where it goes on, whether it polls, and what it may cost. The numbers
//! and encodings are those of `Luau/Bytecode.h` and `Luau/BytecodeUtils.h` at bytecode version 9.

/// One instruction without the second word that some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction(u32);

const NOP: u8 = 0;
const LOADB: u8 = 3;
const GETGLOBAL: u8 = 7;
const SETGLOBAL: u8 = 8;
const GETIMPORT: u8 = 12;
const GETTABLE: u8 = 13;
const SETTABLE: u8 = 14;
const GETTABLEKS: u8 = 15;
const SETTABLEKS: u8 = 16;
const GETTABLEN: u8 = 17;
const SETTABLEN: u8 = 18;
const NAMECALL: u8 = 20;
const CALL: u8 = 21;
const RETURN: u8 = 22;
const JUMP: u8 = 23;
const JUMPBACK: u8 = 24;
const JUMPIF: u8 = 25;
const JUMPIFNOT: u8 = 26;
const JUMPIFEQ: u8 = 27;
const JUMPIFLE: u8 = 28;
const JUMPIFLT: u8 = 29;
const JUMPIFNOTEQ: u8 = 30;
const JUMPIFNOTLE: u8 = 31;
const JUMPIFNOTLT: u8 = 32;
const ADD: u8 = 33;
const POWK: u8 = 44;
const CONCAT: u8 = 49;
const MINUS: u8 = 51;
const LENGTH: u8 = 52;
const NEWTABLE: u8 = 53;
const DUPTABLE: u8 = 54;
const SETLIST: u8 = 55;
const FORNPREP: u8 = 56;
const FORNLOOP: u8 = 57;
const FORGLOOP: u8 = 58;
const FORGPREP_INEXT: u8 = 59;
const FASTCALL3: u8 = 60;
const FORGPREP_NEXT: u8 = 61;
const GETVARARGS: u8 = 63;
const LOADKX: u8 = 66;
const JUMPX: u8 = 67;
const FASTCALL: u8 = 68;
const COVERAGE: u8 = 69;
const SUBRK: u8 = 71;
const DIVRK: u8 = 72;
const FASTCALL1: u8 = 73;
const FASTCALL2: u8 = 74;
const FASTCALL2K: u8 = 75;
const FORGPREP: u8 = 76;
const JUMPXEQKNIL: u8 = 77;
const JUMPXEQKB: u8 = 78;
const JUMPXEQKN: u8 = 79;
const JUMPXEQKS: u8 = 80;
const IDIV: u8 = 81;
const IDIVK: u8 = 82;
const GETUDATAKS: u8 = 83;
const SETUDATAKS: u8 = 84;
const NAMECALLUDATA: u8 = 85;
/// The last of version 9; what follows belongs to versions that are experimental.
const LAST: u8 = NAMECALLUDATA;

/// The functions of Luau's libraries that are called without a call, and so without a poll, and whose work grows with a text, a table or the stack.
const STRING_SUB: u8 = 45;
const RAWSET: u8 = 49;
const TABLE_INSERT: u8 = 52;
const TABLE_UNPACK: u8 = 53;
const TONUMBER: u8 = 62;

/// `a < b` of two texts that begin alike.
const COMPARES: u32 = 500;
/// A text, or as many values as the stack takes, is copied.
const COPIES: u32 = 2_000;
/// `t[key] = value` lays the whole table out anew.
const STORES: u32 = 12_000;
/// `a + b`, where a text may be a number: digits are quicker than this, and nothing but spaces behind one takes four times as long.
const READS_NUMBER: u32 = 12_000;
/// Any other may call a metamethod. That may be a function in C, and those that a script has end in microseconds.
const TOUCHES: u32 = 100;

impl Instruction {
    /// A jump back by nothing.
    pub(super) const POLL: Self = Self(JUMPBACK as u32);
    /// No operation.
    pub(super) const NONE: Self = Self(NOP as u32);

    /// Nothing for an instruction of another version.
    pub(super) fn read(word: u32) -> Option<Self> {
        let read = Self(word);
        (read.operation() <= LAST).then_some(read)
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    const fn operation(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    const fn a(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    const fn b(self) -> u8 {
        self.0.to_le_bytes()[2]
    }

    const fn c(self) -> u8 {
        self.0.to_le_bytes()[3]
    }

    /// The 16 bits of a usual jump.
    const fn d(self) -> i32 {
        self.0.cast_signed() >> 16
    }

    /// The 24 bits of a far jump.
    const fn e(self) -> i32 {
        self.0.cast_signed() >> 8
    }

    /// Whether the compiler put it here to count.
    pub(super) const fn is_counter(self) -> bool {
        self.operation() == COVERAGE
    }

    /// Whether Luau looks at its interrupt before it.
    pub(super) const fn polls(self) -> bool {
        matches!(
            self.operation(),
            CALL | RETURN | JUMPBACK | JUMPX | FORNLOOP | FORGLOOP
        )
    }

    /// Words, with the second that some have.
    pub(super) const fn words(self) -> usize {
        match self.operation() {
            GETGLOBAL | SETGLOBAL | GETIMPORT | GETTABLEKS | SETTABLEKS | NAMECALL | JUMPIFEQ
            | JUMPIFLE | JUMPIFLT | JUMPIFNOTEQ | JUMPIFNOTLE | JUMPIFNOTLT | NEWTABLE
            | SETLIST | FORGLOOP | LOADKX | FASTCALL2 | FASTCALL2K | FASTCALL3 | JUMPXEQKNIL
            | JUMPXEQKB | JUMPXEQKN | JUMPXEQKS | GETUDATAKS | SETUDATAKS | NAMECALLUDATA => 2,
            _ => 1,
        }
    }

    /// Whether the instruction behind it may be the next.
    pub(super) const fn falls_through(self) -> bool {
        !matches!(self.operation(), RETURN | JUMP | JUMPBACK | JUMPX)
    }

    /// Where it may go on besides.
    pub(super) fn target(self, at: usize) -> Option<usize> {
        let by = match self.operation() {
            JUMP | JUMPBACK | JUMPIF | JUMPIFNOT | JUMPIFEQ | JUMPIFLE | JUMPIFLT | JUMPIFNOTEQ
            | JUMPIFNOTLE | JUMPIFNOTLT | FORNPREP | FORNLOOP | FORGPREP | FORGPREP_INEXT
            | FORGPREP_NEXT | FORGLOOP | JUMPXEQKNIL | JUMPXEQKB | JUMPXEQKN | JUMPXEQKS => {
                self.d()
            }
            JUMPX => self.e(),
            LOADB if self.c() > 0 => i32::from(self.c()),
            // Behind the call that it stands for.
            FASTCALL | FASTCALL1 | FASTCALL2 | FASTCALL2K | FASTCALL3 => i32::from(self.c()) + 1,
            _ => return None,
        };
        at.checked_add(1)?.checked_add_signed(by as isize)
    }

    /// What it may take at worst, in microseconds. Whatever works on values by number or place, and never on a whole text or table, costs nothing worth
    /// counting.
    pub(super) fn cost(self) -> u32 {
        match self.operation() {
            JUMPIFLE | JUMPIFLT | JUMPIFNOTLE | JUMPIFNOTLT => COMPARES,
            CONCAT => COPIES,
            ADD..=POWK | MINUS | SUBRK | DIVRK | IDIV | IDIVK | FORNPREP => READS_NUMBER,
            SETGLOBAL | SETTABLE | SETTABLEKS | SETTABLEN | SETUDATAKS => STORES,
            // As many values as there are.
            GETVARARGS if self.b() == 0 => COPIES,
            SETLIST if self.c() == 0 => COPIES,
            FASTCALL | FASTCALL1 | FASTCALL2 | FASTCALL2K | FASTCALL3 => match self.a() {
                STRING_SUB | TABLE_UNPACK => COPIES,
                RAWSET | TABLE_INSERT => STORES,
                TONUMBER => READS_NUMBER,
                _ => TOUCHES,
            },
            GETGLOBAL | GETIMPORT | GETTABLE | GETTABLEKS | GETTABLEN | NAMECALL | JUMPIFEQ
            | JUMPIFNOTEQ | LENGTH | NEWTABLE | DUPTABLE | SETLIST | FORGPREP | FORGPREP_INEXT
            | FORGPREP_NEXT | GETUDATAKS | NAMECALLUDATA => TOUCHES,
            _ => 0,
        }
    }
}
