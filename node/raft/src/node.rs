//! The struct itself: terms, roles, and who handles which message.
//!
//! A role carries the data that only this role has: a follower has no progress of others, a leader no count of votes.
//! Every message passes [`Raft::receive`]: first its term is compared with ours, by one rule for all (paper 5.1), then
//! it goes to the file that knows its kind.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    Body, Cause, Config, Damage, EntryKind, Envelope, HardState, Index, Log, Membership, NodeId, Observation, Observed,
    Output, ReadRound, ReadToken, Restart, Sending, SnapshotMeta, StorageId, Term, Write, WriteSeq,
    election::Ballot,
    leader::{Leader, Stranger},
    mutants::{self, Mutant},
    progress::Progress,
    random::Random,
    snapshot::Receiving,
    transfer::Transfer,
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
    Leader(Leader),
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
    /// Leadership is being handed over.
    Transferring {
        /// To whom.
        target: NodeId,
    },
}

/// A leader's view of a follower, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerView {
    /// The follower has this much on disk.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How it is sent to.
    pub sending: Sending,
    /// Batches sent and not answered.
    pub in_flight: usize,
    /// When something of it came last; none if that is too long ago to count.
    pub heard_ticks_ago: Option<u64>,
    /// Its disk is being refilled.
    pub damaged: bool,
    /// How much of a snapshot it has stored, bytes; none if it gets none.
    pub snapshot_offset: Option<u64>,
}

