//! w3: whole job lives. Producers submit, workers claim and complete, and a ledger knows of each job how far it came.
//!
//! A payload begins with a stamp: when its submit was due, and the job's number in the ledger.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use raftdeck_shared::{
    client::{Client, ClientError, Taken},
    ids::{JobId, LeaseToken},
    wire::{ClaimRequest, ClaimedJob, JobState, NewJob},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::Code;

use super::{
    plan::{Case, Plan},
    report::Outcome,
    site::Site,
    submit::{accepted, ended, watch, window},
    tally::Tally,
    turns::Turns,
};
use crate::cli::{failure::Failure, target::CALL_WITHIN};

/// Length of a stamp: microseconds and number.
pub(super) const STAMP_BYTES: usize = 16;

/// Longer than any life here; a job whose worker lost its lease has time for a second one before it counts as lost.
const LEASE_MS: u64 = 10_000;
const DRAIN_WITHIN: Duration = Duration::from_secs(25);

/// Jobs that a worker has at a time.
pub(super) const PREFETCH: u32 = 8;

/// A worker asks so long for a job before it asks anew.
const CLAIM_WAIT_MS: u64 = 500;

const PAUSE: Duration = Duration::from_millis(20);

/// Jobs that are worked off at a time.
const WORK_OFF: u32 = 200;

/// What producers and workers share.
#[derive(Debug)]
struct Lives {
    epoch: Instant,
    job: NewJob,
    /// Places for jobs between submission and completion.
    room: Semaphore,
    ledger: Mutex<Ledger>,
    tally: Arc<Tally>,
    drained: AtomicBool,
}

/// How far each job came, by its number.
#[derive(Debug, Default)]
struct Ledger {
    jobs: Vec<Life>,
    acknowledged: usize,
    /// Of those that were acknowledged.
    completed: usize,
    done_twice: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    submit: Submit,
    completed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Submit {
    #[default]
    UnderWay,
    Acknowledged(JobId),
    /// It may have been done all the same.
    Failed,
}

impl Ledger {
    fn begin(&mut self) -> usize {
        self.jobs.push(Life::default());
        self.jobs.len() - 1
    }

    /// It has this id, or its submit failed.
    fn submitted(&mut self, number: usize, id: Option<JobId>) {
        let life = &mut self.jobs[number];
        life.submit = id.map_or(Submit::Failed, Submit::Acknowledged);
        if id.is_some() {
            self.acknowledged += 1;
            self.completed += usize::from(life.completed);
        }
    }

    /// True if the job still held its place.
    fn completed(&mut self, number: usize) -> bool {
        let Some(life) = self.jobs.get_mut(number) else { return false };
        if std::mem::replace(&mut life.completed, true) {
            self.done_twice += 1;
            return false;
        }
        self.completed += usize::from(matches!(life.submit, Submit::Acknowledged(_)));
        life.submit != Submit::Failed
    }

    /// Acknowledged and not seen completed.
    fn open(&self) -> Vec<(usize, JobId)> {
        let open = |(number, life): (usize, &Life)| match life.submit {
            Submit::Acknowledged(id) if !life.completed => Some((number, id)),
            Submit::Acknowledged(_) | Submit::UnderWay | Submit::Failed => None,
        };
        self.jobs.iter().enumerate().filter_map(open).collect()
    }

    /// Acknowledged and not seen completed; done twice.
    fn outcome(&self) -> (u64, u64) {
        ((self.acknowledged - self.completed) as u64, self.done_twice)
    }
}

/// One repetition.
pub(super) async fn measure(site: &Site, plan: &Plan, case: &Case, depth: u32) -> Result<Outcome, Failure> {
    let job = site.job(plan);
    // As many connections as there are for either: producers and workers share them.
    let producers = site.clients(case.clients)?;
    let (workers, asks) = (producers.clone(), Arc::clone(&producers[0]));
    accepted(&producers[0], &job).await?;
    work_off(&producers[..1], &job).await?;
    let lives = Arc::new(Lives {
        epoch: Instant::now(),
        job,
        room: Semaphore::new(usize::try_from(depth).unwrap_or(Semaphore::MAX_PERMITS)),
        ledger: Mutex::default(),
        tally: Arc::new(Tally::new(window(plan))),
        drained: AtomicBool::new(false),
    });
    let tally = &lives.tally;
    let turns = Turns::start(plan.rate);
    let (mut submitting, mut working) = (JoinSet::new(), JoinSet::new());
    for client in producers {
        submitting.spawn(produce(client, Arc::clone(&lives), Arc::clone(&turns)));
    }
    for client in workers {
        working.spawn(work(client, Arc::clone(&lives)));
    }
    let outcome = watch(site, case, tally).await;
    turns.stop();
    // Whoever waits for a place would submit what nobody is to count any more.
    lives.room.close();
    ended(submitting, tally).await;
    let deadline = Instant::now() + DRAIN_WITHIN;
    while lives.ledger().outcome().0 > 0 && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
    }
    lives.drained.store(true, Ordering::Relaxed);
    ended(working, tally).await;
    lives.ask_for_open(&asks).await;
    let (lost, done_twice) = lives.ledger().outcome();
    let unsent = plan.rate.map(|_| tally.unsent(turns.left_at(tally.window().end)));
    Ok(Outcome { counts: tally.counts(), lost: Some(lost), done_twice: Some(done_twice), unsent, ..outcome })
}

