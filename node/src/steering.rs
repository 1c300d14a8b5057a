//! What a replica does for its operator and its readers: linearizable reads, transfers of leadership, changes of the
//! membership. Each ends with an answer; a change is done when its joint state is left, and who was removed may be shut off.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raftdeck_raft::{
    ChangeError, Entry, EntryKind, Index, Learner, Membership, NodeId, ReadError, ReadToken, RoleKind, Term,
    TransferError, TransferOutcome,
};

use crate::replica::{Effects, Refused, Replica, Ticket, Waiting};

/// A change of the membership, as an operator thinks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node joins, as a learner first.
    Add {
        /// Which.
        node: NodeId,
        /// Where it is reached, as the transport writes it.
        address: Bytes,
        /// It becomes a voter when it has caught up.
        promote: bool,
    },
    /// A node leaves.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// These are the voters.
    Voters(Vec<NodeId>),
}

/// Who waits for what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steering {
    reads: BTreeMap<ReadToken, Ticket>,
    /// Confirmed: may be answered when this much is applied.
    confirmed: VecDeque<(Index, Waiting)>,
    /// Until its outcome was taken from the core, which may have ended it before.
    transfer: Option<(Ticket, NodeId)>,
    /// By the entry of the change.
    changes: BTreeMap<(Index, Term), Waiting>,
    /// Their joint membership is applied: they wait for its end. Before, who leaves is still needed for a majority.
    leaving: Vec<Waiting>,
}

impl Steering {
    pub(crate) fn unanswered(&self) -> usize {
        let changes = self.changes.len() + self.leaving.len();
        self.reads.len() + self.confirmed.len() + changes + usize::from(self.transfer.is_some())
    }
}

impl Replica {
    pub(crate) fn read(&mut self, ticket: Ticket, effects: &mut Effects) {
        match self.raft.read() {
            Ok(token) => {
                self.steering.reads.insert(token, ticket);
            }
            Err(error) => effects.steered.push((ticket, Err(read_refused(error)))),
        }
    }

    pub(crate) fn transfer(&mut self, ticket: Ticket, target: NodeId, effects: &mut Effects) {
        if let Some((_, under_way)) = self.steering.transfer.filter(|_| self.raft.role() == RoleKind::Leader) {
            let error = TransferError::UnderWay { target: under_way };
            effects.steered.push((ticket, Err(transfer_refused(error, target))));
            return;
        }
        match self.raft.transfer(target) {
            Ok(()) => self.steering.transfer = Some((ticket, target)),
            Err(error) => effects.steered.push((ticket, Err(transfer_refused(error, target)))),
        }
    }

    pub(crate) fn change(&mut self, ticket: Ticket, change: Change, effects: &mut Effects) {
        let begun =
            self.next_membership(change).and_then(|next| self.raft.change_membership(next).map_err(change_refused));
        match begun {
            Ok((term, index)) => {
                self.steering.changes.insert((index, term), self.waiting_since_now(ticket));
            }
            Err(refused) => effects.steered.push((ticket, Err(refused))),
        }
    }

    fn next_membership(&self, change: Change) -> Result<Membership, Refused> {
        if self.raft.role() != RoleKind::Leader {
            return Err(Refused::NotLeader { leader: self.raft.leader() });
        }
        let mut next = self.raft.membership().clone();
        match change {
            Change::Add { node, .. } if next.contains(node) => {
                return Err(Refused::NotNow(format!("{node} is a member already")));
            }
            Change::Add { node, address, promote } => {
                next.learners.insert(node, Learner { promote, storage: None });
                next.addresses.insert(node, address);
            }
            Change::Remove { node } if !next.contains(node) => {
                return Err(Refused::NotNow(format!("{node} is no member")));
            }
            Change::Remove { node } => {
                next.voters.remove(&node);
                next.learners.remove(&node);
            }
            Change::Voters(voters) => {
                for node in &voters {
                    match next.learners.remove(node) {
                        Some(learner) => next.storages.extend(learner.storage.map(|s| (*node, s))),
                        None if next.voters.contains(node) => {}
                        None => return Err(Refused::NotNow(format!("{node} is no member: add it first"))),
                    }
                }
                next.voters = voters.into_iter().collect();
            }
        }
        next.outgoing.clear();
        Ok(next)
    }

    /// Brings answers: of the core, and of reads whose index is applied by now.
    pub(crate) fn steer(
        &mut self,
        reads: Vec<(ReadToken, Result<Index, ReadError>)>,
        transferred: Option<TransferOutcome>,
        effects: &mut Effects,
    ) {
        for (token, outcome) in reads {
            let Some(ticket) = self.steering.reads.remove(&token) else { continue };
            match outcome {
                Ok(index) => self.steering.confirmed.push_back((index, self.waiting_since_now(ticket))),
                Err(error) => effects.steered.push((ticket, Err(read_refused(error)))),
            }
        }
        let applied = Index(self.machine.applied());
        // Confirmed in the order of their indexes: a leader's commit index never falls.
        while let Some((_, waiting)) = self.steering.confirmed.pop_front_if(|(index, _)| *index <= applied) {
            effects.steered.push((waiting.ticket, Ok(applied)));
        }
        if let Some((outcome, (ticket, _))) = transferred.and_then(|o| Some((o, self.steering.transfer.take()?))) {
            let answer = match outcome {
                TransferOutcome::Done { .. } => Ok(self.raft.commit()),
                TransferOutcome::OtherLeads { leader } => {
                    Err(Refused::NotNow(format!("the transfer failed: {leader} leads")))
                }
                TransferOutcome::TimedOut => {
                    Err(Refused::NotNow("the transfer failed: it took longer than an election timeout".into()))
                }
            };
            effects.steered.push((ticket, answer));
        }
    }

