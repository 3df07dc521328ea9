//! The files that a new module gets, as they are in this repository: templates, the SDK for Rust and the contract. A test sees to it that none is missing.

/// A path below the folder that the file goes to, and its text.
pub(crate) type File = (&'static str, &'static str);

/// The smallest module in Luau.
pub(crate) const LUAU_TEMPLATE: &[File] = &[(
    "my-module.luau",
    include_str!("../../templates/luau/my-module.luau"),
)];

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

    use super::RUST_SDK;

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
    fn every_file_of_the_sdk_is_embedded() {
        assert_eq!(embedded("wit/"), files("module-sdk/rust/wit", "wit"));
        assert_eq!(embedded("src/"), files("module-sdk/rust/src", "rs"));
    }
}
