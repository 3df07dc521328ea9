//! ACK: which packet numbers arrived, as plain counts of runs and gaps (PROTOCOL.md 5). Whether a number was ever sent is not known here.

use super::cursor::Reader;
use super::frame::FrameError;
use super::frame_type;
use crate::limits::ACK_PAIRS_MAX;

/// Packet numbers that arrived, both ends included; `low` is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PnRange {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// A decoded ACK. Its runs were checked: none is empty, none reaches below packet number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack<'a> {
    pub(crate) largest: u64,
    /// Time since `largest` arrived, in units of 32 µs.
    pub(crate) delay: u16,
    first_run: u16,
    pairs: &'a [u8],
}

impl<'a> Ack<'a> {
    /// Reads what follows the type byte.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, FrameError> {
        let largest = reader.u64().ok_or(FrameError::Truncated)?;
        let delay = reader.u16().ok_or(FrameError::Truncated)?;
        let first_run = reader.u16().ok_or(FrameError::Truncated)?;
        let count = usize::from(reader.u8().ok_or(FrameError::Truncated)?);
        if count > ACK_PAIRS_MAX {
            return Err(FrameError::Ack);
        }
        let pairs = reader.bytes(count * 4).ok_or(FrameError::Truncated)?;
        let ack = Self {
            largest,
            delay,
            first_run,
            pairs,
        };
        // The iterator stops at the first run that is impossible, so a count tells whether all are possible.
        if ack.ranges().count() == count + 1 {
            Ok(ack)
        } else {
            Err(FrameError::Ack)
        }
    }

    /// The runs, highest first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = PnRange> + use<'a> {
        let first = range_below(self.largest, self.first_run);
        let mut low = first.map(|range| range.low);
        let mut pairs = self.pairs.chunks_exact(4);
        let others = core::iter::from_fn(move || {
            let &[g1, g2, r1, r2] = pairs.next()? else {
                return None;
            };
            let gap = u16::from_be_bytes([g1, g2]);
            if gap == 0 {
                return None;
            }
            let high = low?.checked_sub(u64::from(gap) + 1)?;
            let range = range_below(high, u16::from_be_bytes([r1, r2]));
            low = range.map(|range| range.low);
            range
        });
        first.into_iter().chain(others)
    }
}

/// The run of `count` numbers that ends with `high`; none when it is empty or reaches below 1.
fn range_below(high: u64, count: u16) -> Option<PnRange> {
    let below = u64::from(count).checked_sub(1)?;
    let low = high.checked_sub(below)?;
    (low >= 1).then_some(PnRange { low, high })
}

/// Appends an ACK of `ranges` (highest first, apart from each other) that takes at most `room` bytes. Runs above 65,535 are cut and end the
/// list, as do gaps above it. Answers the largest number that it reports; none, and nothing is written, when there is nothing to report or no room.
pub(crate) fn encode_ack(
    out: &mut Vec<u8>,
    delay: u16,
    ranges: impl IntoIterator<Item = PnRange>,
    room: usize,
) -> Option<u64> {
    let mut ranges = ranges.into_iter();
    let first = ranges.next()?;
    let pairs_max = room.checked_sub(ACK_LEN_MIN)? / 4;
    let (run, whole) = run_of(first);
    out.push(frame_type::ACK);
    out.extend_from_slice(&first.high.to_be_bytes());
    out.extend_from_slice(&delay.to_be_bytes());
    out.extend_from_slice(&run.to_be_bytes());
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    let mut low = whole.then_some(first.low);
    for range in ranges.take(pairs_max.min(ACK_PAIRS_MAX)) {
        let Some(above) = low else { break };
        let Ok(gap) = u16::try_from(above - range.high - 1) else {
            break;
        };
        let (run, whole) = run_of(range);
        out.extend_from_slice(&gap.to_be_bytes());
        out.extend_from_slice(&run.to_be_bytes());
        count += 1;
        low = whole.then_some(range.low);
    }
    out[count_at] = count;
    Some(first.high)
}

