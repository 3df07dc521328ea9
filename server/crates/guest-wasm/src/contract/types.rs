//! The types that every interface shares (`types.wit`), in the form in which they cross into a component and out of it, and their conversions to the
//! plain values of the capabilities. What a component is given borrows by counted reference, so that a call copies its bytes once: into the guest.

use std::sync::Arc;

use cohnect_capabilities as plain;
use wasmtime::component::{ComponentType, Lift, Lower, flags};

pub use bytes::Bytes as Payload;

/// `opcode`
pub type Opcode = u16;
/// `timestamp-us`
pub type TimestampUs = u64;
/// `duration-us`
pub type DurationUs = u64;

/// `client-id`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct ClientId {
    /// The first eight bytes.
    pub hi: u64,
    /// The last eight bytes.
    pub lo: u64,
}

/// `instance-id`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct InstanceId {
    /// The first eight bytes.
    pub hi: u64,
    /// The last eight bytes.
    pub lo: u64,
}

/// `delivery`
#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Delivery {
    /// `reliable-ordered`
    #[component(name = "reliable-ordered")]
    ReliableOrdered,
    /// `reliable-unordered`
    #[component(name = "reliable-unordered")]
    ReliableUnordered,
    /// `unreliable-sequenced`
    #[component(name = "unreliable-sequenced")]
    UnreliableSequenced,
    /// `unreliable`
    #[component(name = "unreliable")]
    Unreliable,
}

/// `scalar`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Scalar {
    /// `boolean`
    #[component(name = "boolean")]
    Boolean(bool),
    /// `integer`
    #[component(name = "integer")]
    Integer(i64),
    /// `number`
    #[component(name = "number")]
    Number(f64),
    /// `text`
    #[component(name = "text")]
    Text(String),
    /// `blob`
    #[component(name = "blob")]
    Blob(Payload),
}

/// `field`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Field {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Scalar,
}

/// `failure`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Failure {
    /// The module's own number.
    pub code: u32,
    /// For its caller.
    pub message: String,
}

/// `detail`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Detail {
    /// Stable and kebab-case.
    pub code: String,
    /// For the log.
    pub message: String,
}

/// `limit-info`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct LimitInfo {
    /// The limit's name.
    pub what: String,
    /// What it allows.
    pub allowed: u64,
    /// What was asked for.
    pub requested: u64,
}

/// `error`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Error {
    /// `not-found`
    #[component(name = "not-found")]
    NotFound,
    /// `already-exists`
    #[component(name = "already-exists")]
    AlreadyExists,
    /// `denied`
    #[component(name = "denied")]
    Denied,
    /// `invalid-argument`
    #[component(name = "invalid-argument")]
    InvalidArgument(String),
    /// `limit-exceeded`
    #[component(name = "limit-exceeded")]
    LimitExceeded(LimitInfo),
    /// `conflict`
    #[component(name = "conflict")]
    Conflict,
    /// `aborted`
    #[component(name = "aborted")]
    Aborted,
    /// `busy`
    #[component(name = "busy")]
    Busy,
    /// `closed`
    #[component(name = "closed")]
    Closed,
    /// `timeout`
    #[component(name = "timeout")]
    Timeout,
    /// `would-block`
    #[component(name = "would-block")]
    WouldBlock,
    /// `recursive`
    #[component(name = "recursive")]
    Recursive,
    /// `trapped`
    #[component(name = "trapped")]
    Trapped,
    /// `unavailable`
    #[component(name = "unavailable")]
    Unavailable(String),
    /// `unsupported`
    #[component(name = "unsupported")]
    Unsupported,
    /// `failed`
    #[component(name = "failed")]
    Failed(Failure),
    /// `other`
    #[component(name = "other")]
    Other(Detail),
}

/// `client`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub struct Client {
    /// Who it is.
    pub id: ClientId,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// Its tags.
    pub tags: Arc<[Arc<str>]>,
}

flags! {
    ClientParts {
        #[component(name = "user")]
        const USER;
        #[component(name = "tags")]
        const TAGS;
    }
}

/// `caller`
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(variant)]
pub enum Caller {
    /// `client`
    #[component(name = "client")]
    Client(Client),
    /// `module`
    #[component(name = "module")]
    Module(Arc<str>),
    /// `operator`
    #[component(name = "operator")]
    Operator(Arc<str>),
    /// `system`
    #[component(name = "system")]
    System(Arc<str>),
}

/// `audience`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Audience {
    /// `everyone`
    #[component(name = "everyone")]
    Everyone,
    /// `client`
    #[component(name = "client")]
    Client(ClientId),
    /// `clients`
    #[component(name = "clients")]
    Clients(Vec<ClientId>),
    /// `user`
    #[component(name = "user")]
    User(String),
    /// `users`
    #[component(name = "users")]
    Users(Vec<String>),
    /// `tagged`
    #[component(name = "tagged")]
    Tagged(String),
    /// `topic`
    #[component(name = "topic")]
    Topic(String),
    /// `topics`
    #[component(name = "topics")]
    Topics(Vec<String>),
    /// `members`
    #[component(name = "members")]
    Members,
    /// `members-of`
    #[component(name = "members-of")]
    MembersOf(String),
}

/// `scope`
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Scope {
    /// `shared`
    #[component(name = "shared")]
    Shared,
    /// `module`
    #[component(name = "module")]
    Module,
    /// `room`
    #[component(name = "room")]
    Room,
    /// `client`
    #[component(name = "client")]
    Client(ClientId),
    /// `named`
    #[component(name = "named")]
    Named(String),
}

