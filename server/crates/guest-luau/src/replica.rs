//! One copy of a script: its machine, its handlers and its context, and the plain way of calling it on a shard. It never waits.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cohnect_host::context::Context;
use cohnect_host::export::{Ending, Export, Outcome, Packet, Request, Returned, Tick, Wake};
use cohnect_host::function::{HostFunction, Interface};
use cohnect_host::replica::{LoadError, Replica};
use mlua::{MultiValue, Value};

use crate::background::{self, Loop, Stop};
use crate::call::{self, Job};
use crate::convert::{IntoLuau, delivery, seconds};
use crate::host::Host;
use crate::keep;
use crate::language::Code;
use crate::safepoint;
use crate::shape::{self, Handlers, Shape};
use crate::vm::Vm;

/// A copy, however it is called.
pub(crate) struct Instance {
    pub(crate) handlers: Handlers,
    pub(crate) background: Loop,
    /// None while a call runs.
    pub(crate) context: Option<Box<Context>>,
    seeded: bool,
    /// Last, so that the handlers go before their machine.
    pub(crate) vm: Vm,
}

impl Instance {
    /// A machine in which the module's file has run, and what its table says.
    pub(crate) fn load(
        code: &Arc<Code>,
        context: Context,
        counter: &Arc<AtomicU64>,
        declared: Option<&[Interface]>,
    ) -> Result<(Self, Shape), LoadError> {
        let host = Host::new(Arc::clone(counter));
        if let Some(declared) = declared {
            host.imports.borrow_mut().extend(declared);
        }
        host.lend(Box::new(context));
        let loaded = safepoint::watched(counter, &*host, None, || Self::run_file(code, &host));
        let context = host.take_back();
        match (host.ending(), loaded) {
            (None, Ok((vm, mut shape))) => {
                let handlers = core::mem::take(&mut shape.handlers);
                host.loading.set(false);
                let instance = Self {
                    handlers,
                    background: Loop::Idle,
                    context,
                    seeded: false,
                    vm,
                };
                Ok((instance, shape))
            }
            (Some(Ending::Deadline), _) => Err(LoadError::new(format!(
                "{}: the file used its CPU time up while it ran; what takes long belongs into lifecycle.start, an action or a background function",
                code.shown()
            ))),
            (Some(ending), _) => Err(LoadError::new(format!(
                "{}: the file {ending}",
                code.shown()
            ))),
            (None, Err(error)) => Err(error),
        }
    }

    fn run_file(code: &Arc<Code>, host: &Rc<Host>) -> Result<(Vm, Shape), LoadError> {
        let shown = |error: mlua::Error| {
            let error = host.explain(error);
            let what = if call::is_memory(&error) {
                format!(
                    "the file used more than its {} MiB of memory, its `memory_mib`, while it ran",
                    code.memory_bytes >> 20
                )
            } else {
                call::text(&error)
            };
            // Most errors of Luau begin with the file and the line.
            let file = format!("{}:", code.shown());
            LoadError::new(if what.starts_with(&file) {
                what
            } else {
                format!("{file} {what}")
            })
        };
        let vm = Vm::new(code, Rc::clone(host)).map_err(shown)?;
        let table: Value = code
            .function(&vm.lua, &code.entry)
            .and_then(|body| body.call(()))
            .map_err(shown)?;
        let shape = shape::read(&table, &host.options)
            .map_err(|wrong| LoadError::new(wrong.said(&code.shown())))?;
        Ok((vm, shape))
    }

    /// A call begins: its context is lent to the machine.
    pub(crate) fn begin(&mut self) {
        if let Some(context) = self.context.take() {
            self.vm.host.lend(context);
        }
        if !self.seeded {
            self.seed();
        }
    }

    /// The first call in which the host gives randomness seeds `math.random`.
    #[cold]
    fn seed(&mut self) {
        let drawn =
            self.vm.host.enter(
                HostFunction::RandomNext,
                |entered| Ok(entered.random_next()),
            );
        if let Ok(seed) = drawn {
            self.seeded = self.vm.core.seed(seed).is_ok();
        }
    }

    /// A call has ended, or is given up: what it had open ends, its context comes back.
    pub(crate) fn end(&mut self) -> Option<Ending> {
        self.vm.host.resources.end();
        self.vm.pace();
        if let Some(context) = self.vm.host.take_back() {
            self.context = Some(context);
        }
        self.vm.host.ending()
    }

    /// The context, when no call runs.
    pub(crate) fn context(&mut self) -> &mut Context {
        if let Some(context) = self.vm.host.take_back() {
            self.context = Some(context);
        }
        self.context
            .as_deref_mut()
            .expect("invariant: the context is lent to a call or lies here")
    }
}

/// A copy on a shard.
pub(crate) struct Plain(pub(crate) Instance);

impl Replica for Plain {
    fn context(&mut self) -> &mut Context {
        self.0.context()
    }

