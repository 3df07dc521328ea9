//! Zero is the default, in Rust as everywhere: what the types of the contract are when nothing is said, and short ways to say a little.

use crate::action::{Access, ActionInfo};
use crate::clients::SendOptions;
use crate::db::Isolation;
use crate::feature_flags::Subject;
use crate::migration::Snapshot;
use crate::ticker::{Overrun, TickPlan};
use crate::{Audience, ClientId, ClientParts, CloseReason, Delivery, Failure, InstanceId, Scope};
use crate::{broadcast, client_events, pipeline, server_events, stream_handler};

macro_rules! first_case {
    ($($type:ty = $case:expr;)+) => {$(
        impl Default for $type {
            fn default() -> Self {
                $case
            }
        }
    )+};
}

first_case! {
    Access = Self::Internal;
    Audience = Self::Everyone;
    ClientId = Self { hi: 0, lo: 0 };
    ClientParts = Self::empty();
    CloseReason = Self::Left;
    Delivery = Self::ReliableOrdered;
    InstanceId = Self { hi: 0, lo: 0 };
    Isolation = Self::Serializable;
    Overrun = Self::Skip;
    Scope = Self::Shared;
    client_events::EventSet = Self::empty();
    server_events::EventSet = Self::empty();
}

macro_rules! all_zero {
    ($($type:ty { $($field:ident),+ })+) => {$(
        impl Default for $type {
            fn default() -> Self {
                Self { $($field: Default::default()),+ }
            }
        }
    )+};
}

all_zero! {
    ActionInfo { name, access, requires, wants, media_type, input_schema, output_schema, options }
    Failure { code, message }
    SendOptions { delivery, channel, version }
    Snapshot { schema, data }
    Subject { client, user, attributes }
    TickPlan { hz, overrun, catch_up_max, options }
    broadcast::Claim { topic, order, requires, wants, options }
    client_events::Admission { user, tags }
    pipeline::Claim { first, last, version, order, requires, wants, options }
    stream_handler::Claim { topic, requires, wants, options }
}

impl ActionInfo {
    /// An action of this name that modules and operators may call.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Every client may call it.
    #[must_use]
    pub fn for_clients(self) -> Self {
        Self {
            access: Access::Clients,
            ..self
        }
    }

    /// Clients may call it whose tags match this expression.
    #[must_use]
    pub fn requires(self, expression: impl Into<String>) -> Self {
        Self {
            requires: expression.into(),
            ..self
        }
    }
}

impl pipeline::Claim {
    /// Packets with these opcodes, both included.
    #[must_use]
    pub fn opcodes(first: u16, last: u16) -> Self {
        Self {
            first,
            last,
            ..Self::default()
        }
    }
}

impl broadcast::Claim {
    /// Messages to this topic or pattern.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            ..Self::default()
        }
    }
}

impl stream_handler::Claim {
    /// This topic or pattern, for every client.
    pub fn topic(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            ..Self::default()
        }
    }
}
