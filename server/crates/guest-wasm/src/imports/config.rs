//! `config`: the module's own section, and the secrets it was granted.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::config as wit;
use crate::contract::types::Scalar;
use crate::store::Host;

impl wit::Host for Host {
    fn get(&mut self, key: String) -> Call<Option<Scalar>> {
        self.plain(F::ConfigGet, |c| c.config_get(&key).map(Into::into))
    }

    fn secret(&mut self, name: String) -> Call<Option<String>> {
        self.plain(F::ConfigSecret, |c| c.config_secret(&name))
    }
}
