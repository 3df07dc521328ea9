//! A bounded queue between the driver and one reader. The driver never waits: when the reader is too slow what is new is dropped and counted,
//! and the reader hears how much was lost before it reads on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a reader takes from a queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// The next in order.
    Next(T),
    /// So many were dropped here.
    Lost(u64),
    /// Nothing will come any more.
    Finished,
}

#[derive(Debug)]
enum Slot<T> {
    Entry(T),
    Lost(u64),
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<Slot<T>>,
    finished: bool,
    abandoned: bool,
    reader: Option<Waker>,
}

/// One end of a queue; both ends are alike, and used by one writer and one reader.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Arc<Mutex<Inner<T>>>,
    capacity: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            capacity: self.capacity,
        }
    }
}

impl<T> Queue<T> {
    /// A queue for `capacity` entries (at least one).
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            finished: false,
            abandoned: false,
            reader: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            capacity: capacity.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing under this lock can leave the queue half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends `entry`, or counts it as lost at this place and gives it back. Who abandoned the queue has lost nothing.
    pub(crate) fn push(&self, entry: T) -> Result<(), T> {
        let mut inner = self.lock();
        if inner.finished || inner.abandoned {
            return Err(entry);
        }
        let pushed = if inner.waiting.len() < self.capacity {
            inner.waiting.push_back(Slot::Entry(entry));
            Ok(())
        } else {
            if let Some(Slot::Lost(lost)) = inner.waiting.back_mut() {
                *lost = lost.saturating_add(1);
            } else {
                inner.waiting.push_back(Slot::Lost(1));
            }
            Err(entry)
        };
        wake(inner);
        pushed
    }

    /// Nothing comes after what is there but `last`, which has its place even in a full queue.
    pub(crate) fn finish(&self, last: Option<T>) {
        let mut inner = self.lock();
        if inner.finished || inner.abandoned {
            return;
        }
        inner.finished = true;
        inner.waiting.extend(last.map(Slot::Entry));
        wake(inner);
    }

    /// The reader is gone: nothing is taken any more. What was there is given back.
    pub(crate) fn abandon(&self) -> impl Iterator<Item = T> + use<T> {
        let mut inner = self.lock();
        inner.abandoned = true;
        inner.reader = None;
        let waiting = core::mem::take(&mut inner.waiting);
        waiting.into_iter().filter_map(|slot| match slot {
            Slot::Entry(entry) => Some(entry),
            Slot::Lost(_) => None,
        })
    }

    /// Whether both are ends of one queue.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The next entry. One reader at a time is remembered.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Taken<T>> {
        let mut inner = self.lock();
        if let Some(taken) = take(&mut inner) {
            return Poll::Ready(taken);
        }
        if inner
            .reader
            .as_ref()
            .is_none_or(|reader| !reader.will_wake(context.waker()))
        {
            inner.reader = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

fn take<T>(inner: &mut Inner<T>) -> Option<Taken<T>> {
    match inner.waiting.pop_front() {
        Some(Slot::Entry(entry)) => Some(Taken::Next(entry)),
        Some(Slot::Lost(lost)) => Some(Taken::Lost(lost)),
        None => inner.finished.then_some(Taken::Finished),
    }
}

fn wake<T>(mut inner: MutexGuard<'_, Inner<T>>) {
    let reader = inner.reader.take();
    drop(inner);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &Queue<u8>) -> Vec<Taken<u8>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut taken = Vec::new();
        while let Poll::Ready(next) = queue.poll_take(&mut context) {
            let last = next == Taken::Finished;
            taken.push(next);
            if last {
                break;
            }
        }
        taken
    }

    #[test]
    fn a_slow_reader_hears_how_much_it_lost() {
        let queue = Queue::new(2);
        for n in 0..5 {
            assert_eq!(queue.push(n), if n < 2 { Ok(()) } else { Err(n) });
        }
        assert_eq!(
            all(&queue),
            [Taken::Next(0), Taken::Next(1), Taken::Lost(3)]
        );
        queue.push(9).unwrap();
        queue.finish(Some(10));
        queue.push(11).unwrap_err();
        assert_eq!(
            all(&queue),
            [Taken::Next(9), Taken::Next(10), Taken::Finished]
        );
    }

    #[test]
    fn a_loss_stands_where_it_happened() {
        let queue = Queue::new(1);
        let mut context = Context::from_waker(Waker::noop());
        queue.push(0).unwrap();
        queue.push(1).unwrap_err();
        assert_eq!(queue.poll_take(&mut context), Poll::Ready(Taken::Next(0)));
        queue.push(2).unwrap_err();
        queue.finish(Some(3));
        let rest = [Taken::Lost(2), Taken::Next(3), Taken::Finished];
        assert_eq!(all(&queue), rest);
    }

    #[test]
    fn an_abandoned_queue_holds_nothing() {
        let queue = Queue::new(2);
        queue.push(1).unwrap();
        assert_eq!(queue.abandon().collect::<Vec<_>>(), [1]);
        queue.push(2).unwrap_err();
        queue.finish(Some(3));
        assert_eq!(all(&queue), []);
    }
}
