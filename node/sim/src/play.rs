//! Runs a scenario and tells what happened, under each command.

use raftdeck_jobs::{NewJob, Op};
use raftdeck_raft::NodeId;
use thiserror::Error;

use crate::{
    cluster::{Cluster, Options},
    network::Traffic,
    scenario::{Command, ParseError, Scenario},
    violation::Violation,
    words,
};

/// Why a scenario did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlayError {
    /// It cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A law was broken on the way.
    #[error("{command}: {violation}")]
    Violation {
        /// At this command.
        command: String,
        /// Which.
        violation: Violation,
    },
    /// It came otherwise than the scenario says.
    #[error("{command}: {found}")]
    Unexpected {
        /// What was expected.
        command: String,
        /// What was found.
        found: String,
    },
}

/// Runs a scenario: the same text with what happened under each command.
///
/// # Errors
/// See [`PlayError`].
pub fn rewrite(text: &str, seed: u64) -> Result<String, PlayError> {
    let mut out = String::new();
    play(text, seed, |line, happened| {
        out += line;
        out.push('\n');
        for line in happened {
            out += &format!("  {line}\n");
        }
    })?;
    Ok(out)
}

/// Runs a scenario; `tell` gets each line of it and what that made happen.
///
/// # Errors
/// See [`PlayError`].
pub fn play(text: &str, seed: u64, mut tell: impl FnMut(&str, &[String])) -> Result<(), PlayError> {
    let scenario = Scenario::parse(text)?;
    let mut cluster: Option<Cluster> = None;
    for (line, command) in &scenario.lines {
        let Some(command) = command else {
            tell(line, &[]);
            continue;
        };
        let happened = run(&mut cluster, seed, command).map_err(|stop| match stop {
            Stop::Violation(violation) => PlayError::Violation { command: line.clone(), violation },
            Stop::Unexpected(found) => PlayError::Unexpected { command: line.clone(), found },
        })?;
        tell(line, &happened);
    }
    Ok(())
}

enum Stop {
    Violation(Violation),
    Unexpected(String),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Violation(violation)
    }
}

fn run(cluster: &mut Option<Cluster>, seed: u64, command: &Command) -> Result<Vec<String>, Stop> {
    if let Command::Cluster { nodes, batch } = command {
        let calm = Options::calm(*nodes, seed);
        let batch_entries_max = batch.unwrap_or(calm.batch_entries_max);
        *cluster = Some(Cluster::new(Options { batch_entries_max, ..calm })?);
        return Ok(Vec::new());
    }
    let cluster = cluster.as_mut().expect("a scenario begins with its cluster");
    known(cluster, command)?;
    let mut told = Vec::new();
    match command {
        Command::Cluster { .. } => {}
        Command::Run(us) => cluster.run_for(*us)?,
        Command::Timeout(node) => cluster.time_out(*node)?,
        Command::Submit(node, count) => {
            for _ in 0..*count {
                let job = NewJob { handler: "echo".into(), ..NewJob::default() };
                cluster.request(*node, Op::Submit { jobs: vec![job] })?;
            }
        }
        Command::Cut { left, right, one_way } => {
            for (from, to) in left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to))) {
                if *one_way { cluster.cut_one_way(from, to, Traffic::All) } else { cluster.cut(from, to) }
            }
        }
        Command::Heal => cluster.heal(),
        Command::Crash(node) => cluster.crash(*node),
        Command::Start(node) => cluster.start(*node)?,
        Command::Hold(node) => cluster.hold_disk(*node),
        Command::Release(node) => cluster.release_disk(*node),
        Command::Status => told.extend(cluster.ids().into_iter().map(|id| words::status(id, cluster.replica(id)))),
        Command::Log => told.extend(cluster.ids().into_iter().map(|id| words::log(id, cluster.replica(id)))),
        Command::ExpectLeader(leader) => {
            let found = cluster.leader();
            if found != *leader {
                return Err(Stop::Unexpected(found.map_or("there is none".into(), |n| format!("it is {n}"))));
            }
        }
        Command::ExpectEqual => expect_equal(cluster)?,
        Command::ExpectJobs(count) => expect_jobs(cluster, *count)?,
    }
    let happened = cluster.take_happenings();
    let lines = happened
        .iter()
        .filter_map(|(at_us, happening)| Some(format!("{:>8.1} {}", *at_us as f64 / 1000.0, words::line(happening)?)));
    told.extend(lines);
    Ok(told)
}

/// A scenario may only name members.
fn known(cluster: &Cluster, command: &Command) -> Result<(), Stop> {
    let ids = cluster.ids();
    let named: Vec<NodeId> = match command {
        Command::Timeout(node)
        | Command::Submit(node, _)
        | Command::Crash(node)
        | Command::Start(node)
        | Command::Hold(node)
        | Command::Release(node)
        | Command::ExpectLeader(Some(node)) => vec![*node],
        Command::Cut { left, right, .. } => left.iter().chain(right).copied().collect(),
        Command::Cluster { .. }
        | Command::Run(_)
        | Command::Heal
        | Command::Status
        | Command::Log
        | Command::ExpectLeader(None)
        | Command::ExpectEqual
        | Command::ExpectJobs(_) => Vec::new(),
    };
    match named.into_iter().find(|node| !ids.contains(node)) {
        None => Ok(()),
        Some(node) => Err(Stop::Unexpected(format!("there is no {node}"))),
    }
}

fn expect_equal(cluster: &Cluster) -> Result<(), Stop> {
    let up: Vec<_> = cluster.ids().into_iter().filter_map(|id| cluster.replica(id)).collect();
    for pair in up.windows(2) {
        let [(a, m), (b, n)] = [pair[0], pair[1]].map(|r| (r.raft(), r.machine()));
        let (a_last, b_last) = (a.log().last().0, b.log().last().0);
        let what = if a.log().range(raftdeck_raft::Index(1), a_last) != b.log().range(raftdeck_raft::Index(1), b_last) {
            "logs"
        } else if a.commit() != b.commit() {
            "commit indexes"
        } else if m.state_hash() != n.state_hash() {
            "states"
        } else {
            continue;
        };
        return Err(Stop::Unexpected(format!("the {what} of {} and {} differ", a.id(), b.id())));
    }
    Ok(())
}

fn expect_jobs(cluster: &Cluster, count: u64) -> Result<(), Stop> {
    for id in cluster.ids() {
        let Some(replica) = cluster.replica(id) else { continue };
        let found = replica.machine().live_count() as u64;
        if found != count {
            return Err(Stop::Unexpected(format!("{id} has {found}")));
        }
    }
    Ok(())
}