    /// Who does not lead any more may never apply what a caller waits for; see [`Replica::handle`] for commands. `office` is
    /// the term of a leader.
    pub(crate) fn give_up_steering(
        &mut self,
        office: Option<Term>,
        is_too_long: impl Fn(u64) -> bool,
        effects: &mut Effects,
    ) {
        let is_lost =
            |(_, term): &(Index, Term), waiting: &mut Waiting| Some(*term) != office && is_too_long(waiting.since_tick);
        let begun = self.steering.changes.extract_if(.., is_lost).map(|(_, waiting)| waiting);
        effects.steered.extend(begun.map(|waiting| (waiting.ticket, Err(Refused::Unknown))));
        if office.is_some() {
            return; // What was confirmed will be applied, and a joint state be left.
        }
        let leaving = self.steering.leaving.extract_if(.., |waiting| is_too_long(waiting.since_tick));
        effects.steered.extend(leaving.map(|waiting| (waiting.ticket, Err(Refused::Unknown))));
        while let Some((_, waiting)) =
            self.steering.confirmed.pop_front_if(|(_, waiting)| is_too_long(waiting.since_tick))
        {
            effects.steered.push((waiting.ticket, Err(Refused::NoMajority)));
        }
    }

    /// A snapshot took the place of the entries up to here.
    pub(crate) fn skip_changes(&mut self, index: Index, effects: &mut Effects) {
        let passed = self.steering.changes.extract_if(..=(index, Term(u64::MAX)), |_, _| true).map(|(_, w)| w);
        let passed = passed.chain(self.steering.leaving.drain(..));
        effects.steered.extend(passed.map(|waiting| (waiting.ticket, Err(Refused::Unknown))));
    }

    /// An entry was applied: a change may be in it, or the end of one. Or another stands in its place: only now is it
    /// certain that the change is not done. Replaced in this log alone, it may be committed from another's.
    pub(crate) fn changed(&mut self, entry: &Entry, effects: &mut Effects) {
        let joint = match &entry.kind {
            EntryKind::Membership(membership) => Some(membership.is_joint()),
            EntryKind::Noop | EntryKind::Command(_) => None,
        };
        if joint == Some(false) {
            let ended = self.steering.leaving.drain(..);
            effects.steered.extend(ended.map(|waiting| (waiting.ticket, Ok(entry.index))));
        }
        while let Some(first) = self.steering.changes.first_entry().filter(|first| first.key().0 <= entry.index) {
            let ((_, term), waiting) = first.remove_entry();
            match joint {
                Some(true) if term == entry.term => self.steering.leaving.push(waiting),
                Some(_) | None => {
                    let answer = if term == entry.term { Ok(entry.index) } else { Err(Refused::Superseded) };
                    effects.steered.push((waiting.ticket, answer));
                }
            }
        }
    }
}

fn read_refused(error: ReadError) -> Refused {
    match error {
        ReadError::NotLeader { leader } => Refused::NotLeader { leader },
        ReadError::TimedOut => Refused::NoMajority,
        ReadError::TooMany { limit } => Refused::AskAgain(format!("more than {limit} reads wait")),
    }
}

fn transfer_refused(error: TransferError, target: NodeId) -> Refused {
    match error {
        TransferError::NotLeader { leader } => Refused::NotLeader { leader },
        TransferError::AlreadyLeads => Refused::NotNow(format!("{target} leads already")),
        TransferError::NoVoter => Refused::NotNow(format!("{target} is no voter")),
        TransferError::Damaged => Refused::NotNow(format!("the disk of {target} is damaged and being refilled")),
        TransferError::UnderWay { target } => Refused::AskAgain(format!("a transfer to {target} is under way")),
    }
}

fn change_refused(error: ChangeError) -> Refused {
    match error {
        ChangeError::NotLeader { leader } => Refused::NotLeader { leader },
        ChangeError::TooEarly => Refused::AskAgain("this leader has just been elected".into()),
        ChangeError::UnderWay { index } => Refused::AskAgain(format!("the change of entry {index} is under way")),
        ChangeError::NoVoters => Refused::NotNow("no voter would be left".into()),
        ChangeError::Twice { node } => Refused::NotNow(format!("{node} would be voter and learner")),
        ChangeError::NothingToDo => Refused::NotNow("the membership is so already".into()),
    }
}
