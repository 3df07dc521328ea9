//! What a newcomer does first: a new module, built as it is.

use cohnect_build::{Language, build_with, new_module};

#[test]
fn a_new_rust_module_builds() {
    let into = tempfile::tempdir().unwrap();
    let folder = new_module("first-steps", Language::Rust, into.path()).unwrap();
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let component = build_with(&folder, &target).unwrap();
    assert_eq!(component.file_name().unwrap(), "first-steps.wasm");
    let bytes = std::fs::read(component).unwrap();
    assert!(bytes.starts_with(b"\0asm\x0d\0\x01\0"), "it is a component");
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert!(files.is_empty(), "{files:?}");

    // From a folder elsewhere, as `cohnect build modules/NAME` is said: nothing appears in the crate that was not asked for.
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let from_here = |path: &std::path::Path| up.join(path.strip_prefix("/").unwrap());
    build_with(&from_here(&folder), &from_here(&target)).unwrap();
    let mut folders: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name())
        .collect();
    folders.sort();
    assert_eq!(folders, ["sdk", "src"]);
}
