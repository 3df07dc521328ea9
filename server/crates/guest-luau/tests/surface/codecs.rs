//! What scripts read and write, for any value and any bytes: JSON and MessagePack, of scripts and of `keep`.

use cohnect_capabilities::{Error, Payload};
use cohnect_host::context::{Arming, Phase};
use cohnect_host::export::{Export, Fault, Outcome, Returned, Snapshot};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::bench::{Bench, Copy, request};

/// Values as JSON knows them; numbers as far as Luau has them exactly, and with a fraction.
fn values(nulls: bool) -> impl Strategy<Value = Value> {
    let exact = 1_i64 << 53;
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-exact..=exact).prop_map(Value::from),
        (-1_000_000..1_000_000_i64).prop_map(|n| Value::from(n as f64 + 0.25)),
        "\\PC{0,12}".prop_map(Value::from),
        Just(if nulls { Value::Null } else { Value::from("") }),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z0-9 ]{0,6}", inner, 0..6)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The value as it must come back from MessagePack: an empty table is an empty array.
fn without_empty_maps(value: Value) -> Value {
    match value {
        Value::Object(map) if map.is_empty() => Value::Array(Vec::new()),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, without_empty_maps(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_empty_maps).collect(),
        other => other,
    }
}

fn transfer(copy: &mut Copy<'_>, export: &Export) -> Outcome {
    let arming = Arming {
        phase: Phase::Transfer,
        ..copy.bench.world.arming(false)
    };
    copy.call_armed(export, arming)
}

fn restore(copy: &mut Copy<'_>, data: Payload) -> Result<(), Error> {
    let restored = transfer(
        copy,
        &Export::Restore(Snapshot {
            schema: 0,
            data,
            declared: None,
        }),
    );
    match restored {
        Ok(Returned::Done(done)) => done,
        other => panic!("{other:?}"),
    }
}

fn save(copy: &mut Copy<'_>) -> Payload {
    match transfer(copy, &Export::Save) {
        Ok(Returned::Saved(Ok(snapshot))) => snapshot.data,
        other => panic!("{other:?}"),
    }
}

const KEEPER: &str = "return { keep = {} }";

const SPEAKER: &str = r#"
local json = require("@cohnect/json")
local msgpack = require("@cohnect/msgpack")
return { action = {
    json = function(request)
        local value, problem = json.decode(request.input)
        if problem then return nil, problem end
        return json.encode(value)
    end,
    msgpack = function(request)
        local value, problem = msgpack.decode(request.input)
        if problem then return nil, problem end
        return msgpack.encode(value)
    end,
} }"#;

/// What an action makes of these bytes; none when it refuses them.
fn spoken(copy: &mut Copy<'_>, action: &str, input: &[u8]) -> Option<Vec<u8>> {
    let mut asked = request(action, "");
    asked.input = Payload::copy_from_slice(input);
    match copy.call(&Export::Execute(asked)) {
        Ok(Returned::Answer(Ok(answer))) => Some(answer.to_vec()),
        Ok(Returned::Answer(Err(Error::InvalidArgument(_)))) => None,
        // What was read may hold what cannot be written, such as a number that is none.
        Err(Fault::Raised(_)) => None,
        other => panic!("{input:02x?}: {other:?}"),
    }
}

