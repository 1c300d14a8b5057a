//! w1 and w2: clients that submit, one request under way each.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use raftdeck_shared::{
    client::{Client, ClientError},
    wire::NewJob,
};
use tokio::task::JoinSet;

use super::{
    life,
    plan::{Case, Plan},
    report::Outcome,
    site::Site,
    tally::Tally,
    turns::Turns,
};
use crate::cli::{failure::Failure, target::CALL_WITHIN};

/// Before the window: connections, sessions and caches are made.
const WARM_UP: Duration = Duration::from_secs(1);

/// A client whose call failed does not hurry to the next failure.
const PAUSE: Duration = Duration::from_millis(20);

/// One repetition.
pub(super) async fn measure(site: &Site, plan: &Plan, case: &Case, batch: u16) -> Result<Outcome, Failure> {
    let job = site.job(plan);
    let clients = site.clients(case.clients)?;
    accepted(&clients[0], &job).await?;
    let tally = Arc::new(Tally::new(window(plan)));
    let turns = Turns::start(plan.rate);
    let mut load = JoinSet::new();
    for client in clients.iter().cloned() {
        load.spawn(submit(client, job.clone(), batch, CALL_WITHIN, Arc::clone(&turns), Arc::clone(&tally)));
    }
    let outcome = watch(site, case, &tally).await;
    turns.stop();
    ended(load, &tally).await;
    let unsent = tally.unsent(turns.left_at(tally.window().end));
    if site.own().is_none() {
        life::work_off(&clients, &job).await?;
    }
    Ok(Outcome { counts: tally.counts(), unsent: plan.rate.map(|_| unsent), ..outcome })
}

/// From a second after now on.
pub(super) fn window(plan: &Plan) -> Range<Instant> {
    let start = Instant::now() + WARM_UP;
    start..start + plan.window
}

/// Submits one job, so that what every client would be refused is told once, in the words of the node.
pub(super) async fn accepted(client: &Client, job: &NewJob) -> Result<(), Failure> {
    client.submit(job.clone(), CALL_WITHIN).await?;
    Ok(())
}

/// Submits as long as there are turns.
pub(super) async fn submit(
    client: Arc<Client>,
    job: NewJob,
    batch: u16,
    within: Duration,
    turns: Arc<Turns>,
    tally: Arc<Tally>,
) {
    while let Some(begun) = turns.next().await {
        match submit_one(&client, &job, batch, within).await {
            Ok(()) => tally.answered(begun, batch.into()),
            Err(error) => {
                tally.failed(error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn submit_one(client: &Client, job: &NewJob, batch: u16, within: Duration) -> Result<(), ClientError> {
    if batch == 1 {
        client.submit(job.clone(), within).await.map(drop)
    } else {
        client.submit_bulk(vec![job.clone(); batch.into()], within).await.map(drop)
    }
}

/// Lets the window pass and tells how it goes each second.
pub(super) async fn watch(site: &Site, case: &Case, tally: &Tally) -> Outcome {
    let Range { start, end } = tally.window().clone();
    tokio::time::sleep_until(start.into()).await;
    let before = site.usage();
    let (mut told, _) = tally.so_far();
    let (mut from, mut second) = (start, 0);
    while from < end {
        let until = (from + Duration::from_secs(1)).min(end);
        tokio::time::sleep_until(until.into()).await;
        let (answered, errors) = tally.so_far();
        let rate = (answered - told) as f64 / (until - from).as_secs_f64();
        second += 1;
        let name = case.name();
        eprintln!("{name}, second {second} of {}: {rate:.0}/s, errors {errors}", (end - start).as_secs());
        (told, from) = (answered, until);
    }
    let after = site.usage();
    Outcome::new(tally.counts(), after.cores_since(&before), after.rss_bytes())
}

/// Waits for what is under way. A call ends by its deadline, so nobody is waited for in vain.
pub(super) async fn ended(mut load: JoinSet<()>, tally: &Tally) {
    while let Some(ended) = load.join_next().await {
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tally.failed(error.to_string());
        }
    }
}
