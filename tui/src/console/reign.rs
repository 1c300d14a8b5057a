//! Who leads, and for how long nobody did: the measured effect of what was done to the cluster.
//!
//! Measured in the nodes' own times, not by when their words came here. It begins when a follower last heard the old
//! leader, which each follower's status tells to the tick, and ends when the new one says that it leads.

use raftdeck_shared::ids::{NodeId, Term};

use super::{
    msg::Time,
    status::{Role, Status},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Reign {
    /// The last leader that had a majority.
    last: Option<(NodeId, Term)>,
    /// When a follower last heard it; 0: nobody said.
    heard_at_ms: u64,
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

    /// Looks at what live nodes say now, and at the leader among them that has a majority. Tells of a change from one
    /// leader to another, if the time between is known.
    pub(crate) fn look<'a>(
        &mut self,
        leader: Option<&Status>,
        words: impl Iterator<Item = &'a Status>,
        now: Time,
    ) -> Option<Change> {
        if let Some((id, term)) = self.last {
            let follows = |s: &&Status| s.role == Role::Follower && s.term == term && s.leader == Some(id);
            let heard = words.filter(follows).map(|s| s.at_ms.saturating_sub(s.heard_ms)).max();
            self.heard_at_ms = self.heard_at_ms.max(heard.unwrap_or_default());
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
        let heard_at_ms = std::mem::take(&mut self.heard_at_ms);
        let since_ms = match self.elected {
            Some((term, id, at_ms)) if (term, id) == (leader.term, leader.id) => at_ms,
            Some(_) | None => leader.at_ms,
        };
        let without_ms = since_ms.saturating_sub(heard_at_ms);
        (heard_at_ms > 0).then_some(Change { leader: leader.id, term: leader.term, without_ms })
    }
}
