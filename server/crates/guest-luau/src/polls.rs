//! Safepoints in code that has none of its own. Luau looks at its interrupt where code calls, returns or turns in a loop; a function that only compares,
//! adds and joins runs from its start to its end, however long that takes with texts of megabytes. Here such functions get further polls before they run,
//! and code that can have none is refused, so that no run between two polls is long.
//!
//! Luau's compiler can count how often each statement and each expression is reached (its *coverage*), by an instruction of one word in front of it. Where a
//! run is too long, the file is compiled once more with these, and each becomes a jump back over nothing, which polls, or no operation. All offsets stay as
//! the compiler wrote them. Functions whose runs are short stay as they were, so usual code pays nothing.

mod bytecode;
mod instruction;

use self::bytecode::Chunk;
use self::instruction::Instruction;
use crate::vm::compiler;

/// Costs are the microseconds that an instruction takes at worst where 16 MiB of memory hold what it works on: two texts of a few megabytes, or a table of
/// 130,000 keys. Where a module may have more memory, it may take as much longer, and less is allowed between two polls.
const MEMORY_BYTES: usize = 16 * 1024 * 1024;
/// The longest run of a function that stays as it is.
const RUN_MAX: u32 = 50_000;
/// From how long a run on a function polls, where it gets polls at all.
const POLL_FROM: u32 = RUN_MAX / 2;
/// The longest run that is taken at all. Between two polls it can only be that of one condition, whose comparisons the compiler does not count one by one, or
/// of an assignment to many fields at once.
const REFUSED_ABOVE: u32 = 200_000;

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The compiler's own complaint.
    Compiler(mlua::Error),
    /// A condition or an assignment at this line is longer than any that a person writes.
    Endless { line: u32 },
    /// The compiler wrote what this reader does not know: it belongs to another version.
    Unknown,
}

/// Compiles a text to bytecode in which no run between two polls is long, for a machine with so much memory.
pub(crate) fn compile(text: &str, memory_bytes: usize) -> Result<Vec<u8>, Failure> {
    let times = u32::try_from(memory_bytes / MEMORY_BYTES)
        .unwrap_or(u32::MAX)
        .max(1);
    let (run_max, poll_from) = (RUN_MAX / times, POLL_FROM / times);
    let plain = covered(text, 0)?;
    let layout = Chunk::read(&plain).ok_or(Failure::Unknown)?;
    let mut is_short = Vec::with_capacity(layout.functions.len());
    for function in &layout.functions {
        let mut code = plain
            .get(function.code.clone())
            .unwrap_or_default()
            .to_vec();
        is_short.push(poll(&mut code, poll_from)?.length <= run_max);
    }
    if is_short.iter().all(|short| *short) {
        return Ok(plain);
    }
    let mut line = 1;
    // In front of each statement, which costs the function less, or else of each expression too.
    for (level, longest) in [(1, run_max), (2, REFUSED_ABOVE)] {
        let mut polled = covered(text, level)?;
        let polled_layout = Chunk::read(&polled).ok_or(Failure::Unknown)?;
        let mut endless = None;
        for function in &polled_layout.functions {
            let run = poll(
                polled.get_mut(function.code.clone()).unwrap_or_default(),
                poll_from,
            )?;
            if run.length > longest && endless.is_none() {
                endless = Some(function.line(&polled, run.end).unwrap_or(1));
            }
        }
        match endless {
            None => return Ok(mixed(&plain, &layout, &is_short, polled, &polled_layout)),
            Some(at) => line = at,
        }
    }
    Err(Failure::Endless { line })
}

/// The bytecode of a text, with the compiler's counters up to a level.
fn covered(text: &str, level: u8) -> Result<Vec<u8>, Failure> {
    compiler()
        .set_coverage_level(level)
        .compile(text)
        .map_err(Failure::Compiler)
}

/// The plain file with the polled functions in place of those that need polls. Functions name each other, and their texts, by number; where the two files
/// number differently, the polled one is taken as it is.
fn mixed(
    plain: &[u8],
    layout: &Chunk,
    is_short: &[bool],
    polled: Vec<u8>,
    polled_layout: &Chunk,
) -> Vec<u8> {
    let is_alike = layout.functions.len() == polled_layout.functions.len()
        && plain.get(layout.head.clone()) == polled.get(polled_layout.head.clone());
    if !is_alike {
        return polled;
    }
    let mut mixed = Vec::with_capacity(polled.len());
    mixed.extend_from_slice(plain.get(layout.head.clone()).unwrap_or_default());
    let pairs = layout.functions.iter().zip(&polled_layout.functions);
    for ((ours, theirs), short) in pairs.zip(is_short) {
        let part = if *short {
            plain.get(ours.whole.clone())
        } else {
            polled.get(theirs.whole.clone())
        };
        mixed.extend_from_slice(part.unwrap_or_default());
    }
    mixed.extend_from_slice(plain.get(layout.tail.clone()).unwrap_or_default());
    mixed
}

/// The longest run of a function between two polls, and the instruction at which it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    length: u32,
    end: usize,
}

/// Makes polls of a function's counters where the run before them is so long, and measures the longest run that is left. A jump that goes backwards polls
/// itself, or goes to one that does (the compiler puts the far half of a jump that is too long for one instruction in front of it), so that no run goes on
/// behind it, and one pass from the first instruction to the last meets each before those that follow it.
fn poll(code: &mut [u8], poll_from: u32) -> Result<Run, Failure> {
    let (words, _) = code.as_chunks_mut::<4>();
    // How long the longest way to an instruction is since its last poll.
    let mut before = vec![0_u32; words.len() + 1];
    let mut worst = Run::default();
    let mut at = 0;
    while let Some(word) = words.get_mut(at) {
        let mut instruction =
            Instruction::read(u32::from_le_bytes(*word)).ok_or(Failure::Unknown)?;
        let mut length = before.get(at).copied().unwrap_or(0);
        if instruction.is_counter() {
            instruction = if length >= poll_from {
                Instruction::POLL
            } else {
                Instruction::NONE
            };
            *word = instruction.word().to_le_bytes();
        }
        length = length.saturating_add(instruction.cost());
        if length > worst.length {
            worst = Run { length, end: at };
        }
        let polls = instruction.polls();
        let after = if polls { 0 } else { length };
        let next = instruction
            .falls_through()
            .then(|| at + instruction.words());
        for target in [next, instruction.target(at)].into_iter().flatten() {
            if target <= at && !polls && !polls_at(words, target) {
                return Err(Failure::Unknown);
            }
            let longest = before.get_mut(target).ok_or(Failure::Unknown)?;
            *longest = after.max(*longest);
        }
        at += instruction.words();
    }
    Ok(worst)
}

/// Whether the instruction there polls.
fn polls_at(words: &[[u8; 4]], at: usize) -> bool {
    let word = words.get(at).map(|word| u32::from_le_bytes(*word));
    word.and_then(Instruction::read)
        .is_some_and(Instruction::polls)
}

#[cfg(test)]
mod tests;
