//! The job state machine of Raftdeck: a pure function from log entries to jobs.
//!
//! A [`Machine`] is fed committed log entries in order and answers each with a [`Reply`]. It has no clock, no disk, no
//! randomness and no unordered collections: time is the stamp the leader put on the entry, jitter is a hash, tokens and
//! ids are drawn from the log. Replicas that applied the same entries therefore hold the same jobs, gave the same replies
//! and have the same [`Machine::state_hash`].
//!
//! # The way of a job
//!
//! ```text
//! submit             -> scheduled (its time is to come) | available
//! time     scheduled | retryable -> available
//! claim    available -> running      attempt + 1, token = log index of the claim, deadline
//! heartbeat  running -> running      deadline moved; the reply says whether a cancel was requested
//! ack        running -> completed
//! fail       running -> retryable | discarded (exhausted, non_retryable)
//! expiry     running -> retryable | discarded     the same rule; an expired lease is a spent attempt
//! timeout    running -> retryable | discarded     the same rule
//! cancel     not running -> cancelled;  running -> a flag, then ack -> completed, fail | expiry | timeout -> cancelled
//! retry    scheduled | retryable -> available     an operator does not want to wait; attempts count on
//! ```
//!
//! # Laws
//!
//! - A job has at most one live lease, and its tokens only grow.
//! - Only the holder of the live token changes a running job, apart from time; everybody else is refused in words.
//! - An exact repeat of an accepted ack or fail gets the same answer again and changes nothing.
//! - Final states absorb.
//! - Nobody is given a job of a paused queue; all else that happens to its jobs goes on (`paused.rs`).
//! - Only a tick acts on the passing of time: a late ack that reached the log before the tick that would have expired its
//!   lease is accepted.
//! - A bulk is atomic.
//! - A call of a session takes effect once, however often it stands in the log; what is forgotten is refused, never done
//!   again (`sessions.rs`).
//! - `apply` accepts whatever the log holds: limits on requests are checked before an entry is proposed
//!   ([`Op::validate`]), for a limit that moved between two releases must not make two replicas disagree.
//!
//! # Memory and tables
//!
//! Live jobs are held here. What changed since the last look is handed out by [`Machine::take_changes`], to be written to
//! tables behind the replies' back; once that is durable, [`Machine::remembered`] lets the finished jobs go. No reply
//! depends on whether a finished job has already been let go. [`Machine::restore`] is the way back.

mod changes;
mod codec;
mod command;
mod counts;
mod due;
mod ids;
mod job;
mod keys;
pub mod limits;
mod machine;
#[doc(hidden)]
pub mod mutants;
mod paused;
mod ready;
mod recent;
mod reply;
mod retry;
mod sessions;
mod transition;

#[cfg(test)]
mod tests;

/// The name of a queue, a handler or a worker, or another short word: up to 24 bytes stand in the record itself.
pub type Name = compact_str::CompactString;

pub use changes::{Changes, Meta, RestoreError, Restored};
pub use codec::DecodeError;
pub use command::{Ack, Backoff, Call, Command, Failure, Lease, NewJob, Op};
pub use counts::QueueCounts;
pub use ids::{JobId, LeaseToken, SessionId};
pub use job::{
    ActiveLease, DiscardReason, HistoryEvent, HistoryKind, Job, JobState, Outcome, Settlement, UnknownState,
};
pub use keys::KeyEntry;
pub use limits::{Invalid, validate_bulk};
pub use machine::Machine;
pub use recent::Recent;
pub use reply::{
    CancelOutcome, CancelRefusal, ClaimedJob, LeaseRefusal, PauseOutcome, PauseRefusal, Renewed, Reply, RetryOutcome,
    RetryRefusal, Settled, Standing, SubmitRefusal, Submitted,
};
pub use sessions::{LastCall, SessionCall, SessionEntry, SessionRefusal};
