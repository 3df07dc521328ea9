//! Components as the host meets them: loaded, called, refused and ended. The modules are those of `tests/modules`, built here.
#![allow(
    clippy::unwrap_used,
    reason = "the functions that the tests share fail like the tests themselves"
)]

mod calls;
mod echo;
mod endings;
mod fixture;
mod imports;
mod loading;
mod speed;
mod waiting;
mod wasi;
