//! What a component returns: verdicts, snapshots and what it says of itself, and their conversions to the host's values.

use cohnect_capabilities::Error;
use cohnect_host::export;
use wasmtime::component::{ComponentType, Lift, Lower, flags};

use crate::contract::types::{
    Audience, ClientParts, DurationUs, Failure, Field, Opcode, Payload, all,
};

/// `packets.verdict`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum PacketVerdict {
    #[component(name = "pass")]
    Pass,
    #[component(name = "replace")]
    Replace(Payload),
    #[component(name = "drop")]
    Drop,
    #[component(name = "reply")]
    Reply(Payload),
    #[component(name = "reject")]
    Reject(Failure),
}

impl From<PacketVerdict> for export::PacketVerdict {
    fn from(value: PacketVerdict) -> Self {
        match value {
            PacketVerdict::Pass => Self::Pass,
            PacketVerdict::Replace(payload) => Self::Replace(payload),
            PacketVerdict::Drop => Self::Drop,
            PacketVerdict::Reply(payload) => Self::Reply(payload),
            PacketVerdict::Reject(failure) => Self::Reject(Error::Failed(failure.into())),
        }
    }
}

/// `broadcast.redirection`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Redirection {
    to: Audience,
    payload: Payload,
}

/// `broadcast.verdict`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum MessageVerdict {
    #[component(name = "pass")]
    Pass,
    #[component(name = "replace")]
    Replace(Payload),
    #[component(name = "redirect")]
    Redirect(Redirection),
    #[component(name = "drop")]
    Drop,
    #[component(name = "reject")]
    Reject(Failure),
}

impl From<MessageVerdict> for export::MessageVerdict {
    fn from(value: MessageVerdict) -> Self {
        match value {
            MessageVerdict::Pass => Self::Pass,
            MessageVerdict::Replace(payload) => Self::Replace(payload),
            MessageVerdict::Redirect(to) => Self::Redirect(to.to.into(), to.payload),
            MessageVerdict::Drop => Self::Drop,
            MessageVerdict::Reject(failure) => Self::Reject(Error::Failed(failure.into())),
        }
    }
}

/// `background.next`
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Next {
    #[component(name = "after")]
    After(DurationUs),
    #[component(name = "when-signalled")]
    WhenSignalled,
    #[component(name = "at-once")]
    AtOnce,
    #[component(name = "finished")]
    Finished,
}

impl From<Next> for export::Next {
    fn from(value: Next) -> Self {
        match value {
            Next::After(time) => Self::After(time),
            Next::WhenSignalled => Self::WhenSignalled,
            Next::AtOnce => Self::AtOnce,
            Next::Finished => Self::Finished,
        }
    }
}

/// `migration.snapshot`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Snapshot {
    schema: u32,
    data: Payload,
}

impl From<Snapshot> for export::Snapshot {
    fn from(value: Snapshot) -> Self {
        Self {
            schema: value.schema,
            data: value.data,
            declared: None,
        }
    }
}

impl From<&export::Snapshot> for Snapshot {
    fn from(value: &export::Snapshot) -> Self {
        Self {
            schema: value.schema,
            data: value.data.clone(),
        }
    }
}

/// `client-events.admission`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Admission {
    user: Option<String>,
    tags: Vec<String>,
}

impl From<Admission> for export::Admission {
    fn from(value: Admission) -> Self {
        Self {
            user: value.user,
            tags: value.tags,
        }
    }
}

/// `action.access`
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "wasmtime makes it from what a component returns")]
pub(crate) enum Access {
    #[component(name = "internal")]
    Internal,
    #[component(name = "members")]
    Members,
    #[component(name = "users")]
    Users,
    #[component(name = "clients")]
    Clients,
}

impl From<Access> for export::Access {
    fn from(value: Access) -> Self {
        match value {
            Access::Internal => Self::Internal,
            Access::Members => Self::Members,
            Access::Users => Self::Users,
            Access::Clients => Self::Clients,
        }
    }
}

/// `action.action-info`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct ActionInfo {
    name: String,
    access: Access,
    requires: String,
    wants: ClientParts,
    #[component(name = "media-type")]
    media_type: String,
    #[component(name = "input-schema")]
    input_schema: String,
    #[component(name = "output-schema")]
    output_schema: String,
    options: Vec<Field>,
}

impl From<ActionInfo> for export::ActionInfo {
    fn from(value: ActionInfo) -> Self {
        Self {
            name: value.name.into(),
            access: value.access.into(),
            requires: value.requires,
            wants: value.wants.into(),
            media_type: value.media_type,
            input_schema: value.input_schema,
            output_schema: value.output_schema,
            options: all(value.options),
        }
    }
}

