//! A language for tests: each line of a program is a word and its arguments, and says what an export does. It runs on shards and on workers alike.
//!
//! ```text
//! action echo echo            the action `echo` answers its input
//! action n count              … adds 1 to the replica's own counter and answers it
//! action v visits             … adds 1 to `visits` in the shared state and answers it
//! action e refuse 7 not yet   … refuses with a code and a text
//! action m malformed text     … says that its input is malformed
//! action r raise text         … raises
//! action t trap               … ends the replica; so do `deadline` and `memory`
//! action p panic              … panics, as only a fault of the server's own could
//! action s sleep 20           … sleeps so many milliseconds (workers only); so does `start sleep 20`
//! action c call MODULE ACTION … calls another module with its input (workers only)
//! action d sendcall OPCODE MODULE ACTION … sends, sets the timer `aside`, calls, sends OPCODE + 1 (workers only)
//! action w which              … answers the generation and the counter: `2:17`
//! action m mail MODULE ACTION … sends its input by mailbox; `request` asks for an answer with the tag `tag`
//! action b send OPCODE        … sends its input to whoever called, or to everyone
//! action k timer NAME MS      … sets a timer; `every`, `cancel`, `rate HZ`, `signal NAME`
//! stage 0x0101 5 pass         a stage for an opcode, with its order: pass, drop, reply, replace, reject or trap
//! topic chat 0 pass           the same for BROADCAST; also redirect
//! stream scores hello         a STREAM topic with its first item
//! import db                   imports an interface
//! migration                   the counter goes over swaps; `save trap`, `save fail`, `restore trap`, `restore fail` break it
//! start fail                  `start` fails; `start trap`, `start send`, `stop trap`; any of them makes `start` and `stop` known to the log
//! ticker 20                   counts ticks
//! background wait             steps when signalled; `background 50` each 50 ms
//! timers                      logs timers
//! replies                     logs answers to requests
//! events connected away …     logs client events; `server module_loaded …` logs server events
//! manifest placement per-shard
//! broken text                 cannot be loaded
//! ```

use std::sync::Arc;

use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::logging::Level;
use cohnect_capabilities::{Audience, Caller, Error, Failure, Payload, Result, Scope};
use futures_util::future::LocalBoxFuture;

use crate::context::Context;
use crate::export::{
    Access, ActionInfo, Admission, Ending, Export, Exports, Fault, MessageVerdict, Next, Outcome,
    PacketClaim, PacketVerdict, Returned, Snapshot, TickPlan, TopicClaim, Wake,
};
use crate::function::{HostFunction, Interface};
use crate::replica::{Language, LoadError, Prepared, Replica, Source, WaitingReplica};

/// The language.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScriptLanguage;

impl Language for ScriptLanguage {
    fn name(&self) -> &'static str {
        "script"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["script"]
    }

    fn memory_mib(&self) -> u32 {
        16
    }

    fn belongs(&self, file: &std::path::Path) -> bool {
        file.extension().is_some_and(|e| e == "script")
    }

    fn prepare(
        &self,
        source: &Source,
        probe: Context,
    ) -> core::result::Result<Arc<dyn Prepared>, LoadError> {
        let text = core::str::from_utf8(&source.code)
            .map_err(|_| LoadError::new(format!("{}: not UTF-8", source.entry.display())))?;
        let program = Program::parse(text)
            .map_err(|e| LoadError::new(format!("{}:{e}", source.entry.display())))?;
        for import in &program.imports {
            probe.may_import(*import).map_err(LoadError::new)?;
        }
        Ok(Arc::new(Scripted(Arc::new(program))))
    }
}

/// A program without a file, for tests of a home.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn prepared(text: &str) -> Arc<dyn Prepared> {
    let program = Program::parse(text).expect("a program");
    Arc::new(Scripted(Arc::new(program)))
}

#[derive(Debug, Default)]
struct Program {
    lines: Vec<Vec<String>>,
    exports: Exports,
    imports: Vec<Interface>,
    manifest: Vec<(String, toml::Value)>,
}

impl Program {
    fn parse(text: &str) -> core::result::Result<Self, String> {
        let mut program = Self::default();
        for (n, line) in text.lines().enumerate() {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if !words.is_empty() {
                program
                    .declare(&words)
                    .map_err(|e| format!("{}: {e}", n + 1))?;
                program.lines.push(words);
            }
        }
        Ok(program)
    }

