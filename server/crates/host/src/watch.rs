//! When a change in the modules folder counts: once a module's files have stayed the same for a while, so that a half-written file is never loaded, and
//! once they have stayed away long enough, so that an editor that removes and writes again unloads nothing. It reads no clock and no files; whoever
//! does shows it each look.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::load::{Found, Scan};

/// For so long a module's files must have been the same, from one look to another. An editor's truncate and write lie closer together.
pub const SETTLE_US: u64 = 100_000;
/// For so long they must have been away before the module is unloaded.
pub const AWAY_US: u64 = 2_000_000;

/// What has settled, and what is still moving.
#[derive(Debug, Default)]
pub struct Watch {
    settled: Scan,
    /// By name: since when something else is there; a hash of none says that nothing is.
    moving: BTreeMap<Arc<str>, (Option<[u8; 32]>, u64)>,
}

impl Watch {
    /// Begins with what is there at the start.
    #[must_use]
    pub fn new(scan: Scan) -> Self {
        Self {
            settled: scan,
            moving: BTreeMap::new(),
        }
    }

    /// Shows it one look. Returns what holds now, when that has changed.
    pub fn observe(&mut self, now_us: u64, scan: &Scan) -> Option<&Scan> {
        let mut changed = false;
        let names: Vec<_> = self
            .settled
            .modules
            .keys()
            .chain(scan.modules.keys())
            .cloned()
            .collect();
        for name in names {
            let new = scan.modules.get(&name);
            let hash = new.map(|found| found.hash);
            if hash == self.settled.modules.get(&name).map(|found| found.hash) {
                self.moving.remove(&name);
                continue;
            }
            let (seen, since_us) = *self
                .moving
                .entry(Arc::clone(&name))
                .and_modify(|(seen, since_us)| {
                    if *seen != hash {
                        (*seen, *since_us) = (hash, now_us);
                    }
                })
                .or_insert((hash, now_us));
            if now_us.saturating_sub(since_us) >= patience_us(seen) {
                self.moving.remove(&name);
                self.settle(name, new.cloned());
                changed = true;
            }
        }
        // What came and went again before it settled.
        let settled = &self.settled;
        self.moving.retain(|name, _| {
            scan.modules.contains_key(name) || settled.modules.contains_key(name)
        });
        changed.then_some(&self.settled)
    }

    /// When to look again although nothing has been heard of; none while nothing moves.
    #[must_use]
    pub fn next_us(&self) -> Option<u64> {
        self.moving
            .values()
            .map(|(hash, since_us)| since_us + patience_us(*hash))
            .min()
    }

    /// What holds now.
    #[must_use]
    pub const fn settled(&self) -> &Scan {
        &self.settled
    }

    fn settle(&mut self, name: Arc<str>, found: Option<Found>) {
        match found {
            Some(found) => self.settled.modules.insert(name, found),
            None => self.settled.modules.remove(&name),
        };
    }
}

const fn patience_us(hash: Option<[u8; 32]>) -> u64 {
    if hash.is_some() { SETTLE_US } else { AWAY_US }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::LoadError;

    const MS: u64 = 1_000;

    fn scan(modules: &[(&str, u8)]) -> Scan {
        Scan {
            modules: modules
                .iter()
                .map(|(name, hash)| {
                    let found = Found {
                        hash: [*hash; 32],
                        files: Err(LoadError::new("")),
                        manifests: Vec::new(),
                    };
                    (Arc::from(*name), found)
                })
                .collect(),
        }
    }

    fn hashes(scan: Option<&Scan>) -> Option<Vec<(String, u8)>> {
        scan.map(|scan| {
            scan.modules
                .iter()
                .map(|(name, found)| (name.to_string(), found.hash[0]))
                .collect()
        })
    }

    fn said(modules: &[(&str, u8)]) -> Option<Vec<(String, u8)>> {
        hashes(Some(&scan(modules)))
    }

    #[test]
    fn a_half_written_file_is_never_shown() {
        let mut watch = Watch::new(scan(&[("a", 1)]));
        // Truncated, half, three quarters, whole: each look finds something else.
        for (ms, hash) in [(0, 10), (60, 11), (120, 12), (180, 2), (240, 2)] {
            assert!(watch.observe(ms * MS, &scan(&[("a", hash)])).is_none());
        }
        assert_eq!(watch.next_us(), Some(280 * MS));
        assert_eq!(
            hashes(watch.observe(280 * MS, &scan(&[("a", 2)]))),
            said(&[("a", 2)])
        );
        assert_eq!(watch.next_us(), None);
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let mut watch = Watch::new(scan(&[("a", 1)]));
        assert!(watch.observe(0, &scan(&[("a", 2)])).is_none());
        assert!(watch.observe(50 * MS, &scan(&[("a", 1)])).is_none());
        assert_eq!(watch.next_us(), None);
        assert!(watch.observe(900 * MS, &scan(&[("a", 1)])).is_none());
    }

    #[test]
    fn files_that_stay_away_for_two_seconds_are_gone() {
        let mut watch = Watch::new(scan(&[("a", 1), ("b", 1)]));
        assert!(watch.observe(0, &scan(&[("b", 1)])).is_none());
        assert!(watch.observe(1_999 * MS, &scan(&[("b", 1)])).is_none());
        assert_eq!(
            hashes(watch.observe(2_000 * MS, &scan(&[("b", 1)]))),
            said(&[("b", 1)])
        );
    }

    #[test]
    fn files_that_come_back_in_time_were_never_away() {
        let mut watch = Watch::new(scan(&[("a", 1)]));
        assert!(watch.observe(0, &scan(&[])).is_none());
        assert!(watch.observe(1_500 * MS, &scan(&[("a", 1)])).is_none());
        assert!(watch.observe(3_000 * MS, &scan(&[])).is_none());
        assert!(watch.observe(4_000 * MS, &scan(&[])).is_none());
    }

    #[test]
    fn what_came_and_went_is_forgotten() {
        let mut watch = Watch::default();
        assert!(watch.observe(0, &scan(&[("a", 1)])).is_none());
        assert!(watch.observe(10 * MS, &scan(&[])).is_none());
        assert_eq!(watch.next_us(), None);
    }
}
