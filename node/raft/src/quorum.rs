//! Majorities: any two of them share a node, which is all that Raft's safety rests on.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Index, NodeId,
    mutants::{self, Mutant},
};

/// How many of `voters` nodes are a majority.
#[must_use]
pub fn majority(voters: usize) -> usize {
    if mutants::on(Mutant::HalfIsEnough) { voters.div_ceil(2) } else { voters / 2 + 1 }
}

/// The highest index that a majority of the voters has reached.
///
/// With the values sorted from high to low, the one at place `majority` is reached by exactly that many.
pub(crate) fn reached_by_majority(reached: impl Iterator<Item = Index>) -> Index {
    let mut sorted: Vec<Index> = reached.collect();
    assert!(!sorted.is_empty(), "a group without voters cannot commit");
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted[majority(sorted.len()) - 1]
}

/// What an election has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A majority said yes.
    Won,
    /// So many said no that no majority can say yes any more.
    Lost,
    /// Not decided.
    Open,
}

/// Counts the votes of an election. Votes of nodes that are no voters do not count.
pub(crate) fn tally(voters: &BTreeSet<NodeId>, votes: &BTreeMap<NodeId, bool>) -> Tally {
    let count = |said: bool| votes.iter().filter(|(node, vote)| voters.contains(node) && **vote == said).count();
    let needed = majority(voters.len());
    if count(true) >= needed {
        Tally::Won
    } else if voters.len() - count(false) < needed {
        Tally::Lost
    } else {
        Tally::Open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the definition: the highest index for which a head count finds a majority.
        #[test]
        fn reached_by_majority_is_the_highest_with_enough_heads(reached in prop::collection::vec(0u64..20, 1..9)) {
            let by_count = (0..20)
                .filter(|i| reached.iter().filter(|r| *r >= i).count() * 2 > reached.len())
                .max()
                .unwrap();
            prop_assert_eq!(reached_by_majority(reached.into_iter().map(Index)), Index(by_count));
        }

        /// Against the definition: won if the yes alone are a majority, lost if yes and silent together are not.
        #[test]
        fn a_tally_is_decided_only_when_nothing_can_change_it(
            voters in 1u64..8,
            votes in prop::collection::btree_map(1u64..10, any::<bool>(), 0..10),
        ) {
            let set: BTreeSet<NodeId> = (1..=voters).map(NodeId).collect();
            let cast: BTreeMap<NodeId, bool> = votes.iter().map(|(n, v)| (NodeId(*n), *v)).collect();
            let (mut yes, mut silent) = (0, 0);
            for voter in 1..=voters {
                match votes.get(&voter) {
                    Some(true) => yes += 1,
                    Some(false) => {}
                    None => silent += 1,
                }
            }
            let expected = if yes * 2 > voters {
                Tally::Won
            } else if (yes + silent) * 2 <= voters {
                Tally::Lost
            } else {
                Tally::Open
            };
            prop_assert_eq!(tally(&set, &cast), expected);
        }
    }
}
