//! What standard libraries import of `wasi:*` although a module needs none of it: clocks, random bytes, an empty environment, and output that goes to the
//! log. None of it waits, reads a file or opens a socket; whatever else a component imports of `wasi:*` is linked with a trap that names the function.
//!
//! These go through the host's context and not through a general implementation, so that a simulation repeats and nothing here has a clock, a generator or
//! a runtime of its own.

use cohnect_capabilities::logging::Level;
use cohnect_host::context::Phase;
use cohnect_host::function::HostFunction;
use cohnect_host::limits::{LOG_BYTES_MAX, RANDOM_BYTES_MAX};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};
use wasmtime::{Engine, Result, StoreContextMut};

use crate::store::{Host, Stop};

/// Before the name of each interface of theirs.
pub(crate) const NAMESPACE: &str = "wasi:";
/// What an output stream says it takes at once.
const WRITE_BYTES_MAX: u64 = 4_096;

/// Lines that a component has begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The newest errors that a component wrote while it was only described: what a refusal is to say beside the trap.
    words: String,
}

enum OutputStream {}
enum InputStream {}
enum IoError {}
enum Pollable {}
enum TerminalInput {}
enum TerminalOutput {}
enum Descriptor {}

const STDOUT: u32 = 1;
const STDERR: u32 = 2;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(
        dead_code,
        reason = "output to the log does not fail; the case is part of the type"
    )]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Links what the component imports of `wasi:*`, under the very names, versions included, that it uses.
