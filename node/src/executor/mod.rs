//! The executor of a node: a worker like any outside one, which happens to live in the node's process.
//!
//! It has no way into the replica. It claims, renews, acks and fails through the same [`Client`] and the same wire as a
//! worker in another language would, follows the leader as that does, and is fenced as that is. So what is proven of the
//! protocol holds here, and a node whose disk or vote is in trouble can still work off jobs for the others.
//!
//! One loop asks for work whenever there is room, another renews what is held, and each job is a task of its own:
//!
//! ```text
//! claim --> hold lease --> run (built-in or program) --> give up the lease's renewal --> ack | fail | nothing
//!                ^  |
//!         renew -+  +-> stop: cancelled | node stopping | lease lost | lease not renewed
//! ```
//!
//! # Laws
//!
//! - At most `concurrency` jobs are held, from before they are claimed until they are settled; nothing is claimed beyond.
//! - A program runs only while the cluster cannot have given its job away: the time counts from the moment the claim or
//!   the renewal was *sent*, on this machine's monotonic clock. Without an answer the program is dead by the deadline.
//! - A job whose lease was lost is never settled. All others are, under their token, for as long as the lease lasts.
//! - No result is longer than the output limit, whoever made it: a longer one keeps its end.
//! - Whatever ends an attempt, its process group is killed with it and its directory is removed.
//!
//! # Caveats
//!
//! - If the node is killed outright (SIGKILL, power), its programs live on until they end by themselves: there is nobody
//!   left to stop them. Their job is run again when the lease ends, so two may run side by side; the first one's result
//!   reaches nobody, and any result under its token is refused. The same holds while the node is stopped (SIGSTOP). A
//!   program with effects elsewhere must hand `FENCE_TOKEN` on to where the effect is.
//! - The monotonic clock stands still while the machine is suspended: a program may run on for a moment after waking, until
//!   the first renewal is refused.
//! - A program that leaves its process group (setsid) is out of reach of its timeout.
//! - Programs get the node's user, file system and limits: neither rlimits nor a sandbox are set up here.
//! - A claim that is under way when the node stops is dropped. If it has leased jobs, they come back when the lease ends.

mod builtin;
mod lease;
mod output;
mod process;
mod settle;
#[cfg(test)]
mod tests;
mod trouble;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use raftdeck_jobs::limits::CLAIM_JOBS_MAX;
use raftdeck_shared::{
    client::Client,
    cluster::{BUILT_IN_HANDLERS, ExecutorSettings, Handler},
    wire,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, warn};

use self::{
    builtin::BuiltIn,
    lease::{Leases, Stop},
    trouble::Trouble,
};

/// Longest wait of one claim for work.
const CLAIM_WAIT_MAX: Duration = Duration::from_secs(10);

/// Pause when a claim comes back with nothing before its wait is over.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);

/// For telling the cluster, once the node is stopping and the programs have ended.
const SETTLE_AT_STOP_MAX: Duration = Duration::from_secs(2);

/// How one execution ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Its result.
    Done(Bytes),
    /// Why it failed, in one line, and if another attempt may help.
    Failed { error: String, retry: bool },
    /// It was stopped before its end.
    Stopped(Stop),
}

impl Outcome {
    fn retryable(error: impl Into<String>) -> Outcome {
        Outcome::Failed { error: error.into(), retry: true }
    }

    fn timed_out(limit: Duration) -> Outcome {
        Outcome::retryable(format!("timed out after {} ms", limit.as_millis()))
    }
}

/// Claims and runs jobs until `shutdown` turns true (or its sender is gone), then ends the programs that run and gives
/// their jobs back. Returns within three seconds of that, whether the cluster answers or not.
///
/// `worker` is the name under which people see the leases. `handlers` are those of the cluster file: commands are run here
/// beside the built-in ones, external ones are left to others. `executing` is kept at the number of jobs that run now.
/// Programs work in folders below `scratch`; what an earlier life left there is removed.
pub async fn run(
    worker: String,
    client: Arc<Client>,
    mut handlers: BTreeMap<String, Handler>,
    settings: ExecutorSettings,
    scratch: PathBuf,
    executing: Arc<AtomicU64>,
    mut shutdown: watch::Receiver<bool>,
) {
    handlers.retain(|_, handler| !handler.external);
    if let Err(error) = process::sweep(&scratch) {
        warn!("{}: {error}", scratch.display()); // Programs will be refused with the same error; echo and sleep will not.
    }
    let leases = Arc::new(Leases::new(Duration::from_millis(settings.lease_ms), executing));
    let executor = Arc::new(Executor { worker, client, commands: handlers, settings, scratch, leases });
    let mut jobs = JoinSet::new();
    let work = async {
        tokio::select! {
            // Ok: asked to stop. Err: nobody is left who could ask.
            _ = shutdown.wait_for(|stop| *stop) => {}
            never = executor.claim_forever(&mut jobs) => match never {},
        }
        executor.leases.stop_all(Stop::NodeStopping);
        let ended = timeout(GRACE + SETTLE_AT_STOP_MAX, async {
            while let Some(ended) = jobs.join_next().await {
                note_panic(ended);
            }
        });
        if ended.await.is_err() {
            warn!(jobs = jobs.len(), "jobs not given back: their leases have to run out");
            jobs.shutdown().await;
        }
    };
    tokio::select! {
        never = executor.leases.renew_forever(&executor.client) => match never {},
        () = work => {}
    }
}

