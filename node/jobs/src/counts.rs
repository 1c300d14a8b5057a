//! Jobs counted by queue and state. A finished job is counted for ever; a queue is known once a job was in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Job, JobState};

/// How many jobs of a queue are, or have ended, in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Waiting for their first time.
    pub scheduled: u64,
    /// To be claimed.
    pub available: u64,
    /// Leased.
    pub running: u64,
    /// Waiting for a further attempt.
    pub retryable: u64,
    /// Done, ever.
    pub completed: u64,
    /// Stopped, ever.
    pub cancelled: u64,
    /// Given up, ever.
    pub discarded: u64,
}

impl QueueCounts {
    /// The count of one state.
    pub fn get(&self, state: JobState) -> u64 {
        match state {
            JobState::Scheduled => self.scheduled,
            JobState::Available => self.available,
            JobState::Running => self.running,
            JobState::Retryable => self.retryable,
            JobState::Completed => self.completed,
            JobState::Cancelled => self.cancelled,
            JobState::Discarded => self.discarded,
        }
    }

    pub(crate) fn get_mut(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Scheduled => &mut self.scheduled,
            JobState::Available => &mut self.available,
            JobState::Running => &mut self.running,
            JobState::Retryable => &mut self.retryable,
            JobState::Completed => &mut self.completed,
            JobState::Cancelled => &mut self.cancelled,
            JobState::Discarded => &mut self.discarded,
        }
    }
}

/// All queues, and which of them changed since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) queues: BTreeMap<String, QueueCounts>,
    changed: BTreeSet<String>,
}

impl Counts {
    pub(crate) fn new(queues: BTreeMap<String, QueueCounts>) -> Self {
        Self { queues, changed: BTreeSet::new() }
    }

    pub(crate) fn add(&mut self, job: &Job) {
        *self.of(job) += 1;
    }

    pub(crate) fn remove(&mut self, job: &Job) {
        *self.of(job) -= 1;
    }

    fn of(&mut self, job: &Job) -> &mut u64 {
        let queue = job.queue.as_str();
        if !self.changed.contains(queue) {
            self.changed.insert(queue.to_owned());
        }
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.to_owned(), QueueCounts::default());
        }
        self.queues.get_mut(queue).expect("inserted above").get_mut(job.state)
    }

    pub(crate) fn take_changed(&mut self) -> Vec<(String, QueueCounts)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|queue| (queue.clone(), self.queues[&queue])).collect()
    }
}
