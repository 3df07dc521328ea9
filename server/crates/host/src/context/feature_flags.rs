//! `feature-flags`: values that an operator changes while the server runs.

use cohnect_capabilities::Scalar;
use cohnect_capabilities::feature_flags::Subject;

use super::Entered;

impl Entered<'_> {
    /// `feature-flags.enabled`
    #[must_use]
    pub fn feature_flags_enabled(&self, name: &str, fallback: bool) -> bool {
        self.feature_flags_enabled_for(name, &Subject::default(), fallback)
    }

    /// `feature-flags.enabled-for`
    #[must_use]
    pub fn feature_flags_enabled_for(&self, name: &str, who: &Subject, fallback: bool) -> bool {
        self.capabilities()
            .feature_flags
            .enabled(name, who, fallback)
    }

    /// `feature-flags.value`
    #[must_use]
    pub fn feature_flags_value(&self, name: &str, who: &Subject) -> Option<Scalar> {
        self.capabilities().feature_flags.value(name, who)
    }
}
