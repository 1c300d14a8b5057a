//! What nodes say to each other.
//!
//! Laws:
//! - an envelope's `term` is the sender's term, except in a pre-vote request, where it is the term the sender would
//!   campaign in (it has not entered it);
//! - `id` counts the messages of one sender in one life of its process; observations of both sides name it.

use crate::{Chunk, Entry, Index, NodeId, ReadRound, SnapshotId, SnapshotMeta, StorageId, Term};

/// One message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The sender's counter, from 1.
    pub id: u64,
    /// Who sends ...
    pub from: NodeId,
    /// ... and from which data directory.
    pub storage: StorageId,
    /// For whom.
    pub to: NodeId,
    /// See the module's first law.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// "Would you vote for me?" (`pre`) or "Vote for me" (paper 5.2, thesis 9.6).
    RequestVote {
        /// A pre-vote asks and promises nothing.
        pre: bool,
        /// The leader itself asked for this campaign (thesis 3.10): that it is alive is no reason to refuse.
        transfer: bool,
        /// End of the candidate's log.
        last: (Index, Term),
    },
    /// The answer to either.
    Vote {
        /// Of a pre-vote.
        pre: bool,
        /// The term that was asked for; an answer to an earlier campaign is told by it.
        asked: Term,
        /// No refusal: granted.
        refused: Option<VoteRefusal>,
    },
    /// Entries for a follower, after an entry that both should have (paper 5.3).
    Append(Append),
    /// The logs agree up to this index, and the follower has that much on disk.
    Appended {
        /// See above.
        index: Index,
        /// The follower's disk is being refilled: this counts towards no majority.
        damaged: bool,
    },
    /// The logs do not agree where the append was to go.
    Rejected(Rejection),
    /// "I am the leader of this term", and how far this follower may apply.
    Heartbeat {
        /// Never above what the leader knows this follower to have.
        commit: Index,
        /// The latest round in which the leader makes sure that it still leads.
        read: ReadRound,
    },
    /// "I heard you." Sent at once, whatever the disk does.
    HeartbeatReply {
        /// As in the heartbeat.
        read: ReadRound,
        /// As in [`Body::Appended`].
        damaged: bool,
    },
    /// "Campaign now, you are to lead" (thesis 3.10).
    TimeoutNow,
    /// "You are so far behind that you need this snapshot."
    SnapshotOffer(Box<SnapshotMeta>),
    /// "Send what comes at this offset."
    SnapshotWanted {
        /// Of which snapshot.
        id: SnapshotId,
        /// From its start, bytes.
        offset: u64,
    },
    /// A part of a snapshot.
    SnapshotChunk(Chunk),
}

/// Entries for a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// The entry before the first one here.
    pub prev: (Index, Term),
    /// Contiguous from `prev + 1`; may be empty (a probe).
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    pub commit: Index,
}

/// Where agreement may still be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// `prev` of the append that was refused.
    pub prev: Index,
    /// The follower's last place, at or before `prev`, whose term is not above the refused one.
    pub hint: (Index, Term),
    /// The follower lost entries that it once acknowledged, and knows it.
    pub damaged: bool,
}

/// Why a vote was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteRefusal {
    /// The candidate's term is over.
    StaleTerm,
    /// This term's vote went to another.
    AlreadyVoted(NodeId),
    /// The candidate's log lacks entries that the voter has (paper 5.4.1).
    LogBehind,
    /// The voter has heard a leader within the shortest election timeout (thesis 4.2.3, 9.6).
    LeaderAlive(NodeId),
    /// The voter lost what it once promised, or is not who was given its vote: it may not vote.
    Damaged,
}
