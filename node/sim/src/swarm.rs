//! Runs seeds: each draws which faults it has and how often, then lets a cluster live with them.
//!
//! First the faults, while clients submit, claim and settle; a law that is broken after any event ends the run. Then
//! everything is healed, and within a bounded time there must be one leader, one log and one state on all nodes, with
//! every acknowledged job in it: safety alone would be satisfied by a cluster that does nothing.

use std::collections::BTreeMap;

use raftdeck_jobs::{Ack, Failure, JobId, LeaseToken, NewJob, Op, Reply};
use raftdeck_node::replica::Applied;
use raftdeck_raft::NodeId;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    checks::Violation,
    cluster::{Cluster, Happening, Network, Options},
};

/// Healed clusters must come to rest within this time.
const SETTLE_US: u64 = 20_000_000;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct SwarmOptions {
    /// Simulated time with faults, seconds.
    pub seconds: u64,
    /// Nodes; drawn from 1 to 7 if none is given.
    pub nodes: Option<u64>,
}

/// How often what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests of clients that were acknowledged.
    pub acknowledged: u64,
    /// Jobs that were acknowledged.
    pub jobs: u64,
    /// Leaders elected.
    pub leaders: u64,
    /// Simulated microseconds.
    pub simulated_us: u64,
}

/// How a seed ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was done in it.
    pub counts: Counts,
    /// The law that was broken.
    pub violation: Option<Violation>,
}

/// Which faults a seed has, and how often one strikes.
#[derive(Clone, Debug)]
struct Plan {
    kinds: Vec<&'static str>,
    every_us: u64,
    network: Network,
    disk_us: std::ops::RangeInclusive<u64>,
    batch_entries_max: usize,
    round_us: u64,
}

const KINDS: [&str; 7] = ["crash", "crash-all", "cut", "cut-one-way", "isolate-leader", "hold-disk", "crash-leader"];

impl Plan {
    fn draw(rng: &mut StdRng) -> Plan {
        let kinds = KINDS.into_iter().filter(|_| rng.random_bool(0.6)).collect();
        let slow = rng.random_range(300..20_000);
        let network = Network {
            delay_us: 100..=slow,
            loss: if rng.random_bool(0.5) { rng.random_range(0.0..0.2) } else { 0.0 },
            duplicate: if rng.random_bool(0.5) { rng.random_range(0.0..0.2) } else { 0.0 },
        };
        Plan {
            kinds,
            every_us: rng.random_range(100_000..2_000_000),
            network,
            disk_us: 50..=rng.random_range(200..30_000),
            batch_entries_max: [1, 2, 1024][rng.random_range(0..3)],
            round_us: if rng.random_bool(0.5) { rng.random_range(100..5_000) } else { 0 },
        }
    }
}

/// Runs one seed.
#[must_use]
pub fn run_seed(seed: u64, options: SwarmOptions) -> Outcome {
    let mut counts = Counts::default();
    let violation = Run::new(seed, options).and_then(|mut run| {
        let ended = run.live(options.seconds * 1_000_000).and_then(|()| run.settle());
        counts = run.counts;
        counts.simulated_us = run.cluster.now_us();
        counts.jobs = run.cluster.acknowledged().len() as u64;
        ended
    });
    Outcome { seed, counts, violation: violation.err() }
}

struct Run {
    rng: StdRng,
    plan: Plan,
    cluster: Cluster,
    counts: Counts,
    /// Leases that simulated workers hold, or believe to hold.
    leases: Vec<(JobId, LeaseToken)>,
    keys: u64,
}

impl Run {
    fn new(seed: u64, options: SwarmOptions) -> Result<Run, Violation> {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan::draw(&mut rng);
        let nodes = options.nodes.unwrap_or_else(|| rng.random_range(1..=7));
        let cluster = Cluster::new(Options {
            nodes,
            seed: rng.random(),
            network: plan.network.clone(),
            disk_us: plan.disk_us.clone(),
            batch_entries_max: plan.batch_entries_max,
            round_us: plan.round_us,
        })?;
        Ok(Run { rng, plan, cluster, counts: Counts::default(), leases: Vec::new(), keys: 0 })
    }

    /// Faults and clients.
    fn live(&mut self, us: u64) -> Result<(), Violation> {
        let (mut next_fault, mut next_request) = (self.plan.every_us, 0);
        while self.cluster.now_us() < us {
            let until = next_fault.min(next_request).max(self.cluster.now_us() + 1);
            self.cluster.run_for(until - self.cluster.now_us())?;
            self.take_answers();
            if self.cluster.now_us() >= next_request {
                self.ask()?;
                next_request = self.cluster.now_us() + self.rng.random_range(1_000..100_000);
            }
            if self.cluster.now_us() >= next_fault {
                self.strike()?;
                next_fault = self.cluster.now_us() + self.rng.random_range(1..=2 * self.plan.every_us);
            }
        }
        Ok(())
    }

