//! The log against a list that nobody would build a log of.

use proptest::prelude::*;

use super::*;
use crate::NodeId;

#[derive(Clone, Debug)]
enum Step {
    /// Of a term that is so much higher; a membership or a command.
    Append {
        term_up: u64,
        membership: bool,
    },
    Truncate(usize),
    Compact(usize),
    /// So far after the start, in a term that is so much higher than the one there.
    BeginAfter(u64, u64),
    Take,
    Persist(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2u64, any::<bool>()).prop_map(|(term_up, membership)| Step::Append { term_up, membership }),
        2 => (0..6usize).prop_map(Step::Truncate),
        1 => (0..6usize).prop_map(Step::Compact),
        1 => (1..6u64, 0..2u64).prop_map(|(after, term_up)| Step::BeginAfter(after, term_up)),
        4 => Just(Step::Take),
        3 => (0..3usize).prop_map(Step::Persist),
    ]
}

/// A log as nobody would build it: a list. In memory, and once more on disk.
#[derive(Clone, Debug, Default)]
struct List {
    start: LogStart,
    entries: Vec<Entry>,
}

impl List {
    fn last(&self) -> (Index, Term) {
        self.entries.last().map_or((self.start.index, self.start.term), |e| (e.index, e.term))
    }

    fn has(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    fn membership_at(&self, index: Index) -> &Membership {
        let known = self.entries.iter().rev().filter(|e| e.index <= index).find_map(|e| match &e.kind {
            EntryKind::Membership(membership) => Some(membership),
            EntryKind::Noop | EntryKind::Command(_) => None,
        });
        known.map_or(&self.start.membership, |membership| &**membership)
    }

    fn begin_after(&mut self, start: LogStart) {
        self.entries.retain(|e| e.index > start.index);
        self.start = start;
    }
}

proptest! {
    #[test]
    fn a_log_is_a_list_whose_beginning_is_on_disk(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut log = Log::restore(LogStart::default(), Vec::new());
        let (mut list, mut disk) = (List::default(), List::default());
        let mut writes: VecDeque<(WriteSeq, Option<LogStart>, Index, Vec<Entry>)> = VecDeque::new();
        // Where the disk need not be asked: so far it had everything when that was compacted.
        let mut safe = Index(0);
        for (id, step) in (1u64..).zip(steps) {
            let (last, term) = list.last();
            let place = |n: usize| list.entries.get(n).map(|e| e.index);
            // No two entries are equal, so that none can be taken for another.
            let named = Membership::of([NodeId(id)]);
            match step {
                Step::Append { term_up, membership } => {
                    let command = || EntryKind::Command(Bytes::copy_from_slice(&id.to_be_bytes()));
                    let kind = if membership { EntryKind::Membership(Box::new(named)) } else { command() };
                    let entry = Entry { index: last.next(), term: Term(term.0 + term_up), kind };
                    list.entries.push(entry.clone());
                    log.append([entry]);
                }
                Step::Truncate(n) => {
                    if let Some(from) = place(n) {
                        list.entries.truncate(n);
                        log.truncate(from);
                        // Never without an entry in the place of what goes: the disk is told by that one's write.
                        let entry = Entry { index: from, term, kind: EntryKind::Membership(Box::new(named)) };
                        list.entries.push(entry.clone());
                        log.append([entry]);
                    }
                }
                Step::Compact(n) => {
                    if let Some(index) = place(n).filter(|index| *index <= log.durable()) {
                        let membership = list.membership_at(index).clone();
                        list.begin_after(LogStart { index, term: list.entries[n].term, membership });
                        safe = index;
                        log.compact(index);
                    }
                }
                Step::BeginAfter(after, term_up) => {
                    let index = Index(list.start.index.0 + after);
                    let known = log.term_at(index).unwrap_or(term);
                    let membership = if log.term_at(index).is_some() { log.membership_at(index).clone() } else { named };
                    let start = LogStart { index, term: Term(known.0 + term_up), membership };
                    if log.term_at(index) != Some(start.term) {
                        list.entries.clear();
                    } else if index <= log.durable() {
                        safe = index;
                    }
                    list.begin_after(start.clone());
                    log.begin_after(start);
                }
                Step::Take => {
                    let (start, from, entries) = log.take_unwritten(WriteSeq(id));
                    writes.push_back((WriteSeq(id), start, from, entries));
                }
                Step::Persist(n) => {
                    let Some((seq, ..)) = writes.get(n) else { continue };
                    log.persisted(*seq);
                    for (_, start, from, entries) in writes.drain(..=n) {
                        if let Some(start) = start {
                            disk.begin_after(start);
                        }
                        disk.entries.retain(|e| e.index < from);
                        disk.entries.extend(entries);
                    }
                }
            }
            prop_assert_eq!(log.start(), &list.start);
            prop_assert_eq!(log.last(), list.last());
            prop_assert_eq!(log.range(Index(0), Index(u64::MAX)), &list.entries[..]);
            prop_assert_eq!(log.bytes(), list.entries.iter().map(Entry::weight_bytes).sum::<usize>());
            prop_assert_eq!(log.membership(), list.membership_at(list.last().0));
            let says = |e: &&Entry| matches!(e.kind, EntryKind::Membership(_));
            let says_so = list.entries.iter().rev().find(says).map_or(list.start.index, |e| e.index);
            prop_assert_eq!(log.membership_index(), says_so);
            for index in list.start.index.0..=list.last().0.0 {
                prop_assert_eq!(log.membership_at(Index(index)), list.membership_at(Index(index)));
            }
            // A start that is not on disk is there all the same if the entry that it stands for is.
            let stands = |e: &Entry| (e.index, e.term) == (list.start.index, list.start.term);
            let start_is_safe =
                safe >= list.start.index || disk.start == list.start || disk.entries.iter().any(stands);
            let on_disk = list.entries.iter().take_while(|e| disk.has(e)).last().map_or(list.start.index, |e| e.index);
            let durable = if start_is_safe { on_disk } else { list.start.index };
            prop_assert!(log.durable() <= durable, "{} is not on disk, {} is", log.durable(), durable);
            if writes.is_empty() && !log.has_unwritten() {
                prop_assert_eq!((log.durable(), &disk.start, &disk.entries), (list.last().0, &list.start, &list.entries));
            }
        }
    }
}
