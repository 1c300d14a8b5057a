//! The reference model: the rules again, as dumb as possible. Jobs, keys and calls are flat lists that are scanned from end to
//! end; there is no index, no counter, no digest, and nothing is ever let go.

use super::*;
use crate::{Name, Standing, codec, retry, sessions::Kept};

pub(super) struct Model {
    bounds: Bounds,
    now_ms: u64,
    finished: u64,
    pub(super) jobs: Vec<Row>,
    keys: Vec<Key>,
    sessions: Vec<Session>,
    pub(super) paused: Vec<Name>,
}

struct Session {
    id: SessionId,
    active_ms: u64,
    forgotten: bool,
    /// Every call that was ever done.
    calls: Vec<Call>,
}

struct Call {
    seq: u64,
    op: Op,
    index: u64,
    reply: Reply,
}

pub(super) struct Row {
    pub(super) id: JobId,
    pub(super) new: NewJob,
    pub(super) state: JobState,
    pub(super) attempt: u32,
    pub(super) run_at_ms: u64,
    pub(super) lease: Option<RowLease>,
    pub(super) cancel_requested: bool,
    pub(super) finish_seq: Option<u64>,
    settled: Option<(LeaseToken, Word, JobState)>,
}

pub(super) struct RowLease {
    pub(super) token: LeaseToken,
    pub(super) deadline_ms: u64,
    pub(super) timeout_at_ms: Option<u64>,
}

struct Key {
    key: String,
    request: NewJob,
    answer: Submitted,
    at_ms: u64,
}

/// What a worker said of an attempt.
#[derive(Clone, PartialEq)]
enum Word {
    Ack(Bytes),
    Fail(String, Option<u64>, bool),
}

impl Row {
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.state {
            JobState::Scheduled | JobState::Retryable => Some(self.run_at_ms),
            JobState::Running => {
                let lease = self.lease.as_ref()?;
                Some(lease.deadline_ms.min(lease.timeout_at_ms.unwrap_or(u64::MAX)))
            }
            JobState::Available | JobState::Completed | JobState::Cancelled | JobState::Discarded => None,
        }
    }

    pub(super) fn fits(&self, queues: &[Name], handlers: &[Name], paused: &[Name]) -> bool {
        self.state == JobState::Available
            && !paused.contains(&self.new.queue)
            && handlers.contains(&self.new.handler)
            && (queues.is_empty() || queues.contains(&self.new.queue))
    }
}

impl Model {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (jobs, keys, sessions, paused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { bounds, now_ms: 0, finished: 0, jobs, keys, sessions, paused }
    }

    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Vec<Reply> {
        self.now_ms = self.now_ms.max(command.stamp_ms);
        let mut replies = Vec::new();
        for call in &command.calls {
            replies.push(match call.session {
                None => self.execute(index, &call.op),
                Some(session) => self.call(index, session, &call.op),
            });
        }
        replies
    }

    pub(super) fn is_new(&self, call: SessionCall) -> bool {
        let known = self.sessions.iter().find(|session| session.id == call.session && !session.forgotten);
        known.is_some_and(|session| session.calls.iter().all(|done| done.seq < call.seq))
    }

    fn call(&mut self, index: u64, SessionCall { session, seq }: SessionCall, op: &Op) -> Reply {
        self.forget_sessions();
        let Some(place) = self.sessions.iter().position(|known| known.id == session && !known.forgotten) else {
            return Reply::SessionRefused(SessionRefusal::Expired { session });
        };
        let calls = &self.sessions[place].calls;
        let last = calls.iter().map(|done| done.seq).max().unwrap_or(0);
        if last > seq {
            return Reply::SessionRefused(SessionRefusal::Overtaken { session, seq, last });
        }
        let reply = match calls.iter().find(|done| done.seq == seq) {
            Some(done) if done.op != *op => return Reply::SessionRefused(SessionRefusal::Reused { session, seq }),
            Some(done) => {
                let (index, mut reply) = (done.index, done.reply.clone());
                if let Reply::Claimed(jobs) = &mut reply {
                    *jobs = std::mem::take(jobs).into_iter().filter_map(|job| self.still(job)).collect();
                }
                Reply::Repeated { index, reply: Box::new(reply) }
            }
            None => {
                let reply = self.execute(index, op);
                if reply != Reply::Claimed(vec![]) {
                    self.sessions[place].calls.push(Call { seq, op: op.clone(), index, reply: reply.clone() });
                }
                reply
            }
        };
        self.sessions[place].active_ms = self.now_ms;
        self.forget_sessions();
        reply
    }

