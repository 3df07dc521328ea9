//! A component of a toolchain that drags `wasi:*` in: it loads, prints to the log, and has no door to the outside.

use std::process::Command;
use std::sync::OnceLock;

use cohnect_capabilities::Payload;

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

#[test]
fn a_door_to_the_outside_is_a_trap_that_names_itself() {
    let text = r#"(component
        (import "wasi:sockets/instance-network@0.2.3" (instance $net (export "network-of" (func))))
        (core func $open (canon lower (func $net "network-of")))
        (core module $m
            (import "net" "open" (func $open))
            (func (export "describe") (result i32) (unreachable))
            (func (export "step") (call $open)))
        (core instance $i (instantiate $m (with "net" (instance (export "open" (func $open))))))
        (func $step (canon lift (core func $i "step")))
        (instance $handler (export "on-timer" (func $step)))
        (export "cohnect:module/timer-handler@0.1.0" (instance $handler)))"#;
    // The function has not the contract's type, so the component is refused; that its import could be linked is what this shows.
    let code = wat::parse_str(text).unwrap();
    let message = load(&Payload::from(code)).err().unwrap().message;
    assert!(message.contains("timer-handler.on-timer"), "{message}");
}
