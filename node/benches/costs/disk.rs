//! Log and tables, on files in memory. What SQLite does now and then, as folding its log into the database, is in it as
//! often as it comes.

use std::time::Duration;

use raftdeck_jobs::Machine;
use raftdeck_node::storage::{self, Directory, Identity, Opened};
use raftdeck_raft::{Entry, EntryKind, GroupId, HardState, Index, LogStart, Membership, NodeId, Term, Write, WriteSeq};
use tempfile::TempDir;

use crate::{
    jobs::{ack, apply, claim, submit},
    turns::{Work, timed},
};

/// A node's files, gone with this value.
struct Disk {
    opened: Opened,
    _dir: TempDir,
}

impl Disk {
    fn new() -> Disk {
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("there is room for a temporary folder");
        let files = Directory::open(&dir.path().join("n1")).expect("an empty folder can be opened");
        let identity = Identity { cluster_id: "bench".into(), node: NodeId(1) };
        let opened = storage::open(&files, GroupId::FIRST, &identity).expect("an empty directory is a new node's");
        Disk { opened, _dir: dir }
    }
}

/// Batches of so many entries of 200 bytes, as the log's thread writes them.
pub(crate) struct Append {
    disk: Disk,
    entries: u64,
    last: u64,
}

impl Append {
    pub(crate) fn of(entries: u64) -> Append {
        Append { disk: Disk::new(), entries, last: 0 }
    }

    fn next(&mut self) -> Write {
        let from = self.last + 1;
        self.last += self.entries;
        let entry = |index| {
            let kind = EntryKind::Command(vec![7; 200].into());
            Entry { index: Index(index), term: Term(1), kind }
        };
        let hard = HardState { term: Term(1), ..HardState::default() };
        let entries = (from..=self.last).map(entry).collect();
        Write { seq: WriteSeq(from), hard, start: None, from: Index(from), entries }
    }
}

impl Work for Append {
    fn run(&mut self) -> (u32, Duration) {
        let writes: Vec<Write> = (0..8).map(|_| self.next()).collect();
        let Opened { log_store, log, .. } = &mut self.disk.opened;
        timed(8, || {
            for write in &writes {
                log_store.append(log, std::slice::from_ref(write)).expect("the disk takes an append");
            }
        })
    }
}

/// A thousand jobs that came and went since the tables were written last.
pub(crate) struct Tables {
    disk: Disk,
    machine: Machine,
}

impl Tables {
    pub(crate) fn new() -> Tables {
        Tables { disk: Disk::new(), machine: Machine::new() }
    }
}

impl Work for Tables {
    fn run(&mut self) -> (u32, Duration) {
        apply(&mut self.machine, submit(1_000));
        let claimed = apply(&mut self.machine, claim(1_000));
        apply(&mut self.machine, ack(&claimed));
        let changes = self.machine.take_changes();
        assert_eq!(changes.jobs.len(), 1_000);
        let index = Index(self.machine.applied());
        let start = LogStart { index, term: Term(1), membership: Membership::of([NodeId(1)]) };
        let Opened { state_store, state, .. } = &mut self.disk.opened;
        let took = timed(1, || state_store.write(state, &changes, &start).expect("the disk takes a thousand jobs"));
        self.machine.remembered(&changes);
        took
    }
}
