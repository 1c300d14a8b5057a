//! Clients of a simulated cluster: they submit, claim, settle and read, ask the wrong node now and then, and remember
//! what they were told.

use raftdeck_jobs::{Ack, Failure, JobId, LeaseToken, NewJob, Op, Reply};
use raftdeck_raft::NodeId;
use rand::{RngExt as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    cluster::{Cluster, Steer},
    violation::Violation,
};

/// What the clients know.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    /// Leases that simulated workers hold, or believe to hold.
    leases: Vec<(JobId, LeaseToken)>,
    keys: u64,
}

impl Workload {
    /// A client asks some node for something.
    pub(crate) fn ask(&mut self, cluster: &mut Cluster, rng: &mut StdRng) -> Result<(), Violation> {
        let any = cluster.ids().into_iter().choose(rng).expect("a cluster has nodes");
        let node = if rng.random_bool(0.7) { cluster.leader().unwrap_or(any) } else { any };
        if rng.random_bool(0.2) {
            return cluster.steer(node, Steer::Read).map(drop);
        }
        let op = self.op(rng);
        cluster.request(node, op).map(drop)
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

    /// A client was told this.
    pub(crate) fn told(&mut self, reply: &Reply) {
        if let Reply::Claimed(jobs) = reply {
            self.leases.extend(jobs.iter().map(|j| (j.id, j.token)));
            let surplus = self.leases.len().saturating_sub(50);
            self.leases.drain(..surplus);
        }
    }
}
