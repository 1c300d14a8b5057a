//! What a leader knows of one follower.
//!
//! A leader *probes* until it knows where the logs agree: one batch, then wait for the answer. From then on it
//! *replicates*: it sends on without waiting, as long as the window in flight has room in batches and in bytes. When
//! what is in flight stays unanswered for too long, or the link breaks, it probes again from the last agreement.
//!
//! Laws:
//! - `matched < next`, and `matched` never falls while the leader is in office (a late refusal cannot undo what the
//!   follower once had on disk);
//! - while probing, at most one batch is unanswered;
//! - while replicating, the window is never above its limits, except for a single batch that is larger alone.

use std::collections::VecDeque;

use crate::Index;

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
}

/// Limits of the window in flight to one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) batches: usize,
    pub(crate) bytes: usize,
}

/// A leader's view of a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    matched: Index,
    next: Index,
    /// When anything of it came last; when the leader took office, before the first. None after the leader slept.
    heard_at: Option<u64>,
    /// The follower has been told, if the message arrives, that so much is committed.
    told: Index,
    mode: Mode,
}

impl Progress {
    /// Of a follower of whom nothing is known: it may well have the whole log.
    pub(crate) fn new(last: Index, now: u64) -> Progress {
        Progress {
            matched: Index(0),
            next: last.next(),
            heard_at: Some(now),
            told: Index(0),
            mode: Mode::Probing { asked_at: None },
        }
    }

    /// The logs agree up to here, and the follower has it on disk.
    pub(crate) fn matched(&self) -> Index {
        self.matched
    }

    /// Something of it came.
    pub(crate) fn heard(&mut self, now: u64) {
        self.heard_at = Some(now);
    }

    /// What was heard of it is too old to count.
    pub(crate) fn unheard(&mut self) {
        self.heard_at = None;
    }

    pub(crate) fn heard_at(&self) -> Option<u64> {
        self.heard_at
    }

    /// How much of what is committed may be told to this follower.
    pub(crate) fn tellable(&self, commit: Index) -> Index {
        self.matched.min(commit)
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

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.mode, Mode::Probing { .. })
    }

    /// Batches sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        match &self.mode {
            Mode::Probing { asked_at } => usize::from(asked_at.is_some()),
            Mode::Replicating { window, .. } => window.len(),
        }
    }

    /// Whether another batch may be sent now. A probe may be empty; a replicated batch is only sent if there is one.
    pub(crate) fn may_send(&self, last: Index, limit: Window) -> bool {
        match &self.mode {
            Mode::Probing { asked_at } => asked_at.is_none(),
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
        }
    }

    /// The follower has everything up to `index`. True if this was the answer that a probe waited for.
    pub(crate) fn acknowledged(&mut self, index: Index) -> bool {
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
        match &mut self.mode {
            Mode::Probing { .. } => {
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
        self.next = self.matched.next();
        self.mode = Mode::Probing { asked_at: None };
    }

    /// Since when the oldest batch is unanswered.
    pub(crate) fn unanswered_since(&self) -> Option<u64> {
        match &self.mode {
            Mode::Probing { asked_at } => *asked_at,
            Mode::Replicating { window, .. } => window.front().map(|b| b.sent_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Window = Window { batches: 2, bytes: 100 };

    #[test]
    fn a_probe_waits_for_its_answer_and_the_window_for_room() {
        let mut p = Progress::new(Index(5), 0);
        assert!(p.may_send(Index(5), LIMIT), "a probe may be empty");
        p.sent(Index(5), 0, 1);
        assert!(!p.may_send(Index(9), LIMIT));
        assert!(p.acknowledged(Index(5)));
        assert!(!p.may_send(Index(5), LIMIT), "nothing to send");
        p.sent(Index(6), 10, 2);
        p.sent(Index(7), 10, 3);
        assert!(!p.may_send(Index(9), LIMIT), "two batches are in flight");
        assert!(!p.acknowledged(Index(6)));
        assert!(p.may_send(Index(9), LIMIT));
        p.sent(Index(8), 95, 4);
        assert_eq!((p.matched(), p.next(), p.unanswered_since()), (Index(6), Index(9), Some(3)));
    }

    /// canonical/raft and CCF had it: a refusal that comes late must not lower what the follower is known to have.
    #[test]
    fn a_late_refusal_changes_nothing() {
        let mut p = Progress::new(Index(9), 0);
        p.sent(Index(9), 0, 1);
        assert!(p.refused(Index(9), Index(4)));
        assert_eq!(p.next(), Index(5));
        assert!(!p.refused(Index(9), Index(2)), "the same refusal, delivered twice");
        p.acknowledged(Index(7));
        assert!(!p.refused(Index(4), Index(1)), "below what is matched");
        assert_eq!((p.matched(), p.next()), (Index(7), Index(8)));
    }

    #[test]
    fn a_refusal_always_moves_the_probe_back() {
        let mut p = Progress::new(Index(9), 0);
        p.sent(Index(9), 0, 1);
        assert!(p.refused(Index(9), Index(9)), "a hint that would not move is not believed");
        assert_eq!(p.next(), Index(9));
    }
}