    /// A fault, or the end of some.
    fn strike(&mut self) -> Result<(), Violation> {
        let ids = self.cluster.ids();
        if self.rng.random_bool(0.4) || self.plan.kinds.is_empty() {
            return self.mend();
        }
        let kind = *self.plan.kinds.iter().choose(&mut self.rng).expect("there are kinds");
        *self.counts.faults.entry(kind).or_default() += 1;
        let any = *ids.iter().choose(&mut self.rng).expect("a cluster has nodes");
        match kind {
            "crash" => self.cluster.crash(any),
            "crash-all" => ids.iter().for_each(|id| self.cluster.crash(*id)),
            "crash-leader" => self.cluster.crash(self.cluster.leader().unwrap_or(any)),
            "hold-disk" => self.cluster.hold_disk(any),
            "isolate-leader" => {
                let leader = self.cluster.leader().unwrap_or(any);
                ids.iter().filter(|id| **id != leader).for_each(|id| self.cluster.cut(leader, *id));
            }
            "cut" | "cut-one-way" => {
                let left: Vec<NodeId> = ids.iter().copied().filter(|_| self.rng.random_bool(0.5)).collect();
                for (from, to) in left.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to))) {
                    match (left.contains(&to), kind) {
                        (true, _) => {}
                        (false, "cut") => self.cluster.cut(from, to),
                        (false, _) => self.cluster.cut_one_way(from, to),
                    }
                }
            }
            other => unreachable!("{other} is no kind of fault"),
        }
        Ok(())
    }

    /// Ends some faults: the network's, and those of one node.
    fn mend(&mut self) -> Result<(), Violation> {
        if self.rng.random_bool(0.5) {
            self.cluster.heal();
        }
        for id in self.cluster.ids() {
            if self.rng.random_bool(0.5) {
                self.cluster.release_disk(id);
                self.cluster.start(id)?;
            }
        }
        Ok(())
    }

    /// A client asks some node for something.
    fn ask(&mut self) -> Result<(), Violation> {
        let any = self.cluster.ids().into_iter().choose(&mut self.rng).expect("a cluster has nodes");
        let node = if self.rng.random_bool(0.7) { self.cluster.leader().unwrap_or(any) } else { any };
        let lease = self.leases.iter().copied().choose(&mut self.rng);
        let op = match (self.rng.random_range(0..10), lease) {
            (0..4, _) | (6.., None) => Op::Submit { jobs: self.new_jobs() },
            (4..6, _) => Op::Claim {
                worker: "w".into(),
                queues: Vec::new(),
                handlers: vec!["echo".into()],
                max_jobs: self.rng.random_range(1..4),
                lease_ms: self.rng.random_range(1_000..5_000),
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
            (i32::MIN..0, _) => unreachable!("drawn from 0"),
        };
        self.cluster.request(node, op)?;
        Ok(())
    }

    fn new_jobs(&mut self) -> Vec<NewJob> {
        let count = self.rng.random_range(1..4);
        (0..count)
            .map(|_| {
                // Some keys come twice, as a client's second try would bring them.
                self.keys += u64::from(self.rng.random_bool(0.8));
                let key = self.rng.random_bool(0.5).then(|| format!("key-{}", self.keys));
                let delay_ms = if self.rng.random_bool(0.3) { 500 } else { 0 };
                let payload = if key.is_some() { vec![1] } else { vec![0; self.rng.random_range(0..200)] };
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

    fn take_answers(&mut self) {
        for (_, happening) in self.cluster.take_happenings() {
            match happening {
                Happening::Answered(_, Some(Ok(Applied { reply, .. }))) => {
                    self.counts.acknowledged += 1;
                    if let Reply::Claimed(jobs) = reply {
                        self.leases.extend(jobs.iter().map(|j| (j.id, j.token)));
                    }
                }
                Happening::Observed(_, observed) => {
                    let leads = matches!(
                        observed.what,
                        raftdeck_raft::Observation::Became { role: raftdeck_raft::RoleKind::Leader, .. }
                    );
                    self.counts.leaders += u64::from(leads);
                }
                Happening::Answered(..) | Happening::Jobs(..) => {}
            }
        }
        let surplus = self.leases.len().saturating_sub(50);
        self.leases.drain(..surplus);
    }

    /// Everything healed: the cluster must come to rest, and nothing may be missing.
    fn settle(&mut self) -> Result<(), Violation> {
        self.cluster.heal();
        self.cluster.set_network(Network { loss: 0.0, duplicate: 0.0, ..self.plan.network.clone() });
        for id in self.cluster.ids() {
            self.cluster.release_disk(id);
            self.cluster.start(id)?;
        }
        let healed_at = self.cluster.now_us();
        loop {
            self.cluster.run_for(200_000)?;
            self.take_answers();
            let Err(why) = self.at_rest() else { break };
            let waited_us = self.cluster.now_us() - healed_at;
            if waited_us >= SETTLE_US {
                return Err(Violation::NotSettled { waited_ms: waited_us / 1000, why });
            }
        }
        // A job whose id was given out is there for ever: live, or counted among the finished.
        for id in self.cluster.ids() {
            let machine = self.cluster.replica(id).expect("all were started").machine();
            let kept: u64 = machine
                .queues()
                .map(|(_, q)| {
                    q.scheduled + q.available + q.running + q.retryable + q.completed + q.cancelled + q.discarded
                })
                .sum();
            if let Some(job) = self.cluster.acknowledged().iter().find(|job| job.0 > kept) {
                return Err(Violation::Lost { job: *job, node: id });
            }
        }
        Ok(())
    }

    fn at_rest(&self) -> Result<(), String> {
        let leader = self.cluster.leader().ok_or("there is no leader")?;
        let leads = self.cluster.replica(leader).expect("a leader is up");
        for id in self.cluster.ids() {
            let replica = self.cluster.replica(id).ok_or(format!("{id} is down"))?;
            let same = replica.raft().commit() == leads.raft().log().last().0
                && replica.raft().term() == leads.raft().term()
                && replica.machine().state_hash() == leads.machine().state_hash();
            if !same {
                return Err(format!("{id} is not where its leader {leader} is"));
            }
        }
        Ok(())
    }
}