/// `pipeline.claim`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct PacketClaim {
    first: Opcode,
    last: Opcode,
    version: Option<u8>,
    order: i32,
    requires: String,
    wants: ClientParts,
    options: Vec<Field>,
}

impl From<PacketClaim> for export::PacketClaim {
    fn from(value: PacketClaim) -> Self {
        Self {
            first: value.first,
            last: value.last,
            version: value.version,
            order: value.order,
            requires: value.requires,
            wants: value.wants.into(),
            options: all(value.options),
        }
    }
}

/// `broadcast.claim`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct BroadcastClaim {
    topic: String,
    order: i32,
    requires: String,
    wants: ClientParts,
    options: Vec<Field>,
}

impl From<BroadcastClaim> for export::TopicClaim {
    fn from(value: BroadcastClaim) -> Self {
        Self {
            topic: value.topic,
            order: value.order,
            requires: value.requires,
            wants: value.wants.into(),
            options: all(value.options),
        }
    }
}

/// `stream-handler.claim`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct StreamClaim {
    topic: String,
    requires: String,
    wants: ClientParts,
    options: Vec<Field>,
}

impl From<StreamClaim> for export::TopicClaim {
    fn from(value: StreamClaim) -> Self {
        Self {
            topic: value.topic,
            order: 0,
            requires: value.requires,
            wants: value.wants.into(),
            options: all(value.options),
        }
    }
}

/// `ticker.overrun`
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "wasmtime makes it from what a component returns")]
pub(crate) enum Overrun {
    #[component(name = "skip")]
    Skip,
    #[component(name = "catch-up")]
    CatchUp,
}

/// `ticker.tick-plan`
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
#[allow(dead_code, reason = "wasmtime makes it from what a component returns")]
pub(crate) struct TickPlan {
    hz: u32,
    overrun: Overrun,
    #[component(name = "catch-up-max")]
    catch_up_max: u32,
    options: Vec<Field>,
}

impl From<TickPlan> for export::TickPlan {
    fn from(value: TickPlan) -> Self {
        Self {
            hz: value.hz,
            catch_up_max: match value.overrun {
                Overrun::Skip => None,
                Overrun::CatchUp => Some(value.catch_up_max),
            },
        }
    }
}

flags! {
    ClientEventSet {
        #[component(name = "connecting")]
        const CONNECTING;
        #[component(name = "connected")]
        const CONNECTED;
        #[component(name = "disconnected")]
        const DISCONNECTED;
        #[component(name = "alive")]
        const ALIVE;
        #[component(name = "away")]
        const AWAY;
        #[component(name = "back")]
        const BACK;
    }
}

impl From<ClientEventSet> for export::ClientEvents {
    fn from(value: ClientEventSet) -> Self {
        Self {
            connecting: value.contains(ClientEventSet::CONNECTING),
            connected: value.contains(ClientEventSet::CONNECTED),
            disconnected: value.contains(ClientEventSet::DISCONNECTED),
            alive: value.contains(ClientEventSet::ALIVE),
            away: value.contains(ClientEventSet::AWAY),
            back: value.contains(ClientEventSet::BACK),
        }
    }
}

flags! {
    ServerEventSet {
        #[component(name = "started")]
        const STARTED;
        #[component(name = "stopping")]
        const STOPPING;
        #[component(name = "config-changed")]
        const CONFIG_CHANGED;
        #[component(name = "flag-changed")]
        const FLAG_CHANGED;
        #[component(name = "module-loaded")]
        const MODULE_LOADED;
        #[component(name = "module-unloading")]
        const MODULE_UNLOADING;
        #[component(name = "instance-joined")]
        const INSTANCE_JOINED;
        #[component(name = "instance-left")]
        const INSTANCE_LEFT;
        #[component(name = "other")]
        const OTHER;
    }
}

impl From<ServerEventSet> for export::ServerEvents {
    fn from(value: ServerEventSet) -> Self {
        Self {
            started: value.contains(ServerEventSet::STARTED),
            stopping: value.contains(ServerEventSet::STOPPING),
            config_changed: value.contains(ServerEventSet::CONFIG_CHANGED),
            flag_changed: value.contains(ServerEventSet::FLAG_CHANGED),
            module_loaded: value.contains(ServerEventSet::MODULE_LOADED),
            module_unloading: value.contains(ServerEventSet::MODULE_UNLOADING),
            instance_joined: value.contains(ServerEventSet::INSTANCE_JOINED),
            instance_left: value.contains(ServerEventSet::INSTANCE_LEFT),
            other: value.contains(ServerEventSet::OTHER),
        }
    }
}