impl Lives {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder panics")
    }

    fn stamped(&self, begun: Instant, number: usize) -> NewJob {
        let mut payload = BytesMut::with_capacity(self.job.payload.len());
        payload.put_u64(u64::try_from((begun - self.epoch).as_micros()).unwrap_or(u64::MAX));
        payload.put_u64(number as u64);
        payload.put_slice(&self.job.payload[STAMP_BYTES..]);
        NewJob { payload: payload.freeze(), ..self.job.clone() }
    }

    fn completed(&self, mut payload: Bytes) {
        if payload.len() < STAMP_BYTES {
            return;
        }
        let begun = self.epoch + Duration::from_micros(payload.get_u64());
        let number = usize::try_from(payload.get_u64()).unwrap_or(usize::MAX);
        self.tally.answered(begun, 1);
        if self.ledger().completed(number) {
            self.room.add_permits(1);
        }
    }
}

impl Lives {
    /// An ack whose outcome nobody could say may have been done: of what was not seen completed, the cluster has the last word.
    async fn ask_for_open(&self, client: &Client) {
        let open = self.ledger().open();
        for (number, id) in open {
            let found = client.get(id, 0, CALL_WITHIN).await.ok().and_then(|reply| reply.job);
            if found.is_some_and(|job| job.state() == JobState::Completed) {
                self.ledger().completed(number);
            }
        }
    }
}

async fn produce(client: Arc<Client>, lives: Arc<Lives>, turns: Arc<Turns>) {
    loop {
        // The place first: in a closed loop the wait for it is not of this job's life.
        let Ok(place) = lives.room.acquire().await else { return };
        let Some(begun) = turns.next().await else { return };
        place.forget();
        let number = lives.ledger().begin();
        let answer = client.submit(lives.stamped(begun, number), CALL_WITHIN).await;
        lives.ledger().submitted(number, answer.as_ref().ok().map(|submitted| JobId(submitted.id)));
        if let Err(error) = answer {
            lives.tally.failed(error.to_string());
            lives.room.add_permits(1);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A worker has up to [`PREFETCH`] jobs at a time, and completes each of them at once.
async fn work(client: Arc<Client>, lives: Arc<Lives>) {
    let mut jobs = client.jobs(claim(&lives.job, PREFETCH, CLAIM_WAIT_MS));
    let mut completing = FuturesUnordered::new();
    while !lives.drained.load(Ordering::Relaxed) {
        tokio::select! {
            taken = jobs.next() => match taken {
                Ok(taken) => completing.push(take_and_complete(&client, taken)),
                Err(error) => lives.tally.failed(error.to_string()),
            },
            Some(completed) = completing.next() => match completed {
                Ok(payload) => lives.completed(payload),
                Err(error) => lives.tally.failed(error.to_string()),
            },
            () = tokio::time::sleep(PAUSE), if completing.is_empty() => {} // Perhaps all is done.
        }
    }
}

async fn take_and_complete(client: &Client, taken: Taken) -> Result<Bytes, ClientError> {
    complete(client, &taken.job).await?;
    Ok(taken.job.payload)
}

async fn complete(client: &Client, job: &ClaimedJob) -> Result<(), ClientError> {
    let settled = client.ack(JobId(job.id), LeaseToken(job.token), Bytes::new(), CALL_WITHIN).await?;
    if settled.refused.is_empty() {
        return Ok(());
    }
    Err(ClientError::Refused {
        code: Code::FailedPrecondition,
        message: format!("job {}: {}", job.id, settled.refused),
    })
}

pub(super) fn claim(job: &NewJob, max_jobs: u32, wait_ms: u64) -> ClaimRequest {
    ClaimRequest {
        worker: "bench".to_owned(),
        queues: vec![job.queue.clone()],
        handlers: vec![job.handler.clone()],
        max_jobs,
        lease_ms: LEASE_MS,
        wait_ms,
        session: None,
    }
}

/// Completes what is left in the queue of a job.
pub(super) async fn work_off(clients: &[Arc<Client>], job: &NewJob) -> Result<(), Failure> {
    let claim = claim(job, WORK_OFF, 0);
    let each = clients.iter().map(async |client| -> Result<(), Failure> {
        loop {
            let jobs = client.claim(claim.clone()).await?.jobs;
            if jobs.is_empty() {
                return Ok(());
            }
            let completed = join_all(jobs.iter().map(|job| complete(client, job))).await;
            completed.into_iter().collect::<Result<Vec<()>, ClientError>>()?;
        }
    });
    join_all(each).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_tells_what_was_lost_and_what_was_done_twice() {
        let mut ledger = Ledger::default();
        let [answered, early, failed, open] = [(); 4].map(|()| ledger.begin());
        ledger.submitted(answered, Some(JobId(1)));
        assert!(ledger.completed(answered), "it gives its place back");
        assert!(ledger.completed(early), "completed before its producer has heard of it");
        ledger.submitted(early, Some(JobId(2)));
        ledger.submitted(failed, None);
        assert!(!ledger.completed(failed), "the producer gave its place back already");
        ledger.submitted(open, Some(JobId(4)));
        assert_eq!((ledger.outcome(), ledger.open()), ((1, 0), vec![(open, JobId(4))]));
        assert!(!ledger.completed(early));
        assert!(!ledger.completed(99), "a job of somebody else");
        assert!(ledger.completed(open));
        assert_eq!(ledger.outcome(), (0, 1));
    }
}
