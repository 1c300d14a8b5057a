//! The rules one by one, and the machine as a whole against a reference model.

mod bounds;
mod lease;
mod life;
mod model;
mod random;
mod sessions;
mod steer;
mod tables;
mod validation;

use bytes::Bytes;

use crate::{
    Ack, Backoff, Call, CancelOutcome, CancelRefusal, ClaimedJob, Command, Failure, HistoryKind, Job, JobId, JobState,
    Lease, LeaseRefusal, LeaseToken, Machine, NewJob, Op, PauseOutcome, PauseRefusal, Renewed, Reply, RetryOutcome,
    RetryRefusal, SessionCall, SessionId, SessionRefusal, Settled, SubmitRefusal, Submitted, limits::Bounds,
};

/// A machine and the log that it is fed from, one entry after the other.
struct Desk {
    machine: Machine,
    stamp_ms: u64,
}

impl Desk {
    fn new() -> Self {
        Self { machine: Machine::new(), stamp_ms: 1000 }
    }

    fn with_bounds(change: impl FnOnce(&mut Bounds)) -> Self {
        let mut bounds = Bounds::STANDARD;
        change(&mut bounds);
        Self { machine: Machine::with_bounds(bounds), stamp_ms: 1000 }
    }

    /// The next entry is stamped this much later.
    fn wait(&mut self, ms: u64) -> &mut Self {
        self.stamp_ms += ms;
        self
    }

    fn apply(&mut self, op: Op) -> Reply {
        self.apply_at(op, None)
    }

    fn open_session(&mut self) -> SessionId {
        let Reply::SessionOpened { session } = self.apply(Op::OpenSession) else { panic!("no session") };
        session
    }

    fn call(&mut self, session: SessionId, seq: u64, op: Op) -> Reply {
        self.apply_at(op, Some(SessionCall { session, seq }))
    }

    fn apply_at(&mut self, op: Op, session: Option<SessionCall>) -> Reply {
        let command = Command::of(self.stamp_ms, op, session);
        let mut replies = self.machine.apply(self.machine.applied() + 1, &command);
        assert_eq!(replies.len(), 1);
        replies.remove(0)
    }

    fn try_submit(&mut self, jobs: Vec<NewJob>) -> Result<Vec<Submitted>, SubmitRefusal> {
        let Reply::Submitted(reply) = self.apply(Op::Submit { jobs }) else { panic!("not the reply to a submit") };
        reply
    }

    fn submit(&mut self, job: NewJob) -> Submitted {
        self.try_submit(vec![job]).expect("accepted")[0]
    }

    fn claim_from(&mut self, queues: &[&str], handlers: &[&str], max_jobs: u32) -> Vec<ClaimedJob> {
        let words = |words: &[&str]| words.iter().map(|&word| word.into()).collect();
        let (queues, handlers, worker) = (words(queues), words(handlers), "w1".into());
        let reply = self.apply(Op::Claim { worker, queues, handlers, max_jobs, lease_ms: 30_000 });
        let Reply::Claimed(jobs) = reply else { panic!("not the reply to a claim") };
        jobs
    }

    /// Claims the next job of handler "h".
    fn claim(&mut self) -> Lease {
        let jobs = self.claim_from(&[], &["h"], 1);
        let job = jobs.first().expect("a job to claim");
        Lease { job: job.id, token: job.token }
    }

    /// Submits a job and claims it.
    fn running(&mut self, job: NewJob) -> Lease {
        self.submit(job);
        self.claim()
    }

    fn heartbeat(&mut self, lease: Lease) -> Result<Renewed, LeaseRefusal> {
        let reply = self.apply(Op::Heartbeat { leases: vec![lease], lease_ms: 30_000 });
        let Reply::Heartbeats(replies) = reply else { panic!("not the reply to a heartbeat") };
        replies[0]
    }

    fn ack(&mut self, Lease { job, token }: Lease, result: &'static str) -> Result<Settled, LeaseRefusal> {
        let result = Bytes::from_static(result.as_bytes());
        let reply = self.apply(Op::Ack { acks: vec![Ack { job, token, result }] });
        let Reply::Acked(replies) = reply else { panic!("not the reply to an ack") };
        replies[0]
    }

    fn fail(&mut self, lease: Lease) -> Result<Settled, LeaseRefusal> {
        self.fail_with(lease, None, false)
    }

    fn fail_with(
        &mut self,
        Lease { job, token }: Lease,
        retry_after_ms: Option<u64>,
        non_retryable: bool,
    ) -> Result<Settled, LeaseRefusal> {
        let failure = Failure { job, token, error: "boom".into(), retry_after_ms, non_retryable };
        let Reply::Failed(replies) = self.apply(Op::Fail { failures: vec![failure] }) else {
            panic!("not the reply to a fail")
        };
        replies[0]
    }

    fn cancel(&mut self, job: JobId) -> Result<CancelOutcome, CancelRefusal> {
        let Reply::Cancelled(reply) = self.apply(Op::Cancel { job }) else { panic!("not the reply to a cancel") };
        reply
    }

    fn retry(&mut self, job: JobId) -> Result<RetryOutcome, RetryRefusal> {
        let Reply::Retried(reply) = self.apply(Op::Retry { job }) else { panic!("not the reply to a retry") };
        reply
    }

    /// Whether it was not so before.
    fn pause(&mut self, queue: &str, paused: bool) -> Result<bool, PauseRefusal> {
        let Reply::QueuePaused(reply) = self.apply(Op::PauseQueue { queue: queue.into(), paused }) else {
            panic!("not the reply to a pause")
        };
        reply.map(|PauseOutcome { changed }| changed)
    }

    fn tick(&mut self) -> u32 {
        let Reply::Ticked { moved } = self.apply(Op::Tick) else { panic!("not the reply to a tick") };
        moved
    }

    fn job(&self, id: JobId) -> &Job {
        self.machine.job(id).expect("in memory")
    }

    fn state(&self, id: JobId) -> JobState {
        self.job(id).state
    }

    fn story(&self, id: JobId) -> Vec<&'static str> {
        self.job(id).history.iter().map(|event| event.what.as_str()).collect()
    }

    /// Everything that changed is written, and let go.
    fn write_all(&mut self) {
        let changes = self.machine.take_changes();
        self.machine.remembered(&changes);
    }
}

fn job() -> NewJob {
    NewJob { handler: "h".into(), backoff: Backoff::Fixed { delay_ms: 5000 }, ..NewJob::default() }
}

fn keyed(key: &str) -> NewJob {
    NewJob { idempotency_key: Some(key.into()), ..job() }
}
