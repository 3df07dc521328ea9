//! The modules' own opcodes: stages in order, wherever they live, and what each verdict and each failure means.

use bytes::Bytes;
use cohnect_capabilities::{Error, Failure};
use cohnect_host::catalog::OnFailure;
use cohnect_host::export::{Ending, Export, Exports, Fault, PacketClaim, PacketVerdict, Returned};
use cohnect_protocol::ops::{Detail, Outcome};

use super::site::{Log, Plan, Site};
use super::with_shards;

const OPCODE: u16 = 0x0101;

fn claim(order: i32, requires: &str) -> Exports {
    Exports {
        packets: vec![PacketClaim {
            first: OPCODE,
            last: OPCODE + 1,
            order,
            requires: requires.into(),
            ..PacketClaim::default()
        }],
        ..Exports::default()
    }
}

/// What the stage of this order makes of packets.
fn stage(site: &mut Site, order: i32, shard: Option<u16>, on_failure: OnFailure, log: &Log) {
    let plan = Plan {
        exports: claim(order, ""),
        shard,
        on_failure,
        ..Plan::default()
    };
    let log = log.clone();
    site.load(&format!("stage{order}"), plan, move |_, export| {
        let Export::Handle(packet) = export else {
            return Ok(Returned::Nothing);
        };
        let text = String::from_utf8_lossy(&packet.payload).into_owned();
        log.add(format!("{order}:{text}"));
        let verdict = match text.strip_prefix(&format!("{order}")) {
            Some("trap") => return Err(Fault::Ended(Ending::Trap, String::new())),
            Some("drop") => PacketVerdict::Drop,
            Some("reply") => PacketVerdict::Reply(Bytes::from_static(b"answer")),
            Some("reject") => PacketVerdict::Reject(Error::Failed(Failure {
                code: 3,
                message: "no".into(),
            })),
            Some("deny") => PacketVerdict::Reject(Error::Denied),
            Some("replace") => PacketVerdict::Replace(Bytes::from_static(b"new")),
            Some(_) | None => PacketVerdict::Pass,
        };
        Ok(Returned::Verdict(verdict))
    });
}

fn ask(site: &mut Site, player: usize, text: &'static str) -> (Outcome, Bytes) {
    site.request(player, OPCODE, Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_packet_runs_through_its_stages_until_one_ends_it() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let log = Log::default();
        // On the other shard, on both, and on this one.
        stage(&mut site, 2, None, OnFailure::Reject, &log);
        stage(&mut site, 1, Some(1), OnFailure::Reject, &log);
        stage(&mut site, 3, Some(0), OnFailure::Reject, &log);
        let player = site.connect(0);
        let refused = (
            Outcome::Bad(Detail::REFUSED),
            Bytes::from_static(b"\0\0\0\x03no"),
        );
        let failed = (Outcome::Err(Detail::MODULE_FAILED), Bytes::new());
        let denied = (Outcome::Bad(Detail::NOT_ALLOWED), Bytes::new());
        let done = |body: &'static str| (Outcome::Done, Bytes::from_static(body.as_bytes()));
        for (text, answer, seen) in [
            ("x", done(""), vec!["1:x", "2:x", "3:x"]),
            ("1drop", done(""), vec!["1:1drop"]),
            ("2reply", done("answer"), vec!["1:2reply", "2:2reply"]),
            ("1replace", done(""), vec!["1:1replace", "2:new", "3:new"]),
            ("2reject", refused, vec!["1:2reject", "2:2reject"]),
            ("2deny", denied, vec!["1:2deny", "2:2deny"]),
            ("2trap", failed, vec!["1:2trap", "2:2trap"]),
            ("3drop", done(""), vec!["1:3drop", "2:3drop", "3:3drop"]),
        ] {
            assert_eq!(ask(&mut site, player, text), answer, "{text}");
            assert_eq!(log.take(), seen);
        }
        site.say(player, OPCODE + 1, Bytes::from_static(b"quiet"));
        site.settle();
        assert_eq!(log.take(), ["1:quiet", "2:quiet", "3:quiet"]);
    });
}

#[test]
fn a_failing_stage_means_what_its_manifest_says() {
    with_shards(|shards| {
        for (on_failure, outcome, seen) in [
            (OnFailure::Reject, Outcome::Err(Detail::MODULE_FAILED), 1),
            (OnFailure::Pass, Outcome::Done, 2),
            (OnFailure::Drop, Outcome::Done, 1),
        ] {
            let mut site = Site::new(shards);
            let log = Log::default();
            stage(&mut site, 1, Some(1), on_failure, &log);
            stage(&mut site, 2, Some(0), OnFailure::Reject, &log);
            let player = site.connect(0);
            assert_eq!(ask(&mut site, player, "1trap"), (outcome, Bytes::new()));
            assert_eq!(log.take().len(), seen);
        }
    });
}

#[test]
fn senders_who_do_not_fit_are_not_allowed() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let plan = Plan {
            exports: claim(1, "red"),
            ..Plan::default()
        };
        site.load("m", plan, |_, _| Ok(Returned::Verdict(PacketVerdict::Pass)));
        let player = site.connect(1);
        let denied = (Outcome::Bad(Detail::NOT_ALLOWED), Bytes::new());
        assert_eq!(ask(&mut site, player, "x"), denied);
        let id = site.id(player);
        cohnect_capabilities::tags::Tags::add(&*site.directory, id, "red").unwrap();
        assert_eq!(ask(&mut site, player, "x").0, Outcome::Done);
    });
}

#[test]
fn packets_of_one_client_keep_their_order_through_stages_on_several_shards() {
    with_shards(|shards| {
        let mut site = Site::new(shards);
        let (first, last) = (Log::default(), Log::default());
        stage(&mut site, 1, Some(1), OnFailure::Reject, &first);
        stage(&mut site, 2, Some(0), OnFailure::Reject, &last);
        let player = site.connect(0);
        for n in 0..60 {
            site.say(player, OPCODE, Bytes::from(format!("x{n}")));
        }
        site.settle();
        let expected = |order| (0..60).map(|n| format!("{order}:x{n}")).collect::<Vec<_>>();
        assert_eq!(first.take(), expected(1));
        assert_eq!(last.take(), expected(2));
    });
}
