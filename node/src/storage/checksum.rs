//! The checksum of a row and the hash that chains an entry to its predecessor.
//!
//! The checksum (CRC-32) tells a rotten row from a good one by itself. The chain (BLAKE3, 16 bytes of it) covers the
//! entry *and* everything before it: two logs with the same chain at an index are the same up to there, and an entry
//! that is valid but old, or in the wrong place, does not fit. A log that begins after a snapshot has nothing before it to
//! cover: there the chain begins with the place and term of the snapshot.

use std::borrow::Cow;

use bytes::Bytes;
use raftdeck_raft::{Entry, EntryKind, Index, Membership, Term};

/// The hash of a log up to some entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(pub(super) [u8; 16]);

/// An entry as its row has it. Sums are made of what is stored, not of what it was taken for.
#[derive(Clone, Debug)]
pub(super) struct Raw<'a> {
    pub(super) index: Index,
    pub(super) term: Term,
    pub(super) kind: i64,
    pub(super) payload: Cow<'a, [u8]>,
}

impl<'a> From<&'a Entry> for Raw<'a> {
    fn from(entry: &'a Entry) -> Raw<'a> {
        let (kind, payload) = match &entry.kind {
            EntryKind::Noop => (1, Cow::Borrowed(&[][..])),
            EntryKind::Command(payload) => (2, Cow::Borrowed(&payload[..])),
            EntryKind::Membership(membership) => (3, Cow::Owned(membership_bytes(membership))),
        };
        Raw { index: entry.index, term: entry.term, kind, payload }
    }
}

impl Raw<'_> {
    /// What it holds; none if that is nothing that this program writes.
    pub(super) fn decode(self) -> Option<Entry> {
        let kind = match self.kind {
            1 if self.payload.is_empty() => EntryKind::Noop,
            2 => EntryKind::Command(Bytes::from(self.payload.into_owned())),
            3 => EntryKind::Membership(Box::new(membership_from(&self.payload)?)),
            _ => return None,
        };
        Some(Entry { index: self.index, term: self.term, kind })
    }

    /// The checksum, the entry's place included: a row that was moved is as bad as one that was changed.
    pub(super) fn checksum(&self, group: u64) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&group.to_le_bytes());
        hasher.update(&self.index.0.to_le_bytes());
        hasher.update(&self.term.0.to_le_bytes());
        hasher.update(&[self.kind.to_le_bytes()[0]]);
        hasher.update(&self.payload);
        hasher.finalize()
    }
}

/// How a membership is stored.
pub(super) fn membership_bytes(membership: &Membership) -> Vec<u8> {
    postcard::to_allocvec(membership).expect("a membership can be written as bytes")
}

/// A stored membership; none if these bytes are none.
pub(super) fn membership_from(bytes: &[u8]) -> Option<Membership> {
    postcard::take_from_bytes(bytes).ok().and_then(|(membership, rest)| rest.is_empty().then_some(membership))
}

impl Chain {
    /// The chain with one entry more.
    pub(super) fn then(self, raw: &Raw<'_>) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&raw.index.0.to_le_bytes());
        hasher.update(&raw.term.0.to_le_bytes());
        hasher.update(&[raw.kind.to_le_bytes()[0]]);
        hasher.update(&raw.payload);
        Chain::short(&hasher)
    }

    /// The chain of a log that begins after a snapshot.
    pub(super) fn begun(index: Index, term: Term) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"raftdeck log start");
        hasher.update(&index.0.to_le_bytes());
        hasher.update(&term.0.to_le_bytes());
        Chain::short(&hasher)
    }

    fn short(hasher: &blake3::Hasher) -> Chain {
        let mut short = [0; 16];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Chain(short)
    }
}
