//! `sim`: a cluster that is simulated, event for event, from one seed.
//!
//! With a file it plays a scenario and prints it as a transcript; without, it runs many seeds with random faults, on all
//! cores, and says what was done in them. A seed that breaks a law is printed as the one command that runs it again.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use raftdeck_sim::{Outcome, SwarmOptions, run_seed};
use serde::Serialize;

use super::{args::Sim, failure::Failure, out::Out};

#[derive(Serialize)]
struct Report {
    seeds: u64,
    simulated_s: u64,
    wall_s: f64,
    elections: u64,
    acknowledged: u64,
    jobs: u64,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<Violated>,
}

#[derive(Serialize)]
struct Violated {
    seed: u64,
    law: String,
    again: String,
}

/// `raftdeck sim`.
///
/// # Errors
/// A law was broken, or the scenario came otherwise than its file says.
pub fn run(args: &Sim, out: Out) -> Result<(), Failure> {
    match &args.file {
        Some(file) => play(file, args.seed, out),
        None => swarm(args, out),
    }
}

fn play(file: &Path, seed: u64, out: Out) -> Result<(), Failure> {
    let at = |error: &dyn std::fmt::Display| Failure::Refused(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(|e| at(&e))?;
    let told = raftdeck_sim::rewrite(&text, seed).map_err(|e| at(&e))?;
    out.say(&told.lines().collect::<Vec<_>>(), || told.trim_end().to_owned())
}

fn swarm(args: &Sim, out: Out) -> Result<(), Failure> {
    let started = Instant::now();
    let options = SwarmOptions { seconds: args.seconds, nodes: args.nodes.map(u64::from) };
    let (first, last) = (*args.seeds.start(), *args.seeds.end());
    let next = AtomicU64::new(first);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|seed| *seed <= last);
        seeds.map(|seed| run_seed(seed, options)).collect::<Vec<Outcome>>()
    };
    let mut outcomes: Vec<Outcome> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a law kept by an assertion was broken")).collect()
    });
    outcomes.sort_by_key(|outcome| outcome.seed);

    let nodes = args.nodes.map(|n| format!(" --nodes {n}")).unwrap_or_default();
    let mut report = Report {
        seeds: last - first + 1,
        simulated_s: outcomes.iter().map(|o| o.counts.simulated_us).sum::<u64>() / 1_000_000,
        wall_s: started.elapsed().as_secs_f64(),
        elections: outcomes.iter().map(|o| o.counts.leaders).sum(),
        acknowledged: outcomes.iter().map(|o| o.counts.acknowledged).sum(),
        jobs: outcomes.iter().map(|o| o.counts.jobs).sum(),
        faults: BTreeMap::new(),
        violations: Vec::new(),
    };
    for Outcome { seed, counts, violation } in outcomes {
        for (kind, count) in counts.faults {
            *report.faults.entry(kind).or_default() += count;
        }
        report.violations.extend(violation.map(|law| Violated {
            seed,
            law: law.to_string(),
            again: format!("raftdeck sim --seeds {seed}..{seed} --seconds {}{nodes}", args.seconds),
        }));
    }
    out.say(&report, || words(&report))?;
    match &report.violations[..] {
        [] => Ok(()),
        [one, ..] => Err(Failure::Refused(format!("seed {}: {}; again: {}", one.seed, one.law, one.again))),
    }
}

fn words(report: &Report) -> String {
    let faults: Vec<String> = report.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut lines = vec![
        format!(
            "{} seeds, {} s simulated in {:.1} s: {} elections, {} requests acknowledged, {} jobs",
            report.seeds, report.simulated_s, report.wall_s, report.elections, report.acknowledged, report.jobs
        ),
        format!("faults: {}", faults.join(", ")),
    ];
    lines.extend(report.violations.iter().map(|v| format!("seed {}: {}", v.seed, v.law)));
    if report.violations.is_empty() {
        lines.push("no law was broken".into());
    }
    lines.join("\n")
}
