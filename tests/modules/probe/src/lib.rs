//! A module that does what a test tells it: every export of the contract, every function that never waits, and each way to go wrong.
#![forbid(unsafe_code)]

mod everything;
mod hooks;

use cohnect_module::lifecycle::{StartInfo, StopReason};
use cohnect_module::prelude::*;

#[derive(Default)]
struct Probe {
    /// What happened, in order; `seen` answers with it.
    seen: Vec<String>,
    calls: u64,
}

impl Action for Probe {
    fn describe() -> Vec<ActionInfo> {
        let mut actions = vec![
            ActionInfo::named("echo").for_clients(),
            ActionInfo {
                wants: ClientParts::USER | ClientParts::TAGS,
                media_type: "application/json".into(),
                input_schema: "{}".into(),
                options: vec![Field {
                    key: "page".into(),
                    value: Scalar::Integer(7),
                }],
                ..ActionInfo::named("caller").requires("team:red")
            },
        ];
        if let Some(Scalar::Text(extra)) = config::get("action") {
            actions.push(ActionInfo::named(extra));
        }
        if config::get("refused").is_some() {
            clock::now();
        }
        if config::get("denied").is_some()
            && state::get(&Scope::Shared, "key") == Err(Error::Denied)
        {
            actions.push(ActionInfo::named("denied"));
        }
        if let Some(Scalar::Text(why)) = config::get("panics") {
            panic!("{why}");
        }
        if config::get("endless").is_some() {
            spin();
        }
        actions
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        self.calls += 1;
        match request.name.as_str() {
            "echo" => Ok(request.input),
            "stamp" => {
                clock::now();
                Ok(request.input)
            }
            "count" => Ok(self.calls.to_string().into_bytes()),
            "seen" => Ok(std::mem::take(&mut self.seen).join("\n").into_bytes()),
            "caller" => Ok(format!(
                "{:?} {} {}",
                request.caller, request.id, request.received_at
            )
            .into_bytes()),
            "everything" => everything::everything().map(|lines| lines.join("\n").into_bytes()),
            "refuse" => Err(Error::refused(7, "not your turn")),
            "fail" => Err(Error::other("weather", "it rains")),
            "send" => {
                let to = ClientId { hi: 1, lo: 1 };
                clients::send(to, 0x0100, &request.input, clients::SendOptions::default())?;
                Ok(Vec::new())
            }
            "send-and-panic" => {
                clients::send(
                    ClientId { hi: 1, lo: 1 },
                    0x0100,
                    b"lost",
                    clients::SendOptions::default(),
                )?;
                panic!("told to panic")
            }
            "spin" => spin(),
            "recurse" => Ok(deep(0).to_string().into_bytes()),
            "hog" => hog(),
            "ask-too-much" => {
                let mut much = Vec::<u8>::new();
                match much.try_reserve_exact(1 << 30) {
                    Ok(()) => Ok(b"got it".to_vec()),
                    Err(_) => Ok(b"went on".to_vec()),
                }
            }
            "quota" => loop {
                clock::now();
            },
            "quota-ignored" => loop {
                let _ = state::get(&Scope::Shared, "nothing");
            },
            "print" => {
                println!("printed");
                eprint!("half a line");
                Ok(Vec::new())
            }
            _ => Err(Error::NotFound),
        }
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn deep(level: u64) -> u64 {
    let room = std::hint::black_box([level; 64]);
    if room[0] == u64::MAX {
        return 0;
    }
    deep(level + 1) + room[1]
}

fn hog() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

impl Lifecycle for Probe {
    fn start(&mut self, info: StartInfo) -> Result<(), Error> {
        self.seen.push(format!(
            "start {} {} {:?} {:?}",
            info.module, info.generation, info.reason, info.creator
        ));
        if info.arguments == b"refuse" {
            return Err(Error::refused(1, "not today"));
        }
        Ok(())
    }

    fn stop(&mut self, reason: StopReason) {
        log!(Info, "stopped: {reason:?}");
    }
}

use cohnect_module::log;

impl Migration for Probe {
    fn save(&mut self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            schema: 3,
            data: self.calls.to_be_bytes().to_vec(),
        })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        let bytes = snapshot
            .data
            .try_into()
            .map_err(|_| Error::invalid("eight bytes"))?;
        self.calls = u64::from_be_bytes(bytes);
        Ok(())
    }
}

cohnect_module::export!(
    Probe: action, pipeline, broadcast, background, lifecycle, migration, ticker, timer_handler, reply_handler, client_events,
    server_events, stream_handler
);