    /// A claimed job as its worker would get it now, if the lease still holds.
    fn still(&mut self, job: ClaimedJob) -> Option<ClaimedJob> {
        let lease = self.row(job.id)?.lease.as_ref().filter(|lease| lease.token == job.token)?;
        Some(ClaimedJob { deadline_ms: lease.deadline_ms, ..job })
    }

    fn forget_sessions(&mut self) {
        let (now_ms, bounds) = (self.now_ms, self.bounds);
        for session in &mut self.sessions {
            session.forgotten |= session.active_ms + bounds.session_ttl_ms <= now_ms;
        }
        loop {
            let known = || self.sessions.iter().filter(|session| !session.forgotten);
            let last = known().filter_map(|session| session.calls.iter().max_by_key(|done| done.seq));
            let bytes: usize = last.map(|done| codec::encode(&Kept::of(&done.reply), 0).len() - 1).sum();
            if known().count() <= bounds.sessions_max && bytes <= bounds.session_bytes_max {
                return;
            }
            let known = self.sessions.iter_mut().filter(|session| !session.forgotten);
            known.min_by_key(|session| (session.active_ms, session.id)).unwrap().forgotten = true;
        }
    }

    fn execute(&mut self, index: u64, op: &Op) -> Reply {
        match op {
            Op::Submit { jobs } => Reply::Submitted(self.submit(index, jobs)),
            Op::Claim { worker: _, queues, handlers, max_jobs, lease_ms } => {
                Reply::Claimed(self.claim(index, queues, handlers, *max_jobs, *lease_ms))
            }
            Op::Heartbeat { leases, lease_ms } => {
                Reply::Heartbeats(leases.iter().map(|&lease| self.heartbeat(lease, *lease_ms)).collect())
            }
            Op::Ack { acks } => Reply::Acked(
                acks.iter().map(|ack| self.settle(ack.job, ack.token, Word::Ack(ack.result.clone()))).collect(),
            ),
            Op::Fail { failures } => Reply::Failed(
                failures
                    .iter()
                    .map(|failure| {
                        let word = Word::Fail(failure.error.clone(), failure.retry_after_ms, failure.non_retryable);
                        self.settle(failure.job, failure.token, word)
                    })
                    .collect(),
            ),
            Op::Cancel { job } => Reply::Cancelled(self.cancel(*job)),
            Op::Tick => Reply::Ticked { moved: self.tick() },
            Op::OpenSession => {
                let session = SessionId(index);
                let opened = Session { id: session, active_ms: self.now_ms, forgotten: false, calls: Vec::new() };
                self.sessions.push(opened);
                self.forget_sessions();
                Reply::SessionOpened { session }
            }
            Op::Retry { job } => Reply::Retried(self.retry(*job)),
            Op::PauseQueue { queue, paused } => Reply::QueuePaused(self.pause(queue, *paused)),
        }
    }

    fn retry(&mut self, job: JobId) -> Result<RetryOutcome, RetryRefusal> {
        let (now_ms, forgotten) = (self.now_ms, self.forgotten(job));
        let Some(row) = self.row(job) else { return Err(RetryRefusal::UnknownJob { job }) };
        match row.state {
            JobState::Available => Ok(RetryOutcome::AlreadyAvailable),
            JobState::Running => Err(RetryRefusal::Running { job, token: row.lease.as_ref().unwrap().token }),
            JobState::Scheduled | JobState::Retryable => {
                row.state = JobState::Available;
                row.run_at_ms = row.run_at_ms.min(now_ms);
                Ok(RetryOutcome::Available)
            }
            state @ (JobState::Completed | JobState::Cancelled | JobState::Discarded) => {
                Err(RetryRefusal::Finished { job, state: Some(state).filter(|_| !forgotten) })
            }
        }
    }

