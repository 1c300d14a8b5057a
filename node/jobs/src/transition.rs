//! The transition table, row by row: what each event does to the record of one job.
//!
//! These functions know nothing of other jobs, indexes or replies. Who may call them is decided before: [`Machine`] has
//! checked the state and the token.
//!
//! [`Machine`]: crate::Machine

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    ActiveLease, DiscardReason, Failure, HistoryEvent, HistoryKind, Job, JobId, JobState, LeaseToken, NewJob, Outcome,
    Settlement, codec,
    limits::{HISTORY_MAX, NOTE_BYTES_MAX},
    retry,
};

/// The log entry that is being applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) index: u64,
    pub(crate) now_ms: u64,
}

impl Job {
    /// submit -> scheduled | available
    pub(crate) fn submit(id: JobId, new: &NewJob, at: At) -> Self {
        // A time that has passed counts as now: nobody overtakes earlier jobs by naming a time long ago.
        let run_at_ms = new.run_at_ms.unwrap_or(at.now_ms).max(at.now_ms).saturating_add(new.delay_ms);
        let state = if run_at_ms > at.now_ms { JobState::Scheduled } else { JobState::Available };
        let mut job = Self {
            id,
            queue: new.queue.clone(),
            handler: new.handler.clone(),
            priority: new.priority,
            payload: new.payload.clone(),
            payload_digest: xxh3_64(&new.payload),
            state,
            attempt: 0,
            max_attempts: new.max_attempts,
            run_at_ms,
            submitted_at_ms: at.now_ms,
            submit_index: at.index,
            timeout_ms: new.timeout_ms,
            backoff: new.backoff,
            lease: None,
            cancel_requested: false,
            result: Bytes::new(),
            error: None,
            settled: None,
            finished_at_ms: None,
            finish_seq: None,
            history: Vec::with_capacity(1), // Most jobs of a long queue have one event.
            history_dropped: 0,
        };
        job.note(at, HistoryKind::Submitted, "");
        job
    }

    /// available -> running
    pub(crate) fn claim(&mut self, worker: &str, lease_ms: u64, at: At) {
        self.state = JobState::Running;
        self.attempt = self.attempt.saturating_add(1);
        self.lease = Some(ActiveLease {
            token: LeaseToken(at.index),
            deadline_ms: at.now_ms.saturating_add(lease_ms),
            timeout_at_ms: self.timeout_ms.map(|timeout_ms| at.now_ms.saturating_add(timeout_ms)),
            claimed_at_ms: at.now_ms,
            worker: worker.into(),
        });
        self.note(at, HistoryKind::Claimed, worker);
    }

    /// running -> running
    pub(crate) fn renew(&mut self, lease_ms: u64, at: At) {
        if let Some(lease) = &mut self.lease {
            lease.deadline_ms = at.now_ms.saturating_add(lease_ms);
        }
    }

    /// running -> completed
    pub(crate) fn ack(&mut self, token: LeaseToken, result: &Bytes, at: At) {
        self.state = JobState::Completed;
        self.lease = None;
        self.cancel_requested = false;
        self.result = result.clone();
        self.error = None;
        self.settled = Some(Settlement { token, outcome: Outcome::Ack, digest: ack_digest(result), state: self.state });
        self.note(at, HistoryKind::Completed, "");
    }

    /// running -> retryable | discarded | cancelled
    pub(crate) fn fail(&mut self, failure: &Failure, at: At) {
        self.note(at, HistoryKind::Failed, &failure.error);
        self.error = Some(failure.error.clone());
        self.end_attempt(failure.retry_after_ms, failure.non_retryable, at);
        let digest = fail_digest(failure);
        self.settled = Some(Settlement { token: failure.token, outcome: Outcome::Fail, digest, state: self.state });
    }