/// Type, largest, delay, first run, count.
const ACK_LEN_MIN: usize = 14;

/// The run as it is reported, and whether that is all of it.
fn run_of(range: PnRange) -> (u16, bool) {
    u16::try_from(range.high - range.low + 1).map_or((u16::MAX, false), |run| (run, true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(low: u64, high: u64) -> PnRange {
        PnRange { low, high }
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<PnRange>, FrameError> {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.u8(), Some(frame_type::ACK));
        let ack = Ack::decode(&mut reader)?;
        assert!(reader.is_empty());
        Ok(ack.ranges().collect())
    }

    #[test]
    fn long_runs_and_wide_gaps_end_the_list() {
        for (ranges, reported) in [
            (
                vec![range(1_000, 1_000 + 65_534), range(1, 9)],
                vec![range(1_000, 66_534), range(1, 9)],
            ),
            (
                vec![range(1_000, 1_000 + 65_535), range(1, 9)],
                vec![range(1_001, 66_535)],
            ),
            (
                vec![range(70_000, 70_000), range(1, 9)],
                vec![range(70_000, 70_000)],
            ),
        ] {
            let mut out = Vec::new();
            encode_ack(&mut out, 0, ranges, 500);
            assert_eq!(decoded(&out), Ok(reported));
        }
    }

    #[test]
    fn impossible_runs_are_refused() {
        for bytes in [
            // An empty first run, one below 1, packet number 0.
            &b"\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0"[..],
            &b"\x02\0\0\0\0\0\0\0\x05\0\0\0\x06\0"[..],
            &b"\x02\0\0\0\0\0\0\0\0\0\0\0\x01\0"[..],
            // A gap of none, an empty run, a run below 1.
            &b"\x02\0\0\0\0\0\0\0\x05\0\0\0\x01\x01\0\0\0\x01"[..],
            &b"\x02\0\0\0\0\0\0\0\x05\0\0\0\x01\x01\0\x01\0\0"[..],
            &b"\x02\0\0\0\0\0\0\0\x05\0\0\0\x01\x01\0\x01\0\x04"[..],
        ] {
            assert_eq!(decoded(bytes), Err(FrameError::Ack), "{bytes:?}");
        }
        let mut many = b"\x02\0\0\0\0\0\0\x01\x05\0\0\0\x01\x21".to_vec();
        many.extend([0, 1, 0, 1].repeat(33));
        assert_eq!(decoded(&many), Err(FrameError::Ack));
    }

    #[test]
    fn too_little_room_reports_less() {
        let ranges = [range(9, 9), range(5, 5), range(1, 2)];
        for (room, count) in [(14, 1), (17, 1), (18, 2), (22, 3), (500, 3)] {
            let mut out = Vec::new();
            assert_eq!(encode_ack(&mut out, 3, ranges, room), Some(9));
            assert!(out.len() <= room);
            assert_eq!(decoded(&out), Ok(ranges[..count].to_vec()));
        }
        assert_eq!(encode_ack(&mut Vec::new(), 3, ranges, 13), None);
    }

    proptest! {
        #[test]
        fn ranges_come_back(steps in proptest::collection::vec((1..300_u64, 1..300_u64), 1..40), delay: u16) {
            let mut ranges = Vec::new();
            let mut next = 1;
            for (gap, run) in steps {
                ranges.push(range(next, next + run - 1));
                next += run + gap;
            }
            ranges.reverse();
            let mut out = Vec::new();
            let largest = encode_ack(&mut out, delay, ranges.iter().copied(), 1_136);
            prop_assert_eq!(largest, Some(ranges[0].high));
            ranges.truncate(ACK_PAIRS_MAX + 1);
            prop_assert_eq!(decoded(&out), Ok(ranges));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Ok(ack) = Ack::decode(&mut Reader::new(&bytes)) {
                let mut above = None;
                for range in ack.ranges() {
                    prop_assert!(range.low >= 1 && range.low <= range.high);
                    prop_assert!(above.is_none_or(|low| range.high + 1 < low));
                    above = Some(range.low);
                }
            }
        }
    }
}
