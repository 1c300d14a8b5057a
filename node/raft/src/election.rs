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

use std::collections::BTreeMap;

use crate::{
    Body, Cause, Index, NodeId, Observation, Raft, RoleKind, Term, VoteRefusal,
    node::Role,
    quorum::{Tally, tally},
};

impl Raft {
    /// No leader was heard for too long: ask who would vote for this node.
    pub(crate) fn start_pre_vote(&mut self) {
        let cause = Cause::ElectionTimeout { ticks: self.election_timeout };
        self.role = Role::PreCandidate { votes: BTreeMap::from([(self.config.id, true)]) };
        self.leader_heard_at = None;
        self.restart_election_clock();
        self.observe(Observation::Became { role: RoleKind::PreCandidate, cause });
        let last = self.log.last();
        for peer in self.peers() {
            let envelope = self.envelope(peer, self.term.next(), Body::RequestVote { pre: true, last });
            self.output.send_now.push(envelope);
        }
        self.settle_election();
    }

    /// A majority would vote for this node: enter the next term and ask for it.
    fn start_campaign(&mut self, votes: usize) {
        let cause = Cause::PreVoteWon { votes };
        self.enter_own_term(cause);
        self.role = Role::Candidate { votes: BTreeMap::new(), own_vote: None };
        self.restart_election_clock();
        self.observe(Observation::Became { role: RoleKind::Candidate, cause });
        let last = self.log.last();
        for peer in self.peers() {
            self.send_durable(peer, Body::RequestVote { pre: false, last });
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
    pub(crate) fn handle_request_vote(
        &mut self,
        candidate: NodeId,
        message: u64,
        asked: Term,
        pre: bool,
        last: (Index, Term),
    ) {
        let refused = self.refusal(candidate, asked, pre, last);
        if refused.is_none() && !pre {
            self.voted_for = Some(candidate);
            self.restart_election_clock();
        }
        self.observe(Observation::VoteCast { candidate, asked, pre, refused, message });
        // Even a refusal may tell of a term that is not on disk yet.
        self.send_durable(candidate, Body::Vote { pre, asked, refused });
    }

    /// Why this node does not vote for a candidate; none if it does.
    fn refusal(&self, candidate: NodeId, asked: Term, pre: bool, last: (Index, Term)) -> Option<VoteRefusal> {
        if let Some(leader) = self.live_leader(candidate) {
            return Some(VoteRefusal::LeaderAlive(leader));
        }
        if asked < self.term || (pre && asked == self.term) {
            return Some(VoteRefusal::StaleTerm);
        }
        if let Some(other) = self.voted_for.filter(|v| !pre && *v != candidate) {
            return Some(VoteRefusal::AlreadyVoted(other));
        }
        let (own_index, own_term) = self.log.last();
        let (index, term) = last;
        if (term, index) < (own_term, own_index) {
            return Some(VoteRefusal::LogBehind);
        }
        None
    }

    /// The leader that this node heard within the shortest election timeout, or is itself. A leader that asks for votes
    /// has given up its office: it protects nobody any more.
    pub(crate) fn live_leader(&self, candidate: NodeId) -> Option<NodeId> {
        match self.role {
            Role::Leader { .. } => Some(self.config.id),
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
        voter: NodeId,
        message: u64,
        pre: bool,
        asked: Term,
        refused: Option<VoteRefusal>,
    ) {
        let votes = match &mut self.role {
            Role::PreCandidate { votes } if pre && asked == self.term.next() => votes,
            Role::Candidate { votes, .. } if !pre && asked == self.term => votes,
            // The answer to a campaign that is over.
            Role::PreCandidate { .. } | Role::Candidate { .. } | Role::Follower { .. } | Role::Leader { .. } => return,
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
            Role::Follower { .. } | Role::Leader { .. } => return,
        };
        let yes = votes.values().filter(|v| **v).count();
        match tally(&self.config.voters, votes) {
            Tally::Won if pre => self.start_campaign(yes),
            Tally::Won => self.become_leader(yes),
            Tally::Lost => self.become_follower(None, Cause::CampaignLost),
            Tally::Open => {}
        }
    }
}
