//! What goes into the log.
//!
//! A command is the time at which the leader put it into the log, and the calls that it found waiting then: operations, each
//! with the place in a session that it has, if it has one. Calls that come together share an entry, and with it all that an
//! entry costs: its row, its sums, its way through the core. Nothing else reaches the machine, so this file is the whole
//! list of what can happen to a job.
//!
//! Law: what is named after its entry is named once. A lease token is the index of its claim, so no claim comes after a
//! call of the same command that may set a job free ([`Command::takes`]); a session is named after the entry that opened
//! it, so that one is alone.
//!
//! Format: version 1 is stamp and operation, version 2 is that and the place in a session, version 3 is the stamp and any
//! number of both. A single call is written as version 1 or 2: every log of an earlier release can be read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, JobId, LeaseToken, Name, SessionCall, codec};

const ALONE: u8 = 1;
const IN_SESSION: u8 = 2;
const TOGETHER: u8 = 3;

/// One log entry for the job machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The leader's time, unix milliseconds. The machine's time is the greatest stamp it has seen.
    pub stamp_ms: u64,
    /// What to do, in this order.
    pub calls: Vec<Call>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What to do.
    pub op: Op,
    /// Which call of a session this is: then it is done once, however often it stands in the log.
    pub session: Option<SessionCall>,
}

/// What can be done. New operations are added at the end: the place of an operation is its number in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// New jobs; all of them or none.
    Submit {
        /// The jobs, in the order of their ids to be.
        jobs: Vec<NewJob>,
    },
    /// A worker asks for jobs.
    Claim {
        /// Who asks.
        worker: Name,
        /// Queues to take from; empty for every queue.
        queues: Vec<Name>,
        /// Handlers the worker has. It is never given a job that it has no handler for, so empty takes nothing.
        handlers: Vec<Name>,
        /// The most jobs to give.
        max_jobs: u32,
        /// The job is the worker's for this long, and for longer by heartbeat.
        lease_ms: u64,
    },
    /// A worker is alive and at work.
    Heartbeat {
        /// What it works on.
        leases: Vec<Lease>,
        /// The new deadlines are this far away.
        lease_ms: u64,
    },
    /// Jobs are done.
    Ack {
        /// One for each job.
        acks: Vec<Ack>,
    },
    /// Attempts have failed.
    Fail {
        /// One for each job.
        failures: Vec<Failure>,
    },
    /// Somebody wants a job not to run, or to stop.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// Time passed: due jobs become available, leases expire.
    Tick,
    /// A client wants a session to make its calls in.
    OpenSession,
    /// Somebody does not want to wait until a job's time comes.
    Retry {
        /// The job.
        job: JobId,
    },
    /// Somebody wants no job of a queue to be claimed, or them to be claimed again.
    PauseQueue {
        /// The queue; it may be one that never had a job.
        queue: Name,
        /// Whether it is paused from now on.
        paused: bool,
    },
}

/// A job under the token of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The claim it was given out by.
    pub token: LeaseToken,
}

/// A job is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The job.
    pub job: JobId,
    /// The claim it was given out by.
    pub token: LeaseToken,
    /// What came out.
    pub result: Bytes,
}

/// An attempt has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The job.
    pub job: JobId,
    /// The claim it was given out by.
    pub token: LeaseToken,
    /// What went wrong.
    pub error: String,
    /// The worker knows better than the job's backoff when to try again.
    pub retry_after_ms: Option<u64>,
    /// Trying again is of no use.
    pub non_retryable: bool,
}

/// A job as it is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// The queue it waits in.
    pub queue: Name,
    /// What a worker shall run.
    pub handler: Name,
    /// 0 first, 9 last.
    pub priority: u8,
    /// Input of the handler.
    pub payload: Bytes,
    /// Not before this time, unix milliseconds.
    pub run_at_ms: Option<u64>,
    /// Not before this long after the submit.
    pub delay_ms: u64,
    /// Attempts, expired leases and timeouts included.
    pub max_attempts: u32,
    /// An attempt may take this long, heartbeats or not.
    pub timeout_ms: Option<u64>,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// A second submit under the same key is answered with the first.
    pub idempotency_key: Option<String>,
}

