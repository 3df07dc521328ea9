//! What survives a swap: kept tables, in place, with their shared parts; and what cannot be kept.

use cohnect_capabilities::{Error, Payload};
use cohnect_host::context::{Arming, Phase};
use cohnect_host::export::{Export, Returned, Snapshot};

use super::bench::{Bench, Copy};

fn transfer(copy: &mut Copy<'_>, export: &Export) -> Returned {
    let arming = Arming {
        phase: Phase::Transfer,
        ..copy.bench.world.arming(false)
    };
    copy.call_armed(export, arming)
        .unwrap_or_else(|fault| panic!("{fault}"))
}

fn save(copy: &mut Copy<'_>) -> Result<Snapshot, Error> {
    match transfer(copy, &Export::Save) {
        Returned::Saved(saved) => saved,
        other => panic!("{other:?}"),
    }
}

fn restore(copy: &mut Copy<'_>, snapshot: Snapshot) -> Result<(), Error> {
    match transfer(copy, &Export::Restore(snapshot)) {
        Returned::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

/// A snapshot that says nothing but its data.
fn plain(schema: u32, data: Payload) -> Snapshot {
    Snapshot {
        schema,
        data,
        declared: None,
    }
}

const GAME: &str = r#"
local json = require("@cohnect/json")
local game = { players = {}, ticks = 0 }
local function read() return game.ticks end
return {
    keep = game,
    action = {
        fill = function()
            local ada = { name = "Ada", at = { 1.5, -2 }, alive = true }
            ada.self = ada
            game.players.ada = ada
            game.leader = ada
            game.numbers = { [1] = "a", [3] = "c", [2.5] = "x", [-7] = 2^53 }
            game.raw = "\xff\0"
            game.bytes = buffer.fromstring("buf")
            game.same_bytes = game.bytes
            game.itself = game
            game.ticks = 41
            return ""
        end,
        tick = function() game.ticks += 1 return tostring(read()) end,
        check = function()
            local ada = game.players.ada
            assert(ada == game.leader and ada.self == ada and game.itself == game)
            assert(ada.name == "Ada" and ada.at[1] == 1.5 and ada.at[2] == -2 and ada.alive == true)
            assert(game.numbers[1] == "a" and game.numbers[3] == "c" and game.numbers[2.5] == "x" and game.numbers[-7] == 2^53)
            assert(game.raw == "\xff\0" and buffer.tostring(game.bytes) == "buf" and game.bytes == game.same_bytes)
            assert(game.stale == nil)
            return "right"
        end,
        stale = function() game.stale = true return "" end,
    },
}"#;

#[test]
fn a_world_goes_over_a_swap_into_the_same_table() {
    let bench = Bench::new();
    let mut old = bench.load(GAME);
    old.execute("fill", "").expect("it fills");
    let snapshot = save(&mut old).expect("it is kept");
    let mut new = bench.load(GAME);
    new.execute("stale", "").expect("it is there");
    assert_eq!(restore(&mut new, snapshot.clone()), Ok(()));
    assert_eq!(new.execute("check", ""), Ok("right".into()));
    // The closure over the table sees what was restored.
    assert_eq!(new.execute("tick", ""), Ok("42".into()));
    // Nothing was taken from the old one.
    assert_eq!(old.execute("tick", ""), Ok("42".into()));
    let again = save(&mut new).expect("it is kept again");
    assert_eq!(again.schema, snapshot.schema);
}

#[test]
fn a_key_that_only_the_new_file_declares_keeps_its_first_value() {
    let bench = Bench::new();
    let code = |keep: &str, more: &str| {
        format!(
            r#"local game = {{ {keep} }}
            return {{ keep = game, {more} action = {{
                forget = function() game.round = nil game.guest = "Ada" return "" end,
                show = function() return `{{game.round}} {{game.points}} {{game.extra}} {{game.guest}}` end,
            }} }}"#
        )
    };
    let mut old = bench.load(&code("round = 1, points = 5", ""));
    old.execute("forget", "").expect("it forgets");
    let snapshot = save(&mut old).expect("it is kept");
    let first = "round = 7, points = 8, extra = 9, guest = 'nobody'";
    let mut new = bench.load(&code(first, ""));
    assert_eq!(restore(&mut new, snapshot.clone()), Ok(()));
    // What was declared and is nothing stays nothing; what the old one added by itself goes over.
    assert_eq!(new.execute("show", ""), Ok("nil 5 9 Ada".into()));
    // Back in the old code, the other way round.
    let snapshot_of_new = save(&mut new).expect("it is kept");
    let mut back = bench.load(&code("round = 1, points = 5", ""));
    assert_eq!(restore(&mut back, snapshot_of_new), Ok(()));
    assert_eq!(back.execute("show", ""), Ok("nil 5 9 Ada".into()));
    // A snapshot that does not say what was declared is all that there is.
    let mut told = bench.load(&code(first, ""));
    let data = snapshot.data.clone();
    assert_eq!(restore(&mut told, plain(0, data)), Ok(()));
    assert_eq!(told.execute("show", ""), Ok("nil 5 nil Ada".into()));
    let upgrade = "schema = 1, upgrade = function(old) return { points = old.points + 1 } end,";
    let mut upgraded = bench.load(&code(first, upgrade));
    assert_eq!(restore(&mut upgraded, snapshot), Ok(()));
    assert_eq!(upgraded.execute("show", ""), Ok("nil 6 9 nobody".into()));
}

#[test]
fn a_component_reads_and_writes_it_with_serde() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct World {
        players: std::collections::BTreeMap<String, (f64, bool)>,
        shots: Vec<u32>,
        ticks: u64,
        name: Option<String>,
    }
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local keep = { players = { ada = { 1.5, true } }, shots = { 3, 4 }, ticks = 7 }
        return { keep = keep, action = { show = function()
            return `{keep.players.bob[1]} {#keep.shots} {keep.ticks} {keep.name}`
        end } }"#,
    );
    let snapshot = save(&mut module).expect("it is kept");
    let mut world: World = rmp_serde::from_slice(&snapshot.data).expect("serde reads it");
    assert_eq!(
        (world.ticks, &world.shots[..], world.players["ada"].0),
        (7, &[3, 4][..], 1.5)
    );
    world.players.insert("bob".into(), (9.5, false));
    world.name = Some("arena".into());
    world.shots.clear();
    let data = Payload::from(rmp_serde::to_vec_named(&world).expect("serde writes it"));
    assert_eq!(restore(&mut module, plain(0, data)), Ok(()));
    assert_eq!(module.execute("show", ""), Ok("9.5 0 7 arena".into()));
}

