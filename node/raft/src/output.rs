//! What the core wants done.

use crate::{Entry, Envelope, Index, NodeId, Observed, Term};

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
}

/// To be made durable as one whole, after every write with a lower number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// To be given back to [`Raft::persisted`](crate::Raft::persisted).
    pub seq: WriteSeq,
    /// Term and vote as they are now.
    pub hard: HardState,
    /// The log is the same below this index; whatever is stored from here on is replaced by `entries`.
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
    /// What happened, in order.
    pub observations: Vec<Observed>,
}
