//! Commands as bytes, and applied.

use std::{hint::black_box, time::Duration};

use raftdeck_jobs::{Ack, Call, Command, Machine, NewJob, Op, Reply};

use crate::turns::{Work, timed};

const STAMP_MS: u64 = 1_700_000_000_000;

pub(crate) fn submit(jobs: usize) -> Op {
    let job = NewJob { handler: "bench".into(), payload: vec![7; 200].into(), ..NewJob::default() };
    Op::Submit { jobs: vec![job; jobs] }
}

pub(crate) fn claim(jobs: u32) -> Op {
    let (queues, handlers) = (vec!["default".into()], vec!["bench".into()]);
    Op::Claim { worker: "bench".into(), queues, handlers, max_jobs: jobs, lease_ms: 10_000 }
}

/// Of everything that a claim was given.
pub(crate) fn ack(claimed: &Reply) -> Op {
    let Reply::Claimed(jobs) = claimed else { panic!("a claim was answered by {claimed:?}") };
    let acks = jobs.iter().map(|job| Ack { job: job.id, token: job.token, result: Vec::new().into() });
    Op::Ack { acks: acks.collect() }
}

pub(crate) fn apply(machine: &mut Machine, op: Op) -> Reply {
    let replies = machine.apply(machine.applied() + 1, &Command::of(STAMP_MS, op, None));
    replies.into_iter().next().expect("a reply for each call")
}

/// A command of 64 submits that came together: to bytes and back.
pub(crate) struct Bytes(Command);

impl Bytes {
    pub(crate) fn new() -> Bytes {
        let call = Call { op: submit(1), session: None };
        Bytes(Command { stamp_ms: STAMP_MS, calls: vec![call; 64] })
    }
}

impl Work for Bytes {
    fn run(&mut self) -> (u32, Duration) {
        let mut back = None;
        let took = timed(200, || {
            for _ in 0..200 {
                back = Some(Command::decode(&black_box(self.0.encode())));
            }
        });
        assert_eq!(back, Some(Ok(self.0.clone())));
        took
    }
}

/// Submit, claim and ack of one job, beside ten thousand that wait.
pub(crate) struct Apply(Machine);

impl Apply {
    pub(crate) fn new() -> Apply {
        let mut machine = Machine::new();
        for _ in 0..10 {
            apply(&mut machine, submit(1_000));
        }
        Apply(machine)
    }
}

impl Work for Apply {
    fn run(&mut self) -> (u32, Duration) {
        let mut machine = self.0.clone();
        let took = timed(500, || {
            for _ in 0..500 {
                apply(&mut machine, submit(1));
                let claimed = apply(&mut machine, claim(1));
                black_box(apply(&mut machine, ack(&claimed)));
            }
        });
        assert_eq!(machine.live_count(), self.0.live_count(), "as many came as went");
        took
    }
}
