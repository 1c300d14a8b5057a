//! What happened inside the core, and why: read by the console, the simulator and the scenario tests alike.
//!
//! An observation is never an input. It is a value with no words in it; words are made where people read.

use crate::{Index, NodeId, RoleKind, Sending, Term, TransferOutcome, VoteRefusal};

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
    Sending {
        /// The follower.
        peer: NodeId,
        /// How it sends now.
        how: Sending,
        /// Why.
        cause: Cause,
    },
    /// Another membership is in force: appended, or back in force after a truncation.
    MembershipChanged {
        /// The entry that says it.
        index: Index,
        /// Two sets of voters must agree.
        joint: bool,
    },
    /// This leader hands its office over.
    TransferStarted {
        /// To whom.
        target: NodeId,
        /// Somebody asked for it; else its disk stands still.
        asked_for: bool,
    },
    /// How that ended.
    TransferEnded {
        /// To whom it should have gone.
        target: NodeId,
        /// How.
        outcome: TransferOutcome,
    },
    /// Entries left the log because the state machine has them on disk.
    Compacted {
        /// The last of them.
        index: Index,
    },
    /// A snapshot took the place of log and state.
    SnapshotInstalled {
        /// As of here.
        index: Index,
    },
    /// This node's disk lost what it had acknowledged: it has no vote until it is refilled.
    Damaged {
        /// Entries up to here were acknowledged.
        until: Index,
    },
    /// What was lost is here again.
    Refilled {
        /// The log agrees with the leader's up to here.
        index: Index,
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
    /// The host of the leader says that its process is gone.
    LeaderGone {
        /// Who led.
        leader: NodeId,
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
    /// Nothing is known of a new member yet.
    NewMember,
    /// The follower needs entries that are no longer in the log.
    LogCompacted,
    /// This leader did not hear a majority for too long.
    MajoritySilent,
    /// This leader is no member any more.
    Removed,
    /// The leader wants this node to lead.
    TransferAsked {
        /// The leader.
        from: NodeId,
        /// The message that said so.
        message: u64,
    },
}