    /// running -> running with a flag; anything else that lives -> cancelled
    pub(crate) fn cancel(&mut self, at: At) {
        match self.state {
            JobState::Running => {
                self.cancel_requested = true;
                self.note(at, HistoryKind::CancelRequested, "");
            }
            JobState::Scheduled | JobState::Available | JobState::Retryable => {
                self.state = JobState::Cancelled;
                self.note(at, HistoryKind::Cancelled, "");
            }
            JobState::Completed | JobState::Cancelled | JobState::Discarded => {}
        }
    }

    /// scheduled | retryable -> available
    ///
    /// A job whose time had come, and which only no tick had moved yet, keeps its place.
    pub(crate) fn retry(&mut self, at: At) {
        match self.state {
            JobState::Scheduled | JobState::Retryable => {
                self.state = JobState::Available;
                self.run_at_ms = self.run_at_ms.min(at.now_ms);
                self.note(at, HistoryKind::Retried, "");
            }
            JobState::Available
            | JobState::Running
            | JobState::Completed
            | JobState::Cancelled
            | JobState::Discarded => {}
        }
    }

    /// scheduled | retryable -> available;  running -> retryable | discarded | cancelled
    pub(crate) fn come_due(&mut self, at: At) {
        match self.state {
            JobState::Scheduled | JobState::Retryable => {
                self.state = JobState::Available;
                self.note(at, HistoryKind::Available, "");
            }
            JobState::Running => self.lose_lease(at),
            JobState::Available | JobState::Completed | JobState::Cancelled | JobState::Discarded => {}
        }
    }

    /// The worker was silent for too long, or the attempt took too long: whichever end came first is the reason.
    fn lose_lease(&mut self, at: At) {
        let Some(lease) = &self.lease else { return };
        let (what, error) = match lease.timeout_at_ms {
            Some(timeout_at_ms) if timeout_at_ms <= lease.deadline_ms => {
                let limit_ms = self.timeout_ms.unwrap_or(0);
                (HistoryKind::TimedOut, format!("timed out: attempt {} took over {limit_ms} ms", self.attempt))
            }
            Some(_) | None => {
                (HistoryKind::LeaseExpired, format!("lease expired: worker {} fell silent", lease.worker))
            }
        };
        self.note(at, what, &error);
        self.error = Some(error);
        self.end_attempt(None, false, at);
    }

    /// An attempt came to nothing: a requested cancel wins over a retry, a retry over giving up.
    fn end_attempt(&mut self, retry_after_ms: Option<u64>, non_retryable: bool, at: At) {
        self.lease = None;
        if std::mem::take(&mut self.cancel_requested) {
            self.state = JobState::Cancelled;
            self.note(at, HistoryKind::Cancelled, "");
        } else if non_retryable || self.attempt >= self.max_attempts {
            let reason = if non_retryable { DiscardReason::NonRetryable } else { DiscardReason::Exhausted };
            self.state = JobState::Discarded;
            self.note(at, HistoryKind::Discarded, reason.as_str());
        } else {
            let wait_ms = retry_after_ms.unwrap_or_else(|| retry::delay_ms(self.backoff, self.id, self.attempt));
            self.state = JobState::Retryable;
            self.run_at_ms = at.now_ms.saturating_add(wait_ms);
        }
    }

    fn note(&mut self, at: At, what: HistoryKind, note: &str) {
        if self.history.len() == HISTORY_MAX {
            self.history.remove(0);
            self.history_dropped = self.history_dropped.saturating_add(1);
        }
        let note = cut(note, NOTE_BYTES_MAX).into();
        self.history.push(HistoryEvent { at_ms: at.now_ms, index: at.index, attempt: self.attempt, what, note });
    }
}

/// The beginning of a text, cut between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// What makes two acks of one lease the same.
pub(crate) fn ack_digest(result: &Bytes) -> u64 {
    codec::digest(result)
}

/// What makes two failures of one lease the same.
pub(crate) fn fail_digest(failure: &Failure) -> u64 {
    codec::digest(&(&failure.error, failure.retry_after_ms, failure.non_retryable))
}
