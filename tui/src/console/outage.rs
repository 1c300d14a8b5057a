//! What faults did: for how long there was no leader, how long nothing was committed, when work went on.
//!
//! An incident begins with an act of the operator, a fault that a node tells of, or a node that is lost; what comes within
//! two seconds belongs to it. One that begins while another is not over yet overlaps it: what is measured then belongs to
//! both, as nobody can say of which it is the effect, and both are over when all is well. All times are measured by the nodes' own clocks, between what they say they did; the console
//! only subtracts. What nobody measured is not claimed: a cluster without work has no stall.

use std::collections::VecDeque;

use raftdeck_shared::ids::Term;

/// Incidents remembered.
const KEPT_MAX: usize = 100;

/// What comes so soon after belongs to it.
const TOGETHER_MS: u64 = 2_000;

/// Causes told of one incident.
const CAUSES_MAX: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// Unix time.
    pub(crate) at_ms: u64,
    pub(crate) causes: Vec<String>,
    /// Without a leader, in all.
    pub(crate) leaderless_ms: u64,
    /// The longest time between two commits.
    pub(crate) stall_ms: Option<u64>,
    /// From the beginning to the first commit that came after it, under whoever leads at last.
    pub(crate) recovered_ms: Option<u64>,
    /// Submits of this console that were refused.
    pub(crate) refused: u64,
    /// All faults ended and all nodes were back, after so long.
    pub(crate) over_ms: Option<u64>,
    /// For a part of it another one was not over.
    pub(crate) overlaps: bool,
    /// Commits of older terms are not the recovery.
    term: Term,
    last_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outages {
    incidents: VecDeque<Incident>,
    /// When the last commit was, and in which term.
    committed: Option<(u64, Term)>,
}

