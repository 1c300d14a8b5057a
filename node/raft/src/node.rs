//! The struct itself: terms, roles, and who handles which message.
//!
//! A role carries the data that only this role has: a follower has no progress of others, a leader no count of votes.
//! Every message passes [`Raft::receive`]: first its term is compared with ours, by one rule for all (paper 5.1), then
//! it goes to the file that knows its kind.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{
    Body, Cause, Config, EntryKind, Envelope, HardState, Index, Log, NodeId, Observation, Observed, Output, Restart,
    Term, Write, WriteSeq, progress::Progress, quorum::majority, random::Random,
};

/// A role without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// Follows, or waits for a leader.
    Follower,
    /// Asks who would vote for it.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Appends.
    Leader,
}

impl RoleKind {
    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RoleKind::Follower => "follower",
            RoleKind::PreCandidate => "pre-candidate",
            RoleKind::Candidate => "candidate",
            RoleKind::Leader => "leader",
        }
    }
}

/// A role and what only it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower {
        leader: Option<NodeId>,
    },
    PreCandidate {
        votes: BTreeMap<NodeId, bool>,
    },
    /// `own_vote` is the write that makes the vote for itself durable; before, it does not count.
    Candidate {
        votes: BTreeMap<NodeId, bool>,
        own_vote: Option<WriteSeq>,
    },
    Leader {
        followers: BTreeMap<NodeId, Progress>,
        uncommitted_bytes: usize,
    },
}

/// Why a proposal was not taken. It is certain that nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposeError {
    /// This node does not lead; perhaps it knows who does.
    NotLeader {
        /// As far as it knows.
        leader: Option<NodeId>,
    },
    /// Too many bytes wait to be committed.
    TooManyUncommitted {
        /// The limit.
        limit_bytes: usize,
    },
}

/// A leader's view of a follower, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerView {
    /// The follower has this much on disk.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// It is not known yet where the logs agree.
    pub probing: bool,
    /// Batches sent and not answered.
    pub in_flight: usize,
}

/// One node's part in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) log: Log,
    pub(crate) commit: Index,
    /// Appends of this term have shown that the log is the leader's up to here.
    pub(crate) agreed: Index,
    pub(crate) role: Role,
    /// Ticks since the start.
    pub(crate) now: u64,
    /// When the leader was last heard, a vote was given or a campaign began.
    pub(crate) quiet_since: u64,
    /// When the leader of this term was last heard; none if that was never or in another term.
    pub(crate) leader_heard_at: Option<u64>,
    /// This node campaigns when it was quiet for so long.
    pub(crate) election_timeout: u32,
    pub(crate) heartbeat_at: u64,
    pub(crate) random: Random,
    /// Up to here, entries were given out to be applied.
    delivered: Index,
    /// Term and vote as they were in the newest write that held them ...
    written_hard: HardState,
    /// ... and which write that was.
    hard_in: WriteSeq,
    asked: WriteSeq,
    persisted: WriteSeq,
    messages: u64,
    pub(crate) output: Output,
}

impl Raft {
    /// A node as it starts: a follower that knows no leader.
    ///
    /// # Panics
    /// If the configuration makes no sense, or the state found on disk breaks a law of the log.
    #[must_use]
    pub fn new(config: Config, found: Restart) -> Raft {
        config.check();
        let log = Log::restore(found.entries);
        let (last, last_term) = log.last();
        assert!(found.applied <= last, "applied {} but the log ends at {last}", found.applied);
        assert!(found.hard.term >= last_term, "the log knows {last_term}, but the stored term is {}", found.hard.term);
        let mut raft = Raft {
            random: Random::new(config.seed),
            config,
            term: found.hard.term,
            voted_for: found.hard.voted_for,
            log,
            commit: found.applied,
            agreed: Index(0),
            role: Role::Follower { leader: None },
            now: 0,
            quiet_since: 0,
            leader_heard_at: None,
            election_timeout: 0,
            heartbeat_at: 0,
            delivered: found.applied,
            written_hard: found.hard,
            hard_in: WriteSeq(0),
            asked: WriteSeq(0),
            persisted: WriteSeq(0),
            messages: 0,
            output: Output::default(),
        };
        raft.restart_election_clock();
        raft
    }

