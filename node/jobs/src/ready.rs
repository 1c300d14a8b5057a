//! The claim order: which available job is next.
//!
//! Jobs wait in lanes, one for each handler and queue. Within a lane, and over all lanes that a claim may take from, the
//! order is priority (0 first), then the time since which a job may run, then its id. A claim looks at the heads of its
//! lanes only: its cost follows the lanes it names and the jobs it gets, never the jobs that wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Job, JobId, Name};

/// A job's place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: u8,
    run_at_ms: u64,
    id: JobId,
}

type Lane = BTreeSet<Place>;

/// The available jobs, in claim order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    /// By handler, then by queue: a claim names its handlers but may leave the queues open. No lane is empty.
    lanes: BTreeMap<Name, BTreeMap<Name, Lane>>,
}

impl Ready {
    pub(crate) fn insert(&mut self, job: &Job) {
        let queues = self.lanes.entry(job.handler.clone()).or_default();
        queues.entry(job.queue.clone()).or_default().insert(place(job));
    }

    pub(crate) fn remove(&mut self, job: &Job) {
        let Some(queues) = self.lanes.get_mut(&job.handler) else { return };
        let Some(lane) = queues.get_mut(&job.queue) else { return };
        lane.remove(&place(job));
        if lane.is_empty() {
            queues.remove(&job.queue);
        }
        if queues.is_empty() {
            self.lanes.remove(&job.handler);
        }
    }

    pub(crate) fn any(&self, queues: &[Name], handlers: &[Name]) -> bool {
        !self.matching(queues, handlers).is_empty()
    }

    /// The jobs a claim may take, the most urgent first.
    pub(crate) fn in_order(&self, queues: &[Name], handlers: &[Name]) -> impl Iterator<Item = JobId> {
        let mut lanes: Vec<_> = self.matching(queues, handlers).into_iter().map(Lane::iter).collect();
        let mut heads: BTreeSet<(Place, usize)> =
            lanes.iter_mut().enumerate().filter_map(|(n, lane)| Some((*lane.next()?, n))).collect();
        std::iter::from_fn(move || {
            let (place, n) = heads.pop_first()?;
            heads.extend(lanes[n].next().map(|&next| (next, n)));
            Some(place.id)
        })
    }

    fn matching(&self, queues: &[Name], handlers: &[Name]) -> Vec<&Lane> {
        // As sets: a name that is given twice is one lane, not two.
        let handlers: BTreeSet<_> = handlers.iter().collect();
        let named: BTreeSet<_> = queues.iter().collect();
        let mut lanes = Vec::new();
        for by_queue in handlers.into_iter().filter_map(|handler| self.lanes.get(handler)) {
            if queues.is_empty() {
                lanes.extend(by_queue.values());
            } else {
                lanes.extend(named.iter().filter_map(|queue| by_queue.get(*queue)));
            }
        }
        lanes
    }
}

fn place(job: &Job) -> Place {
    Place { priority: job.priority, run_at_ms: job.run_at_ms, id: job.id }
}
