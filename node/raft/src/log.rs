//! The log in memory, and how far the disk has it.
//!
//! Laws:
//! - entries are contiguous from index 1, and their terms never fall from one to the next;
//! - `durable` never exceeds the last index, and everything at or below it is on disk *as it is here*;
//! - writes complete in the order they were asked for.
//!
//! The second law is where asynchronous writes bite (the ABA race of etcd's asynchronous storage): a write of index 10
//! may complete after that entry was truncated and another one put in its place, whose own write is still under way.
//! So each write under way remembers up to where it covers the log, and a truncation lowers that mark for all of them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Index, Term, WriteSeq};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
    /// What it holds.
    pub kind: EntryKind,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A new leader's first entry: with it, all earlier ones commit (paper 5.4.2).
    Noop,
    /// For the state machine above, which alone can read it.
    Command(Bytes),
}

impl Entry {
    /// What the entry weighs against limits in bytes: its payload and a fixed share for the rest.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const AROUND: usize = 32;
        match &self.kind {
            EntryKind::Noop => AROUND,
            EntryKind::Command(payload) => AROUND + payload.len(),
        }
    }
}

/// A write that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct UnderWay {
    seq: WriteSeq,
    /// When it is done, the log is durable up to here.
    covers: Index,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    entries: Vec<Entry>,
    durable: Index,
    under_way: VecDeque<UnderWay>,
    /// The first index that no write has been asked for yet.
    unwritten: Index,
}

impl Log {
    /// A log as it was found on disk.
    pub(crate) fn restore(entries: Vec<Entry>) -> Log {
        for (place, entry) in (1..).zip(&entries) {
            assert_eq!(entry.index, Index(place), "the stored log has a gap");
        }
        assert!(entries.is_sorted_by_key(|e| e.term), "terms fall in the stored log");
        let last = Index(entries.len() as u64);
        Log { entries, durable: last, under_way: VecDeque::new(), unwritten: last.next() }
    }

    /// The last entry's place and term; `(0, 0)` when the log is empty.
    #[must_use]
    pub fn last(&self) -> (Index, Term) {
        self.entries.last().map_or((Index(0), Term(0)), |e| (e.index, e.term))
    }

    /// Up to here the disk has what is here.
    #[must_use]
    pub fn durable(&self) -> Index {
        self.durable
    }

    /// The entry at a place.
    #[must_use]
    pub fn get(&self, index: Index) -> Option<&Entry> {
        let place = usize::try_from(index.0).ok()?.checked_sub(1)?;
        self.entries.get(place)
    }

