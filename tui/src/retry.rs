//! Trying a job again, as the command line and the console do it.
//!
//! A job that waits for its time is made available: that is one word to the cluster. A job that has ended stays as it is;
//! of one that was cancelled or discarded the same work is submitted as a new job. The idempotency key of that submit is
//! made of the old job's id and the index at which it ended: who asks twice, or from two places, gets one new job.
//!
//! Law: what the new job is made of is all that the old one was made of; only its time is now.

use std::time::Duration;

use raftdeck_shared::{
    client::{Client, ClientError},
    ids::JobId,
    wire::{self, JobState},
};
use serde::Serialize;

use crate::cli::jobs::state;

/// A job that is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The job that does the work now.
    pub id: u64,
    /// Its state after this.
    pub state: &'static str,
    /// The log index of the retry, or of the submit.
    pub index: u64,
    /// The job that had ended, if its work was submitted again.
    pub retry_of: Option<u64>,
    /// What was done, for people.
    #[serde(skip)]
    pub words: String,
}

/// Tries a job again.
///
/// # Errors
/// In one line: it is running or completed, there is none of this id, or the cluster does not answer.
pub async fn retry(client: &Client, id: u64, within: Duration) -> Result<Retried, String> {
    let reply = client.retry(JobId(id), within).await.map_err(|error| about(id, &error))?;
    match reply.state() {
        JobState::Available => {
            let words = match reply.changed {
                true => format!("job {id} is available now"),
                false => format!("job {id} was available already"),
            };
            Ok(Retried { id, state: state(reply.state), index: reply.index, retry_of: None, words })
        }
        JobState::Cancelled | JobState::Discarded => submit_again(client, id, within).await,
        JobState::Completed => Err(format!("{}: there is nothing to retry", reply.refused)),
        JobState::Running | JobState::Scheduled | JobState::Retryable | JobState::Unspecified => Err(reply.refused),
    }
}

async fn submit_again(client: &Client, id: u64, within: Duration) -> Result<Retried, String> {
    let reply = client.get(JobId(id), 0, within).await.map_err(|error| about(id, &error))?;
    let job = reply.job.ok_or_else(|| format!("job {id}: no such job"))?;
    let (ended, work) = (state(job.state), same_work(job));
    let made = client.submit(work, within).await.map_err(|error| format!("job {id} was {ended}: {error}"))?;
    let again = |state, words| Retried { id: made.id, state, index: made.index, retry_of: Some(id), words };
    if !made.duplicate {
        let words = format!("job {id} was {ended}; its work is submitted again as job {}", made.id);
        return Ok(again(state(made.state), words));
    }
    // The first answer is given again: it says how the new job was then, and it may have run and failed since.
    let reply = client.get(JobId(made.id), made.index, within).await.map_err(|error| about(made.id, &error))?;
    let is = reply.job.map_or_else(|| state(made.state), |job| state(job.state));
    let words = format!("job {id} was {ended}; its work was submitted again before, as job {}, which is {is}", made.id);
    Ok(again(is, words))
}

/// The work of a job that has ended, as a new one.
fn same_work(job: wire::Job) -> wire::NewJob {
    let ended_at = job.history.last().map_or(job.submit_index, |event| event.index);
    wire::NewJob {
        handler: job.handler,
        queue: job.queue,
        payload: job.payload,
        priority: Some(job.priority),
        run_at_ms: None,
        delay_ms: 0,
        max_attempts: Some(job.max_attempts),
        timeout_ms: job.timeout_ms,
        retry_delay_ms: job.retry_delay_ms,
        idempotency_key: format!("retry:{}:{ended_at}", job.id),
    }
}

/// An error that names the job even where the node's words do not.
#[must_use]
pub fn about(id: u64, error: &ClientError) -> String {
    let words = error.to_string();
    let unnamed = matches!(error, ClientError::Refused { .. }) && !words.contains(&id.to_string());
    if unnamed { format!("job {id}: {words}") } else { words }
}
