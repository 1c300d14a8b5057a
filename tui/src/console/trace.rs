//! What one node heard from another, by hybrid time: the rows of the lanes.
//!
//! A node tells what it *received* and what it then did, never what it sent: what is known of messages that were lost is in
//! [`lost`](super::lost). Who sent an append is not in the observation; in one term only one node can, its leader. Nor is
//! who was answered when a job changed: the leader of the term answers the client or the worker that asked for it.
//!
//! Appends and commits come by the hundred a second; they are kept apart, so that an election from a minute ago is still
//! there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire::{self, ObservationKind as Kind, Role},
};

use super::{events::Stamp, keys::Hidden, lost::Lost};

/// Rows kept of appends, commits and jobs, and apart from them of all else.
const KEPT_MAX: usize = 1500;

/// So much later may a sender's own word be stamped than the receipt of what it sent.
const LATE_MS: u64 = 50;

pub(crate) type Seen = Arc<wire::Observation>;

/// A row of the lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    Heard(&'a Seen),
    Lost(&'a Lost),
}

impl Row<'_> {
    pub(crate) fn stamp(self) -> Stamp {
        match self {
            Row::Heard(o) => Stamp::of(o),
            Row::Lost(lost) => lost.stamp,
        }
    }
}

/// Whoever was answered when a job changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Client,
    /// A worker, by its name: that of a node, if it is its executor.
    Worker(String),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    turns: VecDeque<Seen>,
    routine: VecDeque<Seen>,
    /// Who led which term.
    leaders: BTreeMap<Term, NodeId>,
}

/// The group a kind is hidden with; none for what has no place in the lanes.
pub(crate) fn group(o: &wire::Observation) -> Option<Option<Hidden>> {
    match o.kind() {
        Kind::Appended | Kind::Committed | Kind::Truncated | Kind::Progress => Some(Some(Hidden::Appends)),
        Kind::VoteCast | Kind::VoteReceived => Some(Some(Hidden::Votes)),
        Kind::Job => Some(Some(Hidden::Jobs)),
        Kind::Role | Kind::Leader | Kind::Fault | Kind::Transfer | Kind::Membership | Kind::Damage | Kind::Node => {
            Some(None)
        }
        Kind::Link | Kind::Term | Kind::Snapshot | Kind::Unspecified => None,
    }
}

impl Trace {
    /// Somebody says that it leads a term: as it became the leader, or later, to a console that came later.
    pub(crate) fn leads(&mut self, term: Term, node: NodeId) {
        self.leaders.insert(term, node);
        if self.leaders.len() > KEPT_MAX {
            self.leaders.pop_first();
        }
    }

    pub(crate) fn observed(&mut self, o: &Seen) {
        if o.kind() == Kind::Role && o.role() == Role::Leader {
            self.leads(Term(o.term), NodeId(o.node));
        }
        let kept = match group(o) {
            None => return,
            Some(Some(Hidden::Appends | Hidden::Jobs)) => &mut self.routine,
            Some(Some(Hidden::Votes) | None) => &mut self.turns,
        };
        // Nearly always among the newest.
        let stamp = Stamp::of(o);
        let later = kept.iter().rev().take_while(|there| Stamp::of(there) > stamp).count();
        kept.insert(kept.len() - later, Arc::clone(o));
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }

    /// The rows, oldest first, without those of hidden groups.
    pub(crate) fn rows(&self, hidden: &BTreeSet<Hidden>) -> Vec<&Seen> {
        let wanted = |o: &&Seen| group(o).is_some_and(|group| group.is_none_or(|g| !hidden.contains(&g)));
        let mut rows: Vec<&Seen> = self.turns.iter().chain(&self.routine).filter(wanted).collect();
        rows.sort_by_key(|o| Stamp::of(o));
        rows
    }

    /// Who sent what a node received; none for what it did by itself.
    pub(crate) fn sender(&self, o: &wire::Observation) -> Option<NodeId> {
        let peer = (o.peer != 0 && o.peer != o.node).then_some(NodeId(o.peer));
        let by_leader = || self.leaders.get(&Term(o.term)).copied().filter(|leader| leader.0 != o.node);
        match o.kind() {
            Kind::VoteCast | Kind::VoteReceived | Kind::Leader => peer,
            Kind::Appended | Kind::Truncated if o.message_id != 0 => by_leader(),
            Kind::Role if o.message_id != 0 => peer,
            _ => None,
        }
    }

    /// Who has told its answer to somebody who stands for election. A voter's stream may be ahead of the candidate's.
    pub(crate) fn voted(&self, request: &wire::Observation) -> BTreeSet<NodeId> {
        let pre = request.role() == Role::PreCandidate;
        let fits = |o: &&Seen| o.kind() == Kind::VoteCast && (o.peer, o.pre) == (request.node, pre);
        let later = self.turns.iter().rev().take_while(|o| Stamp::of(o) > Stamp::of(request));
        later.filter(fits).map(|o| NodeId(o.node)).collect()
    }

    /// Whom the leader answers with this; none for what nobody asked for, and for what the others say of the same.
    pub(crate) fn answered(&self, o: &wire::Observation) -> Option<Answered> {
        if o.kind() != Kind::Job || self.leaders.get(&Term(o.term)) != Some(&NodeId(o.node)) {
            return None;
        }
        let ends = ["submitted", "cancelled", "asked to stop"];
        match o.cause.split_once(" claimed by ") {
            Some((_, worker)) => Some(Answered::Worker(worker.to_owned())),
            None => ends.into_iter().any(|end| o.cause.ends_with(end)).then_some(Answered::Client),
        }
    }

