//! The one place of limits, and the one validator.
//!
//! Two kinds live here. **Limits of requests** are checked by [`Op::validate`] before a command is proposed; `apply` does
//! not look at them again. **Bounds of the machine** decide what it forgets and how much one entry may do: they are part
//! of the function that replicas compute, and moving one is a change of the log format.

use std::fmt;

use crate::{Ack, Backoff, Failure, NewJob, Op};

/// Largest payload of a job.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Largest result of a job.
pub const RESULT_BYTES_MAX: usize = 64 << 10;
/// Longest name of a queue, a handler or a worker.
pub const NAME_BYTES_MAX: usize = 128;
/// Most queues, and most handlers, one claim may name.
pub const NAMES_MAX: usize = 256;
/// Longest idempotency key.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest error a worker may report.
pub const ERROR_BYTES_MAX: usize = 4096;
/// Most jobs in one bulk.
pub const BULK_JOBS_MAX: usize = 1000;
/// Most bytes of payloads in one bulk, and of results in one batch of acks.
pub const BULK_BYTES_MAX: usize = 4 << 20;
/// Most jobs in one claim.
pub const CLAIM_JOBS_MAX: u32 = 1000;
/// Most leases in one heartbeat, acks in one batch, failures in one batch.
pub const LEASES_MAX: usize = 1000;
/// Shortest lease.
pub const LEASE_MS_MIN: u64 = 1_000;
/// Longest lease.
pub const LEASE_MS_MAX: u64 = DAY_MS;
/// Longest execution timeout.
pub const TIMEOUT_MS_MAX: u64 = DAY_MS;
/// Most attempts a job may ask for.
pub const ATTEMPTS_MAX: u32 = 1000;
/// The last priority; 0 is the first.
pub const PRIORITY_MAX: u8 = 9;
/// Longest delay of a job.
pub const DELAY_MS_MAX: u64 = 3650 * DAY_MS;
/// Latest run-at time, unix ms: the end of the year 9999, the last that dates of four digits can say.
pub const RUN_AT_MS_MAX: u64 = 253_402_300_799_999;
/// Longest wait before a retry, whoever asks for it.
pub const RETRY_MS_MAX: u64 = 30 * DAY_MS;

/// Idempotency keys kept; beyond them the oldest is forgotten.
pub const KEYS_MAX: usize = 250_000;
/// How long an idempotency key is kept.
pub const KEY_TTL_MS: u64 = DAY_MS;
/// Sessions kept; beyond them the one that has been idle for longest is forgotten.
pub const SESSIONS_MAX: usize = 100_000;
/// How long a session may be idle.
pub const SESSION_TTL_MS: u64 = 60 * 60 * 1000;
/// Most bytes of answers that sessions keep; beyond them the session that has been idle for longest is forgotten. An
/// answer is at most some 40 KB, that to a batch of 1000 leases, and mostly 20 bytes.
pub const SESSION_BYTES_MAX: usize = 64 << 20;
/// Most queues that may be paused: they are looked up for every claim, and told with every status.
pub const PAUSED_QUEUES_MAX: usize = 1000;
/// Finished jobs whose last answer is kept for a repeated ack or fail.
pub const RECENT_MAX: usize = 10_000;
/// Events kept in the history of a job; beyond them the oldest is dropped and counted.
pub const HISTORY_MAX: usize = 64;
/// Longest note of one event of a history; a longer one is cut.
pub const NOTE_BYTES_MAX: usize = 256;
/// A claim stops once the payloads it hands out reach this size; it always hands out one job if there is one.
pub const CLAIM_BYTES_MAX: usize = BULK_BYTES_MAX;
/// Most jobs one tick moves; what is left is still due, and the next tick moves it.
pub const TICK_MOVES_MAX: u32 = 10_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A request that is out of bounds, in one line: `payload is 1048577 bytes, the limit is 1048576`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, {limit}")]
pub struct Invalid {
    /// The thing that is wrong.
    pub what: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub limit: String,
}

/// The bounds of the machine as values, so that tests can reach them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) keys_max: usize,
    pub(crate) key_ttl_ms: u64,
    pub(crate) sessions_max: usize,
    pub(crate) session_ttl_ms: u64,
    pub(crate) session_bytes_max: usize,
    pub(crate) paused_max: usize,
    pub(crate) recent_max: usize,
    pub(crate) claim_bytes_max: usize,
    pub(crate) tick_moves_max: u32,
}

impl Bounds {
    pub(crate) const STANDARD: Self = Self {
        keys_max: KEYS_MAX,
        key_ttl_ms: KEY_TTL_MS,
        sessions_max: SESSIONS_MAX,
        session_ttl_ms: SESSION_TTL_MS,
        session_bytes_max: SESSION_BYTES_MAX,
        paused_max: PAUSED_QUEUES_MAX,
        recent_max: RECENT_MAX,
        claim_bytes_max: CLAIM_BYTES_MAX,
        tick_moves_max: TICK_MOVES_MAX,
    };
}

