//! `signals`: wake-ups of the calling instance's background step.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::signals as wit;
use crate::contract::types::{Error, Payload};
use crate::store::Host;

impl wit::Host for Host {
    fn raise(&mut self, name: String, body: Payload) -> Call<Result<(), Error>> {
        self.answer(F::SignalsRaise, |c| c.signals_raise(&name, body))
    }
}
