//! Components as a language of the host: which files are its own, and from their bytes to prepared code.

use std::path::Path;
use std::sync::Arc;

use cohnect_host::context::Context;
use cohnect_host::deadline::Ticker;
use cohnect_host::limits::WASM_MEMORY_MIB;
use cohnect_host::replica::{self, Language, LoadError, Source};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::artefact::{ArtefactError, Artefacts};
use crate::prepared::Prepared;

/// The beginning of a component, and of a core module.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The largest component: an interpreter with its library takes 20 MB.
const CODE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why components cannot be run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// The engine.
    #[error("the engine for components: {0}")]
    Engine(String),
    /// The folder for machine code.
    #[error(transparent)]
    Artefacts(#[from] ArtefactError),
}

/// WebAssembly components.
#[derive(Clone)]
pub struct Wasm {
    engine: Engine,
    ticker: Ticker,
    artefacts: Option<Artefacts>,
}

impl core::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Wasm")
            .field("artefacts", &self.artefacts)
            .finish_non_exhaustive()
    }
}

impl Wasm {
    /// Makes the engine. Its calls are judged at each tick of `ticker`; compiled code is kept in `artefacts`, a folder of this user alone, if one is named.
    ///
    /// # Errors
    /// What the machine lacks, or what is wrong with the folder.
    pub fn new(ticker: &Ticker, artefacts: Option<&Path>) -> Result<Self, WasmError> {
        let engine =
            crate::engine::engine().map_err(|error| WasmError::Engine(format!("{error:#}")))?;
        let artefacts = artefacts.map(Artefacts::open).transpose()?;
        let weak = engine.weak();
        ticker.at_each_tick(move || {
            if let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
            }
        });
        Ok(Self {
            engine,
            ticker: ticker.clone(),
            artefacts,
        })
    }

    fn compile(&self, source: &Source) -> Result<Component, LoadError> {
        check_form(&source.code)
            .and_then(|()| {
                match &self.artefacts {
                    Some(artefacts) => artefacts.component(&self.engine, &source.code),
                    None => Component::new(&self.engine, &source.code),
                }
                .map_err(|error| format!("it is no valid component: {error:#}"))
            })
            .map_err(|what| LoadError::new(format!("{}: {what}", source.entry.display())))
    }
}

impl Language for Wasm {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["wasm"]
    }

    fn memory_mib(&self) -> u32 {
        WASM_MEMORY_MIB
    }

    fn belongs(&self, file: &Path) -> bool {
        file.extension().is_some_and(|ending| ending == "wasm")
    }

    fn maker(&self, folder: &Path) -> Option<String> {
        let is_crate = folder.join("Cargo.toml").is_file();
        is_crate.then(|| format!("`cohnect build {}` makes it", folder.display()))
    }

    fn prepare(
        &self,
        source: &Source,
        probe: Context,
    ) -> Result<Arc<dyn replica::Prepared>, LoadError> {
        let component = self.compile(source)?;
        Ok(Arc::new(Prepared::new(
            source,
            self.ticker.clone(),
            &self.engine,
            &component,
            probe,
        )?))
    }
}

/// Tells what is no component at all by its first bytes, in words that say what to do.
fn check_form(code: &[u8]) -> Result<(), String> {
    if code.len() > CODE_BYTES_MAX {
        return Err(format!(
            "it has {} bytes, a component has at most {CODE_BYTES_MAX}",
            code.len()
        ));
    }
    if code.starts_with(COMPONENT) {
        Ok(())
    } else if code.starts_with(CORE_MODULE) {
        Err("it is a core module and no component; `cohnect build` makes one of it".into())
    } else {
        Err("it is no WebAssembly component".into())
    }
}

#[cfg(test)]
mod tests {
    use super::check_form;

    #[test]
    fn what_is_no_component_is_told_apart() {
        assert_eq!(check_form(b"\0asm\x0d\0\x01\0rest"), Ok(()));
        let core = check_form(b"\0asm\x01\0\0\0").unwrap_err();
        assert!(core.contains("cohnect build"), "{core}");
        for other in [&b""[..], b"\0asm", b"local state = 1", b"\0asm\x0d\0\x02\0"] {
            assert!(check_form(other).is_err());
        }
    }
}
