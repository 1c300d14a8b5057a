//! `jobs`, `job`, `cancel`, `retry`: looking at jobs, ending them and trying them again.

use bytes::Bytes;
use raftdeck_jobs::JobState;
use raftdeck_shared::{
    ids::JobId,
    wire::{self, JobState as Wire},
};
use serde::Serialize;

use super::{
    args::Jobs,
    excerpt::{excerpt, in_json},
    failure::Failure,
    out::{Out, table},
    target::{CALL_WITHIN, Target},
    values::clock,
};
use crate::{plain::plain, retry};

/// A job of a list.
#[derive(Debug, Serialize)]
struct Line {
    id: u64,
    state: &'static str,
    index: u64,
    queue: String,
    handler: String,
    priority: u32,
    attempt: u32,
    max_attempts: u32,
}

#[derive(Debug, Serialize)]
struct List {
    jobs: Vec<Line>,
    applied: u64,
    more: bool,
}

/// One job, whole.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    line: Line,
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
    error: Option<String>,
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    completed_token: Option<u64>,
    history: Vec<Event>,
    applied: u64,
}

#[derive(Debug, Serialize)]
struct Event {
    at_ms: u64,
    index: u64,
    attempt: u32,
    what: String,
    note: String,
}

#[derive(Debug, Serialize)]
struct Cancelled {
    id: u64,
    state: &'static str,
    index: u64,
}

/// What of a job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything, for people or as JSON.
    Whole,
    /// The bytes it was given.
    Payload,
    /// The bytes it has brought.
    Output,
}

impl Part {
    /// As the command line asks for it; it takes one of the two at most.
    #[must_use]
    pub fn of(payload: bool, output: bool) -> Part {
        match (payload, output) {
            (true, _) => Part::Payload,
            (false, true) => Part::Output,
            (false, false) => Part::Whole,
        }
    }
}

/// Cells before what a label stands for.
const LABEL: usize = 9;

/// The word for a state as it comes over the wire.
#[must_use]
pub fn state(state: i32) -> &'static str {
    match Wire::try_from(state) {
        Ok(Wire::Scheduled) => JobState::Scheduled.as_str(),
        Ok(Wire::Available) => JobState::Available.as_str(),
        Ok(Wire::Running) => JobState::Running.as_str(),
        Ok(Wire::Retryable) => JobState::Retryable.as_str(),
        Ok(Wire::Completed) => JobState::Completed.as_str(),
        Ok(Wire::Cancelled) => JobState::Cancelled.as_str(),
        Ok(Wire::Discarded) => JobState::Discarded.as_str(),
        Ok(Wire::Unspecified) | Err(_) => "unknown",
    }
}

fn on_wire(state: JobState) -> Wire {
    match state {
        JobState::Scheduled => Wire::Scheduled,
        JobState::Available => Wire::Available,
        JobState::Running => Wire::Running,
        JobState::Retryable => Wire::Retryable,
        JobState::Completed => Wire::Completed,
        JobState::Cancelled => Wire::Cancelled,
        JobState::Discarded => Wire::Discarded,
    }
}

impl Line {
    fn of(job: &wire::Job) -> Line {
        Line {
            id: job.id,
            state: state(job.state),
            index: job.submit_index,
            queue: job.queue.clone(),
            handler: job.handler.clone(),
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
        }
    }
}

impl Whole {
    fn of(job: &wire::Job, applied: u64) -> Whole {
        let event = |event: &wire::JobEvent| Event {
            at_ms: event.at_ms,
            index: event.index,
            attempt: event.attempt,
            what: event.what.clone(),
            note: event.note.clone(),
        };
        let (result, result_base64) = output(job).map(|bytes| in_json(bytes)).unwrap_or_default();
        let (payload, payload_base64) = in_json(&job.payload);
        Whole {
            line: Line::of(job),
            result,
            result_base64,
            error: (!job.error.is_empty()).then(|| job.error.clone()),
            payload,
            payload_base64,
            completed_token: job.completed_token,
            history: job.history.iter().map(event).collect(),
            applied,
        }
    }

    fn words(&self, job: &wire::Job) -> String {
        let Line { id, state, index, queue, handler, priority, attempt, max_attempts } = &self.line;
        let mut words = format!(
            "job {id} {state}: handler {}, queue {}, priority {priority}, attempt {attempt} of {max_attempts}, submitted at index {index}",
            plain(handler),
            plain(queue),
        );
        let part = |bytes: &[u8], name: &str| excerpt(bytes, LABEL, &format!("raftdeck job {id} --{name}"));
        words += &format!("\npayload  {}", part(&job.payload, "payload"));
        if let Some(bytes) = output(job) {
            words += &format!("\noutput   {}", part(bytes, "output"));
        }
        if let Some(token) = self.completed_token {
            words += &format!("\ntoken    {token}");
        }
        if let Some(error) = &self.error {
            words += &format!("\nerror    {}", plain(error));
        }
        for Event { at_ms, index, attempt, what, note } in &self.history {
            let note = if note.is_empty() { String::new() } else { format!(": {}", plain(note)) };
            words += &format!("\n{}  index {index}  attempt {attempt}  {}{note}", clock(*at_ms), plain(what));
        }
        words
    }
}

/// What a job has brought; nothing until it is completed.
#[must_use]
pub fn output(job: &wire::Job) -> Option<&Bytes> {
    (job.state == i32::from(Wire::Completed)).then_some(&job.result)
}

