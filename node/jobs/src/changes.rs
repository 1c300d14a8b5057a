//! The way from memory to the tables and back.
//!
//! [`Changes`] is what must be written, in one transaction, for the tables to say what the machine said at `applied`.
//! [`Restored`] is what must be read for a machine to go on from there. A test proves that the way there and back changes
//! no reply and no hash.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DecodeError, Job, JobId, JobState, KeyEntry, Name, QueueCounts, Recent, SessionEntry, SessionId};

/// What changed since the last look: everything at most once, with its newest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The tables will be as of this log index.
    pub applied: u64,
    /// Replaces the one row of its kind.
    pub meta: Meta,
    /// Rows to insert or replace, by id.
    pub jobs: Vec<Arc<Job>>,
    /// Rows to insert or replace, by name.
    pub queues: Vec<(String, QueueCounts)>,
    /// Rows to insert or replace, by key.
    pub keys_set: Vec<(String, KeyEntry)>,
    /// Rows to delete, by key. A key may never have been written.
    pub keys_removed: Vec<String>,
    /// Rows to insert or replace, by session.
    pub sessions_set: Vec<(SessionId, SessionEntry)>,
    /// Rows to delete, by session. A session may never have been written.
    pub sessions_removed: Vec<SessionId>,
    /// Rows to insert: queues that are paused.
    pub paused_set: Vec<Name>,
    /// Rows to delete: queues that are not paused any more. One may never have been written.
    pub paused_removed: Vec<Name>,
    /// Rows to insert, by `finish_seq`.
    pub recent: Vec<Recent>,
    /// Rows of [`Recent`] with a smaller `finish_seq` are not needed any more.
    pub recent_floor: u64,
}

/// The machine's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The name of the next job.
    pub next_id: JobId,
    /// The machine's time.
    pub now_ms: u64,
    /// Jobs finished so far.
    pub finish_seq: u64,
    /// Sum of the digests of all finished jobs.
    pub finished_digest: u64,
    /// The state hash: what a restored machine must come to.
    pub state_hash: u64,
}

/// What a machine is made of, read from the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The log index the tables are as of.
    pub applied: u64,
    /// The machine's own numbers.
    pub meta: Meta,
    /// The jobs that are not finished.
    pub jobs: Vec<Job>,
    /// All queues.
    pub queues: Vec<(String, QueueCounts)>,
    /// All keys.
    pub keys: Vec<(String, KeyEntry)>,
    /// All sessions.
    pub sessions: Vec<(SessionId, SessionEntry)>,
    /// All paused queues.
    pub paused: Vec<Name>,
    /// The last finished jobs, in any order; older ones than needed do no harm.
    pub recent: Vec<Recent>,
}

/// Why the tables are not those of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A finished job among the live ones.
    #[error("job {job} is {state}, which is not the state of a live job")]
    NotLive {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// A job that cannot have been made yet.
    #[error("job {job} is beyond the last job made, {last}")]
    BeyondNext {
        /// The job.
        job: JobId,
        /// The greatest there may be.
        last: u64,
    },
    /// Counters and jobs disagree.
    #[error("queue {queue:?} counts {counted} {state} jobs, the tables hold {found}")]
    Counts {
        /// The queue.
        queue: String,
        /// The state.
        state: JobState,
        /// What its counter says.
        counted: u64,
        /// What was found.
        found: u64,
    },
    /// Counters and the number of finished jobs disagree.
    #[error("the queues count {counted} finished jobs, there are {finished}")]
    Finished {
        /// What the counters say.
        counted: u64,
        /// How many have finished.
        finished: u64,
    },
    /// The last finished jobs are not all there.
    #[error("{found} of the last {needed} finished jobs are remembered")]
    Recent {
        /// How many there should be.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// What a session was answered cannot be read.
    #[error("the answer kept for session {session}: {error}")]
    Session {
        /// The session.
        session: SessionId,
        /// What is wrong with the answer.
        error: DecodeError,
    },
    /// Something else was altered.
    #[error("state hash is {found:016x}, the tables were written at {written:016x}")]
    Hash {
        /// What was written.
        written: u64,
        /// What the tables come to.
        found: u64,
    },
}
