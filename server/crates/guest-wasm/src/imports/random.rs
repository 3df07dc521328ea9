//! `random`: the replica's own generator.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::random as wit;
use crate::store::Host;

impl wit::Host for Host {
    fn next(&mut self) -> Call<u64> {
        self.plain(F::RandomNext, |c| c.random_next())
    }

    fn number(&mut self) -> Call<f64> {
        self.plain(F::RandomNumber, |c| c.random_number())
    }

    fn integer(&mut self, low: i64, high: i64) -> Call<i64> {
        self.checked(F::RandomInteger, |c| c.random_integer(low, high))
    }

    fn bytes(&mut self, len: u32) -> Call<Vec<u8>> {
        self.checked(F::RandomBytes, |c| c.random_bytes(len))
    }
}
