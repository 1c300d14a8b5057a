//! The checksum of a row and the hash that chains an entry to its predecessor.
//!
//! The checksum (CRC-32) tells a rotten row from a good one by itself. The chain (BLAKE3, 16 bytes of it) covers the
//! entry *and* everything before it: two logs with the same chain at an index are the same up to there, and an entry
//! that is valid but old, or in the wrong place, does not fit.

use std::borrow::Cow;

use raftdeck_raft::{Entry, EntryKind};

/// The hash of a log up to some entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(pub(super) [u8; 16]);

/// How an entry's kind is stored.
pub(super) fn kind_number(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::Noop => 1,
        EntryKind::Command(_) => 2,
        EntryKind::Membership(_) => 3,
    }
}

/// An entry's payload; empty where it has none.
pub(super) fn payload(kind: &EntryKind) -> Cow<'_, [u8]> {
    match kind {
        EntryKind::Noop => Cow::Borrowed(&[]),
        EntryKind::Command(payload) => Cow::Borrowed(payload),
        EntryKind::Membership(membership) => {
            Cow::Owned(postcard::to_allocvec(membership).expect("a membership can be written as bytes"))
        }
    }
}

/// The checksum of an entry, its place included: a row that was moved is as bad as one that was changed.
pub(super) fn checksum(group: u64, entry: &Entry) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.to_le_bytes());
    hasher.update(&entry.index.0.to_le_bytes());
    hasher.update(&entry.term.0.to_le_bytes());
    hasher.update(&[kind_number(&entry.kind)]);
    hasher.update(&payload(&entry.kind));
    hasher.finalize()
}

impl Chain {
    /// The chain with one entry more.
    pub(super) fn then(self, entry: &Entry) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&entry.index.0.to_le_bytes());
        hasher.update(&entry.term.0.to_le_bytes());
        hasher.update(&[kind_number(&entry.kind)]);
        hasher.update(&payload(&entry.kind));
        let mut short = [0; 16];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Chain(short)
    }
}
