//! Runs a scenario and tells what happened, under each command.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use raftdeck_jobs::{Ack, JobId, LeaseToken, NewJob, Op, Reply, SessionCall, SessionId};
use raftdeck_node::{replica::Ticket, steering::Change};
use raftdeck_raft::NodeId;
use thiserror::Error;

use crate::{
    cluster::{Cluster, Happening, Options, Steer, watch::Sink},
    cue::Cue,
    expect::{self, Answer},
    scenario::{Act, Clockwork, Command, Expect, ParseError, Request, Scenario, Sky, View},
    vfs::{Drive, Operation},
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
pub fn play(text: &str, seed: u64, tell: impl FnMut(&str, &[String])) -> Result<(), PlayError> {
    perform(&Scenario::parse(text)?, seed, None, tell)
}

/// As [`play`], while somebody may look on.
pub(crate) fn perform(
    scenario: &Scenario,
    seed: u64,
    sink: Option<&Sink>,
    mut tell: impl FnMut(&str, &[String]),
) -> Result<(), PlayError> {
    let mut stage: Option<Stage> = None;
    for (at, (line, command)) in scenario.lines.iter().enumerate() {
        let Some(command) = command else {
            if let Some(stage) = &mut stage {
                stage.cluster.announce(Cue::Comment, || line.clone());
            }
            tell(line, &[]);
            continue;
        };
        if let (Some(stage), Some(cue)) = (&mut stage, cue(command)) {
            stage.cluster.announce(cue, || line.clone());
        }
        let stopped = |stop| match stop {
            Stop::Violation(violation) => PlayError::Violation { command: line.clone(), violation },
            Stop::Unexpected(found) => PlayError::Unexpected { command: line.clone(), found },
        };
        let happened = match (command, &mut stage) {
            (Command::Cluster { nodes, batch }, _) => {
                let stage = stage.insert(Stage::new(*nodes, *batch, seed).map_err(|v| stopped(v.into()))?);
                if let Some(sink) = sink {
                    let about = scenario.lines[..=at].iter().map(|(line, _)| line.clone());
                    stage.cluster.watch(Arc::clone(sink), true, about);
                }
                Vec::new()
            }
            (_, Some(stage)) => stage.run(command).map_err(stopped)?,
            (_, None) => unreachable!("a scenario begins with its cluster"),
        };
        if let (Some(stage), Command::Expect(_)) = (&mut stage, command) {
            stage.cluster.announce(Cue::Proof, || format!("{line}: so it is"));
        }
        tell(line, &happened);
    }
    if let Some(stage) = &mut stage {
        stage.cluster.look();
    }
    Ok(())
}

/// What a command does to the cluster; none for an expectation, of which it is not known before.
fn cue(command: &Command) -> Option<Cue> {
    match command {
        Command::Cluster { .. } | Command::Show(_) | Command::Expect(_) => None,
        Command::Run(_) | Command::Ask(..) => Some(Cue::Life),
        Command::Cut { .. } | Command::Clog(..) | Command::Weather(_) | Command::Clock(..) => Some(Cue::Break),
        Command::Age(..) => Some(Cue::Kill),
        Command::Heal | Command::Unclog(..) => Some(Cue::Mend),
        Command::Do(act, _) => Some(match act {
            Act::Crash | Act::Tear | Act::Wipe | Act::Lose => Cue::Kill,
            Act::Reset | Act::Pause | Act::Hold | Act::Fail => Cue::Break,
            Act::Resume | Act::Release => Cue::Mend,
            Act::Start | Act::Join => Cue::Start,
            Act::Timeout => Cue::Life,
        }),
    }
}

/// Why a command stops the scenario.
#[derive(Debug)]
pub(crate) enum Stop {
    Violation(Violation),
    Unexpected(String),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Violation(violation)
    }
}

fn unexpected<T>(found: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Unexpected(found.into()))
}

