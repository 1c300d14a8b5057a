//! Clients of a simulated cluster: they submit, claim, settle and read, ask the wrong node now and then, and remember
//! what they were told.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_jobs::{Ack, Failure, JobId, LeaseToken, Machine, NewJob, Op, Reply, SessionCall, SessionRefusal};
use raftdeck_node::replica::{Applied, Ticket};
use raftdeck_raft::{Index, NodeId};
use rand::{RngExt as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    cluster::{Cluster, Steer},
    violation::Violation,
};

/// Nobody claims jobs for this handler: those that callers make stay to be counted.
const ONLY_CALLED: &str = "only-called";

/// Clients that keep a session and ask until they are answered.
const CALLERS: usize = 3;

/// Part of the answers to them that is lost: only who asks twice can be served twice.
const ANSWERS_LOST: f64 = 0.2;

/// A client with a session, one call at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    /// None until a session is open.
    call: Option<SessionCall>,
}

/// What the clients know.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    /// Leases that simulated workers hold, or believe to hold.
    leases: Vec<(JobId, LeaseToken)>,
    /// Leases that were shown with a request.
    shown: BTreeMap<Ticket, Vec<(JobId, LeaseToken)>>,
    /// All leases that were ever told of.
    claimed: BTreeMap<JobId, BTreeSet<LeaseToken>>,
    /// Words that were accepted: under which lease, and at which index.
    settled: BTreeMap<JobId, Vec<(LeaseToken, Index)>>,
    keys: u64,
    callers: [Caller; CALLERS],
    asked: BTreeMap<Ticket, (usize, Option<SessionCall>)>,
    /// What each call was answered first.
    answers: BTreeMap<(u64, u64), Applied>,
}

impl Workload {
    /// A client asks some node for something.
    pub(crate) fn ask(&mut self, cluster: &mut Cluster, rng: &mut StdRng) -> Result<(), Violation> {
        let any = cluster.ids().into_iter().choose(rng).expect("a cluster has nodes");
        let node = if rng.random_bool(0.7) { cluster.leader().unwrap_or(any) } else { any };
        let leaders = cluster.leaders();
        // Who does not know of a new leader asks the old one: that is where reads are in danger.
        if rng.random_bool(if leaders.len() > 1 { 0.6 } else { 0.2 }) {
            let old = leaders.into_iter().choose(rng).filter(|_| rng.random_bool(0.8));
            return cluster.steer(old.unwrap_or(node), Steer::Read).map(drop);
        }
        if rng.random_bool(0.3) {
            return self.call(cluster, node, rng.random_range(0..CALLERS));
        }
        let op = self.op(rng);
        let shown = match &op {
            Op::Ack { acks } => acks.iter().map(|a| (a.job, a.token)).collect(),
            Op::Fail { failures } => failures.iter().map(|f| (f.job, f.token)).collect(),
            _ => Vec::new(),
        };
        let ticket = match op {
            Op::Claim { .. } if rng.random_bool(0.5) => cluster.wait(node, op, None, rng.random_range(1..200))?,
            op => cluster.request(node, op)?,
        };
        self.shown.insert(ticket, shown);
        Ok(())
    }

    /// A client submits one job to this node.
    pub(crate) fn submit(cluster: &mut Cluster, node: NodeId) -> Result<(), Violation> {
        let job = NewJob { handler: "echo".into(), ..NewJob::default() };
        cluster.request(node, Op::Submit { jobs: vec![job] }).map(drop)
    }

    fn op(&mut self, rng: &mut StdRng) -> Op {
        let lease = self.leases.iter().copied().choose(rng);
        match (rng.random_range(0..10_u8), lease) {
            (0..4, _) | (6.., None) => Op::Submit { jobs: self.new_jobs(rng) },
            (4..6, _) => Op::Claim {
                worker: "w".into(),
                queues: Vec::new(),
                handlers: vec!["echo".into()],
                max_jobs: rng.random_range(1..4),
                lease_ms: rng.random_range(1_000..5_000),
            },
            (6..9, Some((job, token))) => {
                Op::Ack { acks: vec![Ack { job, token, result: token.0.to_string().into() }] }
            }
            (9.., Some((job, token))) => Op::Fail {
                failures: vec![Failure {
                    job,
                    token,
                    error: "as drawn".into(),
                    retry_after_ms: Some(100),
                    non_retryable: false,
                }],
            },
        }
    }

