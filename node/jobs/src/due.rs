//! The time index: which job time will move next.
//!
//! A job is in it at most once, under its [`Job::due_ms`]: the time at which it becomes available, or at which its lease
//! or its attempt ends.

use std::collections::BTreeSet;

use crate::{Job, JobId};

/// The jobs that wait for a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due(BTreeSet<(u64, JobId)>);

impl Due {
    pub(crate) fn insert(&mut self, job: &Job) {
        self.0.extend(job.due_ms().map(|due_ms| (due_ms, job.id)));
    }

    pub(crate) fn remove(&mut self, job: &Job) {
        if let Some(due_ms) = job.due_ms() {
            self.0.remove(&(due_ms, job.id));
        }
    }

    pub(crate) fn first_ms(&self) -> Option<u64> {
        self.0.first().map(|&(due_ms, _)| due_ms)
    }

    /// The job that has been due for longest.
    pub(crate) fn first_by(&self, now_ms: u64) -> Option<JobId> {
        self.0.first().filter(|&&(due_ms, _)| due_ms <= now_ms).map(|&(_, id)| id)
    }
}
