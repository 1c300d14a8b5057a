//! What a node is told when it starts: once by its operator, and by its disk.

use crate::{Entry, HardState, Index, LogStart, Membership, NodeId, StorageId, progress::Window};

/// What a node is told once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// Its data directory.
    pub storage: StorageId,
    /// Who belongs to the group before its log says anything about it: empty on a node that is to join a group.
    pub bootstrap: Membership,
    /// A leader sends a heartbeat every so many ticks.
    pub heartbeat_ticks: u32,
    /// An election timeout is drawn from this many ticks ...
    pub election_ticks_min: u32,
    /// ... to this many.
    pub election_ticks_max: u32,
    /// Entries in one append.
    pub batch_entries_max: usize,
    /// Bytes in one append; a single larger entry goes alone.
    pub batch_bytes_max: usize,
    /// Appends to one follower that are not answered.
    pub window_batches_max: usize,
    /// Their bytes.
    pub window_bytes_max: usize,
    /// Bytes of entries that a leader holds uncommitted; above, it refuses proposals.
    pub uncommitted_bytes_max: usize,
    /// Reads that wait to be confirmed; more are refused.
    pub reads_max: usize,
    /// Where this node's chance starts.
    pub seed: u64,
}

impl Config {
    /// Usual limits for a node of this group, at 10 ms a tick.
    #[must_use]
    pub fn new(id: NodeId, storage: StorageId, bootstrap: Membership, seed: u64) -> Config {
        Config {
            id,
            storage,
            bootstrap,
            heartbeat_ticks: 5,
            election_ticks_min: 30,
            election_ticks_max: 60,
            batch_entries_max: 1024,
            batch_bytes_max: 1 << 20,
            window_batches_max: 8,
            window_bytes_max: 8 << 20,
            uncommitted_bytes_max: 64 << 20,
            reads_max: 4096,
            seed,
        }
    }

    pub(crate) fn window(&self) -> Window {
        Window { batches: self.window_batches_max, bytes: self.window_bytes_max }
    }

    pub(crate) fn check(&self) {
        assert!(self.heartbeat_ticks > 0, "a heartbeat every 0 ticks");
        assert!(self.election_ticks_min > self.heartbeat_ticks, "followers would not wait for a heartbeat");
        assert!(self.election_ticks_max >= self.election_ticks_min, "the election timeout is not a range");
        assert!(self.batch_entries_max > 0 && self.window_batches_max > 0, "a limit of 0 sends nothing");
    }
}

/// What a node finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restart {
    /// Term, vote, and what was lost.
    pub hard: HardState,
    /// Where the log begins.
    pub start: LogStart,
    /// All entries after it.
    pub entries: Vec<Entry>,
    /// The state machine above has applied this much; so much was committed.
    pub applied: Index,
}
