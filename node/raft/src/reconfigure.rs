//! Changing who belongs to the group: what a leader does with a [`Membership`].
//!
//! Laws:
//! - one change at a time: none while the one before is not committed, or is joint (thesis 4.1);
//! - none before an entry of the leader's own term is committed: two leaders that begin from the same membership could
//!   else make two majorities that do not meet (Ongaro's correction of 2015);
//! - the joint state is left by itself, as soon as it is committed;
//! - a leader that is no voter any more steps down when that is committed, and names a successor;
//! - a learner is promoted when it has everything that was committed when it was last looked at, and took less than an
//!   election timeout for it: a voter that is far behind would only enlarge the majority that is needed.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    Body, Cause, EntryKind, Index, Learner, Membership, NodeId, Observation, Raft, Sending, StorageId, Term,
    mutants::{self, Mutant},
    node::Role,
    progress::Progress,
};

/// Why a change of the membership was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeError {
    /// This node does not lead; perhaps it knows who does.
    NotLeader {
        /// As far as it knows.
        leader: Option<NodeId>,
    },
    /// This leader has not committed an entry of its own term yet.
    TooEarly,
    /// Another change is not finished.
    UnderWay {
        /// Its entry.
        index: Index,
    },
    /// Nobody would vote.
    NoVoters,
    /// A node would be voter and learner.
    Twice {
        /// Which.
        node: NodeId,
    },
    /// It is so already.
    NothingToDo,
}