    fn declare(&mut self, words: &[String]) -> core::result::Result<(), String> {
        let word = |n: usize| words.get(n).map_or("", String::as_str);
        let number = |n: usize| {
            let text = word(n);
            text.strip_prefix("0x")
                .map_or_else(|| text.parse(), |hex| i64::from_str_radix(hex, 16))
                .map_err(|_| format!("`{text}` is no number"))
        };
        let topic = || {
            Ok::<_, String>(TopicClaim {
                topic: word(1).to_owned(),
                order: if words.len() > 3 {
                    number(2)? as i32
                } else {
                    0
                },
                ..TopicClaim::default()
            })
        };
        let exports = &mut self.exports;
        match word(0) {
            "action" => exports.actions.push(ActionInfo {
                name: word(1).into(),
                access: Access::Clients,
                ..ActionInfo::default()
            }),
            "stage" => exports.packets.push(PacketClaim {
                first: number(1)? as u16,
                last: number(1)? as u16,
                order: number(2)? as i32,
                ..PacketClaim::default()
            }),
            "topic" => exports.broadcasts.push(topic()?),
            "stream" => exports.streams.push(topic()?),
            "import" => self.imports.push(
                Interface::named(word(1)).ok_or_else(|| format!("no interface `{}`", word(1)))?,
            ),
            "migration" | "save" | "restore" => exports.migration = true,
            "start" | "stop" => exports.lifecycle = true,
            "ticker" => {
                exports.ticker = Some(TickPlan {
                    hz: number(1)? as u32,
                    catch_up_max: None,
                });
            }
            "background" => exports.background = true,
            "timers" => exports.timers = true,
            "replies" => exports.replies = true,
            "events" => {
                let on = |name: &str| words.iter().any(|w| w == name);
                exports.client_events = crate::export::ClientEvents {
                    connecting: on("connecting"),
                    connected: on("connected"),
                    disconnected: on("disconnected"),
                    alive: on("alive"),
                    away: on("away"),
                    back: on("back"),
                };
            }
            "server" => {
                exports.server_events.module_loaded = words.iter().any(|w| w == "module_loaded");
                exports.server_events.started = words.iter().any(|w| w == "started");
                exports.server_events.stopping = words.iter().any(|w| w == "stopping");
            }
            "manifest" => {
                let value = word(2).parse::<i64>().map_or_else(
                    |_| toml::Value::String(word(2).to_owned()),
                    toml::Value::Integer,
                );
                self.manifest.push((word(1).to_owned(), value));
            }
            "broken" => return Err(words[1..].join(" ")),
            "#" => {}
            other => return Err(format!("unknown word `{other}`")),
        }
        Ok(())
    }

    /// What stands after these words on the first line that begins with them.
    fn after(&self, words: &[&str]) -> Option<&[String]> {
        self.lines
            .iter()
            .find(|line| line.len() >= words.len() && line.iter().zip(words).all(|(a, b)| a == b))
            .map(|line| &line[words.len()..])
    }

    fn says(&self, words: &[&str]) -> bool {
        self.after(words).is_some()
    }
}

struct Scripted(Arc<Program>);

impl Prepared for Scripted {
    fn imports(&self) -> &[Interface] {
        &self.0.imports
    }

    fn exports(&self) -> &Exports {
        &self.0.exports
    }

    fn manifest(&self) -> &[(String, toml::Value)] {
        &self.0.manifest
    }

    fn replica(&self, context: Context) -> core::result::Result<Box<dyn Replica>, LoadError> {
        Ok(Box::new(Running::new(Arc::clone(&self.0), context)))
    }

    fn waiting_replica(
        &self,
        context: Context,
    ) -> core::result::Result<Box<dyn WaitingReplica>, LoadError> {
        Ok(Box::new(Running::new(Arc::clone(&self.0), context)))
    }
}

struct Running {
    program: Arc<Program>,
    context: Context,
    count: u64,
}

impl Replica for Running {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn call(&mut self, export: &Export) -> Outcome {
        self.run(export)
    }
}

