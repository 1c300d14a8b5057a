//! Reads that are linearizable without an entry in the log: ReadIndex (thesis 6.4).
//!
//! The leader notes its commit index, makes sure by one round of heartbeats that it still leads, and then lets the read
//! be answered as soon as that index is applied. One round confirms every read that came before it. No clock is trusted.
//!
//! Laws:
//! - tokens and rounds are made by the leader and only grow: an answer to an earlier round, or to an earlier try of the
//!   same client, confirms nothing (etcd's stale read of 2025 came from a token that was used twice);
//! - a read waits until the leader has committed an entry of its own term: before, its commit index may be behind;
//! - a read that is not confirmed within the longest election timeout, or whose leader gives up its office, fails aloud.

use std::collections::VecDeque;

use crate::{
    Index, NodeId, Raft,
    mutants::{self, Mutant},
    node::Role,
    progress::Progress,
};

/// Names a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// Names a round of heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadRound(pub u64);

/// Why a read was not confirmed. Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// This node does not lead, or not any more; perhaps it knows who does.
    NotLeader {
        /// As far as it knows.
        leader: Option<NodeId>,
    },
    /// No majority has confirmed in time that this node leads.
    TimedOut,
    /// Too many reads wait.
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// A read that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    token: ReadToken,
    asked_at: u64,
    /// The round that will confirm it, and the index it then may be answered at; none before its round began.
    round: Option<(ReadRound, Index)>,
}

/// A leader's reads, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    waiting: VecDeque<Waiting>,
    /// The latest round that began.
    pub(crate) round: ReadRound,
}

impl Raft {
    /// Asks for a read: its token comes back in [`Output::reads`](crate::Output::reads).
    ///
    /// # Errors
    /// This node cannot even ask.
    pub fn read(&mut self) -> Result<ReadToken, ReadError> {
        let known = self.leader();
        let Role::Leader(leader) = &mut self.role else { return Err(ReadError::NotLeader { leader: known }) };
        if leader.reads.waiting.len() >= self.config.reads_max {
            return Err(ReadError::TooMany { limit: self.config.reads_max });
        }
        self.last_read = ReadToken(self.last_read.0 + 1);
        leader.reads.waiting.push_back(Waiting { token: self.last_read, asked_at: self.now, round: None });
        Ok(self.last_read)
    }

    /// Begins a round for the reads that have none. True if the followers must be asked.
    pub(crate) fn begin_read_round(&mut self) -> bool {
        let commit = self.commit;
        let own_term_committed = self.own_term_committed();
        let Role::Leader(leader) = &mut self.role else { return false };
        let may_begin = own_term_committed || mutants::on(Mutant::ReadsTooEarly);
        if !may_begin || leader.reads.waiting.back().is_none_or(|last| last.round.is_some()) {
            return false;
        }
        if leader.reads.round == ReadRound(0) || !mutants::on(Mutant::ReusesReadRounds) {
            leader.reads.round = ReadRound(leader.reads.round.0 + 1);
        }
        let round = leader.reads.round;
        for read in leader.reads.waiting.iter_mut().filter(|r| r.round.is_none()) {
            read.round = Some((round, commit));
        }
        self.confirm_reads();
        true
    }

    /// Lets go what a majority has confirmed.
    pub(crate) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(Waiting { round: Some((first, _)), .. }) = leader.reads.waiting.front() else { return };
        let now = leader.reads.round;
        let answered = |p: &Progress| if mutants::on(Mutant::ReadsAtOnce) { now } else { p.read_round() };
        let confirmed = self.majority_reached(|p| Index(answered(p).0), Index(now.0));
        if confirmed.0 < first.0 {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let is_confirmed = |read: &mut Waiting| read.round.is_some_and(|(round, _)| round.0 <= confirmed.0);
        while let Some(read) = leader.reads.waiting.pop_front_if(is_confirmed) {
            let (_, index) = read.round.expect("it is confirmed");
            self.output.reads.push((read.token, Ok(index)));
        }
    }

    /// Reads that waited too long fail.
    pub(crate) fn expire_reads(&mut self) {
        let (now, limit) = (self.now, u64::from(self.config.election_ticks_max));
        let Role::Leader(leader) = &mut self.role else { return };
        while let Some(read) = leader.reads.waiting.pop_front_if(|r| now - r.asked_at > limit) {
            self.output.reads.push((read.token, Err(ReadError::TimedOut)));
        }
    }

    /// This leader gives up its office: whoever waits is told.
    pub(crate) fn fail_reads(&mut self, reads: Reads, leader: Option<NodeId>) {
        let failed = reads.waiting.into_iter().map(|r| (r.token, Err(ReadError::NotLeader { leader })));
        self.output.reads.extend(failed.filter(|_| !mutants::on(Mutant::ForgetsReads)));
    }
}

#[cfg(test)]
impl Reads {
    /// For exploration: all were asked just now.
    pub(crate) fn count_anew(&mut self) {
        self.waiting.iter_mut().for_each(|read| read.asked_at = 0);
    }
}
