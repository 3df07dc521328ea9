//! What is committed is what the generator writes.

use std::path::Path;

#[test]
fn the_output_is_committed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for output in cohnect_generator::outputs(&top).expect("the contract can be written") {
        let committed = std::fs::read_to_string(top.join(&output.path)).unwrap_or_default();
        assert!(
            committed == output.text,
            "{} is not what the contract says: run `cargo run -p cohnect-generator`",
            output.path.display()
        );
    }
}
