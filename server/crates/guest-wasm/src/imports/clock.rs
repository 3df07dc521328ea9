//! `clock`: what time it is for a call, and calendars.

use cohnect_capabilities::clock::CivilTime;
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::clock as wit;
use crate::contract::types::{DurationUs, Error, TimestampUs};
use crate::store::Host;

impl wit::Host for Host {
    fn now(&mut self) -> Call<TimestampUs> {
        self.plain(F::ClockNow, |c| c.clock_now())
    }

    fn monotonic(&mut self) -> Call<DurationUs> {
        self.plain(F::ClockMonotonic, |c| c.clock_monotonic())
    }

    fn remaining(&mut self) -> Call<DurationUs> {
        self.plain(F::ClockRemaining, |c| c.clock_remaining())
    }

    fn civil(&mut self, at: TimestampUs, zone: String) -> Call<Result<wit::CivilTime, Error>> {
        self.answer(F::ClockCivil, |c| c.clock_civil(at, &zone).map(Into::into))
    }

    fn next_due(
        &mut self,
        schedule: String,
        zone: String,
        after: TimestampUs,
    ) -> Call<Result<TimestampUs, Error>> {
        self.answer(F::ClockNextDue, |c| {
            c.clock_next_due(&schedule, &zone, after)
        })
    }
}

impl From<CivilTime> for wit::CivilTime {
    fn from(value: CivilTime) -> Self {
        Self {
            year: value.year,
            month: value.month,
            day: value.day,
            hour: value.hour,
            minute: value.minute,
            second: value.second,
            weekday: value.weekday,
            offset_seconds: value.offset_seconds,
        }
    }
}
