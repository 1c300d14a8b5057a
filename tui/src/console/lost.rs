//! Messages that were sent and never arrived. Nodes tell what they hear, so a message that is lost is told by nobody; two
//! things are known all the same, and nothing else is claimed:
//!
//! - who stands for election asks every other voter, and each that is asked tells its answer: of a voter that says nothing
//!   for a second, the request is lost. A voter that is up and only this console does not see is left out: it may have
//!   answered;
//! - a fault counts what it drops, and its node tells the number. Where a link is cut at one end only, that end counts what
//!   it does not send and what it does not take.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire::{ObservationKind as Kind, Role},
};

use super::{
    events::Stamp,
    keys::Hidden,
    quorum::Nodes,
    status::{Fault, FaultKind, Status},
    trace::Seen,
};

/// An answer that is not told within this time does not come.
const ANSWER_WITHIN_MS: u64 = 1_000;

/// What a fault drops so soon after belongs to the same row.
const TOGETHER_MS: u64 = 1_000;

/// Rows kept, and requests that wait.
const KEPT_MAX: usize = 500;

/// A message that never arrived, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) stamp: Stamp,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) what: What,
    /// What ate it.
    pub(crate) why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A request for a vote, or a pre-vote, and who tells of asking.
    Request { pre: bool, term: Term, asked: Seen },
    /// So many, as the fault of this number at the sender counts.
    Dropped { count: u64, fault: u64 },
}

impl Lost {
    /// In the lane.
    pub(crate) fn word(&self) -> String {
        match &self.what {
            What::Request { pre: true, .. } => format!("pre-vote? lost: {}", self.why),
            What::Request { pre: false, .. } => format!("vote? lost: {}", self.why),
            What::Dropped { count, .. } => format!("{count} lost: {}", self.why),
        }
    }

    /// As a sentence.
    pub(crate) fn sentence(&self, name: &dyn Fn(NodeId) -> String) -> String {
        let (from, to, why) = (name(self.from), name(self.to), &self.why);
        match &self.what {
            What::Request { pre, term, .. } => {
                let vote = if *pre { "pre-vote" } else { "vote" };
                format!("the request of {from} for the {vote} of {to} in {term} is lost: {why}")
            }
            What::Dropped { count: 1, .. } => format!("1 message of {from} to {to} is lost: {why}"),
            What::Dropped { count, .. } => format!("{count} messages of {from} to {to} are lost: {why}"),
        }
    }

    /// What it is hidden with.
    pub(crate) fn group(&self) -> Hidden {
        match self.what {
            What::Request { .. } => Hidden::Votes,
            What::Dropped { .. } => Hidden::Appends,
        }
    }
}

/// Somebody stands for election and waits.
#[derive(Clone, Debug)]
struct Asked {
    request: Seen,
    until_run_ms: u64,
    /// Those that have not told an answer, with the fault that was on the way, if one was known.
    silent: BTreeMap<NodeId, Option<String>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    kept: VecDeque<Arc<Lost>>,
    asked: VecDeque<Asked>,
}

