//! What nearly every module uses: the traits, the shared types, and the functions of the host by the name of their interface.

pub use crate::action::{Access, ActionInfo, Request};
pub use crate::migration::Snapshot;
pub use crate::ticker::{Tick, TickPlan};
pub use crate::{
    Action, Background, Broadcast, ClientEvents, Lifecycle, Migration, Pipeline, ReplyHandler,
    ServerEvents, StreamHandler, Ticker, TimerHandler,
};
pub use crate::{
    Audience, Caller, Client, ClientId, ClientParts, CloseReason, Delivery, Error, Field, Payload,
    Scalar, Scope,
};
pub use crate::{
    clients, clock, config, db, feature_flags, logging, mailbox, modules, random, signals, state,
    streams, tags, timers,
};