    /// What made this happen, as far as it was observed: the last that fits before it. A leader tells of an append when it has
    /// handed it out, so a fast follower may be stamped a moment before: then the first that fits after it.
    pub(crate) fn cause(&self, o: &wire::Observation) -> Option<&Seen> {
        let at = Stamp::of(o);
        let last = |fits: &dyn Fn(&wire::Observation) -> bool| {
            let all = self.turns.iter().chain(&self.routine);
            all.filter(|there| Stamp::of(there) < at && fits(there)).max_by_key(|there| Stamp::of(there))
        };
        let near = |fits: &dyn Fn(&wire::Observation) -> bool| {
            let late = |there: &&Seen| Stamp::of(there) > at && there.at_ms <= at.at_ms.saturating_add(LATE_MS);
            let all = self.routine.iter();
            last(fits).or_else(|| all.filter(late).filter(|there| fits(there)).min_by_key(|there| Stamp::of(there)))
        };
        match o.kind() {
            // Asked by who became a candidate, or asked who would vote.
            Kind::VoteCast => last(&|c| {
                let asks = if o.pre { Role::PreCandidate } else { Role::Candidate };
                c.kind() == Kind::Role && c.node == o.peer && c.role() == asks
            }),
            Kind::VoteReceived => {
                last(&|c| c.kind() == Kind::VoteCast && (c.node, c.peer, c.pre) == (o.peer, o.node, o.pre))
            }
            Kind::Role if o.role() == Role::Leader => {
                last(&|c| c.kind() == Kind::VoteReceived && c.node == o.node && c.granted && !c.pre)
            }
            Kind::Role if o.role() == Role::Candidate => {
                last(&|c| c.kind() == Kind::VoteReceived && c.node == o.node && c.granted && c.pre)
            }
            Kind::Leader => last(&|c| c.kind() == Kind::Role && c.node == o.peer && c.role() == Role::Leader),
            Kind::Appended if o.message_id != 0 => {
                let from = self.sender(o)?.0;
                near(&|c| {
                    c.kind() == Kind::Appended && c.node == from && c.index <= o.last_index && c.last_index >= o.index
                })
            }
            Kind::Committed if self.leaders.get(&Term(o.term)).is_some_and(|l| l.0 != o.node) => {
                let from = self.leaders[&Term(o.term)].0;
                near(&|c| c.kind() == Kind::Committed && c.node == from && c.index >= o.index)
            }
            // The append on a follower that made the majority.
            Kind::Committed => last(&|c| c.kind() == Kind::Appended && c.node != o.node && c.last_index >= o.index),
            Kind::Job => last(&|c| c.kind() == Kind::Committed && c.node == o.node && c.index >= o.index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at_ms: u64, node: u64, kind: Kind, more: impl FnOnce(&mut wire::Observation)) -> Seen {
        let mut o = wire::Observation { seq: at_ms, at_ms, node, term: 7, kind: kind.into(), ..Default::default() };
        more(&mut o);
        Arc::new(o)
    }

    #[test]
    fn an_election_is_one_chain_of_causes() {
        let mut trace = Trace::default();
        let chain = [
            seen(1, 2, Kind::Role, |o| o.role = Role::Candidate.into()),
            seen(2, 3, Kind::VoteCast, |o| (o.peer, o.granted, o.message_id) = (2, true, 9)),
            seen(3, 2, Kind::VoteReceived, |o| (o.peer, o.granted, o.message_id) = (3, true, 4)),
            seen(4, 2, Kind::Role, |o| o.role = Role::Leader.into()),
            seen(5, 1, Kind::Leader, |o| (o.peer, o.message_id) = (2, 11)),
        ];
        // Streams bring them in any order.
        for at in [4, 2, 0, 1, 3] {
            trace.observed(&chain[at]);
        }
        let mut at = &chain[4];
        let mut walked = vec![at.seq];
        while let Some(cause) = trace.cause(at) {
            walked.push(cause.seq);
            at = cause;
        }
        assert_eq!(walked, [5, 4, 3, 2, 1]);
        assert_eq!([1, 2, 4].map(|i| trace.sender(&chain[i]).map(|n| n.0)), [Some(2), Some(3), Some(2)]);
        assert_eq!(trace.sender(&chain[0]), None);
    }

    #[test]
    fn an_append_comes_from_the_leader_of_its_term() {
        let mut trace = Trace::default();
        trace.observed(&seen(1, 2, Kind::Role, |o| o.role = Role::Leader.into()));
        let own = seen(2, 2, Kind::Appended, |o| (o.index, o.last_index) = (8, 9));
        let far = seen(3, 3, Kind::Appended, |o| (o.index, o.last_index, o.message_id) = (9, 9, 5));
        let commit = seen(4, 2, Kind::Committed, |o| o.index = 9);
        for o in [&own, &far, &commit] {
            trace.observed(o);
        }
        assert_eq!((trace.sender(&own), trace.sender(&far)), (None, Some(NodeId(2))));
        assert_eq!(trace.cause(&far).map(|c| c.seq), Some(2));
        assert_eq!(trace.cause(&commit).map(|c| c.seq), Some(3));
        assert_eq!(trace.rows(&BTreeSet::from([Hidden::Appends])).len(), 1);
        let early = seen(6, 3, Kind::Appended, |o| (o.index, o.last_index, o.message_id) = (10, 10, 6));
        let told_late = seen(7, 2, Kind::Appended, |o| (o.index, o.last_index) = (10, 10));
        trace.observed(&early);
        assert_eq!(trace.cause(&early), None);
        trace.observed(&told_late);
        assert_eq!(trace.cause(&early).map(|c| c.seq), Some(7), "told a moment after it was sent");
    }
}
