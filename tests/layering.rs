//! Who may know whom, and which file belongs to which: what `ARCHITECTURE.md` says, compared with what cargo and the folders say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cohnect_tests::top;

/// The `edges` block of ARCHITECTURE.md: crate → what it may depend on; `*` at the end of a name stands for any, `everything` for all.
fn edges() -> Vec<(String, Vec<String>)> {
    let text =
        std::fs::read_to_string(top().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let block = text
        .split("```edges\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("it has an `edges` block");
    let mut edges = Vec::new();
    for line in block.lines() {
        let (from, to) = line
            .split_once(" -> ")
            .unwrap_or_else(|| panic!("not an edge: {line}"));
        let to: Vec<_> = to.split(", ").map(str::to_owned).collect();
        edges.extend(from.split(", ").map(|from| (from.to_owned(), to.clone())));
    }
    edges
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

/// A crate's name in ARCHITECTURE.md: its folder, without the way to it.
fn room(manifest: &Path) -> String {
    let folder = manifest.parent().expect("a manifest lies in a folder");
    let path = folder
        .strip_prefix(top())
        .expect("it lies in the repository")
        .to_string_lossy()
        .into_owned();
    path.strip_prefix("server/crates/")
        .map_or_else(|| path.clone(), str::to_owned)
}

#[test]
fn the_edges_are_those_of_the_architecture() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(top().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo knows the workspace");
    let rooms: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|p| (p.name.to_string(), room(p.manifest_path.as_std_path())))
        .collect();
    let edges = edges();
    for package in &metadata.packages {
        let from = &rooms[package.name.as_str()];
        let (_, allowed) = edges
            .iter()
            .find(|(pattern, _)| fits(pattern, from))
            .unwrap_or_else(|| panic!("`{from}` has no edge in ARCHITECTURE.md"));
        let found: BTreeSet<_> = package
            .dependencies
            .iter()
            .filter(|d| d.kind != cargo_metadata::DependencyKind::Development)
            .filter_map(|d| rooms.get(&d.name))
            .collect();
        for to in found {
            assert!(
                allowed
                    .iter()
                    .any(|pattern| pattern == "everything" || fits(pattern, to)),
                "`{from}` depends on `{to}`, which ARCHITECTURE.md does not allow (it allows: {})",
                allowed.join(", ")
            );
        }
    }
    for (pattern, _) in &edges {
        assert!(
            rooms.values().any(|room| fits(pattern, room)),
            "ARCHITECTURE.md has an edge for `{pattern}`, which is no crate"
        );
    }
}

#[test]
fn an_import_has_its_file_in_every_layer() {
    let wit = top().join("wit");
    let worlds = std::fs::read_to_string(wit.join("worlds.wit")).expect("the worlds are there");
    let imports: BTreeSet<_> = worlds
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
        .filter(|name| !name.contains(' '))
        .collect();
    assert!(imports.len() >= 14, "{imports:?}");
    for import in imports {
        let snake = import.replace('-', "_");
        for file in [
            format!("wit/{import}.wit"),
            format!("server/crates/capabilities/src/{snake}.rs"),
            format!("server/crates/host/src/context/{snake}.rs"),
            format!("server/crates/guest-wasm/src/imports/{snake}.rs"),
            format!("server/crates/guest-luau/src/{snake}.rs"),
        ] {
            assert!(
                top().join(&file).is_file(),
                "`{import}` is imported by modules, but there is no {file}"
            );
        }
    }
}

/// Files of ours with this ending, but for what is built or generated elsewhere.
fn files(folder: &Path, ending: &str, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

#[test]
fn no_file_is_longer_than_people_read() {
    let mut found = Vec::new();
    for ending in ["rs", "luau"] {
        files(&top(), ending, &mut found);
    }
    assert!(found.len() > 50);
    for path in found {
        let lines = std::fs::read_to_string(&path)
            .expect("it can be read")
            .lines()
            .count();
        assert!(
            lines <= 700,
            "{} has {lines} lines; 700 is the limit",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_it_owns() {
    let mut found = Vec::new();
    files(&top(), "rs", &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        assert!(
            text.trim_start_matches("#![no_std]")
                .trim_start()
                .starts_with("//!"),
            "{} opens without a `//!` sentence",
            path.display()
        );
    }
}

#[test]
fn a_crate_without_unsafe_code_forbids_it() {
    let mut roots = Vec::new();
    files(&top(), "rs", &mut roots);
    for path in roots
        .iter()
        .filter(|p| p.ends_with("src/lib.rs") || p.ends_with("src/main.rs"))
    {
        let text = std::fs::read_to_string(path).expect("it can be read");
        let excepted = ["guest-luau", "guest-wasm", "backend-sql", "module-sdk"]
            .iter()
            .any(|name| path.to_string_lossy().contains(name));
        assert!(
            text.contains("#![forbid(unsafe_code)]") || excepted,
            "{} neither forbids unsafe code nor is one of the exceptions of ARCHITECTURE.md",
            path.display()
        );
    }
}
