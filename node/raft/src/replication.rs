//! Replication and commitment: paper 5.3 and 5.4.2.
//!
//! The leader sends each follower what comes after the place where their logs agree; the follower takes it if it has
//! that place, and else says where agreement may still be found, a whole term at a time. What a majority has on disk is
//! committed, if it is of the leader's own term; everything before it is then committed too.
//!
//! Laws:
//! - a follower truncates only at a real conflict (same index, other term), so that an append that comes late or twice
//!   removes nothing;
//! - a follower's commit index never passes what an append of this term, in this life, proved to be equal to the leader's
//!   log;
//! - an acknowledgement leaves when the entries are on the follower's disk.

use std::collections::BTreeMap;

use crate::{
    Append, Body, Cause, Entry, EntryKind, Index, NodeId, Observation, Raft, ReadRound, Rejection, RoleKind, Sending,
    leader::Leader,
    mutants::{self, Mutant},
    node::Role,
    progress::Progress,
    read::Reads,
};

impl Raft {
    /// The election is won: lead, beginning with an entry of this term.
    pub(crate) fn become_leader(&mut self, votes: usize) {
        assert_eq!(self.voted_for, Some(self.config.id), "a leader that did not vote for itself");
        let last = self.log.last().0;
        let uncommitted_bytes = self.log.range(self.commit.next(), last).iter().map(Entry::weight_bytes).sum();
        let members = self.membership().members().into_iter().filter(|n| *n != self.config.id);
        let followers: BTreeMap<_, _> = members.map(|peer| (peer, Progress::new(last, self.now))).collect();
        let peers: Vec<NodeId> = followers.keys().copied().collect();
        self.role = Role::Leader(Leader {
            followers,
            uncommitted_bytes,
            heartbeat_at: self.now,
            since: self.now,
            grace_until: self.now,
            durable: (self.log.durable(), self.now),
            reads: Reads::default(),
            strangers: BTreeMap::new(),
        });
        self.observe(Observation::Became { role: RoleKind::Leader, cause: Cause::ElectionWon { votes } });
        for peer in peers {
            self.observe(Observation::Sending { peer, how: Sending::Probing, cause: Cause::NewLeader });
        }
        self.transfer_sees_leader(self.config.id);
        if !mutants::on(Mutant::AppendsNoNoop) {
            self.append_own(vec![EntryKind::Noop]);
        }
    }

