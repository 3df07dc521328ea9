//! BROADCAST (PROTOCOL.md 6.2): a message runs through the stages of its topic and then to its audience. From a stage of which there is one it goes on at
//! that stage's home, so that the topic has one order for everybody.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::{Audience, ClientId, Error};
use cohnect_host::catalog::{OnFailure, Stage};
use cohnect_host::export::{Export, Message, MessageVerdict, Returned, TopicClaim};
use cohnect_host::limits::{BROADCAST_OVERHEAD, MESSAGE_BYTES_MAX};
use cohnect_host::mail::{Answer, Answered, NotRun, Outgoing, Walk};
use cohnect_protocol::ops::broadcast::{self, Request, Response};
use cohnect_protocol::ops::{Body as _, Detail};

use super::{Op, at_failure, malformed};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::Leniency;
use crate::shard::{Continuation, delivery_of};

impl Shard {
    /// None: the answer comes later.
    pub(super) fn broadcast(&mut self, id: ClientId, op: &Op) -> Option<Reply> {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return Some(malformed(error)),
        };
        let stages: Arc<[_]> = self
            .catalog
            .stages_of_broadcast(&request.topic)
            .cloned()
            .collect();
        if !self.admits(Leniency::Broadcast, |policy| {
            policy.may_broadcast(&request.audience, !stages.is_empty())
        }) {
            return Some(outcome::failed(Detail::NOT_ALLOWED));
        }
        let to = match request.audience {
            broadcast::Audience::Subscribers => Audience::Topic(request.topic.to_string()),
            broadcast::Audience::Everyone => Audience::Everyone,
            broadcast::Audience::Tagged(text) => Audience::Tagged(text.as_str().to_owned()),
        };
        // Its grammar is checked before any stage sees it.
        if let Err(error) = self.directory.check(&to) {
            return Some(outcome::of_error(&error));
        }
        let message = Message {
            sender: cohnect_capabilities::Client {
                id,
                ..Default::default()
            },
            topic: request.topic.as_str().into(),
            to,
            received_at: op.received_at,
            payload: op.body.slice_ref(request.payload),
        };
        // All the way and not stage by stage: a home takes up at once as many as have come, and where one stage has no place the next may have.
        let share = if stages.is_empty() {
            None
        } else {
            self.share_of(op.client)
        };
        let answer = self.answer_to(op);
        self.walk(Box::new(Walk {
            message,
            options: SendOptions {
                delivery: delivery_of(op.mode),
                channel: op.channel,
                version: 0,
            },
            except: request.not_me.then_some(id),
            stages,
            next: 0,
            answer,
            share,
        }));
        None
    }

    /// Hands a BROADCAST to its next stage that can be called, and in the end to its audience.
    pub(crate) fn walk(&mut self, mut walk: Box<Walk>) {
        let stages = Arc::clone(&walk.stages);
        while let Some(stage) = stages.get(walk.next) {
            let id = walk.message.sender.id;
            // Before anything else may fail: who has no right to pass the stage does not pass it because it is busy.
            if !self.directory.fits(id, &stage.claim.requires) {
                self.end_walk(*walk, Err(Error::Denied));
                return;
            }
            let elsewhere = self.home_of(stage, id).filter(|home| *home != self.id);
            if let Some(home) = elsewhere {
                match self.hand_over_walk(home, walk) {
                    Ok(()) => return,
                    Err(back) => walk = back,
                }
                walk.next += 1;
                if let Some(outcome) = failed_stage(stage.module.on_failure, Some(NotRun::Busy)) {
                    if matches!(walk.answer, Answer::Nobody) {
                        self.counters.dropped += 1;
                    }
                    self.give(walk.answer, outcome);
                    return;
                }
                continue;
            }
            walk.next += 1;
            match self.route(&stage.module, id) {
                Ok(route) => {
                    walk.message.sender = self.as_caller(id, stage.claim.wants);
                    let message = walk.message.clone();
                    let continuation = Continuation::Broadcast(walk);
                    let ticket = self.continuations.insert(continuation, None);
                    self.call(
                        route,
                        Export::Broadcast(message),
                        Answer::Home(self.id, ticket),
                    );
                    return;
                }
                Err(why) => {
                    if let Some(outcome) = failed_stage(stage.module.on_failure, Some(why)) {
                        self.give(walk.answer, outcome);
                        return;
                    }
                }
            }
        }
        let count = self.hand_out(&walk);
        self.end_walk(*walk, count);
    }

    /// A stage has ruled, or failed.
    pub(crate) fn broadcast_ruled(&mut self, mut walk: Box<Walk>, answered: Answered) {
        match answered.outcome {
            Ok(Ok(Returned::Ruling(ruling))) => match ruling {
                MessageVerdict::Pass => self.walk(walk),
                MessageVerdict::Replace(payload) => {
                    walk.message.payload = payload;
                    self.walk(walk);
                }
                MessageVerdict::Redirect(to, payload) => {
                    walk.message.to = to;
                    walk.message.payload = payload;
                    // Whoever the stage names is meant, the sender too: a shadow ban sends to nobody else.
                    walk.except = None;
                    self.walk(walk);
                }
                MessageVerdict::Drop => self.end_walk(*walk, Ok(0)),
                MessageVerdict::Reject(error) => self.end_walk(*walk, Err(error)),
            },
            failed => {
                let why = failed.err();
                let stage = walk.stages.get(walk.next.wrapping_sub(1));
                let on_failure = stage.map_or(OnFailure::Reject, |stage| stage.module.on_failure);
                match failed_stage(on_failure, why) {
                    Some(outcome) => self.give(walk.answer, outcome),
                    None => self.walk(walk),
                }
            }
        }
    }

    /// Where a stage's copy for this sender lives; none when it has no copy.
    fn home_of(
        &self,
        stage: &Stage<TopicClaim>,
        id: ClientId,
    ) -> Option<cohnect_host::mail::HomeId> {
        let module = &stage.module;
        (!module.copies.is_empty()).then(|| module.copy_for_client(self.id, id).home)
    }

    fn hand_out(&mut self, walk: &Walk) -> cohnect_capabilities::Result<u32> {
        let message = &walk.message;
        let bytes = BROADCAST_OVERHEAD + message.topic.len() + message.payload.len();
        if bytes > MESSAGE_BYTES_MAX {
            let (allowed, requested) = (MESSAGE_BYTES_MAX as u64, bytes as u64);
            return Err(Error::limit("message-bytes", allowed, requested));
        }
        let fan = self.directory.fan(&message.to, walk.except)?;
        let count = fan.count;
        let what = Outgoing::Broadcast {
            sender: message.sender.id,
            topic: Arc::clone(&message.topic),
            payload: message.payload.clone(),
            options: walk.options,
        };
        self.fan(fan, &what);
        Ok(count)
    }

    fn end_walk(&mut self, walk: Walk, count: cohnect_capabilities::Result<u32>) {
        let body = count.map(|recipients| Response { recipients }.to_bytes());
        self.give(walk.answer, answered(Returned::Answer(body)));
    }
}

/// What comes of a stage that failed (`why` none) or was not run; none: the message goes on.
fn failed_stage(on_failure: OnFailure, why: Option<NotRun>) -> Option<Answered> {
    let trapped = || answered(Returned::Answer(Err(Error::Trapped)));
    at_failure(
        on_failure,
        || why.map_or_else(trapped, Answered::not_run),
        || {
            let nobody: Bytes = Response { recipients: 0 }.to_bytes();
            answered(Returned::Answer(Ok(nobody)))
        },
    )
}

/// What came of a walk; it is nobody's call, so it has no generation.
const fn answered(returned: Returned) -> Answered {
    Answered {
        outcome: Ok(Ok(returned)),
        generation: 0,
    }
}
