//! The seam through which unpredictable bytes enter the protocol. It owns no generator: the caller passes one, the operating system's in
//! production, a seeded one in tests.

/// A source of bytes that nobody outside can predict.
pub trait Entropy: Send {
    /// Fills the whole of `out`.
    fn fill(&mut self, out: &mut [u8]);

    /// Draws one 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}
