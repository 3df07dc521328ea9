//! `modules`: calls to other modules that wait for their answer, and what is loaded.

use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::modules::ModuleInfo;
use cohnect_capabilities::{BoxFuture, Error, Result};

use super::db::bounded;
use super::{Entered, Origin};
use crate::limits::{CALL_DEPTH_MAX, MAIL_BYTES_MAX};

impl Entered<'_> {
    /// `modules.call`
    ///
    /// # Errors
    /// `Recursive` when the callee is on this chain of calls, `LimitExceeded` for an input that is too large or a chain that is too deep; in the
    /// future, the callee's own refusal, `NotFound`, `Busy`, `Trapped`, or `Timeout`.
    pub fn modules_call(
        &mut self,
        module: &str,
        action: &str,
        input: Bytes,
    ) -> Result<BoxFuture<'static, Result<Bytes>>> {
        if input.len() > MAIL_BYTES_MAX {
            return Err(Error::limit(
                "mail-bytes",
                MAIL_BYTES_MAX as u64,
                input.len() as u64,
            ));
        }
        let identity = &self.context.charter.identity;
        let mut chain = self.context.arming.chain.clone();
        chain.push(Arc::clone(&identity.address));
        if chain.iter().any(|link| **link == *module) {
            return Err(Error::Recursive);
        }
        if chain.len() > usize::from(CALL_DEPTH_MAX) {
            return Err(Error::limit(
                "call-depth",
                u64::from(CALL_DEPTH_MAX),
                chain.len() as u64,
            ));
        }
        let (caller, replica) = (Arc::clone(&identity.address), identity.replica);
        let remaining = self.wait()?;
        let origin = Origin {
            caller,
            replica,
            chain,
            remaining,
        };
        Ok(bounded(
            remaining,
            self.capabilities()
                .calls
                .call(&origin, module, action, input),
        ))
    }

    /// `modules.loaded`
    #[must_use]
    pub fn modules_loaded(&self) -> Vec<ModuleInfo> {
        self.capabilities().modules.loaded()
    }
}
