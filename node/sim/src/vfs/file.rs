//! One file: what a reader sees, and how to get back from there to what a power cut leaves.
//!
//! Readers see every write at once, as they do through a page cache. What was there before a write is kept until the
//! next sync. A crash then goes back: each sector that was written since the last sync has, on its own, any of the
//! contents that it had since, and the file has any of its lengths. That is a disk that reorders writes and tears them at
//! sectors. Now and then it tears one inside a sector, between the bytes that were there and those that should be; bytes
//! that nobody wrote never change, which is what SQLite relies on ("powersafe overwrite").

use std::collections::BTreeMap;

use rand::{RngExt as _, rngs::StdRng};

/// What a disk writes whole, or mostly so.
pub(super) const SECTOR_BYTES: usize = 512;

/// Which of the writes since the last sync are on the disk after a crash.
#[derive(Debug)]
pub enum Survivors<'a> {
    /// None of them.
    None,
    /// All of them.
    All,
    /// Sector by sector, as drawn.
    Drawn(&'a mut StdRng),
}

/// A write since the last sync. Bytes that were not there before count as zeros.
#[derive(Clone, Debug)]
struct Change {
    offset: usize,
    len: usize,
    /// Where in `File::before` the old bytes begin, and how many there are.
    before: usize,
    before_len: usize,
}

impl Change {
    fn sectors(&self) -> std::ops::RangeInclusive<usize> {
        self.offset / SECTOR_BYTES..=(self.offset + self.len - 1) / SECTOR_BYTES
    }
}

/// How a sector comes out of a crash.
#[derive(Clone, Debug, Default)]
struct Sector {
    /// How many changes there were, and how many of them are on the disk.
    changes: usize,
    kept: usize,
    /// How much of the next one is.
    torn: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// What a reader sees.
    bytes: Vec<u8>,
    changes: Vec<Change>,
    /// The old bytes of all changes, one after the other.
    before: Vec<u8>,
    /// The lengths since the last sync, the synced one first.
    lengths: Vec<usize>,
    /// Sectors that a failed sync left clean although the disk holds this instead.
    lost: BTreeMap<usize, Vec<u8>>,
}

