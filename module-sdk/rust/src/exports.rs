//! What a module may export: one trait for each interface, its types, and the macro that turns a value with these traits into a component's exports.

use crate::{Client, CloseReason, DurationUs, Error, Payload, TimestampUs};

/// The types of [`Action`](crate::Action).
pub mod action {
    pub use crate::bindings::action::exports::cohnect::module::action::{
        Access, ActionInfo, Request,
    };
}

/// The types of [`Pipeline`](crate::Pipeline).
pub mod pipeline {
    pub use crate::bindings::pipeline::cohnect::module::packets::{Packet, Verdict};
    pub use crate::bindings::pipeline::exports::cohnect::module::pipeline::Claim;
}

/// The types of [`Broadcast`](crate::Broadcast).
pub mod broadcast {
    pub use crate::bindings::broadcast::exports::cohnect::module::broadcast::{
        Claim, Message, Redirection, Verdict,
    };
}

/// The types of [`Background`](crate::Background).
pub mod background {
    pub use crate::bindings::background::exports::cohnect::module::background::{
        Next, Signal, Wake,
    };
}

/// The types of [`Lifecycle`](crate::Lifecycle).
pub mod lifecycle {
    pub use crate::bindings::lifecycle::exports::cohnect::module::lifecycle::{
        StartInfo, StartReason, StopReason,
    };
}

/// The types of [`Migration`](crate::Migration).
pub mod migration {
    pub use crate::bindings::migration::exports::cohnect::module::migration::Snapshot;
}

/// The types of [`Ticker`](crate::Ticker).
pub mod ticker {
    pub use crate::bindings::ticker::exports::cohnect::module::ticker::{Overrun, Tick, TickPlan};
}

/// The types of [`ClientEvents`](crate::ClientEvents).
pub mod client_events {
    pub use crate::bindings::client_events::exports::cohnect::module::client_events::{
        Admission, EventSet, Newcomer,
    };
}

/// The types of [`ServerEvents`](crate::ServerEvents).
pub mod server_events {
    pub use crate::bindings::server_events::exports::cohnect::module::server_events::{
        Event, EventSet, NamedEvent,
    };
}

/// The types of [`StreamHandler`](crate::StreamHandler).
pub mod stream_handler {
    pub use crate::bindings::stream_handler::exports::cohnect::module::stream_handler::Claim;
}

/// Named functions, for clients, other modules and the command line.
pub trait Action {
    /// The actions and who may call them. Called once per load, in a copy that is thrown away.
    fn describe() -> Vec<action::ActionInfo>;
    /// Runs one of them.
    ///
    /// # Errors
    /// What the caller is told; [`Error::refused`] with a text that may leave the server.
    fn execute(&mut self, request: action::Request) -> Result<Payload, Error>;
}

/// A stage for packets on the module's own opcodes. It never waits.
pub trait Pipeline {
    /// The opcodes, and the place among other stages.
    fn describe() -> Vec<pipeline::Claim>;
    /// Judges one packet.
    fn handle(&mut self, packet: pipeline::Packet) -> pipeline::Verdict;
}

/// A stage that BROADCAST messages run through on their way. It never waits.
pub trait Broadcast {
    /// The topics, and the place among other stages.
    fn describe() -> Vec<broadcast::Claim>;
    /// Judges one message.
    fn handle(&mut self, message: broadcast::Message) -> broadcast::Verdict;
}

/// A state machine that the host steps.
pub trait Background {
    /// One step.
    ///
    /// # Errors
    /// For the log; the machine goes on.
    fn step(&mut self, why: background::Wake) -> Result<background::Next, Error>;
}

/// The first and the last call of a copy.
pub trait Lifecycle {
    /// Before any other call, but for [`Migration::restore`].
    ///
    /// # Errors
    /// The copy does not start; in a swap the old one goes on.
    fn start(&mut self, info: lifecycle::StartInfo) -> Result<(), Error> {
        drop(info);
        Ok(())
    }
    /// After every other call.
    fn stop(&mut self, reason: lifecycle::StopReason) {
        let _ = reason;
    }
}

/// State that goes over a hot swap.
pub trait Migration {
    /// What the next code is to have.
    ///
    /// # Errors
    /// The swap is given up.
    fn save(&mut self) -> Result<migration::Snapshot, Error>;
    /// Takes over from the code before.
    ///
    /// # Errors
    /// The swap is given up, and the old code goes on.
    fn restore(&mut self, snapshot: migration::Snapshot) -> Result<(), Error>;
}

