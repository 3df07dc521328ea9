//! Which of our requests wait for an answer (PROTOCOL.md 5, Requests): ids, at most 256 at once. When to stop waiting is the asker's.

use super::message::RequestId;
use crate::limits::{REQUEST_ID_END, REQUESTS_MAX};

/// Open requests, each in the place that its id's low bits name: an id whose place is taken is skipped, so that finding one is one look.
#[derive(Debug)]
pub(super) struct OpenRequests {
    /// Ids, 0 where none; the length is 0 or a power of two, at most 256.
    places: Vec<u32>,
    open: usize,
    next: u32,
}

impl OpenRequests {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            open: 0,
            next: 1,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.open
    }

    /// A new id, open from now on; none when 256 are.
    pub(super) fn open(&mut self) -> Option<RequestId> {
        if self.open == self.places.len() {
            self.grow()?;
        }
        // A free place exists, and consecutive ids visit every place.
        loop {
            let id = self.next;
            self.next = if id + 1 < REQUEST_ID_END { id + 1 } else { 1 };
            let at = self.place(id);
            if self.places[at] == 0 {
                self.places[at] = id;
                self.open += 1;
                return Some(RequestId(id));
            }
        }
    }

    /// The request is answered or given up; false when it was not open.
    pub(super) fn close(&mut self, id: RequestId) -> bool {
        if id.0 == 0 || self.places.is_empty() {
            return false;
        }
        let at = self.place(id.0);
        let found = self.places[at] == id.0;
        if found {
            self.places[at] = 0;
            self.open -= 1;
        }
        found
    }

    /// Gives back the memory of a busy time.
    pub(super) fn rest(&mut self) {
        if self.open == 0 {
            self.places = Vec::new();
        }
    }

    #[cfg(test)]
    pub(super) fn heap_len(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    fn place(&self, id: u32) -> usize {
        id as usize & (self.places.len() - 1)
    }

    /// Doubles the places: ids that differ in fewer low bits differ in more.
    fn grow(&mut self) -> Option<()> {
        let len = (self.places.len() * 2).max(PLACES_MIN);
        if len > REQUESTS_MAX {
            return None;
        }
        let ids = core::mem::replace(&mut self.places, vec![0; len]);
        for id in ids {
            let at = self.place(id);
            self.places[at] = id;
        }
        Some(())
    }
}

/// Enough for a client that asks one thing after the other.
const PLACES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn open_ids_are_skipped_when_the_counter_comes_around() {
        let mut requests = OpenRequests::new();
        assert_eq!(requests.open(), Some(RequestId(1)));
        requests.next = REQUEST_ID_END - 1;
        assert_eq!(requests.open(), Some(RequestId(REQUEST_ID_END - 1)));
        assert_eq!(requests.open(), Some(RequestId(2)));
    }

    #[test]
    fn at_most_256_are_open() {
        let mut requests = OpenRequests::new();
        let ids: Vec<_> = (0..256).map(|_| requests.open().unwrap()).collect();
        assert_eq!(requests.open(), None);
        assert!(requests.close(ids[100]) && !requests.close(ids[100]));
        assert!(requests.open().is_some() && requests.open().is_none());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_set(steps in proptest::collection::vec((any::<bool>(), 0..400_u32), 1..800)) {
            let (mut requests, mut naive) = (OpenRequests::new(), BTreeSet::new());
            for (open, number) in steps {
                if open || naive.is_empty() {
                    match requests.open() {
                        Some(id) => prop_assert!(id.0 != 0 && naive.insert(id.0)),
                        None => prop_assert_eq!(naive.len(), REQUESTS_MAX),
                    }
                } else {
                    let id = naive.range(number..).next().copied().unwrap_or(number);
                    prop_assert_eq!(requests.close(RequestId(id)), naive.remove(&id));
                }
                prop_assert_eq!(requests.len(), naive.len());
            }
        }
    }
}
