//! A node's disk.
//!
//! The node's own storage functions, on a [`Drive`]. A write is done when the simulator says that its time has come. A
//! crash is a kill of the process or a loss of power, as drawn; if a write was under way, some part of it may have been
//! done before, up to any of the operations that it consists of.

use std::collections::BTreeMap;

use raftdeck_jobs::{Changes, Machine};
use raftdeck_node::{
    replica::Input,
    storage::{
        self, Identity, LOG, LogStore, StateStore, StorageError,
        snapshot::{self, Sealed},
    },
    transport::member::storage_id,
};
use raftdeck_raft::{GroupId, Index, LogStart, NodeId, Restart, SnapshotTask, StorageId, Term, Write, WriteSeq};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_rusqlite::rusqlite::{self, Connection, params_from_iter, types::Value};

use crate::vfs::{Drive, Survivors};

/// No write of a few entries is longer than this many operations.
const OPERATIONS_MAX: u64 = 24;

/// Few enough that a snapshot of a small state has several.
const CHUNK_BYTES: usize = 24 << 10;

/// What a node finds when it starts.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) storage: StorageId,
    pub(crate) restart: Restart,
    pub(crate) machine: Machine,
    /// It knows nothing of its past, and belongs to nobody.
    pub(crate) joins: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    identity: Identity,
    drive: Drive,
    /// A stream of its own: what a crash leaves does not change what else is drawn.
    rng: StdRng,
    open: Option<Open>,
    /// The log on disk, as far as the checks count majorities by it.
    holds: Holds,
    /// What it held when it was damaged last: what was committed with its help before that stays committed.
    held: Holds,
    /// Rows of the log that another took the place of, as they were.
    replaced: BTreeMap<Index, Vec<Value>>,
}

/// The terms of the entries on a disk.
#[derive(Clone, Debug, Default)]
struct Holds {
    start: (Index, Term),
    terms: Vec<Term>,
}

/// What a node that is up holds.
#[derive(Debug)]
struct Open {
    log_conn: Connection,
    state_conn: Connection,
    log: LogStore,
    state: StateStore,
    /// The snapshot that can be read from.
    sealed: Option<Sealed>,
}

impl Disk {
    pub(crate) fn new(node: NodeId, seed: u64) -> Disk {
        let identity = Identity { cluster_id: "sim".into(), node };
        let mut rng = StdRng::seed_from_u64(seed ^ node.0.rotate_right(16));
        let drive = Drive::new(rng.random());
        Disk {
            identity,
            drive,
            rng,
            open: None,
            holds: Holds::default(),
            held: Holds::default(),
            replaced: BTreeMap::new(),
        }
    }

    pub(crate) fn drive(&self) -> &Drive {
        &self.drive
    }

    /// What a node finds when it starts.
    pub(crate) fn start(&mut self) -> Result<Started, StorageError> {
        self.open = None;
        self.drive.reopen();
        let opened = storage::open(&self.drive, GroupId::FIRST, &self.identity)?;
        let found = opened.found;
        let start = (found.start.index, found.start.term);
        self.holds = Holds { start, terms: found.entries.iter().map(|e| e.term).collect() };
        self.open = Some(Open {
            log_conn: opened.log,
            state_conn: opened.state,
            log: opened.log_store,
            state: opened.state_store,
            sealed: None,
        });
        let storage = storage_id(&found.storage_id).expect("the storage makes its own ids");
        let applied = Index(opened.machine.applied());
        let restart = Restart { hard: found.hard, start: found.start, entries: found.entries, applied };
        Ok(Started { storage, restart, machine: opened.machine, joins: found.joins })
    }

    fn opened(&mut self) -> &mut Open {
        self.open.as_mut().expect("a node that is up has its disk open")
    }

    pub(crate) fn write(&mut self, writes: &[Write]) -> Result<WriteSeq, StorageError> {
        if self.truncates(writes) {
            self.keep_replaced(writes);
        }
        let open = self.opened();
        let seq = open.log.append(&mut open.log_conn, writes)?;
        for write in writes {
            self.holds.note(write);
        }
        Ok(seq)
    }

    /// Whether these writes remove entries that are on disk.
    pub(crate) fn truncates(&self, writes: &[Write]) -> bool {
        writes.iter().any(|write| write.from <= self.holds.end())
    }

    /// Remembers the rows that these writes remove. If they cannot be read, the writes will say so.
    fn keep_replaced(&mut self, writes: &[Write]) {
        let (end, from) = (self.holds.end(), writes.iter().map(|write| write.from).min().unwrap_or_default());
        let rows = last_rows(&self.opened().log_conn, (end.0 + 1).saturating_sub(from.0)).unwrap_or_default();
        self.replaced.extend((0..=end.0).rev().map(Index).zip(rows));
    }

