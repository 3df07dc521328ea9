//! The modules' own opcodes (PROTOCOL.md 6.2): a packet runs through the stages that claim it, in order, wherever each lives.

use std::sync::Arc;

use cohnect_capabilities::ClientId;
use cohnect_host::catalog::{OnFailure, Stage};
use cohnect_host::export::{Export, Packet, PacketClaim, PacketVerdict, Returned};
use cohnect_host::mail::{Answer, Answered, NotRun};
use cohnect_protocol::ops::Detail;
use cohnect_protocol::{RequestContext, SessionHandle};

use super::{Op, at_failure};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::shard::{Continuation, delivery_of};

/// A packet on its way through its stages.
#[derive(Debug)]
pub(crate) struct PacketWalk {
    client: SessionHandle,
    request: Option<RequestContext>,
    packet: Packet,
    stages: Arc<[Stage<PacketClaim>]>,
    next: usize,
}

impl Shard {
    /// None: the answer comes later.
    pub(super) fn packet(&mut self, id: ClientId, op: &Op) -> Option<Reply> {
        let stages = self.stages_of_packet(op.opcode.0, op.version);
        if stages.is_empty() {
            return Some(outcome::failed(Detail::UNKNOWN_OPCODE));
        }
        let packet = Packet {
            sender: cohnect_capabilities::Client {
                id,
                ..Default::default()
            },
            opcode: op.opcode.0,
            version: op.version,
            delivery: delivery_of(op.mode),
            channel: op.channel,
            wants_reply: op.request.is_some(),
            received_at: op.received_at,
            payload: op.body.clone(),
        };
        self.walk_packet(Box::new(PacketWalk {
            client: op.client,
            request: op.request,
            packet,
            stages,
            next: 0,
        }));
        None
    }

    /// Hands the packet to its next stage that can be called; at the end of them it has arrived.
    fn walk_packet(&mut self, mut walk: Box<PacketWalk>) {
        let stages = Arc::clone(&walk.stages);
        while let Some(stage) = stages.get(walk.next) {
            walk.next += 1;
            let id = walk.packet.sender.id;
            if !self.directory.fits(id, &stage.claim.requires) {
                self.end_packet(&walk, outcome::failed(Detail::NOT_ALLOWED));
                return;
            }
            match self.route_for(&stage.module, id, walk.client) {
                Ok(route) => {
                    walk.packet.sender = self.as_caller(id, stage.claim.wants);
                    let packet = walk.packet.clone();
                    let continuation = Continuation::Packet(walk);
                    let ticket = self.continuations.insert(continuation, None);
                    self.call(route, Export::Handle(packet), Answer::Home(self.id, ticket));
                    return;
                }
                Err(why) => match failed_stage(stage.module.on_failure, Some(why)) {
                    Some(reply) => return self.end_packet(&walk, reply),
                    None => continue,
                },
            }
        }
        self.end_packet(&walk, outcome::done(bytes::Bytes::new()));
    }

    /// A stage has ruled, or failed.
    pub(crate) fn packet_ruled(&mut self, mut walk: Box<PacketWalk>, answered: Answered) {
        let ruling = match answered.outcome {
            Ok(Ok(Returned::Verdict(verdict))) => Ok(verdict),
            Ok(_) => Err(None),
            Err(why) => Err(Some(why)),
        };
        match ruling {
            Ok(PacketVerdict::Pass) => self.walk_packet(walk),
            Ok(PacketVerdict::Replace(payload)) => {
                walk.packet.payload = payload;
                self.walk_packet(walk);
            }
            Ok(PacketVerdict::Drop) => self.end_packet(&walk, outcome::done(bytes::Bytes::new())),
            Ok(PacketVerdict::Reply(payload)) => self.end_packet(&walk, outcome::done(payload)),
            Ok(PacketVerdict::Reject(error)) => {
                self.end_packet(&walk, outcome::of_error(&error));
            }
            Err(why) => {
                let stage = walk.stages.get(walk.next.wrapping_sub(1));
                let on_failure = stage.map_or(OnFailure::Reject, |stage| stage.module.on_failure);
                match failed_stage(on_failure, why) {
                    Some(reply) => self.end_packet(&walk, reply),
                    None => self.walk_packet(walk),
                }
            }
        }
    }

    fn end_packet(&mut self, walk: &PacketWalk, reply: Reply) {
        match walk.request {
            Some(request) => self.respond_in_order(walk.client, request, reply),
            None if reply.0 != cohnect_protocol::ops::Outcome::Done => self.counters.dropped += 1,
            None => {}
        }
    }
}

/// What comes of a stage that failed (`why` none) or was not run; none: the packet goes on.
fn failed_stage(on_failure: OnFailure, why: Option<NotRun>) -> Option<Reply> {
    at_failure(
        on_failure,
        || why.map_or_else(outcome::of_fault, outcome::of_not_run),
        || outcome::done(bytes::Bytes::new()),
    )
}
