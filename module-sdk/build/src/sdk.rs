//! The files that a new module gets, as they are in this repository: templates, the SDK for Rust and the contract. A test sees to it that none is missing.

/// A path below the folder that the file goes to, and its text.
pub(crate) type File = (&'static str, &'static str);

/// The smallest module in Luau.
pub(crate) const LUAU_TEMPLATE: &[File] = &[(
    "my-module.luau",
    include_str!("../../templates/luau/my-module.luau"),
)];

/// What the language server for Luau is told: where the types are, and to be strict.
pub(crate) const LUAURC: &str = r#"{ "languageMode": "strict", "aliases": { "cohnect": "./.luau-types" } }
"#;

/// The types of what a script may require, for [`LUAURC`].
pub(crate) const LUAU_TYPES: &[File] = &[
    ("action.luau", include_str!("../../luau/action.luau")),
    (
        "background.luau",
        include_str!("../../luau/background.luau"),
    ),
    ("broadcast.luau", include_str!("../../luau/broadcast.luau")),
    ("check.luau", include_str!("../../luau/check.luau")),
    (
        "client_events.luau",
        include_str!("../../luau/client_events.luau"),
    ),
    ("clients.luau", include_str!("../../luau/clients.luau")),
    ("clock.luau", include_str!("../../luau/clock.luau")),
    ("config.luau", include_str!("../../luau/config.luau")),
    ("db.luau", include_str!("../../luau/db.luau")),
    ("define.luau", include_str!("../../luau/define.luau")),
    ("errors.luau", include_str!("../../luau/errors.luau")),
    (
        "feature_flags.luau",
        include_str!("../../luau/feature_flags.luau"),
    ),
    ("json.luau", include_str!("../../luau/json.luau")),
    ("lifecycle.luau", include_str!("../../luau/lifecycle.luau")),
    ("logging.luau", include_str!("../../luau/logging.luau")),
    ("mailbox.luau", include_str!("../../luau/mailbox.luau")),
    ("migration.luau", include_str!("../../luau/migration.luau")),
    ("modules.luau", include_str!("../../luau/modules.luau")),
    ("msgpack.luau", include_str!("../../luau/msgpack.luau")),
    ("packets.luau", include_str!("../../luau/packets.luau")),
    ("pipeline.luau", include_str!("../../luau/pipeline.luau")),
    ("random.luau", include_str!("../../luau/random.luau")),
    (
        "reply_handler.luau",
        include_str!("../../luau/reply_handler.luau"),
    ),
    (
        "server_events.luau",
        include_str!("../../luau/server_events.luau"),
    ),
    ("signals.luau", include_str!("../../luau/signals.luau")),
    ("state.luau", include_str!("../../luau/state.luau")),
    (
        "stream_handler.luau",
        include_str!("../../luau/stream_handler.luau"),
    ),
    ("streams.luau", include_str!("../../luau/streams.luau")),
    ("tags.luau", include_str!("../../luau/tags.luau")),
    ("ticker.luau", include_str!("../../luau/ticker.luau")),
    (
        "timer_handler.luau",
        include_str!("../../luau/timer_handler.luau"),
    ),
    ("timers.luau", include_str!("../../luau/timers.luau")),
    ("types.luau", include_str!("../../luau/types.luau")),
];

/// The smallest module in Rust.
pub(crate) const RUST_TEMPLATE: &[File] = &[
    (
        "Cargo.toml",
        include_str!("../../templates/rust/Cargo.toml"),
    ),
    (
        "module.toml",
        include_str!("../../templates/rust/module.toml"),
    ),
    (".gitignore", include_str!("../../templates/rust/gitignore")),
    (
        "src/lib.rs",
        include_str!("../../templates/rust/src/lib.rs"),
    ),
];

