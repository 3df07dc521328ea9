//! What the server says of itself and what its modules say: one log, for people on a console or as JSON lines. It owns no metric.

mod sink;

use core::time::Duration;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use cohnect_capabilities::logging::{Level, Logging, Record};
use cohnect_capabilities::{Field, Scalar};
use cohnect_host::escaped::Escaped;
use tracing_subscriber::EnvFilter;

use self::sink::Sink;
use crate::config::{LogConfig, LogFormat};

/// The target of what modules say, for `log.level = "info,module=debug"`.
const MODULE: &str = "module";

/// How long the end waits for a reader of what was said last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log, as long as it runs. Dropping it waits, not for ever, until everything is written.
#[derive(Debug)]
#[must_use = "the log ends with it"]
pub struct Log {
    sink: Arc<Sink>,
}

impl Log {
    /// Says why the server ends, as people read it; nothing that waits keeps it away.
    pub fn note(&self, text: impl AsRef<str>) {
        self.sink.insist(&format!("{}\n", text.as_ref()));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sink.close(LAST_WORDS);
    }
}

/// The sink of this process's log, of which there is one, for an end that nobody returns from.
static SINK: OnceLock<Arc<Sink>> = OnceLock::new();

/// Says why the process ends here and now, and waits, not for ever, until that and all before it is written.
pub(crate) fn last_words(why: &str) {
    tracing::error!("{why}");
    if let Some(sink) = SINK.get() {
        sink.close(LAST_WORDS);
    }
}

/// Starts the log. `friendly` drops the date and the target: for somebody who watches.
///
/// # Errors
/// When the level is none, or a log was started before.
pub fn start(log: &LogConfig, friendly: bool) -> anyhow::Result<Log> {
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|e| anyhow::anyhow!("log.level = {:?}: {e}", log.level))?;
    // A file keeps no colours. https://no-color.org asks for none on a terminal either.
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    // A descriptor of its own: the standard library's has a lock, which a writer before a full pipe would hold against everybody.
    let out = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .context("standard error cannot be used")?;
    let sink = Sink::start(File::from(out), |_, lost| {
        tracing::error!("{lost} lines of the log were lost: nothing read them");
    })?;
    let running = Log {
        sink: Arc::clone(&sink),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(sink);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if friendly => builder
            .compact()
            .with_target(false)
            .with_timer(tracing_subscriber::fmt::time::uptime())
            .try_init(),
        LogFormat::Text => builder.compact().try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("the log cannot be started: {e}"))?;
    SINK.get_or_init(|| Arc::clone(&running.sink));
    // The standard library's own would write to standard error itself, and so wait for its reader.
    std::panic::set_hook(Box::new(say_panic));
    Ok(running)
}

fn say_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("a place that is not known");
    let said = Escaped(panic.payload_as_str().unwrap_or("no text"));
    // As the environment's RUST_BACKTRACE has it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!("thread {thread} panicked at {place}: {said}\n{trace}");
    } else {
        tracing::error!("thread {thread} panicked at {place}: {said}");
    }
}

/// The modules' lines, into the same log.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModuleLog;

impl Logging for ModuleLog {
    fn enabled(&self, level: Level) -> bool {
        match level {
            Level::Trace => tracing::enabled!(target: MODULE, tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: MODULE, tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: MODULE, tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: MODULE, tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: MODULE, tracing::Level::ERROR),
        }
    }

    fn log(&self, record: &Record<'_>) {
        let module = Said {
            module: record.module,
            generation: record.generation,
        };
        let message = Escaped(record.message);
        let fields = Fields(record.fields);
        macro_rules! say {
            ($level:ident) => {
                if record.fields.is_empty() {
                    tracing::event!(target: MODULE, tracing::Level::$level, module = %module, "{message}")
                } else {
                    tracing::event!(target: MODULE, tracing::Level::$level, module = %module, fields = %fields, "{message}")
                }
            };
        }
        match record.level {
            Level::Trace => say!(TRACE),
            Level::Debug => say!(DEBUG),
            Level::Info => say!(INFO),
            Level::Warn => say!(WARN),
            Level::Error => say!(ERROR),
        }
    }
}

struct Said<'a> {
    module: &'a Arc<str>,
    generation: u64,
}

impl core::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}@{}", self.module, self.generation)
    }
}

struct Fields<'a>(&'a [Field]);

impl core::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (n, field) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{}=", Escaped(&field.key))?;
            match &field.value {
                Scalar::Boolean(value) => write!(f, "{value}")?,
                Scalar::Integer(value) => write!(f, "{value}")?,
                Scalar::Number(value) => write!(f, "{value}")?,
                Scalar::Text(value) => write!(f, "{}", Escaped(format_args!("{value:?}")))?,
                Scalar::Blob(value) => write!(f, "{} bytes", value.len())?,
            }
        }
        Ok(())
    }
}