impl Raft {
    /// Begins the change to another membership, voters and learners as given. What is known of members stays known.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn change_membership(&mut self, next: Membership) -> Result<(Term, Index), ChangeError> {
        self.may_change()?;
        if next.voters.is_empty() {
            return Err(ChangeError::NoVoters);
        }
        if let Some(node) = next.voters.iter().find(|n| next.learners.contains_key(n)) {
            return Err(ChangeError::Twice { node: *node });
        }
        let now = self.log.membership();
        let towards = now.towards(next);
        if towards == *now {
            return Err(ChangeError::NothingToDo);
        }
        let index = self.append_membership(towards);
        Ok((self.term, index))
    }

    fn may_change(&self) -> Result<(), ChangeError> {
        if !matches!(self.role, Role::Leader(_)) {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        }
        if !self.own_term_committed() && !mutants::on(Mutant::ChangesTooEarly) {
            return Err(ChangeError::TooEarly);
        }
        let index = self.log.membership_index();
        let is_committed = index <= self.commit || mutants::on(Mutant::ChangesTwice);
        if !is_committed || self.log.membership().is_joint() {
            return Err(ChangeError::UnderWay { index });
        }
        Ok(())
    }

    fn append_membership(&mut self, membership: Membership) -> Index {
        self.append_own(vec![EntryKind::Membership(Box::new(membership))]);
        self.follow_membership();
        self.log.last().0
    }

    /// The leader keeps progress of exactly the members; who was one a moment ago is told of its end for a while.
    pub(crate) fn follow_membership(&mut self) {
        let (own, now, last) = (self.config.id, self.now, self.log.last().0);
        let parting_until = now + 2 * u64::from(self.config.election_ticks_max);
        let members = self.log.membership().members();
        let Role::Leader(leader) = &mut self.role else { return };
        for (node, progress) in &mut leader.followers {
            progress.set_parting(if members.contains(node) { None } else { Some(parting_until) });
        }
        let new: Vec<NodeId> = members.into_iter().filter(|n| *n != own && !leader.followers.contains_key(n)).collect();
        leader.followers.extend(new.iter().map(|node| (*node, Progress::new(last, now))));
        for node in new {
            self.observe(Observation::Sending { peer: node, how: Sending::Probing, cause: Cause::NewMember });
        }
    }

    /// After the commit index moved: leave a joint membership, or leave office.
    pub(crate) fn go_on_with_change(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if self.log.membership_index() > self.commit || !self.own_term_committed() {
            return;
        }
        let membership = self.log.membership();
        if membership.is_joint() {
            let left = membership.left();
            self.append_membership(left);
        } else if !membership.voters.contains(&self.config.id) && !mutants::on(Mutant::RemovedLeaderStays) {
            let best = membership.voters.iter().filter(|n| leader.followers.get(n).is_some_and(|p| !p.is_damaged()));
            let successor = best.max_by_key(|n| leader.followers[n].matched()).copied();
            self.step_down(Cause::Removed);
            if let Some(successor) = successor {
                self.send_now(successor, Body::TimeoutNow);
            }
        }
    }

    /// What a leader does for its members by itself, one thing at a time.
    pub(crate) fn tend_members(&mut self) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.followers.retain(|_, p| p.parting().is_none_or(|until| now < until));
        }
        self.measure_learners();
        self.ask_strangers();
        if self.may_change().is_err() || self.transfer.is_some() {
            return;
        }
        let next = self.with_bindings().or_else(|| self.without_amnesiac()).or_else(|| self.with_promotions());
        if let Some(next) = next {
            let towards = self.log.membership().towards(next);
            self.append_membership(towards);
        }
    }

    /// Binds members to the directories they were heard from.
    fn with_bindings(&self) -> Option<Membership> {
        let Role::Leader(leader) = &self.role else { return None };
        let membership = self.log.membership();
        let heard = |node: NodeId| -> Option<StorageId> {
            if node == self.config.id { Some(self.config.storage) } else { leader.followers.get(&node)?.storage() }
        };
        let voters = membership.voters.iter().filter(|n| !membership.storages.contains_key(n));
        let learners = membership.learners.iter().filter(|(_, l)| l.storage.is_none()).map(|(n, _)| n);
        let unbound: Vec<NodeId> = voters.chain(learners).copied().collect();
        let found: BTreeMap<NodeId, StorageId> = unbound.iter().filter_map(|n| Some((*n, heard(*n)?))).collect();
        // Wait for all of them for a while: one entry is better than five.
        let patient = self.now - leader.since < u64::from(self.config.election_ticks_max);
        if found.is_empty() || (patient && found.len() < unbound.len()) {
            return None;
        }
        let mut next = membership.clone();
        for (node, storage) in found {
            match next.learners.get_mut(&node) {
                Some(learner) => learner.storage = Some(storage),
                None => {
                    next.storages.insert(node, storage);
                }
            }
        }
        Some(next)
    }

    /// A member that came back with another directory has lost its own: it begins again as a learner. Not while the
    /// directory it is bound to is heard, too: then two processes have one name, and only the operator can help; nor before
    /// a leader that slept has let the others speak. And only if that other directory answers: else a late message of one
    /// that is gone would replace the member that works.
    fn without_amnesiac(&self) -> Option<Membership> {
        let Role::Leader(leader) = &self.role else { return None };
        let silent = |node: &NodeId| {
            let heard_at = leader.followers.get(node).and_then(Progress::heard_at).unwrap_or(leader.since);
            self.now >= leader.grace_until && self.now - heard_at > u64::from(self.config.election_ticks_max)
        };
        let membership = self.log.membership();
        let is_new = |node: NodeId, storage| membership.contains(node) && !membership.admits(node, storage);
        let (node, stranger) =
            leader.strangers.iter().find(|(node, s)| is_new(**node, s.storage) && s.exists() && silent(node))?;
        let mut next = membership.clone();
        let promote = next.voters.remove(node) || next.learners.get(node).is_some_and(|l| l.promote);
        next.learners.insert(*node, Learner { promote, storage: Some(stranger.storage) });
        (!next.voters.is_empty()).then_some(next)
    }

    /// Promotes every learner that is ready.
    fn with_promotions(&self) -> Option<Membership> {
        let Role::Leader(leader) = &self.role else { return None };
        let membership = self.log.membership();
        let is_ready = |node: &NodeId, learner: &Learner| {
            let ready = |p: &Progress| p.is_caught_up() || mutants::on(Mutant::PromotesAtOnce);
            learner.promote && leader.followers.get(node).is_some_and(|p| ready(p) && !p.is_damaged())
        };
        let ready: Vec<NodeId> = membership.learners.iter().filter(|(n, l)| is_ready(n, l)).map(|(n, _)| *n).collect();
        if ready.is_empty() {
            return None;
        }
        let mut next = membership.clone();
        for node in ready {
            let learner = next.learners.remove(&node).expect("it was found there");
            next.voters.insert(node);
            next.storages.extend(learner.storage.map(|storage| (node, storage)));
        }
        Some(next)
    }

    /// How far learners are, round by round (thesis 4.2.1).
    fn measure_learners(&mut self) {
        let (now, last, commit) = (self.now, self.log.last().0, self.commit);
        let timeout = u64::from(self.config.election_ticks_min);
        let learners: Vec<NodeId> = self.log.membership().learners.keys().copied().collect();
        let Role::Leader(leader) = &mut self.role else { return };
        for node in learners {
            if let Some(progress) = leader.followers.get_mut(&node) {
                progress.measure(last, commit, now, timeout);
            }
        }
    }
}
