//! Who can reach whom, and is that enough: now, and after what the operator is about to do.
//!
//! A leader needs a *direct* link to a majority: nothing is passed on from node to node. So quorum is not "the largest
//! connected group is a majority" but "some node reaches a majority, itself included". In a chain of seven, all are
//! connected and nobody can lead.
//!
//! Laws, for every network:
//! - taking a node or a link away never gives a quorum that was not there;
//! - at most one of the disjoint sides has a quorum.

use std::collections::{BTreeSet, VecDeque};

use raftdeck_shared::ids::NodeId;

/// A set of nodes.
pub(crate) type Nodes = BTreeSet<NodeId>;

/// What can talk to what, as far as anyone can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) voters: Nodes,
    pub(crate) up: Nodes,
    /// Broken links, the smaller id first.
    pub(crate) cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Reach {
    pub(crate) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub(crate) fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    fn linked(&self, a: NodeId, b: NodeId) -> bool {
        !self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// The voters a node has a direct link to, with itself. Empty for a node that is not up.
    pub(crate) fn of(&self, node: NodeId) -> Nodes {
        if !self.up.contains(&node) {
            return Nodes::new();
        }
        self.voters.iter().copied().filter(|v| self.up.contains(v) && (*v == node || self.linked(node, *v))).collect()
    }

    /// The largest set that some one voter reaches; of equals, that of the lowest id.
    pub(crate) fn strongest(&self) -> Nodes {
        let reaches = self.voters.iter().map(|v| self.of(*v));
        reaches.fold(Nodes::new(), |best, next| if next.len() > best.len() { next } else { best })
    }

    pub(crate) fn has_quorum(&self) -> bool {
        !self.voters.is_empty() && self.strongest().len() >= self.majority()
    }

    /// The groups that the cuts leave, largest first. Within one, everybody is reached, if need be over others.
    pub(crate) fn sides(&self) -> Vec<Nodes> {
        let mut rest: Nodes = self.voters.intersection(&self.up).copied().collect();
        let mut sides = Vec::new();
        while let Some(first) = rest.pop_first() {
            let mut side = Nodes::from([first]);
            let mut queue = VecDeque::from([first]);
            while let Some(node) = queue.pop_front() {
                let found: Vec<NodeId> = rest.iter().copied().filter(|other| self.linked(node, *other)).collect();
                for other in found {
                    rest.remove(&other);
                    side.insert(other);
                    queue.push_back(other);
                }
            }
            sides.push(side);
        }
        sides.sort_by_key(|side| std::cmp::Reverse(side.len()));
        sides
    }

    /// The same without a node.
    pub(crate) fn without(&self, node: NodeId) -> Reach {
        let mut after = self.clone();
        after.up.remove(&node);
        after
    }

    /// The same with every link between two sides broken.
    pub(crate) fn split(&self, a: &Nodes, b: &Nodes) -> Reach {
        let mut after = self.clone();
        for x in a {
            for y in b.iter().filter(|y| *y != x) {
                after.cut(*x, *y);
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(ids: impl IntoIterator<Item = u64>) -> Nodes {
        ids.into_iter().map(NodeId).collect()
    }

    fn whole(n: u64) -> Reach {
        Reach { voters: nodes(1..=n), up: nodes(1..=n), cuts: BTreeSet::new() }
    }

    #[test]
    fn five_nodes_stand_two_losses_and_not_three() {
        let five = whole(5);
        let two_lost = five.without(NodeId(1)).without(NodeId(2));
        assert!(two_lost.has_quorum());
        assert_eq!(two_lost.strongest(), nodes([3, 4, 5]));
        assert!(!two_lost.without(NodeId(3)).has_quorum());
    }

    #[test]
    fn an_even_split_has_no_quorum() {
        let split = whole(4).split(&nodes([1, 2]), &nodes([3, 4]));
        assert!(!split.has_quorum());
        assert_eq!(split.sides(), [nodes([1, 2]), nodes([3, 4])]);
        assert!(whole(5).split(&nodes([1, 2]), &nodes([3, 4, 5])).has_quorum());
    }

    #[test]
    fn connected_is_not_enough() {
        let mut chain = whole(7);
        for a in 1..=7 {
            for b in a + 2..=7 {
                chain.cut(NodeId(a), NodeId(b));
            }
        }
        assert_eq!(chain.sides().len(), 1);
        assert!(!chain.has_quorum(), "nobody in the chain reaches four directly");
        let mut star = whole(3);
        star.cut(NodeId(1), NodeId(3));
        assert!(star.has_quorum());
        assert_eq!(star.strongest(), nodes([1, 2, 3]));
    }

    #[test]
    fn nothing_known_is_no_quorum() {
        assert!(!Reach::default().has_quorum());
        assert!(!Reach { voters: nodes(1..=3), ..Reach::default() }.has_quorum());
    }

    fn networks() -> impl Strategy<Value = Reach> {
        (1..8u64, any::<u8>(), proptest::collection::vec((1..8u64, 1..8u64), 0..12)).prop_map(|(n, up, cuts)| {
            let mut net = whole(n);
            net.up.retain(|id| up & (1 << id.0) != 0);
            for (a, b) in cuts.into_iter().filter(|(a, b)| a != b) {
                net.cut(NodeId(a), NodeId(b));
            }
            net
        })
    }

    proptest! {
        #[test]
        fn harm_never_helps(net in networks(), node in 1..8u64, side in any::<u8>()) {
            let a: Nodes = net.voters.iter().copied().filter(|id| side & (1 << id.0) != 0).collect();
            let b: Nodes = net.voters.difference(&a).copied().collect();
            prop_assert!(net.has_quorum() || !net.without(NodeId(node)).has_quorum());
            prop_assert!(net.has_quorum() || !net.split(&a, &b).has_quorum());
        }

        #[test]
        fn one_side_at_most_has_the_majority(net in networks()) {
            let enough = net.sides().iter().filter(|side| side.len() >= net.majority()).count();
            prop_assert!(enough <= 1);
            prop_assert_eq!(net.sides().iter().map(Nodes::len).sum::<usize>(), net.voters.intersection(&net.up).count());
        }
    }
}
