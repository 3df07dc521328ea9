//! The arena's rules in Rust, the same as in `arena.luau`: put `entry = "arena.wasm"` into module.toml and save, and this takes over from the script with the
//! world as it is. It owns the calls; the world and its rules are in `world`.
#![forbid(unsafe_code)]

mod world;

use cohnect_module::pipeline::{Claim, Packet, Verdict};
use cohnect_module::prelude::*;
use cohnect_module::{client_events, json, messagepack, stream_handler};

use world::{HEIGHT, Input, NAME_BYTES_MAX, WIDTH, World};

/// The opcode of an input: i8 dx, i8 dy, u8 buttons (bit 0: shoot).
const INPUT: u16 = 0x0101;
const WORLD: &str = "arena/world";
const ROSTER: &str = "arena/roster";

#[derive(Default)]
struct Arena {
    world: World,
}

#[derive(serde::Serialize)]
struct Seat {
    number: u8,
    width: u32,
    height: u32,
}

impl Arena {
    fn tell_roster(&self) {
        // A roster that cannot be written now goes out with the next change.
        let _ = json::payload(&self.world.roster())
            .and_then(|roster| streams::publish(ROSTER, &roster, Delivery::ReliableOrdered));
    }

    fn join(&mut self, id: ClientId, input: &[u8]) -> Result<Payload, Error> {
        let name =
            core::str::from_utf8(&input[..input.len().min(NAME_BYTES_MAX)]).unwrap_or_default();
        if name.is_empty() {
            return Err(Error::refused(
                1,
                format!("a name has 1 to {NAME_BYTES_MAX} bytes of text"),
            ));
        }
        let Some(number) = self.world.join(&id.to_string(), name) else {
            return Err(Error::refused(2, "the arena is full"));
        };
        self.tell_roster();
        json::payload(&Seat {
            number,
            width: WIDTH as u32,
            height: HEIGHT as u32,
        })
    }

    fn leave(&mut self, id: ClientId) -> bool {
        let left = self.world.leave(&id.to_string());
        if left {
            self.tell_roster();
        }
        left
    }
}

impl Action for Arena {
    fn describe() -> Vec<ActionInfo> {
        ["join", "leave", "scores"]
            .map(|name| ActionInfo::named(name).for_clients())
            .into()
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        let Caller::Client(client) = &request.caller else {
            return Err(Error::Denied);
        };
        match request.name.as_str() {
            "join" => self.join(client.id, &request.input),
            "leave" if self.leave(client.id) => Ok(Payload::new()),
            "leave" => Err(Error::refused(3, "you are not in the arena")),
            _ => json::payload(&self.world.roster()),
        }
    }
}

impl Pipeline for Arena {
    fn describe() -> Vec<Claim> {
        vec![Claim {
            first: INPUT,
            last: INPUT,
            ..Claim::default()
        }]
    }

    fn handle(&mut self, packet: Packet) -> Verdict {
        if let [dx, dy, buttons] = packet.payload[..] {
            let input = Input {
                dx: dx.cast_signed(),
                dy: dy.cast_signed(),
                shoot: buttons & 1 != 0,
            };
            self.world.steer(&packet.sender.id.to_string(), input);
        }
        Verdict::Drop
    }
}

impl Ticker for Arena {
    fn describe() -> TickPlan {
        TickPlan {
            hz: 20,
            ..TickPlan::default()
        }
    }

    fn on_tick(&mut self, tick: Tick) {
        if self.world.tick(tick.step as f64 / 1_000_000.0) {
            self.tell_roster();
        }
        // Nobody watches, or the next snapshot is 50 ms away: a lost one does not matter.
        let _ = streams::publish(WORLD, &self.world.snapshot(), Delivery::UnreliableSequenced);
    }
}

impl StreamHandler for Arena {
    fn describe() -> Vec<stream_handler::Claim> {
        [WORLD, ROSTER]
            .map(|topic| stream_handler::Claim {
                topic: topic.into(),
                ..stream_handler::Claim::default()
            })
            .into()
    }

    fn on_subscribe(
        &mut self,
        topic: String,
        _client: Client,
        _arguments: Payload,
    ) -> Result<Option<Payload>, Error> {
        if topic == ROSTER {
            json::payload(&self.world.roster()).map(Some)
        } else {
            Ok(Some(self.world.snapshot()))
        }
    }
}

impl ClientEvents for Arena {
    fn describe() -> client_events::EventSet {
        client_events::EventSet::DISCONNECTED
    }

    fn on_disconnected(&mut self, client: Client, _reason: CloseReason) {
        self.leave(client.id);
    }
}

impl Migration for Arena {
    fn save(&mut self) -> Result<Snapshot, Error> {
        // The schema of a script that says none, so that either takes over from the other.
        messagepack::snapshot(0, &self.world)
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.world = messagepack::parse(&snapshot.data)?;
        Ok(())
    }
}

impl Lifecycle for Arena {
    fn start(&mut self, _info: cohnect_module::lifecycle::StartInfo) -> Result<(), Error> {
        // After a swap the world is here again; who left while it changed hands is not.
        self.world
            .retain(|id| id.parse().is_ok_and(clients::online));
        logging::log(
            logging::Level::Info,
            &format!(
                "the arena runs in Rust with {} ticks behind it",
                self.world.ticks()
            ),
            &[],
        );
        Ok(())
    }
}

cohnect_module::export!(Arena: action, pipeline, ticker, stream_handler, client_events, migration, lifecycle);
