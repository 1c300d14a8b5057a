//! `sim`: a cluster that is simulated, event for event, from one seed.
//!
//! With a file it plays a scenario and prints it as a transcript; without, it runs many seeds with random faults, on all
//! cores, and says what was done in them. A seed that breaks a law is shrunk to the faults that it needs, and printed as
//! the one command that runs it again.
//!
//! On a terminal a scenario, or one seed, is shown by the console instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, IsTerminal as _},
    ops::RangeInclusive,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use raftdeck_sim::{Outcome, Scenario, SwarmOptions, run_seed, shrink};
use serde::Serialize;

use super::{args::Sim, failure::Failure, out::Out};
use crate::console::{self, Look, Simulation};

/// Failing seeds that are shrunk: each takes many runs.
const SHRUNK_MAX: usize = 3;

/// So often it is told how far it is.
const PROGRESS_EACH: Duration = Duration::from_secs(5);

/// Runs spent on shrinking one.
const SHRINK_TRIES_MAX: usize = 200;

#[derive(Serialize)]
struct Report {
    seeds: u64,
    simulated_s: u64,
    wall_s: f64,
    events: u64,
    elections: u64,
    acknowledged: u64,
    jobs: u64,
    faults: BTreeMap<&'static str, u64>,
    reached: BTreeMap<&'static str, u64>,
    violations: Vec<Violated>,
}

#[derive(Serialize)]
struct Violated {
    seed: u64,
    law: String,
    /// How many faults struck, and how many of them are needed.
    faults: usize,
    needed: Option<usize>,
    again: String,
}

/// `raftdeck sim`.
///
/// # Errors
/// A law was broken, or the scenario came otherwise than its file says; or the terminal went away.
pub async fn run(args: &Sim, look: Look, out: Out) -> Result<(), Failure> {
    let shows = io::stdout().is_terminal() && io::stdin().is_terminal() && !out.json && !args.trace;
    let simulation = match (&args.file, args.seed) {
        (Some(file), seed) if shows => {
            let seed = seed.unwrap_or(1);
            let scenario = Scenario::parse(&read(file)?).map_err(|e| at(file, &e))?;
            Simulation::of_scenario(scenario, seed, format!("raftdeck sim {} --seed {seed}", file.display()))
        }
        (Some(file), seed) => return play(file, seed.unwrap_or(1), out),
        (None, Some(seed)) if shows => {
            Simulation::of_seed(seed, options(args), again(args, seed, options(args).only.as_ref()))
        }
        (None, seed) => return swarm(args, &seed.map_or_else(|| args.seeds.clone(), |seed| seed..=seed), out),
    };
    console::simulate(simulation, look).await.map_err(|error| Failure::Refused(format!("{error:#}")))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|e| at(file, &e))
}

fn at(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Refused(format!("{}: {error}", file.display()))
}

fn play(file: &Path, seed: u64, out: Out) -> Result<(), Failure> {
    let told = raftdeck_sim::rewrite(&read(file)?, seed).map_err(|e| at(file, &e))?;
    out.say(&told.lines().collect::<Vec<_>>(), || told.trim_end().to_owned())
}

fn options(args: &Sim) -> SwarmOptions {
    let only = args.only.as_ref().map(|only| only.iter().copied().collect::<BTreeSet<u32>>());
    SwarmOptions { seconds: args.seconds, nodes: args.nodes.map(u64::from), only, tells: args.trace }
}

