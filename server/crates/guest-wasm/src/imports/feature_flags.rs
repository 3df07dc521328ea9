//! `feature-flags`: values that an operator changes while the server runs.

use cohnect_capabilities::feature_flags::Subject;
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::feature_flags as wit;
use crate::contract::types::{Scalar, all};
use crate::store::Host;

impl wit::Host for Host {
    fn enabled(&mut self, name: String, fallback: bool) -> Call<bool> {
        self.plain(F::FeatureFlagsEnabled, |c| {
            c.feature_flags_enabled(&name, fallback)
        })
    }

    fn enabled_for(&mut self, name: String, who: wit::Subject, fallback: bool) -> Call<bool> {
        self.plain(F::FeatureFlagsEnabledFor, |c| {
            c.feature_flags_enabled_for(&name, &who.into(), fallback)
        })
    }

    fn value(&mut self, name: String, who: wit::Subject) -> Call<Option<Scalar>> {
        self.plain(F::FeatureFlagsValue, |c| {
            c.feature_flags_value(&name, &who.into()).map(Into::into)
        })
    }
}

impl From<wit::Subject> for Subject {
    fn from(value: wit::Subject) -> Self {
        Self {
            client: value.client.map(Into::into),
            user: value.user,
            attributes: all(value.attributes),
        }
    }
}