/// The SDK for Rust, with the contract.
pub(crate) const RUST_SDK: &[File] = &[
    ("Cargo.toml", include_str!("../../rust/Cargo.toml")),
    (
        "src/bindings.rs",
        include_str!("../../rust/src/bindings.rs"),
    ),
    (
        "src/defaults.rs",
        include_str!("../../rust/src/defaults.rs"),
    ),
    ("src/error.rs", include_str!("../../rust/src/error.rs")),
    ("src/exports.rs", include_str!("../../rust/src/exports.rs")),
    ("src/id.rs", include_str!("../../rust/src/id.rs")),
    ("src/json.rs", include_str!("../../rust/src/json.rs")),
    ("src/lib.rs", include_str!("../../rust/src/lib.rs")),
    ("src/log.rs", include_str!("../../rust/src/log.rs")),
    (
        "src/messagepack.rs",
        include_str!("../../rust/src/messagepack.rs"),
    ),
    ("src/prelude.rs", include_str!("../../rust/src/prelude.rs")),
    ("wit/action.wit", include_str!("../../rust/wit/action.wit")),
    (
        "wit/background.wit",
        include_str!("../../rust/wit/background.wit"),
    ),
    (
        "wit/broadcast.wit",
        include_str!("../../rust/wit/broadcast.wit"),
    ),
    (
        "wit/client-events.wit",
        include_str!("../../rust/wit/client-events.wit"),
    ),
    (
        "wit/clients.wit",
        include_str!("../../rust/wit/clients.wit"),
    ),
    ("wit/clock.wit", include_str!("../../rust/wit/clock.wit")),
    ("wit/config.wit", include_str!("../../rust/wit/config.wit")),
    ("wit/db.wit", include_str!("../../rust/wit/db.wit")),
    (
        "wit/feature-flags.wit",
        include_str!("../../rust/wit/feature-flags.wit"),
    ),
    (
        "wit/lifecycle.wit",
        include_str!("../../rust/wit/lifecycle.wit"),
    ),
    (
        "wit/logging.wit",
        include_str!("../../rust/wit/logging.wit"),
    ),
    (
        "wit/mailbox.wit",
        include_str!("../../rust/wit/mailbox.wit"),
    ),
    (
        "wit/migration.wit",
        include_str!("../../rust/wit/migration.wit"),
    ),
    (
        "wit/modules.wit",
        include_str!("../../rust/wit/modules.wit"),
    ),
    (
        "wit/packets.wit",
        include_str!("../../rust/wit/packets.wit"),
    ),
    (
        "wit/pipeline.wit",
        include_str!("../../rust/wit/pipeline.wit"),
    ),
    ("wit/random.wit", include_str!("../../rust/wit/random.wit")),
    (
        "wit/reply-handler.wit",
        include_str!("../../rust/wit/reply-handler.wit"),
    ),
    (
        "wit/server-events.wit",
        include_str!("../../rust/wit/server-events.wit"),
    ),
    (
        "wit/signals.wit",
        include_str!("../../rust/wit/signals.wit"),
    ),
    ("wit/state.wit", include_str!("../../rust/wit/state.wit")),
    (
        "wit/stream-handler.wit",
        include_str!("../../rust/wit/stream-handler.wit"),
    ),
    (
        "wit/streams.wit",
        include_str!("../../rust/wit/streams.wit"),
    ),
    ("wit/tags.wit", include_str!("../../rust/wit/tags.wit")),
    ("wit/ticker.wit", include_str!("../../rust/wit/ticker.wit")),
    (
        "wit/timer-handler.wit",
        include_str!("../../rust/wit/timer-handler.wit"),
    ),
    ("wit/timers.wit", include_str!("../../rust/wit/timers.wit")),
    ("wit/types.wit", include_str!("../../rust/wit/types.wit")),
    ("wit/worlds.wit", include_str!("../../rust/wit/worlds.wit")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::{LUAU_TYPES, RUST_SDK};

    fn top() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
        fs::read_dir(top().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    fn embedded(folder: &str) -> BTreeMap<String, String> {
        RUST_SDK
            .iter()
            .filter_map(|(path, text)| {
                Some((path.strip_prefix(folder)?.to_owned(), (*text).to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_sdk_has_the_contract_of_the_server() {
        assert_eq!(files("module-sdk/rust/wit", "wit"), files("wit", "wit"));
    }

    #[test]
    fn every_type_of_luau_is_embedded() {
        let embedded: BTreeMap<_, _> = LUAU_TYPES
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(embedded, files("module-sdk/luau", "luau"));
    }

    #[test]
    fn every_file_of_the_sdk_is_embedded() {
        assert_eq!(embedded("wit/"), files("module-sdk/rust/wit", "wit"));
        assert_eq!(embedded("src/"), files("module-sdk/rust/src", "rs"));
    }
}
