//! Who belongs to the group: voters, learners, and the joint state between two sets of voters (paper 6, thesis 4.3).
//!
//! A change goes from any set of voters to any other through a *joint* membership: while it holds, a majority of the old
//! set *and* a majority of the new one must agree, to elect as well as to commit. So at no moment can two majorities
//! exist that do not know of each other, whatever the sets are.
//!
//! A membership is an entry of the log and in force from the moment it is *appended*; a truncation brings back the one
//! before (thesis 4.1; the rule "in force when applied" of other implementations needs three more rules to be safe).
//!
//! A member is bound to its data directory: what comes from another directory under the same name is not counted. A
//! node that lost its disk is so a stranger until the group has replaced it, as a learner first.
//!
//! Laws:
//! - there is at least one voter;
//! - nobody is a voter and a learner at once, but for one who is about to become the other: it votes with `outgoing`;
//! - two memberships that follow each other in a log share a majority: either the voters are the same, or one of them is
//!   joint and contains the other's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Index, NodeId, StorageId,
    mutants::{self, Mutant},
    quorum::{self, Tally},
};

/// One that gets the log and has no vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Learner {
    /// Becomes a voter when it has caught up.
    pub promote: bool,
    /// The data directory it is bound to; none as long as it was not heard of.
    pub storage: Option<StorageId>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// In a joint membership, who voted before; else empty.
    pub outgoing: BTreeSet<NodeId>,
    /// Who gets the log and has no vote. One that votes with `outgoing` may be a learner already, from another directory.
    pub learners: BTreeMap<NodeId, Learner>,
    /// The data directory that a voter is bound to; none as long as it was not heard of.
    pub storages: BTreeMap<NodeId, StorageId>,
    /// Where a member is reached, in words that only the transport reads; none if the operator's file says it.
    pub addresses: BTreeMap<NodeId, Bytes>,
}

impl Membership {
    /// These voters, and nothing else.
    #[must_use]
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Membership {
        Membership { voters: voters.into_iter().collect(), ..Membership::default() }
    }