impl WaitingReplica for Running {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn call<'a>(&'a mut self, export: &'a Export) -> LocalBoxFuture<'a, Outcome> {
        Box::pin(async move {
            if let Export::Execute(request) = export {
                let program = Arc::clone(&self.program);
                let words = program.after(&["action", &request.name]).unwrap_or(&[]);
                let word = |n: usize| words.get(n).map_or("", String::as_str);
                match word(0) {
                    "sleep" => {
                        let ms = word(1).parse().unwrap_or(0);
                        tokio::time::sleep(core::time::Duration::from_millis(ms)).await;
                        return Ok(Returned::Answer(Ok(request.input.clone())));
                    }
                    "call" => {
                        let answer = self.call_module(word(1), word(2), &request.input).await;
                        return Ok(Returned::Answer(answer));
                    }
                    "sendcall" => {
                        let answer = self.send_and_call(words, &request.input).await;
                        return Ok(Returned::Answer(answer));
                    }
                    _ => {}
                }
            }
            let program = Arc::clone(&self.program);
            if let (Export::Start(_), Some([word, ms])) = (export, program.after(&["start"]))
                && word == "sleep"
            {
                let ms = ms.parse().unwrap_or(0);
                tokio::time::sleep(core::time::Duration::from_millis(ms)).await;
            }
            self.run(export)
        })
    }
}

fn trap(what: &str) -> Outcome {
    Err(Fault::Ended(Ending::Trap, format!("`{what}` trapped")))
}

fn failed() -> Error {
    Error::Failed(Failure {
        code: 1,
        message: "as told".into(),
    })
}

impl Running {
    const fn new(program: Arc<Program>, context: Context) -> Self {
        Self {
            program,
            context,
            count: 0,
        }
    }

    fn log(&mut self, message: &str) {
        if let Ok(entered) = self.context.enter(HostFunction::LoggingLog) {
            entered.logging_log(Level::Info, message, &[]);
        }
    }

    async fn call_module(
        &mut self,
        module: &str,
        action: &str,
        input: &Payload,
    ) -> Result<Payload> {
        let called = self
            .context
            .enter(HostFunction::ModulesCall)?
            .modules_call(module, action, input.clone())?;
        called.await
    }

    async fn send_and_call(&mut self, words: &[String], input: &Payload) -> Result<Payload> {
        let word = |n: usize| words.get(n).map_or("", String::as_str);
        let opcode = word(1).parse().unwrap_or(0x0200);
        self.send(opcode, Audience::Everyone, input.clone())?;
        self.own(&["timer", "aside", "10"].map(str::to_owned))?;
        let answer = self.call_module(word(2), word(3), input).await;
        self.send(opcode + 1, Audience::Everyone, input.clone())?;
        answer
    }

