//! `modules`: calls to other modules that wait for their answer, and what is loaded.

use cohnect_capabilities::modules::{ModuleInfo, ModuleKinds};
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::modules as wit;
use crate::contract::types::{Error, Payload, all};
use crate::store::Host;

impl wit::Host for Host {
    async fn call(
        &mut self,
        module: String,
        action: String,
        input: Payload,
    ) -> Call<Result<Payload, Error>> {
        let begun = self.answer(F::ModulesCall, |c| c.modules_call(&module, &action, input))?;
        match begun {
            Ok(answer) => Ok(self.wait(F::ModulesCall, answer).await),
            Err(error) => Ok(Err(error)),
        }
    }

    fn loaded(&mut self) -> Call<Vec<wit::ModuleInfo>> {
        self.plain(F::ModulesLoaded, |c| all(c.modules_loaded()))
    }
}

impl From<ModuleInfo> for wit::ModuleInfo {
    fn from(value: ModuleInfo) -> Self {
        Self {
            name: value.name.to_string(),
            kinds: value.kinds.into(),
            version: value.version,
            generation: value.generation,
            healthy: value.healthy,
        }
    }
}

impl From<ModuleKinds> for wit::ModuleKinds {
    fn from(value: ModuleKinds) -> Self {
        let mut kinds = Self::empty();
        for (kind, present) in [
            (Self::PIPELINE, value.pipeline),
            (Self::ACTION, value.action),
            (Self::BACKGROUND, value.background),
            (Self::CRON, value.cron),
        ] {
            if present {
                kinds |= kind;
            }
        }
        kinds
    }
}