    /// Whether two sets of voters must agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether a node votes, in either set.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether a node is a voter or a learner.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains_key(&node)
    }

    /// All voters and learners, in order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(self.learners.keys()).copied().collect()
    }

    /// Whether this directory's node votes: it speaks from the one it is bound to, if it is bound to any.
    #[must_use]
    pub fn counts(&self, node: NodeId, storage: StorageId) -> bool {
        self.is_voter(node) && self.storages.get(&node).is_none_or(|bound| *bound == storage)
    }

    /// Whether this directory's node is a member, with a vote or without.
    #[must_use]
    pub fn admits(&self, node: NodeId, storage: StorageId) -> bool {
        let as_learner = self.learners.get(&node).is_some_and(|l| l.storage.is_none_or(|bound| bound == storage));
        as_learner || self.counts(node, storage)
    }

    /// Whether a majority, in a joint membership of each set, is of a kind.
    #[must_use]
    pub fn majority_of(&self, kind: impl Fn(NodeId) -> bool) -> bool {
        let yes = |set: &BTreeSet<NodeId>| set.iter().filter(|n| kind(**n)).count() >= quorum::majority(set.len());
        yes(&self.voters) && (!self.is_joint() || yes(&self.outgoing))
    }

    /// The highest number that a majority has reached, in a joint membership a majority of each set.
    pub(crate) fn reached(&self, by: impl Fn(NodeId) -> Index) -> Index {
        let learners = self.learners.keys().copied().filter(|_| mutants::on(Mutant::CountsLearners));
        let reached =
            |set: &BTreeSet<NodeId>| quorum::reached_by_majority(set.iter().copied().chain(learners.clone()).map(&by));
        if self.is_joint() && !mutants::on(Mutant::JointByNewAlone) {
            reached(&self.voters).min(reached(&self.outgoing))
        } else {
            reached(&self.voters)
        }
    }

    /// What an election has come to. In a joint membership both sets must be won, and one that is lost loses all.
    pub(crate) fn tally(&self, votes: &BTreeMap<NodeId, bool>) -> Tally {
        let incoming = quorum::tally(&self.voters, votes);
        if !self.is_joint() || mutants::on(Mutant::JointByNewAlone) {
            return incoming;
        }
        match (incoming, quorum::tally(&self.outgoing, votes)) {
            (Tally::Lost, _) | (_, Tally::Lost) => Tally::Lost,
            (Tally::Won, Tally::Won) => Tally::Won,
            (Tally::Open, _) | (_, Tally::Open) => Tally::Open,
        }
    }

    /// The way from here to `next`: the entry to append now. Where the voters change, a joint one; its own end follows by
    /// itself when it is committed.
    pub(crate) fn towards(&self, next: Membership) -> Membership {
        assert!(!self.is_joint() && !next.is_joint(), "a change begins and ends outside the joint state");
        let outgoing = if self.voters == next.voters || mutants::on(Mutant::SkipsJoint) {
            BTreeSet::new()
        } else {
            self.voters.clone()
        };
        Membership { outgoing, ..next }.tidy(self)
    }

    /// The end of the joint state.
    pub(crate) fn left(&self) -> Membership {
        Membership { outgoing: BTreeSet::new(), ..self.clone() }.tidy(self)
    }

    /// Knows about members only, and about each of them what was known before unless it says otherwise.
    fn tidy(mut self, before: &Membership) -> Membership {
        for (node, storage) in &before.storages {
            self.storages.entry(*node).or_insert(*storage);
        }
        for (node, address) in &before.addresses {
            self.addresses.entry(*node).or_insert_with(|| address.clone());
        }
        let (members, voters, outgoing) = (self.members(), &self.voters, &self.outgoing);
        self.storages.retain(|node, _| voters.contains(node) || outgoing.contains(node));
        self.addresses.retain(|node, _| members.contains(node));
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;
    use crate::model::always_meet;

    const NODES: u64 = 5;

    fn set(of: impl Strategy<Value = usize>) -> impl Strategy<Value = BTreeSet<NodeId>> {
        of.prop_flat_map(|size| btree_set((1..=NODES).prop_map(NodeId), size))
    }

    /// Any voters, and perhaps others before them.
    fn any_membership() -> impl Strategy<Value = Membership> {
        (set(1..6usize), set(0..6usize)).prop_map(|(voters, outgoing)| Membership {
            voters,
            outgoing,
            ..Membership::default()
        })
    }

    /// By definition: more than half of the heads, of both sets if there are two.
    fn agree(membership: &Membership, yes: &BTreeSet<NodeId>) -> bool {
        let half = |set: &BTreeSet<NodeId>| 2 * set.intersection(yes).count() > set.len();
        half(&membership.voters) && (membership.outgoing.is_empty() || half(&membership.outgoing))
    }

    /// Where a change is to go: voters, learners among the others, and the directories that are known.
    fn any_target() -> impl Strategy<Value = Membership> {
        (set(1..5usize), set(0..4usize), any::<u8>()).prop_map(|(voters, others, disk)| {
            let learners = others.difference(&voters).map(|n| (*n, Learner { promote: true, storage: None })).collect();
            let storages = voters.iter().take(1).map(|n| (*n, StorageId(u128::from(disk)))).collect();
            Membership { voters, learners, storages, ..Membership::default() }
        })
    }

    proptest! {
        #[test]
        fn majorities_are_counted_by_heads(membership in any_membership(), yes in set(0..6usize), no in set(0..6usize)) {
            prop_assert_eq!(membership.majority_of(|n| yes.contains(&n)), agree(&membership, &yes));
            let silent: BTreeSet<NodeId> = (1..=NODES).map(NodeId).filter(|n| !yes.contains(n) && !no.contains(n)).collect();
            let votes = no.iter().map(|n| (*n, false)).chain(yes.iter().map(|n| (*n, true))).collect();
            let expected = if agree(&membership, &yes) {
                Tally::Won
            } else if agree(&membership, &yes.union(&silent).copied().collect()) {
                Tally::Open
            } else {
                Tally::Lost
            };
            prop_assert_eq!(membership.tally(&votes), expected);
        }

        #[test]
        fn what_is_reached_is_reached_by_both_majorities(membership in any_membership(), at in prop::array::uniform5(0u64..6)) {
            let by = |node: NodeId| Index(at[usize::try_from(node.0 - 1).unwrap()]);
            let there = |index: u64| (1..=NODES).map(NodeId).filter(|n| by(*n) >= Index(index)).collect();
            let expected = (0..6).rev().find(|index| agree(&membership, &there(*index))).unwrap();
            prop_assert_eq!(membership.reached(by), Index(expected));
        }

        /// Whatever follows whatever: no two majorities of neighbours are strangers, and the change arrives where it should.
        #[test]
        fn memberships_that_follow_each_other_share_a_node(first in any_target(), then in prop::collection::vec(any_target(), 1..6)) {
            let mut now = first;
            for next in then {
                let towards = now.towards(next.clone());
                prop_assert!(always_meet(&now, &towards), "{:?} and {:?}", now, towards);
                let arrived = if towards.is_joint() { towards.left() } else { towards.clone() };
                prop_assert!(always_meet(&towards, &arrived), "{:?} and {:?}", towards, arrived);
                prop_assert_eq!((&arrived.voters, &arrived.learners), (&next.voters, &next.learners));
                prop_assert!(!arrived.is_joint());
                for (node, storage) in now.storages.iter().filter(|(n, _)| next.voters.contains(n)) {
                    prop_assert_eq!(arrived.storages.get(node), Some(next.storages.get(node).unwrap_or(storage)));
                }
                prop_assert!(arrived.storages.keys().all(|n| arrived.voters.contains(n)), "bound, and no voter");
                now = arrived;
            }
        }
    }
}
