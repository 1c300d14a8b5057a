//! Claim: a worker is given the most urgent jobs it can run.

use super::Machine;
use crate::{ClaimedJob, Job, JobId, LeaseToken, Name, transition::At};

impl Machine {
    /// The jobs a claim gets: in order, until there are enough or their payloads are large enough for one reply.
    pub(super) fn choose(&self, queues: &[Name], handlers: &[Name], max_jobs: u32) -> Vec<JobId> {
        let mut bytes = 0;
        let mut chosen = Vec::new();
        for id in self.ready.in_order(queues, handlers, &self.paused).take(max_jobs as usize) {
            bytes += self.live[&id].job.payload.len();
            if bytes > self.bounds.claim_bytes_max && !chosen.is_empty() {
                break;
            }
            chosen.push(id);
        }
        chosen
    }

    pub(super) fn claim(&mut self, id: JobId, worker: &str, lease_ms: u64, at: At) -> ClaimedJob {
        let job = self.change(id, |job| job.claim(worker, lease_ms, at));
        claimed(&job, LeaseToken(at.index)).expect("leased above")
    }

    /// A claim again: those of its jobs that are still leased by it.
    pub(super) fn claimed_before(&self, ids: &[JobId], token: LeaseToken) -> Vec<ClaimedJob> {
        ids.iter().filter_map(|id| claimed(&self.live.get(id)?.job, token)).collect()
    }
}

/// The job as its worker gets it, if it is leased under this token.
fn claimed(job: &Job, token: LeaseToken) -> Option<ClaimedJob> {
    let lease = job.lease.as_ref().filter(|lease| lease.token == token)?;
    Some(ClaimedJob {
        id: job.id,
        token,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        deadline_ms: lease.deadline_ms,
        timeout_ms: job.timeout_ms,
        queue: job.queue.clone(),
        handler: job.handler.clone(),
        payload: job.payload.clone(),
    })
}
