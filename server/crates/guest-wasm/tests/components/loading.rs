//! What is refused at load, in words for its author; and what `describe` says.

use cohnect_capabilities::{ClientParts, Field, Payload, Scalar};
use cohnect_host::context::Grants;
use cohnect_host::export::Access;
use cohnect_host::function::Interface;
use cohnect_host::replica::Language as _;
use cohnect_host::testing::World;

use crate::fixture::{
    OnShard, context, load, probe, probe_code, source, ticker, waiting, waiting_code, wasm,
};

fn refused(text: &str) -> String {
    let code = wat::parse_str(text).unwrap();
    match load(&Payload::from(code)) {
        Ok(_) => panic!("it is loaded: {text}"),
        Err(error) => error.message,
    }
}

#[test]
fn the_imports_are_the_interfaces_that_are_used() {
    assert_eq!(
        probe().imports(),
        [
            Interface::Clients,
            Interface::Tags,
            Interface::State,
            Interface::Mailbox,
            Interface::FeatureFlags,
            Interface::Logging,
            Interface::Streams,
            Interface::Clock,
            Interface::Timers,
            Interface::Signals,
            Interface::Random,
            Interface::Config,
        ]
    );
    assert_eq!(
        waiting().imports(),
        [
            Interface::Clients,
            Interface::Logging,
            Interface::Db,
            Interface::Modules
        ]
    );
}

#[test]
fn what_a_module_says_of_itself_is_read() {
    let prepared = probe();
    let exports = prepared.exports();
    let [echo, caller] = &exports.actions[..] else {
        panic!("{:?}", exports.actions);
    };
    assert_eq!((&*echo.name, echo.access), ("echo", Access::Clients));
    assert_eq!((&*caller.name, caller.access), ("caller", Access::Internal));
    assert_eq!(caller.requires, "team:red");
    assert_eq!(
        caller.wants,
        ClientParts {
            user: true,
            tags: true
        }
    );
    assert_eq!(caller.media_type, "application/json");
    assert_eq!(
        caller.options,
        [Field {
            key: "page".into(),
            value: Scalar::Integer(7)
        }]
    );
    let claim = &exports.packets[0];
    assert_eq!(
        (claim.first, claim.last, claim.version, claim.order),
        (0x0100, 0x01ff, Some(2), -5)
    );
    assert_eq!(exports.broadcasts[0].topic, "chat/*");
    assert_eq!(exports.streams[0].topic, "news");
    let ticker = exports.ticker.as_ref().unwrap();
    assert_eq!((ticker.hz, ticker.catch_up_max), (20, Some(3)));
    let events = exports.client_events;
    assert!(events.connecting && events.disconnected && events.back);
    assert!(!events.connected && !events.alive && !events.away);
    assert!(exports.server_events.started && exports.server_events.other);
    assert!(!exports.server_events.stopping);
    assert!(exports.background && exports.lifecycle && exports.migration);
    assert!(exports.timers && exports.replies);
}

#[test]
fn a_module_without_an_export_has_none() {
    let prepared = waiting();
    let exports = prepared.exports();
    assert!(exports.migration && !exports.lifecycle && !exports.background);
    assert!(exports.ticker.is_none() && exports.packets.is_empty());
}

#[test]
fn a_missing_grant_is_named() {
    let world = World::new();
    let mut charter = world.charter("waiting", true);
    charter.grants = Grants::default().into();
    let error = wasm()
        .prepare(&source("waiting", waiting_code()), context(charter))
        .err()
        .unwrap();
    assert!(
        error.message.contains("waiting.wasm") && error.message.contains("db:main"),
        "{error}"
    );
}

#[test]
fn a_module_that_waits_does_not_live_on_a_shard() {
    let world = World::new();
    let error = waiting()
        .replica(context(world.charter("waiting", false)))
        .err()
        .unwrap();
    assert!(error.message.contains("shard"), "{error}");
}

#[test]
fn an_unknown_import_is_named() {
    for (import, name) in [
        ("cohnect:module/sockets@0.1.0", "sockets"),
        ("cohnect:module/feature_flags@0.1.0", "feature_flags"),
        ("acme:tools/hammer@1.0.0", "acme:tools/hammer"),
    ] {
        let message = refused(&format!(
            "(component (import \"{import}\" (instance (export \"hit\" (func)))))"
        ));
        assert!(
            message.contains("probe.wasm") && message.contains(name),
            "{message}"
        );
    }
}