fn swarm(args: &Sim, seeds: &RangeInclusive<u64>, out: Out) -> Result<(), Failure> {
    let started = Instant::now();
    let options = options(args);
    let outcomes = run_seeds(*seeds.start(), *seeds.end(), &options);
    let mut report = Report {
        seeds: seeds.end() - seeds.start() + 1,
        simulated_s: outcomes.iter().map(|o| o.counts.simulated_us).sum::<u64>() / 1_000_000,
        wall_s: started.elapsed().as_secs_f64(),
        events: outcomes.iter().map(|o| o.counts.events).sum(),
        elections: 0,
        acknowledged: outcomes.iter().map(|o| o.counts.acknowledged).sum(),
        jobs: outcomes.iter().map(|o| o.counts.jobs).sum(),
        faults: BTreeMap::new(),
        reached: BTreeMap::new(),
        violations: Vec::new(),
    };
    for outcome in &outcomes {
        outcome.told.iter().for_each(|line| eprintln!("{line}"));
        for (kind, count) in &outcome.counts.faults {
            *report.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &outcome.counts.reached {
            *report.reached.entry(kind).or_default() += count;
        }
        if let Some(law) = &outcome.violation {
            let shrinks = !args.no_shrink && args.only.is_none() && report.violations.len() < SHRUNK_MAX;
            let needed = shrinks.then(|| shrink(outcome, &options, SHRINK_TRIES_MAX));
            report.violations.push(Violated {
                seed: outcome.seed,
                law: law.to_string(),
                faults: outcome.counts.struck.len(),
                needed: needed.as_ref().map(BTreeSet::len),
                again: again(args, outcome.seed, needed.as_ref().or(options.only.as_ref())),
            });
        }
    }
    report.elections = report.reached.get("elected").copied().unwrap_or_default();
    out.say(&report, || words(&report))?;
    match &report.violations[..] {
        [] => Ok(()),
        [one, ..] => Err(Failure::Refused(format!("seed {}: {}; again: {}", one.seed, one.law, one.again))),
    }
}

/// All seeds, on all cores.
fn run_seeds(first: u64, last: u64, options: &SwarmOptions) -> Vec<Outcome> {
    let next = AtomicU64::new(first);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (started, progress) = (Instant::now(), Mutex::new(Progress::of(last - first + 1)));
    let work = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|seed| *seed <= last);
        let run = |seed| {
            let outcome = run_seed(seed, options);
            let mut progress = progress.lock().expect("no holder panics");
            if let Some(line) = progress.one_more(started.elapsed(), outcome.violation.is_some()) {
                eprintln!("{line}");
            }
            outcome
        };
        seeds.map(run).collect::<Vec<Outcome>>()
    };
    let mut outcomes: Vec<Outcome> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a seed's panic is caught")).collect()
    });
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

/// How far many seeds are, told now and then: they take minutes.
#[derive(Debug)]
struct Progress {
    seeds: u64,
    done: u64,
    broken: u64,
    told_at: Duration,
}

impl Progress {
    fn of(seeds: u64) -> Progress {
        Progress { seeds, done: 0, broken: 0, told_at: Duration::ZERO }
    }

    /// A seed has been run, so long after the first began; a line, if one is due.
    fn one_more(&mut self, after: Duration, is_broken: bool) -> Option<String> {
        self.done += 1;
        self.broken += u64::from(is_broken);
        let is_due = after.saturating_sub(self.told_at) >= PROGRESS_EACH && self.done < self.seeds;
        is_due.then(|| {
            self.told_at = after;
            let Progress { seeds, done, broken, .. } = self;
            format!("{done} of {seeds} seeds after {} s; {broken} broke a law", after.as_secs())
        })
    }
}

/// The command that runs a seed again.
fn again(args: &Sim, seed: u64, only: Option<&BTreeSet<u32>>) -> String {
    let nodes = args.nodes.map(|n| format!(" --nodes {n}")).unwrap_or_default();
    let only = only.map(|only| only.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    let only = only.filter(|only| !only.is_empty()).map(|only| format!(" --only {only}")).unwrap_or_default();
    format!("raftdeck sim --seeds {seed}..{seed} --seconds {}{nodes}{only}", args.seconds)
}

fn words(report: &Report) -> String {
    let faults: Vec<String> = report.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let reached: Vec<String> = report.reached.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let mut lines = vec![
        format!(
            "{} seeds, {} s simulated in {:.1} s: {} elections, {} requests acknowledged, {} jobs",
            report.seeds, report.simulated_s, report.wall_s, report.elections, report.acknowledged, report.jobs
        ),
        format!("faults: {}", faults.join(", ")),
        format!("reached: {}", reached.join(", ")),
    ];
    lines.extend(report.violations.iter().map(|v| format!("seed {}: {}", v.seed, v.law)));
    if report.violations.is_empty() {
        lines.push("no law was broken".into());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_every_few_seconds_and_not_at_the_end() {
        let mut progress = Progress::of(5);
        let mut after = |ms, is_broken| progress.one_more(Duration::from_millis(ms), is_broken);
        assert_eq!(after(4_999, false), None);
        assert_eq!(after(5_200, true).as_deref(), Some("2 of 5 seeds after 5 s; 1 broke a law"));
        assert_eq!(after(10_100, false), None);
        assert_eq!(after(10_200, false).as_deref(), Some("4 of 5 seeds after 10 s; 1 broke a law"));
        assert_eq!(after(60_000, false), None, "the report comes");
    }
}
