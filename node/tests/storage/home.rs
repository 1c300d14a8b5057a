//! A data directory of a test, and what is written to it.

use std::fs;

use bytes::Bytes;
use raftdeck_jobs::{Call, Command, JobId, NewJob, Op};
use raftdeck_node::storage::{Directory, Identity, Opened, StorageError};
use raftdeck_raft::{
    Damage, Entry, EntryKind, GroupId, HardState, Index, LogStart, Membership, NodeId, Term, Write, WriteSeq,
};
use tempfile::TempDir;

pub(crate) fn identity(node: u64) -> Identity {
    Identity { cluster_id: "test".into(), node: NodeId(node) }
}

/// A home with a data directory in it, and its witness beside.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// In memory where there is such a place: thousands of them then take no longer than their computing.
    pub(crate) fn light() -> Home {
        let memory = std::path::Path::new("/dev/shm");
        Home(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap())
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.0.path().join("n1")
    }

    pub(crate) fn open_as(&self, node: u64) -> Result<Opened, StorageError> {
        raftdeck_node::storage::open(&Directory::open(&self.data())?, GroupId::FIRST, &identity(node))
    }

    pub(crate) fn open(&self) -> Opened {
        self.open_as(1).unwrap()
    }

    /// As a crash leaves it: closing the last connection would fold the write-ahead logs into the files.
    pub(crate) fn copy(&self) -> Home {
        self.copy_to(Home::new())
    }

    pub(crate) fn copy_to(&self, copy: Home) -> Home {
        fs::create_dir(copy.data()).unwrap();
        for file in fs::read_dir(self.data()).unwrap().map(|f| f.unwrap().path()) {
            fs::copy(&file, copy.data().join(file.file_name().unwrap())).unwrap();
        }
        fs::copy(self.0.path().join("n1.id"), copy.0.path().join("n1.id")).unwrap();
        copy
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.data().join(file)).unwrap();
    }

    pub(crate) fn spoil(&self, file: &str) {
        let path = self.data().join(file);
        let length = fs::metadata(&path).unwrap().len();
        fs::write(path, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    }
}

pub(crate) fn command(text: &str) -> EntryKind {
    let job = NewJob { handler: "echo".into(), payload: Bytes::from(text.to_owned()), ..NewJob::default() };
    EntryKind::Command(Command::of(1, Op::Submit { jobs: vec![job] }, None).encode())
}

pub(crate) fn entry(index: u64, term: u64) -> Entry {
    let kind = match index % 16 {
        0 => EntryKind::Noop,
        1 => EntryKind::Membership(Box::new(Membership::of([1, 2, index].map(NodeId)))),
        _ => command(&format!("payload of {index} in {term}")),
    };
    Entry { index: Index(index), term: Term(term), kind }
}

pub(crate) fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(index, term)).collect()
}

pub(crate) fn hard(term: u64) -> HardState {
    HardState { term: Term(term), voted_for: Some(NodeId(2)), damage: None }
}

pub(crate) fn write(term: u64, entries: Vec<Entry>, from: u64) -> Write {
    Write { seq: WriteSeq(from), hard: hard(term), start: None, from: Index(from), entries }
}

pub(crate) fn start(index: u64, term: u64) -> LogStart {
    LogStart { index: Index(index), term: Term(term), membership: Membership::of([1, 2, 3].map(NodeId)) }
}

pub(crate) fn append(opened: &mut Opened, writes: &[Write]) {
    opened.log_store.append(&mut opened.log, writes).unwrap();
}

/// Applies entries and writes the tables.
pub(crate) fn remember(opened: &mut Opened, until: u64, term: u64) {
    for entry in entries(opened.machine.applied() + 1..=until, term) {
        match &entry.kind {
            EntryKind::Noop | EntryKind::Membership(_) => opened.machine.apply_nothing(entry.index.0),
            EntryKind::Command(bytes) => {
                let _ = opened.machine.apply(entry.index.0, &Command::decode(bytes).unwrap());
            }
        }
    }
    let changes = opened.machine.take_changes();
    opened.state_store.write(&mut opened.state, &changes, &start(until, term)).unwrap();
    opened.machine.remembered(&changes);
}

/// So many jobs come and are cancelled, in the first entry of a machine, and are in the tables.
pub(crate) fn finish_jobs(opened: &mut Opened, count: u64) {
    let job = NewJob { handler: "echo".into(), ..NewJob::default() };
    let mut command = Command::of(1, Op::Submit { jobs: vec![job; usize::try_from(count).unwrap()] }, None);
    command.calls.extend((1..=count).map(|job| Call { op: Op::Cancel { job: JobId(job) }, session: None }));
    let _ = opened.machine.apply(1, &command);
    let changes = opened.machine.take_changes();
    opened.state_store.write(&mut opened.state, &changes, &start(1, 3)).unwrap();
    opened.machine.remembered(&changes);
}

/// A node that stopped without closing its files: entries of term 3, written one by one.
pub(crate) fn with_entries(count: u64) -> (Home, Opened) {
    let home = Home::new();
    let mut opened = home.open();
    for i in 1..=count {
        append(&mut opened, &[write(3, vec![entry(i, 3)], i)]);
    }
    (home, opened)
}

pub(crate) fn damage(until: u64, term: u64) -> Option<Damage> {
    Some(Damage { until: Index(until), term: Term(term) })
}
