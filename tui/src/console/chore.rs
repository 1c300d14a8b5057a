//! What is done to jobs and queues, and what comes of it, said first: a retry, a pause, its end.
//!
//! None of them touches the quorum, so the question tells of jobs instead, as the leader counts them at this moment.

use std::collections::BTreeMap;

use super::{
    acts::Effect,
    browse,
    model::{Model, View},
    status::Queue,
};
use crate::cli::values::count;

/// What a retry of these jobs would do.
pub(super) fn retry(model: &Model, ids: &[u64]) -> Effect {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for job in model.live.jobs.iter().flat_map(|page| &page.jobs).filter(|job| ids.contains(&job.id)) {
        *states.entry(job.state.as_str()).or_default() += 1;
    }
    let listed: Vec<String> = states.iter().map(|(state, jobs)| format!("{jobs} {state}")).collect();
    let jobs = match ids {
        [one] => format!("job {one}"),
        many => count(many.len(), "job"),
    };
    Effect {
        question: format!("Try {jobs} again now?"),
        now: if listed.is_empty() { format!("{jobs}, not listed here") } else { listed.join(", ") },
        after: "what waits for its time is available at once; attempts count on".into(),
        note:
            "Of a cancelled or discarded one the work is submitted again, as a new job; one that runs or is completed \
               stays as it is."
                .into(),
        undo: "cancel it (c)".into(),
        ..Effect::default()
    }
}

/// What a pause of a queue, or its end, would do.
pub(super) fn pause(model: &Model, name: &str, paused: bool) -> Effect {
    let queue = browse::queues(model).into_iter().find(|queue| queue.name == name);
    let (waiting, available, running) =
        queue.as_ref().map_or((0, 0, 0), |Queue { jobs, .. }| (jobs.waiting(), jobs.available, jobs.running));
    let is_paused = queue.is_some_and(|queue| queue.paused);
    let jobs = |n: u64| count(usize::try_from(n).unwrap_or(usize::MAX), "job");
    let so = if is_paused { "paused; " } else { "" };
    let now = format!("{so}{} waiting ({available} available), {running} running", jobs(waiting));
    let effect = Effect { now, ..Effect::default() };
    match paused {
        true => Effect {
            question: format!("Pause queue {name}? Nobody is given a job of it any more."),
            after: format!("{} running go on; what waits stays, until the queue is resumed", jobs(running)),
            note: "Submits to it are accepted, and due jobs become available: they wait as well.".into(),
            undo: "resume it (P)".into(),
            ..effect
        },
        false => Effect {
            question: format!("Resume queue {name}? Its jobs are given out again."),
            after: format!("{} can be claimed; who waits for work gets them at once", jobs(available)),
            note: "In their order, by priority and time.".into(),
            undo: "pause it (P)".into(),
            ..effect
        },
    }
}

/// The queue under the cursor.
pub(super) fn queue_under_cursor(model: &Model) -> Option<Queue> {
    let mut queues = browse::queues(model);
    let at = model.browse.row(View::Queues).min(queues.len().checked_sub(1)?);
    Some(queues.swap_remove(at))
}
