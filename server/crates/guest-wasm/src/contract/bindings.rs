//! What wasmtime generates from the contract: one trait for each interface that modules import. The shared types are our own ([`crate::contract::types`]), so that
//! what a module exports uses the same ones; only what really waits is asynchronous, so that everything else can be called on a shard.
#![allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    missing_debug_implementations,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    reason = "generated code; the contract documents it"
)]

wasmtime::component::bindgen!({
    world: "imports",
    path: "../../../wit",
    with: {
        "cohnect:module/types": crate::contract::types,
        "cohnect:module/db.transaction": crate::imports::db::Transaction,
        "cohnect:module/db.cursor": crate::imports::db::Cursor,
    },
    imports: {
        "cohnect:module/db.[drop]transaction": trappable,
        "cohnect:module/db.[drop]cursor": trappable,
        "cohnect:module/db.[method]cursor.columns": trappable,
        "cohnect:module/db": async | trappable,
        "cohnect:module/modules.call": async | trappable,
        default: trappable,
    },
});
