//! The laws that a cluster must keep, as the evidence that one was broken. The letters are those of the usual list:
//! election safety, append only, log matching, leader completeness, state machine safety, votes, durability.

use raftdeck_jobs::{JobId, LeaseToken};
use raftdeck_raft::{Index, NodeId, Term};
use thiserror::Error;

/// A law that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Paper, figure 3: election safety.
    #[error("two leaders in {term}: {one} and {other}")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
    /// Paper, figure 3: a leader only appends.
    #[error("{leader} leads {term} and has changed its own log at {index}")]
    LeaderRewrote {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The place.
        index: Index,
    },
    /// Paper, figure 3: leader completeness.
    #[error("{leader} leads {term} without the committed entry {index}")]
    LeaderLacks {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The entry.
        index: Index,
    },
    /// Paper, figure 3: state machine safety.
    #[error("{node} commits another entry at {index} than was committed there before")]
    CommittedChanged {
        /// The node.
        node: NodeId,
        /// The place.
        index: Index,
    },
    /// Paper, figure 3: log matching.
    #[error("{node} has another log up to entry {index} of {term} than it was seen with before")]
    LogsDiffer {
        /// The node.
        node: NodeId,
        /// The place ...
        index: Index,
        /// ... and its term.
        term: Term,
    },
    /// Replicas that applied the same have the same state.
    #[error("{node} has another state at {applied} than {first} had")]
    StatesDiffer {
        /// The node.
        node: NodeId,
        /// Who was there first.
        first: NodeId,
        /// The applied index.
        applied: u64,
    },
    /// The term, or the commit index of one life, fell; or a node came back with a lower term than it had shown.
    #[error("the {what} of {node} fell from {from} to {to}")]
    Fell {
        /// Of whom.
        node: NodeId,
        /// What.
        what: &'static str,
        /// From.
        from: u64,
        /// To.
        to: u64,
    },
    /// A vote is given once a term.
    #[error("{node} voted for {one} and for {other} in {term}")]
    VotedTwice {
        /// The voter.
        node: NodeId,
        /// The term.
        term: Term,
        /// The first.
        one: NodeId,
        /// The second.
        other: NodeId,
    },
    /// Paper, 5.4.2 and figure 8: an entry of an earlier term is committed only by one of the leader's own.
    #[error("{leader} leads {term} and commits entry {index} of an earlier term by counting")]
    CommittedByCounting {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The entry.
        index: Index,
    },
    /// A vote is remembered for as long as its term lasts (paper, figure 2).
    #[error("{node} comes back and has forgotten its vote for {candidate} in {term}")]
    VoteForgotten {
        /// The voter.
        node: NodeId,
        /// The term.
        term: Term,
        /// Who got the vote.
        candidate: NodeId,
    },
    /// Something was acknowledged that a majority does not have on disk.
    #[error("entry {index} of {term} was acknowledged and is durable on {on:?} only")]
    AcknowledgedTooEarly {
        /// The entry.
        index: Index,
        /// Its term.
        term: Term,
        /// Who has it on disk.
        on: Vec<NodeId>,
    },
    /// Something that was acknowledged is not there.
    #[error("job {job} was acknowledged and {node} does not have it")]
    Lost {
        /// The job.
        job: JobId,
        /// Where it was looked for.
        node: NodeId,
    },
    /// One request took effect more than once.
    #[error("{what} took effect {times} times on {node}")]
    DoneTwice {
        /// Which request.
        what: String,
        /// How often.
        times: usize,
        /// Where it was looked for.
        node: NodeId,
    },
    /// One call of a session was answered in two ways.
    #[error("{what} was answered as of {one}, and as of {other} or otherwise")]
    TwoAnswers {
        /// Which.
        what: String,
        /// The first answer's index.
        one: Index,
        /// The second's.
        other: Index,
    },
    /// A read was answered as of an index before something that was acknowledged when it began.
    #[error("a read was answered as of {index}, but {acknowledged} was acknowledged before it began")]
    StaleRead {
        /// The answer.
        index: Index,
        /// What it should have seen.
        acknowledged: Index,
    },
    /// Two memberships follow each other whose majorities need not meet.
    #[error("{node} goes from one membership to another at {index} that shares no majority with it")]
    MembershipLeaps {
        /// The node.
        node: NodeId,
        /// The entry.
        index: Index,
    },
    /// A second change of the membership began before the first was committed.
    #[error("{leader} has {count} changes of the membership under way")]
    TwoChanges {
        /// The leader.
        leader: NodeId,
        /// How many.
        count: usize,
    },
    /// A membership was changed by a leader that has no entry of its own term committed.
    #[error("{leader} changes the membership in {term} before it knows what is committed")]
    ChangeTooEarly {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
    },
    /// A learner became a voter that lacks even what there was when it became a learner.
    #[error("{leader} makes {node} a voter at {index}, which is far behind")]
    PromotedTooEarly {
        /// The leader.
        leader: NodeId,
        /// The learner.
        node: NodeId,
        /// The entry.
        index: Index,
    },
    /// A term was begun that no majority wanted, and no leader.
    #[error("{node} campaigns in {term}, and neither a majority would vote for it nor was it told to")]
    CampaignUnasked {
        /// The candidate.
        node: NodeId,
        /// The term.
        term: Term,
    },
    /// A majority had its leader, and lost it to a node that does not hear that leader, or comes back.
    #[error("the leader of {from} was deposed for {to} though a majority heard it all the time: {status}")]
    Disturbed {
        /// The term that all were content with.
        from: Term,
        /// The one that came after.
        to: Term,
        /// Of all nodes.
        status: String,
    },
    /// A worker's word was accepted though its lease was over and another one had begun.
    #[error("job {job} was settled at {index} under lease {token}, after lease {newer} had been given")]
    StaleLease {
        /// The job.
        job: JobId,
        /// The lease that was shown.
        token: LeaseToken,
        /// The one that held.
        newer: LeaseToken,
        /// Of the word.
        index: Index,
    },
    /// A job was given out though its queue was paused.
    #[error("job {job} was claimed at {index}, though its queue was paused at {pause} and nobody had resumed it")]
    ClaimedPaused {
        /// The job.
        job: JobId,
        /// Of the claim.
        index: Index,
        /// Of the pause.
        pause: Index,
    },
    /// Somebody leads or is elected who has no vote.
    #[error("{leader} leads {term} and is no voter of its own membership")]
    LeaderWithoutVote {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
    },
    /// A bound on memory was passed.
    #[error("{node} holds {what} of {found}, the limit is {limit}")]
    Unbounded {
        /// Where.
        node: NodeId,
        /// What.
        what: &'static str,
        /// So much.
        found: usize,
        /// So much may be.
        limit: usize,
    },
    /// A caller that never got an answer.
    #[error("{count} callers of {node} have no answer")]
    Unanswered {
        /// Whose callers.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// Healed, or a majority of it, and yet it does not come to rest.
    #[error("not settled {waited_ms} ms after {healed} was healed: {why}")]
    NotSettled {
        /// How long was waited.
        waited_ms: u64,
        /// What was healed.
        healed: String,
        /// What is missing.
        why: String,
    },
    /// A node lost what it had acknowledged, though nobody touched its disk.
    #[error("{node} starts damaged, and nothing but crashes and failing writes happened to its disk")]
    DamagedByNothing {
        /// The node.
        node: NodeId,
    },
    /// The disk refused what it should have taken.
    #[error("{node}: {error}")]
    Storage {
        /// The node.
        node: NodeId,
        /// How.
        error: String,
    },
    /// A law that the program itself watches over.
    #[error("an assertion failed: {words}")]
    Assertion {
        /// Its words.
        words: String,
    },
}
