//! What the core wants done.

use crate::{
    Entry, Envelope, Index, Membership, NodeId, Observed, ReadError, ReadToken, SnapshotTask, Term, TransferOutcome,
};

/// Writes are numbered; each covers all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteSeq(pub u64);

/// What a node must never forget beside its log (paper, figure 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got this node's vote in that term.
    pub voted_for: Option<NodeId>,
    /// What this node once acknowledged and lost; none on a healthy disk.
    pub damage: Option<Damage>,
}

/// A disk that lost what was acknowledged from it, and how much that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Damage {
    /// Entries up to here were acknowledged.
    pub until: Index,
    /// In this term at the latest; the latest vote was given in it, too.
    pub term: Term,
}

/// Where a log begins: everything up to here is in the state that the state machine has on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogStart {
    /// The last index that is not in the log any more; 0 if nothing was ever removed.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// The membership as of there.
    pub membership: Membership,
}

/// To be made durable as one whole, after every write with a lower number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// To be given back to [`Raft::persisted`](crate::Raft::persisted).
    pub seq: WriteSeq,
    /// Term and vote as they are now.
    pub hard: HardState,
    /// If the log begins elsewhere now: what is stored at or before this index is to be removed, and this kept instead.
    pub start: Option<LogStart>,
    /// The log is the same below this index; whatever is stored from here on is replaced by `entries`. With a snapshot in
    /// the place of the log, it is the first index after `start`.
    pub from: Index,
    /// Contiguous from `from`; may be empty when only term or vote changed.
    pub entries: Vec<Entry>,
}

/// All that is to be done after some inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "an output that is not carried out is a lost vote or a lost entry"]
pub struct Output {
    /// To be written.
    pub write: Option<Write>,
    /// May leave at once.
    pub send_now: Vec<Envelope>,
    /// May leave when the write `after` is durable, not before.
    pub send_durable: Vec<Envelope>,
    /// The newest write that has been asked for, in this output or an earlier one.
    pub after: WriteSeq,
    /// Committed now: to be applied, in order.
    pub committed: Vec<Entry>,
    /// Reads that may be answered as soon as their index is applied, or that failed.
    pub reads: Vec<(ReadToken, Result<Index, ReadError>)>,
    /// How a transfer of leadership ended.
    pub transferred: Option<TransferOutcome>,
    /// To be done with snapshots, in order.
    pub snapshots: Vec<SnapshotTask>,
    /// What happened, in order.
    pub observations: Vec<Observed>,
}
