//! `cargo run -p cohnect-generator`: writes the output over what is committed.

use anyhow::Result;

fn main() -> Result<()> {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for output in cohnect_generator::outputs(&top)? {
        std::fs::write(top.join(output.path), output.text)?;
    }
    Ok(())
}
