//! Every input that once broke a target, and every seed, run again; and each target on bytes without a plan.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

#[test]
fn seeds_and_what_once_broke_a_target_are_survived() {
    for (target, run) in TARGETS {
        let mut inputs = Vec::new();
        for kept in ["seeds", "regressions"] {
            // A target that nothing has ever broken has no regressions.
            let files = std::fs::read_dir(folder(kept).join(target));
            let files = files.into_iter().flatten();
            inputs.extend(files.map(|file| file.unwrap().path()));
        }
        assert!(!inputs.is_empty(), "{target} has no seed");
        for input in inputs {
            println!("{}", input.display());
            run(&std::fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_target_can_be_run() {
    for (name, _) in TARGETS {
        let file = folder("fuzz_targets").join(format!("{name}.rs"));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains(&format!("fuzzing::{name}")), "{name}");
        let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_keep_every_promise(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for (_, run) in TARGETS {
            run(&bytes);
        }
    }
}
