//! Scripts as the host meets them: prepared, made into replicas, called. The world behind the contract is the host's fake.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "anything but the expected fails the test"
)]

mod surface {
    mod actions;
    mod arena;
    mod background;
    pub(crate) mod bench;
    mod codecs;
    mod endings;
    mod events;
    mod guards;
    mod interfaces;
    mod keep;
    mod loading;
    mod waiting;
}