impl Losses {
    /// All that is kept.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<Lost>> {
        self.kept.iter()
    }

    /// Takes an observation. `voters` are those whose answer was not told yet, `fault` is what is on the way from one node to another.
    pub(crate) fn observed(
        &mut self,
        o: &Seen,
        run_ms: u64,
        voters: &Nodes,
        fault: &dyn Fn(NodeId, NodeId) -> Option<String>,
    ) {
        let node = NodeId(o.node);
        match (o.kind(), o.role()) {
            (Kind::Role, Role::Candidate | Role::PreCandidate) => {
                let silent = voters.iter().filter(|v| **v != node).map(|v| (*v, fault(node, *v))).collect();
                let until_run_ms = run_ms.saturating_add(ANSWER_WITHIN_MS);
                self.asked.push_back(Asked { request: Arc::clone(o), until_run_ms, silent });
                if self.asked.len() > KEPT_MAX {
                    self.asked.pop_front();
                }
            }
            (Kind::VoteCast, _) => {
                let fits = |request: &Seen| {
                    let pre = request.role() == Role::PreCandidate;
                    request.node == o.peer && pre == o.pre && Stamp::of(request) <= Stamp::of(o)
                };
                for asked in self.asked.iter_mut().filter(|asked| fits(&asked.request)) {
                    asked.silent.remove(&node);
                }
                // It was told late.
                self.kept.retain(|lost| match &lost.what {
                    What::Request { asked, .. } => lost.to != node || !fits(asked),
                    What::Dropped { .. } => true,
                });
            }
            _ => {}
        }
    }

    /// What was waited for and has not come. `silence` says why a node is silent; none if it may have answered unseen.
    pub(crate) fn pass(&mut self, run_ms: u64, silence: &dyn Fn(NodeId) -> Option<String>) {
        while self.asked.front().is_some_and(|asked| asked.until_run_ms <= run_ms) {
            let Some(Asked { request, silent, .. }) = self.asked.pop_front() else { return };
            let pre = request.role() == Role::PreCandidate;
            for (to, fault) in silent {
                let Some(why) = fault.or_else(|| silence(to)) else { continue };
                let what = What::Request { pre, term: Term(request.term), asked: Arc::clone(&request) };
                // Right behind what asked, each at a place of its own.
                let seq = (u64::MAX / 4 * 3).saturating_add(to.0);
                let stamp = Stamp { seq, ..Stamp::of(&request) };
                let from = NodeId(request.node);
                self.keep(Lost { stamp, from, to, what, why });
            }
        }
    }

    /// True while something is waited for.
    pub(crate) fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A node tells again what its faults have dropped; `before` is its word of before, on the same stream.
    pub(crate) fn counted(&mut self, before: Option<&Status>, after: &Status) {
        for fault in &after.faults {
            let Some(to) = peer(fault) else { continue };
            let old = before.and_then(|before| before.faults.iter().find(|f| f.id == fault.id));
            let count = fault.dropped.saturating_sub(old.map_or(0, |old| old.dropped));
            if count == 0 {
                continue;
            }
            let of_it = |lost: &&mut Arc<Lost>| {
                matches!(lost.what, What::Dropped { fault: id, .. } if id == fault.id)
                    && lost.from == after.id
                    && after.at_ms.saturating_sub(lost.stamp.at_ms) < TOGETHER_MS
            };
            if let Some(row) = self.kept.iter_mut().rev().find(of_it) {
                let mut more = Lost::clone(row);
                if let What::Dropped { count: sum, .. } = &mut more.what {
                    *sum = sum.saturating_add(count);
                }
                *row = Arc::new(more);
                continue;
            }
            let seq = (u64::MAX / 2).saturating_add(fault.id); // Of no observation.
            let stamp = Stamp { at_ms: after.at_ms, logical: 0, node: after.id.0, seq };
            let what = What::Dropped { count, fault: fault.id };
            self.keep(Lost { stamp, from: after.id, to, what, why: words(fault) });
        }
    }

    fn keep(&mut self, lost: Lost) {
        self.kept.push_back(Arc::new(lost));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }
}

/// The fault that is on the way from one node to another, by the word of either.
pub(crate) fn on_the_way(from: Option<&Status>, to: Option<&Status>) -> Option<String> {
    let of = |status: Option<&Status>, far: Option<NodeId>| {
        let fault = status?.faults.iter().find(|f| peer(f).is_some() && peer(f) == far)?;
        Some(words(fault))
    };
    let stands_still = || {
        let still = |f: &&Fault| matches!(&f.kind, FaultKind::Other { peer: None, words, .. } if words == "pause");
        to?.faults.iter().find(still).map(words)
    };
    let (a, b) = (from.map(|s| s.id), to.map(|s| s.id));
    of(from, b).or_else(|| of(to, a).filter(|words| words == "cut")).or_else(stands_still)
}

fn peer(fault: &Fault) -> Option<NodeId> {
    match &fault.kind {
        FaultKind::Cut(peer) => Some(*peer),
        FaultKind::Other { peer, .. } => *peer,
        FaultKind::Kill => None,
    }
}

fn words(fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::Cut(_) => "cut".into(),
        FaultKind::Other { words, .. } => words.clone(),
        FaultKind::Kill => "kill".into(),
    }
}
