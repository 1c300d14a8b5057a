//! The log in memory, and how far the disk has it.
//!
//! A log begins after its *start*: what is at or before it was compacted, or came as a snapshot, and is in the state
//! machine. The memberships that the entries hold are kept beside them, for they are in force as soon as they are here:
//! a truncation takes them away again.
//!
//! Laws:
//! - entries are contiguous from the start on, and their terms never fall from one to the next;
//! - `durable` never exceeds the last index, and everything at or below it is on disk *as it is here*;
//! - writes complete in the order they were asked for.
//!
//! The second law is where asynchronous writes bite (the ABA race of etcd's asynchronous storage): a write of index 10
//! may complete after that entry was truncated and another one put in its place, whose own write is still under way.
//! So each write under way remembers up to where it covers the log, and a truncation lowers that mark for all of them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    Index, LogStart, Membership, Term, WriteSeq,
    mutants::{self, Mutant},
};

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
    /// Who belongs to the group from here on.
    Membership(Box<Membership>),
}

impl Entry {
    /// What the entry weighs against limits in bytes: its payload and a fixed share for the rest.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const AROUND: usize = 32;
        match &self.kind {
            EntryKind::Noop => AROUND,
            EntryKind::Command(payload) => AROUND + payload.len(),
            EntryKind::Membership(membership) => AROUND + 64 * membership.members().len(),
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
    start: LogStart,
    entries: Vec<Entry>,
    /// What they weigh.
    bytes: usize,
    /// Those that the entries hold, in order.
    memberships: Vec<(Index, Membership)>,
    durable: Index,
    under_way: VecDeque<UnderWay>,
    /// The first index that no write has been asked for yet.
    unwritten: Index,
    /// No write has been asked for yet that knows the start.
    start_unwritten: bool,
}

impl Log {
    /// A log as it was found on disk.
    pub(crate) fn restore(start: LogStart, entries: Vec<Entry>) -> Log {
        for (place, entry) in (start.index.0 + 1..).zip(&entries) {
            assert_eq!(entry.index, Index(place), "the stored log has a gap");
        }
        assert!(entries.is_sorted_by_key(|e| e.term), "terms fall in the stored log");
        assert!(entries.first().is_none_or(|e| e.term >= start.term), "terms fall at the start of the stored log");
        let last = Index(start.index.0 + entries.len() as u64);
        let memberships = entries.iter().filter_map(membership_in).collect();
        let under_way = VecDeque::new();
        let bytes = entries.iter().map(Entry::weight_bytes).sum();
        Log {
            start,
            entries,
            bytes,
            memberships,
            durable: last,
            under_way,
            unwritten: last.next(),
            start_unwritten: false,
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> &LogStart {
        &self.start
    }

    /// The last entry's place and term; those of the start when the log is empty.
    #[must_use]
    pub fn last(&self) -> (Index, Term) {
        self.entries.last().map_or((self.start.index, self.start.term), |e| (e.index, e.term))
    }

    /// Up to here the disk has what is here.
    #[must_use]
    pub fn durable(&self) -> Index {
        self.durable
    }

    /// Who belongs to the group: what the last entry that says it says.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.memberships.last().map_or(&self.start.membership, |(_, membership)| membership)
    }

    /// Which entry says so; the start's if none here does.
    #[must_use]
    pub fn membership_index(&self) -> Index {
        self.memberships.last().map_or(self.start.index, |(index, _)| *index)
    }

    /// Who belonged to the group as of some entry, which is not before the start.
    #[must_use]
    pub fn membership_at(&self, index: Index) -> &Membership {
        assert!(index >= self.start.index, "the memberships before {} are forgotten", self.start.index);
        let known = self.memberships.iter().rev().find(|(at, _)| *at <= index);
        known.map_or(&self.start.membership, |(_, membership)| membership)
    }

    /// What its entries weigh.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first index after which the entries weigh no more than so much.
    #[must_use]
    pub fn first_within(&self, bytes_max: usize) -> Index {
        let mut bytes = 0;
        let too_much = self.entries.iter().rev().find(|entry| {
            bytes += entry.weight_bytes();
            bytes > bytes_max
        });
        too_much.map_or(self.start.index, |entry| entry.index)
    }

    /// How many entries are at or before an index, which may lie on either side of the log.
    fn count_to(&self, index: Index) -> usize {
        usize::try_from(index.0.saturating_sub(self.start.index.0)).unwrap_or(usize::MAX).min(self.entries.len())
    }

    /// The entry at a place.
    #[must_use]
    pub fn get(&self, index: Index) -> Option<&Entry> {
        let place = usize::try_from(index.0.checked_sub(self.start.index.0 + 1)?).ok()?;
        self.entries.get(place)
    }

    /// The term at a place; none after the log, and none before its start.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.start.index { Some(self.start.term) } else { self.get(index).map(|e| e.term) }
    }