#[test]
fn an_unknown_function_of_a_known_interface_is_named() {
    let message = refused(
        r#"(component
            (import "cohnect:module/clock@0.1.0" (instance (export "sundial" (func (result u64)))))
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $ticker (export "describe" (func $f)) (export "on-tick" (func $f)))
            (export "cohnect:module/ticker@0.1.0" (instance $ticker)))"#,
    );
    assert!(message.contains("sundial"), "{message}");
}

#[test]
fn a_component_that_exports_nothing_is_told_what_it_could() {
    let message = refused("(component)");
    assert!(message.contains("action, pipeline"), "{message}");
}

fn lifted(exports: &str) -> String {
    format!(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            {exports})"#
    )
}

#[test]
fn an_export_that_nobody_would_call_is_refused() {
    let message = refused(&lifted(
        r#"(instance $cron (export "run" (func $f)))
           (export "cohnect:module/cron@0.1.0" (instance $cron))"#,
    ));
    assert!(message.contains("cohnect:module/cron"), "{message}");
}

#[test]
fn an_export_of_the_wrong_form_is_refused() {
    let message = refused(&lifted(
        r#"(instance $ticker (export "describe" (func $f)))
           (export "cohnect:module/ticker@0.1.0" (instance $ticker))"#,
    ));
    assert!(message.contains("on-tick"), "{message}");
    let message = refused(&lifted(
        r#"(instance $ticker (export "describe" (func $f)) (export "on-tick" (func $f)))
           (export "cohnect:module/ticker@0.1.0" (instance $ticker))"#,
    ));
    assert!(message.contains("ticker.describe"), "{message}");
}

#[test]
fn what_is_no_component_is_refused() {
    let core = wat::parse_str("(module)").unwrap();
    let error = load(&Payload::from(core)).err().unwrap();
    assert!(error.message.contains("cohnect build"), "{error}");
    let whole = probe_code();
    for cut in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
        assert!(load(&whole.slice(..cut)).is_err(), "{cut}");
    }
}

fn described(key: &str) -> Result<Vec<String>, String> {
    let world = World::new();
    world.set_config(key, Scalar::Text("extra".into()));
    if key == "endless" {
        world.set_cpu_step(10_000);
    }
    let _running = ticker().running();
    wasm()
        .prepare(&source("probe", probe_code()), world.probe("probe"))
        .map(|prepared| {
            let actions = &prepared.exports().actions;
            actions
                .iter()
                .map(|action| action.name.to_string())
                .collect()
        })
        .map_err(|error| error.message)
}

#[test]
fn describe_reads_the_configuration_and_nothing_else() {
    let actions = described("action").unwrap();
    assert_eq!(actions.last().map(String::as_str), Some("extra"));
    let actions = described("denied").unwrap();
    assert_eq!(actions.last().map(String::as_str), Some("denied"));
    let message = described("refused").unwrap_err();
    assert!(
        message.contains("clock.now") && message.contains("denied"),
        "{message}"
    );
}

#[test]
fn an_endless_describe_is_ended() {
    let message = described("endless").unwrap_err();
    assert!(message.contains("CPU"), "{message}");
}

#[test]
fn a_replica_that_does_not_fit_into_its_memory_is_refused() {
    let world = World::new();
    let mut small = source("probe", probe_code());
    small.memory_bytes = 64 * 1024;
    let error = wasm().prepare(&small, world.probe("probe")).err().unwrap();
    assert!(error.message.contains("memory"), "{error}");
}

#[test]
fn a_compiled_module_is_kept_and_works() {
    let folder = tempfile::tempdir().unwrap();
    for _start in 0..2 {
        let wasm = cohnect_guest_wasm::Wasm::new(ticker(), Some(folder.path())).unwrap();
        let prepared = wasm
            .prepare(&source("probe", probe_code()), World::new().probe("probe"))
            .unwrap();
        assert_eq!(OnShard::of(&*prepared).text("echo", "x"), "x");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_panic_in_describe_says_why_in_the_refusal() {
    let world = World::new();
    world.set_config("panics", Scalar::Text("two tables are missing".into()));
    let source = source("probe", probe_code());
    let error = wasm().prepare(&source, world.probe("probe")).err().unwrap();
    let text = error.message;
    assert!(
        text.contains("`describe` failed") && text.contains("two tables are missing"),
        "{text}"
    );
    assert!(text.contains("wasm backtrace"), "{text}");
}
