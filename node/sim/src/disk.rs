//! A node's disk.
//!
//! The log is a SQLite database in memory that outlives its node. A write happens whole when the simulator says that its
//! time has come; writes that were still waiting when the node crashed never happen.

use std::{
    io,
    sync::{Arc, Mutex},
};

use raftdeck_jobs::{Changes, Machine};
use raftdeck_node::{
    replica::Input,
    storage::{Identity, LogStore, MarkFile, StateStore, StorageError, load_state},
};
use raftdeck_raft::{GroupId, Index, LogStart, NodeId, Restart, SnapshotTask, StorageId, Term, Write, WriteSeq};
use tokio_rusqlite::rusqlite::Connection;

/// The mark's file.
#[derive(Clone, Debug, Default)]
struct MemoryMark(Arc<Mutex<Vec<u8>>>);

impl MarkFile for MemoryMark {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().expect("no holder panics").clone())
    }

    fn write_durably(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().expect("no holder panics");
        let end = offset + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// What a node finds when it starts.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) storage: StorageId,
    pub(crate) restart: Restart,
    pub(crate) machine: Machine,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    identity: Identity,
    mark: MemoryMark,
    log: Connection,
    state: Connection,
    open: Option<(LogStore, StateStore)>,
    /// The terms of the entries that are on disk: what the checks count majorities by.
    terms: Vec<Term>,
}

impl Disk {
    pub(crate) fn new(node: NodeId) -> Disk {
        let memory = || Connection::open_in_memory().expect("SQLite opens a database in memory");
        let identity = Identity { cluster_id: "sim".into(), node };
        Disk { identity, mark: MemoryMark::default(), log: memory(), state: memory(), open: None, terms: Vec::new() }
    }

    /// The directory that a node has first.
    pub(crate) fn first_storage(node: NodeId) -> StorageId {
        StorageId(node.0.into())
    }

    /// Whether it still has it.
    pub(crate) fn is_first(&self) -> bool {
        true
    }

    /// What is to be done with snapshots: the answer.
    pub(crate) fn snapshot(&mut self, task: SnapshotTask) -> Result<Option<Input>, StorageError> {
        match task {
            SnapshotTask::Take { .. } => Ok(Some(Input::SnapshotTaken(None))),
            SnapshotTask::Read { .. } | SnapshotTask::Begin(_) | SnapshotTask::Store(_) | SnapshotTask::Install(_) => {
                Ok(None)
            }
        }
    }

    /// What a node finds when it starts.
    pub(crate) fn start(&mut self) -> Result<Started, StorageError> {
        let mark = Box::new(self.mark.clone());
        let (log, found) = LogStore::open(&mut self.log, mark, GroupId::FIRST, &self.identity, self.terms.is_empty())?;
        let (state, machine) = load_state(&mut self.state, &found.storage_id, found.entries.len() as u64)?;
        self.open = Some((log, state));
        let applied = Index(machine.applied());
        let restart = Restart { hard: found.hard, start: LogStart::default(), entries: found.entries, applied };
        Ok(Started { storage: Disk::first_storage(self.identity.node), restart, machine })
    }

    pub(crate) fn write(&mut self, writes: &[Write]) -> Result<WriteSeq, StorageError> {
        let (log, _) = self.open.as_mut().expect("a node that is up has its disk open");
        let seq = log.append(&mut self.log, writes)?;
        for write in writes {
            self.terms.truncate(usize::try_from(write.from.prev().0).expect("a simulated log is short"));
            self.terms.extend(write.entries.iter().map(|e| e.term));
        }
        Ok(seq)
    }

    pub(crate) fn remember(&mut self, changes: &Changes) -> Result<(), StorageError> {
        let (_, state) = self.open.as_ref().expect("a node that is up has its disk open");
        state.write(&mut self.state, changes)
    }

    pub(crate) fn has(&self, index: Index, term: Term) -> bool {
        let place = usize::try_from(index.prev().0).expect("a simulated log is short");
        self.terms.get(place) == Some(&term)
    }
}
