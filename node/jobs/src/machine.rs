//! The machine: jobs, the indexes over them, and the one door through which a job changes.
//!
//! Every change of a job goes through [`Machine::put`], and every job that is to change comes out by [`Machine::take`]:
//! so claim order, time index, counters, digests and the list of things to write are kept in step in one place, and no
//! operation can forget one of them. The operations are in the files below this one; what an event does to a record is in
//! `transition.rs`.
//!
//! # Laws
//!
//! - A live job is in the claim order exactly if it is available, and in the time index exactly if it has a due time.
//! - The state hash follows from the jobs, live and finished, the keys, the sessions, the paused queues, and the machine's own
//!   numbers; not from the order in which anything happened to be written or let go.

mod claim;
mod session;
mod settle;
mod steer;
mod submit;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Call, Command, Job, JobId, JobState, Name, Op, QueueCounts, Recent, Reply, codec,
    counts::Counts,
    due::Due,
    keys::Keys,
    limits::Bounds,
    mutants::{self, Mutant},
    paused::Paused,
    ready::Ready,
    recent::Recents,
    sessions::Sessions,
    transition::At,
};

/// The job state machine. See the crate's head for its laws.
#[derive(Clone, Debug)]
pub struct Machine {
    bounds: Bounds,
    applied: u64,
    now_ms: u64,
    next_id: JobId,
    /// Jobs finished so far.
    finish_seq: u64,

    live: BTreeMap<JobId, Held>,
    /// Sum of the digests of the live jobs that did not change since the last look.
    live_digest: u64,
    live_payload_bytes: u64,
    /// Finished jobs that may not be in the tables yet.
    finished: BTreeMap<JobId, Arc<Job>>,
    /// Of all jobs that were finished at the last look, those that were let go included.
    finished_digest: u64,

    ready: Ready,
    due: Due,
    counts: Counts,
    keys: Keys,
    sessions: Sessions,
    paused: Paused,
    recents: Recents,
    /// Jobs that changed since the last look.
    changed: BTreeSet<JobId>,
}

