//! The mark: what the log must hold, in a tiny file of two slots.
//!
//! Order of a write: log fsync, mark fsync, then the acknowledgement. Order of a truncation: mark first (lowered to the
//! last entry that stays), then the log, then the mark again. So at every moment the log reaches at least as far as the
//! newest readable slot says; a log that does not has lost something that was acknowledged.
//!
//! The slots are written in turn, each with a counter and a checksum: a write that is torn by a crash leaves the other.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt as _,
    path::Path,
};

use raftdeck_raft::{Damage, HardState, Index, NodeId, Term};

use super::{StorageError, checksum::Chain};

const MAGIC: [u8; 8] = *b"RDMARK\0\x02";
const SLOT_BYTES: usize = 4096;
const BODY_BYTES: usize = 8 + 8 + 8 + 8 + 8 + 16 + 8 + 8 + 8 + 8;

/// As version 0.1.0 wrote it: nothing about damage, with which no node went on.
const MAGIC_1: [u8; 8] = *b"RDMARK\0\x01";
const BODY_BYTES_1: usize = BODY_BYTES - 16;

/// What the log must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) last: Index,
    pub(super) last_term: Term,
    pub(super) chain: Chain,
    pub(super) hard: HardState,
}

/// Where a mark is kept. The simulator has one of its own; a write is durable when it returns.
pub trait MarkFile: Send + std::fmt::Debug {
    /// All of it; empty if there is none yet.
    ///
    /// # Errors
    /// Of the file.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Writes at a place, and makes it durable.
    ///
    /// # Errors
    /// Of the file.
    fn write_durably(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()>;
}

/// A mark in a file.
#[derive(Debug)]
pub struct FileMark(File);

impl FileMark {
    /// Opens the file, or makes it and its name in the directory durable; and locks it. Whoever has it has the directory,
    /// before SQLite has a lock of its own.
    ///
    /// # Errors
    /// Of the file, or another process has it.
    pub fn open(path: &Path) -> Result<FileMark, StorageError> {
        let error = StorageError::io("mark");
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(&error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse("the data directory")),
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        if let Some(parent) = path.parent().filter(|_| is_new) {
            file.sync_all().and_then(|()| File::open(parent)?.sync_all()).map_err(&error)?;
        }
        Ok(FileMark(file))
    }

    /// Whether there is one at this path.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|m| m.len() > 0)
    }
}

impl MarkFile for FileMark {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.seek(SeekFrom::Start(0))?;
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_durably(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset as u64)?;
        self.0.sync_data()
    }
}

/// A mark that is open.
#[derive(Debug)]
pub(super) struct Mark {
    file: Box<dyn MarkFile>,
    group: u64,
    counter: u64,
}

/// What a mark said when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// There is none.
    Absent,
    /// Neither slot can be read.
    Unreadable,
    /// The newest slot that can be read.
    Says(Claims),
}

impl Mark {
    pub(super) fn open(mut file: Box<dyn MarkFile>, group: u64) -> Result<(Mark, Reading), StorageError> {
        let bytes = file.read().map_err(StorageError::io("mark"))?;
        let newest = [0, SLOT_BYTES]
            .iter()
            .filter_map(|at| decode(bytes.get(*at..)?, group))
            .max_by_key(|(counter, _)| *counter);
        let (counter, reading) = match newest {
            Some((counter, claims)) => (counter, Reading::Says(claims)),
            None if bytes.is_empty() => (0, Reading::Absent),
            None => (0, Reading::Unreadable),
        };
        Ok((Mark { file, group, counter }, reading))
    }

    /// Writes the next slot. Durable when it returns.
    pub(super) fn set(&mut self, claims: &Claims) -> Result<(), StorageError> {
        self.counter += 1;
        let slot = usize::from(self.counter.is_multiple_of(2));
        let bytes = encode(self.counter, self.group, claims);
        self.file.write_durably(slot * SLOT_BYTES, &bytes).map_err(StorageError::io("mark"))
    }
}

fn encode(counter: u64, group: u64, claims: &Claims) -> Vec<u8> {
    let Claims { last, last_term, chain, hard } = claims;
    let mut bytes = Vec::with_capacity(BODY_BYTES + 4);
    bytes.extend_from_slice(&MAGIC);
    for number in [counter, group, last.0, last_term.0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&chain.0);
    let Damage { until, term } = hard.damage.unwrap_or(Damage { until: Index(0), term: Term(0) });
    for number in [hard.term.0, hard.voted_for.map_or(0, |n| n.0), until.0, term.0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// A slot's counter and claims; none if it is not a whole slot of this group.
fn decode(slot: &[u8], group: u64) -> Option<(u64, Claims)> {
    let length = if slot.starts_with(&MAGIC) {
        BODY_BYTES
    } else if slot.starts_with(&MAGIC_1) {
        BODY_BYTES_1
    } else {
        return None;
    };
    let (body, sum) = slot.get(..length + 4)?.split_at(length);
    if crc32fast::hash(body).to_le_bytes() != sum {
        return None;
    }
    let number = |at: usize| body.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let chain = Chain(body.get(40..56)?.try_into().ok()?);
    let vote = number(64)?;
    let (until, damage_term) = (Index(number(72).unwrap_or_default()), Term(number(80).unwrap_or_default()));
    let damage = (until > Index(0)).then_some(Damage { until, term: damage_term });
    let hard = HardState { term: Term(number(56)?), voted_for: (vote != 0).then_some(NodeId(vote)), damage };
    let claims = Claims { last: Index(number(24)?), last_term: Term(number(32)?), chain, hard };
    (number(16)? == group).then_some((number(8)?, claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(last: u64) -> Claims {
        let damage = Some(Damage { until: Index(12), term: Term(5) });
        let hard = HardState { term: Term(7), voted_for: Some(NodeId(2)), damage };
        Claims { last: Index(last), last_term: Term(6), chain: Chain([9; 16]), hard }
    }

    /// Every single bit of the newest slot: the other slot is used, never a wrong claim.
    #[test]
    fn a_torn_or_rotten_slot_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let reading = || Mark::open(Box::new(FileMark::open(&path).unwrap()), 1).unwrap().1;
        assert_eq!(reading(), Reading::Absent);
        for last in 1..=4 {
            let (mut mark, _) = Mark::open(Box::new(FileMark::open(&path).unwrap()), 1).unwrap();
            assert!(matches!(FileMark::open(&path), Err(StorageError::InUse(_))));
            mark.set(&claims(last)).unwrap();
            drop(mark);
            assert_eq!(reading(), Reading::Says(claims(last)));
        }
        let good = fs::read(&path).unwrap();
        for bit in 0..(BODY_BYTES + 4) * 8 {
            let mut bytes = good.clone();
            bytes[SLOT_BYTES + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            assert_eq!(reading(), Reading::Says(claims(3)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            assert_eq!(reading(), Reading::Unreadable, "bit {bit} of both");
        }
    }

    /// A slot as version 0.1.0 wrote it.
    #[test]
    fn an_old_slot_is_read() {
        let mut bytes = MAGIC_1.to_vec();
        for number in [1u64, 1, 3, 6] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&[9; 16]);
        for number in [7u64, 2] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let hard = HardState { damage: None, ..claims(3).hard };
        assert_eq!(decode(&bytes, 1), Some((1, Claims { hard, ..claims(3) })));
    }
}
