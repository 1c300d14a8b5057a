//! `queues`, `pause`, `resume`: how much waits in each queue, and whether its jobs are given out.

use raftdeck_shared::wire::{PauseQueueReply, QueueStatus};
use serde::Serialize;

use super::{
    failure::Failure,
    out::{Narrow, Out, table_within},
    status::View,
    target::{CALL_WITHIN, Target},
};
use crate::plain::plain;

/// A queue as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    name: String,
    available: u64,
    running: u64,
    scheduled: u64,
    retryable: u64,
    completed: u64,
    cancelled: u64,
    discarded: u64,
    paused: bool,
}

#[derive(Debug, Serialize)]
struct List {
    queues: Vec<Queue>,
}

#[derive(Debug, Serialize)]
struct Paused<'a> {
    queue: &'a str,
    paused: bool,
    changed: bool,
    index: u64,
}

impl Queue {
    pub(super) fn of(queue: &QueueStatus) -> Queue {
        Queue {
            name: queue.name.clone(),
            available: queue.available,
            running: queue.running,
            scheduled: queue.scheduled,
            retryable: queue.retryable,
            completed: queue.completed,
            cancelled: queue.cancelled,
            discarded: queue.discarded,
            paused: queue.paused,
        }
    }

    fn cells(&self) -> [String; 9] {
        [
            plain(&self.name),
            self.available.to_string(),
            self.running.to_string(),
            self.scheduled.to_string(),
            self.retryable.to_string(),
            self.completed.to_string(),
            self.cancelled.to_string(),
            self.discarded.to_string(),
            if self.paused { "yes" } else { "-" }.to_owned(),
        ]
    }
}

/// Queues in columns, as `verb` shows them. On a narrow terminal what waits, runs and fails stays longer than what is over.
pub(super) fn words(queues: &[Queue], columns: Option<usize>, verb: &'static str) -> String {
    let narrow = Narrow {
        heads: ["QUEUE", "AVAIL", "RUN", "SCHED", "RETRY", "DONE", "CANC", "DISC", "PAUSED"],
        goes: &[6, 5, 7, 3],
        verb,
    };
    let head =
        ["QUEUE", "AVAILABLE", "RUNNING", "SCHEDULED", "RETRYABLE", "COMPLETED", "CANCELLED", "DISCARDED", "PAUSED"];
    table_within(columns, head, &narrow, &queues.iter().map(Queue::cells).collect::<Vec<_>>())
}

/// `raftdeck queues`.
///
/// # Errors
/// No node answers.
pub async fn list(target: &Target, out: Out) -> Result<(), Failure> {
    let list = List { queues: View::gather(target).await.reached()?.queues() };
    out.say(&list, || words(&list.queues, out.columns, "queues"))
}

/// `raftdeck pause QUEUE`.
///
/// # Errors
/// The name is out of bounds, too many are paused, or the cluster does not answer.
pub async fn pause(target: &Target, queue: &str, out: Out) -> Result<(), Failure> {
    let reply = target.attended_client()?.pause_queue(queue, CALL_WITHIN).await?;
    tell(queue, true, &reply, out)
}

/// `raftdeck resume QUEUE`.
///
/// # Errors
/// The name is out of bounds, or the cluster does not answer.
pub async fn resume(target: &Target, queue: &str, out: Out) -> Result<(), Failure> {
    let reply = target.attended_client()?.resume_queue(queue, CALL_WITHIN).await?;
    tell(queue, false, &reply, out)
}

fn tell(queue: &str, paused: bool, reply: &PauseQueueReply, out: Out) -> Result<(), Failure> {
    let told = Paused { queue, paused, changed: reply.changed, index: reply.index };
    out.say(&told, || outcome(queue, paused, reply.changed))
}

/// What a pause or its end came to, for people.
#[must_use]
pub fn outcome(queue: &str, paused: bool, changed: bool) -> String {
    match (paused, changed) {
        (true, true) => format!("queue {queue} is paused: its jobs wait until it is resumed"),
        (true, false) => format!("queue {queue} was paused already"),
        (false, true) => format!("queue {queue} is resumed"),
        (false, false) => format!("queue {queue} was not paused"),
    }
}
