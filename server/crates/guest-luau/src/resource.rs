//! Transactions and cursors that a script holds: each ends, at the latest, with the call that made it. What they do belongs to the backend.

use core::cell::RefCell;
use std::rc::{Rc, Weak};

/// A thing with an end, or the place where it was.
pub(crate) struct Slot<T: ?Sized>(RefCell<Option<Box<T>>>);

impl<T: ?Sized> Slot<T> {
    /// Takes it out, for one step or for good; none when it has ended or a step of it runs.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.borrow_mut().take()
    }

    /// Puts it back after a step.
    pub(crate) fn put(&self, thing: Box<T>) {
        *self.0.borrow_mut() = Some(thing);
    }
}

/// Ends a thing.
trait End {
    fn end(&self);
}

impl<T: ?Sized> End for Slot<T> {
    fn end(&self) {
        drop(self.take());
    }
}

/// What the running call has open. A call opens one with each host call, of which it has a bounded number.
#[derive(Default)]
pub(crate) struct Resources(RefCell<Vec<Weak<dyn End>>>);

impl Resources {
    /// Takes a thing in; it ends with the call.
    pub(crate) fn open<T: ?Sized + 'static>(&self, thing: Box<T>) -> Rc<Slot<T>> {
        let slot = Rc::new(Slot(RefCell::new(Some(thing))));
        let weak: Weak<dyn End> = Rc::downgrade(&(Rc::clone(&slot) as Rc<dyn End>));
        self.0.borrow_mut().push(weak);
        slot
    }

    /// The call is over: what is still open ends.
    pub(crate) fn end(&self) {
        for thing in self.0.borrow_mut().drain(..) {
            if let Some(thing) = thing.upgrade() {
                thing.end();
            }
        }
    }
}
