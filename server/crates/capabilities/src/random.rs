//! `random`: numbers that nobody outside can predict; seeded in tests, so that a run repeats.

/// A generator owned by one replica.
pub trait Random: Send {
    /// 64 bits.
    fn next(&mut self) -> u64;
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);

    /// A number in 0 ≤ x < 1, of 53 random bits.
    fn number(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in `low` ≤ x ≤ `high`, each as likely as the other (Lemire's multiplication, with rejection); `low` when they are the wrong way round.
    fn integer(&mut self, low: i64, high: i64) -> i64 {
        let Some(span) = high.checked_sub(low).map_or_else(
            || Some((i128::from(high) - i128::from(low)) as u64),
            |d| u64::try_from(d).ok(),
        ) else {
            return low;
        };
        let Some(range) = span.checked_add(1) else {
            return self.next() as i64;
        };
        let threshold = range.wrapping_neg() % range;
        loop {
            let product = u128::from(self.next()) * u128::from(range);
            if product as u64 >= threshold {
                return (i128::from(low) + i128::from((product >> 64) as u64)) as i64;
            }
        }
    }
}
