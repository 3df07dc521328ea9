//! The log's way out: lines wait in a bounded buffer, and a thread of its own writes them, so that nobody who logs ever waits for whoever reads. What finds
//! no room is lost and counted. It knows neither levels nor formats.

use core::time::Duration;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use anyhow::Context as _;

/// Bytes of lines that may wait: some thousand lines, more than a server says in a second even at `debug`. A log that nobody reads costs twice as much
/// memory, since what is being written has left the buffer.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// How long the writer leaves an output alone that takes nothing and does not wait either.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Where lines wait for their writer; one `write` is one line.
#[derive(Debug, Default)]
pub(super) struct Sink {
    waiting: Mutex<Waiting>,
    /// For the writer: there is something to write.
    filled: Condvar,
    /// For who waits for the end: everything is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room since the writer last said so.
    lost: u64,
    /// Nothing waits, and nothing is being written.
    idle: bool,
    closed: bool,
    /// The writer itself, whose lines always find room: it says once a buffer what was lost.
    writer: Option<ThreadId>,
}

impl Sink {
    /// Starts the writer to `out`. What it `say`s of lost lines goes through the sink like any other line.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        say: impl Fn(&Self, u64) + Send + 'static,
    ) -> anyhow::Result<Arc<Self>> {
        let sink = Arc::new(Self::default());
        // Whoever logs should not wait while it grows, either; the system gives the memory as it fills.
        sink.lock().bytes.reserve_exact(WAITING_BYTES_MAX);
        let own = Arc::clone(&sink);
        // Nobody joins it: at the end of the process it may well stand before a full pipe.
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || own.write_all_that_comes(out, say))
            .context("the system gives no thread to the log")?;
        Ok(sink)
    }

    /// Takes a line that must not be lost, however full it is: the last word before the end.
    pub(super) fn insist(&self, line: &str) {
        self.put(line.as_bytes(), true);
    }

    /// Waits until everything is written, but no longer than this, and ends the writer.
    pub(super) fn close(&self, patience: Duration) {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.filled.notify_one();
        drop(
            self.emptied
                .wait_timeout_while(waiting, patience, |waiting| !waiting.idle),
        );
    }

    fn put(&self, line: &[u8], insist: bool) {
        let mut waiting = self.lock();
        let fits = waiting.bytes.len() + line.len() <= WAITING_BYTES_MAX;
        if !fits && !insist && waiting.writer != Some(std::thread::current().id()) {
            waiting.lost = waiting.lost.saturating_add(1);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        // A writer that is at work looks again by itself.
        if core::mem::take(&mut waiting.idle) {
            self.filled.notify_one();
        }
    }

    fn write_all_that_comes(&self, mut out: impl Write, say: impl Fn(&Self, u64)) {
        let mut batch = Vec::with_capacity(WAITING_BYTES_MAX);
        self.lock().writer = Some(std::thread::current().id());
        while let Some(lost) = self.take(&mut batch) {
            if lost > 0 {
                // The buffer has just been emptied, so this stands where the gap is.
                say(self, lost);
            }
            write_out(&mut out, &batch);
        }
    }

    /// Takes what waits, and how many lines were lost behind it; waits for something. None at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<u64> {
        batch.clear();
        let mut waiting = self.lock();
        while waiting.bytes.is_empty() {
            waiting.idle = true;
            self.emptied.notify_all();
            if waiting.closed {
                return None;
            }
            waiting = self
                .filled
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        core::mem::swap(&mut waiting.bytes, batch);
        Some(core::mem::take(&mut waiting.lost))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line, false);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes everything, however long that takes. An output that is gone takes nothing more, and there is nobody to tell.
fn write_out(out: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return,
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares the output has told it not to wait.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(FULL_PAUSE),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _, pipe};
    use std::time::Instant;

    use super::*;

    /// As patient as tests may have to be on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn piped() -> (PipeReader, Arc<Sink>) {
        let (reader, writer) = pipe().unwrap();
        let sink = Sink::start(writer, |mut sink, lost| {
            // In one piece, as the log writes: each write is a line of its own.
            sink.write_all(format!("{lost} lost\n").as_bytes()).unwrap();
        });
        (reader, sink.unwrap())
    }

    fn read(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lines_come_out_in_order_and_whole() {
        let (reader, sink) = piped();
        for n in 0..1_000 {
            writeln!(&*sink, "line {n}").unwrap();
        }
        sink.close(PATIENCE);
        let wanted: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(read(reader), wanted);
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_was_lost_is_said_when_there_is_one() {
        let (reader, sink) = piped();
        let line = "x".repeat(1_023);
        // The pipe takes 64 KiB, what is being written at most as much as may wait.
        let lines = 4 * WAITING_BYTES_MAX / 1_024;
        for _ in 0..lines {
            (&*sink).write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        sink.insist("the last word\n");
        let said = std::thread::spawn(move || read(reader));
        sink.close(PATIENCE);
        let said = said.join().unwrap();
        let kept = said.lines().filter(|text| *text == line).count();
        assert!(kept < lines);
        let lost: usize = said
            .lines()
            .filter_map(|text| text.strip_suffix(" lost")?.parse::<usize>().ok())
            .sum();
        assert_eq!(lost, lines - kept, "each is counted once");
        assert!(said.contains("the last word\n"));
    }

    #[test]
    fn the_end_waits_for_a_reader_only_so_long() {
        let (reader, sink) = piped();
        sink.insist(&"x".repeat(WAITING_BYTES_MAX));
        let began = Instant::now();
        sink.close(Duration::from_millis(20));
        assert!(began.elapsed() < PATIENCE);
        drop(reader);
    }

    #[test]
    fn an_output_that_is_gone_ends_nothing() {
        let (reader, sink) = piped();
        drop(reader);
        writeln!(&*sink, "to nobody").unwrap();
        sink.close(PATIENCE);
        assert!(sink.lock().idle);
    }
}
