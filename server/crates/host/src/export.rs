//! Calls into a module as data: one case for each function that a module may export, and what it returns. A queue holds them, a replica runs them.
//! It owns no encoding; each guest language converts them its own way.

use std::sync::Arc;

use cohnect_capabilities::signals::Signal;
use cohnect_capabilities::{
    Audience, Caller, Client, ClientId, ClientParts, CloseReason, Delivery, DurationUs, Error,
    Field, InstanceId, Opcode, Payload, Result, TimestampUs,
};

use crate::escaped::OneLine;

/// A call into a module.
#[derive(Clone, Debug)]
pub enum Export {
    /// `action.execute`
    Execute(Request),
    /// `pipeline.handle`
    Handle(Packet),
    /// `broadcast.handle`
    Broadcast(Message),
    /// `background.step`
    Step(Wake),
    /// `lifecycle.start`
    Start(StartInfo),
    /// `lifecycle.stop`
    Stop(StopReason),
    /// `migration.save`
    Save,
    /// `migration.restore`
    Restore(Snapshot),
    /// `ticker.on-tick`
    Tick(Tick),
    /// `timer-handler.on-timer`
    Timer {
        /// Its name.
        name: Arc<str>,
        /// What came with it.
        data: Payload,
        /// When it was due.
        due_at: TimestampUs,
    },
    /// `client-events.on-connecting`
    Connecting(Newcomer),
    /// `client-events.on-connected`
    Connected(Client),
    /// `client-events.on-disconnected`
    Disconnected(Client, CloseReason),
    /// `client-events.on-alive`
    Alive(Client, DurationUs),
    /// `client-events.on-away`
    Away(Client),
    /// `client-events.on-back`
    Back(Client),
    /// `server-events.on-event`
    Event(ServerEvent),
    /// `stream-handler.on-subscribe`
    Subscribe {
        /// The topic.
        topic: Arc<str>,
        /// Who opens it.
        client: Client,
        /// What it says.
        arguments: Payload,
    },
    /// `stream-handler.on-unsubscribe`
    Unsubscribe {
        /// The topic.
        topic: Arc<str>,
        /// Whose stream ended.
        client: Client,
        /// Why.
        reason: CloseReason,
    },
    /// `reply-handler.on-reply`
    Reply {
        /// What the request was tagged with.
        tag: String,
        /// What came of it.
        answer: Result<Payload>,
    },
}

impl Export {
    /// Whether it tells of something that happens once, for nobody to answer: a module that does not hear of it is wrong about the world from then on.
    #[must_use]
    pub const fn is_news(&self) -> bool {
        match self {
            Self::Connected(_)
            | Self::Disconnected(..)
            | Self::Away(_)
            | Self::Back(_)
            | Self::Event(_)
            | Self::Unsubscribe { .. }
            | Self::Reply { .. } => true,
            Self::Execute(_)
            | Self::Handle(_)
            | Self::Broadcast(_)
            | Self::Step(_)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Save
            | Self::Restore(_)
            | Self::Tick(_)
            | Self::Timer { .. }
            | Self::Connecting(_)
            | Self::Alive(..)
            | Self::Subscribe { .. } => false,
        }
    }

    /// Who asks to have which topic open.
    #[must_use]
    pub fn subscriber(&self) -> Option<(ClientId, Arc<str>)> {
        if let Self::Subscribe { topic, client, .. } = self {
            Some((client.id, Arc::clone(topic)))
        } else {
            None
        }
    }

    /// The export's name with what it is called for, an action, an opcode, a topic, a timer: how a line of the log names the handler.
    #[must_use]
    pub fn handler(&self) -> String {
        let name = self.name();
        match self {
            Self::Execute(request) => format!("{name} {}", OneLine(&request.name)),
            Self::Handle(packet) => format!("{name} {:#06x}", packet.opcode),
            Self::Broadcast(message) => format!("{name} {}", OneLine(&message.topic)),
            Self::Subscribe { topic, .. } | Self::Unsubscribe { topic, .. } => {
                format!("{name} {}", OneLine(topic))
            }
            Self::Timer { name: timer, .. } => format!("{name} {}", OneLine(timer)),
            Self::Reply { tag, .. } => format!("{name} {}", OneLine(tag)),
            Self::Step(_)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Save
            | Self::Restore(_)
            | Self::Tick(_)
            | Self::Connecting(_)
            | Self::Connected(_)
            | Self::Disconnected(..)
            | Self::Alive(..)
            | Self::Away(_)
            | Self::Back(_)
            | Self::Event(_) => name.to_owned(),
        }
    }