proptest! {
    #[test]
    fn what_json_says_is_said_again(value in values(true)) {
        let bench = Bench::new();
        let mut module = bench.load(SPEAKER);
        let said = spoken(&mut module, "json", value.to_string().as_bytes());
        let again: Value = serde_json::from_slice(&said.expect("it is JSON")).expect("it is JSON");
        prop_assert_eq!(again, without_null_fields(value));
    }

    #[test]
    fn what_is_kept_comes_back(value in values(false)) {
        let bench = Bench::new();
        let kept = without_empty_maps(serde_json::json!({ "value": value }));
        let data = rmp_serde::to_vec_named(&kept).expect("serde writes it");
        let mut module = bench.load(KEEPER);
        prop_assert_eq!(restore(&mut module, data.into()), Ok(()));
        let first = save(&mut module);
        let read: Value = rmp_serde::from_slice(&first).expect("serde reads it");
        prop_assert_eq!(&read, &kept);
        let mut next = bench.load(KEEPER);
        prop_assert_eq!(restore(&mut next, first), Ok(()));
        let read: Value = rmp_serde::from_slice(&save(&mut next)).expect("serde reads it");
        prop_assert_eq!(&read, &kept);
    }

    #[test]
    fn what_msgpack_says_is_said_again(value in values(true)) {
        let bench = Bench::new();
        let mut module = bench.load(SPEAKER);
        let value = without_empty_maps(serde_json::json!([value]));
        let bytes = rmp_serde::to_vec_named(&value).expect("serde writes it");
        let said = spoken(&mut module, "msgpack", &bytes).expect("it is MessagePack");
        let again: Value = rmp_serde::from_slice(&said).expect("serde reads it");
        prop_assert_eq!(again, without_empty_maps(without_null_fields(value)));
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bench = Bench::new();
        let mut speaker = bench.load(SPEAKER);
        spoken(&mut speaker, "json", &bytes);
        spoken(&mut speaker, "msgpack", &bytes);
        let mut keeper = bench.load(KEEPER);
        if restore(&mut keeper, bytes.into()).is_ok() {
            // Whatever was taken can be given away again: a swap does not end here.
            let data = save(&mut keeper);
            let mut next = bench.load(KEEPER);
            prop_assert_eq!(restore(&mut next, data), Ok(()));
        }
    }

    /// Near misses: bytes that begin as MessagePack does.
    #[test]
    fn bytes_that_look_like_a_snapshot_are_a_value_or_an_error(
        bytes in proptest::collection::vec(prop_oneof![0x80..0x84_u8, 0x90..0x94_u8, 0xa0..0xa3_u8, 0xc0..=0xdf_u8, 0..4_u8], 1..60),
    ) {
        let bench = Bench::new();
        let mut keeper = bench.load(KEEPER);
        if restore(&mut keeper, bytes.into()).is_ok() {
            let data = save(&mut keeper);
            let mut next = bench.load(KEEPER);
            prop_assert_eq!(restore(&mut next, data), Ok(()));
        }
    }
}

/// A table has no place for a field that is null.
fn without_null_fields(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null_fields(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_null_fields).collect(),
        other => other,
    }
}

#[test]
fn what_is_written_and_read_at_once_is_counted() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local json, msgpack = require("@cohnect/json"), require("@cohnect/msgpack")
        local empty, list = table.create(200000), {}
        for n = 1, 5000 do list[n] = empty end
        local map = table.create(200000)
        map.x = 1
        local maps = table.create(5000, map)
        local inner = table.create(1000, 1)
        local many = table.create(101, inner)
        local function said(encode, value)
            local ok, problem = pcall(encode, value)
            return if ok then "ok" else tostring(problem)
        end
        local function refused(decode, text)
            local value, problem = decode(text)
            return if problem then tostring(problem) else "ok"
        end
        return { action = {
            sparse = function()
                return `{#json.encode(list)} {#msgpack.encode(list)} {#json.encode(maps)} {#msgpack.encode(maps)}`
            end,
            json = function() return said(json.encode, many) end,
            msgpack = function() return said(msgpack.encode, many) end,
            json_long = function() return said(json.encode, table.create(100, string.rep("x", 2e6))) end,
            json_read = function() return refused(json.decode, "[[]" .. string.rep(",[]", 3e5) .. "]") end,
            msgpack_read = function() return refused(msgpack.decode, "\xdd\0\2\0\0" .. string.rep("\1", 131072)) end,
            fine = function() return refused(json.decode, "[1" .. string.rep(",1", 9e4) .. "]") end,
        } }"#,
    );
    assert_eq!(
        module.execute("sparse", ""),
        Ok("15001 5003 40001 20003".into())
    );
    for (action, text) in [
        ("json", "more than 100000 values"),
        ("msgpack", "more than 100000 values"),
        ("json_long", "more than 1048576 bytes"),
        ("json_read", "json-values"),
        ("msgpack_read", "more than 100000 values"),
        ("fine", "ok"),
    ] {
        let said = module.execute(action, "").expect("it answers");
        assert!(said.contains(text), "{action}: {said}");
    }
}
