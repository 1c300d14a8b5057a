//! The claim order: which available job is next.
//!
//! Jobs wait in lanes, one for each handler and queue. Within a lane, and over all lanes that a claim may take from, the
//! order is priority (0 first), then the time since which a job may run, then its id. A claim looks at the heads of its
//! lanes only: its cost follows the lanes it names and the jobs it gets, never the jobs that wait. The lanes of a paused
//! queue are as they would be, and are passed over.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Job, JobId, Name,
    mutants::{self, Mutant},
    paused::Paused,
};

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

    pub(crate) fn any(&self, queues: &[Name], handlers: &[Name], paused: &Paused) -> bool {
        !self.matching(queues, handlers, paused).is_empty()
    }

    /// The jobs a claim may take, the most urgent first.
    pub(crate) fn in_order(&self, queues: &[Name], handlers: &[Name], paused: &Paused) -> impl Iterator<Item = JobId> {
        let mut lanes: Vec<_> = self.matching(queues, handlers, paused).into_iter().map(Lane::iter).collect();
        let mut heads: BTreeSet<(Place, usize)> =
            lanes.iter_mut().enumerate().filter_map(|(n, lane)| Some((*lane.next()?, n))).collect();
        std::iter::from_fn(move || {
            let (place, n) = heads.pop_first()?;
            heads.extend(lanes[n].next().map(|&next| (next, n)));
            Some(place.id)
        })
    }

    /// The lanes that a claim may take from: both what it gets and whether it would get anything follow from them.
    fn matching(&self, queues: &[Name], handlers: &[Name], paused: &Paused) -> Vec<&Lane> {
        let goes = |queue: &Name| !paused.has(queue) || mutants::on(Mutant::ClaimsPaused);
        // As sets: a name that is given twice is one lane, not two.
        let handlers: BTreeSet<_> = handlers.iter().collect();
        let named: BTreeSet<_> = queues.iter().collect();
        let mut lanes = Vec::new();
        for by_queue in handlers.into_iter().filter_map(|handler| self.lanes.get(handler)) {
            if queues.is_empty() {
                lanes.extend(by_queue.iter().filter(|(queue, _)| goes(queue)).map(|(_, lane)| lane));
            } else {
                let going = named.iter().filter(|queue| goes(queue));
                lanes.extend(going.filter_map(|queue| by_queue.get(*queue)));
            }
        }
        lanes
    }
}

fn place(job: &Job) -> Place {
    Place { priority: job.priority, run_at_ms: job.run_at_ms, id: job.id }
}
