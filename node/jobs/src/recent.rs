//! The last finished jobs, as far as an answer may depend on them.
//!
//! A finished job leaves memory when it is in the tables, and when that happens differs from replica to replica. What a
//! repeated ack, a stale lease or a late cancel is answered must not differ, so it is decided by this table alone: its
//! content follows from the log. Beyond its bound a job is "finished long ago".

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{Job, JobId, JobState, Settlement};

/// What is remembered of a finished job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Its place among the finished.
    pub finish_seq: u64,
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub state: JobState,
    /// The last ack or fail that was accepted.
    pub settled: Option<Settlement>,
}

impl Recent {
    /// What is remembered of this job, if it is finished.
    pub fn of(job: &Job) -> Option<Self> {
        Some(Self { finish_seq: job.finish_seq?, job: job.id, state: job.state, settled: job.settled })
    }
}

/// The last finished jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recents {
    by_job: BTreeMap<JobId, Recent>,
    /// The same jobs, the earliest finished first.
    by_age: VecDeque<JobId>,
    /// How many of the latest have not been handed out to be written.
    unwritten: usize,
}

impl Recents {
    /// From rows in the order of their finish.
    pub(crate) fn new(rows: &[Recent]) -> Self {
        let by_job = rows.iter().map(|row| (row.job, *row)).collect();
        Self { by_job, by_age: rows.iter().map(|row| row.job).collect(), unwritten: 0 }
    }

    pub(crate) fn get(&self, job: JobId) -> Option<&Recent> {
        self.by_job.get(&job)
    }

    pub(crate) fn push(&mut self, recent: Recent, recent_max: usize) {
        self.by_job.insert(recent.job, recent);
        self.by_age.push_back(recent.job);
        self.unwritten += 1;
        while self.by_age.len() > recent_max {
            if let Some(oldest) = self.by_age.pop_front() {
                self.by_job.remove(&oldest);
            }
        }
        self.unwritten = self.unwritten.min(self.by_age.len());
    }

    pub(crate) fn take_unwritten(&mut self) -> Vec<Recent> {
        let first = self.by_age.len() - std::mem::take(&mut self.unwritten);
        self.by_age.range(first..).map(|job| self.by_job[job]).collect()
    }
}
