//! What a leader knows of one follower.
//!
//! A leader *probes* until it knows where the logs agree: one batch, then wait for the answer. From then on it
//! *replicates*: it sends on without waiting, as long as the window in flight has room in batches and in bytes. When
//! what is in flight stays unanswered for too long, or the link breaks, it probes again from the last agreement. A
//! follower that needs what is no longer in the log gets a *snapshot*, a chunk for each time it asks.
//!
//! A chunk is large, and a link may be slow: how long one may take is measured, as a transport does it (RFC 6298). It is
//! overdue after twice the time that the one before took, and after twice as long with each time it is sent again; one that
//! was sent more than once measures nothing, as nobody knows which of them was answered (Karn's rule).
//!
//! Laws:
//! - `matched < next`, and `matched` never falls while the leader is in office (a late refusal cannot undo what the
//!   follower once had on disk), but for a follower that says itself that its disk lost it, or that speaks from another
//!   directory: what these have counts for nothing before;
//! - while probing, at most one batch is unanswered;
//! - while replicating, the window is never above its limits, except for a single batch that is larger alone.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::{
    Index, ReadRound, StorageId,
    mutants::{self, Mutant},
};

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sending {
    /// One batch at a time, until it is known where the logs agree.
    Probing,
    /// Without waiting, within the window.
    Replicating,
    /// A snapshot.
    Snapshot,
}

/// A batch that was sent and not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Batch {
    last: Index,
    bytes: usize,
    sent_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Mode {
    /// `asked_at`: a probe is out since this tick.
    Probing {
        asked_at: Option<u64>,
    },
    Replicating {
        window: VecDeque<Batch>,
        bytes: usize,
    },
    /// `asked_at`: an offer or a chunk is out since this tick.
    Snapshot {
        asked_at: Option<u64>,
        offset: u64,
        /// What is out was sent before, too.
        is_repeated: bool,
        /// A chunk may take so many ticks, if that is more than anything may.
        patience: u64,
    },
}

/// A chunk may take so many times what any answer may: a link that is slower is as good as none.
const PATIENCE_MAX: u64 = 100;

/// Limits of the window in flight to one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) batches: usize,
    pub(crate) bytes: usize,
}

/// One round of a learner's way to the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Round {
    goal: Index,
    since: u64,
}

/// A leader's view of a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    matched: Index,
    next: Index,
    /// When anything of it came last; when the leader took office, before the first. None after the leader slept.
    heard_at: Option<u64>,
    /// The directory it speaks from; none before it was heard.
    storage: Option<StorageId>,
    /// Its disk is being refilled.
    damaged: bool,
    /// The latest round of reads that it has confirmed.
    read_round: ReadRound,
    /// The follower has been told, if the message arrives, that so much is committed.
    told: Index,
    /// Of a learner.
    round: Option<Round>,
    caught_up: bool,
    /// It is no member any more, and is sent to until then so that it learns of it.
    parting: Option<u64>,
    mode: Mode,
}

impl Progress {
    /// Of a follower of whom nothing is known: it may well have the whole log.
    pub(crate) fn new(last: Index, now: u64) -> Progress {
        Progress {
            matched: Index(0),
            next: last.next(),
            heard_at: Some(now),
            storage: None,
            damaged: false,
            read_round: ReadRound(0),
            told: Index(0),
            round: None,
            caught_up: false,
            parting: None,
            mode: Mode::Probing { asked_at: None },
        }
    }

    /// The logs agree up to here, and the follower has it on disk.
    pub(crate) fn matched(&self) -> Index {
        self.matched
    }

    /// Something of it came, from this directory. What another directory had is forgotten.
    pub(crate) fn heard(&mut self, storage: StorageId, last: Index, now: u64) {
        if self.storage.is_some_and(|known| known != storage) {
            *self = Progress { parting: self.parting, ..Progress::new(last, now) };
        }
        self.storage = Some(storage);
        self.heard_at = Some(now);
    }

    /// What was heard of it is too old to count.
    pub(crate) fn unheard(&mut self) {
        self.heard_at = None;
    }

    pub(crate) fn heard_at(&self) -> Option<u64> {
        self.heard_at
    }

