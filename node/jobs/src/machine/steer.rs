//! What an operator asks for: a job to be tried at once, a queue to be paused or to go on.

use super::Machine;
use crate::{JobId, JobState, Name, PauseOutcome, PauseRefusal, RetryOutcome, RetryRefusal, transition::At};

impl Machine {
    /// A finished job is refused, whatever is known of it: its record may be in the tables alone, and no reply depends on
    /// whether it is. Who wants its work done again submits it again.
    pub(super) fn retry(&mut self, id: JobId, at: At) -> Result<RetryOutcome, RetryRefusal> {
        let Some(held) = self.live.get(&id) else {
            if !self.was_made(id) {
                return Err(RetryRefusal::UnknownJob { job: id });
            }
            return Err(RetryRefusal::Finished { job: id, state: self.recents.get(id).map(|recent| recent.state) });
        };
        if let Some(lease) = &held.job.lease {
            return Err(RetryRefusal::Running { job: id, token: lease.token });
        }
        if held.job.state == JobState::Available {
            return Ok(RetryOutcome::AlreadyAvailable);
        }
        self.change(id, |job| job.retry(at));
        Ok(RetryOutcome::Available)
    }

    pub(super) fn pause(&mut self, queue: &Name, paused: bool) -> Result<PauseOutcome, PauseRefusal> {
        let limit = self.bounds.paused_max;
        if paused && !self.paused.has(queue) && self.paused.len() >= limit {
            return Err(PauseRefusal::TooMany { limit: limit as u64 });
        }
        Ok(PauseOutcome { changed: self.paused.set(queue, paused) })
    }

    /// Whether nobody is given a job of this queue.
    pub fn is_paused(&self, queue: &str) -> bool {
        self.paused.has(queue)
    }

    /// The queues that are paused, by name; some may never have had a job.
    pub fn paused_queues(&self) -> impl Iterator<Item = &str> {
        self.paused.iter()
    }
}
