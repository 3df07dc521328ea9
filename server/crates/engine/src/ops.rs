//! The operations that clients ask for: one exhaustive match on the opcode, one file for each operation. Each is answered at once, or leaves a
//! continuation; nobody here assumes that the answer is there.

pub(crate) mod broadcast;
mod execute;
mod get;
pub(crate) mod packet;
mod set;
pub(crate) mod stream;
mod tags;

use bytes::Bytes;
use cohnect_capabilities::state::Place;
use cohnect_capabilities::{ClientId, TimestampUs};
use cohnect_host::catalog::OnFailure;
use cohnect_protocol::ops::{Detail, Malformed, Scope};
use cohnect_protocol::{Mode, Opcode, RequestContext, SessionHandle};

use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::{Leniency, Policy};

/// A message of a client.
#[derive(Debug)]
pub(crate) struct Op {
    /// Whose session it came in.
    pub(crate) client: SessionHandle,
    pub(crate) opcode: Opcode,
    pub(crate) version: u8,
    pub(crate) channel: u8,
    pub(crate) mode: Mode,
    /// What an answer needs; none where nobody waits for one.
    pub(crate) request: Option<RequestContext>,
    pub(crate) received_at: TimestampUs,
    pub(crate) body: Bytes,
}

/// What comes of a message whose stage failed or was not run; none: it goes on as if the stage were not there.
fn at_failure<T>(
    on_failure: OnFailure,
    refused: impl FnOnce() -> T,
    dropped: impl FnOnce() -> T,
) -> Option<T> {
    match on_failure {
        OnFailure::Reject => Some(refused()),
        OnFailure::Pass => None,
        OnFailure::Drop => Some(dropped()),
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Get,
    Set,
    SetClientTags,
    Execute,
    Stream,
    Broadcast,
    /// A module's own opcode.
    Module,
    /// No operation of this revision (PROTOCOL.md 1, 13).
    Unknown,
}

impl Operation {
    const fn of(opcode: Opcode) -> Self {
        match opcode {
            Opcode::GET => Self::Get,
            Opcode::SET => Self::Set,
            Opcode::SET_CLIENT_TAGS => Self::SetClientTags,
            Opcode::EXECUTE => Self::Execute,
            Opcode::STREAM => Self::Stream,
            Opcode::BROADCAST => Self::Broadcast,
            opcode if opcode.belongs_to_modules() => Self::Module,
            Opcode(_) => Self::Unknown,
        }
    }
}

impl Operation {
    /// Whether it may wait in the queue of a module, beside those of other clients.
    const fn calls_modules(self) -> bool {
        match self {
            Self::Execute | Self::Stream | Self::Broadcast | Self::Module => true,
            Self::Get | Self::Set | Self::SetClientTags | Self::Unknown => false,
        }
    }
}

impl Shard {
    /// Begins an operation of a client that is here; holds it for one that is not yet let in.
    pub(crate) fn handle_operation(&mut self, op: Op) {
        let Some(op) = self.hold(op) else {
            return;
        };
        let Some(id) = self.client_of(op.client) else {
            return;
        };
        self.refresh_card(op.client);
        self.counters.operations += 1;
        let operation = Operation::of(op.opcode);
        let _span =
            tracing::debug_span!("operation", client = %id, ?operation, opcode = op.opcode.0)
                .entered();
        let reply = if op.request.is_some() && self.is_backlogged(op.client) {
            // Before the work is done: its answer would find no room.
            self.note_backlog(op.client);
            Some(outcome::failed(Detail::BUSY))
        } else if operation.calls_modules() && self.calls_enough(op.client) {
            // Here and not where a stage is called: a stage that may be passed over must not be passed by asking too much.
            Some(outcome::failed(Detail::BUSY))
        } else {
            match operation {
                Operation::Get => Some(self.get(id, &op)),
                Operation::Set => Some(self.set(id, &op)),
                Operation::SetClientTags => Some(self.set_client_tags(id, &op)),
                Operation::Execute => self.execute(id, &op),
                Operation::Stream => self.stream(id, &op),
                Operation::Broadcast => self.broadcast(id, &op),
                Operation::Module => self.packet(id, &op),
                Operation::Unknown => Some(outcome::failed(Detail::UNKNOWN_OPCODE)),
            }
        };
        if let Some(reply) = reply {
            if op.request.is_none() && reply.0 != cohnect_protocol::ops::Outcome::Done {
                self.counters.dropped += 1;
            }
            tracing::debug!(outcome = ?reply.0, "answered");
            self.respond(op.client, op.request, reply);
        }
    }
}

impl Shard {
    /// Whether policy lets a client do this. A server for development says once what another would refuse.
    fn admits(&mut self, what: Leniency, may: impl Fn(Policy) -> bool) -> bool {
        let admitted = may(self.policy);
        if admitted && !may(Policy::Serve) && self.lenient.insert(what) {
            tracing::info!("{}", what.text());
        }
        admitted
    }
}

/// A body outside its form (PROTOCOL.md 6.2). What is wrong with it is said in the log alone.
fn malformed(error: Malformed) -> Reply {
    tracing::debug!(%error, "malformed body");
    outcome::failed(Detail::MALFORMED_BODY)
}

/// Where a client's key lives.
fn place(scope: &Scope<'_>, client: ClientId) -> Place {
    match scope {
        Scope::Shared => Place::Shared,
        Scope::Mine => Place::Client(client),
        Scope::Named(name) => Place::Named(name.as_str().into()),
    }
}
