//! `timers`: wake-ups of the calling instance, by name.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::timers as wit;
use crate::contract::types::{DurationUs, Error, Payload, TimestampUs};
use crate::store::Host;

impl wit::Host for Host {
    fn set(&mut self, name: String, delay: DurationUs, data: Payload) -> Call<Result<(), Error>> {
        self.answer(F::TimersSet, |c| c.timers_set(&name, delay, data))
    }

    fn every(
        &mut self,
        name: String,
        period: DurationUs,
        data: Payload,
    ) -> Call<Result<(), Error>> {
        self.answer(F::TimersEvery, |c| c.timers_every(&name, period, data))
    }

    fn cancel(&mut self, name: String) -> Call<bool> {
        self.plain(F::TimersCancel, |c| c.timers_cancel(&name))
    }

    fn due(&mut self, name: String) -> Call<Result<TimestampUs, Error>> {
        self.answer(F::TimersDue, |c| c.timers_due(&name))
    }

    fn set_tick_rate(&mut self, hz: u32) -> Call<Result<(), Error>> {
        self.answer(F::TimersSetTickRate, |c| c.timers_set_tick_rate(hz))
    }
}