impl Op {
    /// Whether this may be proposed.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Submit { jobs } => validate_bulk(jobs),
            Self::Claim { worker, queues, handlers, max_jobs, lease_ms } => {
                name("worker name", worker)?;
                at_least_one("list of handlers", handlers.len())?;
                at_most("list of handlers", handlers.len(), NAMES_MAX, " names")?;
                at_most("list of queues", queues.len(), NAMES_MAX, " names")?;
                handlers.iter().try_for_each(|handler| name("handler name", handler))?;
                queues.iter().try_for_each(|queue| name("queue name", queue))?;
                between("number of jobs to claim", *max_jobs, 1, CLAIM_JOBS_MAX, "")?;
                lease(*lease_ms)
            }
            Self::Heartbeat { leases, lease_ms } => {
                at_most("heartbeat", leases.len(), LEASES_MAX, " leases")?;
                lease(*lease_ms)
            }
            Self::Ack { acks } => {
                at_most("batch of acks", acks.len(), LEASES_MAX, " acks")?;
                acks.iter().try_for_each(Ack::validate)?;
                let total = acks.iter().map(|ack| ack.result.len()).sum();
                at_most("sum of results", total, BULK_BYTES_MAX, " bytes")
            }
            Self::Fail { failures } => {
                at_most("batch of failures", failures.len(), LEASES_MAX, " failures")?;
                failures.iter().try_for_each(Failure::validate)
            }
            Self::PauseQueue { queue, paused: _ } => name("queue name", queue),
            Self::Cancel { job: _ } | Self::Retry { job: _ } | Self::Tick | Self::OpenSession => Ok(()),
        }
    }
}

/// Whether these jobs may be submitted together; an error names the job by its place, from 1.
pub fn validate_bulk(jobs: &[NewJob]) -> Result<(), Invalid> {
    at_least_one("bulk", jobs.len())?;
    at_most("bulk", jobs.len(), BULK_JOBS_MAX, " jobs")?;
    for (place, job) in jobs.iter().enumerate() {
        job.validate().map_err(|mut invalid| {
            if jobs.len() > 1 {
                invalid.value += &format!(" (job {} of {})", place + 1, jobs.len());
            }
            invalid
        })?;
    }
    at_most("sum of payloads", jobs.iter().map(|job| job.payload.len()).sum(), BULK_BYTES_MAX, " bytes")
}

impl NewJob {
    /// Whether this may be submitted.
    pub fn validate(&self) -> Result<(), Invalid> {
        name("queue name", &self.queue)?;
        name("handler name", &self.handler)?;
        at_most("priority", self.priority, PRIORITY_MAX, "")?;
        at_most("payload", self.payload.len(), PAYLOAD_BYTES_MAX, " bytes")?;
        at_most("delay", self.delay_ms, DELAY_MS_MAX, " ms")?;
        at_most("run-at time", self.run_at_ms.unwrap_or(0), RUN_AT_MS_MAX, " ms")?;
        if self.run_at_ms.is_some() && self.delay_ms > 0 {
            let value = format!("{} ms beside a run-at time", self.delay_ms);
            return Err(Invalid { what: "delay", value, limit: "only one of the two may be given".into() });
        }
        between("number of attempts", self.max_attempts, 1, ATTEMPTS_MAX, "")?;
        if let Some(timeout_ms) = self.timeout_ms {
            between("execution timeout", timeout_ms, 1, TIMEOUT_MS_MAX, " ms")?;
        }
        match self.backoff {
            Backoff::Polynomial => {}
            Backoff::Fixed { delay_ms } => at_most("backoff", delay_ms, RETRY_MS_MAX, " ms")?,
        }
        self.idempotency_key.as_deref().map_or(Ok(()), key)
    }
}

impl Ack {
    /// Whether this may be proposed.
    pub fn validate(&self) -> Result<(), Invalid> {
        at_most("result", self.result.len(), RESULT_BYTES_MAX, " bytes")
    }
}

impl Failure {
    /// Whether this may be proposed.
    pub fn validate(&self) -> Result<(), Invalid> {
        at_most("error", self.error.len(), ERROR_BYTES_MAX, " bytes")?;
        at_most("retry-after", self.retry_after_ms.unwrap_or(0), RETRY_MS_MAX, " ms")
    }
}

fn lease(lease_ms: u64) -> Result<(), Invalid> {
    between("lease", lease_ms, LEASE_MS_MIN, LEASE_MS_MAX, " ms")
}

fn name(what: &'static str, value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(Invalid { what, value: "empty".into(), limit: "at least one character is needed".into() });
    }
    at_most(what, value.len(), NAME_BYTES_MAX, " bytes")?;
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Ok(());
    }
    Err(Invalid { what, value: format!("{value:?}"), limit: "only a-z A-Z 0-9 . _ - are allowed".into() })
}

fn key(value: &str) -> Result<(), Invalid> {
    let what = "idempotency key";
    if value.is_empty() {
        return Err(Invalid { what, value: "empty".into(), limit: "at least one character is needed".into() });
    }
    at_most(what, value.len(), KEY_BYTES_MAX, " bytes")?;
    if value.chars().any(char::is_control) {
        let limit = "control characters are not allowed".into();
        return Err(Invalid { what, value: format!("{value:?}"), limit });
    }
    Ok(())
}

fn at_least_one(what: &'static str, count: usize) -> Result<(), Invalid> {
    if count > 0 {
        return Ok(());
    }
    Err(Invalid { what, value: "empty".into(), limit: "at least one is needed".into() })
}

fn at_most<T: PartialOrd + fmt::Display + Copy>(
    what: &'static str,
    value: T,
    limit: T,
    unit: &'static str,
) -> Result<(), Invalid> {
    if value <= limit {
        return Ok(());
    }
    Err(Invalid { what, value: format!("{value}{unit}"), limit: format!("the limit is {limit}") })
}

fn between<T: PartialOrd + fmt::Display + Copy>(
    what: &'static str,
    value: T,
    min: T,
    max: T,
    unit: &'static str,
) -> Result<(), Invalid> {
    if value >= min && value <= max {
        return Ok(());
    }
    Err(Invalid { what, value: format!("{value}{unit}"), limit: format!("the limits are {min} to {max}") })
}
