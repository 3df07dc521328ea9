//! The mail of other homes, taken up: calls, replies, effects, fan-outs and the custodian's orders.

use cohnect_host::export::Returned;
use cohnect_host::mail::{Answer, Answered, Call, HomeId, Mail, Relay, Walk};

use super::{Continuation, Shard, host_now};
use crate::state::Gate;

impl Shard {
    pub(super) fn take_mail(&mut self) {
        let mut mail = core::mem::take(&mut self.mail);
        self.post.collect(self.id, &mut mail);
        for (_, letter) in mail.drain(..) {
            match letter {
                Mail::Call(call) => self.accept(call),
                Mail::Reply(ticket, answered) => self.resume(ticket, answered),
                Mail::Effects(module, mut effects) => match self.state.gate() {
                    Gate::Open => self.apply(&module, &mut effects),
                },
                Mail::Relay(relay) => match self.state.gate() {
                    Gate::Open => self.relay(relay),
                },
                Mail::Fanout(fanout) => self.fan_in(fanout),
                Mail::Walk(walk) => self.walk(walk),
                Mail::Order(order) => {
                    self.home.obey(host_now(self.now), order, &mut self.staging);
                }
            }
        }
        self.mail = mail;
    }

    /// Passes on what came of a call here or on a worker. Whoever is admitted to a topic has it open before anything is carried out that the handler's
    /// later calls leave, wherever he is: what they publish reaches him behind the answer.
    pub(super) fn relay(&mut self, relay: Relay) {
        if let Some((client, topic)) = relay.subscriber
            && is_admitted(&relay.answered)
        {
            self.directory.subscribe(client, &topic);
        }
        self.give(relay.answer, relay.answered);
    }

    /// Queues a call of another home, or of this one.
    pub(super) fn accept(&mut self, mut call: Call) {
        if let Some(subscriber) = call.export.subscriber() {
            let subscribed = Continuation::Subscribed {
                subscriber,
                answer: core::mem::replace(&mut call.answer, Answer::Nobody),
            };
            let ticket = self.continuations.insert(subscribed, None);
            call.answer = Answer::Home(self.id, ticket);
        }
        if let Err((call, why)) = self.home.push(call) {
            self.lost_mail.note_unread(self.now.monotonic.0, &call);
            self.give(call.answer, Answered::not_run(why));
        }
    }

    /// Sends a BROADCAST on to the home of its next stage; it comes back when there is no room on the way there.
    pub(crate) fn hand_over_walk(
        &mut self,
        home: HomeId,
        walk: Box<Walk>,
    ) -> Result<(), Box<Walk>> {
        self.staging.walk(&self.post, home, walk)
    }

    /// Gives an answer to whoever waits for it.
    pub(crate) fn give(&mut self, answer: Answer, answered: Answered) {
        match answer {
            Answer::Home(home, ticket) if home == self.id => self.resume(ticket, answered),
            answer @ (Answer::Nobody | Answer::Home(..) | Answer::Waiter(_)) => {
                self.staging.answer(answer, answered);
            }
        }
    }
}

/// Whether a handler has admitted a subscriber.
const fn is_admitted(answered: &Answered) -> bool {
    matches!(&answered.outcome, Ok(Ok(Returned::Subscribed(Ok(_)))))
}