    fn run(&mut self, export: &Export) -> Outcome {
        let program = Arc::clone(&self.program);
        match export {
            Export::Execute(request) => {
                let words = program.after(&["action", &request.name]).unwrap_or(&[]);
                self.execute(words, &request.caller, &request.input)
            }
            Export::Handle(packet) => {
                let opcode = format!("{:#06x}", packet.opcode);
                let words = program.after(&["stage", &opcode]).unwrap_or(&[]);
                match words.get(1).map_or("", String::as_str) {
                    "trap" => trap("stage"),
                    verdict => Ok(Returned::Verdict(packet_verdict(verdict, &packet.payload))),
                }
            }
            Export::Broadcast(message) => {
                let line = program.lines.iter().find(|line| {
                    line[0] == "topic" && crate::catalog::matches(&line[1], &message.topic)
                });
                match line.and_then(|line| line.get(3)).map_or("", String::as_str) {
                    "trap" => trap("topic"),
                    verdict => Ok(Returned::Ruling(message_verdict(verdict, &message.payload))),
                }
            }
            Export::Step(wake) => Ok(Returned::Next(Ok(self.step(wake)))),
            Export::Start(info) => {
                self.log(&format!("start {:?}", info.reason));
                if program.says(&["start", "trap"]) {
                    return trap("start");
                }
                if program.says(&["start", "fail"]) {
                    return Ok(Returned::Done(Err(failed())));
                }
                if program.says(&["start", "send"]) {
                    let sent =
                        self.send(0x0200, Audience::Everyone, Payload::from_static(b"start"));
                    return Ok(Returned::Done(sent));
                }
                Ok(Returned::Done(Ok(())))
            }
            Export::Stop(reason) => {
                self.log(&format!("stop {reason:?}"));
                if program.says(&["stop", "trap"]) {
                    return trap("stop");
                }
                Ok(Returned::Nothing)
            }
            Export::Save => {
                if program.says(&["save", "trap"]) {
                    return trap("save");
                }
                if program.says(&["save", "fail"]) {
                    return Ok(Returned::Saved(Err(failed())));
                }
                Ok(Returned::Saved(Ok(Snapshot {
                    declared: None,
                    schema: 1,
                    data: Payload::from(self.count.to_string()),
                })))
            }
            Export::Restore(snapshot) => {
                if program.says(&["restore", "trap"]) {
                    return trap("restore");
                }
                if program.says(&["restore", "fail"]) {
                    return Ok(Returned::Done(Err(failed())));
                }
                let text = core::str::from_utf8(&snapshot.data).unwrap_or_default();
                self.count = text.parse().unwrap_or(0);
                Ok(Returned::Done(Ok(())))
            }
            Export::Tick(tick) => {
                self.count += 1;
                self.log(&format!("tick {} skipped {}", tick.number, tick.skipped));
                Ok(Returned::Nothing)
            }
            Export::Timer { name, .. } => {
                self.log(&format!("timer {name}"));
                Ok(Returned::Nothing)
            }
            Export::Connecting(newcomer) => {
                self.log("connecting");
                Ok(Returned::Admission(Ok(Admission {
                    user: newcomer.user.clone(),
                    tags: Vec::new(),
                })))
            }
            Export::Connected(_)
            | Export::Disconnected(..)
            | Export::Alive(..)
            | Export::Away(_)
            | Export::Back(_) => {
                self.log(export.name());
                Ok(Returned::Nothing)
            }
            Export::Event(event) => {
                self.log(&format!("event {event:?}"));
                Ok(Returned::Nothing)
            }
            Export::Subscribe { topic, .. } => {
                let first = program
                    .after(&["stream", topic])
                    .and_then(|words| words.first())
                    .map(|item| Payload::from(item.clone()));
                Ok(Returned::Subscribed(Ok(first)))
            }
            Export::Unsubscribe { topic, .. } => {
                self.log(&format!("unsubscribe {topic}"));
                Ok(Returned::Nothing)
            }
            Export::Reply { tag, answer } => {
                let answer = answer
                    .as_ref()
                    .map_or_else(ToString::to_string, |a| String::from_utf8_lossy(a).into());
                self.log(&format!("reply {tag} {answer}"));
                Ok(Returned::Nothing)
            }
        }
    }

    fn step(&mut self, wake: &Wake) -> Next {
        let wake = match wake {
            Wake::Started => "started".to_owned(),
            Wake::Elapsed => "elapsed".to_owned(),
            Wake::Stopping => "stopping".to_owned(),
            Wake::Signalled(signals) => {
                let names: Vec<_> = signals.iter().map(|s| s.name.as_str()).collect();
                format!("signalled {}", names.join(" "))
            }
        };
        self.log(&format!("step {wake}"));
        self.program
            .after(&["background"])
            .and_then(|words| words.first()?.parse::<u64>().ok())
            .map_or(Next::WhenSignalled, |ms| Next::After(ms * 1_000))
    }

    fn execute(&mut self, words: &[String], caller: &Caller, input: &Payload) -> Outcome {
        let word = |n: usize| words.get(n).map_or("", String::as_str);
        match word(0) {
            "raise" => return Err(Fault::Raised(words[1..].join(" "))),
            "trap" => {
                self.send(0x0200, Audience::Everyone, input.clone()).ok();
                return trap("action");
            }
            "panic" => panic!("as told"),
            "deadline" => return Err(Fault::Ended(Ending::Deadline, String::new())),
            "memory" => return Err(Fault::Ended(Ending::Memory, String::new())),
            _ => {}
        }
        Ok(Returned::Answer(self.answer(words, caller, input)))
    }

