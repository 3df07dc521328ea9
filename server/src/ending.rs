//! The end of the process. A thread of its own hears the system's signals and tells the control thread, which drains; whatever the other threads are busy
//! with by then, the process ends: at a second signal at once, and else when the time of a whole drain is over. It drains nothing itself.

use core::time::Duration;
use std::sync::{Arc, mpsc};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};

use crate::telemetry;

/// How long the end may take from its beginning. A drain has 4 s; the rest is for threads in the middle of something, such as a statement of a database.
/// Whoever runs containers kills them 10 s after the signal, without a word.
const PATIENCE: Duration = Duration::from_secs(8);

/// Signals this soon after the first are its echo: a supervisor, or `timeout`, may send one to the process and one to its group, and a terminal's Ctrl-C
/// reaches both. No person presses a key again so quickly.
const ECHO: Duration = Duration::from_millis(200);

/// Hears the signals. Dropped, it hears them no more.
pub(crate) struct Ending {
    told: watch::Receiver<bool>,
    begun: Arc<Notify>,
    /// Its end says that the process ends by itself.
    _over: oneshot::Sender<()>,
}

impl Ending {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system gives no thread, or no signals.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let (tell, told) = watch::channel(false);
        let (over, is_over) = oneshot::channel();
        let begun = Arc::new(Notify::new());
        let also_begun = Arc::clone(&begun);
        let (started, start) = mpsc::sync_channel(1);
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(e) => {
                    started.send(Err(anyhow::Error::from(e))).ok();
                    return;
                }
            };
            runtime.block_on(async {
                let mut signals = match Signals::new() {
                    Ok(signals) => signals,
                    Err(e) => {
                        started.send(Err(e)).ok();
                        return;
                    }
                };
                started.send(Ok(())).ok();
                let hear = async || signals.come().await;
                tokio::select! {
                    _ = is_over => {}
                    why = wait(hear, &tell, &also_begun) => {
                        telemetry::last_words(why);
                        std::process::exit(1);
                    }
                }
            });
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(body)
            .context("the system gives no thread to hear signals")?;
        start
            .recv()
            .context("the thread that hears signals is gone")??;
        Ok(Self {
            told,
            begun,
            _over: over,
        })
    }

    /// Waits until a signal has told the server to end.
    pub(crate) async fn told(&self) {
        let mut told = self.told.clone();
        if told.wait_for(|told| *told).await.is_err() {
            // The thread that hears them is gone, which is for the system to explain; nobody will tell anything.
            core::future::pending().await
        }
    }

    /// The end begins, whether or not a signal told so: from now on it has its time, and the next signal ends it.
    pub(crate) fn begin(&self) {
        self.begun.notify_one();
    }
}

/// Tells of the first signal, and returns with the reason when the process must not wait any longer.
async fn wait(
    mut signal: impl AsyncFnMut(),
    tell: &watch::Sender<bool>,
    begun: &Notify,
) -> &'static str {
    tokio::select! {
        () = signal() => {}
        () = begun.notified() => {}
    }
    tell.send_replace(true);
    let began = tokio::time::Instant::now();
    let echo = async {
        loop {
            signal().await;
        }
    };
    // It never ends by itself.
    drop(tokio::time::timeout_at(began + ECHO, echo).await);
    tokio::select! {
        () = signal() => "ended at once: a second signal came; modules and clients may not have been told",
        () = tokio::time::sleep_until(began + PATIENCE) => {
            "ended by force: not everything came to its end in 8 s; what is stored is not lost"
        }
    }
}

/// Ctrl-C or SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be heard");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::time::Instant;

    use super::*;

    /// What ended it, and how long after the beginning of the test, while `act` sends signals or begins the end.
    async fn ended(
        act: impl AsyncFnOnce(UnboundedSender<()>, &Notify),
    ) -> (&'static str, Duration) {
        let (signals, mut heard) = unbounded_channel::<()>();
        let (tell, told) = watch::channel(false);
        let begun = Notify::new();
        let began = Instant::now();
        let hear = async || {
            if heard.recv().await.is_none() {
                core::future::pending().await
            }
        };
        let (why, ()) = tokio::join!(wait(hear, &tell, &begun), act(signals, &begun));
        assert!(*told.borrow(), "the control thread knows");
        (why, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_threads_do_the_process_ends_when_its_time_is_over() {
        let hour = Duration::from_secs(3_600);
        let (why, after) = ended(async |signals, _| {
            tokio::time::sleep(hour).await;
            signals.send(()).unwrap();
        })
        .await;
        assert!(why.starts_with("ended by force"), "{why}");
        assert_eq!(after, hour + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_it_at_once() {
        let (why, after) = ended(async |signals, _| {
            signals.send(()).unwrap();
            tokio::time::sleep(ECHO * 2).await;
            signals.send(()).unwrap();
        })
        .await;
        assert!(why.starts_with("ended at once"), "{why}");
        assert_eq!(after, ECHO * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_echo_of_a_signal_is_no_second_one() {
        let (why, after) = ended(async |signals, _| {
            for _ in 0..3 {
                signals.send(()).unwrap();
            }
        })
        .await;
        assert!(why.starts_with("ended by force"), "{why}");
        assert_eq!(after, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_a_fault_began_has_its_time_too() {
        let (why, after) = ended(async |_signals, begun| begun.notify_one()).await;
        assert!(why.starts_with("ended by force"), "{why}");
        assert_eq!(after, PATIENCE);
    }
}
