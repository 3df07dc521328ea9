//! A thread that answers on a socket of its own, and what CPU it uses. What it answers is whoever starts it to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::bare::Batch;
use crate::cpu;

/// The running thread; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Answering {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    tid: i32,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// Starts a thread that runs `answer` until it is told to end.
    pub(crate) fn start(
        name: &str,
        answer: impl FnOnce(Batch, &dyn Fn() -> bool) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (tell, told) = std::sync::mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let batch = Batch::bind().and_then(|batch| Ok((batch.address()?, batch)));
                match batch {
                    Ok((address, batch)) => {
                        tell.send(Ok((address, nix::unistd::gettid().as_raw())))
                            .ok();
                        answer(batch, &|| end.load(Ordering::Relaxed));
                    }
                    Err(error) => {
                        tell.send(Err(error)).ok();
                    }
                }
            })?;
        let (address, tid) = told.recv()??;
        Ok(Self {
            address,
            tid,
            ended,
            thread: Some(thread),
        })
    }

    /// CPU that it has used, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        cpu::of_thread(self.tid)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
