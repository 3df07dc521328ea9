//! The exports that the host calls by itself: each notes what it was given.

use cohnect_module::background::{Next, Wake};
use cohnect_module::broadcast;
use cohnect_module::client_events::{Admission, EventSet, Newcomer};
use cohnect_module::pipeline::{self, Packet, Verdict};
use cohnect_module::prelude::*;
use cohnect_module::server_events::{self, Event};
use cohnect_module::stream_handler;
use cohnect_module::ticker::Overrun;

use crate::Probe;

impl Pipeline for Probe {
    fn describe() -> Vec<pipeline::Claim> {
        vec![pipeline::Claim {
            version: Some(2),
            order: -5,
            ..pipeline::Claim::opcodes(0x0100, 0x01ff)
        }]
    }

    fn handle(&mut self, packet: Packet) -> Verdict {
        self.seen.push(format!(
            "packet {:#06x} {:?} {}",
            packet.opcode, packet.delivery, packet.wants_reply
        ));
        match packet.opcode {
            0x0100 => Verdict::Pass,
            0x0101 => Verdict::Replace([b"<", &packet.payload[..], b">"].concat()),
            0x0102 => Verdict::Drop,
            0x0103 => Verdict::Reply(packet.sender.id.to_string().into_bytes()),
            _ => Verdict::Reject(cohnect_module::Failure {
                code: 9,
                message: "no such move".into(),
            }),
        }
    }
}

impl Broadcast for Probe {
    fn describe() -> Vec<broadcast::Claim> {
        vec![broadcast::Claim::topic("chat/*")]
    }

    fn handle(&mut self, message: broadcast::Message) -> broadcast::Verdict {
        match message.topic.as_str() {
            "chat/pass" => broadcast::Verdict::Pass,
            "chat/shadow" => broadcast::Verdict::Redirect(broadcast::Redirection {
                to: Audience::Client(message.sender.id),
                payload: message.payload,
            }),
            "chat/louder" => broadcast::Verdict::Replace(message.payload.to_ascii_uppercase()),
            "chat/drop" => broadcast::Verdict::Drop,
            _ => broadcast::Verdict::Reject(cohnect_module::Failure {
                code: 1,
                message: format!("{:?}", message.to),
            }),
        }
    }
}

impl Background for Probe {
    fn step(&mut self, why: Wake) -> Result<Next, Error> {
        Ok(match why {
            Wake::Started => Next::After(1_000),
            Wake::Elapsed => Next::WhenSignalled,
            Wake::Signalled(signals) => {
                for signal in signals {
                    self.seen.push(format!(
                        "signal {} {}",
                        signal.name,
                        String::from_utf8(signal.body)?
                    ));
                }
                Next::AtOnce
            }
            Wake::Stopping => Next::Finished,
        })
    }
}

impl Ticker for Probe {
    fn describe() -> TickPlan {
        TickPlan {
            hz: 20,
            overrun: Overrun::CatchUp,
            catch_up_max: 3,
            ..TickPlan::default()
        }
    }

    fn on_tick(&mut self, tick: Tick) {
        self.seen.push(format!(
            "tick {} {} {} {}",
            tick.number, tick.due_at, tick.step, tick.skipped
        ));
    }
}

impl TimerHandler for Probe {
    fn on_timer(&mut self, name: String, data: Payload, due_at: u64) {
        self.seen.push(format!("timer {name} {data:?} {due_at}"));
    }
}

impl ReplyHandler for Probe {
    fn on_reply(&mut self, tag: String, answer: Result<Payload, Error>) {
        self.seen.push(format!("reply {tag} {answer:?}"));
    }
}

impl ClientEvents for Probe {
    fn describe() -> EventSet {
        EventSet::CONNECTING | EventSet::DISCONNECTED | EventSet::BACK
    }

    fn on_connecting(&mut self, newcomer: Newcomer) -> Result<Admission, Error> {
        if newcomer.token == b"bad" {
            return Err(Error::refused(2, "who are you?"));
        }
        Ok(Admission {
            user: Some(newcomer.address),
            tags: vec!["new".into()],
        })
    }

    fn on_connected(&mut self, client: Client) {
        self.seen.push(format!(
            "connected {} {:?} {:?}",
            client.id, client.user, client.tags
        ));
    }

    fn on_disconnected(&mut self, client: Client, reason: CloseReason) {
        self.seen
            .push(format!("disconnected {} {reason:?}", client.id));
    }

    fn on_alive(&mut self, client: Client, rtt: u64) {
        self.seen.push(format!("alive {} {rtt}", client.id));
    }

    fn on_away(&mut self, client: Client) {
        self.seen.push(format!("away {}", client.id));
    }

    fn on_back(&mut self, client: Client) {
        self.seen.push(format!("back {}", client.id));
    }
}

impl ServerEvents for Probe {
    fn describe() -> server_events::EventSet {
        server_events::EventSet::STARTED | server_events::EventSet::OTHER
    }

    fn on_event(&mut self, event: Event) {
        self.seen.push(format!("{event:?}"));
    }
}

impl StreamHandler for Probe {
    fn describe() -> Vec<stream_handler::Claim> {
        vec![stream_handler::Claim::topic("news")]
    }

    fn on_subscribe(
        &mut self,
        topic: String,
        client: Client,
        arguments: Payload,
    ) -> Result<Option<Payload>, Error> {
        match arguments.as_slice() {
            b"first" => Ok(Some(format!("{topic} for {}", client.id).into_bytes())),
            b"refuse" => Err(Error::refused(4, "sold out")),
            _ => Ok(None),
        }
    }

    fn on_unsubscribe(&mut self, topic: String, client: Client, reason: CloseReason) {
        self.seen
            .push(format!("unsubscribed {topic} {} {reason:?}", client.id));
    }
}