    pub(crate) fn storage(&self) -> Option<StorageId> {
        self.storage
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The follower says whether its disk is being refilled.
    pub(crate) fn set_damaged(&mut self, damaged: bool) {
        self.damaged = damaged;
    }

    pub(crate) fn read_round(&self) -> ReadRound {
        self.read_round
    }

    /// The follower has confirmed a round of reads.
    pub(crate) fn confirmed(&mut self, round: ReadRound) {
        self.read_round = self.read_round.max(round);
    }

    pub(crate) fn parting(&self) -> Option<u64> {
        self.parting
    }

    /// It is no member any more, until then; or it is one. Who comes back has caught up with nothing yet.
    pub(crate) fn set_parting(&mut self, until: Option<u64>) {
        if self.parting.is_some() && until.is_none() {
            (self.round, self.caught_up) = (None, false);
        }
        self.parting = match (self.parting, until) {
            (Some(earlier), Some(_)) => Some(earlier),
            (Some(_) | None, until) => until,
        };
    }

    /// How much of what is committed may be told to this follower.
    pub(crate) fn tellable(&self, commit: Index) -> Index {
        if mutants::on(Mutant::BeatsUnclamped) { commit } else { self.matched.min(commit) }
    }

    /// Whether there is news for this follower.
    pub(crate) fn has_news(&self, commit: Index) -> bool {
        self.told < self.tellable(commit)
    }

    /// A message on its way tells it that so much is committed.
    pub(crate) fn telling(&mut self, commit: Index) {
        self.told = self.told.max(commit);
    }

    /// The next entry to send.
    pub(crate) fn next(&self) -> Index {
        self.next
    }

    pub(crate) fn sending(&self) -> Sending {
        match self.mode {
            Mode::Probing { .. } => Sending::Probing,
            Mode::Replicating { .. } => Sending::Replicating,
            Mode::Snapshot { .. } => Sending::Snapshot,
        }
    }

    /// How much of a snapshot it has stored, if it gets one.
    pub(crate) fn snapshot_offset(&self) -> Option<u64> {
        match self.mode {
            Mode::Snapshot { offset, .. } => Some(offset),
            Mode::Probing { .. } | Mode::Replicating { .. } => None,
        }
    }

    /// Batches sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        match &self.mode {
            Mode::Probing { asked_at } | Mode::Snapshot { asked_at, .. } => usize::from(asked_at.is_some()),
            Mode::Replicating { window, .. } => window.len(),
        }
    }

    /// Whether another batch may be sent now. A probe may be empty; a replicated batch is only sent if there is one. In the
    /// place of a batch it may be the offer of a snapshot.
    pub(crate) fn may_send(&self, last: Index, limit: Window) -> bool {
        match &self.mode {
            Mode::Probing { asked_at } | Mode::Snapshot { asked_at, .. } => asked_at.is_none(),
            Mode::Replicating { window, bytes } => {
                self.next <= last && window.len() < limit.batches && *bytes < limit.bytes
            }
        }
    }

    /// A batch that ends at `last` (`next - 1` for an empty probe) was sent.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize, now: u64) {
        match &mut self.mode {
            Mode::Probing { asked_at } => *asked_at = Some(now),
            Mode::Replicating { window, bytes: total } => {
                window.push_back(Batch { last, bytes, sent_at: now });
                *total += bytes;
                self.next = last.next();
            }
            Mode::Snapshot { .. } => self.mode = Mode::Probing { asked_at: Some(now) },
        }
    }

    /// A snapshot was offered. True if it was not sent one before.
    pub(crate) fn offered(&mut self, now: u64) -> bool {
        match &mut self.mode {
            Mode::Snapshot { asked_at, is_repeated, .. } => {
                *asked_at = Some(now);
                *is_repeated = true;
                false
            }
            Mode::Probing { .. } | Mode::Replicating { .. } => {
                self.mode = Mode::Snapshot { asked_at: Some(now), offset: 0, is_repeated: false, patience: 0 };
                true
            }
        }
    }

    /// It asked for the chunk at an offset.
    pub(crate) fn wanted(&mut self, at: u64, now: u64) {
        if let Mode::Snapshot { asked_at, offset, is_repeated, patience } = &mut self.mode {
            if let Some(since) = asked_at.filter(|_| at > *offset && !*is_repeated) {
                *patience = 2 * (now - since);
            }
            *is_repeated &= at == *offset;
            *asked_at = Some(now);
            *offset = at;
        }
    }

    /// What it asked for is not there any more.
    pub(crate) fn offer_again(&mut self) {
        if let Mode::Snapshot { asked_at, .. } = &mut self.mode {
            *asked_at = None;
        }
    }

    /// The follower has everything up to `index`. True if this was the answer that a probe or a snapshot waited for.
    pub(crate) fn acknowledged(&mut self, index: Index) -> bool {
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
        match &mut self.mode {
            // A late answer says less than the snapshot that is on its way.
            Mode::Probing { .. } | Mode::Snapshot { .. } => {
                self.next = self.matched.next();
                self.mode = Mode::Replicating { window: VecDeque::new(), bytes: 0 };
                true
            }
            Mode::Replicating { window, bytes } => {
                while let Some(done) = window.front().filter(|b| b.last <= index) {
                    *bytes -= done.bytes;
                    window.pop_front();
                }
                false
            }
        }
    }

    /// The follower refused an append after `prev`; agreement is possible up to `at`. False if the refusal changes nothing:
    /// something later has already overtaken it, or the follower refuses what it once had on disk. In the second case it
    /// has lost its log, and asking again at once would only go round and round; the next try is when this one is overdue.
    pub(crate) fn refused(&mut self, prev: Index, at: Index) -> bool {
        if (self.damaged || mutants::on(Mutant::LowersMatched)) && prev <= self.matched {
            self.matched = at.min(prev.prev());
        }
        let overtaken = matches!(self.mode, Mode::Probing { .. }) && prev != self.next.prev();
        if overtaken || prev <= self.matched {
            return false;
        }
        self.next = at.min(prev.prev()).max(self.matched).next();
        self.mode = Mode::Probing { asked_at: None };
        true
    }

    /// Back to the last agreement: what is in flight is taken for lost.
    pub(crate) fn probe_again(&mut self) {
        match &mut self.mode {
            Mode::Snapshot { asked_at, .. } => *asked_at = None,
            Mode::Probing { .. } | Mode::Replicating { .. } => {
                self.next = self.matched.next();
                self.mode = Mode::Probing { asked_at: None };
            }
        }
    }

    /// Whether what is in flight is to be taken for lost, where an answer may take `limit` ticks; a chunk that is gets more
    /// time when it is sent again.
    pub(crate) fn is_overdue(&mut self, now: u64, limit: u64) -> bool {
        let Some(waited) = self.unanswered_since().map(|at| now - at) else { return false };
        let Mode::Snapshot { patience, .. } = &mut self.mode else { return waited >= limit };
        let may_take = (*patience).clamp(limit, PATIENCE_MAX * limit);
        let is_overdue = waited >= may_take;
        if is_overdue {
            *patience = 2 * may_take;
        }
        is_overdue
    }

    /// Since when the oldest batch is unanswered.
    pub(crate) fn unanswered_since(&self) -> Option<u64> {
        match &self.mode {
            Mode::Probing { asked_at } | Mode::Snapshot { asked_at, .. } => *asked_at,
            Mode::Replicating { window, .. } => window.front().map(|b| b.sent_at),
        }
    }

    /// Looks how far a learner is: whether it went through its last round, to what was then the log's end, in less than
    /// `timeout` ticks, and has everything that is committed.
    pub(crate) fn measure(&mut self, last: Index, commit: Index, now: u64, timeout: u64) {
        let round = *self.round.get_or_insert(Round { goal: last, since: now });
        if self.matched >= round.goal {
            self.caught_up = now - round.since < timeout && self.matched >= commit;
            self.round = Some(Round { goal: last, since: now });
        } else if now - round.since >= timeout {
            self.caught_up = false;
        }
    }

    /// Whether a learner may become a voter.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }
}

#[cfg(test)]
impl Progress {
    /// For exploration: all of it happened just now.
    pub(crate) fn count_anew(&mut self, parting_until: u64) {
        self.heard_at = self.heard_at.map(|_| 0);
        self.parting = self.parting.map(|_| parting_until);
        if let Some(round) = &mut self.round {
            round.since = 0;
        }
        match &mut self.mode {
            Mode::Probing { asked_at } => *asked_at = asked_at.map(|_| 0),
            Mode::Snapshot { asked_at, patience, .. } => (*asked_at, *patience) = (asked_at.map(|_| 0), 0),
            Mode::Replicating { window, .. } => window.iter_mut().for_each(|batch| batch.sent_at = 0),
        }
    }
}
