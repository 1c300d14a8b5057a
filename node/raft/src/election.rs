//! Elections: paper 5.2 and 5.4.1, with pre-votes (thesis 9.6).
//!
//! A node that hears no leader for its election timeout first asks, without entering a new term, who would vote for it.
//! Only a majority of such pre-votes lets it raise the term and campaign. So a node that was cut off, or whose log is
//! behind, comes back without having driven up the term, and disturbs nobody.
//!
//! Laws:
//! - a vote is given once a term, to one candidate, and only to one whose log is at least as complete as the voter's;
//! - nobody votes against a leader that it heard within the shortest election timeout;
//! - a request for votes leaves only when the candidate's whole log is on disk. Were it to leave earlier, the candidate
//!   might crash, lose the end of its log, campaign again in the same term, and be elected by old votes that were given
//!   to a log it no longer has;
//! - a candidate's vote for itself counts only when it is on disk.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    Body, Cause, Index, NodeId, Observation, Raft, RoleKind, StorageId, Term, VoteRefusal,
    mutants::{self, Mutant},
    node::Role,
    quorum::Tally,
};

/// What a candidate asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ballot {
    pub(crate) candidate: NodeId,
    pub(crate) asked: Term,
    pub(crate) pre: bool,
    pub(crate) transfer: bool,
    pub(crate) last: (Index, Term),
}