/// The wait between two attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// `attempt^4 + 15` seconds, 10 % more or less, at most a day.
    #[default]
    Polynomial,
    /// Always the same.
    Fixed {
        /// The wait.
        delay_ms: u64,
    },
}

impl Default for NewJob {
    fn default() -> Self {
        Self {
            queue: "default".into(),
            handler: Name::default(),
            priority: 5,
            payload: Bytes::new(),
            run_at_ms: None,
            delay_ms: 0,
            max_attempts: 25,
            timeout_ms: None,
            backoff: Backoff::default(),
            idempotency_key: None,
        }
    }
}

impl Command {
    /// A command of a single call.
    pub fn of(stamp_ms: u64, op: Op, session: Option<SessionCall>) -> Command {
        Command { stamp_ms, calls: vec![Call { op, session }] }
    }

    /// Whether one more call may join those that are here. See the module's law.
    pub fn takes(&self, op: &Op) -> bool {
        let is_closed = self.calls.iter().any(|call| matches!(call.op, Op::Tick | Op::OpenSession));
        let may_set_free = self.calls.iter().any(|call| matches!(call.op, Op::Fail { .. }));
        match op {
            Op::Tick | Op::OpenSession => self.calls.is_empty(),
            Op::Claim { .. } => !is_closed && !may_set_free,
            Op::Submit { .. }
            | Op::Heartbeat { .. }
            | Op::Ack { .. }
            | Op::Fail { .. }
            | Op::Cancel { .. }
            | Op::Retry { .. }
            | Op::PauseQueue { .. } => !is_closed,
        }
    }

    /// As bytes for the log.
    pub fn encode(&self) -> Bytes {
        let bytes = match &self.calls[..] {
            [Call { op, session: None }] => codec::encode_as(ALONE, &(self.stamp_ms, op), 64 + op.weight_bytes()),
            [Call { op, session: Some(session) }] => {
                codec::encode_as(IN_SESSION, &(self.stamp_ms, op, session), 64 + op.weight_bytes())
            }
            calls => {
                let size_hint_bytes = calls.iter().map(|call| 64 + call.op.weight_bytes()).sum();
                codec::encode_as(TOGETHER, &(self.stamp_ms, calls), size_hint_bytes)
            }
        };
        bytes.into()
    }

    /// Back from the log.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (version, body) = codec::version(bytes)?;
        match version {
            ALONE => {
                let (stamp_ms, op) = codec::decode_body(body)?;
                Ok(Self::of(stamp_ms, op, None))
            }
            IN_SESSION => {
                let (stamp_ms, op, session) = codec::decode_body(body)?;
                Ok(Self::of(stamp_ms, op, Some(session)))
            }
            TOGETHER => {
                let (stamp_ms, calls) = codec::decode_body(body)?;
                Ok(Self { stamp_ms, calls })
            }
            found => Err(DecodeError::UnknownVersion { found, known: TOGETHER }),
        }
    }
}

impl Op {
    /// The bytes that callers brought, and a share for the numbers beside them.
    pub fn weight_bytes(&self) -> usize {
        match self {
            Op::Submit { jobs } => jobs.iter().map(NewJob::weight_bytes).sum(),
            Op::Claim { worker, queues, handlers, .. } => {
                worker.len() + queues.iter().chain(handlers).map(|name| 2 + name.len()).sum::<usize>()
            }
            Op::Ack { acks } => acks.iter().map(|ack| 16 + ack.result.len()).sum(),
            Op::Fail { failures } => failures.iter().map(|failure| 24 + failure.error.len()).sum(),
            Op::Heartbeat { leases, .. } => 12 * leases.len(),
            Op::PauseQueue { queue, .. } => queue.len(),
            Op::Cancel { .. } | Op::Retry { .. } | Op::Tick | Op::OpenSession => 0,
        }
    }
}

impl NewJob {
    fn weight_bytes(&self) -> usize {
        let names = self.queue.len() + self.handler.len() + self.idempotency_key.as_ref().map_or(0, String::len);
        48 + names + self.payload.len()
    }
}
