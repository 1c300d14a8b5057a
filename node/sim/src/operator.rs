//! An operator of a simulated cluster, who pauses the queue, resumes it, and retries jobs; and what must follow.
//!
//! Every seventh seed has one. The operator draws from a generator of its own, and the other seeds are what they were before
//! there was one: what they once found, they would find again.
//!
//! # The law
//!
//! After a pause was acknowledged, and before a resume began, nobody is given a job of the queue. What was decided when is
//! said by the log: an answer carries its index. So of a claim at an index the last pause before it counts, unless a resume
//! came between them or in the claim's own entry, or one that may have is still unanswered, or was given up with nobody knowing what became of it. One
//! that was given up before the pause began does not count: whoever wrote the pause did not have it, or had it before.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_jobs::{ClaimedJob, Job, JobState, NewJob, Op, PauseOutcome, Reply, RetryOutcome};
use raftdeck_node::replica::{Applied, Refused, Replica, Ticket};
use raftdeck_raft::{Index, NodeId};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{cluster::Cluster, violation::Violation};

/// So many seeds are between two that have an operator.
const EVERY: u64 = 7;

/// Sets its generator apart from those of the seed.
const SALT: u64 = 0x6f70_6572_6174_6f72;

/// Who is at work in a seed, and what it knows.
#[derive(Debug)]
pub(crate) struct Operator {
    rng: StdRng,
    next_us: u64,
    /// Counts what begins and ends, so that one can be said to be before the other.
    moment: u64,
    /// Pauses and resumes without an answer.
    open: BTreeMap<Ticket, Asked>,
    /// Pauses that were acknowledged, and the moment in which each began.
    pauses: BTreeMap<Index, u64>,
    resumes: BTreeSet<Index>,
    /// When the last resume ended of which nobody knows whether it was done.
    lost: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    paused: bool,
    began: u64,
}

impl Operator {
    /// The operator of a seed, if it has one.
    pub(crate) fn of(seed: u64) -> Option<Operator> {
        (seed % EVERY == EVERY - 1).then(|| Operator {
            rng: StdRng::seed_from_u64(seed ^ SALT),
            next_us: 0,
            moment: 0,
            open: BTreeMap::new(),
            pauses: BTreeMap::new(),
            resumes: BTreeSet::new(),
            lost: None,
        })
    }

    /// Asks some node for something, if it is time.
    pub(crate) fn ask(&mut self, cluster: &mut Cluster) -> Result<(), Violation> {
        if cluster.now_us() < self.next_us {
            return Ok(());
        }
        self.next_us = cluster.now_us() + self.rng.random_range(50_000..500_000);
        let any = cluster.ids().into_iter().choose(&mut self.rng).expect("a cluster has nodes");
        let node = if self.rng.random_bool(0.8) { cluster.leader().unwrap_or(any) } else { any };
        match self.rng.random_range(0..10_u8) {
            0..3 => self.set(cluster, node, true),
            3..6 => self.set(cluster, node, false),
            6..9 => self.retry(cluster, node, |job| matches!(job.state, JobState::Scheduled | JobState::Retryable)),
            9.. => self.retry(cluster, node, |_| true),
        }
    }

    fn retry(&mut self, cluster: &mut Cluster, node: NodeId, wanted: fn(&Job) -> bool) -> Result<(), Violation> {
        let seen = cluster.replica(node).into_iter().flat_map(|replica| replica.machine().live());
        match seen.filter(|job| wanted(job)).map(|job| job.id).choose(&mut self.rng) {
            Some(job) => cluster.request(node, Op::Retry { job }).map(drop),
            None => Ok(()),
        }
    }

    /// What an operator leaves paused is resumed at whoever leads, until it is.
    pub(crate) fn resume(&mut self, cluster: &mut Cluster) -> Result<(), Violation> {
        let leader = cluster.leader().filter(|id| cluster.replica(*id).is_some_and(has_paused));
        leader.map_or(Ok(()), |leader| self.set(cluster, leader, false))
    }

    fn set(&mut self, cluster: &mut Cluster, node: NodeId, paused: bool) -> Result<(), Violation> {
        self.moment += 1;
        let began = self.moment;
        let ticket = cluster.request(node, Op::PauseQueue { queue: NewJob::default().queue, paused })?;
        self.open.insert(ticket, Asked { paused, began });
        Ok(())
    }

    /// Somebody was told this, or nobody can say: the word for what was reached, if it is worth one.
    pub(crate) fn told(
        &mut self,
        ticket: Ticket,
        answer: Option<&Result<Applied, Refused>>,
    ) -> Result<Option<&'static str>, Violation> {
        self.moment += 1;
        let asked = self.open.remove(&ticket);
        match (answer, asked) {
            (Some(Ok(Applied { index, reply: Reply::Claimed(jobs) })), _) => self.claimed(*index, jobs).map(|()| None),
            (Some(Ok(Applied { index, .. })), Some(Asked { paused: true, began })) => {
                self.pauses.insert(*index, began);
                Ok(Some("paused"))
            }
            (Some(Ok(Applied { index, reply })), Some(Asked { paused: false, .. })) => {
                self.resumes.insert(*index);
                let changed = matches!(reply, Reply::QueuePaused(Ok(PauseOutcome { changed: true })));
                Ok(changed.then_some("resumed"))
            }
            (Some(Ok(Applied { reply: Reply::Retried(Ok(RetryOutcome::Available)), .. })), None) => Ok(Some("retried")),
            (Some(Err(Refused::Unknown)) | None, Some(Asked { paused: false, .. })) => {
                self.lost = Some(self.moment);
                Ok(None)
            }
            (Some(Ok(_) | Err(_)) | None, _) => Ok(None),
        }
    }

    fn claimed(&self, index: Index, jobs: &[ClaimedJob]) -> Result<(), Violation> {
        let Some((pause, began)) = self.pauses.range(..index).next_back() else { return Ok(()) };
        // Of an entry with both, the resume may have come first.
        let resumed = self.resumes.range(*pause..=index).next().is_some();
        let may_be = self.open.values().any(|asked| !asked.paused) || self.lost.is_some_and(|lost| lost > *began);
        let queue = NewJob::default().queue;
        match jobs.iter().find(|job| job.queue == queue).map(|job| job.id) {
            Some(job) if !resumed && !may_be => Err(Violation::ClaimedPaused { job, index, pause: *pause }),
            Some(_) | None => Ok(()),
        }
    }
}

fn has_paused(replica: &Replica) -> bool {
    replica.machine().paused_queues().next().is_some()
}