///
/// # Errors
/// An import that is neither a function, a type nor a resource.
pub(crate) fn link(
    linker: &mut Linker<Host>,
    engine: &Engine,
    component: &Component,
) -> Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let (Some(path), ComponentItem::ComponentInstance(interface)) =
            (name.strip_prefix(NAMESPACE), import.ty)
        else {
            continue;
        };
        let short = path.split_once('@').map_or(path, |(path, _version)| path);
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(item, resource(item), |_store, _number| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    if !function(&mut instance, short, item)? {
                        trap(&mut instance, name, item)?;
                    }
                }
                ComponentItem::Type(_) => {}
                ComponentItem::CoreFunc(_)
                | ComponentItem::Module(_)
                | ComponentItem::Component(_)
                | ComponentItem::ComponentInstance(_) => {
                    return Err(wasmtime::Error::msg(format!(
                        "`{name}` holds `{item}`, which is no function"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn resource(name: &str) -> ResourceType {
    match name {
        "output-stream" => ResourceType::host::<OutputStream>(),
        "input-stream" => ResourceType::host::<InputStream>(),
        "error" => ResourceType::host::<IoError>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        _ => ResourceType::host::<()>(),
    }
}

fn trap(instance: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> Result<()> {
    let text = format!("`{interface}#{name}` is not there for modules");
    instance.func_new(name, move |_store, _type, _arguments, _results| {
        Err(Stop::Refused(text.clone()).into())
    })
}

/// Links one function if it is among those that modules may have.
fn function(instance: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> Result<bool> {
    match interface {
        "cli/environment" | "cli/exit" | "filesystem/preopens" => {
            environment(instance, interface, name)
        }
        "clocks/monotonic-clock" | "clocks/wall-clock" => clocks(instance, interface, name),
        "random/random" | "random/insecure" | "random/insecure-seed" => random(instance, name),
        "io/streams" => streams(instance, name),
        "io/poll" => poll(instance, name),
        _ => standard_streams(instance, interface, name),
    }
}

type Store<'a> = StoreContextMut<'a, Host>;

fn environment(
    instance: &mut LinkerInstance<'_, Host>,
    interface: &str,
    name: &str,
) -> Result<bool> {
    match (interface, name) {
        ("cli/environment", "get-environment") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Vec::<(String, String)>::new(),))
            })?;
        }
        ("cli/environment", "get-arguments") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
        }
        ("cli/environment", "initial-cwd") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<String>,)))?;
        }
        ("cli/exit", "exit") => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (status,): (core::result::Result<(), ()>,)| -> Result<()> {
                    let how = if status.is_ok() { "success" } else { "failure" };
                    Err(Stop::Refused(format!("it called exit, reporting {how}")).into())
                },
            )?;
        }
        ("filesystem/preopens", "get-directories") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn clocks(instance: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> Result<bool> {
    match (interface, name) {
        ("clocks/monotonic-clock", "now") => {
            instance.func_wrap(name, |store: Store<'_>, (): ()| {
                Ok((store
                    .data()
                    .context
                    .library_monotonic_us()
                    .saturating_mul(1_000),))
            })?;
        }
        ("clocks/monotonic-clock", "resolution") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| Ok((1_000_u64,)))?;
        }
        ("clocks/wall-clock", "now") => {
            instance.func_wrap(name, |store: Store<'_>, (): ()| {
                let now = store.data().context.library_wall_us();
                Ok((Datetime {
                    seconds: now / 1_000_000,
                    nanoseconds: (now % 1_000_000) as u32 * 1_000,
                },))
            })?;
        }
        ("clocks/wall-clock", "resolution") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Datetime {
                    seconds: 0,
                    nanoseconds: 1_000,
                },))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn random(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Result<bool> {
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            instance.func_wrap(name, |mut store: Store<'_>, (len,): (u64,)| {
                if len > u64::from(RANDOM_BYTES_MAX) {
                    return Err(Stop::Refused(format!(
                        "it asked for {len} random bytes at once, at most {RANDOM_BYTES_MAX} are given"
                    ))
                    .into());
                }
                let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
                store.data_mut().context.library_random().fill(&mut bytes);
                Ok((bytes,))
            })?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok((store.data_mut().context.library_random().next(),))
            })?;
        }
        "insecure-seed" => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                let random = store.data_mut().context.library_random();
                Ok(((random.next(), random.next()),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn streams(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Result<bool> {
    match name {
        "[method]output-stream.check-write" => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (_stream,): (Resource<OutputStream>,)| {
                    Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX),))
                },
            )?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            instance.func_wrap(
                name,
                |mut store: Store<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                    write(store.data_mut(), stream.rep(), &bytes);
                    Ok((Ok::<_, StreamError>(()),))
                },
            )?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (_stream,): (Resource<OutputStream>,)| {
                    Ok((Ok::<_, StreamError>(()),))
                },
            )?;
        }
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (_stream, _len): (Resource<InputStream>, u64)| {
                    Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
                },
            )?;
        }
        // What is written or read here is never waited for, so whoever polls finds it ready.
        "[method]output-stream.subscribe" => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (_stream,): (Resource<OutputStream>,)| {
                    Ok((Resource::<Pollable>::new_own(0),))
                },
            )?;
        }
        "[method]input-stream.subscribe" => {
            instance.func_wrap(
                name,
                |_: Store<'_>, (_stream,): (Resource<InputStream>,)| {
                    Ok((Resource::<Pollable>::new_own(0),))
                },
            )?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn poll(instance: &mut LinkerInstance<'_, Host>, name: &str) -> Result<bool> {
    match name {
        "[method]pollable.block" => {
            instance.func_wrap(name, |_: Store<'_>, (_what,): (Resource<Pollable>,)| Ok(()))?;
        }
        "[method]pollable.ready" => {
            instance.func_wrap(name, |_: Store<'_>, (_what,): (Resource<Pollable>,)| {
                Ok((true,))
            })?;
        }
        "poll" => {
            instance.func_wrap(name, |_: Store<'_>, (all,): (Vec<Resource<Pollable>>,)| {
                let ready: Vec<u32> = (0..).zip(&all).map(|(at, _what)| at).collect();
                Ok((ready,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn standard_streams(
    instance: &mut LinkerInstance<'_, Host>,
    interface: &str,
    name: &str,
) -> Result<bool> {
    match (interface, name) {
        ("cli/stdin", "get-stdin") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Resource::<InputStream>::new_own(0),))
            })?;
        }
        ("cli/stdout", "get-stdout") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Resource::<OutputStream>::new_own(STDOUT),))
            })?;
        }
        ("cli/stderr", "get-stderr") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((Resource::<OutputStream>::new_own(STDERR),))
            })?;
        }
        ("cli/terminal-stdin", "get-terminal-stdin") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((None::<Resource<TerminalInput>>,))
            })?;
        }
        ("cli/terminal-stdout", "get-terminal-stdout")
        | ("cli/terminal-stderr", "get-terminal-stderr") => {
            instance.func_wrap(name, |_: Store<'_>, (): ()| {
                Ok((None::<Resource<TerminalOutput>>,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes what a component prints; each whole line is a line of the log.
fn write(host: &mut Host, stream: u32, mut bytes: &[u8]) {
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = bytes.split_at(end);
        buffer(host, stream).extend_from_slice(line);
        print(host, stream);
        bytes = rest.get(1..).unwrap_or_default();
    }
    let begun = buffer(host, stream);
    begun.extend_from_slice(bytes);
    // A line that never ends is printed in pieces, so that it takes no memory.
    if begun.len() >= LOG_BYTES_MAX {
        print(host, stream);
    }
}

/// Prints what is left of begun lines.
pub(crate) fn flush(host: &mut Host) {
    for stream in [STDOUT, STDERR] {
        if !buffer(host, stream).is_empty() {
            print(host, stream);
        }
    }
}

fn buffer(host: &mut Host, stream: u32) -> &mut Vec<u8> {
    if stream == STDERR {
        &mut host.output.stderr
    } else {
        &mut host.output.stdout
    }
}

fn print(host: &mut Host, stream: u32) {
    let level = if stream == STDERR {
        Level::Warn
    } else {
        Level::Info
    };
    let line = core::mem::take(buffer(host, stream));
    if stream == STDERR {
        remember(host, &String::from_utf8_lossy(&line));
    }
    // A call whose quota is used up prints no more.
    if let Ok(entered) = host.context.enter(HostFunction::LoggingLog) {
        entered.logging_log(level, &String::from_utf8_lossy(&line), &[]);
    }
}

/// Keeps an error of a component that is only described, in place of the older ones where they are too long together.
pub(crate) fn remember(host: &mut Host, line: &str) {
    if line.is_empty() || host.context.phase() != Phase::Probe {
        return;
    }
    let words = &mut host.output.words;
    if words.len() + line.len() >= LOG_BYTES_MAX {
        words.clear();
    }
    words.push_str(&line[..line.floor_char_boundary(LOG_BYTES_MAX)]);
    words.push('\n');
}

/// What ended a component that is only described: what it wrote itself, and then the problem.
pub(crate) fn with_last_words(host: &mut Host, problem: &str) -> String {
    let mut words = core::mem::take(&mut host.output.words);
    words.push_str(problem);
    words
}
