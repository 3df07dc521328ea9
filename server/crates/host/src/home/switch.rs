//! The swap of one replica: `save` on the old → make the new → `restore` → `start` → the seat points to the new → `stop` on the old. If any step fails,
//! the new is dropped with its outbox (but for what its `start` on a worker sent before it waited, which has left) and the old goes on. Several copies are the custodian's to bring into line.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use cohnect_capabilities::Effect;

use super::body::{Body, Code, call_for_setup, make};
use super::slot::{Going, Slot};
use crate::context::{Identity, Phase};
use crate::escaped::Escaped;
use crate::export::{Export, Fault, Returned, Snapshot, StartReason, StopReason};
use crate::now::{Clock, Now};
use crate::order::Install;

/// Where a replica begins that is given this to restore.
const fn begins_from(snapshot: Option<&Snapshot>) -> &'static str {
    match snapshot {
        Some(_) => "the snapshot of its last swap",
        None => "the beginning",
    }
}

impl Slot {
    /// Puts new code into the place of the old one, which goes on if anything fails. Returns the snapshot that went over.
    ///
    /// # Errors
    /// Why nothing has changed, for the log.
    pub(crate) async fn switch(
        &mut self,
        install: &Install,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<Snapshot>, String> {
        let candidates = self.carry(install, clock, effects).await?;
        let mut charter = install.charter.clone();
        charter.timers = Arc::clone(self.schedule.timers_shared());
        charter.signals = Arc::clone(&self.code.charter.signals);
        charter.outlet.clone_from(&self.code.charter.outlet);
        let code = Code {
            prepared: Arc::clone(&install.prepared),
            charter,
            seed: install.seed,
        };
        let mut failure = String::new();
        for carried in candidates {
            let mut left = Vec::new();
            match make(
                &code,
                &self.lane,
                &self.numbers,
                carried.as_ref(),
                install.reason,
                clock,
                &mut left,
            )
            .await
            {
                Err(text) => failure = text,
                Ok((body, identity)) => {
                    let now = clock.now();
                    let old = self.take_over(code, body, identity, carried.clone(), now);
                    self.healthy = Arc::clone(&install.healthy);
                    self.healthy.store(true, Ordering::Relaxed);
                    self.absorb(&mut left, now);
                    effects.append(&mut left);
                    let reason = if install.reason == StartReason::RolledBack {
                        StopReason::RolledBack
                    } else {
                        StopReason::Swapped
                    };
                    if let Some(old) = old {
                        self.stop_body(old, reason, clock, effects).await;
                    }
                    return Ok(carried);
                }
            }
        }
        Err(failure)
    }

    fn take_over(
        &mut self,
        code: Code,
        body: Body,
        identity: Arc<Identity>,
        snapshot: Option<Snapshot>,
        now: Now,
    ) -> Option<Going> {
        self.log_repeated(now, true);
        let (was, steps) = (Arc::clone(&self.identity), self.schedule.steps());
        let old = self.body.replace(body).map(|body| Going {
            body,
            identity: was,
            steps,
        });
        self.ending = None;
        self.code = code;
        self.identity = identity;
        self.snapshot = snapshot;
        self.circuit.reset();
        self.schedule
            .adopt(self.code.prepared.exports(), &self.code.charter.limits, now);
        old
    }

    /// What new code may be given to restore, the best first; never empty.
    async fn carry(
        &mut self,
        install: &Install,
        clock: &dyn Clock,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Option<Snapshot>>, String> {
        if !install.prepared.exports().migration {
            return Ok(vec![None]);
        }
        let back = install.reason == StartReason::RolledBack;
        let kept = install.snapshot.clone();
        let Some(body) = self
            .body
            .as_mut()
            .filter(|_| self.code.prepared.exports().migration)
        else {
            let newest = if back {
                kept
            } else {
                self.snapshot.clone().or(kept)
            };
            return Ok(vec![newest]);
        };
        let mut left = Vec::new();
        let saved = call_for_setup(
            body,
            &Export::Save,
            Phase::Transfer,
            &self.lane,
            clock,
            &mut left,
        )
        .await;
        let now = clock.now();
        let failure = match saved {
            Ok(Returned::Saved(Ok(snapshot))) => {
                self.absorb(&mut left, now);
                effects.append(&mut left);
                if back {
                    return Ok(vec![Some(snapshot), kept]);
                }
                self.snapshot = Some(snapshot.clone());
                return Ok(vec![Some(snapshot)]);
            }
            Ok(Returned::Saved(Err(error))) => error.to_string(),
            Ok(_) => "it returned no snapshot".to_owned(),
            Err(fault) => {
                let text = fault.to_string();
                if let Fault::Ended(..) = fault {
                    self.ended(&Export::Save, Err(fault), now);
                }
                text
            }
        };
        if back || install.is_forced() {
            let newest = if back {
                kept
            } else {
                self.snapshot.clone().or(kept)
            };
            if !back {
                tracing::warn!(
                    module = %self.identity.module,
                    generation = self.identity.generation,
                    "`save` of the running code failed, and the swap is forced: the new code begins from {}, without what has happened since; {}",
                    begins_from(newest.as_ref()),
                    Escaped(&failure)
                );
            }
            return Ok(vec![newest]);
        }
        if self.body.is_none() {
            // Its own code goes on, but not this copy: whoever reads that the swap was refused must not think that nothing was lost.
            return Err(format!(
                "`save` ended the copy that ran, which begins anew from {} with its old code: {failure}",
                begins_from(self.snapshot.as_ref())
            ));
        }
        Err(format!(
            "`save` of the running code failed: {failure}; with `swap_wait_s = 0` in its manifest new code begins without what it held"
        ))
    }
}