    /// Entries from `first` on: at least one if there is one, then as many as fit both limits.
    #[must_use]
    pub fn batch(&self, first: Index, entries_max: usize, bytes_max: usize) -> Vec<Entry> {
        assert!(first > self.start.index, "entry {first} was compacted");
        let mut bytes = 0;
        let tail = &self.entries[self.count_to(first.prev())..];
        let fits = |entry: &&Entry| {
            bytes += entry.weight_bytes();
            bytes <= bytes_max || bytes == entry.weight_bytes()
        };
        tail.iter().take(entries_max).take_while(fits).cloned().collect()
    }

    /// Entries from `first` to `last`, both included, as far as they are here.
    #[must_use]
    pub fn range(&self, first: Index, last: Index) -> &[Entry] {
        let end = self.count_to(last);
        let start = self.count_to(first.prev()).min(end);
        &self.entries[start..end]
    }

    /// The last place at or before `index` whose term is not above `term`. Before it, agreement is possible; after it,
    /// in a log that has `term` there, it is not. Where the log does not reach back, nothing can be said against `index`.
    #[must_use]
    pub fn agreement_possible_at(&self, index: Index, term: Term) -> (Index, Term) {
        if index < self.start.index {
            return (index, term);
        }
        let place = self.entries[..self.count_to(index)].partition_point(|e| e.term <= term);
        place
            .checked_sub(1)
            .map_or((self.start.index, self.start.term), |i| (self.entries[i].index, self.entries[i].term))
    }

