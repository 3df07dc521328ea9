//! A component of a toolchain that drags `wasi:*` in: it loads, prints to the log, and has no door to the outside.

use std::process::Command;
use std::sync::OnceLock;

use cohnect_capabilities::Payload;
use cohnect_host::export::{Ending, Export, Fault};

use crate::fixture::{OnShard, guest_target, load, probe_folder};

/// The probe as Rust's own target for components makes it.
fn code() -> Payload {
    static CODE: OnceLock<Payload> = OnceLock::new();
    CODE.get_or_init(|| {
        let built = Command::new("cargo")
            .args([
                "build",
                "--release",
                "--target",
                "wasm32-wasip2",
                "--manifest-path",
            ])
            .arg(probe_folder().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(guest_target())
            .env_remove("RUSTFLAGS")
            .status()
            .unwrap();
        assert!(built.success());
        std::fs::read(guest_target().join("wasm32-wasip2/release/probe.wasm"))
            .unwrap()
            .into()
    })
    .clone()
}

#[test]
fn it_runs_on_a_shard_and_prints_to_the_log() {
    let prepared = load(&code()).unwrap();
    let mut probe = OnShard::of(&*prepared);
    assert_eq!(probe.text("echo", "hello"), "hello");
    probe.text("print", "");
    let lines = probe.world.log_lines();
    assert!(
        lines.iter().any(|line| line == "probe: printed")
            && lines.iter().any(|line| line == "probe: half a line"),
        "{lines:?}"
    );
    assert!(probe.action("send-and-panic", "").is_err());
}

/// A component that calls a function of `wasi:*` when its timer comes.
fn caller(interface: &str, function: &str) -> Payload {
    let text = format!(
        r#"(component
        (import "wasi:{interface}" (instance $other (export "{function}" (func))))
        (core func $open (canon lower (func $other "{function}")))
        (core module $m
            (import "other" "open" (func $open))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
            (func (export "step") (param i32 i32 i32 i32 i64) (call $open)))
        (core instance $i (instantiate $m (with "other" (instance (export "open" (func $open))))))
        (func $step (param "name" string) (param "data" (list u8)) (param "due-at" u64)
            (canon lift (core func $i "step") (memory $i "memory") (realloc (func $i "realloc"))))
        (instance $handler (export "on-timer" (func $step)))
        (export "cohnect:module/timer-handler@0.1.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap().into()
}

#[test]
fn a_door_to_the_outside_is_a_trap_that_names_itself() {
    for (interface, function) in [
        ("sockets/instance-network@0.2.3", "network-of"),
        ("clocks/monotonic-clock@0.2.6", "sleep"),
        ("http/outgoing-handler@0.2.0", "handle"),
    ] {
        let named = format!("wasi:{interface}#{function}");
        let prepared = load(&caller(interface, function)).unwrap();
        assert!(prepared.imports().is_empty());
        let timer = Export::Timer {
            name: "t".into(),
            data: Payload::from_static(b"x"),
            due_at: 1,
        };
        match OnShard::of(&*prepared).call(&timer) {
            Err(Fault::Ended(Ending::Trap, text)) => assert!(text.contains(&named), "{text}"),
            other => panic!("it is a trap: {other:?}"),
        }
    }
}