/// Simulation at a fixed rate.
pub trait Ticker {
    /// How often, and what becomes of missed ticks.
    fn describe() -> ticker::TickPlan;
    /// One tick.
    fn on_tick(&mut self, tick: ticker::Tick);
}

/// Timers that [`timers::set`](crate::timers::set) armed.
pub trait TimerHandler {
    /// One is due.
    fn on_timer(&mut self, name: String, data: Payload, due_at: TimestampUs);
}

/// Answers to [`mailbox::request`](crate::mailbox::request).
pub trait ReplyHandler {
    /// What came of the request with this tag.
    fn on_reply(&mut self, tag: String, answer: Result<Payload, Error>);
}

/// What happens to any client of the server.
pub trait ClientEvents {
    /// The events to be told of; the others never enter the module.
    fn describe() -> client_events::EventSet;
    /// One wants to come in.
    ///
    /// # Errors
    /// It is refused, and sees the text of [`Error::refused`].
    fn on_connecting(
        &mut self,
        newcomer: client_events::Newcomer,
    ) -> Result<client_events::Admission, Error> {
        drop(newcomer);
        Ok(client_events::Admission::default())
    }
    /// One is in.
    fn on_connected(&mut self, client: Client) {
        drop(client);
    }
    /// One is gone; once for each [`ClientEvents::on_connected`].
    fn on_disconnected(&mut self, client: Client, reason: CloseReason) {
        drop(client);
        let _ = reason;
    }
    /// One was heard.
    fn on_alive(&mut self, client: Client, rtt: DurationUs) {
        drop(client);
        let _ = rtt;
    }
    /// One was not heard for a while; its session waits.
    fn on_away(&mut self, client: Client) {
        drop(client);
    }
    /// It is heard again.
    fn on_back(&mut self, client: Client) {
        drop(client);
    }
}

/// What happens to the server.
pub trait ServerEvents {
    /// The events to be told of.
    fn describe() -> server_events::EventSet;
    /// One happened.
    fn on_event(&mut self, event: server_events::Event);
}

/// Topics that clients open with STREAM.
pub trait StreamHandler {
    /// The topics, and who may open them.
    fn describe() -> Vec<stream_handler::Claim>;
    /// One opens a topic. What is returned is its first item.
    ///
    /// # Errors
    /// It is refused, and sees the text of [`Error::refused`].
    fn on_subscribe(
        &mut self,
        topic: String,
        client: Client,
        arguments: Payload,
    ) -> Result<Option<Payload>, Error> {
        drop((topic, client, arguments));
        Ok(None)
    }
    /// Its stream ended.
    fn on_unsubscribe(&mut self, topic: String, client: Client, reason: CloseReason) {
        drop((topic, client));
        let _ = reason;
    }
}

/// Says what a module exports: its type, and the interfaces whose traits it has, in the contract's names with `_` for `-`.
///
/// ```
/// # use cohnect_module::prelude::*;
/// #[derive(Default)]
/// struct Arena;
///
/// impl Ticker for Arena {
///     fn describe() -> TickPlan {
///         TickPlan { hz: 20, ..TickPlan::default() }
///     }
///
///     fn on_tick(&mut self, _tick: Tick) {}
/// }
///
/// cohnect_module::export!(Arena: ticker);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($module:ident : $($interface:ident),+ $(,)?) => {
        const _: () = {
            struct CohnectExports;

            ::std::thread_local! {
                static COHNECT_MODULE: ::core::cell::RefCell<$module> =
                    ::core::cell::RefCell::new($crate::module::<$module>());
            }

            impl CohnectExports {
                fn with<T>(call: impl ::core::ops::FnOnce(&mut $module) -> T) -> T {
                    COHNECT_MODULE.with_borrow_mut(call)
                }
            }

            $($crate::__export_interface!($interface, $module);)+
        };
    };
}

