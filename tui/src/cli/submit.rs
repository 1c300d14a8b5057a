//! `submit`: one job, or one for each of many files.
//!
//! Laws:
//! - everything is checked before anything is sent: a file that is too large refuses the whole call, by name;
//! - a job's id is printed only when a majority holds the job;
//! - many files go in bulks, each all or none; if a later bulk fails, the error says how many jobs were submitted.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use raftdeck_jobs::{Backoff, JobState, NewJob, limits};
use raftdeck_shared::{
    client::{Client, ClientError},
    ids::JobId,
    wire,
};
use serde::Serialize;

use super::{
    args::Submit,
    excerpt::{excerpt, in_json},
    failure::Failure,
    jobs::{output, state},
    out::Out,
    target::{CALL_WITHIN, Target},
    values,
};
use crate::plain::plain;

/// The wait between two looks at a job grows from here ...
const LOOK_MIN: Duration = Duration::from_millis(5);
/// ... to here.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Stdin is read no further than this when it is too large anyway.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// A submitted job as it is printed.
#[derive(Debug, Serialize)]
struct Told {
    id: u64,
    state: &'static str,
    index: u64,
    #[serde(flatten)]
    ended: Option<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize)]
struct Ended {
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
    attempt: u32,
}

/// `raftdeck submit`.
///
/// # Errors
/// The request is out of bounds, the cluster does not take it, or (`--wait`) a job did not complete in time.
pub async fn run(target: &Target, args: &Submit, out: Out) -> Result<(), Failure> {
    let template = template(args)?;
    let files = files(args)?;
    if files.len() > 1 && args.idempotency_key.is_some() {
        let count = files.len();
        return Err(Failure::Usage(format!("--idempotency-key names one job, and {count} files are {count} jobs")));
    }
    let client = target.attended_client()?;
    let wait = args.wait.then_some(args.within);
    if files.is_empty() {
        let job = NewJob { payload: payload(args.payload.as_deref())?, ..template };
        job.validate().map_err(|invalid| invalid.to_string())?;
        let submitted = client.submit(on_wire(&job), CALL_WITHIN).await?;
        return finish(&client, &[(submitted, None)], wait, out).await;
    }
    let bulks = bulks(&files)?;
    let single = args.bulk.is_empty() && files.len() == 1;
    let mut done = 0;
    let mut all = Vec::new();
    for (place, bulk) in bulks.iter().enumerate() {
        let jobs = bulk.iter().map(|path| Ok(NewJob { payload: read(path)?, ..template.clone() }));
        let jobs = jobs.collect::<Result<Vec<_>, Failure>>()?;
        let failed = |why: String| format!("bulk {} of {}: {why}; {done} jobs were submitted", place + 1, bulks.len());
        raftdeck_jobs::validate_bulk(&jobs).map_err(|invalid| failed(invalid.to_string()))?;
        let sent = client.submit_bulk(jobs.iter().map(on_wire).collect(), CALL_WITHIN).await;
        let submitted = sent.map_err(|error| failed(error.to_string()))?;
        done += submitted.len();
        let named = submitted.into_iter().zip(bulk).map(|(job, path)| (job, (!single).then_some(path.as_path())));
        all.extend(named);
        if wait.is_none() {
            finish(&client, &std::mem::take(&mut all), None, out).await?;
        }
    }
    finish(&client, &all, wait, out).await
}

/// The job without its payload, checked.
fn template(args: &Submit) -> Result<NewJob, Failure> {
    let backoff = args.retry_delay.map(|delay| Backoff::Fixed { delay_ms: values::ms(delay) });
    let job = NewJob {
        queue: args.queue.as_str().into(),
        handler: args.handler.as_str().into(),
        priority: args.priority,
        payload: Bytes::new(),
        run_at_ms: args.at,
        delay_ms: args.delay.map_or(0, values::ms),
        max_attempts: args.max_attempts,
        timeout_ms: args.timeout.map(values::ms),
        backoff: backoff.unwrap_or_default(),
        idempotency_key: args.idempotency_key.clone(),
    };
    job.validate().map_err(|invalid| invalid.to_string())?;
    Ok(job)
}