impl File {
    /// A file that is on the disk as it is.
    pub(super) fn new(bytes: Vec<u8>) -> File {
        let lengths = vec![bytes.len()];
        File { bytes, changes: Vec::new(), before: Vec::new(), lengths, lost: BTreeMap::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.bytes.len() < offset {
            self.bytes.resize(offset, 0);
        }
        let inside = data.len().min(self.bytes.len() - offset);
        self.note(offset, data.len(), inside);
        self.bytes[offset..offset + inside].copy_from_slice(&data[..inside]);
        if inside < data.len() {
            self.bytes.extend_from_slice(&data[inside..]);
            self.lengths.push(self.bytes.len());
        }
    }

    /// Only ever shorter: SQLite asks for more room ahead of its writes, and a disk may ignore that.
    pub(super) fn shorten(&mut self, len: usize) {
        if len < self.bytes.len() {
            let cut = self.bytes.len() - len;
            self.note(len, cut, cut);
            self.bytes.truncate(len);
            self.lengths.push(len);
        }
    }

    fn note(&mut self, offset: usize, len: usize, inside: usize) {
        self.changes.push(Change { offset, len, before: self.before.len(), before_len: inside });
        self.before.extend_from_slice(&self.bytes[offset..offset + inside]);
    }

    pub(super) fn sync(&mut self) {
        if !self.lost.is_empty() {
            for sector in self.changes.iter().flat_map(Change::sectors) {
                self.lost.remove(&sector);
            }
        }
        self.forget_changes();
    }

    fn forget_changes(&mut self) {
        self.changes.clear();
        self.before.clear();
        self.lengths.clear();
        self.lengths.push(self.bytes.len());
    }

    /// A sync that failed: some sectors were not written, but all are clean from now on, so that no later sync writes
    /// them unless they are changed again. Readers see the new bytes until the cache forgets them.
    pub(super) fn fail_sync(&mut self, mut is_lost: impl FnMut() -> bool) {
        let mut on_disk = self.clone();
        on_disk.crash(&mut Survivors::None);
        on_disk.bytes.resize(self.bytes.len().next_multiple_of(SECTOR_BYTES).max(on_disk.bytes.len()), 0);
        for sector in self.changes.iter().flat_map(Change::sectors) {
            let at = sector * SECTOR_BYTES;
            let end = (at + SECTOR_BYTES).min(on_disk.bytes.len());
            if at < end && is_lost() {
                self.lost.entry(sector).or_insert_with(|| on_disk.bytes[at..end].to_vec());
            }
        }
        self.forget_changes();
    }

    /// The cache forgets what it believes to be on the disk.
    pub(super) fn evict(&mut self) {
        for (sector, content) in std::mem::take(&mut self.lost) {
            overwrite(&mut self.bytes, sector * SECTOR_BYTES, &content);
        }
    }

    /// See the module.
    pub(super) fn crash(&mut self, survivors: &mut Survivors<'_>) {
        if self.changes.is_empty() {
            self.evict();
            return;
        }
        let cached = self.bytes.len();
        let longest = self.lengths.iter().copied().max().unwrap_or(0).max(cached);
        self.bytes.resize(longest, 0);
        let mut sectors = vec![Sector::default(); longest.div_ceil(SECTOR_BYTES)];
        for sector in self.changes.iter().flat_map(Change::sectors) {
            sectors[sector].changes += 1;
        }
        for sector in sectors.iter_mut().filter(|s| s.changes > 0) {
            match survivors {
                Survivors::None => {}
                Survivors::All => sector.kept = sector.changes,
                Survivors::Drawn(rng) => {
                    sector.kept = rng.random_range(0..=sector.changes);
                    sector.torn = if rng.random_bool(0.2) { rng.random_range(0.0..1.0) } else { 0.0 };
                }
            }
        }
        let len = match survivors {
            Survivors::None => self.lengths[0],
            Survivors::All => cached,
            Survivors::Drawn(rng) => self.lengths[rng.random_range(0..self.lengths.len())],
        };
        self.lost.retain(|number, _| sectors.get(*number).is_none_or(|s| s.kept == 0));
        for change in self.changes.iter().rev() {
            for number in change.sectors() {
                let sector = &mut sectors[number];
                sector.changes -= 1;
                if sector.changes >= sector.kept {
                    let stays = if sector.changes == sector.kept { sector.torn } else { 0.0 };
                    undo(&mut self.bytes, change, &self.before, number, stays);
                }
            }
        }
        self.evict();
        self.bytes.truncate(len);
        self.forget_changes();
    }

    /// One bit is the other way round from now on.
    pub(super) fn flip(&mut self, byte: usize, bit: u8) -> bool {
        self.bytes.get_mut(byte).map(|b| *b ^= 1 << (bit % 8)).is_some()
    }
}

/// Puts back what one sector held before a change, but for the part of it that stays.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 512")]
fn undo(bytes: &mut [u8], change: &Change, before: &[u8], sector: usize, stays: f64) {
    let from = change.offset.max(sector * SECTOR_BYTES);
    let until = (change.offset + change.len).min((sector + 1) * SECTOR_BYTES);
    let from = from + ((until - from) as f64 * stays) as usize;
    let had = (change.offset + change.before_len).clamp(from, until);
    if from < had {
        let old = change.before + (from - change.offset);
        bytes[from..had].copy_from_slice(&before[old..old + (had - from)]);
    }
    bytes[had..until].fill(0);
}

/// As far as there is something to overwrite.
fn overwrite(bytes: &mut [u8], offset: usize, content: &[u8]) {
    let end = (offset + content.len()).min(bytes.len());
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(&content[..place.len()]);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Whatever was written and cut, and however often: without survivors the synced bytes are back.
    #[test]
    fn a_crash_gives_back_what_was_synced_or_any_mixture_of_sectors() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut mixtures = 0;
        for _ in 0..2_000 {
            let mut file = File::new(Vec::new());
            for stage in 1..4_u8 {
                for _ in 0..rng.random_range(0..6) {
                    let (at, len) = (rng.random_range(0..4_000), rng.random_range(0..2_000));
                    if rng.random_bool(0.2) { file.shorten(at) } else { file.write(at, &vec![stage; len]) }
                }
                if stage < 3 {
                    file.sync();
                }
            }
            let cached = file.bytes.clone();
            let synced = {
                let mut none = file.clone();
                none.crash(&mut Survivors::None);
                none.bytes
            };
            assert!(synced.iter().all(|byte| *byte < 3), "the last stage was not synced");
            let mut all = file.clone();
            all.crash(&mut Survivors::All);
            assert_eq!(all.bytes, cached);
            file.crash(&mut Survivors::Drawn(&mut rng));
            assert!(file.changes.is_empty());
            mixtures += usize::from(file.bytes != cached && file.bytes != synced);
        }
        assert!(mixtures > 500, "only {mixtures} were a mixture");
    }

    #[test]
    fn a_failed_sync_loses_what_no_later_sync_writes() {
        let mut file = File::new(vec![1; 2_048]);
        file.write(0, &[2; 2_048]);
        file.fail_sync(|| true);
        assert_eq!(file.bytes, [2; 2_048], "a reader does not see it");
        file.write(512, &[3; 512]);
        file.sync();
        file.crash(&mut Survivors::All);
        let sectors = [0, 512, 1_024, 1_536].map(|at| file.bytes[at]);
        assert_eq!(sectors, [1, 3, 1, 1], "only what was written again is there");
    }
}