/// One interface of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    (action, $module:ident) => {
        $crate::__export_functions!(action, __export_action, Action, $module, {
            describe() -> ::std::vec::Vec<$crate::action::ActionInfo>;
        }, {
            execute(request: $crate::action::Request) -> ::core::result::Result<$crate::Payload, $crate::Error>;
        });
    };
    (pipeline, $module:ident) => {
        $crate::__export_functions!(pipeline, __export_pipeline, Pipeline, $module, {
            describe() -> ::std::vec::Vec<$crate::pipeline::Claim>;
        }, {
            handle(packet: $crate::pipeline::Packet) -> $crate::pipeline::Verdict;
        });
    };
    (broadcast, $module:ident) => {
        $crate::__export_functions!(broadcast, __export_broadcast, Broadcast, $module, {
            describe() -> ::std::vec::Vec<$crate::broadcast::Claim>;
        }, {
            handle(message: $crate::broadcast::Message) -> $crate::broadcast::Verdict;
        });
    };
    (background, $module:ident) => {
        $crate::__export_functions!(background, __export_background, Background, $module, {}, {
            step(why: $crate::background::Wake) -> ::core::result::Result<$crate::background::Next, $crate::Error>;
        });
    };
    (lifecycle, $module:ident) => {
        $crate::__export_functions!(lifecycle, __export_lifecycle, Lifecycle, $module, {}, {
            start(info: $crate::lifecycle::StartInfo) -> ::core::result::Result<(), $crate::Error>;
            stop(reason: $crate::lifecycle::StopReason) -> ();
        });
    };
    (migration, $module:ident) => {
        $crate::__export_functions!(migration, __export_migration, Migration, $module, {}, {
            save() -> ::core::result::Result<$crate::migration::Snapshot, $crate::Error>;
            restore(snapshot: $crate::migration::Snapshot) -> ::core::result::Result<(), $crate::Error>;
        });
    };
    (ticker, $module:ident) => {
        $crate::__export_functions!(ticker, __export_ticker, Ticker, $module, {
            describe() -> $crate::ticker::TickPlan;
        }, {
            on_tick(tick: $crate::ticker::Tick) -> ();
        });
    };
    (timer_handler, $module:ident) => {
        $crate::__export_functions!(timer_handler, __export_timer_handler, TimerHandler, $module, {}, {
            on_timer(name: ::std::string::String, data: $crate::Payload, due_at: $crate::TimestampUs) -> ();
        });
    };
    (reply_handler, $module:ident) => {
        $crate::__export_functions!(reply_handler, __export_reply_handler, ReplyHandler, $module, {}, {
            on_reply(tag: ::std::string::String, answer: ::core::result::Result<$crate::Payload, $crate::Error>) -> ();
        });
    };
    (client_events, $module:ident) => {
        $crate::__export_functions!(client_events, __export_client_events, ClientEvents, $module, {
            describe() -> $crate::client_events::EventSet;
        }, {
            on_connecting(newcomer: $crate::client_events::Newcomer)
                -> ::core::result::Result<$crate::client_events::Admission, $crate::Error>;
            on_connected(client: $crate::Client) -> ();
            on_disconnected(client: $crate::Client, reason: $crate::CloseReason) -> ();
            on_alive(client: $crate::Client, rtt: $crate::DurationUs) -> ();
            on_away(client: $crate::Client) -> ();
            on_back(client: $crate::Client) -> ();
        });
    };
    (server_events, $module:ident) => {
        $crate::__export_functions!(server_events, __export_server_events, ServerEvents, $module, {
            describe() -> $crate::server_events::EventSet;
        }, {
            on_event(event: $crate::server_events::Event) -> ();
        });
    };
    (stream_handler, $module:ident) => {
        $crate::__export_functions!(stream_handler, __export_stream_handler, StreamHandler, $module, {
            describe() -> ::std::vec::Vec<$crate::stream_handler::Claim>;
        }, {
            on_subscribe(topic: ::std::string::String, client: $crate::Client, arguments: $crate::Payload)
                -> ::core::result::Result<::core::option::Option<$crate::Payload>, $crate::Error>;
            on_unsubscribe(topic: ::std::string::String, client: $crate::Client, reason: $crate::CloseReason) -> ();
        });
    };
    ($other:ident, $module:ident) => {
        ::core::compile_error!(::core::concat!(
            "`",
            ::core::stringify!($other),
            "` is no interface that a module exports; these are: action, pipeline, broadcast, background, lifecycle, migration, ticker, \
             timer_handler, reply_handler, client_events, server_events, stream_handler"
        ));
    };
}

/// The functions of one interface, each passed on to the module's trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_functions {
    (
        $interface:ident, $export:ident, $trait:ident, $module:ident,
        { $($description:ident() -> $described:ty;)? },
        { $($function:ident($($argument:ident: $type:ty),*) -> $result:ty;)+ }
    ) => {
        impl $crate::bindings::$interface::exports::cohnect::module::$interface::Guest for CohnectExports {
            $(fn $description() -> $described {
                $crate::say_panics();
                <$module as $crate::$trait>::$description()
            })?

            $(fn $function($($argument: $type),*) -> $result {
                Self::with(|module| <$module as $crate::$trait>::$function(module, $($argument),*))
            })+
        }

        $crate::bindings::$interface::$export!(CohnectExports with_types_in $crate::bindings::$interface);
    };
}
