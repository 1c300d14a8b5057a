//! What happened inside the core, and why: read by the console, the simulator and the scenario tests alike.
//!
//! An observation is never an input. It is a value with no words in it; words are made where people read.

use crate::{Index, NodeId, RoleKind, Term, VoteRefusal};

/// An observation and the term in which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The node's term just after.
    pub term: Term,
    /// What.
    pub what: Observation,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// This node changed its role.
    Became {
        /// What it is now.
        role: RoleKind,
        /// Why.
        cause: Cause,
    },
    /// This node entered a higher term.
    TermRaised {
        /// Why.
        cause: Cause,
    },
    /// This node now takes another for the leader of its term.
    LeaderFound {
        /// The leader.
        leader: NodeId,
        /// The message that said so.
        message: u64,
    },
    /// This node answered a candidate.
    VoteCast {
        /// The candidate.
        candidate: NodeId,
        /// The term asked for.
        asked: Term,
        /// A pre-vote.
        pre: bool,
        /// No refusal: granted.
        refused: Option<VoteRefusal>,
        /// The request.
        message: u64,
    },
    /// This candidate got an answer.
    VoteReceived {
        /// The voter.
        voter: NodeId,
        /// A pre-vote.
        pre: bool,
        /// No refusal: granted.
        refused: Option<VoteRefusal>,
        /// The answer.
        message: u64,
    },
    /// Entries came into the log (not yet on disk).
    Appended {
        /// First of them.
        first: Index,
        /// Last of them.
        last: Index,
        /// The append that brought them; none on the leader that made them.
        message: Option<u64>,
    },
    /// Entries that a newer leader does not have left the log.
    Truncated {
        /// The first of them; all after it went too.
        from: Index,
        /// The append that said so.
        message: u64,
    },
    /// Everything up to here is committed.
    Committed {
        /// The new commit index.
        index: Index,
    },
    /// A leader changed the way it sends to a follower.
    Progress {
        /// The follower.
        peer: NodeId,
        /// One batch at a time, until it is known where the logs agree.
        probing: bool,
        /// Why.
        cause: Cause,
    },
}

/// Why it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No leader was heard for an election timeout of this many ticks.
    ElectionTimeout {
        /// As drawn.
        ticks: u32,
    },
    /// A majority would vote for this node.
    PreVoteWon {
        /// Who said so.
        votes: usize,
    },
    /// A majority has voted for this node.
    ElectionWon {
        /// How many.
        votes: usize,
    },
    /// So many refused that this campaign cannot be won.
    CampaignLost,
    /// A message of a higher term.
    HigherTerm {
        /// From whom.
        from: NodeId,
        /// Which.
        message: u64,
    },
    /// The leader of this term is another.
    OtherLeads {
        /// Who.
        leader: NodeId,
        /// The message that said so.
        message: u64,
    },
    /// This follower acknowledged or refused an append.
    Answer {
        /// Which answer.
        message: u64,
    },
    /// What was in flight is taken for lost: too long without an answer, or the link broke.
    SilentInFlight,
    /// A new leader knows nothing of its followers yet.
    NewLeader,
}