/// A client's session, from the moment on that it is asked for.
#[derive(Debug)]
struct Session {
    opened_by: Ticket,
    id: Option<SessionId>,
    calls: u64,
}

/// A worker and what it took last.
#[derive(Debug)]
struct Worker {
    claimed_by: Ticket,
    lease: Option<(JobId, LeaseToken)>,
}

/// A cluster and those who ask it for something.
#[derive(Debug)]
struct Stage {
    cluster: Cluster,
    sessions: BTreeMap<String, Session>,
    workers: BTreeMap<String, Worker>,
    answers: BTreeMap<Ticket, Answer>,
    /// Speed in percent and milliseconds ahead, of clocks that were set.
    clocks: BTreeMap<NodeId, (u64, i64)>,
}

impl Stage {
    fn new(nodes: u64, batch: Option<usize>, seed: u64) -> Result<Stage, Violation> {
        let calm = Options::calm(nodes, seed);
        let batch_entries_max = batch.unwrap_or(calm.batch_entries_max);
        Ok(Stage {
            cluster: Cluster::new(Options { batch_entries_max, ..calm })?,
            sessions: BTreeMap::new(),
            workers: BTreeMap::new(),
            answers: BTreeMap::new(),
            clocks: BTreeMap::new(),
        })
    }

    /// What a command shows, and what it made happen.
    fn run(&mut self, command: &Command) -> Result<Vec<String>, Stop> {
        let ids = self.cluster.ids();
        if let Some(stranger) = named(command).into_iter().find(|node| !ids.contains(node)) {
            return unexpected(format!("there is no {stranger}"));
        }
        let mut told = Vec::new();
        match command {
            Command::Cluster { .. } => {}
            Command::Run(us) => self.cluster.run_for(*us)?,
            Command::Ask(node, request) => self.ask(*node, request)?,
            Command::Cut { left, right, one_way, traffic } => {
                for (from, to) in left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to))) {
                    self.cluster.cut_one_way(from, to, *traffic);
                    if !one_way {
                        self.cluster.cut_one_way(to, from, *traffic);
                    }
                }
            }
            Command::Heal => self.cluster.heal(),
            Command::Clog(from, to, traffic) => self.cluster.clog(*from, *to, *traffic),
            Command::Unclog(from, to, arrival) => {
                let waited = self.cluster.unclog(*from, *to, *arrival);
                told.extend(waited.iter().map(|e| format!("{from} -> {to} {}", words::message(e))));
            }
            Command::Weather(sky) => self.weather(*sky),
            Command::Do(act, node) => self.act(*act, *node)?,
            Command::Clock(node, clockwork) => {
                let (rate, ahead_ms) = self.clocks.entry(*node).or_insert((100, 0));
                match clockwork {
                    Clockwork::Ahead(ms) => *ahead_ms = *ms,
                    Clockwork::Rate(percent) => *rate = *percent,
                }
                // Twice the speed is half the tick.
                self.cluster.set_clock(*node, 10_000 / *rate, *ahead_ms);
            }
            Command::Age(node, index) => {
                self.damaged(*node);
                if !self.cluster.age(*node, *index) {
                    return unexpected(format!("{node} has replaced no entry {index}"));
                }
            }
            Command::Show(view) => told.extend(self.show(*view)),
            Command::Expect(expect) => expect::check(&self.cluster, &self.answers, expect)?,
        }
        told.extend(self.hear());
        Ok(told)
    }

    fn ask(&mut self, node: NodeId, request: &Request) -> Result<(), Stop> {
        let change = match request {
            Request::Submit(count) => {
                for _ in 0..*count {
                    self.cluster.request(node, submit(Bytes::new()))?;
                }
                return Ok(());
            }
            Request::Session(who) => {
                let opened_by = self.cluster.request(node, Op::OpenSession)?;
                self.sessions.insert(who.clone(), Session { opened_by, id: None, calls: 0 });
                return Ok(());
            }
            Request::Call(who) => return self.call(node, who, None),
            Request::Again(who, seq) => {
                let last = self.sessions.get(who).map_or(0, |s| s.calls);
                return self.call(node, who, Some(seq.unwrap_or(last)));
            }
            Request::Claim(who, lease_ms) => {
                let (worker, handlers) = (who.as_str().into(), vec!["echo".into()]);
                let claim = Op::Claim { worker, queues: vec![], handlers, max_jobs: 1, lease_ms: *lease_ms };
                let claimed_by = self.cluster.request(node, claim)?;
                self.workers.insert(who.clone(), Worker { claimed_by, lease: None });
                return Ok(());
            }
            Request::Ack(who) => {
                let Some((job, token)) = self.workers.get(who).and_then(|w| w.lease) else {
                    return unexpected(format!("{who} has no job"));
                };
                let ack = Ack { job, token, result: Bytes::new() };
                self.cluster.request(node, Op::Ack { acks: vec![ack] })?;
                return Ok(());
            }
            Request::Read => Steer::Read,
            Request::Transfer(target) => Steer::Transfer(*target),
            Request::Add { node: new, learner } => {
                if self.cluster.replica(*new).is_none() {
                    self.cluster.join(*new)?;
                }
                Steer::Change(Change::Add { node: *new, address: Bytes::new(), promote: !learner })
            }
            Request::Remove(old) => Steer::Change(Change::Remove { node: *old }),
            Request::Voters(voters) => Steer::Change(Change::Voters(voters.clone())),
            Request::Compact => Steer::Compact,
        };
        self.cluster.steer(node, change)?;
        Ok(())
    }

    /// A session's next call, or an earlier one again. It submits a job that is named after the call.
    fn call(&mut self, node: NodeId, who: &str, again: Option<u64>) -> Result<(), Stop> {
        let Some((session, id)) = self.sessions.get_mut(who).and_then(|s| s.id.map(|id| (s, id))) else {
            return unexpected(format!("{who} has no session"));
        };
        let seq = again.unwrap_or(session.calls + 1);
        if seq == 0 || seq > session.calls + 1 {
            return unexpected(format!("{who} has made {} calls", session.calls));
        }
        session.calls = session.calls.max(seq);
        self.cluster.call(node, submit(format!("{who}{seq}").into()), Some(SessionCall { session: id, seq }))?;
        Ok(())
    }

    fn act(&mut self, act: Act, node: NodeId) -> Result<(), Stop> {
        match act {
            Act::Timeout => self.cluster.time_out(node)?,
            Act::Crash => self.cluster.crash(node),
            Act::Reset => self.cluster.reset(node),
            Act::Start => self.cluster.start(node)?,
            Act::Pause => self.cluster.pause(node),
            Act::Resume => self.cluster.resume(node)?,
            Act::Hold => self.cluster.hold_disk(node),
            Act::Release => self.cluster.release_disk(node),
            Act::Join => self.cluster.join(node)?,
            Act::Fail => self.drive(node).fail_nth(Operation::Sync, 1),
            Act::Tear => self.damaged(node).shorten("log.db-wal", 0),
            Act::Wipe => self.damaged(node).wipe(),
            Act::Lose => self.damaged(node).lose(),
        }
        Ok(())
    }

    fn drive(&self, node: NodeId) -> &Drive {
        self.cluster.drive(node).expect("a command names nodes that there are")
    }

    /// The drive of a node that is down by now and will find it damaged.
    fn damaged(&mut self, node: NodeId) -> &Drive {
        self.cluster.crash(node);
        self.cluster.note_hurt(node, false);
        self.drive(node)
    }

    fn weather(&mut self, sky: Sky) {
        let mut weather = self.cluster.weather().clone();
        match sky {
            Sky::Loss(percent) => weather.loss = f64::from(percent) / 100.0,
            Sky::Duplicate(percent) => weather.duplicate = f64::from(percent) / 100.0,
            Sky::Replay(percent) => weather.replay = f64::from(percent) / 100.0,
            Sky::Delay(least, most) => weather.delay_us = least..=most,
        }
        self.cluster.set_weather(weather);
    }

    fn show(&self, view: View) -> Vec<String> {
        let ids = self.cluster.ids().into_iter();
        let each = |line: fn(NodeId, Option<&raftdeck_node::replica::Replica>) -> String| -> Vec<String> {
            ids.map(|id| line(id, self.cluster.replica(id))).collect()
        };
        match view {
            View::Status => each(words::status),
            View::Log => each(words::log),
            View::Members => each(words::members),
            View::Followers(node) => words::followers(node, self.cluster.replica(node)),
        }
    }

    /// What happened since, as lines; whoever waited for an answer keeps it.
    fn hear(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (at_us, happening) in self.cluster.take_happenings() {
            lines.extend(words::line(&happening).map(|line| format!("{:>8.1} {line}", at_us as f64 / 1000.0)));
            match happening {
                Happening::Answered(ticket, answer) => {
                    if let Some(Ok(applied)) = &answer {
                        self.keep(ticket, &applied.reply);
                    }
                    self.answers.insert(ticket, Answer::Command(answer));
                }
                Happening::Steered(ticket, answer) => {
                    self.answers.insert(ticket, Answer::Steered(answer));
                }
                Happening::Observed(..) | Happening::Jobs(..) | Happening::DiskFailed(..) => {}
            }
        }
        lines
    }

    /// What a session or a worker goes on with.
    fn keep(&mut self, ticket: Ticket, reply: &Reply) {
        match reply {
            Reply::SessionOpened { session } => {
                let opened = self.sessions.values_mut().filter(|s| s.opened_by == ticket);
                opened.for_each(|s| s.id = Some(*session));
            }
            Reply::Claimed(jobs) => {
                let claimed = self.workers.values_mut().filter(|w| w.claimed_by == ticket);
                claimed.for_each(|w| w.lease = jobs.first().map(|job| (job.id, job.token)));
            }
            Reply::Submitted(_)
            | Reply::Heartbeats(_)
            | Reply::Acked(_)
            | Reply::Failed(_)
            | Reply::Cancelled(_)
            | Reply::Retried(_)
            | Reply::QueuePaused(_)
            | Reply::Ticked { .. }
            | Reply::Repeated { .. }
            | Reply::SessionRefused(_) => {}
        }
    }
}