    fn call(&mut self, export: &Export) -> Outcome {
        self.0.begin();
        let host = Rc::clone(&self.0.vm.host);
        let result = safepoint::watched(&host.counter, &*host, None, || self.dispatch(export));
        let result = result.map_err(|error| host.explain(error));
        let ending = self.0.end();
        call::outcome(ending, export, result, self.0.context())
    }
}

impl Plain {
    fn dispatch(&mut self, export: &Export) -> mlua::Result<Returned> {
        match export {
            Export::Execute(request) => self.execute(export, request),
            Export::Handle(packet) => self.handle(export, packet),
            Export::Tick(tick) => self.tick(export, tick),
            Export::Step(why) => self.step(why),
            Export::Save => match (keep::save(&self.0.handlers), &self.0.handlers.save) {
                (Some(saved), _) => saved,
                (None, Some(save)) => {
                    let (value, problem): (Value, Value) = save.call(())?;
                    keep::saved(&self.0.handlers, &value, &problem)
                }
                (None, None) => Ok(call::nothing(export)),
            },
            Export::Restore(snapshot) => match &self.0.handlers.restore {
                Some(restore) => {
                    let data = self.0.vm.lua.create_string(&snapshot.data)?;
                    let (value, problem): (Value, Value) = restore.call((data, snapshot.schema))?;
                    call::interpret(export, &value, &problem)
                }
                None => keep::restore(
                    &self.0.vm.lua,
                    &self.0.handlers,
                    snapshot,
                    |function, arguments| function.call(arguments),
                ),
            },
            Export::Broadcast(_)
            | Export::Start(_)
            | Export::Stop(_)
            | Export::Timer { .. }
            | Export::Connecting(_)
            | Export::Connected(_)
            | Export::Disconnected(..)
            | Export::Alive(..)
            | Export::Away(_)
            | Export::Back(_)
            | Export::Event(_)
            | Export::Subscribe { .. }
            | Export::Unsubscribe { .. }
            | Export::Reply { .. } => match call::job(&self.0.vm, &self.0.handlers, export)? {
                Job::Done(returned) => Ok(returned),
                Job::Run(function, arguments) => {
                    let (value, problem): (Value, Value) = function.call(arguments)?;
                    call::interpret(export, &value, &problem)
                }
            },
        }
    }

    /// The three that run all the time pass their arguments without a list of them on the heap.
    fn execute(&self, export: &Export, request: &Request) -> mlua::Result<Returned> {
        let Instance { handlers, vm, .. } = &self.0;
        let Some(action) = handlers.actions.get(&request.name) else {
            return Ok(call::nothing(export));
        };
        let (slot, caller) = call::caller(&vm.lua, &vm.host, &request.caller)?;
        let (value, problem): (Value, Value) = vm.core.execute.call((
            &action.function,
            request.id as f64,
            &action.name,
            seconds(request.received_at),
            vm.string(&request.input)?,
            slot,
            caller,
        ))?;
        call::interpret(export, &value, &problem)
    }

    fn handle(&self, export: &Export, packet: &Packet) -> mlua::Result<Returned> {
        let Instance { handlers, vm, .. } = &self.0;
        let Some(handler) = handlers.packets.get(&packet.opcode) else {
            return Ok(call::nothing(export));
        };
        let sender = &packet.sender;
        let (slot, sender) = if sender.user.is_none() && sender.tags.is_empty() {
            (Some(vm.host.slot(&vm.lua, sender.id)?), Value::Nil)
        } else {
            (None, sender.into_luau(&vm.lua, &vm.host)?)
        };
        let (value, problem): (Value, Value) = vm.core.handle.call((
            handler,
            slot,
            sender,
            packet.opcode,
            packet.version,
            delivery(packet.delivery),
            packet.channel,
            packet.wants_reply,
            seconds(packet.received_at),
            vm.string(&packet.payload)?,
        ))?;
        call::interpret(export, &value, &problem)
    }

    fn tick(&self, export: &Export, tick: &Tick) -> mlua::Result<Returned> {
        let Instance { handlers, vm, .. } = &self.0;
        if let Some(handler) = &handlers.on_tick {
            vm.core.tick.call::<()>((
                handler,
                tick.number as f64,
                seconds(tick.due_at),
                seconds(tick.step),
                tick.skipped,
            ))?;
        }
        Ok(call::nothing(export))
    }

    fn step(&mut self, why: &Wake) -> mlua::Result<Returned> {
        let Instance {
            handlers,
            vm,
            background,
            ..
        } = &mut self.0;
        let finished = || Returned::Next(Ok(cohnect_host::export::Next::Finished));
        let Some(body) = handlers.background.clone() else {
            return Ok(finished());
        };
        let Some(step) = background::step(vm, background, &body, why)? else {
            return Ok(finished());
        };
        let results: MultiValue = step.thread.resume(step.arguments.clone())?;
        let stop: Stop = background::stopped(&step.thread, &results)?;
        Ok(background::settle(background, step, &stop))
    }
}
