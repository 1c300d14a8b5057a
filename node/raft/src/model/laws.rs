//! What must never happen, and what must have happened somewhere for an exploration to be worth anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bounds::storage,
    host::{Effects, Host},
};
use crate::{Body, Entry, EntryKind, Envelope, Index, Log, Membership, NodeId, RoleKind, StorageId, Term};

/// A law that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Law {
    /// Two leaders in one term (paper 5.2).
    OneLeader,
    /// Two logs have the same entry at one place, and differ before it (paper 5.3).
    LogMatching,
    /// A leader of a later term lacks what was committed (paper 5.4).
    LeaderCompleteness,
    /// Two nodes were told to apply different entries at one place (paper 5.4).
    StateMachine,
    /// What was committed is not on the disks of a majority any more.
    Lost,
    /// Two votes of one node in one term.
    VoteOnce,
    /// A message claims what its sender's disk does not have.
    Durable,
    /// Two memberships that follow each other have majorities that do not meet.
    Majorities,
    /// A read that was confirmed would miss what had been committed before it was asked.
    Read,
    /// The core itself saw one of its laws broken.
    Assertion,
}

/// What has been, as far as laws look back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    bootstrap: Membership,
    leaders: BTreeMap<Term, NodeId>,
    /// Each with the term of the leader that committed it.
    pub(super) committed: Vec<(Term, Entry)>,
    votes: BTreeMap<(NodeId, StorageId, Term), NodeId>,
    /// Reads that are not answered, with what they must at least see.
    reads: BTreeMap<(NodeId, u64), Index>,
    pub(super) read: bool,
    pub(super) transferred: bool,
    pub(super) refilled: bool,
}

impl History {
    pub(super) fn of(bootstrap: Membership) -> History {
        History { bootstrap, ..History::default() }
    }

    /// A node is asked for a read.
    pub(super) fn asked(&mut self, node: NodeId, token: u64) {
        self.reads.insert((node, token), Index(self.committed.len() as u64));
    }

    /// A node forgot all that was only in its memory.
    pub(super) fn crashed(&mut self, node: NodeId) {
        self.reads.retain(|(at, _), _| *at != node);
    }

    /// A node did something: is all as it should be?
    pub(super) fn observe(&mut self, host: &Host, effects: &Effects) -> Option<Law> {
        let id = host.raft.id();
        self.transferred |= effects.transferred;
        self.refilled |= effects.refilled;
        if effects.unfounded {
            return Some(Law::Durable);
        }
        if effects.sent.iter().any(|envelope| !self.is_only_vote(envelope)) {
            return Some(Law::VoteOnce);
        }
        for entry in &effects.committed {
            let place = usize::try_from(entry.index.0 - 1).expect("a small index");
            match self.committed.get(place) {
                Some((_, known)) if known == entry => {}
                Some(_) => return Some(Law::StateMachine),
                None => self.committed.push((host.raft.term(), entry.clone())),
            }
        }
        for (token, outcome) in &effects.reads {
            let floor = self.reads.remove(&(id, token.0)).expect("an answer to a read that nobody asked");
            if let Ok(index) = outcome {
                self.read = true;
                if *index < floor {
                    return Some(Law::Read);
                }
            }
        }
        let leads = host.raft.role() == RoleKind::Leader;
        if leads && *self.leaders.entry(host.raft.term()).or_insert(id) != id {
            return Some(Law::OneLeader);
        }
        None
    }

    fn is_only_vote(&mut self, envelope: &Envelope) -> bool {
        let (term, candidate) = match envelope.body {
            Body::Vote { pre: false, asked, refused: None } => (asked, envelope.to),
            Body::RequestVote { pre: false, .. } => (envelope.term, envelope.from),
            _ => return true,
        };
        *self.votes.entry((envelope.from, envelope.storage, term)).or_insert(candidate) == candidate
    }

