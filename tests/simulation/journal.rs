//! What happened, line by line, and a digest of every datagram: two runs with one seed have the same. It listens to the server's own log as well, in
//! which an error fails the run.

use core::fmt::{Debug, Display, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::clock::SimClock;

/// The journal of one run.
pub(crate) struct Journal {
    clock: SimClock,
    /// The folder whose name chance gave it; it is left out of the lines.
    folder: String,
    inner: Mutex<Inner>,
}

struct Inner {
    lines: Vec<String>,
    datagrams: u64,
    digest: blake3::Hasher,
    errors: Vec<String>,
}

impl Journal {
    pub(crate) fn new(clock: SimClock, folder: &std::path::Path) -> Arc<Self> {
        Arc::new(Self {
            clock,
            folder: format!("{}/", folder.display()),
            inner: Mutex::new(Inner {
                lines: Vec::new(),
                datagrams: 0,
                digest: blake3::Hasher::new(),
                errors: Vec::new(),
            }),
        })
    }

    /// Notes that something happened.
    pub(crate) fn note(&self, who: impl Display, what: impl Display) {
        let line = format!("{:>9} {who}: {what}", self.clock.us()).replace(&self.folder, "");
        self.inner().lines.push(line);
    }

    /// Takes note of a datagram that somebody sent.
    pub(crate) fn datagram(&self, from: impl Display, to: impl Display, datagram: &[u8]) {
        let head = format!("{} {from} {to} {} ", self.clock.us(), datagram.len());
        let mut inner = self.inner();
        inner.datagrams += 1;
        inner.digest.update(head.as_bytes()).update(datagram);
    }

    /// How many lines hold this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        let inner = self.inner();
        inner
            .lines
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// The errors that the server logged.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.inner().errors.clone()
    }

    /// All lines; the last one stands for every datagram.
    pub(crate) fn close(&self) -> Vec<String> {
        let mut inner = self.inner();
        let (datagrams, digest) = (inner.datagrams, inner.digest.finalize());
        let mut lines = core::mem::take(&mut inner.lines);
        lines.push(format!("{datagrams} datagrams, {digest}"));
        lines
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the server's log into a journal.
pub(crate) struct Listener(pub(crate) Arc<Journal>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Only ours: what a library says of itself is no promise of this server.
        *metadata.level() <= Level::DEBUG && metadata.target().starts_with("cohnect")
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = event.metadata().level();
        self.0.note(level, &text.0);
        if *level == Level::ERROR {
            self.0.inner().errors.push(text.0);
        }
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        write!(self.0, "{}={value:?} ", field.name()).ok();
    }
}
