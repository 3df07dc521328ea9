//! The contract parses, and a component could be made for every world of it.

use wit_parser::Resolve;

#[test]
fn every_world_encodes() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(cohnect_tests::top().join("wit"))
        .expect("the contract parses");
    let worlds: Vec<_> = resolve.packages[package]
        .worlds
        .iter()
        .map(|(name, id)| (name.clone(), *id))
        .collect();
    assert!(worlds.len() >= 19, "worlds are missing: {}", worlds.len());
    for (name, world) in worlds {
        let mut module =
            wit_component::dummy_module(&resolve, world, wit_parser::ManglingAndAbi::Standard32);
        wit_component::embed_component_metadata(
            &mut module,
            &resolve,
            world,
            wit_component::StringEncoding::UTF8,
        )
        .unwrap_or_else(|e| panic!("{name}: {e:#}"));
        wit_component::ComponentEncoder::default()
            .module(&module)
            .and_then(|encoder| encoder.validate(true).encode())
            .unwrap_or_else(|e| panic!("{name}: {e:#}"));
    }
}

#[test]
fn one_interface_a_file_of_its_name() {
    for entry in std::fs::read_dir(cohnect_tests::top().join("wit")).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        if path.extension().is_none_or(|ending| ending != "wit") || name == "worlds" {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let interfaces: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("interface ")?.strip_suffix(" {"))
            .collect();
        assert_eq!(interfaces, [name.as_str()], "{}", path.display());
        assert!(
            text.starts_with("package cohnect:module@0.1.0;"),
            "{}",
            path.display()
        );
    }
}