    /// What concerns all nodes together.
    pub(super) fn compare<'a>(&self, changed: &Host, hosts: &(impl Iterator<Item = &'a Host> + Clone)) -> Option<Law> {
        let log = changed.raft.log();
        if hosts.clone().any(|other| !match_up(log, other.raft.log())) {
            return Some(Law::LogMatching);
        }
        for leader in hosts.clone().filter(|h| h.raft.role() == RoleKind::Leader) {
            let mut before = self.committed.iter().filter(|(term, _)| *term < leader.raft.term());
            if !before.all(|(_, entry)| has(leader.raft.log(), entry)) {
                return Some(Law::LeaderCompleteness);
            }
        }
        if !shared_majorities(log) {
            return Some(Law::Majorities);
        }
        let voters = self.voters();
        let is_safe = |entry: &Entry| {
            let on_disk = hosts.clone().filter(|h| voters.contains(&h.raft.id()) && h.disk.holds(entry)).count();
            let is_broken = |h: &Host| h.disk.hard.damage.is_some() || h.raft.storage() != storage(h.raft.id());
            let broken = hosts.clone().filter(|h| voters.contains(&h.raft.id()) && is_broken(h));
            let damaged = broken.filter(|h| !h.disk.holds(entry)).count();
            on_disk > 0 && on_disk + damaged > voters.len() / 2
        };
        (!self.committed.iter().all(|(_, entry)| is_safe(entry))).then_some(Law::Lost)
    }

    /// Of the latest membership that is committed.
    fn voters(&self) -> &BTreeSet<NodeId> {
        let latest = self.committed.iter().rev().find_map(|(_, entry)| match &entry.kind {
            EntryKind::Membership(membership) => Some(membership),
            EntryKind::Noop | EntryKind::Command(_) => None,
        });
        &latest.map_or(&self.bootstrap, |membership| &**membership).voters
    }

    /// How many nodes have been in office, counted by terms.
    pub(super) fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// Whether a change is through to its end.
    pub(super) fn has_changed(&self) -> bool {
        self.committed.iter().any(|(_, e)| matches!(&e.kind, EntryKind::Membership(m) if !m.is_joint()))
    }

    /// Whether somebody votes who did not at first.
    pub(super) fn has_promoted(&self) -> bool {
        !self.voters().is_subset(&self.bootstrap.voters)
    }

    /// Whether a command is committed.
    pub(super) fn has_command(&self) -> bool {
        self.committed.iter().any(|(_, e)| matches!(e.kind, EntryKind::Command(_)))
    }
}

fn has(log: &Log, entry: &Entry) -> bool {
    entry.index < log.start().index || log.term_at(entry.index) == Some(entry.term)
}

fn match_up(one: &Log, other: &Log) -> bool {
    let first = one.start().index.max(other.start().index).0;
    let last = one.last().0.min(other.last().0).0;
    let agree = |index: u64| one.term_at(Index(index)) == other.term_at(Index(index));
    let Some(common) = (first..=last).rev().find(|index| agree(*index)) else { return true };
    (first + 1..=common).all(|index| one.get(Index(index)) == other.get(Index(index)))
}

fn shared_majorities(log: &Log) -> bool {
    let mut before = log.membership_at(log.start().index);
    for entry in log.range(log.start().index.next(), log.last().0) {
        if let EntryKind::Membership(after) = &entry.kind {
            let same = (&before.voters, &before.outgoing) == (&after.voters, &after.outgoing);
            if !same && !always_meet(before, after) {
                return false;
            }
            before = after;
        }
    }
    true
}

/// By definition: whichever nodes agree as the one wants it, those that are left cannot agree as the other wants it.
pub(crate) fn always_meet(one: &Membership, other: &Membership) -> bool {
    let all: Vec<NodeId> = one.members().union(&other.members()).copied().collect();
    (0u32..1 << all.len()).all(|subset| {
        let inside = |node: NodeId| all.iter().position(|n| *n == node).is_some_and(|place| subset >> place & 1 == 1);
        !(agrees(one, &inside) && agrees(other, &|node| !inside(node)))
    })
}

fn agrees(membership: &Membership, yes: &dyn Fn(NodeId) -> bool) -> bool {
    let half = |set: &BTreeSet<NodeId>| set.iter().filter(|n| yes(**n)).count() * 2 > set.len();
    half(&membership.voters) && (membership.outgoing.is_empty() || half(&membership.outgoing))
}
