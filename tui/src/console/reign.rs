//! Who leads, and for how long nobody did: the measured effect of what was done to the cluster.
//!
//! Measured in the nodes' own times, not by when their words came here. It begins when the old leader was last heard by so many
//! that they are a majority with it, which each follower's status tells to the tick, and a connection that broke: one that is cut off together with its
//! leader hears it for longer, and is no sign that there was one. It ends when the new one says that it leads.

use std::collections::BTreeMap;

use raftdeck_shared::ids::{NodeId, Term};

use super::{
    msg::Time,
    status::{Role, Status},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Reign {
    /// The last leader that had a majority.
    last: Option<(NodeId, Term)>,
    /// When each of its followers last heard it, as far as they said.
    heard_at_ms: BTreeMap<NodeId, u64>,
    /// The newest that told of its election, and when it was.
    elected: Option<(Term, NodeId, u64)>,
    /// Since when there is none, as this console saw it.
    pub(crate) lost: Option<Time>,
}

/// A new leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) leader: NodeId,
    pub(crate) term: Term,
    pub(crate) without_ms: u64,
}

impl Reign {
    /// A node told that it leads.
    pub(crate) fn elected(&mut self, term: Term, id: NodeId, at_ms: u64) {
        self.elected = self.elected.max(Some((term, id, at_ms)));
    }

    /// A node's connection to another one broke: until then it was there.
    pub(crate) fn link_lost(&mut self, at: NodeId, peer: NodeId, at_ms: u64) {
        if self.last.is_some_and(|(leader, _)| leader == peer) {
            let heard_at_ms = self.heard_at_ms.entry(at).or_default();
            *heard_at_ms = (*heard_at_ms).max(at_ms);
        }
    }

    /// Looks at what live nodes say now, and at the leader among them that has a majority. Tells of a change from one
    /// leader to another, if the time between is known.
    pub(crate) fn look<'a>(
        &mut self,
        leader: Option<&Status>,
        words: impl Iterator<Item = &'a Status>,
        now: Time,
    ) -> Option<Change> {
        if let Some((id, term)) = self.last {
            for word in words.filter(|s| s.role == Role::Follower && s.term == term && s.leader == Some(id)) {
                let heard_at_ms = self.heard_at_ms.entry(word.id).or_default();
                *heard_at_ms = (*heard_at_ms).max(word.at_ms.saturating_sub(word.heard_ms));
            }
        }
        let Some(leader) = leader else {
            if self.last.is_some() {
                self.lost.get_or_insert(now);
            }
            return None;
        };
        self.lost = None;
        let before = self.last.replace((leader.id, leader.term));
        if before == self.last {
            return None;
        }
        let mut heard_at_ms: Vec<u64> = std::mem::take(&mut self.heard_at_ms).into_values().collect();
        heard_at_ms.sort_unstable_by(|one, other| other.cmp(one));
        let with_it = leader.voters.len() / 2;
        let by_majority_at_ms = with_it.checked_sub(1).and_then(|last| heard_at_ms.get(last).copied());
        let since_ms = match self.elected {
            Some((term, id, at_ms)) if (term, id) == (leader.term, leader.id) => at_ms,
            Some(_) | None => leader.at_ms,
        };
        let without_ms = since_ms.saturating_sub(by_majority_at_ms?);
        Some(Change { leader: leader.id, term: leader.term, without_ms })
    }
}
