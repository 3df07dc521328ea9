//! What a component may export: which of the contract's interfaces it has, and their functions, looked up and type-checked once for each replica.

pub(crate) mod describe;
pub(crate) mod params;
pub(crate) mod results;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};
use wasmtime::{AsContextMut, Engine};

use crate::contract::types::{Client, CloseReason, DurationUs, Error, Payload, TimestampUs};
use params::{Event, Message, Newcomer, Packet, Request, StartInfo, StopReason, Tick, Wake};
use results::{
    ActionInfo, Admission, BroadcastClaim, ClientEventSet, MessageVerdict, Next, PacketClaim,
    PacketVerdict, ServerEventSet, Snapshot, StreamClaim, TickPlan,
};

/// Before an interface's name in an export's or import's.
pub(crate) const PACKAGE: &str = "cohnect:module/";
/// The version of the contract that this host speaks.
const VERSION: &str = "@0.1.0";

/// Builds the two tables, of indices into the component and of functions of an instance, from one list of the contract's exports.
macro_rules! exports {
    ($($interface:literal { $($field:ident = $name:literal: $params:ty => $result:ty;)+ })+) => {
        /// Where a component's exports are; found once per load.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Indices {
            $($(pub(crate) $field: Option<ComponentExportIndex>,)+)+
        }

        /// The functions of one instance.
        pub(crate) struct Functions {
            $($(pub(crate) $field: Option<TypedFunc<$params, $result>>,)+)+
        }

        /// Every interface that a module may export.
        const INTERFACES: &[&str] = &[$($interface),+];

        impl Indices {
            /// Finds the contract's exports in a component.
            ///
            /// # Errors
            /// A sentence that names what is missing, or what this server does not know.
            pub(crate) fn find(engine: &Engine, component: &Component) -> Result<Self, String> {
                refuse_unknown(engine, component)?;
                let mut indices = Self::default();
                $(
                    let interface = component.get_export_index(None, concat_name($interface).as_str());
                    if let Some(interface) = interface {
                        $(
                            indices.$field = Some(function(component, &interface, $interface, $name)?);
                        )+
                    }
                )+
                Ok(indices)
            }
        }

        impl Functions {
            /// Looks the functions of one instance up and checks their types.
            ///
            /// # Errors
            /// A type that is not the contract's.
            pub(crate) fn load(
                indices: &Indices,
                mut store: impl AsContextMut,
                instance: &Instance,
            ) -> wasmtime::Result<Self> {
                Ok(Self {
                    $($($field: typed(
                        indices.$field.as_ref(),
                        &mut store,
                        instance,
                        concat!($interface, ".", $name),
                    )?,)+)+
                })
            }
        }
    };
}

exports! {
    "action" {
        action_describe = "describe": () => (Vec<ActionInfo>,);
        execute = "execute": (Request,) => (Result<Payload, Error>,);
    }
    "pipeline" {
        pipeline_describe = "describe": () => (Vec<PacketClaim>,);
        handle = "handle": (Packet,) => (PacketVerdict,);
    }
    "broadcast" {
        broadcast_describe = "describe": () => (Vec<BroadcastClaim>,);
        broadcast = "handle": (Message,) => (MessageVerdict,);
    }
    "background" {
        step = "step": (Wake,) => (Result<Next, Error>,);
    }
    "lifecycle" {
        start = "start": (StartInfo,) => (Result<(), Error>,);
        stop = "stop": (StopReason,) => ();
    }
    "migration" {
        save = "save": () => (Result<Snapshot, Error>,);
        restore = "restore": (Snapshot,) => (Result<(), Error>,);
    }
    "ticker" {
        ticker_describe = "describe": () => (TickPlan,);
        tick = "on-tick": (Tick,) => ();
    }
    "timer-handler" {
        timer = "on-timer": (std::sync::Arc<str>, Payload, TimestampUs) => ();
    }
    "client-events" {
        client_events_describe = "describe": () => (ClientEventSet,);
        connecting = "on-connecting": (Newcomer,) => (Result<Admission, Error>,);
        connected = "on-connected": (Client,) => ();
        disconnected = "on-disconnected": (Client, CloseReason) => ();
        alive = "on-alive": (Client, DurationUs) => ();
        away = "on-away": (Client,) => ();
        back = "on-back": (Client,) => ();
    }
    "server-events" {
        server_events_describe = "describe": () => (ServerEventSet,);
        event = "on-event": (Event,) => ();
    }
    "stream-handler" {
        stream_describe = "describe": () => (Vec<StreamClaim>,);
        subscribe = "on-subscribe": (std::sync::Arc<str>, Client, Payload) => (Result<Option<Payload>, Error>,);
        unsubscribe = "on-unsubscribe": (std::sync::Arc<str>, Client, CloseReason) => ();
    }
    "reply-handler" {
        reply = "on-reply": (String, Result<Payload, Error>) => ();
    }
}

fn concat_name(interface: &str) -> String {
    format!("{PACKAGE}{interface}{VERSION}")
}

/// The interface in the name of an export or import of our package: `cohnect:module/state@0.1.0` is `state`.
pub(crate) fn interface(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(
        rest.split_once('@')
            .map_or(rest, |(interface, _version)| interface),
    )
}

/// An export of our package that nobody would ever call is a mistake, or a module of a later server.
fn refuse_unknown(engine: &Engine, component: &Component) -> Result<(), String> {
    let mut known = 0_usize;
    for (name, _item) in component.component_type().exports(engine) {
        let Some(interface) = interface(name) else {
            continue;
        };
        if !INTERFACES.contains(&interface) {
            return Err(format!(
                "it exports `{name}`, which this server does not know; it knows {}",
                INTERFACES.join(", ")
            ));
        }
        if component
            .get_export_index(None, concat_name(interface))
            .is_none()
        {
            return Err(format!(
                "it exports `{name}`, but this server speaks version {}",
                VERSION.trim_start_matches('@')
            ));
        }
        known += 1;
    }
    if known == 0 {
        return Err(format!(
            "it exports nothing that cohnect calls; a module exports one or more of {} from {PACKAGE}",
            INTERFACES.join(", ")
        ));
    }
    Ok(())
}

fn function(
    component: &Component,
    interface: &ComponentExportIndex,
    interface_name: &str,
    name: &str,
) -> Result<ComponentExportIndex, String> {
    component
        .get_export_index(Some(interface), name)
        .ok_or_else(|| {
            format!("it exports `{PACKAGE}{interface_name}` without its function `{name}`")
        })
}

fn typed<P, R>(
    index: Option<&ComponentExportIndex>,
    store: impl AsContextMut,
    instance: &Instance,
    name: &str,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    index
        .map(|index| {
            instance
                .get_typed_func(store, index)
                .map_err(|error| error.context(format!("{name} has not the contract's type")))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn an_interface_is_read_from_a_versioned_name() {
        assert_eq!(interface("cohnect:module/state@0.1.0"), Some("state"));
        assert_eq!(interface("cohnect:module/state"), Some("state"));
        assert_eq!(interface("wasi:cli/exit@0.2.0"), None);
    }
}
