//! Jobs for a worker, as they come.
//!
//! A worker names how many jobs it takes at a time; a claim for as many as it has room for waits at the leader while there
//! are none, so a job goes out in the moment it is there. The next claim does not wait for the jobs before it to be
//! settled: asking and working overlap.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};

use super::{Client, ClientError};
use crate::wire;

/// Pause after a claim that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// A job, and the room it takes until it is dropped.
#[derive(Debug)]
pub struct Taken {
    /// The job, leased.
    pub job: wire::ClaimedJob,
    _room: OwnedSemaphorePermit,
}

/// Jobs as they come. Ends with its worker: jobs that were claimed and not taken come back when their leases end.
#[derive(Debug)]
pub struct Jobs {
    coming: mpsc::Receiver<Result<Taken, ClientError>>,
}

impl Jobs {
    /// The next job, or why a claim failed; after a failure it is asked again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Taken, ClientError> {
        self.coming.recv().await.expect("who claims lives as long as this")
    }
}

impl Client {
    /// Jobs for a worker that has at most `max_jobs` of the claim at a time, taken and not dropped.
    #[must_use]
    pub fn jobs(self: &Arc<Self>, claim: wire::ClaimRequest) -> Jobs {
        let (found, coming) = mpsc::channel(claim.max_jobs.max(1) as usize);
        tokio::spawn(keep_claiming(Arc::clone(self), claim, found));
        Jobs { coming }
    }
}

async fn keep_claiming(
    client: Arc<Client>,
    claim: wire::ClaimRequest,
    found: mpsc::Sender<Result<Taken, ClientError>>,
) {
    let room = Arc::new(Semaphore::new(claim.max_jobs.max(1) as usize));
    while let Ok(first) = Arc::clone(&room).acquire_owned().await {
        let mut places = vec![first];
        while let Ok(place) = Arc::clone(&room).try_acquire_owned() {
            places.push(place);
        }
        let max_jobs = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let claimed = tokio::select! {
            claimed = client.claim(wire::ClaimRequest { max_jobs, ..claim.clone() }) => claimed,
            () = found.closed() => return,
        };
        match claimed {
            Ok(reply) => {
                for (job, _room) in reply.jobs.into_iter().zip(places) {
                    if found.send(Ok(Taken { job, _room })).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if found.send(Err(error)).await.is_err() {
                    return;
                }
                sleep(PAUSE).await;
            }
        }
    }
}