/// `raftdeck jobs`.
///
/// # Errors
/// The cluster does not answer.
pub async fn list(target: &Target, args: &Jobs, out: Out) -> Result<(), Failure> {
    let request = wire::ListRequest {
        states: args.states.iter().map(|state| on_wire(*state).into()).collect(),
        queue: args.queue.clone().unwrap_or_default(),
        handler: args.handler.clone().unwrap_or_default(),
        before_id: args.before.unwrap_or(0),
        limit: args.limit,
        min_index: 0,
    };
    let reply = target.attended_client()?.list(request, CALL_WITHIN).await?;
    let jobs = reply.jobs.iter().map(Line::of).collect();
    let list = List { jobs, applied: reply.applied, more: reply.more };
    out.say(&list, || {
        let rows: Vec<[String; 6]> = list
            .jobs
            .iter()
            .map(|job| {
                let attempts = format!("{}/{}", job.attempt, job.max_attempts);
                [
                    job.id.to_string(),
                    job.state.to_owned(),
                    plain(&job.queue),
                    plain(&job.handler),
                    job.priority.to_string(),
                    attempts,
                ]
            })
            .collect();
        let more = match list.jobs.last() {
            Some(last) if list.more => format!("\nmore: --before {}", last.id),
            Some(_) | None => String::new(),
        };
        table(["ID", "STATE", "QUEUE", "HANDLER", "PRIORITY", "ATTEMPT"], &rows) + &more
    })
}

/// `raftdeck job ID`.
///
/// # Errors
/// There is no such job, it has not what is asked for, or the cluster does not answer.
pub async fn show(target: &Target, id: u64, part: Part, out: Out) -> Result<(), Failure> {
    let reply =
        target.attended_client()?.get(JobId(id), 0, CALL_WITHIN).await.map_err(|error| retry::about(id, &error))?;
    let job = reply.job.ok_or_else(|| format!("job {id}: no such job"))?;
    match part {
        Part::Whole => {
            let whole = Whole::of(&job, reply.applied);
            out.say(&whole, || whole.words(&job))
        }
        Part::Payload => out.bytes(&job.payload),
        Part::Output => {
            let bytes = output(&job).ok_or_else(|| format!("job {id} is {}: it has no output", state(job.state)))?;
            out.bytes(bytes)
        }
    }
}

/// `raftdeck cancel ID`.
///
/// # Errors
/// There is no such job, it has ended in another way already, or the cluster does not answer.
pub async fn cancel(target: &Target, id: u64, out: Out) -> Result<(), Failure> {
    let reply =
        target.attended_client()?.cancel(JobId(id), CALL_WITHIN).await.map_err(|error| retry::about(id, &error))?;
    let cancelled = Cancelled { id, state: state(reply.state), index: reply.index };
    out.say(&cancelled, || match Wire::try_from(reply.state) {
        Ok(Wire::Running) => format!("{id} is running: its worker is told to stop"),
        Ok(_) | Err(_) => format!("{id} {}", cancelled.state),
    })?;
    match Wire::try_from(reply.state) {
        Ok(Wire::Completed | Wire::Discarded) => {
            Err(Failure::Refused(format!("job {id} is {} already: nothing was cancelled", cancelled.state)))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// `raftdeck retry ID..`.
///
/// # Errors
/// One of them is running or completed, or there is none of this id, or the cluster does not answer. The others are tried.
pub async fn retry(target: &Target, ids: &[u64], out: Out) -> Result<(), Failure> {
    let client = target.attended_client()?;
    let mut refused = Vec::new();
    for id in ids {
        match retry::retry(&client, *id, CALL_WITHIN).await {
            Ok(retried) => out.say(&retried, || retried.words.clone())?,
            Err(why) => refused.push(why),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Refused(refused.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_job_is_exact() {
        let event = wire::JobEvent { at_ms: 5, index: 6, attempt: 1, what: "completed".into(), note: "by n1".into() };
        let job = wire::Job {
            id: 17,
            queue: "default".into(),
            handler: "echo".into(),
            priority: 5,
            state: Wire::Completed.into(),
            attempt: 1,
            max_attempts: 25,
            submit_index: 42,
            completed_token: Some(43),
            payload: bytes::Bytes::from_static(b"h\xffi"),
            result: bytes::Bytes::from_static(b"hi"),
            history: vec![event],
            ..wire::Job::default()
        };
        assert_eq!(
            serde_json::to_string(&Whole::of(&job, 50)).unwrap(),
            concat!(
                r#"{"id":17,"state":"completed","index":42,"queue":"default","handler":"echo","priority":5,"#,
                r#""attempt":1,"max_attempts":25,"result":"hi","error":null,"payload":null,"payload_base64":"aP9p","#,
                r#""completed_token":43,"#,
                r#""history":[{"at_ms":5,"index":6,"attempt":1,"what":"completed","note":"by n1"}],"applied":50}"#,
            )
        );
        let waiting = wire::Job { state: Wire::Retryable.into(), completed_token: None, error: "no".into(), ..job };
        let json = serde_json::to_string(&Whole::of(&waiting, 50)).unwrap();
        assert!(
            json.contains(r#""result":null,"error":"no","#) && json.contains(r#""completed_token":null"#),
            "{json}"
        );
    }

    #[test]
    fn every_state_has_one_word_on_both_sides() {
        for one in JobState::ALL {
            assert_eq!(state(on_wire(one).into()), one.as_str());
        }
        assert_eq!(state(8), "unknown");
    }
}
