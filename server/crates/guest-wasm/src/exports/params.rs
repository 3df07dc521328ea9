//! What a component is given: the arguments of its exports, made from the host's calls without copying their bytes.

use std::sync::Arc;

use cohnect_capabilities::signals;
use cohnect_host::export;
use wasmtime::component::{ComponentType, Lower};

use crate::contract::types::{
    Audience, Caller, Client, ClientId, Delivery, DurationUs, InstanceId, Opcode, Payload,
    TimestampUs,
};

/// `action.request`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Request {
    id: u64,
    name: Arc<str>,
    caller: Caller,
    #[component(name = "received-at")]
    received_at: TimestampUs,
    input: Payload,
}

impl From<&export::Request> for Request {
    fn from(value: &export::Request) -> Self {
        Self {
            id: value.id,
            name: Arc::clone(&value.name),
            caller: value.caller.clone().into(),
            received_at: value.received_at,
            input: value.input.clone(),
        }
    }
}

/// `packets.packet`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Packet {
    sender: Client,
    opcode: Opcode,
    version: u8,
    delivery: Delivery,
    channel: u8,
    #[component(name = "wants-reply")]
    wants_reply: bool,
    #[component(name = "received-at")]
    received_at: TimestampUs,
    payload: Payload,
}

impl From<&export::Packet> for Packet {
    fn from(value: &export::Packet) -> Self {
        Self {
            sender: value.sender.clone().into(),
            opcode: value.opcode,
            version: value.version,
            delivery: value.delivery.into(),
            channel: value.channel,
            wants_reply: value.wants_reply,
            received_at: value.received_at,
            payload: value.payload.clone(),
        }
    }
}

/// `broadcast.message`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Message {
    sender: Client,
    topic: Arc<str>,
    to: Audience,
    #[component(name = "received-at")]
    received_at: TimestampUs,
    payload: Payload,
}

impl From<&export::Message> for Message {
    fn from(value: &export::Message) -> Self {
        Self {
            sender: value.sender.clone().into(),
            topic: Arc::clone(&value.topic),
            to: value.to.clone().into(),
            received_at: value.received_at,
            payload: value.payload.clone(),
        }
    }
}

/// `background.signal`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Signal {
    name: String,
    body: Payload,
}

impl From<&signals::Signal> for Signal {
    fn from(value: &signals::Signal) -> Self {
        Self {
            name: value.name.clone(),
            body: value.body.clone(),
        }
    }
}

/// `background.wake`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Wake {
    #[component(name = "started")]
    Started,
    #[component(name = "elapsed")]
    Elapsed,
    #[component(name = "signalled")]
    Signalled(Vec<Signal>),
    #[component(name = "stopping")]
    Stopping,
}

impl From<&export::Wake> for Wake {
    fn from(value: &export::Wake) -> Self {
        match value {
            export::Wake::Started => Self::Started,
            export::Wake::Elapsed => Self::Elapsed,
            export::Wake::Signalled(signals) => {
                Self::Signalled(signals.iter().map(Signal::from).collect())
            }
            export::Wake::Stopping => Self::Stopping,
        }
    }
}

/// `lifecycle.start-reason`
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum StartReason {
    #[component(name = "boot")]
    Boot,
    #[component(name = "loaded")]
    Loaded,
    #[component(name = "created")]
    Created,
    #[component(name = "resumed")]
    Resumed,
    #[component(name = "swapped")]
    Swapped,
    #[component(name = "rolled-back")]
    RolledBack,
    #[component(name = "restarted")]
    Restarted,
}

impl From<export::StartReason> for StartReason {
    fn from(value: export::StartReason) -> Self {
        match value {
            export::StartReason::Boot => Self::Boot,
            export::StartReason::Loaded => Self::Loaded,
            export::StartReason::Created => Self::Created,
            export::StartReason::Resumed => Self::Resumed,
            export::StartReason::Swapped => Self::Swapped,
            export::StartReason::RolledBack => Self::RolledBack,
            export::StartReason::Restarted => Self::Restarted,
        }
    }
}

