//! Paused queues: nobody is given a job of one.
//!
//! A pause is a word on claims and on nothing else. Submits to a paused queue are accepted, its due jobs become available,
//! those that run go on and are settled as ever: so it is safe to pause first and to look then. It holds until somebody
//! resumes the queue; a queue that never had a job may be paused as well, before the first one comes.
//!
//! Law: who chooses jobs for a claim, who asks whether there would be any, and who counts them, all pass over the same
//! queues, those of [`Paused::has`]. Would they disagree, a claim that waits would be proposed again and again for a job
//! that it is never given.

use std::collections::BTreeSet;

use crate::{Name, codec};

/// The queues that are paused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paused {
    queues: BTreeSet<Name>,
    /// Sum of their digests.
    digest: u64,
    changed: BTreeSet<Name>,
}

impl Paused {
    pub(crate) fn new(rows: Vec<Name>) -> Self {
        let mut paused = Self::default();
        for queue in rows {
            paused.set(&queue, true);
        }
        drop(paused.take_changed());
        paused
    }

    pub(crate) fn has(&self, queue: &str) -> bool {
        self.queues.contains(queue)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(Name::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Nothing while nothing is paused.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Pauses or resumes a queue; true if it was not so before.
    pub(crate) fn set(&mut self, queue: &Name, paused: bool) -> bool {
        let digest = codec::digest(&("paused", queue));
        let changed = if paused { self.queues.insert(queue.clone()) } else { self.queues.remove(queue) };
        if changed {
            self.digest = if paused { self.digest.wrapping_add(digest) } else { self.digest.wrapping_sub(digest) };
            self.changed.insert(queue.clone());
        }
        changed
    }

    /// What changed since the last look: the queues that are to be remembered, and those that are not any more.
    pub(crate) fn take_changed(&mut self) -> (Vec<Name>, Vec<Name>) {
        std::mem::take(&mut self.changed).into_iter().partition(|queue| self.queues.contains(queue))
    }
}