/// The request as it travels.
#[must_use]
pub fn on_wire(job: &NewJob) -> wire::NewJob {
    wire::NewJob {
        handler: job.handler.to_string(),
        queue: job.queue.to_string(),
        payload: job.payload.clone(),
        priority: Some(u32::from(job.priority)),
        run_at_ms: job.run_at_ms,
        delay_ms: job.delay_ms,
        max_attempts: Some(job.max_attempts),
        timeout_ms: job.timeout_ms,
        retry_delay_ms: match job.backoff {
            Backoff::Polynomial => None,
            Backoff::Fixed { delay_ms } => Some(delay_ms),
        },
        idempotency_key: job.idempotency_key.clone().unwrap_or_default(),
    }
}

fn payload(given: Option<&str>) -> Result<Bytes, Failure> {
    match given {
        None => Ok(Bytes::new()),
        Some("-") => {
            let mut bytes = Vec::new();
            let mut stdin = io::stdin().lock();
            let limit = limits::PAYLOAD_BYTES_MAX as u64;
            let failed = |e: io::Error| format!("cannot read the payload from stdin: {e}");
            stdin.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() > limits::PAYLOAD_BYTES_MAX {
                let rest = io::copy(&mut stdin.take(STDIN_BYTES_MAX), &mut io::sink()).map_err(failed)?;
                return Err(Failure::Refused(too_large("payload", limit + 1 + rest)));
            }
            Ok(bytes.into())
        }
        Some(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn too_large(what: &str, bytes: u64) -> String {
    format!("{what} is {bytes} bytes, the limit is {}", limits::PAYLOAD_BYTES_MAX)
}

/// Every file that is a job's payload; a folder stands for the files in it, by name, without its subfolders.
fn files(args: &Submit) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |path: &Path, e: io::Error| format!("cannot read {}: {e}", path.display());
    let mut files = args.file.clone();
    for path in &args.bulk {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let inside = entries.map_err(|e| cannot(path, e))?.into_iter().map(|entry| entry.path());
        let mut inside: Vec<PathBuf> = inside.filter(|path| path.is_file()).collect();
        if inside.is_empty() {
            return Err(Failure::Refused(format!("no file in {}", path.display())));
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// The files in bulks, in order, as many to one as the limits let.
fn bulks(files: &[PathBuf]) -> Result<Vec<Vec<PathBuf>>, Failure> {
    let mut bulks: Vec<Vec<PathBuf>> = Vec::new();
    let mut room_bytes = 0;
    for path in files {
        let failed = |e: io::Error| format!("cannot read {}: {e}", path.display());
        let about = fs::metadata(path).map_err(failed)?;
        if about.is_dir() {
            return Err(Failure::Refused(format!("{} is a folder: --bulk takes folders", path.display())));
        }
        let bytes = about.len();
        if bytes > limits::PAYLOAD_BYTES_MAX as u64 {
            return Err(Failure::Refused(format!("{}: {}", path.display(), too_large("payload", bytes))));
        }
        match bulks.last_mut() {
            Some(bulk) if bulk.len() < limits::BULK_JOBS_MAX && bytes <= room_bytes => bulk.push(path.clone()),
            Some(_) | None => {
                room_bytes = limits::BULK_BYTES_MAX as u64;
                bulks.push(vec![path.clone()]);
            }
        }
        room_bytes -= bytes;
    }
    Ok(bulks)
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.into()),
        Err(e) => Err(Failure::Refused(format!("cannot read {}: {e}", path.display()))),
    }
}

/// Prints what was submitted, and what became of it if that is waited for.
async fn finish(
    client: &Client,
    submitted: &[(wire::Submitted, Option<&Path>)],
    wait: Option<Duration>,
    out: Out,
) -> Result<(), Failure> {
    let deadline = wait.map(|within| Instant::now() + within);
    let mut incomplete = None;
    for (job, file) in submitted {
        let file = file.map(|path| path.display().to_string());
        let mut told = Told { id: job.id, state: state(job.state), index: job.index, ended: None, file: file.clone() };
        let label = file.map_or_else(|| job.id.to_string(), |file| format!("{} {}", job.id, plain(&file)));
        let Some(deadline) = deadline else {
            out.say(&told, || label)?;
            continue;
        };
        let job = wait_final(client, job, deadline).await?;
        told.state = state(job.state);
        let completed = told.state == JobState::Completed.as_str();
        let words = match output(&job) {
            Some(bytes) => {
                let shown = excerpt(bytes, 0, &format!("raftdeck job {} --output", job.id));
                format!("{label} completed in attempt {}: {shown}", job.attempt)
            }
            None => format!("{label} {}", told.state),
        };
        let (result, result_base64) = output(&job).map(|bytes| in_json(bytes)).unwrap_or_default();
        told.ended = Some(Ended { result, result_base64, attempt: job.attempt });
        out.say(&told, || words)?;
        if !completed {
            let cause = if job.error.is_empty() { String::new() } else { format!(": {}", job.error) };
            incomplete.get_or_insert(format!("job {} ended {}{cause}", job.id, told.state));
        }
    }
    incomplete.map_or(Ok(()), |message| Err(Failure::Refused(message)))
}

/// The job once it is in a final state.
///
/// # Errors
/// It is in none at the deadline, or there is no such job.
pub async fn wait_final(client: &Client, job: &wire::Submitted, deadline: Instant) -> Result<wire::Job, Failure> {
    let mut pause = LOOK_MIN;
    let mut seen = state(job.state);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Refused(format!(
                "job {} is still {seen} at the end of the wait (--within); it was submitted at index {}",
                job.id, job.index
            )));
        }
        match client.get(JobId(job.id), job.index, left).await {
            Ok(reply) => {
                let now = reply.job.ok_or_else(|| format!("job {}: the node answered without it", job.id))?;
                seen = state(now.state);
                if seen.parse::<JobState>().is_ok_and(JobState::is_final) {
                    return Ok(now);
                }
            }
            // Reading again is always safe: only the deadline ends the wait.
            Err(ClientError::Unreachable(_) | ClientError::Unknown(_)) => {}
            Err(refused @ ClientError::Refused { .. }) => return Err(refused.into()),
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_shapes_are_exact() {
        let mut told = Told { id: 17, state: "available", index: 42, ended: None, file: None };
        assert_eq!(serde_json::to_string(&told).unwrap(), r#"{"id":17,"state":"available","index":42}"#);
        told.ended = Some(Ended { result: Some("hi".into()), result_base64: None, attempt: 1 });
        told.file = Some("a.txt".into());
        assert_eq!(
            serde_json::to_string(&told).unwrap(),
            r#"{"id":17,"state":"available","index":42,"result":"hi","attempt":1,"file":"a.txt"}"#
        );
    }

    #[test]
    fn files_fill_bulks_up_to_their_limits_and_one_too_large_refuses_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: usize| {
            let path = dir.path().join(name);
            fs::File::create(&path).unwrap().set_len(bytes as u64).unwrap();
            path
        };
        let full: Vec<PathBuf> = (0..5).map(|i| file(&format!("full{i}"), limits::PAYLOAD_BYTES_MAX)).collect();
        let small = file("small", 1);
        let sizes = |files: &[PathBuf]| bulks(files).unwrap().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&full), [4, 1]);
        assert_eq!(sizes(&vec![small.clone(); 1001]), [1000, 1]);
        assert_eq!(sizes(&[&full[..4], std::slice::from_ref(&small)].concat()), [4, 1]);
        let large = file("large", limits::PAYLOAD_BYTES_MAX + 1);
        let expected = format!("{}: payload is 1048577 bytes, the limit is 1048576", large.display());
        assert_eq!(bulks(&[small, large]).unwrap_err(), Failure::Refused(expected));
    }
}