/// One node's part in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) damage: Option<Damage>,
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
    pub(crate) random: Random,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) last_read: ReadToken,
    /// The newest snapshot that can be sent.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// One was asked for and is not made yet.
    pub(crate) snapshot_wanted: bool,
    /// The one that comes in.
    pub(crate) receiving: Option<Receiving>,
    /// Up to here, entries were given out to be applied.
    pub(crate) delivered: Index,
    /// Term, vote and damage as they were in the newest write ...
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
        let Restart { hard, mut start, entries, applied } = found;
        if start.index == Index(0) {
            start.membership = config.bootstrap.clone();
        }
        let log = Log::restore(start, entries);
        let (last, last_term) = log.last();
        assert!(applied <= last, "applied {applied} but the log ends at {last}");
        assert!(applied >= log.start().index, "applied {applied} but the log begins after {}", log.start().index);
        assert!(hard.term >= last_term, "the log knows {last_term}, but the stored term is {}", hard.term);
        let mut raft = Raft {
            random: Random::new(config.seed),
            config,
            term: hard.term,
            voted_for: hard.voted_for,
            damage: hard.damage,
            log,
            commit: applied,
            agreed: Index(0),
            role: Role::Follower { leader: None },
            now: 0,
            quiet_since: 0,
            leader_heard_at: None,
            election_timeout: 0,
            transfer: None,
            last_read: ReadToken(0),
            snapshot: None,
            snapshot_wanted: false,
            receiving: None,
            delivered: applied,
            written_hard: hard,
            hard_in: WriteSeq(0),
            asked: WriteSeq(0),
            persisted: WriteSeq(0),
            messages: 0,
            output: Output::default(),
        };
        raft.restart_election_clock();
        if let Some(Damage { until, .. }) = hard.damage {
            raft.observe(Observation::Damaged { until });
        }
        raft
    }

    /// Time went on by one tick.
    pub fn tick(&mut self) {
        self.now += 1;
        self.expire_transfer();
        match &self.role {
            Role::Leader(_) => self.tick_leader(),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                if self.now - self.quiet_since >= u64::from(self.election_timeout) {
                    self.time_out();
                }
            }
        }
    }

    /// A message came.
    pub fn receive(&mut self, envelope: Envelope) {
        let Envelope { id, from, storage, to, term, body } = envelope;
        assert_eq!(to, self.config.id, "a message for another node was delivered here");
        if from == self.config.id {
            return; // Another process has this node's name; what it says has no meaning here.
        }
        // A node that this one does not know may have joined in entries that are not here yet: whether it counts is decided
        // where something is counted.
        if term > self.term && self.raises_term(from, &body) {
            self.raise_term(term, Cause::HigherTerm { from, message: id });
        }
        if term == self.term {
            self.hear_follower(from, storage, &body);
        }
        match body {
            Body::RequestVote { pre, transfer, last } => {
                self.handle_request_vote(Ballot { candidate: from, asked: term, pre, transfer, last }, id);
            }
            Body::Vote { pre, asked, refused } => self.handle_vote((from, storage), id, pre, asked, refused),
            // A deposed leader that does not know it. Our term in the answer tells it (and a leader of a lower term can
            // absorb a node that is stranded in a higher one only if it is answered).
            Body::Append(_) | Body::Heartbeat { .. } | Body::SnapshotOffer(_) | Body::SnapshotChunk(_)
                if term < self.term =>
            {
                if !mutants::on(Mutant::SilentToDeposed) {
                    self.reply_to_heartbeat(from, ReadRound(0));
                }
            }
            Body::Append(append) => self.handle_append(from, id, append),
            Body::Heartbeat { commit, read } => self.handle_heartbeat(from, id, commit, read),
            Body::SnapshotOffer(meta) => self.handle_snapshot_offer(from, id, *meta),
            Body::SnapshotChunk(chunk) => self.handle_snapshot_chunk(from, id, chunk),
            // What was said in an earlier term says nothing about this one.
            Body::Appended { .. } | Body::Rejected(_) | Body::HeartbeatReply { .. } | Body::SnapshotWanted { .. }
                if term < self.term => {}
            Body::TimeoutNow if term < self.term && !mutants::on(Mutant::ObeysOldOrder) => {}
            Body::TimeoutNow => self.handle_timeout_now(from, id),
            // Answers to a leader, from a directory that is not the member's: they count for nothing.
            Body::Appended { .. } | Body::Rejected(_) | Body::HeartbeatReply { .. } | Body::SnapshotWanted { .. }
                if !self.is_follower(from, storage) => {}
            Body::Appended { index, damaged } => self.handle_appended(from, id, index, damaged),
            Body::Rejected(rejection) => self.handle_rejected(from, id, rejection),
            Body::HeartbeatReply { read, damaged } => self.handle_heartbeat_reply(from, read, damaged),
            Body::SnapshotWanted { id: snapshot, offset } => self.handle_snapshot_wanted(from, snapshot, offset),
        }
    }

    /// Something came for this leader in its term: from a follower, or from a directory that is not the one it is bound to.
    fn hear_follower(&mut self, from: NodeId, storage: StorageId, body: &Body) {
        let (now, last) = (self.now, self.log.last().0);
        let membership = self.log.membership();
        let (is_member, is_admitted) = (membership.contains(from), membership.admits(from, storage));
        let Role::Leader(leader) = &mut self.role else { return };
        if is_member && !is_admitted {
            let known = leader.strangers.entry(from).or_insert(Stranger::new(storage));
            known.spoke(storage, body);
        } else if let Some(progress) = leader.followers.get_mut(&from) {
            leader.strangers.remove(&from);
            progress.heard(storage, last, now);
        }
    }

    /// Whether this leader sends to that node, in that directory.
    fn is_follower(&self, from: NodeId, storage: StorageId) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.followers.get(&from).is_some_and(|p| p.storage() == Some(storage)),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => false,
        }
    }

    /// Appends commands, if this node leads: the places they got, in order. They are committed when they come out in
    /// [`Output::committed`] with the same term; another term there means that they are lost.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn propose(&mut self, commands: Vec<Bytes>) -> Result<(Term, Index), ProposeError> {
        let known = self.leader();
        let Role::Leader(leader) = &self.role else { return Err(ProposeError::NotLeader { leader: known }) };
        if leader.uncommitted_bytes > self.config.uncommitted_bytes_max {
            return Err(ProposeError::TooManyUncommitted { limit_bytes: self.config.uncommitted_bytes_max });
        }
        if let Some(Transfer { target, .. }) = self.transfer {
            return Err(ProposeError::Transferring { target });
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
            Role::Leader(_) => self.advance_commit(),
            Role::Candidate { own_vote: Some(own), .. } if *own <= seq => self.count_own_vote(),
            Role::Candidate { .. } | Role::PreCandidate { .. } | Role::Follower { .. } => {}
        }
    }

    /// The state machine has everything up to `index` on disk: entries up to there may go. Does nothing if they are gone,
    /// or not on this disk as entries yet.
    pub fn compact(&mut self, index: Index) {
        if index > self.log.start().index && index <= self.log.durable() && index <= self.delivered {
            self.log.compact(index);
            self.observe(Observation::Compacted { index });
        }
    }

    /// The link to a peer broke: what was on it is lost.
    pub fn link_lost(&mut self, peer: NodeId) {
        self.forget_in_flight(peer);
    }

    /// The connection to a peer was reset by its host, which says that its process is gone. What was on it is lost. A leader
    /// that is gone need not be waited for: this node asks for pre-votes unless it hears a heartbeat after all, and votes for
    /// others who do. It is only a hint: if it is wrong, whoever still hears the leader refuses.
    pub fn peer_gone(&mut self, peer: NodeId) {
        self.forget_in_flight(peer);
        if matches!(&self.role, Role::Follower { leader: Some(leader) } if *leader == peer) {
            self.leader_heard_at = None;
            let shortest = self.config.heartbeat_ticks + 1;
            let timeout = self.random.between(shortest, shortest.max(self.config.election_ticks_min / 2));
            // Never later than without the news: a host that resets one connection after another would put it off for ever.
            if self.now + u64::from(timeout) < self.quiet_since + u64::from(self.election_timeout) {
                (self.quiet_since, self.election_timeout) = (self.now, timeout);
            }
        }
    }

    /// This process stood still for longer than an election timeout, and its ticks with it: whatever was heard before is
    /// no sign of life any more. Nobody is heard until something new comes.
    pub fn slept(&mut self) {
        self.leader_heard_at = None;
        if let Role::Leader(leader) = &mut self.role {
            leader.followers.values_mut().for_each(Progress::unheard);
            leader.grace_until = self.now + u64::from(self.config.election_ticks_max);
        }
    }

    /// All that is to be done since the last call.
    pub fn take_output(&mut self) -> Output {
        self.go_on_with_transfer();
        if self.begin_read_round() {
            self.send_heartbeats();
        }
        self.replicate();
        let hard = self.hard();
        if hard != self.written_hard || self.log.has_unwritten() {
            self.asked = WriteSeq(self.asked.0 + 1);
            if std::mem::replace(&mut self.written_hard, hard) != hard {
                self.hard_in = self.asked;
            }
            let (start, from, entries) = self.log.take_unwritten(self.asked);
            self.output.write = Some(Write { seq: self.asked, hard, start, from, entries });
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

    /// Its data directory.
    #[must_use]
    pub fn storage(&self) -> StorageId {
        self.config.storage
    }

    /// Who belongs to the group, as far as this node's log says.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.log.membership()
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
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// Who leads this term, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Follower { leader } => leader,
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
            Role::Leader(_) => Some(self.config.id),
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
            Role::Leader(leader) => self.hears_majority(leader),
            Role::Follower { leader } => leader.is_some() && self.leader_heard_at.is_some_and(recent),
            Role::PreCandidate { .. } | Role::Candidate { .. } => false,
        }
    }

    /// Ticks until this node would start a pre-vote, and the timeout it drew; none on a leader.
    #[must_use]
    pub fn election_clock(&self) -> Option<(u64, u32)> {
        match self.role {
            Role::Leader(_) => None,
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

    /// Ticks since the last sign of a leader: that it was heard, or that its process was seen to be gone.
    #[must_use]
    pub fn leaderless_ticks(&self) -> u64 {
        match self.role {
            Role::Leader(_) => 0,
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.leader_heard_ticks_ago().unwrap_or(self.now - self.quiet_since)
            }
        }
    }

    /// Whether a message of a higher term moves this node into that term. Not so for what is only a question about a
    /// term that may never come to be, and not for a candidate that disturbs a leader who is alive (thesis 4.2.3).
    fn raises_term(&self, from: NodeId, body: &Body) -> bool {
        match body {
            Body::RequestVote { pre: true, .. } => false,
            Body::RequestVote { transfer: true, .. } => true,
            Body::RequestVote { .. } => self.live_leader(from).is_none(),
            Body::Vote { .. }
            | Body::Append(_)
            | Body::Appended { .. }
            | Body::Rejected(_)
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::TimeoutNow
            | Body::SnapshotOffer(_)
            | Body::SnapshotWanted { .. }
            | Body::SnapshotChunk(_) => true,
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
        let was = std::mem::replace(&mut self.role, Role::Follower { leader });
        self.voted_for = self.voted_for.filter(|_| !mutants::on(Mutant::ForgetsVote));
        match was {
            Role::Follower { .. } => return,
            Role::PreCandidate { .. } | Role::Candidate { .. } => {}
            Role::Leader(office) => self.fail_reads(office.reads, leader),
        }
        self.restart_election_clock();
        self.observe(Observation::Became { role: RoleKind::Follower, cause });
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

    pub(crate) fn observe(&mut self, what: Observation) {
        self.output.observations.push(Observed { term: self.term, what });
    }

    fn hard(&self) -> HardState {
        let voted_for = self.voted_for.filter(|_| !mutants::on(Mutant::WritesNoVote));
        HardState { term: self.term, voted_for, damage: self.damage }
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
        Envelope { id: self.messages, from: self.config.id, storage: self.config.storage, to, term, body }
    }
}

#[cfg(test)]
impl Raft {
    /// For exploration: the same node, as if it had been started just now. All that only counts what was (ticks, writes,
    /// messages) begins anew, and nothing has aged. Two nodes that are then equal will behave alike.
    pub(crate) fn count_anew(&mut self) {
        assert_eq!(self.output, Output::default(), "an output was not taken");
        let done = self.persisted.0;
        self.persisted = WriteSeq(0);
        self.asked.0 -= done;
        self.hard_in.0 = self.hard_in.0.saturating_sub(done);
        self.log.count_anew(done);
        self.messages = 0;
        self.random = Random::new(self.config.seed);
        self.now = 0;
        self.quiet_since = 0;
        let follows = matches!(self.role, Role::Follower { leader: Some(_) });
        self.leader_heard_at = self.leader_heard_at.filter(|_| follows).map(|_| 0);
        if let Some(transfer) = &mut self.transfer {
            transfer.count_anew();
        }
        match &mut self.role {
            Role::Follower { .. } | Role::PreCandidate { .. } => {}
            Role::Candidate { own_vote, .. } => {
                *own_vote = own_vote.map(|own| WriteSeq(own.0.saturating_sub(done)));
            }
            Role::Leader(leader) => {
                (leader.heartbeat_at, leader.since, leader.grace_until) = (0, 0, 0);
                leader.durable = (self.log.durable(), 0);
                leader.reads.count_anew();
                let parting_until = 2 * u64::from(self.config.election_ticks_max);
                leader.followers.values_mut().for_each(|p| p.count_anew(parting_until));
            }
        }
    }
}