    /// A row of the log is again what it was before it was replaced; false if it never was.
    pub(crate) fn age(&self, index: Index) -> bool {
        let Some(row) = self.replaced.get(&index) else { return false };
        self.drive.reopen();
        let put_back = || -> rusqlite::Result<usize> {
            let conn = self.drive.connect(LOG)?;
            conn.pragma_update(None, "locking_mode", "exclusive")?;
            let places = vec!["?"; row.len()].join(", ");
            conn.execute(&format!("insert or replace into entries values ({places})"), params_from_iter(row))
        };
        let is_done = put_back().is_ok();
        self.drive.kill();
        is_done
    }

    pub(crate) fn remember(&mut self, changes: &Changes, start: &LogStart) -> Result<(), StorageError> {
        let open = self.open.as_mut().expect("a node that is up has its disk open");
        open.state.remember(&mut open.state_conn, &self.drive, changes, start)
    }

    /// Reads all of the tables, as a node that works may never do.
    pub(crate) fn find_rot(&mut self) -> Result<(), StorageError> {
        let open = self.open.as_mut().expect("a node that is up has its disk open");
        open.state.scrub(&mut open.state_conn, &self.drive)
    }

    /// What is to be done with snapshots: the answer, if there is one.
    pub(crate) fn snapshot(&mut self, task: SnapshotTask) -> Result<Option<Input>, StorageError> {
        let files = &self.drive;
        let open = self.open.as_mut().expect("a node that is up has its disk open");
        Ok(match task {
            SnapshotTask::Take { .. } => {
                open.sealed = None;
                snapshot::copy(&open.state_conn, files)?;
                let sealed = open.sealed.insert(snapshot::seal(files, CHUNK_BYTES)?);
                Some(Input::SnapshotTaken(Some((sealed.id.index, sealed.bytes, sealed.id.checksum))))
            }
            SnapshotTask::Read { to, id, offset } => match open.sealed.as_ref().filter(|sealed| sealed.id == id) {
                Some(sealed) => Some(match snapshot::read_chunk(files, sealed, offset) {
                    Ok(Some(chunk)) => Input::ChunkRead(to, chunk),
                    Ok(None) | Err(_) => {
                        open.sealed = None;
                        Input::SnapshotLost(id)
                    }
                }),
                None => None,
            },
            SnapshotTask::Begin(meta) => {
                Some(Input::ChunkStored(meta.id(), snapshot::begin(files, &meta, CHUNK_BYTES)?))
            }
            SnapshotTask::Store(chunk) => Some(Input::ChunkStored(chunk.id, snapshot::store(files, &chunk)?)),
            SnapshotTask::Install(meta) => match snapshot::make_ready(files, &open.state, &meta)? {
                Some(machine) => {
                    snapshot::put_in_place(&mut open.state_conn, files)?;
                    Some(Input::SnapshotInstalled(meta, Box::new(machine)))
                }
                None => Some(Input::SnapshotRefused(meta.id())),
            },
        })
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

    /// It is being damaged.
    pub(crate) fn note_hurt(&mut self) {
        self.held = self.holds.clone();
    }

    /// Whether an entry is on disk, or in the state that took its place; or was, before the disk was damaged.
    pub(crate) fn has(&self, index: Index, term: Term) -> bool {
        self.holds.has(index, term) || self.held.has(index, term)
    }
}

/// The newest rows of the log, the newest first, whatever their columns are.
fn last_rows(conn: &Connection, count: u64) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut select = conn.prepare("select * from entries order by key desc limit ?")?;
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    select.query_map([count.cast_signed()], row)?.collect()
}

impl Holds {
    fn end(&self) -> Index {
        Index(self.start.0.0 + self.terms.len() as u64)
    }

    /// What is on disk after a write.
    fn note(&mut self, write: &Write) {
        let keep = usize::try_from(write.from.0.saturating_sub(self.start.0.0 + 1)).expect("a simulated log is short");
        self.terms.truncate(keep);
        if let Some(LogStart { index, term, .. }) = write.start {
            let gone = usize::try_from(index.0.saturating_sub(self.start.0.0)).expect("a simulated log is short");
            self.terms.drain(..gone.min(self.terms.len()));
            self.start = (index, term);
        }
        self.terms.extend(write.entries.iter().map(|e| e.term));
    }

    fn has(&self, index: Index, term: Term) -> bool {
        let (start, start_term) = self.start;
        match index.cmp(&start) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => start_term == term,
            std::cmp::Ordering::Greater => {
                let place = usize::try_from(index.0 - start.0 - 1).expect("a simulated log is short");
                self.terms.get(place) == Some(&term)
            }
        }
    }
}
