//! Jobs as the console shows them: a page of the newest, and one of them whole.
//!
//! They are asked for while somebody looks, once a second, and what came is a fact like any other: it has its place in
//! the past and in a recording, with the index it was true at.

use std::cmp::Reverse;

use raftdeck_shared::wire;
use serde::{Deserialize, Serialize};

use super::{
    filter::{Fields, Filter, Takes},
    text::clean,
};
use crate::cli::jobs::state;

/// Jobs asked for at a time: the newest.
pub(crate) const PAGE_MAX: u32 = 200;

/// Steps of a history that are kept.
const HISTORY_MAX: usize = 200;

/// A page of jobs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Job>,
    /// The log index it was read at.
    pub(crate) applied: u64,
    /// There are older ones.
    pub(crate) more: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) state: String,
    pub(crate) queue: String,
    pub(crate) handler: String,
    pub(crate) priority: u32,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) submitted_at_ms: u64,
    pub(crate) submit_index: u64,
    pub(crate) run_at_ms: u64,
    pub(crate) finished_at_ms: Option<u64>,
    pub(crate) token: Option<u64>,
    pub(crate) worker: String,
    pub(crate) error: String,
    pub(crate) payload: String,
    pub(crate) payload_bytes: u64,
    pub(crate) result: String,
    pub(crate) history: Vec<Step>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    pub(crate) index: u64,
    pub(crate) attempt: u32,
    pub(crate) what: String,
    pub(crate) note: String,
}

impl Job {
    pub(crate) fn from_wire(raw: &wire::Job) -> Job {
        let text = |bytes: &[u8]| clean(&String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]));
        let step = |e: &wire::JobEvent| Step {
            at_ms: e.at_ms,
            index: e.index,
            attempt: e.attempt,
            what: clean(&e.what),
            note: clean(&e.note),
        };
        Job {
            id: raw.id,
            state: state(raw.state).to_owned(),
            queue: clean(&raw.queue),
            handler: clean(&raw.handler),
            priority: raw.priority,
            attempt: raw.attempt,
            max_attempts: raw.max_attempts,
            submitted_at_ms: raw.submitted_at_ms,
            submit_index: raw.submit_index,
            run_at_ms: raw.run_at_ms,
            finished_at_ms: raw.finished_at_ms,
            token: raw.token.or(raw.completed_token),
            worker: clean(&raw.worker),
            error: clean(&raw.error),
            payload: text(&raw.payload),
            payload_bytes: raw.payload_bytes.max(raw.payload.len() as u64),
            result: text(&raw.result),
            history: raw.history.iter().take(HISTORY_MAX).map(step).collect(),
        }
    }

    /// As safe to draw as one that came over the wire.
    pub(crate) fn cleaned(mut self) -> Job {
        for text in [
            &mut self.state,
            &mut self.queue,
            &mut self.handler,
            &mut self.worker,
            &mut self.error,
            &mut self.payload,
            &mut self.result,
        ] {
            *text = clean(text);
        }
        self.history.truncate(HISTORY_MAX);
        for step in &mut self.history {
            (step.what, step.note) = (clean(&step.what), clean(&step.note));
        }
        self
    }
}

impl Page {
    pub(crate) fn from_wire(reply: &wire::ListReply) -> Page {
        let jobs = reply.jobs.iter().take(PAGE_MAX as usize).map(Job::from_wire).collect();
        Page { jobs, applied: reply.applied, more: reply.more }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    #[default]
    Id,
    State,
    Queue,
    Handler,
    Priority,
    Attempt,
}

impl By {
    const ALL: [By; 6] = [By::Id, By::State, By::Queue, By::Handler, By::Priority, By::Attempt];

    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Id => "id",
            By::State => "state",
            By::Queue => "queue",
            By::Handler => "handler",
            By::Priority => "priority",
            By::Attempt => "attempt",
        }
    }

    pub(crate) fn next(self) -> By {
        let at = By::ALL.iter().position(|by| *by == self).unwrap_or_default();
        By::ALL[(at + 1) % By::ALL.len()]
    }
}

/// What a filter may ask of a job.
pub(crate) const FIELDS: Fields = &[
    ("id", Takes::Number),
    ("state", Takes::State),
    ("queue", Takes::Text),
    ("handler", Takes::Text),
    ("priority", Takes::Number),
    ("attempt", Takes::Number),
    ("worker", Takes::Text),
    ("node", Takes::Text),
];

/// The jobs of a page that are wanted, in order.
pub(crate) fn listed<'a>(page: &'a Page, filter: Option<&Filter>, by: By, reversed: bool) -> Vec<&'a Job> {
    let wanted = |job: &&Job| {
        let text = format!("{} {} {} {} {} {}", job.id, job.state, job.queue, job.handler, job.worker, job.error);
        filter.is_none_or(|f| {
            f.wants(&text, |field| match field {
                "id" => Some(job.id.to_string()),
                "state" => Some(job.state.clone()),
                "queue" => Some(job.queue.clone()),
                "handler" => Some(job.handler.clone()),
                "priority" => Some(job.priority.to_string()),
                "attempt" => Some(job.attempt.to_string()),
                "worker" | "node" => Some(job.worker.clone()),
                _ => None,
            })
        })
    };
    let mut jobs: Vec<&Job> = page.jobs.iter().filter(wanted).collect();
    match by {
        By::Id => jobs.sort_by_key(|j| Reverse(j.id)),
        By::State => jobs.sort_by(|a, b| a.state.cmp(&b.state).then(b.id.cmp(&a.id))),
        By::Queue => jobs.sort_by(|a, b| a.queue.cmp(&b.queue).then(b.id.cmp(&a.id))),
        By::Handler => jobs.sort_by(|a, b| a.handler.cmp(&b.handler).then(b.id.cmp(&a.id))),
        By::Priority => jobs.sort_by_key(|j| (j.priority, Reverse(j.id))),
        By::Attempt => jobs.sort_by_key(|j| (Reverse(j.attempt), Reverse(j.id))),
    }
    if reversed {
        jobs.reverse();
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_filtered_and_ordered() {
        let job = |id, state: &str, attempt| Job { id, state: state.into(), attempt, ..Job::default() };
        let page = Page {
            jobs: vec![job(3, "running", 1), job(2, "completed", 4), job(1, "running", 2)],
            applied: 9,
            more: false,
        };
        let ids = |filter: &str, by, reversed| {
            listed(&page, Some(&Filter::new(filter, FIELDS).unwrap()), by, reversed)
                .iter()
                .map(|j| j.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("", By::Id, false), [3, 2, 1]);
        assert_eq!(ids("state:running", By::Attempt, false), [1, 3]);
        assert_eq!(ids("attempt>1", By::State, true), [1, 2]);
        assert_eq!(By::Attempt.next(), By::Id);
    }
}
