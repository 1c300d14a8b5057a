//! What must hold after every event, checked by an onlooker who sees all nodes at once.

use std::collections::BTreeMap;

use raftdeck_jobs::JobId;
use raftdeck_node::replica::Replica;
use raftdeck_raft::{Body, Entry, Envelope, Index, NodeId, Term, majority};
use thiserror::Error;

use crate::disk::Disk;

/// A law that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Paper, figure 3: election safety.
    #[error("two leaders in {term}: {one} and {other}")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
    /// Paper, figure 3: leader completeness.
    #[error("{leader} leads {term} without the committed entry {index}")]
    LeaderLacks {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The entry.
        index: Index,
    },
    /// Paper, figure 3: state machine safety.
    #[error("{node} commits another entry at {index} than was committed there before")]
    CommittedChanged {
        /// The node.
        node: NodeId,
        /// The place.
        index: Index,
    },
    /// Paper, figure 3: log matching.
    #[error("{one} and {other} have the same term at {index}, but not the same log before it")]
    LogsDiffer {
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
        /// The place.
        index: Index,
    },
    /// Replicas that applied the same have the same state.
    #[error("{node} has another state at {applied} than {first} had")]
    StatesDiffer {
        /// The node.
        node: NodeId,
        /// Who was there first.
        first: NodeId,
        /// The applied index.
        applied: u64,
    },
    /// The term, or the commit index of one life, fell; or a node came back with a lower term than it had shown.
    #[error("the {what} of {node} fell from {from} to {to}")]
    Fell {
        /// Of whom.
        node: NodeId,
        /// What.
        what: &'static str,
        /// From.
        from: u64,
        /// To.
        to: u64,
    },
    /// Something was acknowledged that a majority does not have on disk.
    #[error("entry {index} of {term} was acknowledged with {copies} durable copies")]
    AcknowledgedTooEarly {
        /// The entry.
        index: Index,
        /// Its term.
        term: Term,
        /// On so many disks.
        copies: usize,
    },
    /// Something that was acknowledged is not there.
    #[error("job {job} was acknowledged and {node} does not have it")]
    Lost {
        /// The job.
        job: JobId,
        /// Where it was looked for.
        node: NodeId,
    },
    /// Healed, and yet it does not come to rest.
    #[error("not settled {waited_ms} ms after everything was healed: {why}")]
    NotSettled {
        /// How long was waited.
        waited_ms: u64,
        /// What is missing.
        why: String,
    },
    /// The disk refused what it should have taken.
    #[error("{node}: {error}")]
    Storage {
        /// The node.
        node: NodeId,
        /// How.
        error: String,
    },
}

/// What the onlooker remembers.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    committed: Vec<Entry>,
    states: BTreeMap<u64, (NodeId, u64)>,
    seen: BTreeMap<NodeId, Seen>,
}

/// What was last seen of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: Term,
    commit: Index,
    /// The highest term that this node has shown to a peer, in any life.
    shown: Term,
}

impl Checks {
    /// A node starts: what was only in memory may be less now, what it has shown may not.
    pub(crate) fn started(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let seen = self.seen.entry(node).or_default();
        let (shown, term) = (seen.shown, replica.raft().term());
        *seen = Seen { term, commit: Index(0), shown };
        if shown <= term { Ok(()) } else { Err(Violation::Fell { node, what: "term", from: shown.0, to: term.0 }) }
    }

    /// A node sends a message. The term of a pre-vote request is one that it has not entered.
    pub(crate) fn sent(&mut self, envelope: &Envelope) {
        if !matches!(envelope.body, Body::RequestVote { pre: true, .. }) {
            let seen = self.seen.entry(envelope.from).or_default();
            seen.shown = seen.shown.max(envelope.term);
        }
    }

    /// After every event, for the node that it happened to.
    pub(crate) fn look(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let raft = replica.raft();
        let seen = self.seen.entry(node).or_default();
        for (what, from, to) in [("term", seen.term.0, raft.term().0), ("commit index", seen.commit.0, raft.commit().0)]
        {
            if to < from {
                return Err(Violation::Fell { node, what, from, to });
            }
        }
        let news = seen.commit.next();
        *seen = Seen { term: raft.term(), commit: raft.commit(), ..*seen };
        for entry in raft.log().range(news, raft.commit()) {
            let place = usize::try_from(entry.index.prev().0).expect("a simulated log is short");
            match self.committed.get(place) {
                Some(known) if known == entry => {}
                Some(_) => return Err(Violation::CommittedChanged { node, index: entry.index }),
                None => self.committed.push(entry.clone()),
            }
        }
        let (applied, hash) = (replica.machine().applied(), replica.machine().state_hash());
        let (first, known) = *self.states.entry(applied).or_insert((node, hash));
        if known == hash { Ok(()) } else { Err(Violation::StatesDiffer { node, first, applied }) }
    }

    /// A node became leader.
    pub(crate) fn leads(&mut self, node: NodeId, replica: &Replica) -> Result<(), Violation> {
        let term = replica.raft().term();
        let one = *self.leaders.entry(term).or_insert(node);
        if one != node {
            return Err(Violation::TwoLeaders { term, one, other: node });
        }
        let lacks = self.committed.iter().find(|e| replica.raft().log().get(e.index) != Some(e));
        lacks.map_or(Ok(()), |e| Err(Violation::LeaderLacks { leader: node, term, index: e.index }))
    }

    /// A client was told that its entry is applied.
    pub(crate) fn acknowledged<'a>(
        &self,
        index: Index,
        disks: impl Iterator<Item = &'a Disk>,
    ) -> Result<(), Violation> {
        let place = usize::try_from(index.prev().0).expect("a simulated log is short");
        let term = self.committed.get(place).map_or(Term(0), |e| e.term);
        let (mut all, mut copies) = (0, 0);
        for disk in disks {
            all += 1;
            copies += usize::from(disk.has(index, term));
        }
        if copies >= majority(all) { Ok(()) } else { Err(Violation::AcknowledgedTooEarly { index, term, copies }) }
    }
}

/// Log matching between two nodes: below the last place where their terms agree, everything does.
pub(crate) fn logs_match(one: (NodeId, &Replica), other: (NodeId, &Replica)) -> Result<(), Violation> {
    let (a, b) = (one.1.raft().log(), other.1.raft().log());
    let mut index = a.last().0.min(b.last().0);
    while index > Index(0) && a.term_at(index) != b.term_at(index) {
        index = index.prev();
    }
    if a.range(Index(1), index) == b.range(Index(1), index) {
        Ok(())
    } else {
        Err(Violation::LogsDiffer { one: one.0, other: other.0, index })
    }
}
