//! A script of calls on the storage code, with what must be on disk after each of them.

use std::{collections::BTreeMap, path::Path};

use raftdeck_jobs::{Changes, Command, Machine, NewJob, Op};
use raftdeck_node::storage::{self, Directory, Identity, Opened, StorageError};
use raftdeck_raft::{Entry, EntryKind, GroupId, HardState, Index, LogStart, Membership, NodeId, Term, Write, WriteSeq};
use raftdeck_sim::vfs::Drive;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Append(Vec<Write>),
    Remember(Box<Changes>, LogStart),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) calls: Vec<Call>,
    /// Term, vote and log after so many calls.
    pub(crate) logs: Vec<(HardState, Vec<Entry>)>,
    /// The machine's hash by what it has applied, for every moment that was remembered.
    pub(crate) hashes: BTreeMap<u64, u64>,
}

impl Script {
    /// A script of so many calls, each with fewer than `entries_end` entries.
    pub(crate) fn draw(seed: u64, calls: usize, entries_end: u64) -> Script {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut machine = Machine::new();
        let mut hashes = BTreeMap::from([(0, machine.state_hash())]);
        let (mut hard, mut log) = (HardState::default(), Vec::<Entry>::new());
        let (mut script, mut logs) = (Vec::new(), vec![(hard, log.clone())]);
        for number in 0..calls as u64 {
            let committed = usize::try_from(machine.applied()).unwrap();
            if number % 3 == 2 && log.len() > committed {
                for _ in committed..log.len().min(committed + entries_end as usize - 1) {
                    let entry = &log[usize::try_from(machine.applied()).unwrap()];
                    let EntryKind::Command(payload) = &entry.kind else { panic!("the script has only commands") };
                    machine.apply(entry.index.0, &Command::decode(payload).unwrap());
                }
                let changes = machine.take_changes();
                machine.remembered(&changes);
                hashes.insert(machine.applied(), machine.state_hash());
                let index = Index(machine.applied());
                let term = log[usize::try_from(index.prev().0).unwrap()].term;
                let start = LogStart { index, term, membership: Membership::of([NodeId(1)]) };
                script.push(Call::Remember(Box::new(changes), start));
            } else {
                let mut writes = Vec::new();
                for _ in 0..rng.random_range(1..3) {
                    writes.push(draw_write(&mut rng, number, committed, entries_end, &mut hard, &mut log));
                }
                script.push(Call::Append(writes));
            }
            logs.push((hard, log.clone()));
        }
        Script { calls: script, logs, hashes }
    }
}

/// A write that goes on with the log, or replaces some of its end that is not committed.
fn draw_write(
    rng: &mut StdRng,
    seq: u64,
    committed: usize,
    entries_end: u64,
    hard: &mut HardState,
    log: &mut Vec<Entry>,
) -> Write {
    if rng.random_bool(0.3) || hard.term == Term(0) {
        *hard = HardState { term: hard.term.next(), voted_for: Some(NodeId(rng.random_range(1..4))), damage: None };
        if rng.random_bool(0.5) {
            log.truncate(rng.random_range(committed..=log.len()));
        }
    }
    let from = Index(log.len() as u64 + 1);
    let entries: Vec<Entry> = (0..rng.random_range(0..entries_end))
        .map(|n| {
            let payload = vec![7; rng.random_range(0..100 * entries_end as usize)].into();
            let jobs = vec![NewJob { handler: "echo".into(), payload, ..NewJob::default() }];
            let command = Command::of(1_000 + seq, Op::Submit { jobs }, None);
            Entry { index: Index(from.0 + n), term: hard.term, kind: EntryKind::Command(command.encode()) }
        })
        .collect();
    log.extend(entries.iter().cloned());
    Write { seq: WriteSeq(seq), hard: *hard, start: None, from, entries }
}

/// Where a node keeps its files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Drive(&'a Drive),
    Dir(&'a Path),
}

impl Place<'_> {
    /// As a node starts.
    pub(crate) fn open(self) -> Result<Opened, StorageError> {
        let identity = Identity { cluster_id: "test".into(), node: NodeId(1) };
        match self {
            Place::Drive(drive) => storage::open(drive, GroupId::FIRST, &identity),
            Place::Dir(path) => storage::open(&Directory::open(path)?, GroupId::FIRST, &identity),
        }
    }
}

/// Makes calls until one fails: how many returned, and the error.
pub(crate) fn run(opened: &mut Opened, calls: &[Call]) -> (usize, Option<StorageError>) {
    for (told, call) in calls.iter().enumerate() {
        let done = match call {
            Call::Append(writes) => opened.log_store.append(&mut opened.log, writes).map(|_| ()),
            Call::Remember(changes, start) => opened.state_store.write(&mut opened.state, changes, start),
        };
        if let Err(error) = done {
            return (told, Some(error));
        }
    }
    (calls.len(), None)
}
