//! The record of a job: everything there is to know about it, in one value.
//!
//! # Laws
//!
//! - `lease` is there exactly while the state is running; `cancel_requested` is set only then.
//! - `finished_at_ms` and `finish_seq` are there exactly in a final state, and nothing in the record changes after that.
//! - The digest covers every field: two records with one digest are one record.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Backoff, DecodeError, JobId, LeaseToken, Name, codec};

/// Where a job stands. New states are added at the end: the place of a state is its number in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// Its time is to come.
    Scheduled,
    /// To be claimed.
    Available,
    /// Leased by a worker.
    Running,
    /// An attempt failed; waiting for the next.
    Retryable,
    /// Done.
    Completed,
    /// Stopped by somebody's wish.
    Cancelled,
    /// Given up: the dead letter.
    Discarded,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retryable,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Whether a job stays in it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Scheduled | Self::Available | Self::Running | Self::Retryable => false,
            Self::Completed | Self::Cancelled | Self::Discarded => true,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not the name of a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a job state; the states are scheduled, available, running, retryable, completed, cancelled, discarded"
)]
pub struct UnknownState(pub String);

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| UnknownState(word.into()))
    }
}

/// The record of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The queue it waits in.
    pub queue: Name,
    /// What a worker runs.
    pub handler: Name,
    /// 0 first, 9 last.
    pub priority: u8,
    /// Input of the handler.
    pub payload: Bytes,
    /// Digest of the payload, computed once, so that a change of state need not read the payload again.
    pub payload_digest: u64,
    /// Where it stands.
    pub state: JobState,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts there may be.
    pub max_attempts: u32,
    /// Since or from when it may run: its place among jobs of one priority.
    pub run_at_ms: u64,
    /// When it came.
    pub submitted_at_ms: u64,
    /// The log index of its submit.
    pub submit_index: u64,
    /// How long an attempt may take.
    pub timeout_ms: Option<u64>,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// Who works on it.
    pub lease: Option<ActiveLease>,
    /// Its worker is asked to stop.
    pub cancel_requested: bool,
    /// What came out.
    pub result: Bytes,
    /// What went wrong in the last attempt; none once it is completed.
    pub error: Option<String>,
    /// The last ack or fail that was accepted, for its repeats.
    pub settled: Option<Settlement>,
    /// When it ended.
    pub finished_at_ms: Option<u64>,
    /// Its place among the finished, from 1.
    pub finish_seq: Option<u64>,
    /// What happened to it, the oldest first; heartbeats are left out.
    pub history: Vec<HistoryEvent>,
    /// Older events that were dropped from the history.
    pub history_dropped: u32,
}

/// The lease of a running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveLease {
    /// Its fence.
    pub token: LeaseToken,
    /// It ends here unless a heartbeat moves it.
    pub deadline_ms: u64,
    /// The attempt ends here, heartbeats or not.
    pub timeout_at_ms: Option<u64>,
    /// When it began.
    pub claimed_at_ms: u64,
    /// Who holds it.
    pub worker: Name,
}

impl ActiveLease {
    /// When time will take the job away.
    pub fn ends_at_ms(&self) -> u64 {
        self.timeout_at_ms.map_or(self.deadline_ms, |timeout_at_ms| timeout_at_ms.min(self.deadline_ms))
    }
}

/// An ack or fail that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The lease that it settled.
    pub token: LeaseToken,
    /// Which of the two.
    pub outcome: Outcome,
    /// Digest of what came with it: a repeat with something else is not a repeat.
    pub digest: u64,
    /// What the job became by it.
    pub state: JobState,
}

/// What a worker may say of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Ack,
    /// Not done.
    Fail,
}

/// One thing that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// When, in the machine's time.
    pub at_ms: u64,
    /// By which log entry.
    pub index: u64,
    /// In which attempt; 0 before the first.
    pub attempt: u32,
    /// What.
    pub what: HistoryKind,
    /// The worker, the error or the reason.
    pub note: Name,
}

/// What can happen to a job. New kinds are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryKind {
    /// It came.
    Submitted,
    /// Its time came, the first or a further one.
    Available,
    /// A worker took it.
    Claimed,
    /// The worker reported a failure.
    Failed,
    /// The worker was silent for too long.
    LeaseExpired,
    /// The attempt took too long.
    TimedOut,
    /// Its worker was asked to stop.
    CancelRequested,
    /// It is done.
    Completed,
    /// It was stopped.
    Cancelled,
    /// It was given up.
    Discarded,
    /// Somebody did not want to wait until its time came.
    Retried,
}

impl HistoryKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Available => "available",
            Self::Claimed => "claimed",
            Self::Failed => "failed",
            Self::LeaseExpired => "lease_expired",
            Self::TimedOut => "timed_out",
            Self::CancelRequested => "cancel_requested",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Retried => "retried",
        }
    }
}

/// Why a job was given up; the note of its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardReason {
    /// No attempts are left.
    Exhausted,
    /// The worker said that trying again is of no use.
    NonRetryable,
}

impl DiscardReason {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::NonRetryable => "non_retryable",
        }
    }
}

impl Job {
    /// The token of the ack or fail that finished the job; none while it lives, and none if time or a cancel finished it.
    pub fn completed_token(&self) -> Option<LeaseToken> {
        self.settled.filter(|settled| settled.state.is_final()).map(|settled| settled.token)
    }

    /// When a tick would move it.
    pub fn due_ms(&self) -> Option<u64> {
        match self.state {
            JobState::Scheduled | JobState::Retryable => Some(self.run_at_ms),
            JobState::Running => self.lease.as_ref().map(ActiveLease::ends_at_ms),
            JobState::Available | JobState::Completed | JobState::Cancelled | JobState::Discarded => None,
        }
    }

    /// As bytes for a table.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self, 512 + self.payload.len() + self.result.len())
    }

    /// Back from a table. A payload that is not the submitted one is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let job: Self = codec::decode(bytes)?;
        if xxh3_64(&job.payload) != job.payload_digest {
            return Err(DecodeError::PayloadDigest { job: job.id });
        }
        Ok(job)
    }

    /// A hash of the whole record; the payload enters by its own digest.
    pub fn digest(&self) -> u64 {
        // Taken apart without `..`: a new field that is forgotten here does not compile.
        let Self {
            id,
            queue,
            handler,
            priority,
            payload: _,
            payload_digest,
            state,
            attempt,
            max_attempts,
            run_at_ms,
            submitted_at_ms,
            submit_index,
            timeout_ms,
            backoff,
            lease,
            cancel_requested,
            result,
            error,
            settled,
            finished_at_ms,
            finish_seq,
            history,
            history_dropped,
        } = self;
        codec::digest(&(
            (id, queue, handler, priority, payload_digest, submitted_at_ms, submit_index, timeout_ms, backoff),
            (state, attempt, max_attempts, run_at_ms, lease, cancel_requested, result, error, settled),
            (finished_at_ms, finish_seq, history, history_dropped),
        ))
    }
}