    /// Time went on by one tick.
    pub fn tick(&mut self) {
        self.now += 1;
        match &self.role {
            Role::Leader { .. } => self.tick_leader(),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                if self.now - self.quiet_since >= u64::from(self.election_timeout) {
                    self.start_pre_vote();
                }
            }
        }
    }

    /// A message came.
    pub fn receive(&mut self, envelope: Envelope) {
        let Envelope { id, from, to, term, body } = envelope;
        assert_eq!(to, self.config.id, "a message for another node was delivered here");
        if !self.config.voters.contains(&from) || from == self.config.id {
            return; // From nobody we vote with: whatever it says has no meaning here.
        }
        if term > self.term && self.raises_term(from, &body) {
            self.raise_term(term, Cause::HigherTerm { from, message: id });
        }
        if let Role::Leader { followers, .. } = &mut self.role
            && let Some(progress) = followers.get_mut(&from).filter(|_| term == self.term)
        {
            progress.heard(self.now);
        }
        match body {
            Body::RequestVote { pre, last } => self.handle_request_vote(from, id, term, pre, last),
            Body::Vote { pre, asked, refused } => self.handle_vote(from, id, pre, asked, refused),
            // A deposed leader that does not know it. Our term in the answer tells it (and a leader of a lower term can
            // absorb a node that is stranded in a higher one only if it is answered).
            Body::Append(_) | Body::Heartbeat { .. } if term < self.term => self.send_now(from, Body::HeartbeatReply),
            Body::Append(append) => self.handle_append(from, id, append),
            Body::Heartbeat { commit } => self.handle_heartbeat(from, id, commit),
            // Answers to what this node sent in an earlier term say nothing about this one.
            Body::Appended(_) | Body::Rejected(_) | Body::HeartbeatReply if term < self.term => {}
            Body::Appended(index) => self.handle_appended(from, id, index),
            Body::Rejected(rejection) => self.handle_rejected(from, id, rejection),
            Body::HeartbeatReply => self.handle_heartbeat_reply(from),
        }
    }

    /// Appends commands, if this node leads: the places they got, in order. They are committed when they come out in
    /// [`Output::committed`] with the same term; another term there means that they are lost.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn propose(&mut self, commands: Vec<Bytes>) -> Result<(Term, Index), ProposeError> {
        let leader = self.leader();
        let Role::Leader { uncommitted_bytes, .. } = &mut self.role else {
            return Err(ProposeError::NotLeader { leader });
        };
        if *uncommitted_bytes > self.config.uncommitted_bytes_max {
            return Err(ProposeError::TooManyUncommitted { limit_bytes: self.config.uncommitted_bytes_max });
        }
        let first = self.log.last().0.next();
        self.append_own(commands.into_iter().map(EntryKind::Command).collect());
        Ok((self.term, first))
    }

    /// Write `seq`, and every one before it, is on disk.
    pub fn persisted(&mut self, seq: WriteSeq) {
        assert!(seq <= self.asked, "write {} was never asked for", seq.0);
        self.persisted = self.persisted.max(seq);
        self.log.persisted(seq);
        match &mut self.role {
            Role::Leader { .. } => self.advance_commit(),
            Role::Candidate { own_vote: Some(own), .. } if *own <= seq => self.count_own_vote(),
            Role::Candidate { .. } | Role::PreCandidate { .. } | Role::Follower { .. } => {}
        }
    }

    /// The link to a peer broke: what was on it is lost.
    pub fn link_lost(&mut self, peer: NodeId) {
        self.forget_in_flight(peer);
    }

    /// This process stood still for longer than an election timeout, and its ticks with it: whatever was heard before is
    /// no sign of life any more. Nobody is heard until something new comes.
    pub fn slept(&mut self) {
        self.leader_heard_at = None;
        if let Role::Leader { followers, .. } = &mut self.role {
            followers.values_mut().for_each(Progress::unheard);
        }
    }

    /// All that is to be done since the last call.
    pub fn take_output(&mut self) -> Output {
        self.replicate();
        let hard = self.hard();
        if hard != self.written_hard || self.log.has_unwritten() {
            self.asked = WriteSeq(self.asked.0 + 1);
            if std::mem::replace(&mut self.written_hard, hard) != hard {
                self.hard_in = self.asked;
            }
            let (from, entries) = self.log.take_unwritten(self.asked);
            self.output.write = Some(Write { seq: self.asked, hard, from, entries });
            if let Role::Candidate { own_vote: own_vote @ None, .. } = &mut self.role {
                *own_vote = Some(self.asked);
            }
        }
        if self.commit > self.delivered {
            self.output.committed = self.log.range(self.delivered.next(), self.commit).to_vec();
            self.delivered = self.commit;
        }
        self.output.after = self.asked;
        std::mem::take(&mut self.output)
    }

    /// This node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// All voters.
    #[must_use]
    pub fn voters(&self) -> &BTreeSet<NodeId> {
        &self.config.voters
    }

    /// The latest term this node knows.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Who got this node's vote in this term.
    #[must_use]
    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// What this node is.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        match self.role {
            Role::Follower { .. } => RoleKind::Follower,
            Role::PreCandidate { .. } => RoleKind::PreCandidate,
            Role::Candidate { .. } => RoleKind::Candidate,
            Role::Leader { .. } => RoleKind::Leader,
        }
    }

    /// Who leads this term, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Follower { leader } => leader,
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
            Role::Leader { .. } => Some(self.config.id),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Everything up to here is committed, as far as this node knows.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Whether this node has heard its leader, or as leader a majority with itself, within the longest election timeout.
    /// One that has not may have been left behind: what it believes is no ground for an answer.
    #[must_use]
    pub fn in_touch(&self) -> bool {
        let recent = |at: u64| self.now - at <= u64::from(self.config.election_ticks_max);
        match &self.role {
            Role::Leader { followers, .. } => {
                let heard = followers.values().filter(|p| p.heard_at().is_some_and(recent)).count();
                heard + 1 >= majority(self.config.voters.len())
            }
            Role::Follower { leader } => leader.is_some() && self.leader_heard_at.is_some_and(recent),
            Role::PreCandidate { .. } | Role::Candidate { .. } => false,
        }
    }

    /// What this leader knows of its followers; empty on others.
    pub fn followers(&self) -> impl Iterator<Item = (NodeId, PeerView)> {
        let followers = match &self.role {
            Role::Leader { followers, .. } => Some(followers),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => None,
        };
        followers.into_iter().flatten().map(|(node, p)| {
            let view =
                PeerView { matched: p.matched(), next: p.next(), probing: p.is_probing(), in_flight: p.in_flight() };
            (*node, view)
        })
    }

    /// Ticks until this node would start a pre-vote, and the timeout it drew; none on a leader.
    #[must_use]
    pub fn election_clock(&self) -> Option<(u64, u32)> {
        match self.role {
            Role::Leader { .. } => None,
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                let quiet = self.now - self.quiet_since;
                Some((u64::from(self.election_timeout).saturating_sub(quiet), self.election_timeout))
            }
        }
    }

    /// Ticks since this follower heard the leader of its term.
    #[must_use]
    pub fn leader_heard_ticks_ago(&self) -> Option<u64> {
        self.leader_heard_at.map(|at| self.now - at)
    }

    /// Whether a message of a higher term moves this node into that term. Not so for what is only a question about a
    /// term that may never come to be, and not for a candidate that disturbs a leader who is alive (thesis 4.2.3).
    fn raises_term(&self, from: NodeId, body: &Body) -> bool {
        match body {
            Body::RequestVote { pre: true, .. } => false,
            Body::RequestVote { pre: false, .. } => self.live_leader(from).is_none(),
            Body::Vote { .. }
            | Body::Append(_)
            | Body::Appended(_)
            | Body::Rejected(_)
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply => true,
        }
    }

    /// Enters a higher term as a follower that knows no leader and has not voted.
    fn raise_term(&mut self, term: Term, cause: Cause) {
        assert!(term > self.term, "the term would fall from {} to {term}", self.term);
        self.term = term;
        self.voted_for = None;
        self.agreed = Index(0);
        self.leader_heard_at = None;
        self.observe(Observation::TermRaised { cause });
        self.become_follower(None, cause);
    }

    /// Follows in the present term. The vote of this term stays as it is: it can be given only once.
    pub(crate) fn become_follower(&mut self, leader: Option<NodeId>, cause: Cause) {
        let was = self.role();
        self.role = Role::Follower { leader };
        if was != RoleKind::Follower {
            self.restart_election_clock();
            self.observe(Observation::Became { role: RoleKind::Follower, cause });
        }
    }

    /// Starts a campaign's term: the next one, with this node's vote for itself.
    pub(crate) fn enter_own_term(&mut self, cause: Cause) {
        self.term = self.term.next();
        self.voted_for = Some(self.config.id);
        self.agreed = Index(0);
        self.leader_heard_at = None;
        self.observe(Observation::TermRaised { cause });
    }

    pub(crate) fn restart_election_clock(&mut self) {
        self.quiet_since = self.now;
        self.election_timeout = self.random.between(self.config.election_ticks_min, self.config.election_ticks_max);
    }

    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.config.voters.iter().copied().filter(|n| *n != self.config.id).collect()
    }

    pub(crate) fn observe(&mut self, what: Observation) {
        self.output.observations.push(Observed { term: self.term, what });
    }

    fn hard(&self) -> HardState {
        HardState { term: self.term, voted_for: self.voted_for }
    }

    /// May leave before this node's disk has its entries. Not before it has its term: a node must not come back with a
    /// lower one than it has shown.
    pub(crate) fn send_now(&mut self, to: NodeId, body: Body) {
        if self.hard() == self.written_hard && self.persisted >= self.hard_in {
            let envelope = self.envelope(to, self.term, body);
            self.output.send_now.push(envelope);
        } else {
            self.send_durable(to, body);
        }
    }

    /// Leaves when everything this node has written so far is on disk.
    pub(crate) fn send_durable(&mut self, to: NodeId, body: Body) {
        let envelope = self.envelope(to, self.term, body);
        self.output.send_durable.push(envelope);
    }

    pub(crate) fn envelope(&mut self, to: NodeId, term: Term, body: Body) -> Envelope {
        self.messages += 1;
        Envelope { id: self.messages, from: self.config.id, to, term, body }
    }
}
