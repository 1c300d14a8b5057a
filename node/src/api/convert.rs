//! Between the machine's values and the wire's.

use bytes::Bytes;
use raftdeck_jobs::{Ack, Backoff, Failure, Job, JobId, JobState, Lease, LeaseToken, NewJob, SessionCall, SessionId};
use raftdeck_shared::wire;
use tonic::Status;

/// A new job, with the defaults of the field where nothing was said.
pub(super) fn new_job(job: wire::NewJob) -> Result<NewJob, Status> {
    let default = NewJob::default();
    let priority = match job.priority {
        None => default.priority,
        Some(n) => u8::try_from(n).map_err(|_| Status::invalid_argument(format!("priority is {n}, the limit is 9")))?,
    };
    Ok(NewJob {
        queue: if job.queue.is_empty() { default.queue } else { job.queue.into() },
        handler: job.handler.into(),
        priority,
        payload: job.payload,
        run_at_ms: job.run_at_ms,
        delay_ms: job.delay_ms,
        max_attempts: job.max_attempts.unwrap_or(default.max_attempts),
        timeout_ms: job.timeout_ms,
        backoff: job.retry_delay_ms.map_or(default.backoff, |delay_ms| Backoff::Fixed { delay_ms }),
        idempotency_key: (!job.idempotency_key.is_empty()).then_some(job.idempotency_key),
    })
}

pub(super) fn session(call: Option<wire::SessionCall>) -> Option<SessionCall> {
    call.map(|wire::SessionCall { id, seq }| SessionCall { session: SessionId(id), seq })
}

pub(super) fn lease(lease: Option<wire::LeaseRef>) -> Result<Lease, Status> {
    let lease = lease.ok_or_else(|| Status::invalid_argument("a lease is missing"))?;
    Ok(Lease { job: JobId(lease.job), token: LeaseToken(lease.token) })
}

pub(super) fn ack(ack: wire::Ack) -> Result<Ack, Status> {
    let Lease { job, token } = lease(ack.lease)?;
    Ok(Ack { job, token, result: ack.result })
}

pub(super) fn failure(failure: wire::Failure) -> Result<Failure, Status> {
    let Lease { job, token } = lease(failure.lease)?;
    let wire::Failure { error, retry_after_ms, non_retryable, .. } = failure;
    Ok(Failure { job, token, error, retry_after_ms, non_retryable })
}

pub(super) fn state_to_wire(state: JobState) -> wire::JobState {
    match state {
        JobState::Scheduled => wire::JobState::Scheduled,
        JobState::Available => wire::JobState::Available,
        JobState::Running => wire::JobState::Running,
        JobState::Retryable => wire::JobState::Retryable,
        JobState::Completed => wire::JobState::Completed,
        JobState::Cancelled => wire::JobState::Cancelled,
        JobState::Discarded => wire::JobState::Discarded,
    }
}

/// A state by its number on the wire. One that is not known is refused: left out, it would widen what was asked for.
pub(super) fn state_from_wire(number: i32) -> Result<JobState, Status> {
    let unknown = || Status::invalid_argument(format!("job state is {number}, the limits are 1 to 7"));
    match wire::JobState::try_from(number).map_err(|_| unknown())? {
        wire::JobState::Unspecified => Err(unknown()),
        wire::JobState::Scheduled => Ok(JobState::Scheduled),
        wire::JobState::Available => Ok(JobState::Available),
        wire::JobState::Running => Ok(JobState::Running),
        wire::JobState::Retryable => Ok(JobState::Retryable),
        wire::JobState::Completed => Ok(JobState::Completed),
        wire::JobState::Cancelled => Ok(JobState::Cancelled),
        wire::JobState::Discarded => Ok(JobState::Discarded),
    }
}

/// A job with everything, or for a list: without what may be large.
pub(super) fn job_to_wire(job: &Job, whole: bool) -> wire::Job {
    let bytes = |bytes: &Bytes| if whole { bytes.clone() } else { Bytes::new() };
    wire::Job {
        id: job.id.0,
        queue: job.queue.to_string(),
        handler: job.handler.to_string(),
        priority: job.priority.into(),
        state: state_to_wire(job.state).into(),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        submitted_at_ms: job.submitted_at_ms,
        submit_index: job.submit_index,
        run_at_ms: job.run_at_ms,
        finished_at_ms: job.finished_at_ms,
        token: job.lease.as_ref().map(|l| l.token.0),
        deadline_ms: job.lease.as_ref().map(|l| l.deadline_ms),
        worker: job.lease.as_ref().map(|l| l.worker.to_string()).unwrap_or_default(),
        completed_token: job.completed_token().map(|t| t.0),
        cancel_requested: job.cancel_requested,
        error: job.error.clone().unwrap_or_default(),
        payload: bytes(&job.payload),
        result: bytes(&job.result),
        payload_bytes: job.payload.len() as u64,
        history: if whole { job.history.iter().map(event_to_wire).collect() } else { Vec::new() },
        history_dropped: job.history_dropped,
        timeout_ms: job.timeout_ms,
        retry_delay_ms: match job.backoff {
            Backoff::Polynomial => None,
            Backoff::Fixed { delay_ms } => Some(delay_ms),
        },
    }
}

fn event_to_wire(event: &raftdeck_jobs::HistoryEvent) -> wire::JobEvent {
    wire::JobEvent {
        at_ms: event.at_ms,
        index: event.index,
        attempt: event.attempt,
        what: event.what.as_str().to_owned(),
        note: event.note.to_string(),
    }
}