impl Outages {
    /// Newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().rev()
    }

    /// Something was done, or went wrong.
    pub(crate) fn began(&mut self, at_ms: u64, what: String) {
        if let Some(open) = self.incidents.back_mut().filter(|i| at_ms.saturating_sub(i.last_ms) <= TOGETHER_MS) {
            open.last_ms = open.last_ms.max(at_ms);
            if open.causes.len() < CAUSES_MAX && !open.causes.contains(&what) {
                open.causes.push(what);
            }
            return;
        }
        let term = self.committed.map_or(Term(0), |(_, term)| term);
        let mut overlaps = false;
        for open in self.open() {
            open.overlaps = true;
            overlaps = true;
        }
        self.incidents.push_back(Incident {
            at_ms,
            causes: vec![what],
            leaderless_ms: 0,
            stall_ms: None,
            recovered_ms: None,
            refused: 0,
            over_ms: None,
            overlaps,
            term,
            last_ms: at_ms,
        });
        if self.incidents.len() > KEPT_MAX {
            self.incidents.pop_front();
        }
    }

    /// Whether what the operator did, by its sentence, can be what began an incident: neither what ends faults nor what is done to
    /// jobs and queues is.
    pub(crate) fn may_begin(act: &str) -> bool {
        let verb = act.strip_prefix("YOU ").and_then(|said| said.split(' ').next());
        !matches!(verb, Some("heal" | "restart" | "retry" | "pause" | "resume"))
    }

    /// Those that are not over.
    fn open(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.incidents.iter_mut().filter(|i| i.over_ms.is_none())
    }

    /// A leader committed.
    pub(crate) fn committed(&mut self, at_ms: u64, term: Term) {
        let before = self.committed.filter(|(before, _)| *before <= at_ms);
        for open in self.open().filter(|i| at_ms > i.at_ms) {
            if let Some((before, _)) = before {
                open.stall_ms = open.stall_ms.max(Some(at_ms - before));
            }
            if term >= open.term && open.recovered_ms.is_none() {
                open.recovered_ms = Some(at_ms - open.at_ms);
            }
        }
        self.committed = self.committed.max(Some((at_ms, term)));
    }

    /// Another node leads, after some time without anybody.
    pub(crate) fn led(&mut self, term: Term, without_ms: u64) {
        let committed = self.committed;
        for open in self.open() {
            open.leaderless_ms = open.leaderless_ms.saturating_add(without_ms);
            if term > open.term {
                open.term = term;
                // What came before was the old leader's last word, unless this one has committed already.
                open.recovered_ms = match committed {
                    Some((at_ms, of)) if of >= term => Some(at_ms.saturating_sub(open.at_ms)),
                    Some(_) | None => None,
                };
            }
        }
    }

    pub(crate) fn refused(&mut self) {
        self.open().for_each(|open| open.refused += 1);
    }

    /// All is as it should be.
    pub(crate) fn whole(&mut self, at_ms: u64) {
        if self.incidents.back().is_some_and(|newest| at_ms.saturating_sub(newest.last_ms) > TOGETHER_MS) {
            self.open().for_each(|open| open.over_ms = Some(at_ms.saturating_sub(open.at_ms)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_killed_costs_what_the_nodes_measured() {
        let mut outages = Outages::default();
        outages.committed(9_900, Term(6));
        outages.began(10_000, "YOU kill n2".into());
        outages.began(10_010, "n2 lost".into());
        outages.committed(10_004, Term(6));
        outages.led(Term(7), 640);
        outages.committed(10_700, Term(7));
        outages.committed(10_750, Term(7));
        outages.refused();
        outages.whole(11_000);
        outages.whole(19_000);
        let incident = outages.newest().next().unwrap();
        assert_eq!(incident.causes, ["YOU kill n2", "n2 lost"]);
        assert_eq!((incident.leaderless_ms, incident.stall_ms), (640, Some(696)));
        assert_eq!((incident.recovered_ms, incident.refused, incident.over_ms), (Some(700), 1, Some(9_000)));
        outages.began(40_000, "YOU cut n1".into());
        assert_eq!(outages.newest().count(), 2);
    }

    #[test]
    fn what_is_done_to_jobs_and_queues_is_no_incident() {
        for act in ["YOU retry 308 309", "YOU pause mail", "YOU resume mail", "YOU heal all faults", "YOU restart n1"] {
            assert!(!Outages::may_begin(act), "{act}");
        }
        for act in ["YOU kill n1 (pid 7)", "YOU pause-node n1 --for 5s", "YOU transfer n2", "YOU disk n1 --full"] {
            assert!(Outages::may_begin(act), "{act}");
        }
    }

    #[test]
    fn of_two_that_overlap_each_is_measured_to_its_end() {
        let mut outages = Outages::default();
        outages.committed(9_990, Term(6));
        outages.began(10_000, "YOU cut n1 from n2 n3 n4 n5".into());
        outages.began(15_000, "YOU cut n3 from n1 n2 n4 n5".into());
        outages.led(Term(7), 400);
        outages.committed(15_600, Term(7));
        outages.refused();
        outages.whole(16_000);
        outages.whole(40_000);
        outages.began(60_000, "YOU kill n2".into());
        let told: Vec<_> = outages
            .newest()
            .map(|i| (i.leaderless_ms, i.stall_ms, i.recovered_ms, i.refused, i.over_ms, i.overlaps))
            .collect();
        assert_eq!(
            told,
            [
                (0, None, None, 0, None, false),
                (400, Some(5_610), Some(600), 1, Some(25_000), true),
                (400, Some(5_610), Some(5_600), 1, Some(30_000), true),
            ]
        );
    }

    #[test]
    fn a_cluster_that_does_not_notice_has_no_outage() {
        let mut outages = Outages::default();
        outages.began(10_000, "YOU kill n5".into());
        outages.committed(10_040, Term(6));
        outages.committed(10_090, Term(6));
        let incident = outages.newest().next().unwrap();
        assert_eq!((incident.leaderless_ms, incident.stall_ms, incident.recovered_ms), (0, Some(50), Some(40)));
    }
}
