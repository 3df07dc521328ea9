//! A copy of a script on a worker: each call runs in a coroutine, which gives its turn up at each tick and waits where a host function waits. One call at a
//! time, to its end.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::rc::Rc;

use cohnect_host::context::Context;
use cohnect_host::export::{Export, Outcome, Returned, Wake};
use cohnect_host::replica::WaitingReplica;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::StreamExt;
use mlua::{Function, MultiValue, Thread, Value};

use crate::background::{self, Step, Stop};
use crate::call::{self, Job};
use crate::keep;
use crate::replica::Instance;
use crate::safepoint;

/// A copy on a worker.
pub(crate) struct Waiting {
    /// The coroutine of the calls, used again by the next.
    thread: Option<Thread>,
    instance: Instance,
}

impl Waiting {
    pub(crate) const fn new(instance: Instance) -> Self {
        Self {
            thread: None,
            instance,
        }
    }
}

impl WaitingReplica for Waiting {
    fn context(&mut self) -> &mut Context {
        self.instance.context()
    }

    fn call<'a>(&'a mut self, export: &'a Export) -> LocalBoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.instance.begin();
            let result = self.dispatch(export).await;
            let result = result.map_err(|error| self.instance.vm.host.explain(error));
            let ending = self.instance.end();
            call::outcome(ending, export, result, self.instance.context())
        })
    }
}

impl Waiting {
    async fn dispatch(&mut self, export: &Export) -> mlua::Result<Returned> {
        match export {
            Export::Step(why) => self.step(why).await,
            Export::Save => match (
                keep::save(&self.instance.handlers),
                self.instance.handlers.save.clone(),
            ) {
                (Some(saved), _) => saved,
                (None, Some(save)) => {
                    let (value, problem) = self.run(&save, MultiValue::new()).await?;
                    keep::saved(&self.instance.handlers, &value, &problem)
                }
                (None, None) => Ok(call::nothing(export)),
            },
            Export::Restore(snapshot) => match self.instance.handlers.restore.clone() {
                Some(restore) => {
                    let data = self.instance.vm.lua.create_string(&snapshot.data)?;
                    let arguments = [Value::String(data), Value::Number(snapshot.schema.into())];
                    let (value, problem) =
                        self.run(&restore, MultiValue::from_iter(arguments)).await?;
                    call::interpret(export, &value, &problem)
                }
                // Nothing waits while state changes hands, so `upgrade` is called plainly.
                None => {
                    let Instance { vm, handlers, .. } = &self.instance;
                    let host = &vm.host;
                    safepoint::watched(&host.counter, &**host, None, || {
                        keep::restore(&vm.lua, handlers, snapshot, |function, arguments| {
                            function.call(arguments)
                        })
                    })
                }
            },
            Export::Execute(_)
            | Export::Handle(_)
            | Export::Broadcast(_)
            | Export::Start(_)
            | Export::Stop(_)
            | Export::Tick(_)
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
            | Export::Reply { .. } => {
                let Instance { vm, handlers, .. } = &self.instance;
                match call::job(vm, handlers, export)? {
                    Job::Done(returned) => Ok(returned),
                    Job::Run(function, arguments) => {
                        let (value, problem) = self.run(&function, arguments).await?;
                        call::interpret(export, &value, &problem)
                    }
                }
            }
        }
    }

    /// Runs a function in the calls' coroutine.
    async fn run(
        &mut self,
        function: &Function,
        arguments: MultiValue,
    ) -> mlua::Result<(Value, Value)> {
        let thread = match self.thread.take() {
            Some(thread) => {
                thread.reset(function.clone())?;
                thread
            }
            None => self.instance.vm.lua.create_thread(function.clone())?,
        };
        let future = thread.clone().into_async::<(Value, Value)>(arguments)?;
        let result = self.drive(&thread, pin!(future)).await;
        self.thread = Some(thread);
        result
    }

    /// Polls Luau under the eyes of the tick; the time between two polls is not the call's.
    async fn drive<T>(
        &self,
        thread: &Thread,
        mut future: core::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>,
    ) -> T {
        let host = Rc::clone(&self.instance.vm.host);
        let outermost = safepoint::address(thread);
        let mut paused = false;
        poll_fn(move |cx| {
            if core::mem::take(&mut paused) {
                host.with_context(Context::resume);
            }
            host.outermost.set(outermost);
            let polled = safepoint::watched(&host.counter, &*host, Some(outermost), || {
                future.as_mut().poll(cx)
            });
            host.outermost.set(core::ptr::null());
            if polled.is_pending() {
                host.with_context(Context::pause);
                paused = true;
            }
            polled
        })
        .await
    }

    async fn step(&mut self, why: &Wake) -> mlua::Result<Returned> {
        let finished = || Returned::Next(Ok(cohnect_host::export::Next::Finished));
        let Instance {
            vm,
            handlers,
            background,
            ..
        } = &mut self.instance;
        let Some(body) = handlers.background.clone() else {
            return Ok(finished());
        };
        let host = Rc::clone(&vm.host);
        let made = safepoint::watched(&host.counter, &*host, None, || {
            background::step(vm, background, &body, why)
        })?;
        let Some(step) = made else {
            return Ok(finished());
        };
        let stop = self.resume(&step).await?;
        Ok(background::settle(
            &mut self.instance.background,
            step,
            &stop,
        ))
    }

    /// Resumes the loop until it sleeps, waits for a signal, or returns. What it awaits in between, and the turns that it gives up, are part of the step.
    async fn resume(&self, step: &Step) -> mlua::Result<Stop> {
        let mut stream = step
            .thread
            .clone()
            .into_async::<MultiValue>(step.arguments.clone())?;
        loop {
            let next = self
                .drive(&step.thread, pin!(poll_fn(|cx| stream.poll_next_unpin(cx))))
                .await;
            match next {
                None => return Ok(Stop::Returned),
                Some(Err(error)) => return Err(error),
                // A turn that was given up at a tick passes nothing.
                Some(Ok(results)) if results.is_empty() && step.thread.is_resumable() => {
                    self.instance.vm.host.with_context(Context::pause);
                    give_way().await;
                    self.instance.vm.host.with_context(Context::resume);
                }
                Some(Ok(results)) => return background::stopped(&step.thread, &results),
            }
        }
    }
}

/// Lets the others of this thread run once.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if core::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
