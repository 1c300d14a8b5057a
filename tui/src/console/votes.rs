//! Who was asked for a vote, and what each answered: the newest election and those before it.
//!
//! A candidate tells that it asks, a voter how it answers; they come on different streams, in any order. So both are
//! kept as told, and a vote belongs to a campaign when it was cast after the campaign began and before its candidate began
//! the next: the stamps are causal.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire,
};

use super::{events::Stamp, text::clean};

/// Campaigns remembered; when there are more, the older half goes.
const CAMPAIGNS_MAX: usize = 256;

/// Answers remembered, likewise.
const BALLOTS_MAX: usize = 2048;

/// A node asks for votes, or who would vote for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Campaign {
    term: Term,
    pre: bool,
    candidate: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ballot {
    pre: bool,
    candidate: NodeId,
    answer: Answer,
}

/// What a voter said to a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// And why.
    Refused(String),
}

/// All campaigns for one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Election {
    pub(crate) term: Term,
    /// Nobody votes yet: candidates ask who would.
    pub(crate) pre: bool,
    /// When the newest campaign began.
    pub(crate) at_ms: u64,
    /// Each with the beginning of its newest campaign.
    pub(crate) candidates: BTreeMap<NodeId, Stamp>,
}

/// A vote as it was cast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cast<'a> {
    pub(crate) at: Stamp,
    pub(crate) voter: NodeId,
    pub(crate) candidate: NodeId,
    pub(crate) answer: &'a Answer,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Votes {
    campaigns: BTreeMap<Stamp, Campaign>,
    ballots: BTreeMap<Stamp, Ballot>,
}

impl Votes {
    pub(crate) fn observed(&mut self, o: &wire::Observation, at: Stamp) {
        match o.kind() {
            wire::ObservationKind::Role => {
                let (asked, pre) = match o.role() {
                    wire::Role::PreCandidate => (o.term.saturating_add(1), true),
                    wire::Role::Candidate => (o.term, false),
                    wire::Role::Follower | wire::Role::Leader | wire::Role::Unspecified => return,
                };
                self.campaigns.insert(at, Campaign { term: Term(asked), pre, candidate: NodeId(o.node) });
                halve(&mut self.campaigns, CAMPAIGNS_MAX);
            }
            wire::ObservationKind::VoteCast => {
                let answer = if o.granted { Answer::Granted } else { Answer::Refused(clean(&o.cause)) };
                self.ballots.insert(at, Ballot { pre: o.pre, candidate: NodeId(o.peer), answer });
                halve(&mut self.ballots, BALLOTS_MAX);
            }
            // All else is no part of an election.
            _ => {}
        }
    }

    /// The elections, that of the highest term first; a question who would vote is one of its own, behind its election.
    pub(crate) fn elections(&self) -> Vec<Election> {
        let mut elections: BTreeMap<(Reverse<Term>, bool), Election> = BTreeMap::new();
        for (since, Campaign { term, pre, candidate }) in self.campaigns.iter().rev() {
            let (term, pre, at_ms) = (*term, *pre, since.at_ms);
            let new = || Election { term, pre, at_ms, candidates: BTreeMap::new() };
            elections.entry((Reverse(term), pre)).or_insert_with(new).candidates.entry(*candidate).or_insert(*since);
        }
        elections.into_values().collect()
    }

    /// The newest election; none if none was seen.
    pub(crate) fn newest(&self) -> Option<Election> {
        self.elections().into_iter().next()
    }

    /// When the campaign of a candidate that began then was over: at its next one.
    fn end(&self, candidate: NodeId, since: Stamp) -> Option<Stamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        let later = self.campaigns.range((Excluded(since), Unbounded));
        later.into_iter().find(|(_, c)| c.candidate == candidate).map(|(at, _)| *at)
    }

    /// The votes of an election in the order in which they were cast. A candidate's own is not among them.
    pub(crate) fn cast(&self, election: &Election) -> Vec<Cast<'_>> {
        let mut cast = Vec::new();
        for (candidate, since) in &election.candidates {
            let end = self.end(*candidate, *since);
            let ballots = self.ballots.range(*since..).take_while(|(at, _)| end.is_none_or(|end| **at < end));
            let own = ballots.filter(|(at, b)| {
                b.candidate == *candidate && b.pre == election.pre && at.node != candidate.0 && **at > *since
            });
            cast.extend(own.map(|(at, b)| Cast {
                at: *at,
                voter: NodeId(at.node),
                candidate: *candidate,
                answer: &b.answer,
            }));
        }
        cast.sort_by_key(|cast| cast.at);
        cast
    }

    /// What a voter answered last to a candidate of an election. A candidate grants itself.
    pub(crate) fn answer(&self, election: &Election, candidate: NodeId, voter: NodeId) -> Option<&Answer> {
        if candidate == voter {
            return election.candidates.contains_key(&candidate).then_some(&Answer::Granted);
        }
        let cast = self.cast(election).into_iter().rev();
        cast.into_iter().find(|c| (c.candidate, c.voter) == (candidate, voter)).map(|c| c.answer)
    }

    /// Voters that granted, the candidate among them.
    pub(crate) fn granted(&self, election: &Election, candidate: NodeId) -> BTreeSet<NodeId> {
        let cast = self.cast(election).into_iter();
        let voters = cast.filter(|c| c.candidate == candidate && *c.answer == Answer::Granted).map(|c| c.voter);
        voters.chain([candidate]).collect()
    }
}

