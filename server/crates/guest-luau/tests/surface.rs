//! Scripts as the host meets them: prepared, made into replicas, called. The world behind the contract is the host's fake.

mod surface {
    mod actions;
    pub(crate) mod bench;
    mod endings;
    mod interfaces;
    mod loading;
}
