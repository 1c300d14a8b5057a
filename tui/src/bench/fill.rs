//! What is in a cluster before the load comes: jobs that wait, or jobs that are done.
//!
//! They come in bulks as large as a bulk may be, by several clients at once, and it is told how far it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use raftdeck_jobs::limits::{BULK_BYTES_MAX, BULK_JOBS_MAX};
use raftdeck_shared::{
    client::Client,
    wire::{Ack, LeaseRef, NewJob},
};

use super::{
    life::claim,
    plan::{Beside, Plan, WAITING},
    site::Site,
};
use crate::cli::{failure::Failure, target::CALL_WITHIN};

/// Bulks under way at a time.
const CLIENTS: u16 = 4;

const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is not put there yet.
#[derive(Debug)]
struct Rest {
    left: AtomicU64,
    of_a_bulk: u64,
}

impl Rest {
    fn new(jobs: u64, payload_bytes: usize) -> Rest {
        let by_bytes = BULK_BYTES_MAX.checked_div(payload_bytes).unwrap_or(BULK_JOBS_MAX);
        Rest { left: AtomicU64::new(jobs), of_a_bulk: by_bytes.clamp(1, BULK_JOBS_MAX) as u64 }
    }

    /// Jobs of the next bulk; none when all are on their way.
    fn next(&self) -> Option<usize> {
        let take = |left: u64| Some(left.saturating_sub(self.of_a_bulk));
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        let jobs = left.min(self.of_a_bulk);
        (jobs > 0).then(|| usize::try_from(jobs).unwrap_or(BULK_JOBS_MAX))
    }
}

/// Puts it there.
pub(super) async fn fill(site: &Site, plan: &Plan, beside: Beside) -> Result<(), Failure> {
    let (jobs, words) = match beside {
        Beside::Waiting(jobs) => (jobs, "wait"),
        Beside::Finished(jobs) => (jobs, "are done"),
    };
    if jobs == 0 {
        return Ok(());
    }
    let job = match beside {
        Beside::Waiting(_) => NewJob { handler: WAITING.to_owned(), ..site.job(plan) },
        Beside::Finished(_) => site.job(plan),
    };
    let rest = Rest::new(jobs, plan.payload_bytes);
    let filled = AtomicU64::new(0);
    let clients = site.clients(CLIENTS)?;
    let each = clients.iter().map(async |client| -> Result<(), Failure> {
        while let Some(bulk) = rest.next() {
            client.submit_bulk(vec![job.clone(); bulk], CALL_WITHIN).await?;
            if matches!(beside, Beside::Finished(_)) {
                complete(client, &job, bulk).await?;
            }
            filled.fetch_add(bulk as u64, Ordering::Relaxed);
        }
        Ok(())
    });
    let begun = Instant::now();
    let mut filling = std::pin::pin!(try_join_all(each));
    loop {
        let ended = tokio::time::timeout(TELL_EVERY, &mut filling).await;
        eprintln!("beforehand: {} of {jobs} jobs {words}", filled.load(Ordering::Relaxed));
        if let Ok(ended) = ended {
            eprintln!("beforehand: took {:.1} s", begun.elapsed().as_secs_f64());
            return ended.map(drop);
        }
    }
}

/// Claims and completes so many, whoever submitted them.
async fn complete(client: &Arc<Client>, job: &NewJob, jobs: usize) -> Result<(), Failure> {
    let mut left = jobs;
    while left > 0 {
        let claimed = client.claim(claim(job, u32::try_from(left).unwrap_or(u32::MAX), 1_000)).await?.jobs;
        let lease = |id, token| Some(LeaseRef { job: id, token });
        let acks: Vec<Ack> =
            claimed.iter().map(|job| Ack { lease: lease(job.id, job.token), ..Ack::default() }).collect();
        if acks.is_empty() {
            return Err(Failure::Refused(format!("bench: {left} jobs were submitted and could not be claimed")));
        }
        left -= acks.len();
        let settled = client.ack_all(acks, CALL_WITHIN).await?;
        if let Some(refused) = settled.iter().find(|settled| !settled.refused.is_empty()) {
            return Err(Failure::Refused(format!("bench: a job was not completed: {}", refused.refused)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulks_are_as_large_as_they_may_be_and_together_all() {
        let bulks = |jobs, payload_bytes| {
            let rest = Rest::new(jobs, payload_bytes);
            std::iter::from_fn(|| rest.next()).collect::<Vec<_>>()
        };
        assert_eq!(bulks(2_500, 200), [1_000, 1_000, 500]);
        assert_eq!(bulks(2_000, 0), [1_000, 1_000]);
        assert_eq!(bulks(130, 64 << 10), [64, 64, 2], "as many as have room in a bulk's bytes");
        assert_eq!(bulks(0, 200), Vec::<usize>::new());
    }
}
