//! What one module sends to many arrives at each client in the order in which it was sent, however many they are.

use bytes::Bytes;
use cohnect_capabilities::clients::{Addressed, SendOptions};
use cohnect_capabilities::{Audience, Caller};
use cohnect_host::export::{Export, Returned};
use cohnect_host::function::HostFunction;
use cohnect_protocol::ops::Outcome;

use super::execute::{body, clients};
use super::site::{Plan, Site};
use super::with_shards;

const OPCODE: u16 = 0x0300;
/// More than two turns' worth of recipients on one shard.
const PLAYERS: usize = 300;

/// A module that counts up, and sends each number to everyone, then to its caller, then answers with it.
fn load(site: &mut Site, shard: u16) {
    let plan = Plan {
        exports: clients(&["next", "each"]),
        shard: Some(shard),
        ..Plan::default()
    };
    let count = core::sync::atomic::AtomicU32::new(0);
    site.load("m", plan, move |context, export| {
        let Export::Execute(request) = export else {
            return Ok(Returned::Nothing);
        };
        let Caller::Client(client) = &request.caller else {
            panic!("a client calls")
        };
        let n = count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        let (all, one) = (
            Bytes::from(format!("all {n}")),
            Bytes::from(format!("one {n}")),
        );
        let options = SendOptions::default();
        if &*request.name == "each" {
            let items = vec![Addressed {
                to: client.id,
                payload: one,
            }];
            let entered = context.enter(HostFunction::ClientsSendEach);
            entered
                .unwrap()
                .clients_send_each(items, OPCODE, options)
                .unwrap();
        } else {
            let entered = context.enter(HostFunction::ClientsSendTo);
            let sent =
                entered
                    .unwrap()
                    .clients_send_to(Audience::Everyone, OPCODE, all, options, None);
            assert_eq!(sent, Ok(PLAYERS as u32));
            let entered = context.enter(HostFunction::ClientsSend);
            entered
                .unwrap()
                .clients_send(client.id, OPCODE, one, options)
                .unwrap();
        }
        Ok(Returned::Answer(Ok(Bytes::from(n.to_string()))))
    });
}

#[test]
fn a_message_to_one_never_overtakes_a_message_to_all() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        load(&mut site, shards - 1);
        for n in 0..PLAYERS {
            site.connect(n as u16);
        }
        let last = PLAYERS - 1;
        for _ in 0..10 {
            site.ask(last, 4, body("m", "next", b""));
        }
        site.settle();
        let all: Vec<_> = (0..10).map(|n| Bytes::from(format!("all {n}"))).collect();
        for player in 0..last {
            assert_eq!(site.pushed(player, OPCODE), all, "{player}");
        }
        let mixed: Vec<_> = (0..10)
            .flat_map(|n| {
                [
                    Bytes::from(format!("all {n}")),
                    Bytes::from(format!("one {n}")),
                ]
            })
            .collect();
        assert_eq!(site.pushed(last, OPCODE), mixed);
    });
}

#[test]
fn whoever_takes_a_slot_over_gets_nothing_that_was_meant_for_another() {
    let mut site = Site::new(1);
    load(&mut site, 0);
    for n in 0..PLAYERS {
        site.connect(n as u16);
    }
    // The last one leaves while the messages are on their way to all, and another takes its slot.
    let red = Audience::Tagged("red".into());
    let ids: Vec<_> = (0..PLAYERS).map(|player| site.id(player)).collect();
    for id in &ids {
        cohnect_capabilities::tags::Tags::add(&*site.directory, *id, "red").unwrap();
    }
    let fan = site.directory.fan(&red, None).unwrap();
    assert_eq!(fan.count as usize, PLAYERS);
    let what = cohnect_host::mail::Outgoing::Packet {
        opcode: OPCODE,
        payload: Bytes::from_static(b"for reds"),
        options: SendOptions::default(),
    };
    site.leave(PLAYERS - 1);
    let newcomer = site.connect(0);
    let now = site.now;
    for (_, to) in fan.shards {
        let what = what.clone();
        let fanout = cohnect_host::mail::Fanout { to, what };
        let worker = site.post.layout().worker(0);
        let shard = site.post.layout().shard(0);
        assert!(site.post.admit_fanout(worker, shard, fanout.what.weight()));
        let letter = cohnect_host::mail::Mail::Fanout(fanout);
        site.post.deliver(worker, shard, &mut vec![letter]);
    }
    site.shards[0].turn(now);
    site.settle();
    assert!(site.pushed(newcomer, OPCODE).is_empty());
    assert_eq!(site.pushed(0, OPCODE).len(), 1);
    assert_eq!(site.pushed(PLAYERS - 2, OPCODE).len(), 1);
    assert!(site.pushed(PLAYERS - 1, OPCODE).is_empty());
}

#[test]
fn a_different_payload_to_each_reaches_each() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        load(&mut site, shards - 1);
        let player = site.connect(0);
        let answer = site.request(player, 4, body("m", "each", b""));
        assert_eq!(answer, (Outcome::Done, Bytes::from_static(b"0")));
        assert_eq!(site.pushed(player, OPCODE), [Bytes::from_static(b"one 0")]);
    });
}