/// `lifecycle.stop-reason`
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum StopReason {
    #[component(name = "shutdown")]
    Shutdown,
    #[component(name = "unloaded")]
    Unloaded,
    #[component(name = "swapped")]
    Swapped,
    #[component(name = "idle")]
    Idle,
    #[component(name = "finished")]
    Finished,
    #[component(name = "rolled-back")]
    RolledBack,
}

impl From<export::StopReason> for StopReason {
    fn from(value: export::StopReason) -> Self {
        match value {
            export::StopReason::Shutdown => Self::Shutdown,
            export::StopReason::Unloaded => Self::Unloaded,
            export::StopReason::Swapped => Self::Swapped,
            export::StopReason::Idle => Self::Idle,
            export::StopReason::Finished => Self::Finished,
            export::StopReason::RolledBack => Self::RolledBack,
        }
    }
}

/// `lifecycle.start-info`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct StartInfo {
    module: Arc<str>,
    generation: u64,
    key: Arc<str>,
    arguments: Payload,
    creator: Caller,
    replica: u32,
    instance: InstanceId,
    reason: StartReason,
}

impl From<&export::StartInfo> for StartInfo {
    fn from(value: &export::StartInfo) -> Self {
        Self {
            module: Arc::clone(&value.module),
            generation: value.generation,
            key: Arc::clone(&value.key),
            arguments: value.arguments.clone(),
            creator: value.creator.clone().into(),
            replica: value.replica,
            instance: value.instance.into(),
            reason: value.reason.into(),
        }
    }
}

/// `ticker.tick`
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Tick {
    number: u64,
    #[component(name = "due-at")]
    due_at: TimestampUs,
    step: DurationUs,
    skipped: u32,
}

impl From<export::Tick> for Tick {
    fn from(value: export::Tick) -> Self {
        Self {
            number: value.number,
            due_at: value.due_at,
            step: value.step,
            skipped: value.skipped,
        }
    }
}

/// `client-events.newcomer`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Newcomer {
    id: ClientId,
    address: String,
    #[component(name = "protocol-version")]
    protocol_version: u8,
    user: Option<String>,
    claims: String,
    token: Payload,
}

impl From<&export::Newcomer> for Newcomer {
    fn from(value: &export::Newcomer) -> Self {
        Self {
            id: value.id.into(),
            address: value.address.clone(),
            protocol_version: value.protocol_version,
            user: value.user.clone(),
            claims: value.claims.clone(),
            token: value.token.clone(),
        }
    }
}

/// `server-events.named-event`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct NamedEvent {
    name: String,
    data: Payload,
}

/// `server-events.event`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Event {
    #[component(name = "started")]
    Started,
    #[component(name = "stopping")]
    Stopping(DurationUs),
    #[component(name = "config-changed")]
    ConfigChanged(String),
    #[component(name = "flag-changed")]
    FlagChanged(String),
    #[component(name = "module-loaded")]
    ModuleLoaded(String),
    #[component(name = "module-unloading")]
    ModuleUnloading(String),
    #[component(name = "instance-joined")]
    InstanceJoined(InstanceId),
    #[component(name = "instance-left")]
    InstanceLeft(InstanceId),
    #[component(name = "other")]
    Other(NamedEvent),
}

impl From<&export::ServerEvent> for Event {
    fn from(value: &export::ServerEvent) -> Self {
        match value {
            export::ServerEvent::Started => Self::Started,
            export::ServerEvent::Stopping(left) => Self::Stopping(*left),
            export::ServerEvent::ConfigChanged(part) => Self::ConfigChanged(part.clone()),
            export::ServerEvent::FlagChanged(flag) => Self::FlagChanged(flag.clone()),
            export::ServerEvent::ModuleLoaded(name) => Self::ModuleLoaded(name.clone()),
            export::ServerEvent::ModuleUnloading(name) => Self::ModuleUnloading(name.clone()),
            export::ServerEvent::InstanceJoined(id) => Self::InstanceJoined((*id).into()),
            export::ServerEvent::InstanceLeft(id) => Self::InstanceLeft((*id).into()),
            export::ServerEvent::Other(name, data) => Self::Other(NamedEvent {
                name: name.clone(),
                data: data.clone(),
            }),
        }
    }
}