/// What every job's task shares.
struct Executor {
    worker: String,
    client: Arc<Client>,
    commands: BTreeMap<String, Handler>,
    settings: ExecutorSettings,
    scratch: PathBuf,
    leases: Arc<Leases>,
}

impl Executor {
    /// One claim at a time, for all the room there is; a task for each job.
    async fn claim_forever(self: &Arc<Self>, jobs: &mut JoinSet<()>) -> Infallible {
        let room = Arc::new(Semaphore::new(self.settings.concurrency as usize));
        let mut trouble = Trouble::while_("claiming jobs");
        loop {
            let mut slots = take_all(&room).await;
            while let Some(ended) = jobs.try_join_next() {
                note_panic(ended);
            }
            let request = self.claim_request(slots.num_permits());
            let wait = Duration::from_millis(request.wait_ms);
            let sent = Instant::now();
            match self.client.claim(request).await {
                Ok(reply) => {
                    trouble.over();
                    if reply.jobs.is_empty() && sent.elapsed() < wait {
                        sleep(CLAIM_PAUSE).await;
                    }
                    for job in reply.jobs {
                        // None if the cluster gave more than was asked for: what has no slot is left to its lease's end.
                        if let Some(slot) = slots.split(1) {
                            jobs.spawn(Arc::clone(self).work_off(job, sent, slot));
                        }
                    }
                }
                Err(error) => {
                    drop(slots);
                    trouble.pause(&error).await;
                }
            }
        }
    }

    fn claim_request(&self, room: usize) -> wire::ClaimRequest {
        let built_in = BUILT_IN_HANDLERS.iter().map(|name| (*name).to_owned());
        wire::ClaimRequest {
            worker: self.worker.clone(),
            queues: Vec::new(),
            handlers: built_in.chain(self.commands.keys().cloned()).collect(),
            max_jobs: u32::try_from(room).unwrap_or(u32::MAX).min(CLAIM_JOBS_MAX),
            lease_ms: self.settings.lease_ms,
            // The lease counts from the sending of the claim, so a long wait would leave nothing of it.
            wait_ms: (CLAIM_WAIT_MAX.as_millis() as u64).min(self.settings.lease_ms / 3),
            session: None,
        }
    }

    /// A job from claim to settlement.
    async fn work_off(self: Arc<Self>, job: wire::ClaimedJob, claim_sent: Instant, slot: OwnedSemaphorePermit) {
        debug!(job = job.id, attempt = job.attempt, handler = job.handler, "starting");
        let mut lease = self.leases.hold(&job, claim_sent);
        let outcome = match lease.stop_order() {
            Some(stop) => Outcome::Stopped(stop),
            None => self.execute(&job, &mut lease).await,
        };
        let until = lease.give_up_renewal();
        settle::settle(&self.client, &job, outcome, until).await;
        drop(slot);
    }

    async fn execute(&self, job: &wire::ClaimedJob, lease: &mut lease::Lease) -> Outcome {
        let output_bytes_max = self.settings.output_bytes_max;
        if let Some(built_in) = BuiltIn::named(&job.handler) {
            return built_in.run(job, shorter(None, job.timeout_ms), output_bytes_max, lease).await;
        }
        match self.commands.get(&job.handler) {
            Some(handler) => {
                let limit = shorter(handler.timeout_ms, job.timeout_ms);
                process::run(&handler.command, &self.scratch, job, limit, output_bytes_max, lease).await
            }
            None => Outcome::retryable(format!("handler {:?} is not known to {}", job.handler, self.worker)),
        }
    }
}

/// Waits until there is room for one, then takes the room for all.
async fn take_all(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let mut slots = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    while let Ok(slot) = Arc::clone(room).try_acquire_owned() {
        slots.merge(slot);
    }
    slots
}

/// The shorter of the handler's limit and the job's, where 0 is none.
fn shorter(handler_ms: Option<u64>, job_ms: u64) -> Option<Duration> {
    let job_ms = (job_ms > 0).then_some(job_ms);
    [handler_ms, job_ms].into_iter().flatten().min().map(Duration::from_millis)
}

/// Ends after the limit; never without one.
async fn expiry(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
    limit.unwrap_or_default()
}

/// A task that panics drops its lease unsettled: the job comes back by itself. The node must not fall for it.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(panic) = ended {
        error!(%panic, "an execution broke down");
    }
}