    fn answer(&mut self, words: &[String], caller: &Caller, input: &Payload) -> Result<Payload> {
        let word = |n: usize| words.get(n).map_or("", String::as_str);
        match word(0) {
            "echo" | "sleep" => Ok(input.clone()),
            "count" => {
                self.count += 1;
                Ok(Payload::from(self.count.to_string()))
            }
            "which" => {
                self.count += 1;
                let generation = self.context.identity().generation;
                Ok(Payload::from(format!("{generation}:{}", self.count)))
            }
            "visits" => self
                .context
                .enter(HostFunction::StateAdd)?
                .state_add(&Scope::Shared, "visits", 1, 0)
                .map(|sum| Payload::from(sum.to_string())),
            "malformed" => Err(Error::invalid(words[1..].join(" "))),
            "refuse" => Err(Error::Failed(Failure {
                code: word(1).parse().unwrap_or(0),
                message: words[2..].join(" "),
            })),
            "mail" => {
                self.context
                    .enter(HostFunction::MailboxSend)?
                    .mailbox_send(word(1), word(2), input.clone())?;
                Ok(Payload::new())
            }
            "request" => {
                self.context
                    .enter(HostFunction::MailboxRequest)?
                    .mailbox_request(word(1), word(2), input.clone(), "tag".into(), 0)?;
                Ok(Payload::new())
            }
            "send" => {
                let opcode = word(1).parse().unwrap_or(0x0200);
                let to = match caller {
                    Caller::Client(client) => Audience::Client(client.id),
                    Caller::Module(_) | Caller::Operator(_) | Caller::System(_) => {
                        Audience::Everyone
                    }
                };
                self.send(opcode, to, input.clone())?;
                Ok(Payload::new())
            }
            "timer" | "every" | "cancel" | "rate" | "signal" => self.own(words),
            _ => Err(Error::NotFound),
        }
    }

    fn own(&mut self, words: &[String]) -> Result<Payload> {
        let word = |n: usize| words.get(n).map_or("", String::as_str);
        let us = word(2).parse::<u64>().unwrap_or(0) * 1_000;
        match word(0) {
            "timer" => {
                let set = self.context.enter(HostFunction::TimersSet)?.timers_set(
                    word(1),
                    us,
                    Payload::new(),
                );
                set.inspect_err(|error| self.context.note(HostFunction::TimersSet, error))?;
            }
            "every" => {
                self.context
                    .enter(HostFunction::TimersEvery)?
                    .timers_every(word(1), us, Payload::new())?;
            }
            "cancel" => {
                self.context
                    .enter(HostFunction::TimersCancel)?
                    .timers_cancel(word(1));
            }
            "rate" => {
                self.context
                    .enter(HostFunction::TimersSetTickRate)?
                    .timers_set_tick_rate(word(1).parse().unwrap_or(0))?;
            }
            _ => {
                self.context
                    .enter(HostFunction::SignalsRaise)?
                    .signals_raise(word(1), Payload::new())?;
            }
        }
        Ok(Payload::new())
    }

    fn send(&mut self, opcode: u16, to: Audience, payload: Payload) -> Result<()> {
        self.context
            .enter(HostFunction::ClientsSendTo)?
            .clients_send_to(to, opcode, payload, SendOptions::default(), None)
            .map(drop)
    }
}

fn packet_verdict(verdict: &str, payload: &Payload) -> PacketVerdict {
    match verdict {
        "drop" => PacketVerdict::Drop,
        "reply" => PacketVerdict::Reply(payload.clone()),
        "replace" => PacketVerdict::Replace(doubled(payload)),
        "reject" => PacketVerdict::Reject(rejected()),
        _ => PacketVerdict::Pass,
    }
}

fn message_verdict(verdict: &str, payload: &Payload) -> MessageVerdict {
    match verdict {
        "drop" => MessageVerdict::Drop,
        "replace" => MessageVerdict::Replace(doubled(payload)),
        "redirect" => MessageVerdict::Redirect(Audience::Everyone, payload.clone()),
        "reject" => MessageVerdict::Reject(rejected()),
        _ => MessageVerdict::Pass,
    }
}

fn rejected() -> Error {
    Error::Failed(Failure {
        code: 3,
        message: "rejected".into(),
    })
}

fn doubled(payload: &Payload) -> Payload {
    Payload::from([payload.as_ref(), payload.as_ref()].concat())
}
