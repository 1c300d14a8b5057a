//! A node's disk.
//!
//! The node's own storage functions, on a [`Drive`]. A write is done when the simulator says that its time has come. A
//! crash is a kill of the process or a loss of power, as drawn; if a write was under way, some part of it may have been
//! done before, up to any of the operations that it consists of.

use raftdeck_jobs::{Changes, Machine};
use raftdeck_node::{
    replica::Input,
    storage::{Identity, LogStore, StateStore, StorageError, load_state},
};
use raftdeck_raft::{GroupId, Index, LogStart, NodeId, Restart, SnapshotTask, StorageId, Term, Write, WriteSeq};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_rusqlite::rusqlite::Connection;

use crate::vfs::{Drive, Survivors};

/// No write of a few entries is longer than this many operations.
const OPERATIONS_MAX: u64 = 24;

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    identity: Identity,
    drive: Drive,
    /// A stream of its own: what a crash leaves does not change what else is drawn.
    rng: StdRng,
    open: Option<Open>,
    /// There was a log here once: what the witness beside a real directory says.
    is_witnessed: bool,
    /// The terms of the entries that are on disk: what the checks count majorities by.
    terms: Vec<Term>,
}

/// What a node finds when it starts.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) storage: StorageId,
    pub(crate) restart: Restart,
    pub(crate) machine: Machine,
}

/// What a node that is up holds.
#[derive(Debug)]
struct Open {
    log_conn: Connection,
    state_conn: Connection,
    log: LogStore,
    state: StateStore,
}

impl Disk {
    pub(crate) fn new(node: NodeId, seed: u64) -> Disk {
        let identity = Identity { cluster_id: "sim".into(), node };
        let mut rng = StdRng::seed_from_u64(seed ^ node.0.rotate_right(16));
        let drive = Drive::new(rng.random());
        Disk { identity, drive, rng, open: None, is_witnessed: false, terms: Vec::new() }
    }

    pub(crate) fn drive(&self) -> &Drive {
        &self.drive
    }

    /// What a node finds when it starts.
    pub(crate) fn start(&mut self) -> Result<Started, StorageError> {
        self.open = None;
        self.drive.reopen();
        if self.is_witnessed && self.drive.file_bytes("log.db").is_none() {
            return Err(StorageError::LogLost("the directory was emptied".into()));
        }
        let connect = |file| self.drive.connect(file).map_err(|source| StorageError::Sqlite { file, source });
        let mark = self.drive.mark("mark").map_err(|source| StorageError::Io { file: "mark", source })?;
        let (mut log_conn, mut state_conn) = (connect("log.db")?, connect("state.db")?);
        let may_be_new = !self.is_witnessed;
        let (log, found) = LogStore::open(&mut log_conn, Box::new(mark), GroupId::FIRST, &self.identity, may_be_new)?;
        self.is_witnessed = true;
        self.terms = found.entries.iter().map(|e| e.term).collect();
        let (state, machine) = load_state(&mut state_conn, &found.storage_id, found.entries.len() as u64)?;
        self.open = Some(Open { log_conn, state_conn, log, state });
        let applied = Index(machine.applied());
        let restart = Restart { hard: found.hard, start: LogStart::default(), entries: found.entries, applied };
        Ok(Started { storage: Disk::first_storage(self.identity.node), restart, machine })
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
    pub(crate) fn snapshot(&mut self, task: &SnapshotTask) -> Result<Option<Input>, StorageError> {
        match task {
            SnapshotTask::Take { .. } => Ok(Some(Input::SnapshotTaken(None))),
            SnapshotTask::Read { .. } | SnapshotTask::Begin(_) | SnapshotTask::Store(_) | SnapshotTask::Install(_) => {
                Ok(None)
            }
        }
    }

    pub(crate) fn write(&mut self, writes: &[Write]) -> Result<WriteSeq, StorageError> {
        let open = self.open.as_mut().expect("a node that is up has its disk open");
        let seq = open.log.append(&mut open.log_conn, writes)?;
        for write in writes {
            self.terms.truncate(usize::try_from(write.from.prev().0).expect("a simulated log is short"));
            self.terms.extend(write.entries.iter().map(|e| e.term));
        }
        Ok(seq)
    }

    /// Whether these writes remove entries that are on disk.
    pub(crate) fn truncates(&self, writes: &[Write]) -> bool {
        writes.iter().any(|write| write.from.0 <= self.terms.len() as u64)
    }

    pub(crate) fn remember(&mut self, changes: &Changes) -> Result<(), StorageError> {
        let open = self.open.as_mut().expect("a node that is up has its disk open");
        open.state.write(&mut open.state_conn, changes)
    }

    /// The node is gone; `under_way` is the write that had begun, which nobody was told of.
    pub(crate) fn crash(&mut self, under_way: &[Write]) {
        let Some(mut open) = self.open.take() else { return };
        if !under_way.is_empty() && self.rng.random_bool(0.5) {
            self.drive.kill_after(self.rng.random_range(0..OPERATIONS_MAX));
            // It fails in the middle, or is done and not acknowledged: the next start finds out.
            let _ = open.log.append(&mut open.log_conn, under_way);
        }
        match self.rng.random_range(0..4) {
            0 => self.drive.kill(),
            1 => self.drive.crash(Survivors::None),
            2 => self.drive.crash(Survivors::All),
            _ => self.drive.crash(Survivors::Drawn(&mut self.rng)),
        }
    }

    pub(crate) fn has(&self, index: Index, term: Term) -> bool {
        let place = usize::try_from(index.prev().0).expect("a simulated log is short");
        self.terms.get(place) == Some(&term)
    }
}
