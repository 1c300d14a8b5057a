//! Deliberate bugs, each behind a switch that only the simulator's proof turns on: a simulator that does not find these
//! says nothing when it finds none. Without the feature `mutants`, `on` is a constant and nothing of them is left.
//!
//! Each names where it is known from: the rule it breaks, or a project that had it.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $mutant:ident in $file:literal,)+) => {
        /// A bug of the consensus core.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])+ $mutant,)+ }

        impl Mutant {
            /// Each, and the file it is in.
            pub const ALL: &[(Mutant, &str)] = &[$((Mutant::$mutant, $file)),+];
        }
    };
}

mutants! {
    /// A node that steps down within a term forgets its vote of that term (CCF 5891).
    ForgetsVote in "node",

    /// The vote is not written with the term (paper, figure 2).
    WritesNoVote in "node",

    /// A vote is given whatever the candidate's log (paper 5.4.1).
    VotesForAnyLog in "election",

    /// A vote is given to everybody who asks (paper 5.2).
    VotesTwice in "election",

    /// An election timeout raises the term at once (thesis 9.6; Cloudflare, November 2020).
    NoPreVote in "election",

    /// Who hears a leader votes against it (thesis 4.2.3).
    IgnoresLiveLeader in "election",

    /// A vote from another directory than the member's counts (raft-rs, through qdrant 1235).
    CountsStrangersVote in "election",

    /// A node that lost its promises votes (FAST 2018).
    DamagedVotes in "election",

    /// Half of an even number of voters is a majority.
    HalfIsEnough in "quorum",

    /// A leader that hears nobody stays in office (thesis 6.2).
    NoCheckQuorum in "leader",

    /// A directory that is gone replaces a member by a message that comes late.
    BelievesLateStranger in "leader",

    /// What a damaged node has counts towards a majority (FAST 2018).
    CountsDamaged in "leader",

    /// A leader counts itself before its own disk has the entry (thesis 10.2.1).
    CountsItselfEarly in "replication",

    /// A leader commits entries of earlier terms by counting (paper 5.4.2, figure 8; async-raft 106).
    CommitsOldTerms in "replication",

    /// A new leader appends no entry of its own (paper 8).
    AppendsNoNoop in "replication",

    /// An append that comes late removes what came after it (paper 5.3).
    TruncatesOnOverlap in "replication",

    /// The term of the entry before an append is not compared (paper 5.3).
    SkipsPrevCheck in "replication",

    /// A follower commits what its leader has committed, up to the end of its own log (etcd, CCF 8172).
    CommitsUnclamped in "replication",

    /// The same by heartbeat, on both of its sides.
    BeatsUnclamped in "replication",

    /// A leader of a lower term gets no answer: the two never meet again (raft paper 5.1; etcd).
    SilentToDeposed in "node",

    /// A refusal that comes late lowers what a follower is known to have (CCF, toydb).
    LowersMatched in "progress",

    /// What was sent and is not answered is never taken for lost (etcd 14633).
    WindowStaysShut in "replication",

    /// A truncation does not bring back the membership before (thesis 4.1; openraft).
    KeepsTruncated in "log",

    /// A write that completes vouches for what took the place of its entries (etcd, asynchronous storage).
    OldWriteVouches in "log",

    /// Voters change in one step, whoever they are (thesis 4.3).
    SkipsJoint in "membership",

    /// In a joint membership the new voters decide alone (thesis 4.3).
    JointByNewAlone in "membership",

    /// Acknowledgements of learners count towards a majority of voters.
    CountsLearners in "membership",

    /// A membership is changed before an entry of the leader's own term is committed (Ongaro, 2015).
    ChangesTooEarly in "reconfigure",

    /// A second change begins before the first is committed (thesis 4.1).
    ChangesTwice in "reconfigure",

    /// A learner becomes a voter with whatever it has (etcd 15107).
    PromotesAtOnce in "reconfigure",

    /// A leader that is no voter any more leads on (etcd 11038).
    RemovedLeaderStays in "reconfigure",

    /// An order to campaign is obeyed in a later term (CCF, late nomination).
    ObeysOldOrder in "transfer",

    /// A transfer whose target is silent goes on for ever (openraft 2088).
    TransferNeverEnds in "transfer",

    /// A read is answered without a round of heartbeats (thesis 6.4).
    ReadsAtOnce in "read",

    /// An answer to an earlier round confirms a later read (etcd 20418).
    ReusesReadRounds in "read",

    /// A read is answered before an entry of the leader's own term is committed (etcd 7331).
    ReadsTooEarly in "read",

    /// Reads of a leader that steps down get no answer (raft-rs, restate 2950).
    ForgetsReads in "read",

    /// The log goes on one entry too late after a snapshot.
    SnapshotOneLate in "snapshot",
}

/// Whether a bug is to be there.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub(crate) use switch::on;
#[cfg(feature = "mutants")]
pub use switch::set;

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// From now on this bug is there, on this thread; none of them, if none is given.
    pub fn set(mutant: Option<Mutant>) {
        ON.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}