    /// The term at a place: 0 before the log, none after it.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == Index(0) { Some(Term(0)) } else { self.get(index).map(|e| e.term) }
    }

    /// Entries from `first` on: at least one if there is one, then as many as fit both limits.
    #[must_use]
    pub fn batch(&self, first: Index, entries_max: usize, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let start = usize::try_from(first.prev().0).unwrap_or(usize::MAX);
        let tail = self.entries.get(start..).unwrap_or_default();
        let fits = |entry: &&Entry| {
            bytes += entry.weight_bytes();
            bytes <= bytes_max || bytes == entry.weight_bytes()
        };
        tail.iter().take(entries_max).take_while(fits).cloned().collect()
    }

    /// Entries from `first` to `last`, both included.
    #[must_use]
    pub fn range(&self, first: Index, last: Index) -> &[Entry] {
        let end = usize::try_from(last.0).unwrap_or(usize::MAX).min(self.entries.len());
        let start = usize::try_from(first.prev().0).unwrap_or(usize::MAX).min(end);
        &self.entries[start..end]
    }

    /// The last place at or before `index` whose term is not above `term`. Before it, agreement is possible; after it,
    /// in a log that has `term` there, it is not.
    #[must_use]
    pub fn agreement_possible_at(&self, index: Index, term: Term) -> (Index, Term) {
        let end = usize::try_from(index.0).unwrap_or(usize::MAX).min(self.entries.len());
        let place = self.entries[..end].partition_point(|e| e.term <= term);
        place.checked_sub(1).map_or((Index(0), Term(0)), |i| (self.entries[i].index, self.entries[i].term))
    }

    /// Adds entries at the end.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let (last, last_term) = self.last();
            assert_eq!(entry.index, last.next(), "an append leaves a gap in the log");
            assert!(entry.term >= last_term, "an append lets the term fall");
            self.entries.push(entry);
        }
    }

    /// Removes the entry at `from` and all after it.
    pub(crate) fn truncate(&mut self, from: Index) {
        let keep = from.prev();
        self.entries.truncate(usize::try_from(keep.0).expect("a log in memory has an index that fits"));
        self.durable = self.durable.min(keep);
        self.unwritten = self.unwritten.min(from);
        for write in &mut self.under_way {
            write.covers = write.covers.min(keep);
        }
    }

    /// Whether a write is needed for the entries.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.unwritten <= self.last().0
    }

    /// Everything not yet asked to be written, as write `seq`.
    pub(crate) fn take_unwritten(&mut self, seq: WriteSeq) -> (Index, Vec<Entry>) {
        let from = self.unwritten;
        let last = self.last().0;
        let entries = self.range(from, last).to_vec();
        self.under_way.push_back(UnderWay { seq, covers: last });
        self.unwritten = last.next();
        (from, entries)
    }

    /// Write `seq`, and with it every earlier one, is on disk.
    pub(crate) fn persisted(&mut self, seq: WriteSeq) {
        while let Some(done) = self.under_way.front().filter(|w| w.seq <= seq) {
            self.durable = self.durable.max(done.covers);
            self.under_way.pop_front();
        }
        assert!(self.durable <= self.last().0, "the disk has more of the log than there is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index: Index(index), term: Term(term), kind: EntryKind::Noop }
    }

    /// The ABA race: index 3 is written in term 1, replaced in term 2, and only then does the first write complete.
    #[test]
    fn a_write_of_a_truncated_entry_does_not_vouch_for_its_successor() {
        let mut log = Log::restore(Vec::new());
        log.append([entry(1, 1), entry(2, 1), entry(3, 1)]);
        assert_eq!(log.take_unwritten(WriteSeq(1)).1.len(), 3);
        log.truncate(Index(3));
        log.append([entry(3, 2)]);
        assert_eq!(log.take_unwritten(WriteSeq(2)), (Index(3), vec![entry(3, 2)]));
        log.persisted(WriteSeq(1));
        assert_eq!(log.durable(), Index(2), "index 3 of term 2 is not on disk yet");
        log.persisted(WriteSeq(2));
        assert_eq!(log.durable(), Index(3));
    }

    #[test]
    fn a_batch_keeps_both_limits_but_never_starves_on_a_large_entry() {
        let command = |i, n| Entry { kind: EntryKind::Command(Bytes::from(vec![0; n])), ..entry(i, 1) };
        let log = Log::restore(vec![command(1, 1000), command(2, 10), command(3, 10), command(4, 10)]);
        let sizes = |first, count, bytes| log.batch(Index(first), count, bytes).len();
        assert_eq!(sizes(1, 10, 100), 1, "alone over the limit, and alone in its batch");
        assert_eq!(sizes(2, 10, 100), 2);
        assert_eq!(sizes(2, 1, 100), 1);
        assert_eq!(sizes(2, 10, 1000), 3);
        assert_eq!(sizes(5, 10, 1000), 0);
    }

    #[test]
    fn agreement_is_looked_for_a_term_at_a_time() {
        let log = Log::restore(vec![entry(1, 1), entry(2, 1), entry(3, 4), entry(4, 4), entry(5, 5)]);
        assert_eq!(log.agreement_possible_at(Index(5), Term(3)), (Index(2), Term(1)));
        assert_eq!(log.agreement_possible_at(Index(4), Term(4)), (Index(4), Term(4)));
        assert_eq!(log.agreement_possible_at(Index(9), Term(9)), (Index(5), Term(5)));
        assert_eq!(log.agreement_possible_at(Index(9), Term(0)), (Index(0), Term(0)));
    }
}