fn submit(payload: Bytes) -> Op {
    Op::Submit { jobs: vec![NewJob { handler: "echo".into(), payload, ..NewJob::default() }] }
}

/// The nodes that a command names and that must be there.
fn named(command: &Command) -> Vec<NodeId> {
    match command {
        Command::Ask(node, Request::Transfer(other)) => vec![*node, *other],
        Command::Do(Act::Join, _) => Vec::new(),
        Command::Ask(node, _)
        | Command::Do(_, node)
        | Command::Clock(node, _)
        | Command::Age(node, _)
        | Command::Show(View::Followers(node))
        | Command::Expect(
            Expect::Leader(node)
            | Expect::Term(node, _)
            | Expect::Place(_, node, _)
            | Expect::Members(node, _)
            | Expect::Learners(node, _)
            | Expect::Joint(node),
        ) => vec![*node],
        Command::Clog(from, to, _) | Command::Unclog(from, to, _) => vec![*from, *to],
        Command::Cut { left, right, .. } => left.iter().chain(right).copied().collect(),
        Command::Expect(Expect::Equal(nodes)) => nodes.clone(),
        Command::Cluster { .. }
        | Command::Run(_)
        | Command::Heal
        | Command::Weather(_)
        | Command::Show(View::Status | View::Log | View::Members)
        | Command::Expect(
            Expect::ALeader | Expect::NoLeader | Expect::Jobs(_) | Expect::Client(..) | Expect::SameAnswer(..),
        ) => Vec::new(),
    }
}
