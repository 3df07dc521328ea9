//! What calls leave behind, carried out in order: messages to clients of any shard, mail to other modules. An audience is evaluated once, in the
//! directory; each shard that has some of it gets one message.

use std::sync::Arc;

use cohnect_capabilities::clients::SendOptions;
use cohnect_capabilities::mailbox::{Awaited, Reserved};
use cohnect_capabilities::{Audience, Caller, ClientId, Delivery, Effect, Payload};
use cohnect_host::export::{Export, Request};
use cohnect_host::lost_mail::{Letter, Loss};
use cohnect_host::mail::{
    Address, Answer, Answered, Call, Fanout, HomeId, NotRun, Outgoing, Recipients,
};

use super::{Continuation, Shard};
use crate::Fan;

impl Shard {
    /// Carries out what a module's call left, and empties it.
    pub(super) fn apply(&mut self, module: &Arc<str>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            self.apply_one(module, effect);
        }
    }

    fn apply_one(&mut self, module: &Arc<str>, effect: Effect) {
        match effect {
            Effect::Send {
                to,
                opcode,
                payload,
                options,
            } => self.send_one(to, packet(opcode, payload, options)),
            Effect::SendTo {
                to,
                opcode,
                payload,
                options,
                except,
            } => self.send_to(&to, except, &packet(opcode, payload, options)),
            Effect::SendEach {
                items,
                opcode,
                options,
            } => {
                for item in items {
                    self.send_one(item.to, packet(opcode, item.payload, options));
                }
            }
            Effect::Broadcast {
                topic,
                to,
                payload,
                options,
            } => self.send_to(&to, None, &broadcast(topic, payload, options)),
            Effect::Disconnect {
                id,
                reason,
                message,
            } => self.send_one(id, Outgoing::Disconnect { reason, message }),
            Effect::Publish {
                topic,
                payload,
                delivery,
            } => self.fan(
                self.directory.fan_topic(&topic),
                &item(topic, payload, delivery),
            ),
            Effect::PublishOne {
                topic,
                to,
                payload,
                delivery,
            } => self.send_one(to, item(topic, payload, delivery)),
            Effect::Finish { topic, reason } => {
                let fan = self.directory.fan_topic(&topic);
                self.fan(fan, &Outgoing::Finish { topic, reason });
            }
            Effect::Attach { topic, client } => self.attach(topic, client),
            Effect::Detach { topic, client } => self.send_one(client, Outgoing::Detach { topic }),
            Effect::Mail {
                module: callee,
                action,
                input,
                answer,
                to,
            } => self.mail(module, &callee, action, input, answer, to),
            // A home keeps these for itself: they concern the replica, not a client or another module.
            Effect::TimerSet { .. }
            | Effect::TimerCancel { .. }
            | Effect::TickRate { .. }
            | Effect::Signal { .. } => {}
        }
    }

    /// At once, so that what is published next reaches the client, behind the beginning of the stream.
    fn attach(&mut self, topic: Arc<str>, client: ClientId) {
        if self.directory.subscribe(client, &topic) {
            self.send_one(client, Outgoing::Attach { topic });
        }
    }

    /// Sends the same to an audience that was understood when the call named it.
    fn send_to(&mut self, to: &Audience, except: Option<ClientId>, what: &Outgoing) {
        if let Ok(fan) = self.directory.fan(to, except) {
            self.fan(fan, what);
        }
    }

    /// Sends the same to many clients.
    pub(crate) fn fan(&mut self, fan: Fan, what: &Outgoing) {
        for (shard, to) in fan.shards {
            self.fan_out(shard, to, what.clone());
        }
    }

    fn send_one(&mut self, to: ClientId, what: Outgoing) {
        let shard = self.directory.shard_of(to);
        self.fan_out(shard, Recipients::One(to), what);
    }

    fn fan_out(&mut self, shard: u16, to: Recipients, what: Outgoing) {
        let fanout = Fanout { to, what };
        if shard == self.id.0 {
            self.fan_in(fanout);
        } else {
            self.staging.fan_out(&self.post, HomeId(shard), fanout);
        }
    }

    /// Mail from one module to another. Its answer, if one is wanted, comes back through this shard.
    fn mail(
        &mut self,
        from: &Arc<str>,
        callee: &str,
        action: Arc<str>,
        input: Payload,
        answer: Option<Box<Awaited>>,
        to: Reserved,
    ) {
        let answer = match answer {
            None => Answer::Nobody,
            Some(awaited) => {
                let deadline = self.now.monotonic.0.saturating_add(awaited.timeout);
                let module = Arc::clone(from);
                let mailed = Continuation::Mailed { module, awaited };
                Answer::Home(self.id, self.continuations.insert(mailed, Some(deadline)))
            }
        };
        // Its place is in the queue of one copy; where that copy has gone meanwhile, the mail has nowhere to go.
        let module = self.catalog.module(callee);
        let Some((module, copy)) = module.and_then(|m| Some((m, m.copy(to.copy)?))) else {
            let why = if module.is_some() {
                NotRun::Unavailable
            } else {
                NotRun::Unknown
            };
            let letter = Letter {
                from,
                to: callee,
                action: &action,
            };
            self.lost_mail
                .note(self.now.monotonic.0, letter, Loss::Unread);
            self.give(answer, Answered::not_run(why));
            return;
        };
        let home = copy.home;
        let address = Address {
            module: Arc::clone(&module.name),
            copy: to.copy,
        };
        let request = Request {
            id: self.next_request(),
            name: action,
            caller: Caller::Module(Arc::clone(from)),
            received_at: self.now.wall_us,
            input,
        };
        let call = Call {
            answer,
            place: Some(to.place),
            ..Call::own(address, Export::Execute(request))
        };
        self.send_call(home, call);
    }
}

const fn packet(opcode: u16, payload: Payload, options: SendOptions) -> Outgoing {
    Outgoing::Packet {
        opcode,
        payload,
        options,
    }
}

const fn broadcast(topic: Arc<str>, payload: Payload, options: SendOptions) -> Outgoing {
    Outgoing::Broadcast {
        sender: SERVER,
        topic,
        payload,
        options,
    }
}

const fn item(topic: Arc<str>, payload: Payload, delivery: Delivery) -> Outgoing {
    Outgoing::Item {
        topic,
        payload,
        delivery,
    }
}

/// The sender of what the server sends by itself.
const SERVER: ClientId = ClientId { hi: 0, lo: 0 };
