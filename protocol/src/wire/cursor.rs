//! A reader over bytes that a peer sent: total, so that no length or offset of a peer can make it panic. It knows no frame.

/// What is left to read. Every method takes from the front and answers none when too little is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_missing_is_none_and_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.bytes(4), None);
        assert_eq!(reader.u16(), Some(0x0102));
        assert_eq!(reader.u64(), None);
        assert_eq!(reader.bytes(1), Some(&[3][..]));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
        assert_eq!(reader.bytes(0), Some(&[][..]));
    }

    proptest! {
        #[test]
        fn no_count_makes_it_panic(bytes: Vec<u8>, count: usize) {
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.bytes(count).is_some(), count <= bytes.len());
        }
    }
}
