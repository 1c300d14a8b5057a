//! Handing over leadership (thesis 3.10), with an outcome that is always told.
//!
//! The leader takes no more proposals, waits until the target has its whole log, and then tells it to campaign at once.
//! If the target does not lead within the shortest election timeout, the transfer has failed, and proposals are taken
//! again.
//!
//! Laws:
//! - one transfer at a time, and every one ends with an outcome;
//! - an order to campaign is obeyed only in the term and from the leader it came from: one that comes in a later term starts
//!   nothing. One that is late in its own term, when the transfer has failed already, is obeyed, for its target cannot know:
//!   leadership then moves late, by an election like any other.

use crate::{
    Body, Cause, NodeId, Observation, Raft, RoleKind, Term,
    mutants::{self, Mutant},
    node::Role,
};

/// Why a transfer was not even begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferError {
    /// This node does not lead; perhaps it knows who does.
    NotLeader {
        /// As far as it knows.
        leader: Option<NodeId>,
    },
    /// The target leads already.
    AlreadyLeads,
    /// The target has no vote.
    NoVoter,
    /// The target's disk is being refilled.
    Damaged,
    /// Another transfer is under way.
    UnderWay {
        /// To whom.
        target: NodeId,
    },
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOutcome {
    /// The target leads.
    Done {
        /// In this term.
        term: Term,
    },
    /// Another node leads.
    OtherLeads {
        /// Who.
        leader: NodeId,
    },
    /// The target did not lead in time.
    TimedOut,
}

/// A transfer under way. It outlives the office of the leader that began it: only then is its outcome known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub(crate) target: NodeId,
    since: u64,
    told: bool,
    /// Somebody asked for it, and is told the outcome; else the leader wants it itself.
    asked_for: bool,
}

impl Raft {
    /// Hands leadership over. The outcome comes in [`Output::transferred`](crate::Output::transferred).
    ///
    /// # Errors
    /// It was not begun.
    pub fn transfer(&mut self, target: NodeId) -> Result<(), TransferError> {
        let known = self.leader();
        let Role::Leader(leader) = &self.role else { return Err(TransferError::NotLeader { leader: known }) };
        if target == self.config.id {
            return Err(TransferError::AlreadyLeads);
        }
        if let Some(Transfer { target, .. }) = self.transfer {
            return Err(TransferError::UnderWay { target });
        }
        match leader.followers.get(&target) {
            Some(progress) if progress.is_damaged() => return Err(TransferError::Damaged),
            Some(_) if self.log.membership().voters.contains(&target) => {}
            Some(_) | None => return Err(TransferError::NoVoter),
        }
        self.begin_transfer(target, true);
        Ok(())
    }

    /// Begins to hand over to a voter whose disk is whole, unless it is begun already.
    pub(crate) fn begin_transfer(&mut self, target: NodeId, asked_for: bool) {
        if self.transfer.is_none() {
            self.transfer = Some(Transfer { target, since: self.now, told: false, asked_for });
            self.observe(Observation::TransferStarted { target, asked_for });
        }
    }

    /// Tells the target to campaign as soon as it has everything.
    pub(crate) fn go_on_with_transfer(&mut self) {
        let (Some(transfer), Role::Leader(leader)) = (&mut self.transfer, &self.role) else { return };
        let target = transfer.target;
        let Some(progress) = leader.followers.get(&target).filter(|_| !transfer.told) else { return };
        if progress.matched() == self.log.last().0 {
            transfer.told = true;
            self.send_now(target, Body::TimeoutNow);
        }
    }

    /// A transfer does not last for ever.
    pub(crate) fn expire_transfer(&mut self) {
        let ticks_max = u64::from(self.config.election_ticks_min);
        if self.transfer.is_some_and(|t| self.now - t.since >= ticks_max) && !mutants::on(Mutant::TransferNeverEnds) {
            self.end_transfer(TransferOutcome::TimedOut);
        }
    }

    /// Somebody leads: that ends a transfer, one way or the other.
    pub(crate) fn transfer_sees_leader(&mut self, leader: NodeId) {
        match self.transfer {
            Some(Transfer { target, .. }) if target == leader => {
                self.end_transfer(TransferOutcome::Done { term: self.term });
            }
            Some(_) => self.end_transfer(TransferOutcome::OtherLeads { leader }),
            None => {}
        }
    }

    fn end_transfer(&mut self, outcome: TransferOutcome) {
        if let Some(Transfer { target, asked_for, .. }) = self.transfer.take() {
            self.observe(Observation::TransferEnded { target, outcome });
            self.output.transferred = asked_for.then_some(outcome).or(self.output.transferred);
        }
    }

    /// The leader wants this node to lead.
    pub(crate) fn handle_timeout_now(&mut self, from: NodeId, message: u64) {
        let is_from_leader = self.leader() == Some(from) || mutants::on(Mutant::ObeysOldOrder);
        if self.role() == RoleKind::Follower && is_from_leader && self.may_campaign() {
            self.start_campaign(Cause::TransferAsked { from, message }, true);
        }
    }
}

#[cfg(test)]
impl Transfer {
    /// For exploration: it began just now.
    pub(crate) fn count_anew(&mut self) {
        self.since = 0;
    }
}
