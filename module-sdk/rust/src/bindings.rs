//! What wit-bindgen generates from the contract: the functions that modules may call, and one set of bindings for each interface that they may export, so
//! that a component exports what its author names and nothing else. Everything `unsafe` of this crate is in here, and generated.
#![allow(
    missing_docs,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    reason = "generated code; the contract documents it"
)]

wit_bindgen::generate!({
    world: "imports",
    path: "wit",
    additional_derives: [PartialEq],
});

/// Bindings of `action`.
pub mod action {
    wit_bindgen::generate!({
        world: "with-actions",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_action",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `pipeline`.
pub mod pipeline {
    wit_bindgen::generate!({
        world: "with-pipeline",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_pipeline",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `broadcast`.
pub mod broadcast {
    wit_bindgen::generate!({
        world: "with-broadcast",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_broadcast",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `background`.
pub mod background {
    wit_bindgen::generate!({
        world: "with-background",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_background",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
            "cohnect:module/signals@0.1.0": crate::bindings::cohnect::module::signals,
        },
    });
}

/// Bindings of `lifecycle`.
pub mod lifecycle {
    wit_bindgen::generate!({
        world: "with-lifecycle",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_lifecycle",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `migration`.
pub mod migration {
    wit_bindgen::generate!({
        world: "with-migration",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_migration",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `ticker`.
pub mod ticker {
    wit_bindgen::generate!({
        world: "with-ticker",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_ticker",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
            "cohnect:module/timers@0.1.0": crate::bindings::cohnect::module::timers,
        },
    });
}

/// Bindings of `timer-handler`.
pub mod timer_handler {
    wit_bindgen::generate!({
        world: "with-timers",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_timer_handler",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
            "cohnect:module/timers@0.1.0": crate::bindings::cohnect::module::timers,
        },
    });
}

/// Bindings of `client-events`.
pub mod client_events {
    wit_bindgen::generate!({
        world: "with-client-events",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_client_events",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `server-events`.
pub mod server_events {
    wit_bindgen::generate!({
        world: "with-server-events",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_server_events",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
        },
    });
}

/// Bindings of `stream-handler`.
pub mod stream_handler {
    wit_bindgen::generate!({
        world: "with-streams",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_stream_handler",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
            "cohnect:module/streams@0.1.0": crate::bindings::cohnect::module::streams,
        },
    });
}

/// Bindings of `reply-handler`.
pub mod reply_handler {
    wit_bindgen::generate!({
        world: "with-replies",
        path: "wit",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "__export_reply_handler",
        with: {
            "cohnect:module/types@0.1.0": crate::bindings::cohnect::module::types,
            "cohnect:module/mailbox@0.1.0": crate::bindings::cohnect::module::mailbox,
        },
    });
}
