//! How much of the log is kept, and the replica's side of snapshots.
//!
//! The state tables are a snapshot that is always there: an entry that they have on disk is needed for nothing but a
//! follower that lags. So the log is cut behind them, and a tail is kept; a follower that needs more gets the tables.
//!
//! Law: the log is never cut above what the tables have on disk, nor above a snapshot that is being sent: a follower that
//! has just received it would else need another one, for ever.

use raftdeck_raft::{Index, LogStart, RoleKind, Sending, SnapshotMeta};

use crate::{
    mutants::{self, Mutant},
    replica::{Effects, Refused, Replica, Ticket},
};

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many entries stay; it is cut when there are twice as many ...
    pub entries: u64,
    /// ... or bytes.
    pub bytes: usize,
    /// The tables have everything up to here on disk.
    pub(crate) remembered: Index,
}

impl Retention {
    /// Keeps so much.
    #[must_use]
    pub fn new(entries: u64, bytes: usize) -> Retention {
        Retention { entries, bytes, remembered: Index(0) }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention::new(10_000, 64 << 20)
    }
}

impl Replica {
    /// The tables have everything up to here on disk.
    pub(crate) fn remembered_up_to(&mut self, index: Index) {
        self.retention.remembered = index;
        let log = self.raft.log();
        let (start, last) = (log.start().index, log.last().0);
        let (entries, bytes) = (last.0 - start.0, log.bytes());
        let Retention { entries: entries_kept, bytes: bytes_kept, .. } = self.retention;
        if entries < 2 * entries_kept && bytes < 2 * bytes_kept {
            return;
        }
        let by_entries = Index(last.0.saturating_sub(entries_kept));
        self.raft.compact(by_entries.max(log.first_within(bytes_kept)).min(self.compactable()));
    }

    /// Up to where the log may be cut.
    fn compactable(&self) -> Index {
        let gets_it = self.raft.followers().any(|(_, p)| p.sending == Sending::Snapshot && p.heard_ticks_ago.is_some());
        let bound = match self.raft.snapshot() {
            Some(meta) if gets_it && self.raft.role() == RoleKind::Leader => meta.start.index,
            Some(_) | None => Index(u64::MAX),
        };
        let kept = if mutants::on(Mutant::CompactsTooMuch) { self.raft.commit() } else { self.retention.remembered };
        kept.min(bound)
    }

    /// Cuts the log as far as it can be.
    pub(crate) fn compact_now(&mut self, ticket: Ticket, effects: &mut Effects) {
        let upto = self.compactable();
        if upto > self.raft.log().start().index {
            self.raft.compact(upto);
            effects.steered.push((ticket, Ok(self.raft.log().start().index)));
        } else {
            let start = self.raft.log().start().index;
            effects.steered.push((ticket, Err(Refused::NotNow(format!("the log begins after {start} already")))));
        }
    }

    /// A snapshot of the tables was made.
    pub(crate) fn snapshot_taken(&mut self, taken: Option<(Index, u64, u128)>) {
        let meta = taken.and_then(|(index, bytes, checksum)| {
            let log = self.raft.log();
            let term = log.term_at(index)?;
            let membership = log.membership_at(index).clone();
            Some(SnapshotMeta { start: LogStart { index, term, membership }, bytes, checksum })
        });
        match meta {
            Some(meta) => self.raft.snapshot_taken(meta),
            None => self.raft.snapshot_failed(),
        }
    }
}
