//! w4: how long nobody is answered when the leader dies.
//!
//! Clients submit as in w1. They wait [`PATIENCE`] for an answer and then ask anew, as the client library does it: at another
//! node. The pause is between two answers to whichever client, from the last one before the kill on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    plan::{Case, Plan},
    report::Outcome,
    site::Site,
    submit::{accepted, ended, submit, watch},
    tally::Tally,
    turns::Turns,
};
use crate::{
    cli::{failure::Failure, status::View},
    launch::ready,
};

/// The kill comes after three seconds, of which the last two are the window of rate and latencies.
const WARM_UP: Duration = Duration::from_secs(1);
pub(super) const WINDOW: Duration = Duration::from_secs(2);

/// A client's, for one answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// It is over when answers came for so long ..
const CALM: Duration = Duration::from_secs(4);
/// .. without a pause above this ..
const PAUSE_OF_CALM: Duration = Duration::from_millis(300);
/// .. or after this.
const WATCH_MAX: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(20);

/// One kill, and the node's way back.
pub(super) async fn measure(site: &Site, plan: &Plan, case: &Case) -> Result<Outcome, Failure> {
    let own = site.own().ok_or_else(|| "bench: w4 is for a cluster of its own".to_owned())?;
    let folder = own.folder();
    let job = site.job(plan);
    let clients = site.clients(case.clients)?;
    accepted(&clients[0], &job).await?;
    let start = Instant::now();
    let tally = Arc::new(Tally::with_answers(start + WARM_UP..start + WARM_UP + WINDOW));
    let turns = Turns::start(None);
    let mut load = JoinSet::new();
    for client in clients {
        load.spawn(submit(client, job.clone(), 1, PATIENCE, Arc::clone(&turns), Arc::clone(&tally)));
    }
    let outcome = watch(site, case, &tally).await;
    let view = View::gather(site.target()).await;
    let name = view.name_of(view.leader_id().ok_or_else(|| "bench: no leader to kill".to_owned())?);
    let node = folder.node(&name)?;
    let process = folder.process(node).ok_or_else(|| format!("bench: {name} does not run"))?;
    let killed = Instant::now();
    process.kill();
    calm(&tally, killed).await;
    turns.stop();
    ended(load, &tally).await;
    let counts = tally.counts();
    let gap = longest_pause(counts.answers.as_deref().unwrap_or_default(), killed);
    let gap = gap.ok_or_else(|| format!("bench: no answer within {} s of the kill of {name}", WATCH_MAX.as_secs()))?;
    eprintln!("{}: {name} killed, no answer for {} ms", case.name(), gap.as_millis());
    let started = folder.restart_node(&name)?;
    ready::one(folder, node, started).await?;
    caught_up(site, &name).await?;
    Ok(Outcome { counts, gap_ms: Some(gap.as_secs_f64() * 1000.0), ..outcome })
}

/// Returns when answers come as if nothing had happened, or after [`WATCH_MAX`].
async fn calm(tally: &Tally, killed: Instant) {
    let mut calm_since = killed;
    while killed.elapsed() < WATCH_MAX && calm_since.elapsed() < CALM {
        tokio::time::sleep(LOOK).await;
        if tally.last_answer().is_none_or(|last| last.elapsed() > PAUSE_OF_CALM) {
            calm_since = Instant::now();
        }
    }
}

/// The longest time between two answers, from the last one before the kill on; nothing if none came after it.
fn longest_pause(answers: &[Instant], killed: Instant) -> Option<Duration> {
    let after = answers.partition_point(|answer| *answer <= killed);
    let from = after.saturating_sub(1);
    let pauses = answers[from..].windows(2).map(|pair| pair[1] - pair[0]);
    // None before the kill: what is known of the pause begins with it.
    let first = (after == 0).then(|| answers.first().map(|first| *first - killed)).flatten();
    answers.get(after)?;
    pauses.chain(first).max()
}

/// The next kill finds a cluster that is whole.
async fn caught_up(site: &Site, name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + ready::READY_WITHIN;
    let mut wanted = None;
    while Instant::now() < deadline {
        let view = View::gather(site.target()).await;
        wanted = wanted.or_else(|| view.leader().map(|leader| leader.commit));
        let applied = view.row(name)?.status.as_ref().map(|status| status.applied);
        if wanted.is_some() && applied >= wanted {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::Refused(format!("bench: {name} did not catch up within {} s", ready::READY_WITHIN.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_counted_from_the_last_answer_before_the_kill() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let pause = |answers: &[u64], killed| {
            let answers: Vec<Instant> = answers.iter().map(|ms| at(*ms)).collect();
            longest_pause(&answers, at(killed)).map(|pause| pause.as_millis())
        };
        assert_eq!(pause(&[0, 900, 1000, 1010, 1250, 1251], 1005), Some(240), "900 ms before the kill do not count");
        assert_eq!(pause(&[1000, 1300, 1301], 1200), Some(300), "from the last answer on");
        assert_eq!(pause(&[1000, 1300, 1700], 1200), Some(400), "a later pause that is longer");
        assert_eq!(pause(&[1300, 1310], 1200), Some(100), "no answer before it");
        assert_eq!(pause(&[1000, 1100], 1200), None, "no answer after it");
        assert_eq!(pause(&[], 1200), None);
    }
}