    fn pause(&mut self, queue: &Name, paused: bool) -> Result<PauseOutcome, PauseRefusal> {
        let was_paused = self.paused.contains(queue);
        if paused && !was_paused && self.paused.len() == self.bounds.paused_max {
            return Err(PauseRefusal::TooMany { limit: self.paused.len() as u64 });
        }
        self.paused.retain(|other| other != queue);
        self.paused.extend(paused.then(|| queue.clone()));
        Ok(PauseOutcome { changed: was_paused != paused })
    }

    fn submit(&mut self, index: u64, jobs: &[NewJob]) -> Result<Vec<Submitted>, SubmitRefusal> {
        let (now_ms, ttl_ms) = (self.now_ms, self.bounds.key_ttl_ms);
        self.keys.retain(|key| key.at_ms + ttl_ms > now_ms);
        // Try on the side; keep only what went well as a whole.
        let (jobs_before, keys_before) = (self.jobs.len(), self.keys.len());
        let mut answers = Vec::new();
        for new in jobs {
            let known = self.keys.iter().find(|known| Some(&known.key) == new.idempotency_key.as_ref());
            if let Some(known) = known {
                if known.request != *new {
                    let refusal = SubmitRefusal::KeyConflict { key: known.key.clone(), job: known.answer.id };
                    self.jobs.truncate(jobs_before);
                    self.keys.truncate(keys_before);
                    return Err(refusal);
                }
                answers.push(Submitted { duplicate: true, ..known.answer });
                continue;
            }
            let run_at_ms = new.run_at_ms.unwrap_or(0).max(now_ms) + new.delay_ms;
            let state = if run_at_ms <= now_ms { JobState::Available } else { JobState::Scheduled };
            let id = JobId(self.jobs.len() as u64 + 1);
            self.jobs.push(Row {
                id,
                new: new.clone(),
                state,
                attempt: 0,
                run_at_ms,
                lease: None,
                cancel_requested: false,
                finish_seq: None,
                settled: None,
            });
            let answer = Submitted { id, state, index, duplicate: false };
            answers.push(answer);
            if let Some(key) = new.idempotency_key.clone() {
                self.keys.push(Key { key, request: new.clone(), answer, at_ms: now_ms });
            }
        }
        let surplus = self.keys.len().saturating_sub(self.bounds.keys_max);
        self.keys.drain(..surplus);
        Ok(answers)
    }

    fn claim(
        &mut self,
        index: u64,
        queues: &[Name],
        handlers: &[Name],
        max_jobs: u32,
        lease_ms: u64,
    ) -> Vec<ClaimedJob> {
        let mut claimed: Vec<ClaimedJob> = Vec::new();
        while claimed.len() < max_jobs as usize {
            let fitting = self.jobs.iter_mut().filter(|row| row.fits(queues, handlers, &self.paused));
            let Some(row) = fitting.min_by_key(|row| (row.new.priority, row.run_at_ms, row.id)) else { break };
            let bytes: usize = claimed.iter().map(|job| job.payload.len()).sum();
            if !claimed.is_empty() && bytes + row.new.payload.len() > self.bounds.claim_bytes_max {
                break;
            }
            row.state = JobState::Running;
            row.attempt += 1;
            let (token, deadline_ms) = (LeaseToken(index), self.now_ms + lease_ms);
            let timeout_at_ms = row.new.timeout_ms.map(|timeout_ms| self.now_ms + timeout_ms);
            row.lease = Some(RowLease { token, deadline_ms, timeout_at_ms });
            claimed.push(ClaimedJob {
                id: row.id,
                token,
                attempt: row.attempt,
                max_attempts: row.new.max_attempts,
                deadline_ms,
                timeout_ms: row.new.timeout_ms,
                queue: row.new.queue.clone(),
                handler: row.new.handler.clone(),
                payload: row.new.payload.clone(),
            });
        }
        claimed
    }

    fn heartbeat(&mut self, lease: Lease, lease_ms: u64) -> Result<Renewed, LeaseRefusal> {
        let now_ms = self.now_ms;
        if let Some(row) = self.row(lease.job)
            && let Some(live) = row.lease.as_mut().filter(|live| live.token == lease.token)
        {
            live.deadline_ms = now_ms + lease_ms;
            return Ok(Renewed { deadline_ms: live.deadline_ms, cancel_requested: row.cancel_requested });
        }
        Err(self.refusal(lease.job, lease.token))
    }

