//! What only a leader has, and its care for its own office.
//!
//! A leader that does not hear a majority within the longest election timeout steps down (CheckQuorum, thesis 6.2): if its
//! messages go out but none come in, its followers would else follow it for ever while nothing can commit; and its
//! clients would wait instead of asking elsewhere.
//!
//! One whose disk stands still can serve on by its followers' disks, but keeps in memory all that they commit, and counts
//! for nothing. When its disk has not moved for the longest election timeout while the others have committed what is not
//! on it, it hands over to one of them: their disks work, and they are a majority. It does not simply step down: while
//! nobody takes over it is of more use in office. Where all disks are slow, none is behind what is committed, and nobody
//! yields.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    Body, Cause, Index, NodeId, PeerView, Raft, ReadRound, StorageId,
    mutants::{self, Mutant},
    node::Role,
    progress::Progress,
    read::Reads,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// Of every member but itself, and for a while of those that were.
    pub(crate) followers: BTreeMap<NodeId, Progress>,
    pub(crate) uncommitted_bytes: usize,
    pub(crate) heartbeat_at: u64,
    /// When it took office.
    pub(crate) since: u64,
    /// Until when it need not hear a majority: one that has slept must let the others speak first.
    pub(crate) grace_until: u64,
    /// How far its log is on its own disk, and since when that has not moved while more than that was committed.
    pub(crate) durable: (Index, u64),
    pub(crate) reads: Reads,
    /// Members that speak from another directory than the one they are bound to.
    pub(crate) strangers: BTreeMap<NodeId, Stranger>,
}

/// Another directory than the one that a member is bound to speaks in its name. That alone proves nothing: a message of
/// a directory that was lost long ago may arrive late. It exists if it answers what was asked after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stranger {
    pub(crate) storage: StorageId,
    /// The round of heartbeats it must answer.
    asked: Option<ReadRound>,
    has_answered: bool,
}

impl Stranger {
    pub(crate) fn new(storage: StorageId) -> Stranger {
        Stranger { storage, asked: None, has_answered: false }
    }

    /// Something came in this name. Yet another directory begins from the start.
    pub(crate) fn spoke(&mut self, storage: StorageId, body: &Body) {
        if self.storage != storage {
            *self = Stranger::new(storage);
        }
        if let (Some(asked), Body::HeartbeatReply { read, .. }) = (self.asked, body) {
            self.has_answered |= *read >= asked;
        }
    }

    /// Whether it is there, as far as is known.
    pub(crate) fn exists(&self) -> bool {
        self.has_answered || mutants::on(Mutant::BelievesLateStranger)
    }
}

impl Raft {
    /// Whether an entry of this leader's own term is committed: only then does it know how far the log is.
    pub(crate) fn own_term_committed(&self) -> bool {
        self.log.term_at(self.commit) == Some(self.term)
    }

    /// Whether this leader has heard a majority, itself included, within the longest election timeout.
    pub(crate) fn hears_majority(&self, leader: &Leader) -> bool {
        let recent = |at: u64| self.now - at <= u64::from(self.config.election_ticks_max);
        self.log.membership().majority_of(|node| {
            node == self.config.id || self.counted(leader, node).is_some_and(|p| p.heard_at().is_some_and(recent))
        })
    }

    /// What is known of a follower that counts towards a majority.
    fn counted<'a>(&self, leader: &'a Leader, node: NodeId) -> Option<&'a Progress> {
        let progress = leader.followers.get(&node).filter(|p| !p.is_damaged() || mutants::on(Mutant::CountsDamaged))?;
        let membership = self.log.membership();
        progress.storage().is_none_or(|storage| membership.counts(node, storage)).then_some(progress)
    }

    /// The highest number that a majority of voters has reached; this leader itself has reached `own`.
    pub(crate) fn majority_reached(&self, of: impl Fn(&Progress) -> Index, own: Index) -> Index {
        let Role::Leader(leader) = &self.role else { return Index(0) };
        self.log
            .membership()
            .reached(|node| if node == self.config.id { own } else { self.counted(leader, node).map_or(Index(0), &of) })
    }

    /// Heartbeats, and everything a leader does from time to time.
    pub(crate) fn tick_leader(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if self.now >= leader.grace_until && !self.hears_majority(leader) && !mutants::on(Mutant::NoCheckQuorum) {
            self.step_down(Cause::MajoritySilent);
            return;
        }
        if self.now - leader.heartbeat_at >= u64::from(self.config.heartbeat_ticks) {
            self.send_heartbeats();
        }
        self.tell_commit();
        self.expire_reads();
        self.tend_members();
        self.yield_with_a_dead_disk();
    }

    /// Asks every stranger that was not asked yet whether it is there.
    pub(crate) fn ask_strangers(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let round = ReadRound(leader.reads.round.0 + 1);
        let followers = &leader.followers;
        let mut new: Vec<NodeId> = Vec::new();
        for (node, stranger) in &mut leader.strangers {
            if stranger.asked.is_none() && followers.contains_key(node) {
                stranger.asked = Some(round);
                new.push(*node);
            }
        }
        if !new.is_empty() {
            leader.reads.round = round;
        }
        for node in new {
            self.send_heartbeat(node);
        }
    }

    /// Hands over if this node's disk stands still and those of others do not.
    fn yield_with_a_dead_disk(&mut self) {
        let (durable, now) = (self.log.durable(), self.now);
        let patience = u64::from(self.config.election_ticks_max);
        let Role::Leader(leader) = &mut self.role else { return };
        if self.commit <= durable || leader.durable.0 != durable {
            leader.durable = (durable, now);
        } else if now - leader.durable.1 >= patience {
            // Who does not take over is not asked again at once: meanwhile, nothing can be proposed.
            leader.durable.1 = now;
            let is_heard = |p: &Progress| p.heard_at().is_some_and(|at| now - at <= patience);
            let voters = &self.log.membership().voters;
            let able = leader.followers.iter().filter(|(n, p)| voters.contains(n) && !p.is_damaged() && is_heard(p));
            let best = able.max_by_key(|(node, p)| (p.matched(), Reverse(**node))).map(|(node, _)| *node);
            if let Some(target) = best {
                self.begin_transfer(target, false);
            }
        }
    }

    /// Gives up the office, in the same term.
    pub(crate) fn step_down(&mut self, cause: Cause) {
        self.become_follower(None, cause);
    }

    /// What this leader knows of its followers; empty on others.
    pub fn followers(&self) -> impl Iterator<Item = (NodeId, PeerView)> {
        let followers = match &self.role {
            Role::Leader(leader) => Some(&leader.followers),
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => None,
        };
        followers.into_iter().flatten().map(|(node, p)| {
            let view = PeerView {
                matched: p.matched(),
                next: p.next(),
                sending: p.sending(),
                in_flight: p.in_flight(),
                heard_ticks_ago: p.heard_at().map(|at| self.now - at),
                damaged: p.is_damaged(),
                snapshot_offset: p.snapshot_offset(),
            };
            (*node, view)
        })
    }
}
