//! A disk that lost what was acknowledged from it, and how its node comes back.
//!
//! Storage finds at the start that the log is shorter than its mark says, or rotten (protocol-aware recovery, Alagappan
//! et al., FAST 2018, is the idea). Such a node might vote for a leader that lacks what this node once helped to commit. So
//! it neither votes nor campaigns, and what it acknowledges counts towards no majority, until a leader has refilled it:
//!
//! - either its log agrees with the leader's beyond everything it ever acknowledged;
//! - or a leader of a *later* term than any it voted in has committed an entry of its own term, and this node has it. That
//!   leader was elected without this node, so it has all that was ever committed with this node's help, and so has now
//!   this node.
//!
//! The damage is part of what must never be forgotten: a crash in the middle of the refill finds it again.
//!
//! That its acknowledgements count for nothing is a second line: as long as it does not vote, a majority that elects meets one
//! that committed in a node that is whole when it votes, and a refill gives back all that was acknowledged in the meantime.

use crate::{Index, Observation, Raft};

impl Raft {
    /// Whether this node lost what it once acknowledged, and is not refilled yet.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Ends the damage, if what is here proves to be enough.
    pub(crate) fn settle_damage(&mut self) {
        let Some(damage) = self.damage else { return };
        let refilled = self.agreed >= damage.until;
        let later_term =
            self.term > damage.term && self.commit > Index(0) && self.log.term_at(self.commit) == Some(self.term);
        if refilled || later_term {
            self.damage = None;
            self.observe(Observation::Refilled { index: self.agreed });
        }
    }
}
