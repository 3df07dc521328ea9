//! STREAM (PROTOCOL.md 6.2): a client opens and closes topics. The handler of a topic, if there is one, admits whoever opens it.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::{ClientId, CloseReason, Payload};
use cohnect_host::export::{Export, Returned};
use cohnect_host::mail::{Answer, Answered};
use cohnect_protocol::ops::stream::{Request, SERVER_BEGUN};
use cohnect_protocol::ops::{Body as _, Detail};
use cohnect_protocol::{Mode, RequestContext, SessionHandle};

use super::{Op, malformed};
use crate::Shard;
use crate::outcome::{self, Reply};
use crate::policy::Leniency;
use crate::shard::{Continuation, STREAMS_MAX, Stream, StreamStage, WHOLE};

/// A stream whose handler is asked.
#[derive(Debug)]
pub(crate) struct Opening {
    client: SessionHandle,
    id: ClientId,
    request: RequestContext,
    serial: u64,
    topic: Arc<str>,
}

impl Shard {
    /// None: the answer comes later.
    pub(super) fn stream(&mut self, id: ClientId, op: &Op) -> Option<Reply> {
        let request = match Request::decode(&op.body) {
            Ok(request) => request,
            Err(error) => return Some(malformed(error)),
        };
        // A stream's id is the id of the request, so there must be one, and it must arrive (6.2).
        let context = op.request.filter(|_| op.mode.is_reliable());
        let Some(context) = context else {
            return Some(outcome::failed(Detail::MALFORMED_BODY));
        };
        match request {
            Request::Open { topic, arguments } => {
                let arguments = op.body.slice_ref(arguments);
                self.open(id, op.client, context, topic.as_str().into(), arguments)
            }
            Request::Close { stream } => {
                self.close(id, op.client, stream);
                Some(outcome::done(Bytes::new()))
            }
        }
    }

    fn open(
        &mut self,
        id: ClientId,
        client: SessionHandle,
        request: RequestContext,
        topic: Arc<str>,
        arguments: Payload,
    ) -> Option<Reply> {
        let claim = self.catalog.stream_claim(&topic).cloned();
        if !self.admits(Leniency::Open, |policy| policy.may_open(claim.is_some())) {
            return Some(outcome::failed(Detail::NOT_ALLOWED));
        }
        if self.streams(client)?.len() >= STREAMS_MAX {
            return Some(outcome::failed(Detail::BUSY));
        }
        // The id is the client's choice: one that names a stream already, or looks like one of the server's own, would let the answer about one topic
        // decide about another.
        let id_of_stream = request.id.0;
        let taken = |stream: &Stream| stream.id == id_of_stream;
        if id_of_stream & SERVER_BEGUN != 0 || self.streams(client)?.iter().any(taken) {
            return Some(outcome::failed(Detail::MALFORMED_BODY));
        }
        let serial = self.next_request();
        let mut stream = Stream {
            id: id_of_stream,
            serial,
            topic: Arc::clone(&topic),
            stage: StreamStage::Plain,
        };
        let Some(claim) = claim else {
            self.streams(client)?.push(stream);
            self.directory.subscribe(id, &topic);
            return Some(outcome::done(Bytes::new()));
        };
        if !self.directory.fits(id, &claim.claim.requires) {
            return Some(outcome::failed(Detail::NOT_ALLOWED));
        }
        let route = match self.route_for(&claim.module, id, client) {
            Ok(route) => route,
            Err(why) => return Some(outcome::of_not_run(why)),
        };
        stream.stage = StreamStage::Opening;
        self.streams(client)?.push(stream);
        let opening = Opening {
            client,
            id,
            request,
            serial,
            topic: Arc::clone(&topic),
        };
        let continuation = Continuation::Open(Box::new(opening));
        let ticket = self.continuations.insert(continuation, None);
        let subscribe = Export::Subscribe {
            topic,
            client: self.as_caller(id, claim.claim.wants),
            arguments,
        };
        self.call(route, subscribe, Answer::Home(self.id, ticket));
        None
    }

    /// A handler has admitted a subscriber, or refused it.
    pub(crate) fn opened(&mut self, opening: Opening, answered: Answered) {
        let Opening {
            client,
            id,
            request,
            serial,
            topic,
        } = opening;
        let subscribed = match answered.outcome {
            Ok(Ok(Returned::Subscribed(subscribed))) => {
                subscribed.map_err(|e| outcome::of_error(&e))
            }
            Ok(_) => Err(outcome::of_fault()),
            Err(why) => Err(outcome::of_not_run(why)),
        };
        // It may have been closed meanwhile, or the client may have left.
        let stage = self.streams(client).and_then(|streams| {
            let at = streams.iter().position(|each| each.serial == serial)?;
            if subscribed.is_ok() {
                streams.get_mut(at)?.stage = StreamStage::Handled;
            } else {
                streams.remove(at);
            }
            Some(())
        });
        match subscribed {
            Ok(first) => {
                self.respond_in_order(client, request, outcome::done(Bytes::new()));
                if stage.is_none() {
                    self.unsubscribed(self.as_caller(id, WHOLE), &topic, CloseReason::Left);
                } else if let Some(item) = first {
                    let stream = (request.id.0, &topic);
                    self.send_item(client, stream, &item, Mode::ReliableOrdered);
                }
            }
            Err(reply) => self.respond_in_order(client, request, reply),
        }
        self.sync_client(id, &topic);
    }

    fn close(&mut self, id: ClientId, client: SessionHandle, stream: u32) {
        let Some(streams) = self.streams(client) else {
            return;
        };
        let Some(at) = streams.iter().position(|each| each.id == stream) else {
            return;
        };
        let closed = streams.remove(at);
        if closed.stage == StreamStage::Handled {
            let caller = self.as_caller(id, WHOLE);
            self.unsubscribed(caller, &closed.topic, CloseReason::Left);
        }
        self.sync_client(id, &closed.topic);
    }
}
