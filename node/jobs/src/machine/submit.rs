//! Submit: new jobs, all of them or none.

use std::{collections::BTreeMap, sync::Arc};

use super::Machine;
use crate::{
    Job, JobId, KeyEntry, NewJob, SubmitRefusal, Submitted,
    keys::request_digest,
    mutants::{self, Mutant},
    transition::At,
};

impl Machine {
    pub(super) fn submit(&mut self, jobs: &[NewJob], at: At) -> Result<Vec<Submitted>, SubmitRefusal> {
        self.keys.forget_expired(at.now_ms, &self.bounds);
        self.refuse_conflicts(jobs)?;
        let submitted = jobs.iter().map(|new| self.submit_one(new, at)).collect();
        // Only after the whole bulk, so that a key the check above relied on is still there when its turn comes.
        self.keys.forget_surplus(&self.bounds);
        Ok(submitted)
    }

    /// A key may stand for one request only, be the other one remembered or earlier in the same bulk.
    fn refuse_conflicts(&self, jobs: &[NewJob]) -> Result<(), SubmitRefusal> {
        let mut in_bulk: BTreeMap<&str, (u64, JobId)> = BTreeMap::new();
        let mut next_id = self.next_id;
        for new in jobs {
            let Some(key) = new.idempotency_key.as_deref() else {
                next_id.0 += 1;
                continue;
            };
            let digest = request_digest(new);
            let known = self.keys.get(key).map(|entry| (entry.request_digest, entry.job));
            match known.or_else(|| in_bulk.get(key).copied()) {
                Some((other, job)) if other != digest => {
                    return Err(SubmitRefusal::KeyConflict { key: key.into(), job });
                }
                Some(_) => {}
                None => {
                    in_bulk.insert(key, (digest, next_id));
                    next_id.0 += 1;
                }
            }
        }
        Ok(())
    }

    fn submit_one(&mut self, new: &NewJob, at: At) -> Submitted {
        let known = new.idempotency_key.as_deref().filter(|_| !mutants::on(Mutant::IgnoresKeys));
        if let Some(first) = known.and_then(|key| self.keys.get(key)) {
            return Submitted { id: first.job, state: first.state, index: first.index, duplicate: true };
        }
        let id = self.next_id;
        self.next_id.0 += 1;
        let state = self.put(Arc::new(Job::submit(id, new, at))).state;
        if let Some(key) = &new.idempotency_key {
            let request_digest = request_digest(new);
            self.keys.insert(key, KeyEntry { request_digest, job: id, state, index: at.index, at_ms: at.now_ms });
        }
        Submitted { id, state, index: at.index, duplicate: false }
    }
}
