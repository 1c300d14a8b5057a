//! Who was asked for a vote in the newest election, and what each answered.
//!
//! A candidate tells that it asks, a voter how it answers; they come on different streams, in any order. So both are
//! kept as told, and a vote belongs to a campaign when it was cast after the campaign began: the stamps are causal, and
//! a node's newer campaign makes the answers to its older one void.

use std::collections::BTreeMap;

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire,
};

use super::{events::Stamp, text::clean};

/// Candidates remembered, and answers to all of them; more is not a cluster.
const REMEMBERED_MAX: usize = 4096;

/// A node asks for votes, or who would vote for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Campaign {
    term: Term,
    pre: bool,
    since: Stamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ballot {
    pre: bool,
    at: Stamp,
    answer: Answer,
}

/// What a voter said to a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// And why.
    Refused(String),
}

/// The campaigns for one term that the newest one is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Election {
    pub(crate) term: Term,
    /// Nobody votes yet: candidates ask who would.
    pub(crate) pre: bool,
    /// When the newest campaign began.
    pub(crate) at_ms: u64,
    pub(crate) candidates: Vec<NodeId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Votes {
    campaigns: BTreeMap<NodeId, Campaign>,
    ballots: BTreeMap<(NodeId, NodeId), Ballot>,
}

impl Votes {
    pub(crate) fn observed(&mut self, o: &wire::Observation, at: Stamp) {
        let node = NodeId(o.node);
        match o.kind() {
            wire::ObservationKind::Role => {
                let (asked, pre) = match o.role() {
                    wire::Role::PreCandidate => (o.term.saturating_add(1), true),
                    wire::Role::Candidate => (o.term, false),
                    wire::Role::Follower | wire::Role::Leader | wire::Role::Unspecified => return,
                };
                let campaign = Campaign { term: Term(asked), pre, since: at };
                keep(&mut self.campaigns, node, campaign, |known| known.since < at);
            }
            wire::ObservationKind::VoteCast => {
                let answer = if o.granted { Answer::Granted } else { Answer::Refused(clean(&o.cause)) };
                let ballot = Ballot { pre: o.pre, at, answer };
                keep(&mut self.ballots, (NodeId(o.peer), node), ballot, |known| known.at < at);
            }
            // All else is no part of an election.
            _ => {}
        }
    }

    /// The newest election; none if none was seen.
    pub(crate) fn newest(&self) -> Option<Election> {
        let newest = self.campaigns.values().max_by_key(|c| c.since)?;
        let same = |c: &Campaign| (c.term, c.pre) == (newest.term, newest.pre);
        let candidates = self.campaigns.iter().filter(|(_, c)| same(c)).map(|(id, _)| *id).collect();
        Some(Election { term: newest.term, pre: newest.pre, at_ms: newest.since.at_ms, candidates })
    }

    /// What a voter answered to the newest campaign of a candidate. A candidate grants itself.
    pub(crate) fn answer(&self, candidate: NodeId, voter: NodeId) -> Option<&Answer> {
        let campaign = self.campaigns.get(&candidate)?;
        if candidate == voter {
            return Some(&Answer::Granted);
        }
        let ballot = self.ballots.get(&(candidate, voter))?;
        (ballot.at > campaign.since && ballot.pre == campaign.pre).then_some(&ballot.answer)
    }
}

/// Keeps what is newer. A map that is full is of no real cluster, and begins anew.
fn keep<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, newer: impl FnOnce(&V) -> bool) {
    if map.get(&key).is_none_or(newer) {
        if map.len() >= REMEMBERED_MAX {
            map.clear();
        }
        map.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at_ms: u64, node: u64, kind: wire::ObservationKind) -> wire::Observation {
        wire::Observation { at_ms, node, term: 7, kind: kind.into(), ..Default::default() }
    }

    fn tell(votes: &mut Votes, o: &wire::Observation) {
        let at = Stamp { at_ms: o.at_ms, logical: o.logical, node: o.node, seq: o.seq };
        votes.observed(o, at);
    }

    fn asks(at_ms: u64, node: u64, role: wire::Role) -> wire::Observation {
        wire::Observation { role: role.into(), ..told(at_ms, node, wire::ObservationKind::Role) }
    }

    fn cast(at_ms: u64, voter: u64, candidate: u64, granted: bool) -> wire::Observation {
        let cause = if granted { "for T7" } else { "its log is behind" }.into();
        wire::Observation { peer: candidate, granted, cause, ..told(at_ms, voter, wire::ObservationKind::VoteCast) }
    }

    #[test]
    fn answers_count_for_the_campaign_they_were_given_to_whatever_comes_first() {
        let mut votes = Votes::default();
        assert_eq!(votes.newest(), None);
        tell(&mut votes, &cast(12, 1, 2, true));
        tell(&mut votes, &cast(9, 3, 2, true));
        tell(&mut votes, &asks(10, 2, wire::Role::Candidate));
        tell(&mut votes, &asks(11, 4, wire::Role::Candidate));
        tell(&mut votes, &cast(13, 1, 4, false));
        let candidates = vec![NodeId(2), NodeId(4)];
        assert_eq!(votes.newest(), Some(Election { term: Term(7), pre: false, at_ms: 11, candidates }));
        let answer = |candidate, voter| votes.answer(NodeId(candidate), NodeId(voter));
        assert_eq!(answer(2, 1), Some(&Answer::Granted));
        assert_eq!(answer(2, 2), Some(&Answer::Granted), "itself");
        assert_eq!(answer(2, 3), None, "that was an older campaign");
        assert_eq!(answer(4, 1), Some(&Answer::Refused("its log is behind".into())));
        assert_eq!(answer(4, 5), None, "silent");
    }

    #[test]
    fn who_would_vote_is_no_vote() {
        let mut votes = Votes::default();
        tell(&mut votes, &asks(10, 2, wire::Role::PreCandidate));
        tell(&mut votes, &wire::Observation { pre: true, ..cast(11, 1, 2, true) });
        let newest = votes.newest().unwrap();
        assert_eq!((newest.term, newest.pre), (Term(8), true));
        assert_eq!(votes.answer(NodeId(2), NodeId(1)), Some(&Answer::Granted));
        tell(&mut votes, &wire::Observation { term: 8, ..asks(11, 2, wire::Role::Candidate) });
        tell(&mut votes, &wire::Observation { pre: true, ..cast(12, 3, 2, true) });
        let newest = votes.newest().unwrap();
        assert_eq!((newest.term, newest.pre), (Term(8), false));
        assert_eq!(votes.answer(NodeId(2), NodeId(1)), None);
        assert_eq!(votes.answer(NodeId(2), NodeId(3)), None, "a late answer to the question before");
    }
}