/// A live job, and its share in the sum of the digests.
#[derive(Clone, Debug)]
struct Held {
    job: Arc<Job>,
    /// None yet while the job is among those that changed.
    digest: u64,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine before the first entry.
    pub fn new() -> Self {
        Self::with_bounds(Bounds::STANDARD)
    }

    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        Self {
            bounds,
            applied: 0,
            now_ms: 0,
            next_id: JobId(1),
            finish_seq: 0,
            live: BTreeMap::new(),
            live_digest: 0,
            live_payload_bytes: 0,
            finished: BTreeMap::new(),
            finished_digest: 0,
            ready: Ready::default(),
            due: Due::default(),
            counts: Counts::default(),
            keys: Keys::default(),
            sessions: Sessions::default(),
            paused: Paused::default(),
            recents: Recents::default(),
            changed: BTreeSet::new(),
        }
    }

    /// Applies the entry at `index`, which must be the next one: a reply for each of its calls.
    pub fn apply(&mut self, index: u64, command: &Command) -> Vec<Reply> {
        self.advance(index);
        let before_ms = if mutants::on(Mutant::TimeFalls) { 0 } else { self.now_ms };
        self.now_ms = before_ms.max(command.stamp_ms);
        let at = At { index, now_ms: self.now_ms };
        let execute = |Call { op, session }: &Call| match session {
            None => self.execute(op, at),
            Some(call) => self.execute_once(*call, op, at),
        };
        command.calls.iter().map(execute).collect()
    }

    fn execute(&mut self, op: &Op, at: At) -> Reply {
        match op {
            Op::Submit { jobs } => Reply::Submitted(self.submit(jobs, at)),
            Op::Claim { worker, queues, handlers, max_jobs, lease_ms } => {
                let ids = self.choose(queues, handlers, *max_jobs);
                Reply::Claimed(ids.into_iter().map(|id| self.claim(id, worker, *lease_ms, at)).collect())
            }
            Op::Heartbeat { leases, lease_ms } => {
                Reply::Heartbeats(leases.iter().map(|&lease| self.heartbeat(lease, *lease_ms, at)).collect())
            }
            Op::Ack { acks } => Reply::Acked(acks.iter().map(|ack| self.ack(ack, at)).collect()),
            Op::Fail { failures } => Reply::Failed(failures.iter().map(|failure| self.fail(failure, at)).collect()),
            Op::Cancel { job } => Reply::Cancelled(self.cancel(*job, at)),
            Op::Tick => Reply::Ticked { moved: self.tick(at) },
            Op::OpenSession => Reply::SessionOpened { session: self.open_session(at) },
            Op::Retry { job } => Reply::Retried(self.retry(*job, at)),
            Op::PauseQueue { queue, paused } => Reply::QueuePaused(self.pause(queue, *paused)),
        }
    }

    /// Passes over the entry at `index`, which is not for this machine: a leader's first entry, a change of membership.
    pub fn apply_nothing(&mut self, index: u64) {
        self.advance(index);
    }

    fn advance(&mut self, index: u64) {
        let next = self.applied + 1;
        assert!(index == next, "entries are applied in order, each once: entry {next} is next, not {index}");
        self.applied = index;
    }

    /// Time passed: moves what is due, what has been due for longest first.
    fn tick(&mut self, at: At) -> u32 {
        let mut moved = 0;
        while moved < self.bounds.tick_moves_max
            && let Some(id) = self.due.first_by(at.now_ms)
        {
            self.change(id, |job| job.come_due(at));
            moved += 1;
        }
        moved
    }

    /// Changes a live job.
    fn change(&mut self, id: JobId, edit: impl FnOnce(&mut Job)) -> Arc<Job> {
        let mut job = self.take(id);
        edit(Arc::make_mut(&mut job));
        self.put(job)
    }

    /// Takes a live job out of everything, to be changed and put back.
    fn take(&mut self, id: JobId) -> Arc<Job> {
        let Some(Held { job, digest }) = self.live.remove(&id) else { panic!("job {id} must be live to change") };
        self.live_digest = self.live_digest.wrapping_sub(digest);
        self.live_payload_bytes -= job.payload.len() as u64;
        self.counts.remove(&job);
        self.due.remove(&job);
        if job.state == JobState::Available {
            self.ready.remove(&job);
        }
        job
    }

    /// Puts a new or changed job where its state belongs.
    fn put(&mut self, mut job: Arc<Job>) -> Arc<Job> {
        self.counts.add(&job);
        self.changed.insert(job.id);
        if job.state.is_final() {
            self.finish_seq += 1;
            let record = Arc::make_mut(&mut job);
            record.finish_seq = Some(self.finish_seq);
            record.finished_at_ms = Some(self.now_ms);
            if let Some(recent) = Recent::of(&job) {
                self.recents.push(recent, self.bounds.recent_max);
            }
            self.finished.insert(job.id, job.clone());
        } else {
            self.hold(job.clone(), 0);
        }
        job
    }

    /// Holds a live job, in every index that it belongs to; with its digest, unless it is among those that changed.
    fn hold(&mut self, job: Arc<Job>, digest: u64) {
        self.live_digest = self.live_digest.wrapping_add(digest);
        self.live_payload_bytes += job.payload.len() as u64;
        self.due.insert(&job);
        if job.state == JobState::Available {
            self.ready.insert(&job);
        }
        self.live.insert(job.id, Held { job, digest });
    }

    /// Brings the sums of the digests up to what changed, which then counts as seen.
    fn digest_changed(&mut self) -> BTreeSet<JobId> {
        let changed = std::mem::take(&mut self.changed);
        for id in &changed {
            match self.live.get_mut(id) {
                Some(held) => {
                    held.digest = held.job.digest();
                    self.live_digest = self.live_digest.wrapping_add(held.digest);
                }
                None => {
                    let job = &self.finished[id];
                    self.finished_digest = self.finished_digest.wrapping_add(job.digest());
                }
            }
        }
        changed
    }

    /// The index of the last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The machine's time: the greatest stamp it has seen.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// A hash of everything that replicas must agree on. What changed since the last look is digested for it, the rest was
    /// before: so a job that changes often between two looks costs one digest.
    pub fn state_hash(&self) -> u64 {
        let changed = self.changed.iter().filter_map(|id| self.shared(*id)).map(|job| job.digest());
        let jobs_digest = changed.fold(self.live_digest.wrapping_add(self.finished_digest), u64::wrapping_add);
        // One sum for all small tables: without sessions, or without a paused queue, the hash is what it was before there
        // were any.
        let tables_digest = [self.sessions.digest(), self.paused.digest()].into_iter();
        let tables_digest = tables_digest.fold(self.keys.digest(), u64::wrapping_add);
        codec::digest(&(jobs_digest, tables_digest, self.next_id, self.now_ms, self.finish_seq))
    }

    /// The earliest time at which a tick would change something. May be in the past.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.first_ms()
    }

    /// Whether a claim would be given a job.
    pub fn claimable(&self, queues: &[Name], handlers: &[Name]) -> bool {
        self.ready.any(queues, handlers, &self.paused)
    }

    /// Available jobs that somebody may be given: those of paused queues are not.
    pub fn claimable_count(&self) -> u64 {
        let queues = self.queues().filter(|(queue, _)| !self.paused.has(queue));
        queues.map(|(_, counts)| counts.available).sum()
    }

    /// A job that is live, or finished and not yet let go.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.live.get(&id).map(|held| &held.job).or_else(|| self.finished.get(&id)).map(Arc::as_ref)
    }

    /// The live jobs, by id.
    pub fn live(&self) -> impl Iterator<Item = &Job> {
        self.live.values().map(|held| held.job.as_ref())
    }

    /// Every job in memory, live or finished and not yet let go, the newest first.
    pub fn held_newest_first(&self) -> impl Iterator<Item = &Job> {
        let mut live = self.live.values().rev().map(|held| &*held.job).peekable();
        let mut finished = self.finished.values().rev().map(|job| &**job).peekable();
        std::iter::from_fn(move || match (live.peek(), finished.peek()) {
            (Some(a), Some(b)) if a.id < b.id => finished.next(),
            (Some(_), _) => live.next(),
            (None, _) => finished.next(),
        })
    }

    /// How many jobs are live.
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    /// The size of the payloads of live jobs.
    pub fn live_payload_bytes(&self) -> u64 {
        self.live_payload_bytes
    }

    /// Every queue in which a job ever was, by name.
    pub fn queues(&self) -> impl Iterator<Item = (&str, &QueueCounts)> {
        self.counts.queues.iter().map(|(queue, counts)| (queue.as_str(), counts))
    }

    /// Whether a job of this name was ever made.
    fn was_made(&self, id: JobId) -> bool {
        id >= JobId(1) && id < self.next_id
    }
}
