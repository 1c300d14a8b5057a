//! Snapshots: how a follower that needs entries which are no longer in the log is brought up (paper 7, thesis 5).
//!
//! A snapshot is a file that the driver makes from the state machine's tables; the core knows its size, its checksum and
//! where the log goes on after it. It crosses in chunks, and the follower asks for each:
//!
//! ```text
//! leader                         follower
//!   SnapshotOffer(meta)   ──>    how much of it is here already?
//!   <──  SnapshotWanted(offset)
//!   SnapshotChunk(offset) ──>    stored
//!   <──  SnapshotWanted(offset + n)        ... until it is whole; then it is checked and put in place
//!   <──  Appended(index)                   and the log goes on after it
//! ```
//!
//! The leader keeps nothing of a transfer but "an answer is awaited", so a link that is cut costs one chunk, and a
//! restart of the follower costs none that was stored. Chunks travel beside the other messages, never before a heartbeat.
//!
//! Laws:
//! - a snapshot at or below the commit index is never installed: what is committed here is not undone;
//! - while one is being put in place, no entry is appended;
//! - what is stored are chunks of one snapshot, in order and without gaps.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::{
    Body, Cause, Index, LogStart, NodeId, Observation, Raft, Sending,
    mutants::{self, Mutant},
    node::Role,
    progress::Progress,
};

/// Names a snapshot: two with the same index may differ in their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The state machine has applied this much.
    pub index: Index,
    /// Of the whole file.
    pub checksum: u128,
}

/// What is known of a snapshot before its first byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// Where the log goes on after it.
    pub start: LogStart,
    /// Its size.
    pub bytes: u64,
    /// Of the whole file.
    pub checksum: u128,
}

impl SnapshotMeta {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        SnapshotId { index: self.start.index, checksum: self.checksum }
    }
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Of which.
    pub id: SnapshotId,
    /// From its start, bytes.
    pub offset: u64,
    /// What stands there.
    pub bytes: Bytes,
    /// Of these bytes; made by whoever read them, checked by whoever stores them.
    pub checksum: u32,
}

/// What the driver is to do with snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotTask {
    /// Make one at this index or a later one that is applied and durable; answer with [`Raft::snapshot_taken`].
    Take {
        /// Followers need what comes after it.
        at_least: Index,
    },
    /// Read a chunk for a follower; answer with [`Raft::chunk_read`], or with [`Raft::snapshot_lost`] if what
    /// stands there is not what it was.
    Read {
        /// The follower.
        to: NodeId,
        /// Which snapshot.
        id: SnapshotId,
        /// From its start, bytes.
        offset: u64,
    },
    /// See how much of this snapshot is here already, and forget any other that is half here; answer with
    /// [`Raft::chunk_stored`].
    Begin(SnapshotMeta),
    /// Store a chunk, if its checksum is right; answer with [`Raft::chunk_stored`] in any case.
    Store(Chunk),
    /// It is whole: check it and put it in the place of the state machine; answer with [`Raft::snapshot_installed`], or with
    /// [`Raft::snapshot_refused`] if it is not what it should be.
    Install(SnapshotMeta),
}

/// A snapshot on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Receiving {
    meta: SnapshotMeta,
    /// So much is stored; none while the driver is busy with a chunk.
    stored: Option<u64>,
    installing: bool,
}