    fn settle(&mut self, job: JobId, token: LeaseToken, word: Word) -> Result<Settled, LeaseRefusal> {
        let forgotten = self.forgotten(job);
        let Some(row) = self.row(job) else { return Err(LeaseRefusal::UnknownJob { job }) };
        if row.lease.as_ref().is_some_and(|live| live.token == token) {
            let state = match &word {
                Word::Ack(_) => {
                    row.state = JobState::Completed;
                    row.lease = None;
                    row.cancel_requested = false;
                    self.finish_if_final(job)
                }
                Word::Fail(_, retry_after_ms, non_retryable) => self.lose(job, *retry_after_ms, *non_retryable),
            };
            self.row(job).expect("found above").settled = Some((token, word, state));
            return Ok(Settled { state, repeated: false });
        }
        if let Some((_, first, state)) = row.settled.as_ref().filter(|settled| settled.0 == token && !forgotten) {
            if *first == word {
                return Ok(Settled { state: *state, repeated: true });
            }
            return Err(LeaseRefusal::StaleLease { job, token, standing: Standing::SettledOtherwise(*state) });
        }
        Err(self.refusal(job, token))
    }

    fn cancel(&mut self, job: JobId) -> Result<CancelOutcome, CancelRefusal> {
        let forgotten = self.forgotten(job);
        let Some(row) = self.row(job) else { return Err(CancelRefusal::UnknownJob { job }) };
        if row.state.is_final() {
            return Ok(CancelOutcome::AlreadyFinished { state: Some(row.state).filter(|_| !forgotten) });
        }
        if row.state == JobState::Running {
            row.cancel_requested = true;
            return Ok(CancelOutcome::Requested);
        }
        row.state = JobState::Cancelled;
        self.finish_if_final(job);
        Ok(CancelOutcome::Cancelled)
    }

    fn tick(&mut self) -> u32 {
        let mut moved = 0;
        while moved < self.bounds.tick_moves_max {
            let due = self.jobs.iter_mut().filter_map(|row| Some((row.due_ms()?, row)));
            let Some((due_ms, row)) = due.min_by_key(|(due_ms, row)| (*due_ms, row.id)) else { break };
            if due_ms > self.now_ms {
                break;
            }
            if row.state == JobState::Running {
                let id = row.id;
                self.lose(id, None, false);
            } else {
                row.state = JobState::Available;
            }
            moved += 1;
        }
        moved
    }

    fn lose(&mut self, job: JobId, retry_after_ms: Option<u64>, non_retryable: bool) -> JobState {
        let now_ms = self.now_ms;
        let row = self.row(job).expect("running");
        row.lease = None;
        if row.cancel_requested {
            row.cancel_requested = false;
            row.state = JobState::Cancelled;
        } else if non_retryable || row.attempt >= row.new.max_attempts {
            row.state = JobState::Discarded;
        } else {
            row.state = JobState::Retryable;
            let backoff_ms = retry::delay_ms(row.new.backoff, row.id, row.attempt);
            row.run_at_ms = now_ms + retry_after_ms.unwrap_or(backoff_ms);
        }
        self.finish_if_final(job)
    }

    fn finish_if_final(&mut self, job: JobId) -> JobState {
        let next = self.finished + 1;
        let row = self.row(job).expect("changed just now");
        let state = row.state;
        if state.is_final() {
            row.finish_seq = Some(next);
            self.finished = next;
        }
        state
    }

    fn refusal(&mut self, job: JobId, token: LeaseToken) -> LeaseRefusal {
        let forgotten = self.forgotten(job);
        let Some(row) = self.row(job) else { return LeaseRefusal::UnknownJob { job } };
        let standing = match &row.lease {
            Some(live) => Standing::Leased(live.token),
            None if forgotten => Standing::FinishedLongAgo,
            None => Standing::NotLeased(row.state),
        };
        LeaseRefusal::StaleLease { job, token, standing }
    }

    fn forgotten(&mut self, job: JobId) -> bool {
        let (finished, recent_max) = (self.finished, self.bounds.recent_max as u64);
        self.row(job).and_then(|row| row.finish_seq).is_some_and(|seq| seq + recent_max <= finished)
    }

    fn row(&mut self, job: JobId) -> Option<&mut Row> {
        self.jobs.iter_mut().find(|row| row.id == job)
    }
}