fn halve<V>(map: &mut BTreeMap<Stamp, V>, max: usize) {
    if map.len() > max {
        let middle = map.keys().nth(max / 2).copied().unwrap_or_default();
        *map = map.split_off(&middle);
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
        let newest = votes.newest().unwrap();
        assert_eq!((newest.term, newest.pre, newest.at_ms), (Term(7), false, 11));
        assert_eq!(newest.candidates.keys().map(|n| n.0).collect::<Vec<_>>(), [2, 4]);
        let answer = |candidate, voter| votes.answer(&newest, NodeId(candidate), NodeId(voter));
        assert_eq!(answer(2, 1), Some(&Answer::Granted));
        assert_eq!(answer(2, 2), Some(&Answer::Granted), "itself");
        assert_eq!(answer(2, 3), None, "that was an older campaign");
        assert_eq!(answer(4, 1), Some(&Answer::Refused("its log is behind".into())));
        assert_eq!(answer(4, 5), None, "silent");
        assert_eq!(votes.granted(&newest, NodeId(2)), [1, 2].map(NodeId).into());
        assert_eq!(votes.cast(&newest).iter().map(|c| c.voter.0).collect::<Vec<_>>(), [1, 1], "in order");
    }

    #[test]
    fn who_would_vote_is_no_vote() {
        let mut votes = Votes::default();
        tell(&mut votes, &asks(10, 2, wire::Role::PreCandidate));
        tell(&mut votes, &wire::Observation { pre: true, ..cast(11, 1, 2, true) });
        let newest = votes.newest().unwrap();
        assert_eq!((newest.term, newest.pre), (Term(8), true));
        assert_eq!(votes.answer(&newest, NodeId(2), NodeId(1)), Some(&Answer::Granted));
        tell(&mut votes, &wire::Observation { term: 8, ..asks(11, 2, wire::Role::Candidate) });
        tell(&mut votes, &wire::Observation { pre: true, ..cast(12, 3, 2, true) });
        let newest = votes.newest().unwrap();
        assert_eq!((newest.term, newest.pre), (Term(8), false));
        assert_eq!(votes.answer(&newest, NodeId(2), NodeId(1)), None);
        assert_eq!(votes.answer(&newest, NodeId(2), NodeId(3)), None, "a late answer to the question before");
        let all = votes.elections();
        assert_eq!(all.iter().map(|e| e.pre).collect::<Vec<_>>(), [false, true], "the question is one of its own");
        assert_eq!(votes.answer(&all[1], NodeId(2), NodeId(1)), Some(&Answer::Granted), "and still known");
    }

    #[test]
    fn an_answer_belongs_to_the_campaign_it_came_in() {
        let mut votes = Votes::default();
        for (at, term) in [(10, 7), (20, 8)] {
            tell(&mut votes, &wire::Observation { term, ..asks(at, 2, wire::Role::Candidate) });
        }
        tell(&mut votes, &cast(25, 3, 2, true));
        let [second, first] = &votes.elections()[..] else { panic!("two elections") };
        assert_eq!(votes.answer(second, NodeId(2), NodeId(3)), Some(&Answer::Granted));
        assert_eq!(votes.answer(first, NodeId(2), NodeId(3)), None);
    }

    #[test]
    fn the_oldest_go_and_the_newest_stays() {
        let mut votes = Votes::default();
        for at in 0..1_000 {
            tell(&mut votes, &wire::Observation { term: at, ..asks(at, 2, wire::Role::Candidate) });
            tell(&mut votes, &cast(at, 3, 2, true));
        }
        assert!(votes.campaigns.len() <= CAMPAIGNS_MAX);
        assert_eq!(votes.elections()[0].term, Term(999));
    }
}
