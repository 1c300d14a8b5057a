//! `bench`: load on a cluster, and how long it takes to answer.
//!
//! Four workloads. A *client* has one request under way at a time; clients share at most 16 connections.
//!
//! | | clients | each | the figure |
//! |---|---|---|---|
//! | w1 | `--clients` | submits a job and awaits the answer | jobs a second, latency of a submit |
//! | w2 | 16 | submits a bulk of `--batch` jobs and awaits the answer | jobs a second, latency of a bulk |
//! | w3 | 64, and 64 workers | submits; the workers claim and complete | jobs completed a second, latency from the start of the submit to the end of the completion |
//! | w4 | 16 | as w1; after 3 s the leader gets a SIGKILL | the longest time without an answer to any client |
//!
//! Every answer that is counted means: on the disks of a majority, fsynced, and applied. There is no setting that relaxes it.
//!
//! How it is measured:
//! - one second of warm-up, then the window (`tally`): the rate counts what is answered in the window, the latencies are
//!   of what was begun in it, also if the answer comes later. A slow end is not cut off;
//! - *closed loop* (the default): the next request waits for the answer. A cluster that stalls is then asked less, so
//!   the latencies say little of what a caller with a schedule would see. *Open loop* (`--rate`): each request is due at a
//!   fixed time, and its latency counts from then, whether a client was free or not (`turns`);
//! - each repetition has a queue of its own; a cluster of its own is made anew for each workload;
//! - of several repetitions the one of the median rate is told whole, and the rates of all; errors and losses are of all.
//!
//! The machine is shared with what is measured, so the load costs little: one thread, one task a client, one payload
//! that all jobs share, and counters that are never contended. What each process used is told beside the figures (`machine`).
//!
//! How the cost grows (`--grow`): the same workloads, with one thing larger from point to point, each point on a cluster of
//! its own (`grow`; what lies in the cluster beforehand is put there by `fill`). What a node needs of memory: `memory`.
//!
//! Law: however it ends, the processes and folders of a cluster of its own go. Jobs that w1 and w2 leave on a running
//! cluster are worked off at the end.

mod fill;
pub mod grow;
mod kill;
mod life;
mod limits;
mod machine;
mod memory;
pub mod plan;
mod report;
mod site;
mod submit;
mod tally;
mod turns;

use self::{
    limits::Limits,
    plan::{Case, Load, Plan},
    report::{Outcome, Report},
    site::Site,
};
use crate::cli::{args, failure::Failure, out::Out, signals::Signals};

/// `raftdeck bench`.
///
/// # Errors
/// The call is not understood, the cluster does not come up or refuses, or something acknowledged was lost.
pub async fn run(place: &args::Place, args: &args::Bench, out: Out) -> Result<(), Failure> {
    if !args.grow.is_empty() {
        let tables = grow::Table::all(place, args)?;
        return Signals::listen("bench")?.or(grow::measure_all(&tables, out)).await;
    }
    let plan = Plan::new(place, args)?;
    let mut signals = Signals::listen("bench")?;
    signals.or(measure_all(&plan, out)).await
}

async fn measure_all(plan: &Plan, out: Out) -> Result<(), Failure> {
    let mut lost = 0;
    for case in &plan.cases {
        let report = measure(plan, case).await?;
        out.say(&report, || report.words())?;
        lost += report.lost.unwrap_or(0) + report.done_twice.unwrap_or(0);
    }
    if lost > 0 {
        return Err(Failure::Refused(format!("bench: {lost} acknowledged jobs were lost or done twice")));
    }
    Ok(())
}

async fn measure(plan: &Plan, case: &Case) -> Result<Report, Failure> {
    let site = Site::prepare(&plan.place).await?;
    fill::fill(&site, plan, plan.beside).await?;
    let limits = if plan.limits { Some(Limits::measure(&site).await?) } else { None };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for _ in 0..case.repeat {
        let outcome = match case.load {
            Load::Submit { batch } => submit::measure(&site, plan, case, batch).await?,
            Load::Life { depth } => life::measure(&site, plan, case, depth).await?,
            Load::Kill => kill::measure(&site, plan, case).await?,
        };
        outcomes.push(outcome);
    }
    Ok(Report::new(plan, case, site.nodes(), limits, outcomes))
}