    /// Appends entries of this leader's own and sends them on.
    pub(crate) fn append_own(&mut self, kinds: Vec<EntryKind>) {
        let (last, _) = self.log.last();
        let term = self.term;
        let entries: Vec<Entry> =
            (last.0 + 1..).zip(kinds).map(|(index, kind)| Entry { index: Index(index), term, kind }).collect();
        let Some((first, last)) = entries.first().zip(entries.last()).map(|(f, l)| (f.index, l.index)) else {
            return;
        };
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes += entries.iter().map(Entry::weight_bytes).sum::<usize>();
        }
        self.observe(Observation::Appended { first, last, message: None });
        self.append_to_log(entries);
    }

    /// Into the log; a membership among them is in force at once.
    fn append_to_log(&mut self, entries: Vec<Entry>) {
        let before = self.log.membership_index();
        self.log.append(entries);
        if self.log.membership_index() != before {
            self.observe_membership();
        }
    }

    fn observe_membership(&mut self) {
        let (index, joint) = (self.log.membership_index(), self.log.membership().is_joint());
        self.observe(Observation::MembershipChanged { index, joint });
    }

    fn peers(&self) -> Vec<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.followers.keys().copied().collect(),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => Vec::new(),
        }
    }

    /// To everybody.
    pub(crate) fn send_heartbeats(&mut self) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.heartbeat_at = now;
        }
        for peer in self.peers() {
            self.send_heartbeat(peer);
        }
    }

    pub(crate) fn send_heartbeat(&mut self, peer: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        let progress = leader.followers.get_mut(&peer).expect("every peer has its progress");
        let commit = progress.tellable(self.commit);
        progress.telling(commit);
        let read = leader.reads.round;
        self.send_now(peer, Body::Heartbeat { commit, read });
    }

    /// Sends a follower all that its window has room for.
    fn send_appends(&mut self, peer: NodeId) {
        let (last, _) = self.log.last();
        let (limit, commit, now) = (self.config.window(), self.commit, self.now);
        loop {
            let Role::Leader(leader) = &mut self.role else { return };
            let progress = leader.followers.get_mut(&peer).expect("every peer has its progress");
            if !progress.may_send(last, limit) {
                return;
            }
            let prev = progress.next().prev();
            let Some(prev_term) = self.log.term_at(prev) else {
                assert!(prev < self.log.start().index, "a leader has every entry that it has promised");
                self.offer_snapshot(peer);
                return;
            };
            let entries = self.log.batch(progress.next(), self.config.batch_entries_max, self.config.batch_bytes_max);
            let end = entries.last().map_or(prev, |e| e.index);
            progress.telling(commit.min(end));
            progress.sent(end, entries.iter().map(Entry::weight_bytes).sum(), now);
            self.send_now(peer, Body::Append(Append { prev: (prev, prev_term), entries, commit }));
        }
    }

    /// Once for each output: new entries to every follower.
    pub(crate) fn replicate(&mut self) {
        for peer in self.peers() {
            self.send_appends(peer);
        }
    }

    /// Once a tick: what is committed, to those who did not learn it with an append meanwhile. A busy leader's next append is
    /// always sooner, and a message for it alone would cost as much as one with entries.
    pub(crate) fn tell_commit(&mut self) {
        let commit = self.commit;
        for peer in self.peers() {
            let Role::Leader(leader) = &self.role else { return };
            if leader.followers[&peer].has_news(commit) {
                self.send_heartbeat(peer);
            }
        }
    }

    /// The leader of this term sends entries.
    pub(crate) fn handle_append(&mut self, leader: NodeId, message: u64, append: Append) {
        self.hear_leader(leader, message);
        if self.is_installing() {
            return; // What is put in the place of the log may end anywhere; the leader asks again.
        }
        let Append { prev: (prev, prev_term), entries, commit } = append;
        let damaged = self.damage.is_some();
        if prev < self.log.start().index {
            // From a leader that does not know how far this node is. All that is committed is in its log, too.
            let index = self.commit;
            self.send_durable(leader, Body::Appended { index, damaged });
            return;
        }
        let agrees = mutants::on(Mutant::SkipsPrevCheck) && prev <= self.log.last().0;
        if self.log.term_at(prev) != Some(prev_term) && !agrees {
            let hint = self.log.agreement_possible_at(prev, prev_term);
            self.send_now(leader, Body::Rejected(Rejection { prev, hint, damaged }));
            return;
        }
        let proven = Index(prev.0 + entries.len() as u64);
        self.take_entries(entries, message);
        self.agreed = self.agreed.max(proven);
        let known = if mutants::on(Mutant::CommitsUnclamped) { self.log.last().0 } else { proven };
        self.commit_up_to(commit.min(known));
        self.settle_damage();
        let damaged = self.damage.is_some();
        self.send_durable(leader, Body::Appended { index: proven, damaged });
    }

    /// Puts in what is missing; removes what conflicts.
    fn take_entries(&mut self, entries: Vec<Entry>, message: u64) {
        let is_new = |e: &Entry| self.log.term_at(e.index) != Some(e.term) || mutants::on(Mutant::TruncatesOnOverlap);
        let Some(start) = entries.iter().position(is_new) else {
            return; // All here already: it came twice, or late.
        };
        let (first, last) = (entries[start].index, entries[entries.len() - 1].index);
        if first <= self.log.last().0 {
            assert!(first > self.commit, "entry {first} is committed (up to {}) and would be truncated", self.commit);
            let before = self.log.membership_index();
            self.log.truncate(first);
            self.observe(Observation::Truncated { from: first, message });
            if self.log.membership_index() != before {
                self.observe_membership();
            }
        }
        self.observe(Observation::Appended { first, last, message: Some(message) });
        self.append_to_log(entries.into_iter().skip(start).collect());
    }

    /// The leader of this term says that it is there.
    pub(crate) fn handle_heartbeat(&mut self, leader: NodeId, message: u64, commit: Index, read: ReadRound) {
        self.hear_leader(leader, message);
        if !self.is_installing() {
            // The leader names only what it has seen acknowledged. But by whom? Perhaps by an earlier life of this node,
            // with another disk: only what an append of this term has shown to be equal is committed.
            let known = if mutants::on(Mutant::BeatsUnclamped) { self.log.last().0 } else { self.agreed };
            self.commit_up_to(commit.min(known));
            self.settle_damage();
        }
        self.reply_to_heartbeat(leader, read);
    }

    pub(crate) fn reply_to_heartbeat(&mut self, leader: NodeId, read: ReadRound) {
        let damaged = self.damage.is_some();
        self.send_now(leader, Body::HeartbeatReply { read, damaged });
    }

    pub(crate) fn hear_leader(&mut self, leader: NodeId, message: u64) {
        assert!(self.role() != RoleKind::Leader, "two leaders in {}: {leader} and {}", self.term, self.config.id);
        if self.leader() != Some(leader) {
            assert_eq!(self.leader(), None, "two leaders in {}: {leader} is the second", self.term);
            self.become_follower(Some(leader), Cause::OtherLeads { leader, message });
            self.observe(Observation::LeaderFound { leader, message });
            self.transfer_sees_leader(leader);
        }
        self.leader_heard_at = Some(self.now);
        self.restart_election_clock();
    }

    /// A follower has entries on its disk.
    pub(crate) fn handle_appended(&mut self, peer: NodeId, message: u64, index: Index, damaged: bool) {
        let last = self.log.last().0;
        let Role::Leader(leader) = &mut self.role else { return };
        if index > last {
            return; // It claims what was never sent. What a peer says must not end this node.
        }
        let progress = leader.followers.get_mut(&peer).expect("only followers answer");
        progress.set_damaged(damaged);
        if progress.acknowledged(index) {
            let (how, cause) = (Sending::Replicating, Cause::Answer { message });
            self.observe(Observation::Sending { peer, how, cause });
        }
        self.advance_commit();
    }

    /// A follower's log does not agree there.
    pub(crate) fn handle_rejected(&mut self, peer: NodeId, message: u64, rejection: Rejection) {
        let (hint, hint_term) = rejection.hint;
        let (at, _) = self.log.agreement_possible_at(hint, hint_term);
        let Role::Leader(leader) = &mut self.role else { return };
        let progress = leader.followers.get_mut(&peer).expect("only followers answer");
        let was = progress.sending();
        progress.set_damaged(rejection.damaged);
        if progress.refused(rejection.prev, at) && was != Sending::Probing {
            let (how, cause) = (Sending::Probing, Cause::Answer { message });
            self.observe(Observation::Sending { peer, how, cause });
        }
    }

    /// A follower heard this leader. If an answer of it is overdue, what was sent is taken for lost.
    pub(crate) fn handle_heartbeat_reply(&mut self, peer: NodeId, read: ReadRound, damaged: bool) {
        let Role::Leader(leader) = &mut self.role else { return };
        let progress = leader.followers.get_mut(&peer).expect("only followers answer");
        progress.set_damaged(damaged);
        progress.confirmed(read);
        let is_overdue = progress.is_overdue(self.now, u64::from(self.config.election_ticks_min));
        if is_overdue && !mutants::on(Mutant::WindowStaysShut) {
            self.forget_in_flight(peer);
        }
        self.confirm_reads();
    }

    /// What is in flight to a follower is lost: begin again at the last agreement.
    pub(crate) fn forget_in_flight(&mut self, peer: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&peer) else { return };
        let was = progress.sending();
        progress.probe_again();
        if was == Sending::Replicating {
            let (how, cause) = (Sending::Probing, Cause::SilentInFlight);
            self.observe(Observation::Sending { peer, how, cause });
        }
    }

    /// Commits what a majority has on disk, this leader's own disk included.
    pub(crate) fn advance_commit(&mut self) {
        let own = if mutants::on(Mutant::CountsItselfEarly) { self.log.last().0 } else { self.log.durable() };
        let reached = self.majority_reached(Progress::matched, own);
        // Figure 8 of the paper: an entry of an earlier term is committed only by one of this term after it.
        let is_own_term = self.log.term_at(reached) == Some(self.term) || mutants::on(Mutant::CommitsOldTerms);
        if reached > self.commit && is_own_term {
            self.commit_up_to(reached);
            self.go_on_with_change();
        }
    }

    fn commit_up_to(&mut self, index: Index) {
        if index <= self.commit {
            return;
        }
        assert!(index <= self.log.last().0, "commit {index} is beyond the log's end {}", self.log.last().0);
        if let Role::Leader(leader) = &mut self.role {
            let done: usize = self.log.range(self.commit.next(), index).iter().map(Entry::weight_bytes).sum();
            leader.uncommitted_bytes -= done;
        }
        self.commit = index;
        self.observe(Observation::Committed { index });
    }
}
