//! Idempotency keys: a submit that comes twice makes one job.
//!
//! A client that did not hear the answer submits again under the same key and gets the first answer. A key is remembered
//! for a day of log time, and only the newest are: forgetting is decided by the log as well, or replicas would disagree on
//! who is a duplicate. The same key with another request is a mistake of the client, and refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{JobId, JobState, NewJob, codec, limits::Bounds};

/// What is remembered under a key: the request, as a digest, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Digest of the request, the key left out.
    pub request_digest: u64,
    /// The job that was made.
    pub job: JobId,
    /// Its first state.
    pub state: JobState,
    /// The log index of the submit.
    pub index: u64,
    /// When that was.
    pub at_ms: u64,
}

/// The keys that are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    entries: BTreeMap<String, KeyEntry>,
    /// The keys by age: ids of jobs grow with time, and a job has one key.
    by_age: BTreeMap<JobId, String>,
    /// Sum of the digests of all keys and entries.
    digest: u64,
    changed: BTreeSet<String>,
}

impl Keys {
    pub(crate) fn new(entries: BTreeMap<String, KeyEntry>) -> Self {
        let by_age = entries.iter().map(|(key, entry)| (entry.job, key.clone())).collect();
        let digest = entries.iter().fold(0, |sum: u64, row| sum.wrapping_add(codec::digest(&row)));
        Self { entries, by_age, digest, changed: BTreeSet::new() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyEntry> {
        self.entries.get(key)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn insert(&mut self, key: &str, entry: KeyEntry) {
        self.digest = self.digest.wrapping_add(codec::digest(&(key, &entry)));
        self.changed.insert(key.into());
        self.by_age.insert(entry.job, key.into());
        self.entries.insert(key.into(), entry);
    }

    pub(crate) fn forget_expired(&mut self, now_ms: u64, bounds: &Bounds) {
        while let Some((_, key)) = self.by_age.first_key_value()
            && self.entries[key].at_ms.saturating_add(bounds.key_ttl_ms) <= now_ms
        {
            self.forget_oldest();
        }
    }

    pub(crate) fn forget_surplus(&mut self, bounds: &Bounds) {
        while self.entries.len() > bounds.keys_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.by_age.pop_first() else { return };
        let Some(row) = self.entries.remove_entry(&key) else { return };
        self.digest = self.digest.wrapping_sub(codec::digest(&row));
        self.changed.insert(key);
    }

    /// What changed since the last look: the keys that are to be remembered, and those that are not any more.
    pub(crate) fn take_changed(&mut self) -> (Vec<(String, KeyEntry)>, Vec<String>) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.changed) {
            match self.entries.get(&key) {
                Some(&entry) => set.push((key, entry)),
                None => removed.push(key),
            }
        }
        (set, removed)
    }
}

/// The digest of a request, without its key.
pub(crate) fn request_digest(new: &NewJob) -> u64 {
    let NewJob {
        queue,
        handler,
        priority,
        payload,
        run_at_ms,
        delay_ms,
        max_attempts,
        timeout_ms,
        backoff,
        idempotency_key: _,
    } = new;
    codec::digest(&(queue, handler, priority, payload, run_at_ms, delay_ms, max_attempts, timeout_ms, backoff))
}
