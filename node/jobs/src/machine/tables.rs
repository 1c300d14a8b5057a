//! Between memory and tables: what to write, what to let go, and the way back.

use std::{collections::BTreeMap, sync::Arc};

use super::Machine;
use crate::{
    Changes, Job, JobId, JobState, Meta, QueueCounts, Recent, RestoreError, Restored,
    counts::Counts,
    keys::Keys,
    limits::Bounds,
    mutants::{self, Mutant},
    paused::Paused,
    recent::Recents,
    sessions::Sessions,
};

impl Machine {
    /// What must be written to the tables since the last take.
    pub fn take_changes(&mut self) -> Changes {
        let changed = self.digest_changed();
        let jobs = changed.iter().filter_map(|id| self.shared(*id).cloned()).collect();
        let (keys_set, keys_removed) = self.keys.take_changed();
        let (sessions_set, sessions_removed) = self.sessions.take_changed();
        let (paused_set, paused_removed) = self.paused.take_changed();
        let meta = Meta {
            next_id: self.next_id,
            now_ms: self.now_ms,
            finish_seq: self.finish_seq,
            finished_digest: self.finished_digest,
            state_hash: self.state_hash(),
        };
        let queues = self.counts.take_changed();
        let recent = self.recents.take_unwritten();
        let recent_floor = (self.finish_seq + 1).saturating_sub(self.bounds.recent_max as u64);
        Changes {
            applied: self.applied - u64::from(mutants::on(Mutant::RemembersOneLess)),
            meta,
            jobs,
            queues,
            keys_set,
            keys_removed,
            sessions_set,
            sessions_removed,
            paused_set,
            paused_removed,
            recent,
            recent_floor,
        }
    }

    /// These changes are durable: the finished jobs among them leave memory.
    pub fn remembered(&mut self, changes: &Changes) {
        for job in changes.jobs.iter().filter(|job| job.state.is_final()) {
            self.finished.remove(&job.id);
        }
    }

    /// The machine that the tables were written by.
    pub fn restore(rows: Restored) -> Result<Self, RestoreError> {
        Self::restore_with_bounds(rows, Bounds::STANDARD)
    }

    pub(crate) fn restore_with_bounds(rows: Restored, bounds: Bounds) -> Result<Self, RestoreError> {
        let Restored { applied, meta, jobs, queues, keys, sessions, paused, recent } = rows;
        let mut machine = Self::with_bounds(bounds);
        machine.applied = applied;
        machine.next_id = meta.next_id;
        machine.now_ms = meta.now_ms;
        machine.finish_seq = meta.finish_seq;
        machine.finished_digest = meta.finished_digest;
        machine.counts = Counts::new(queues.into_iter().collect());
        machine.keys = Keys::new(keys.into_iter().collect());
        machine.sessions = Sessions::new(sessions)?;
        machine.paused = Paused::new(paused);
        machine.recents = Recents::new(&latest(recent, meta.finish_seq, bounds.recent_max)?);
        for job in jobs {
            machine.accept(job)?;
        }
        machine.recount()?;
        let found = machine.state_hash();
        if found != meta.state_hash {
            return Err(RestoreError::Hash { written: meta.state_hash, found });
        }
        Ok(machine)
    }

    fn accept(&mut self, job: Job) -> Result<(), RestoreError> {
        if job.state.is_final() {
            return Err(RestoreError::NotLive { job: job.id, state: job.state });
        }
        if !self.was_made(job.id) {
            return Err(RestoreError::BeyondNext { job: job.id, last: self.next_id.0.saturating_sub(1) });
        }
        let digest = job.digest();
        self.hold(Arc::new(job), digest);
        Ok(())
    }

    /// Whether the counters of live states are those of the live jobs, and those of final states add up.
    fn recount(&self) -> Result<(), RestoreError> {
        let mut found: BTreeMap<&str, QueueCounts> = BTreeMap::new();
        for job in self.live() {
            *found.entry(&job.queue).or_default().get_mut(job.state) += 1;
        }
        for queue in self.counts.queues.keys().map(String::as_str).chain(found.keys().copied()) {
            for state in JobState::ALL.into_iter().filter(|state| !state.is_final()) {
                let counted = self.counts.queues.get(queue).map_or(0, |counts| counts.get(state));
                let found = found.get(queue).map_or(0, |counts| counts.get(state));
                if counted != found {
                    return Err(RestoreError::Counts { queue: queue.into(), state, counted, found });
                }
            }
        }
        let finals = |counts: &QueueCounts| counts.completed + counts.cancelled + counts.discarded;
        let counted = self.counts.queues.values().map(finals).sum();
        if counted != self.finish_seq {
            return Err(RestoreError::Finished { counted, finished: self.finish_seq });
        }
        Ok(())
    }

    pub(super) fn shared(&self, id: JobId) -> Option<&Arc<Job>> {
        self.live.get(&id).map(|held| &held.job).or_else(|| self.finished.get(&id))
    }
}

/// The last finished jobs in the order of their finish, every one of them.
fn latest(mut rows: Vec<Recent>, finish_seq: u64, recent_max: usize) -> Result<Vec<Recent>, RestoreError> {
    let needed = usize::try_from(finish_seq).map_or(recent_max, |finished| finished.min(recent_max));
    let floor = finish_seq - needed as u64;
    rows.retain(|row| row.finish_seq > floor && row.finish_seq <= finish_seq);
    rows.sort_by_key(|row| row.finish_seq);
    rows.dedup_by_key(|row| row.finish_seq);
    if rows.len() == needed { Ok(rows) } else { Err(RestoreError::Recent { needed, found: rows.len() }) }
}
