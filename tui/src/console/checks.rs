//! What must hold in every Raft cluster, checked on what the nodes say while they say it.
//!
//! These are not proofs: a console sees samples. But what they find is real. Each check keeps what it compared, so that a
//! line "ok" can say over how much, and a broken one names both witnesses.
//!
//! - at most one leader in a term (election safety);
//! - a committed entry has the same term on all nodes (log matching, leader completeness);
//! - nodes that applied the same index hold the same state (state machine safety);
//! - a node's commit index never falls within one run of its process.

use std::collections::BTreeMap;

use raftdeck_shared::ids::{Index, NodeId, Term};

use super::status::{Role, Status};

/// Indexes and terms remembered per check.
const REMEMBERED_MAX: usize = 4096;

/// Broken laws kept, with their evidence.
const BROKEN_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    committed: BTreeMap<Index, (Term, NodeId)>,
    states: BTreeMap<Index, (u64, NodeId)>,
    commits: BTreeMap<NodeId, (String, Index)>,
    shown: BTreeMap<NodeId, Index>,
    /// Statuses of a node compared with its one before.
    pub(crate) commits_compared: u64,
    /// Committed entries of which two nodes showed the same term.
    pub(crate) entries_agreed: u64,
    /// State hashes that were equal on two nodes.
    pub(crate) states_agreed: u64,
    /// Evidence of what does not hold.
    pub(crate) broken: Vec<String>,
}

impl Checks {
    /// Terms in which a leader was seen.
    pub(crate) fn terms_seen(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Takes one node's word.
    pub(crate) fn status(&mut self, s: &Status) {
        if s.role == Role::Leader {
            self.leader(s.term, s.id, &s.name);
        }
        self.commit(s);
        // All of the tail is compared each time, but counted as agreed once.
        let counted = self.shown.insert(s.id, s.commit).unwrap_or_default();
        for (index, term) in s.tail.cells().filter(|(index, _)| *index <= s.commit) {
            let (seen, witness) = *self.committed.entry(index).or_insert((term, s.id));
            if seen != term {
                self.found(format!("entry {index}: {seen} committed on {witness}, {term} on {}", s.name));
            } else if witness != s.id && index > counted {
                self.entries_agreed += 1;
            }
        }
        if s.applied > Index(0) {
            let (hash, witness) = *self.states.entry(s.applied).or_insert((s.state_hash, s.id));
            if hash != s.state_hash {
                self.found(format!(
                    "state after {}: {hash:016x} on {witness}, {:016x} on {}",
                    s.applied.0, s.state_hash, s.name
                ));
            } else if witness != s.id {
                self.states_agreed += 1;
            }
        }
        forget(&mut self.leaders);
        forget(&mut self.committed);
        forget(&mut self.states);
    }

    /// A node is or was leader of a term.
    pub(crate) fn leader(&mut self, term: Term, id: NodeId, name: &str) {
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            self.found(format!("{term}: both {first} and {name} lead"));
        }
    }

    fn commit(&mut self, s: &Status) {
        let before = self.commits.insert(s.id, (s.boot_id.clone(), s.commit));
        if let Some((boot, commit)) = before
            && boot == s.boot_id
        {
            self.commits_compared += 1;
            if commit > s.commit {
                self.found(format!("{}: commit fell from {commit} to {}", s.name, s.commit));
            }
        }
    }

    /// Somebody who sees more has found a law broken.
    pub(crate) fn told(&mut self, evidence: String) {
        self.found(evidence);
    }

    fn found(&mut self, evidence: String) {
        if self.broken.len() < BROKEN_MAX && !self.broken.contains(&evidence) {
            self.broken.push(evidence);
        }
    }
}

fn forget<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    while map.len() > REMEMBERED_MAX {
        map.pop_first();
    }
}