    /// The export's name in the contract, for log lines and spans.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Execute(_) => "action.execute",
            Self::Handle(_) => "pipeline.handle",
            Self::Broadcast(_) => "broadcast.handle",
            Self::Step(_) => "background.step",
            Self::Start(_) => "lifecycle.start",
            Self::Stop(_) => "lifecycle.stop",
            Self::Save => "migration.save",
            Self::Restore(_) => "migration.restore",
            Self::Tick(_) => "ticker.on-tick",
            Self::Timer { .. } => "timer-handler.on-timer",
            Self::Connecting(_) => "client-events.on-connecting",
            Self::Connected(_) => "client-events.on-connected",
            Self::Disconnected(..) => "client-events.on-disconnected",
            Self::Alive(..) => "client-events.on-alive",
            Self::Away(_) => "client-events.on-away",
            Self::Back(_) => "client-events.on-back",
            Self::Event(_) => "server-events.on-event",
            Self::Subscribe { .. } => "stream-handler.on-subscribe",
            Self::Unsubscribe { .. } => "stream-handler.on-unsubscribe",
            Self::Reply { .. } => "reply-handler.on-reply",
        }
    }
}

/// What a call returned, by what it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Returned {
    /// The export returns nothing: `stop`, `on-tick`, `on-timer`, events, `on-unsubscribe`, `on-reply`.
    Nothing,
    /// `execute`
    Answer(Result<Payload>),
    /// `pipeline.handle`
    Verdict(PacketVerdict),
    /// `broadcast.handle`
    Ruling(MessageVerdict),
    /// `step`
    Next(Result<Next>),
    /// `start` and `restore`
    Done(Result<()>),
    /// `save`
    Saved(Result<Snapshot>),
    /// `on-connecting`
    Admission(Result<Admission>),
    /// `on-subscribe`
    Subscribed(Result<Option<Payload>>),
}

/// Why a call returned nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The module raised an error that is no refusal; only the call has ended. The text is for the log.
    #[error("{0}")]
    Raised(String),
    /// The call ended its replica.
    #[error("{0}: {1}")]
    Ended(Ending, String),
}

/// What ends a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its code crashed.
    Trap,
    /// It used its CPU up.
    Deadline,
    /// It did not return in its wall time.
    Wall,
    /// It used its memory up.
    Memory,
    /// It used its host calls or bytes up and did not stop at the error.
    Quota,
}

impl core::fmt::Display for Ending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Trap => "trapped",
            Self::Deadline => "used its CPU time up",
            Self::Wall => "did not return in its wall time",
            Self::Memory => "used its memory up",
            Self::Quota => "used its quota up",
        })
    }
}

/// What came of a call.
pub type Outcome = core::result::Result<Returned, Fault>;

/// `action.request`
#[derive(Clone, Debug)]
pub struct Request {
    /// Unique on this server, below 2^53.
    pub id: u64,
    /// The action.
    pub name: Arc<str>,
    /// Who called.
    pub caller: Caller,
    /// When the server got it.
    pub received_at: TimestampUs,
    /// The input.
    pub input: Payload,
}

/// `packets.packet`
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who sent it.
    pub sender: Client,
    /// Its command.
    pub opcode: Opcode,
    /// The command version.
    pub version: u8,
    /// How it came.
    pub delivery: Delivery,
    /// On which channel.
    pub channel: u8,
    /// Whether the sender waits for an answer.
    pub wants_reply: bool,
    /// When the server got it.
    pub received_at: TimestampUs,
    /// Its body.
    pub payload: Payload,
}

/// `packets.verdict`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketVerdict {
    /// On to the next stage, unchanged.
    Pass,
    /// On to the next stage, with this payload.
    Replace(Payload),
    /// Ends here; a waiting sender gets an empty OK.
    Drop,
    /// Ends here; a waiting sender gets OK and this payload.
    Reply(Payload),
    /// Ends here; a waiting sender gets what an action's caller would get for this error.
    Reject(Error),
}

/// `broadcast.message`
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it.
    pub sender: Client,
    /// Its topic.
    pub topic: Arc<str>,
    /// For whom.
    pub to: Audience,
    /// When the server got it.
    pub received_at: TimestampUs,
    /// Its body.
    pub payload: Payload,
}