    fn new_jobs(&mut self, rng: &mut StdRng) -> Vec<NewJob> {
        let count = rng.random_range(1..4);
        (0..count)
            .map(|_| {
                // Some keys come twice, as a client's second try would bring them.
                self.keys += u64::from(rng.random_bool(0.8));
                let key = rng.random_bool(0.5).then(|| format!("key-{}", self.keys));
                let delay_ms = if rng.random_bool(0.3) { 500 } else { 0 };
                let payload = if key.is_some() { vec![1] } else { vec![0; rng.random_range(0..200)] };
                let delay_ms = if key.is_some() { 0 } else { delay_ms };
                NewJob {
                    handler: "echo".into(),
                    payload: payload.into(),
                    delay_ms,
                    idempotency_key: key,
                    ..NewJob::default()
                }
            })
            .collect()
    }

    /// A client with a session asks for the first time, or again.
    fn call(&mut self, cluster: &mut Cluster, node: NodeId, caller: usize) -> Result<(), Violation> {
        let call = self.callers[caller].call;
        let op = match call {
            None => Op::OpenSession,
            Some(SessionCall { session, seq }) => {
                let payload = format!("{session}-{seq}").into();
                Op::Submit { jobs: vec![NewJob { handler: ONLY_CALLED.into(), payload, ..NewJob::default() }] }
            }
        };
        let ticket = match op {
            // Some come again while the first still waits.
            Op::Claim { .. } => cluster.wait(node, op, call, call.map_or(0, |call| call.seq * 37 % 150))?,
            op => cluster.call(node, op, call)?,
        };
        self.asked.insert(ticket, (caller, call));
        Ok(())
    }

    /// A client was told this.
    pub(crate) fn told(&mut self, ticket: Ticket, applied: &Applied, rng: &mut StdRng) -> Result<(), Violation> {
        if let Reply::Claimed(jobs) = &applied.reply {
            self.leases.extend(jobs.iter().map(|j| (j.id, j.token)));
            let surplus = self.leases.len().saturating_sub(50);
            self.leases.drain(..surplus);
        }
        self.fenced(ticket, applied)?;
        let Some((caller, call)) = self.asked.remove(&ticket).filter(|_| !rng.random_bool(ANSWERS_LOST)) else {
            return Ok(());
        };
        let known = &mut self.callers[caller].call;
        match (call, &applied.reply) {
            (None, Reply::SessionOpened { session }) if known.is_none() => {
                *known = Some(SessionCall { session: *session, seq: 1 });
            }
            (None, _) => {} // A second session that nobody uses.
            (Some(call), Reply::SessionRefused(SessionRefusal::Expired { .. })) if *known == Some(call) => {
                *known = None;
            }
            (Some(_), Reply::SessionRefused(_)) => {} // It came late.
            (Some(call), _) => {
                if *known == Some(call) {
                    *known = Some(SessionCall { seq: call.seq + 1, ..call });
                }
                let first = self.answers.entry((call.session.0, call.seq)).or_insert_with(|| applied.clone());
                if first != applied {
                    let what = format!("call {} of session {}", call.seq, call.session);
                    return Err(Violation::TwoAnswers { what, one: first.index, other: applied.index });
                }
            }
        }
        Ok(())
    }

    /// Who showed a lease was heard only if no newer one had been given by then, whoever was told of it first.
    fn fenced(&mut self, ticket: Ticket, applied: &Applied) -> Result<(), Violation> {
        let mut touched = BTreeSet::new();
        if let Reply::Claimed(jobs) = &applied.reply {
            for job in jobs {
                self.claimed.entry(job.id).or_default().insert(job.token);
                touched.insert(job.id);
            }
        }
        let shown = self.shown.remove(&ticket).unwrap_or_default();
        if let Reply::Acked(settled) | Reply::Failed(settled) = &applied.reply {
            for ((job, token), _) in shown.into_iter().zip(settled).filter(|(_, s)| s.is_ok_and(|s| !s.repeated)) {
                self.settled.entry(job).or_default().push((token, applied.index));
                touched.insert(job);
            }
        }
        for job in touched {
            let (Some(claimed), Some(settled)) = (self.claimed.get(&job), self.settled.get(&job)) else { continue };
            for (token, index) in settled.iter().copied() {
                let newer = claimed.range(LeaseToken(token.0 + 1)..LeaseToken(index.0)).next();
                if let Some(newer) = newer.copied() {
                    return Err(Violation::StaleLease { job, token, newer, index });
                }
            }
        }
        Ok(())
    }

    /// Each call has made one job at most.
    pub(crate) fn done_once(node: NodeId, machine: &Machine) -> Result<(), Violation> {
        let mut made = BTreeMap::new();
        for job in machine.live().filter(|job| job.handler == ONLY_CALLED) {
            *made.entry(job.payload.clone()).or_insert(0) += 1;
        }
        match made.into_iter().find(|(_, times)| *times > 1) {
            None => Ok(()),
            Some((what, times)) => {
                let what = format!("call {}", String::from_utf8_lossy(&what));
                Err(Violation::DoneTwice { what, times, node })
            }
        }
    }
}