impl Raft {
    /// Whether this node may ask for votes: it is a voter, in this directory, and its disk is whole. One that an entry
    /// removes which is not committed here may still be needed: perhaps the others, without it, are no majority of the
    /// membership before, and it alone has all that is committed (thesis 4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        let in_force = [self.membership(), self.log.membership_at(self.commit)];
        let may_vote = in_force.iter().any(|m| m.counts(self.config.id, self.config.storage));
        self.damage.is_none() && !self.is_installing() && may_vote
    }

    /// No leader was heard for too long.
    pub(crate) fn time_out(&mut self) {
        if self.may_campaign() && mutants::on(Mutant::NoPreVote) {
            self.start_campaign(self.why_campaign(), false);
        } else if self.may_campaign() {
            self.start_pre_vote();
        } else {
            // Who may not campaign can only wait; but what it believes of a leader is out of date.
            self.role = Role::Follower { leader: None };
            self.restart_election_clock();
        }
    }

    /// A clock that was set shorter than any election timeout was set by [`Raft::peer_gone`].
    fn why_campaign(&self) -> Cause {
        match &self.role {
            Role::Follower { leader: Some(leader) } if self.election_timeout < self.config.election_ticks_min => {
                Cause::LeaderGone { leader: *leader }
            }
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } | Role::Leader(_) => {
                Cause::ElectionTimeout { ticks: self.election_timeout }
            }
        }
    }

    /// All who vote beside this node.
    fn other_voters(&self) -> Vec<NodeId> {
        let membership = self.membership();
        membership.members().into_iter().filter(|n| *n != self.config.id && membership.is_voter(*n)).collect()
    }

    /// Ask who would vote for this node.
    fn start_pre_vote(&mut self) {
        let cause = self.why_campaign();
        self.role = Role::PreCandidate { votes: BTreeMap::from([(self.config.id, true)]) };
        self.receiving = None;
        self.leader_heard_at = None;
        self.restart_election_clock();
        self.observe(Observation::Became { role: RoleKind::PreCandidate, cause });
        let last = self.log.last();
        for peer in self.other_voters() {
            let body = Body::RequestVote { pre: true, transfer: false, last };
            let envelope = self.envelope(peer, self.term.next(), body);
            self.output.send_now.push(envelope);
        }
        self.settle_election();
    }

    /// Enter the next term and ask for it: a majority would vote for this node, or the leader wants it to lead.
    pub(crate) fn start_campaign(&mut self, cause: Cause, transfer: bool) {
        self.enter_own_term(cause);
        self.role = Role::Candidate { votes: BTreeMap::new(), own_vote: None };
        self.receiving = None;
        self.restart_election_clock();
        self.observe(Observation::Became { role: RoleKind::Candidate, cause });
        let last = self.log.last();
        for peer in self.other_voters() {
            self.send_durable(peer, Body::RequestVote { pre: false, transfer, last });
        }
    }

    /// This candidate's vote for itself is on disk.
    pub(crate) fn count_own_vote(&mut self) {
        let own = self.config.id;
        if let Role::Candidate { votes, .. } = &mut self.role {
            votes.insert(own, true);
        }
        self.settle_election();
    }

    /// A candidate asks.
    pub(crate) fn handle_request_vote(&mut self, ballot: Ballot, message: u64) {
        let Ballot { candidate, asked, pre, .. } = ballot;
        let refused = self.refusal(ballot);
        if refused.is_none() && !pre {
            self.voted_for = Some(candidate);
            self.restart_election_clock();
        }
        self.observe(Observation::VoteCast { candidate, asked, pre, refused, message });
        // Even a refusal may tell of a term that is not on disk yet.
        self.send_durable(candidate, Body::Vote { pre, asked, refused });
    }

    /// Why this node does not vote for a candidate; none if it does. It may be asked although it takes itself for a
    /// learner: its promotion may be in entries that it does not have yet (etcd 10998).
    fn refusal(&self, ballot: Ballot) -> Option<VoteRefusal> {
        let Ballot { candidate, asked, pre, transfer, last } = ballot;
        if (self.damage.is_some() && !mutants::on(Mutant::DamagedVotes)) || self.is_installing() {
            return Some(VoteRefusal::Damaged);
        }
        if let Some(leader) = self.live_leader(candidate).filter(|_| !transfer) {
            return Some(VoteRefusal::LeaderAlive(leader));
        }
        if asked < self.term || (pre && asked == self.term) {
            return Some(VoteRefusal::StaleTerm);
        }
        if let Some(other) = self.voted_for.filter(|v| !pre && *v != candidate && !mutants::on(Mutant::VotesTwice)) {
            return Some(VoteRefusal::AlreadyVoted(other));
        }
        let (own_index, own_term) = self.log.last();
        let (index, term) = last;
        if (term, index) < (own_term, own_index) && !mutants::on(Mutant::VotesForAnyLog) {
            return Some(VoteRefusal::LogBehind);
        }
        None
    }

    /// The leader that this node heard within the shortest election timeout, or is itself. A leader that asks for votes
    /// has given up its office: it protects nobody any more.
    pub(crate) fn live_leader(&self, candidate: NodeId) -> Option<NodeId> {
        match self.role {
            _ if mutants::on(Mutant::IgnoresLiveLeader) => None,
            Role::Leader(_) => Some(self.config.id),
            Role::Follower { leader } => {
                let heard = self.leader_heard_ticks_ago()?;
                leader.filter(|l| *l != candidate && heard < u64::from(self.config.election_ticks_min))
            }
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
        }
    }

    /// A voter answers.
    pub(crate) fn handle_vote(
        &mut self,
        (voter, storage): (NodeId, StorageId),
        message: u64,
        pre: bool,
        asked: Term,
        refused: Option<VoteRefusal>,
    ) {
        if !self.membership().counts(voter, storage) && !mutants::on(Mutant::CountsStrangersVote) {
            return; // No voter, or one that speaks from a directory that made no promises.
        }
        let votes = match &mut self.role {
            Role::PreCandidate { votes } if pre && asked == self.term.next() => votes,
            Role::Candidate { votes, .. } if !pre && asked == self.term => votes,
            // The answer to a campaign that is over.
            Role::PreCandidate { .. } | Role::Candidate { .. } | Role::Follower { .. } | Role::Leader(_) => return,
        };
        votes.insert(voter, refused.is_none());
        self.observe(Observation::VoteReceived { voter, pre, refused, message });
        self.settle_election();
    }

    /// Goes on if the votes so far decide.
    fn settle_election(&mut self) {
        let (votes, pre) = match &self.role {
            Role::PreCandidate { votes } => (votes, true),
            Role::Candidate { votes, .. } => (votes, false),
            Role::Follower { .. } | Role::Leader(_) => return,
        };
        let yes = votes.values().filter(|v| **v).count();
        match self.membership().tally(votes) {
            Tally::Won if pre => self.start_campaign(Cause::PreVoteWon { votes: yes }, false),
            Tally::Won => self.become_leader(yes),
            Tally::Lost => self.become_follower(None, Cause::CampaignLost),
            Tally::Open => {}
        }
    }
}