/// `broadcast.verdict`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageVerdict {
    /// On to the next stage, unchanged.
    Pass,
    /// On to the next stage, with this payload.
    Replace(Payload),
    /// On to the next stage, for another audience, with this payload.
    Redirect(Audience, Payload),
    /// Ends here; the sender gets OK and a count of zero.
    Drop,
    /// Ends here; the sender gets what an action's caller would get for this error.
    Reject(Error),
}

/// `background.wake`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The first step.
    Started,
    /// The time is over.
    Elapsed,
    /// All signals since the last step, in order.
    Signalled(Vec<Signal>),
    /// The module goes.
    Stopping,
}

/// `background.next`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When signalled, at the latest after this time.
    After(DurationUs),
    /// When signalled.
    WhenSignalled,
    /// As soon as others had their turn.
    AtOnce,
    /// Never again.
    Finished,
}

/// `lifecycle.start-reason`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartReason {
    /// The server starts.
    #[default]
    Boot,
    /// The module was added.
    Loaded,
    /// A key's first start.
    Created,
    /// A key comes back.
    Resumed,
    /// New code took over.
    Swapped,
    /// Old code took over again.
    RolledBack,
    /// The replica before it ended.
    Restarted,
}

/// `lifecycle.stop-reason`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// The server ends.
    #[default]
    Shutdown,
    /// The module was taken away.
    Unloaded,
    /// New code took over.
    Swapped,
    /// Nobody used it.
    Idle,
    /// It said so.
    Finished,
    /// Old code took over again.
    RolledBack,
}

/// `lifecycle.start-info`
#[derive(Clone, Debug)]
pub struct StartInfo {
    /// The module's name.
    pub module: Arc<str>,
    /// Which load of it.
    pub generation: u64,
    /// Of a keyed instance; "" otherwise.
    pub key: Arc<str>,
    /// What its maker passed.
    pub arguments: Payload,
    /// Who made it.
    pub creator: Caller,
    /// Which copy on this server, from 0.
    pub replica: u32,
    /// Which server.
    pub instance: InstanceId,
    /// Why it starts.
    pub reason: StartReason,
}

/// `migration.snapshot`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Which shape the data has; the module's own number.
    pub schema: u32,
    /// The data: MessagePack by convention.
    pub data: Payload,
    /// The names that the code which saved it declared in what it keeps, where its language knows them: whoever restores it tells by them what was nothing from
    /// what was not known yet. None: the data is all that there is to know.
    pub declared: Option<Arc<[String]>>,
}

/// `ticker.tick`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Counts on over a hot swap; skipped ones count too.
    pub number: u64,
    /// When it was due.
    pub due_at: TimestampUs,
    /// Exactly one period.
    pub step: DurationUs,
    /// Ticks dropped before this one.
    pub skipped: u32,
}

/// `client-events.newcomer`
#[derive(Clone, Debug, Default)]
pub struct Newcomer {
    /// Who.
    pub id: ClientId,
    /// From where.
    pub address: String,
    /// The protocol version it speaks.
    pub protocol_version: u8,
    /// From a verified token.
    pub user: Option<String>,
    /// The verified claims as JSON, or empty.
    pub claims: String,
    /// A token that the server does not know how to verify.
    pub token: Payload,
}

/// `client-events.admission`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// None: as in the newcomer.
    pub user: Option<String>,
    /// Tags that it starts with.
    pub tags: Vec<String>,
}

/// `server-events.event`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// The server answers clients.
    Started,
    /// It ends, after this time.
    Stopping(DurationUs),
    /// A part of the configuration changed.
    ConfigChanged(String),
    /// A flag changed.
    FlagChanged(String),
    /// A module was loaded.
    ModuleLoaded(String),
    /// A module goes.
    ModuleUnloading(String),
    /// A server joined the cluster.
    InstanceJoined(InstanceId),
    /// A server left it.
    InstanceLeft(InstanceId),
    /// Anything else, by name.
    Other(String, Payload),
}

/// What a module exports and what it says in `describe`, read once per load from a throw-away replica.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    /// `action.describe`
    pub actions: Vec<ActionInfo>,
    /// `pipeline.describe`
    pub packets: Vec<PacketClaim>,
    /// `broadcast.describe`
    pub broadcasts: Vec<TopicClaim>,
    /// `stream-handler.describe`
    pub streams: Vec<TopicClaim>,
    /// `ticker.describe`
    pub ticker: Option<TickPlan>,
    /// `client-events.describe`
    pub client_events: ClientEvents,
    /// `server-events.describe`
    pub server_events: ServerEvents,
    /// `background`
    pub background: bool,
    /// `lifecycle`: `start` and `stop` are called.
    pub lifecycle: bool,
    /// `migration`: state goes over a swap.
    pub migration: bool,
    /// What goes over, by the names that the code declares, where its language knows them.
    pub declared: Option<Arc<[String]>>,
    /// `timer-handler`
    pub timers: bool,
    /// `reply-handler`
    pub replies: bool,
}