    /// Adds entries at the end.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let (last, last_term) = self.last();
            assert_eq!(entry.index, last.next(), "an append leaves a gap in the log");
            assert!(entry.term >= last_term, "an append lets the term fall");
            self.memberships.extend(membership_in(&entry));
            self.bytes += entry.weight_bytes();
            self.entries.push(entry);
        }
    }

    /// Removes the entry at `from` and all after it.
    pub(crate) fn truncate(&mut self, from: Index) {
        assert!(from > self.start.index, "entry {from} is in a snapshot and would be truncated");
        let keep = from.prev();
        let gone = self.entries.drain(self.count_to(keep)..);
        self.bytes -= gone.map(|e| e.weight_bytes()).sum::<usize>();
        self.memberships.retain(|(at, _)| *at <= keep || mutants::on(Mutant::KeepsTruncated));
        self.durable = self.durable.min(keep);
        self.unwritten = self.unwritten.min(from);
        for write in self.under_way.iter_mut().filter(|_| !mutants::on(Mutant::OldWriteVouches)) {
            write.covers = write.covers.min(keep);
        }
    }

    /// Forgets the entries up to `index`, which the state machine has on disk.
    pub(crate) fn compact(&mut self, index: Index) {
        assert!(index <= self.durable, "entry {index} is not on disk and would be compacted");
        let term = self.term_at(index).expect("what is compacted is in the log");
        self.forget_up_to(LogStart { index, term, membership: self.membership_at(index).clone() });
    }

    /// The log begins here, and goes on as it does.
    fn forget_up_to(&mut self, start: LogStart) {
        let index = start.index;
        self.start = start;
        self.unwritten = self.unwritten.max(index.next());
        let gone = self.entries.drain(..self.entries.partition_point(|e| e.index <= index));
        self.bytes -= gone.map(|e| e.weight_bytes()).sum::<usize>();
        self.memberships.retain(|(at, _)| *at > index);
        self.start_unwritten = true;
    }

    /// A snapshot took the place of everything up to its index. What comes after it is kept if it follows from it, whether
    /// it is on disk yet or not: its acknowledgement may wait for a write that is under way, and would else vouch for what
    /// the next write removes.
    pub(crate) fn begin_after(&mut self, start: LogStart) {
        if self.term_at(start.index) == Some(start.term) {
            self.forget_up_to(start);
            return;
        }
        self.entries.clear();
        self.bytes = 0;
        self.memberships.clear();
        self.durable = Index(0);
        self.unwritten = start.index.next();
        self.under_way.iter_mut().for_each(|write| write.covers = Index(0));
        self.start = start;
        self.start_unwritten = true;
    }

    /// Whether a write is needed.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.start_unwritten || self.unwritten <= self.last().0
    }

    /// Everything not yet asked to be written, as write `seq`: the start if it is new, and the entries from an index on.
    pub(crate) fn take_unwritten(&mut self, seq: WriteSeq) -> (Option<LogStart>, Index, Vec<Entry>) {
        let from = self.unwritten;
        let last = self.last().0;
        let entries = self.range(from, last).to_vec();
        self.under_way.push_back(UnderWay { seq, covers: last });
        self.unwritten = last.next();
        let start = std::mem::take(&mut self.start_unwritten).then(|| self.start.clone());
        (start, from, entries)
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
impl Log {
    /// For exploration: writes are counted from the last one that is done.
    pub(crate) fn count_anew(&mut self, done: u64) {
        self.under_way.iter_mut().for_each(|write| write.seq.0 -= done);
    }
}

fn membership_in(entry: &Entry) -> Option<(Index, Membership)> {
    match &entry.kind {
        EntryKind::Membership(membership) => Some((entry.index, (**membership).clone())),
        EntryKind::Noop | EntryKind::Command(_) => None,
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index: Index(index), term: Term(term), kind: EntryKind::Noop }
    }

    /// The ABA race: index 3 is written in term 1, replaced in term 2, and only then does the first write complete.
    #[test]
    fn a_write_of_a_truncated_entry_does_not_vouch_for_its_successor() {
        let mut log = Log::restore(LogStart::default(), Vec::new());
        log.append([entry(1, 1), entry(2, 1), entry(3, 1)]);
        assert_eq!(log.take_unwritten(WriteSeq(1)).2.len(), 3);
        log.truncate(Index(3));
        log.append([entry(3, 2)]);
        assert_eq!(log.take_unwritten(WriteSeq(2)), (None, Index(3), vec![entry(3, 2)]));
        log.persisted(WriteSeq(1));
        assert_eq!(log.durable(), Index(2), "index 3 of term 2 is not on disk yet");
        log.persisted(WriteSeq(2));
        assert_eq!(log.durable(), Index(3));
    }

    /// A write is done after every earlier one, so its end vouches for them too; but the ends may be told in any order.
    #[test]
    fn ends_of_writes_that_are_told_in_another_order_change_nothing() {
        let mut log = Log::restore(LogStart::default(), Vec::new());
        for index in 1..=3 {
            log.append([entry(index, 1)]);
            log.take_unwritten(WriteSeq(index));
        }
        log.persisted(WriteSeq(2));
        assert_eq!(log.durable(), Index(2), "the first write is done as well, the third is not");
        log.persisted(WriteSeq(1));
        assert_eq!(log.durable(), Index(2), "what was known stays known");
        log.truncate(Index(2));
        log.append([entry(2, 2), entry(3, 2)]);
        log.take_unwritten(WriteSeq(4));
        for late in [3, 1, 2] {
            log.persisted(WriteSeq(late));
            assert_eq!(log.durable(), Index(1), "write {late} knows nothing of what came in its place");
        }
        log.persisted(WriteSeq(4));
        assert_eq!(log.durable(), Index(3));
    }

    #[test]
    fn a_batch_keeps_both_limits_but_never_starves_on_a_large_entry() {
        let command = |i, n| Entry { kind: EntryKind::Command(Bytes::from(vec![0; n])), ..entry(i, 1) };
        let log =
            Log::restore(LogStart::default(), vec![command(1, 1000), command(2, 10), command(3, 10), command(4, 10)]);
        let sizes = |first, count, bytes| log.batch(Index(first), count, bytes).len();
        assert_eq!(sizes(1, 10, 100), 1, "alone over the limit, and alone in its batch");
        assert_eq!(sizes(2, 10, 100), 2);
        assert_eq!(sizes(2, 1, 100), 1);
        assert_eq!(sizes(2, 10, 1000), 3);
        assert_eq!(sizes(5, 10, 1000), 0);
    }

    #[test]
    fn agreement_is_looked_for_a_term_at_a_time() {
        let log =
            Log::restore(LogStart::default(), vec![entry(1, 1), entry(2, 1), entry(3, 4), entry(4, 4), entry(5, 5)]);
        assert_eq!(log.agreement_possible_at(Index(5), Term(3)), (Index(2), Term(1)));
        assert_eq!(log.agreement_possible_at(Index(4), Term(4)), (Index(4), Term(4)));
        assert_eq!(log.agreement_possible_at(Index(9), Term(9)), (Index(5), Term(5)));
        assert_eq!(log.agreement_possible_at(Index(9), Term(0)), (Index(0), Term(0)));
    }
}