#[test]
fn what_cannot_be_kept_stops_the_swap_by_its_path() {
    let bench = Bench::new();
    for (fill, found) in [
        (
            "keep.players = { { on_hit = function() end } }",
            "`keep.players[1].on_hit` is a function",
        ),
        (
            "keep.loop = coroutine.create(function() end)",
            "`keep.loop` is a thread",
        ),
        ("keep[{}] = 1", "for its key"),
        (
            "local t = keep for _ = 1, 200 do t.next = {} t = t.next end",
            "deeper than",
        ),
    ] {
        let mut module = bench.load(&format!(
            "local keep = {{}} return {{ keep = keep, action = {{ fill = function() {fill} return '' end }} }}"
        ));
        module.execute("fill", "").expect("it fills");
        match save(&mut module) {
            Err(Error::InvalidArgument(text)) => assert!(text.contains(found), "{fill}: {text}"),
            other => panic!("{fill}: {other:?}"),
        }
    }
}

#[test]
fn older_data_goes_through_upgrade() {
    let bench = Bench::new();
    let mut old = bench.load("return { keep = { points = 5 } }");
    let snapshot = save(&mut old).expect("it is kept");
    let code = |upgrade: &str| {
        format!(
            "local keep = {{ score = 0 }} return {{ keep = keep, schema = 2, {upgrade} action = {{ show = function() return `{{keep.score}} {{keep.points}}` end }} }}"
        )
    };
    let mut without = bench.load(&code(""));
    assert!(
        matches!(restore(&mut without, snapshot.clone()), Err(Error::InvalidArgument(text)) if text.contains("upgrade"))
    );
    assert_eq!(without.execute("show", ""), Ok("0 nil".into()));
    let mut new = bench.load(&code("upgrade = function(old, schema) assert(schema == 0) return { score = old.points * 2 } end,"));
    assert_eq!(restore(&mut new, snapshot.clone()), Ok(()));
    assert_eq!(new.execute("show", ""), Ok("10 nil".into()));
    assert_eq!(save(&mut new).expect("it is kept").schema, 2);
    let mut changes = bench.load(&code("upgrade = function(old) old.score = 1 end,"));
    assert_eq!(restore(&mut changes, snapshot.clone()), Ok(()));
    assert_eq!(changes.execute("show", ""), Ok("1 5".into()));
    let mut refuses = bench.load(&code("upgrade = function() return nil, 'conflict' end,"));
    assert_eq!(restore(&mut refuses, snapshot), Err(Error::Conflict));
}

#[test]
fn a_module_may_save_by_itself() {
    let bench = Bench::new();
    let code = r#"
        local n = 0
        return {
            schema = 3,
            migration = { save = function() return tostring(n) end, restore = function(data, schema) n = tonumber(data) + schema end },
            action = { add = function() n += 1 return tostring(n) end },
        }"#;
    let mut old = bench.load(code);
    old.execute("add", "").expect("it adds");
    let snapshot = save(&mut old).expect("it is saved");
    assert_eq!(snapshot, plain(3, Payload::from_static(b"1")));
    let mut new = bench.load(code);
    assert_eq!(restore(&mut new, snapshot), Ok(()));
    assert_eq!(new.execute("add", ""), Ok("5".into()));
}

#[test]
fn a_snapshot_that_lies_is_refused() {
    let bench = Bench::new();
    for bytes in [
        &b""[..],
        b"\xc1",
        b"\x05",
        b"\x81\xa1a",
        b"\x81\x90\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91\xd6\x01\x00\x00\x00\x09",
        b"\x91\xd4\x05\x00",
        b"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x80",
        &[0x91; 500],
    ] {
        let mut module = bench.load("return { keep = {} }");
        let snapshot = plain(0, Payload::copy_from_slice(bytes));
        assert!(
            matches!(
                restore(&mut module, snapshot),
                Err(Error::InvalidArgument(_))
            ),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn msgpack_is_there_for_scripts() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local msgpack = require("@cohnect/msgpack")
        return { action = {
            both = function(request)
                local value = assert(msgpack.decode(msgpack.encode({ a = { 1, 2, "x" }, b = buffer.fromstring("q"), c = -1.5 })))
                return `{value.a[3]} {value.b} {value.c} {#msgpack.encode(200)}`
            end,
            bad = function() return msgpack.decode("\xc1") end,
        } }"#,
    );
    assert_eq!(module.execute("both", ""), Ok("x q -1.5 2".into()));
    assert!(matches!(
        module.execute("bad", ""),
        Err(Error::InvalidArgument(_))
    ));
}