/// `action.action-info`
#[derive(Clone, Debug, Default)]
pub struct ActionInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Which clients may call it.
    pub access: Access,
    /// A tag expression that a calling client must match; empty for none.
    pub requires: String,
    /// The parts of the client to fill in.
    pub wants: ClientParts,
    /// Of input and output.
    pub media_type: String,
    /// JSON Schema of the input, or empty.
    pub input_schema: String,
    /// JSON Schema of the output, or empty.
    pub output_schema: String,
    /// What later versions need to say.
    pub options: Vec<Field>,
}

/// `action.access`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Modules and operators only (and clients, on a server for development).
    #[default]
    Internal,
    /// Clients that are members of the instance.
    Members,
    /// Clients with a user.
    Users,
    /// Every client.
    Clients,
}

/// `pipeline.claim`
#[derive(Clone, Debug, Default)]
pub struct PacketClaim {
    /// The first opcode.
    pub first: Opcode,
    /// The last opcode.
    pub last: Opcode,
    /// None: every command version.
    pub version: Option<u8>,
    /// Lower runs earlier.
    pub order: i32,
    /// A tag expression that a sender must match; empty for none.
    pub requires: String,
    /// The parts of the client to fill in.
    pub wants: ClientParts,
    /// What later versions need to say.
    pub options: Vec<Field>,
}

/// `broadcast.claim` and `stream-handler.claim` (which has no order: 0).
#[derive(Clone, Debug, Default)]
pub struct TopicClaim {
    /// A topic or a pattern.
    pub topic: String,
    /// Lower runs earlier.
    pub order: i32,
    /// A tag expression that a client must match; empty for none.
    pub requires: String,
    /// The parts of the client to fill in.
    pub wants: ClientParts,
    /// What later versions need to say.
    pub options: Vec<Field>,
}

/// `ticker.tick-plan`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TickPlan {
    /// 0: rests until `timers.set-tick-rate`.
    pub hz: u32,
    /// None: missed ticks are skipped. Some: they run one after the other, at most this many at once.
    pub catch_up_max: Option<u32>,
}

/// `client-events.event-set`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientEvents {
    /// `on-connecting`
    pub connecting: bool,
    /// `on-connected`
    pub connected: bool,
    /// `on-disconnected`
    pub disconnected: bool,
    /// `on-alive`
    pub alive: bool,
    /// `on-away`
    pub away: bool,
    /// `on-back`
    pub back: bool,
}

/// `server-events.event-set`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerEvents {
    /// `started`
    pub started: bool,
    /// `stopping`
    pub stopping: bool,
    /// `config-changed`
    pub config_changed: bool,
    /// `flag-changed`
    pub flag_changed: bool,
    /// `module-loaded`
    pub module_loaded: bool,
    /// `module-unloading`
    pub module_unloading: bool,
    /// `instance-joined`
    pub instance_joined: bool,
    /// `instance-left`
    pub instance_left: bool,
    /// `other`
    pub other: bool,
}

impl ServerEvents {
    /// Those of the events that this version knows and that never happen in it, by their names; none where all are asked for, which means whatever comes.
    pub fn never(&self) -> impl Iterator<Item = &'static str> {
        let all = self.started && self.stopping && self.flag_changed && self.other;
        [
            ("config-changed", self.config_changed),
            ("instance-joined", self.instance_joined),
            ("instance-left", self.instance_left),
            ("other", self.other),
        ]
        .into_iter()
        .filter(move |(_, wanted)| *wanted && !all)
        .map(|(name, _)| name)
    }
}

impl Exports {
    /// The kinds of a module with these exports.
    #[must_use]
    pub const fn kinds(&self) -> cohnect_capabilities::modules::ModuleKinds {
        cohnect_capabilities::modules::ModuleKinds {
            pipeline: !self.packets.is_empty() || !self.broadcasts.is_empty(),
            action: !self.actions.is_empty(),
            background: self.background || self.ticker.is_some(),
            cron: false,
        }
    }
}

/// The caller's view of a fault: the callee's code crashed, and no text of it leaves.
impl From<&Fault> for Error {
    fn from(_fault: &Fault) -> Self {
        Self::Trapped
    }
}
