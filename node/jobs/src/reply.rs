//! What the machine answers. A refusal is an answer like any other: it is decided by the log, is the same on every
//! replica, and reads as one line of words.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobState, LeaseToken, Name, SessionId, SessionRefusal};

/// The answer to a command; the variant follows from the operation, and from what its session knows of the call.
///
/// Sessions keep answers in the tables: new variants are added at the end, here and in what is below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a submit: one for each job, in their order.
    Submitted(Result<Vec<Submitted>, SubmitRefusal>),
    /// To a claim: the jobs given, the most urgent first. May be none.
    Claimed(Vec<ClaimedJob>),
    /// To a heartbeat: one for each lease.
    Heartbeats(Vec<Result<Renewed, LeaseRefusal>>),
    /// To acks: one for each.
    Acked(Vec<Result<Settled, LeaseRefusal>>),
    /// To failures: one for each.
    Failed(Vec<Result<Settled, LeaseRefusal>>),
    /// To a cancel.
    Cancelled(Result<CancelOutcome, CancelRefusal>),
    /// To a tick.
    Ticked {
        /// How often a job moved.
        moved: u32,
    },
    /// To a client that wanted a session.
    SessionOpened {
        /// Its name.
        session: SessionId,
    },
    /// To a call of a session that was answered before: the same answer again. Nothing was done.
    Repeated {
        /// The log index of the call that was done.
        index: u64,
        /// What it was answered.
        reply: Box<Reply>,
    },
    /// To a call of a session that is not as it should be. Nothing was done.
    SessionRefused(SessionRefusal),
    /// To a retry.
    Retried(Result<RetryOutcome, RetryRefusal>),
    /// To a pause of a queue, or its end.
    QueuePaused(Result<PauseOutcome, PauseRefusal>),
}

/// A job that is in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its name.
    pub id: JobId,
    /// Its first state.
    pub state: JobState,
    /// The log index of the submit that made it.
    pub index: u64,
    /// It was made by an earlier submit under the same idempotency key, whose answer this is.
    pub duplicate: bool,
}

/// Why no job of a submit was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SubmitRefusal {
    /// The key has been used for something else.
    #[error("idempotency key {key:?} was used for job {job} with another request")]
    KeyConflict {
        /// The key.
        key: String,
        /// The job that was made under it, or would have been by an earlier part of the same bulk.
        job: JobId,
    },
}

/// A job as a worker gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedJob {
    /// Its name.
    pub id: JobId,
    /// To be shown with every heartbeat, ack and fail.
    pub token: LeaseToken,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// The lease ends here unless a heartbeat moves it; unix milliseconds, the machine's time.
    pub deadline_ms: u64,
    /// The attempt may take this long.
    pub timeout_ms: Option<u64>,
    /// The queue it came from.
    pub queue: Name,
    /// What to run.
    pub handler: Name,
    /// With what.
    pub payload: Bytes,
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// Its new end.
    pub deadline_ms: u64,
    /// The worker is asked to stop and report a failure.
    pub cancel_requested: bool,
}

/// An attempt that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// What the job became by it.
    pub state: JobState,
    /// The same had been said and accepted before; nothing changed.
    pub repeated: bool,
}

/// Why a heartbeat, ack or fail was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LeaseRefusal {
    /// The lease shown is not the one that holds.
    #[error("stale lease: job {job} {standing}{}", .standing.not(*.token))]
    StaleLease {
        /// The job.
        job: JobId,
        /// The token that was shown.
        token: LeaseToken,
        /// How the job stands.
        standing: Standing,
    },
    /// No such job was ever submitted.
    #[error("there is no job {job}")]
    UnknownJob {
        /// The name that was given.
        job: JobId,
    },
}

/// How a job stands towards somebody with a stale lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Somebody holds it.
    Leased(LeaseToken),
    /// Nobody holds it.
    NotLeased(JobState),
    /// The very lease shown has already been settled, in another way; it became this.
    SettledOtherwise(JobState),
    /// It is finished, so long ago that only the tables know how.
    FinishedLongAgo,
}

impl Standing {
    fn not(self, shown: LeaseToken) -> String {
        match self {
            Self::Leased(_) => format!(", not {shown}"),
            Self::NotLeased(_) | Self::SettledOtherwise(_) | Self::FinishedLongAgo => String::new(),
        }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leased(token) => write!(f, "is leased under token {token}"),
            Self::NotLeased(state) => write!(f, "is {state}"),
            Self::SettledOtherwise(state) => write!(f, "became {state} by another answer under the same token"),
            Self::FinishedLongAgo => write!(f, "finished long ago"),
        }
    }
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelOutcome {
    /// The job was waiting and will not run.
    Cancelled,
    /// The job is running; its worker learns it by the next heartbeat.
    Requested,
    /// There was nothing left to cancel.
    AlreadyFinished {
        /// How it ended; unknown if that is so long ago that only the tables know.
        state: Option<JobState>,
    },
}

/// Why nothing could be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CancelRefusal {
    /// No such job was ever submitted.
    #[error("there is no job {job}")]
    UnknownJob {
        /// The name that was given.
        job: JobId,
    },
}

/// What a retry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryOutcome {
    /// The job waited for its time, and is available now.
    Available,
    /// It was available before; nothing changed.
    AlreadyAvailable,
}

/// Why a job was not made available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RetryRefusal {
    /// No such job was ever submitted.
    #[error("there is no job {job}")]
    UnknownJob {
        /// The name that was given.
        job: JobId,
    },
    /// Somebody works on it.
    #[error("job {job} is running under token {token}: it is tried already")]
    Running {
        /// The job.
        job: JobId,
        /// The lease under which it is worked on.
        token: LeaseToken,
    },
    /// There is nothing left to try.
    #[error("job {job} {}", how(*.state))]
    Finished {
        /// The job.
        job: JobId,
        /// How it ended; unknown if that is so long ago that only the tables know.
        state: Option<JobState>,
    },
}

fn how(finished: Option<JobState>) -> String {
    finished.map_or_else(|| "finished long ago".into(), |state| format!("is {state}"))
}

/// A queue that is paused, or is not, as was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseOutcome {
    /// It was not so before.
    pub changed: bool,
}

/// Why a queue was not paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PauseRefusal {
    /// There is a limit.
    #[error("number of paused queues would be {}, the limit is {limit}", limit + 1)]
    TooMany {
        /// The limit.
        limit: u64,
    },
}