impl Raft {
    /// A snapshot was made. Entries up to it may now be dropped for followers that need them.
    pub fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        assert!(meta.start.index <= self.commit, "a snapshot of what is not committed");
        self.snapshot_wanted = false;
        self.snapshot = Some(meta);
    }

    /// The newest snapshot that can be sent.
    #[must_use]
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// A snapshot cannot be read any more: another is made for whoever still needs one.
    pub fn snapshot_lost(&mut self, id: SnapshotId) {
        if self.snapshot.take_if(|meta| meta.id() == id).is_none() {
            return; // A newer one took its place.
        }
        let Role::Leader(leader) = &mut self.role else { return };
        leader.followers.values_mut().for_each(Progress::offer_again);
    }

    /// A snapshot could not be made now; it is asked for again.
    pub fn snapshot_failed(&mut self) {
        self.snapshot_wanted = false;
    }

    /// A chunk for a follower.
    pub fn chunk_read(&mut self, to: NodeId, chunk: Chunk) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.followers.get(&to).is_some_and(|p| p.sending() == Sending::Snapshot) {
            self.send_now(to, Body::SnapshotChunk(chunk));
        }
    }

    /// So much of a snapshot is stored.
    pub fn chunk_stored(&mut self, id: SnapshotId, bytes: u64) {
        let Some(receiving) = self.receiving.as_mut().filter(|r| r.meta.id() == id && !r.installing) else { return };
        assert!(bytes <= receiving.meta.bytes, "more of a snapshot is stored than there is");
        receiving.stored = Some(bytes);
        if bytes < receiving.meta.bytes {
            self.want_chunk();
        } else if id.index > self.commit {
            receiving.installing = true;
            let meta = receiving.meta.clone();
            self.output.snapshots.push(SnapshotTask::Install(meta));
        } else {
            self.receiving = None; // Entries were faster.
        }
    }

    /// The snapshot is in place: the state machine, in memory and on disk, is as of its index.
    pub fn snapshot_installed(&mut self, meta: SnapshotMeta) {
        assert!(self.receiving.take().is_some_and(|r| r.installing && r.meta == meta), "a snapshot nobody waited for");
        let index = meta.start.index;
        assert!(index > self.commit, "a snapshot as of {index} would undo what is committed, up to {}", self.commit);
        let late = u64::from(mutants::on(Mutant::SnapshotOneLate));
        self.log.begin_after(LogStart { index: Index(index.0 + late), ..meta.start });
        self.commit = index;
        self.delivered = index;
        self.agreed = self.agreed.max(index).min(self.log.last().0);
        self.observe(Observation::SnapshotInstalled { index });
        self.settle_damage();
        if let Some(leader) = self.leader() {
            let damaged = self.damage.is_some();
            self.send_durable(leader, Body::Appended { index, damaged });
        }
    }

    /// The snapshot is not what it should be: it is asked for again from its beginning.
    pub fn snapshot_refused(&mut self, id: SnapshotId) {
        if self.receiving.as_ref().is_some_and(|r| r.meta.id() == id) {
            self.receiving = None;
        }
    }

    /// Whether a snapshot is being put in place.
    pub(crate) fn is_installing(&self) -> bool {
        self.receiving.as_ref().is_some_and(|r| r.installing)
    }

    /// A follower needs a snapshot: offer the one there is, or have one made.
    pub(crate) fn offer_snapshot(&mut self, peer: NodeId) {
        let at_least = self.log.start().index;
        match &self.snapshot {
            Some(meta) if meta.start.index >= at_least => {
                let offer = Body::SnapshotOffer(Box::new(meta.clone()));
                let now = self.now;
                let Role::Leader(leader) = &mut self.role else { return };
                let progress = leader.followers.get_mut(&peer).expect("every peer has its progress");
                if progress.offered(now) {
                    self.observe(Observation::Sending { peer, how: Sending::Snapshot, cause: Cause::LogCompacted });
                }
                self.send_now(peer, offer);
            }
            Some(_) | None => {
                if !std::mem::replace(&mut self.snapshot_wanted, true) {
                    self.output.snapshots.push(SnapshotTask::Take { at_least });
                }
            }
        }
    }

    /// The leader says that this node needs a snapshot.
    pub(crate) fn handle_snapshot_offer(&mut self, leader: NodeId, message: u64, meta: SnapshotMeta) {
        self.hear_leader(leader, message);
        if meta.start.index <= self.commit {
            let (index, damaged) = (self.commit, self.damage.is_some());
            self.send_durable(leader, Body::Appended { index, damaged });
            return;
        }
        match &self.receiving {
            Some(receiving) if receiving.installing => {}
            Some(receiving) if receiving.meta == meta => self.want_chunk(),
            Some(_) | None => {
                self.receiving = Some(Receiving { meta: meta.clone(), stored: None, installing: false });
                self.output.snapshots.push(SnapshotTask::Begin(meta));
            }
        }
    }

    /// A follower asks for a chunk.
    pub(crate) fn handle_snapshot_wanted(&mut self, peer: NodeId, id: SnapshotId, offset: u64) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&peer).filter(|p| p.sending() == Sending::Snapshot) else {
            return;
        };
        match &self.snapshot {
            Some(meta) if meta.id() == id && offset < meta.bytes => {
                progress.wanted(offset, now);
                self.output.snapshots.push(SnapshotTask::Read { to: peer, id, offset });
            }
            // There is a newer one now, or none: the next round offers what there is.
            Some(_) | None => progress.offer_again(),
        }
    }

    /// The leader sends a chunk.
    pub(crate) fn handle_snapshot_chunk(&mut self, leader: NodeId, message: u64, chunk: Chunk) {
        self.hear_leader(leader, message);
        let Some(receiving) = self.receiving.as_mut().filter(|r| r.meta.id() == chunk.id) else { return };
        let whole = receiving.meta.bytes;
        let fits = chunk.offset.checked_add(chunk.bytes.len() as u64).is_some_and(|end| end <= whole);
        if receiving.stored == Some(chunk.offset) && fits && !chunk.bytes.is_empty() {
            receiving.stored = None;
            self.output.snapshots.push(SnapshotTask::Store(chunk));
        }
    }

    /// Asks the leader for what comes next, unless a chunk is just being stored.
    fn want_chunk(&mut self) {
        let Some(leader) = self.leader().filter(|l| *l != self.config.id) else { return };
        let Some(receiving) = self.receiving.as_ref().filter(|r| !r.installing) else { return };
        let id = receiving.meta.id();
        if let Some(offset) = receiving.stored {
            self.send_now(leader, Body::SnapshotWanted { id, offset });
        }
    }
}