/// `close-reason`
#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum CloseReason {
    /// `left`
    #[component(name = "left")]
    Left,
    /// `kicked`
    #[component(name = "kicked")]
    Kicked,
    /// `banned`
    #[component(name = "banned")]
    Banned,
    /// `replaced`
    #[component(name = "replaced")]
    Replaced,
    /// `timed-out`
    #[component(name = "timed-out")]
    TimedOut,
    /// `protocol-error`
    #[component(name = "protocol-error")]
    ProtocolError,
    /// `server-full`
    #[component(name = "server-full")]
    ServerFull,
    /// `shutting-down`
    #[component(name = "shutting-down")]
    ShuttingDown,
    /// `other`
    #[component(name = "other")]
    Other,
}

/// The conversions between two records with the same fields, both ways.
macro_rules! same_fields {
    ($($name:ident { $($field:ident),+ })+) => {$(
        impl From<plain::$name> for $name {
            fn from(value: plain::$name) -> Self {
                Self { $($field: value.$field.into()),+ }
            }
        }

        impl From<$name> for plain::$name {
            fn from(value: $name) -> Self {
                Self { $($field: value.$field.into()),+ }
            }
        }
    )+};
}

/// The conversions between two enums or variants with the same cases, both ways; the compiler sees that none is missing.
macro_rules! same_cases {
    ($($name:ident { $($case:ident $(($payload:ident))?),+ $(,)? })+) => {$(
        impl From<plain::$name> for $name {
            fn from(value: plain::$name) -> Self {
                match value { $(plain::$name::$case $(($payload))? => Self::$case $(($payload.into()))?),+ }
            }
        }

        impl From<$name> for plain::$name {
            fn from(value: $name) -> Self {
                match value { $($name::$case $(($payload))? => Self::$case $(($payload.into()))?),+ }
            }
        }
    )+};
}

same_fields! {
    ClientId { hi, lo }
    InstanceId { hi, lo }
    Field { key, value }
    Failure { code, message }
    Detail { code, message }
    LimitInfo { what, allowed, requested }
}

same_cases! {
    Delivery { ReliableOrdered, ReliableUnordered, UnreliableSequenced, Unreliable }
    CloseReason { Left, Kicked, Banned, Replaced, TimedOut, ProtocolError, ServerFull, ShuttingDown, Other }
    Scalar { Boolean(v), Integer(v), Number(v), Text(v), Blob(v) }
    Scope { Shared, Module, Room, Client(v), Named(v) }
    Error {
        NotFound, AlreadyExists, Denied, InvalidArgument(v), LimitExceeded(v), Conflict, Aborted, Busy, Closed, Timeout, WouldBlock, Recursive,
        Trapped, Unavailable(v), Unsupported, Failed(v), Other(v),
    }
}

impl From<Audience> for plain::Audience {
    fn from(value: Audience) -> Self {
        match value {
            Audience::Everyone => Self::Everyone,
            Audience::Client(id) => Self::Client(id.into()),
            Audience::Clients(ids) => Self::Clients(all(ids)),
            Audience::User(user) => Self::User(user),
            Audience::Users(users) => Self::Users(users),
            Audience::Tagged(expression) => Self::Tagged(expression),
            Audience::Topic(topic) => Self::Topic(topic),
            Audience::Topics(topics) => Self::Topics(topics),
            Audience::Members => Self::Members,
            Audience::MembersOf(instance) => Self::MembersOf(instance),
        }
    }
}

impl From<plain::Audience> for Audience {
    fn from(value: plain::Audience) -> Self {
        match value {
            plain::Audience::Everyone => Self::Everyone,
            plain::Audience::Client(id) => Self::Client(id.into()),
            plain::Audience::Clients(ids) => Self::Clients(all(ids)),
            plain::Audience::User(user) => Self::User(user),
            plain::Audience::Users(users) => Self::Users(users),
            plain::Audience::Tagged(expression) => Self::Tagged(expression),
            plain::Audience::Topic(topic) => Self::Topic(topic),
            plain::Audience::Topics(topics) => Self::Topics(topics),
            plain::Audience::Members => Self::Members,
            plain::Audience::MembersOf(instance) => Self::MembersOf(instance),
        }
    }
}

impl From<plain::Client> for Client {
    fn from(value: plain::Client) -> Self {
        Self {
            id: value.id.into(),
            user: value.user,
            tags: value.tags,
        }
    }
}

impl From<plain::Caller> for Caller {
    fn from(value: plain::Caller) -> Self {
        match value {
            plain::Caller::Client(client) => Self::Client(client.into()),
            plain::Caller::Module(address) => Self::Module(address),
            plain::Caller::Operator(name) => Self::Operator(name),
            plain::Caller::System(purpose) => Self::System(purpose),
        }
    }
}

impl From<ClientParts> for plain::ClientParts {
    fn from(value: ClientParts) -> Self {
        Self {
            user: value.contains(ClientParts::USER),
            tags: value.contains(ClientParts::TAGS),
        }
    }
}

/// Each element of a list, converted.
pub(crate) fn all<T, U: From<T>>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(U::from).collect()
}

/// The interface has no functions: what the generated code asks of each interface is empty here.
pub trait Host {}

impl<T: ?Sized> Host for T {}

/// As [`Host`], for functions that see the whole store.
pub trait HostWithStore<T> {}

impl<T, D: ?Sized> HostWithStore<T> for D {}

/// Defines nothing.
///
/// # Errors
/// None.
pub fn add_to_linker<T, D>(
    _linker: &mut wasmtime::component::Linker<T>,
    _host: fn(&mut T) -> D::Data<'_>,
) -> wasmtime::Result<()>
where
    T: 'static,
    D: wasmtime::component::HasData,
{
    Ok(())
}
