//! What the core wants done with snapshots, done one after the other, beside everything else the driver does.
//!
//! Copies are made on the state thread, which also writes the tables; sums and chunks are read and written on threads of
//! their own. While a snapshot is being put in place, nothing else is written to the tables.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use raftdeck_jobs::Machine;
use raftdeck_raft::{NodeId, SnapshotMeta, SnapshotTask};
use tokio_rusqlite::Connection;
use tracing::{info, warn};

use crate::{
    driver::flatten,
    replica::Input,
    storage::{
        Files, StateStore, StorageError,
        snapshot::{self, Sealed},
    },
};

/// Tasks that wait. Chunks beyond it are not read: whoever wants one asks again.
const WAITING_MAX: usize = 64;

/// A snapshot that could not be made is not tried again at once: the reason is most likely still there.
const RETRY_AFTER: Duration = Duration::from_secs(2);

type Work = Pin<Box<dyn Future<Output = Result<Done, StorageError>> + Send>>;

/// What came of a task.
#[derive(Debug)]
pub(crate) enum Done {
    /// The core is told so.
    Tell(Input),
    /// A snapshot was made.
    Sealed(Arc<Sealed>),
    /// Nothing that anybody waits for.
    Nothing,
}

/// The tasks of one node, and what they work on.
#[derive(Debug)]
pub(crate) struct Snapshots {
    files: Arc<dyn Files>,
    state: Connection,
    store: StateStore,
    waiting: VecDeque<SnapshotTask>,
    /// The one that can be read from.
    sealed: Option<Arc<Sealed>>,
    installing: bool,
}

impl Snapshots {
    pub(crate) fn new(files: Arc<dyn Files>, state: Connection, store: StateStore) -> Snapshots {
        Snapshots { files, state, store, waiting: VecDeque::new(), sealed: None, installing: false }
    }

    /// Something is to be done.
    pub(crate) fn extend(&mut self, tasks: Vec<SnapshotTask>) {
        for task in tasks {
            if self.waiting.len() < WAITING_MAX || !matches!(task, SnapshotTask::Read { .. }) {
                self.waiting.push_back(task);
            }
        }
    }

    /// Whether the tables must not be written.
    pub(crate) fn is_installing(&self) -> bool {
        self.installing
    }

    /// The next thing to do; not an exchange of the tables while they are being written.
    pub(crate) fn begin(&mut self, remembering: bool) -> Option<Work> {
        if remembering && matches!(self.waiting.front(), Some(SnapshotTask::Install(_))) {
            self.installing = true;
            return None;
        }
        let files = Arc::clone(&self.files);
        Some(match self.waiting.pop_front()? {
            SnapshotTask::Take { at_least: _ } => {
                self.sealed = None;
                Box::pin(take(files, self.state.clone()))
            }
            SnapshotTask::Read { to, id, offset } => match self.sealed.clone().filter(|sealed| sealed.id == id) {
                Some(sealed) => Box::pin(read(files, to, sealed, offset)),
                None => Box::pin(async { Ok(Done::Nothing) }),
            },
            SnapshotTask::Begin(meta) => Box::pin(async move {
                let id = meta.id();
                let stored = blocking(move || snapshot::begin(&*files, &meta, snapshot::CHUNK_BYTES)).await?;
                if stored > 0 {
                    info!("a snapshot as of {} comes in: goes on at byte {stored}", id.index);
                }
                Ok(Done::Tell(Input::ChunkStored(id, stored)))
            }),
            SnapshotTask::Store(chunk) => Box::pin(async move {
                let id = chunk.id;
                let stored = blocking(move || snapshot::store(&*files, &chunk)).await?;
                Ok(Done::Tell(Input::ChunkStored(id, stored)))
            }),
            SnapshotTask::Install(meta) => {
                self.installing = true;
                Box::pin(install(files, self.state.clone(), self.store.clone(), meta))
            }
        })
    }

    /// It is done: what the core is to be told.
    pub(crate) fn done(&mut self, done: Done) -> Option<Input> {
        match done {
            Done::Sealed(sealed) => {
                let taken = (sealed.id.index, sealed.bytes, sealed.id.checksum);
                self.sealed = Some(sealed);
                Some(Input::SnapshotTaken(Some(taken)))
            }
            Done::Tell(input) => {
                self.installing &= !matches!(input, Input::SnapshotInstalled(..) | Input::SnapshotRefused(_));
                if matches!(input, Input::SnapshotLost(_)) {
                    self.sealed = None;
                }
                Some(input)
            }
            Done::Nothing => None,
        }
    }
}

async fn take(files: Arc<dyn Files>, state: Connection) -> Result<Done, StorageError> {
    let started = tokio::time::Instant::now();
    let copied = Arc::clone(&files);
    let made = match state.call(move |conn| snapshot::copy(conn, &*copied)).await.map_err(flatten) {
        Ok(()) => blocking(move || snapshot::seal(&*files, snapshot::CHUNK_BYTES)).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(sealed) => {
            let (Sealed { id, bytes, .. }, ms) = (&sealed, started.elapsed().as_millis());
            info!("made a snapshot as of {}: {bytes} bytes in {ms} ms", id.index);
            Ok(Done::Sealed(Arc::new(sealed)))
        }
        Err(error) => {
            warn!("no snapshot could be made: {error}");
            tokio::time::sleep(RETRY_AFTER).await;
            Ok(Done::Tell(Input::SnapshotTaken(None)))
        }
    }
}

async fn read(files: Arc<dyn Files>, to: NodeId, sealed: Arc<Sealed>, offset: u64) -> Result<Done, StorageError> {
    let id = sealed.id;
    match blocking(move || snapshot::read_chunk(&*files, &sealed, offset)).await {
        Ok(Some(chunk)) => return Ok(Done::Tell(Input::ChunkRead(to, chunk))),
        Ok(None) => warn!("the snapshot as of {} is not what it was at byte {offset}: another is made", id.index),
        Err(error) => warn!("the snapshot as of {} cannot be read, another is made: {error}", id.index),
    }
    Ok(Done::Tell(Input::SnapshotLost(id)))
}

async fn install(
    files: Arc<dyn Files>,
    state: Connection,
    store: StateStore,
    meta: SnapshotMeta,
) -> Result<Done, StorageError> {
    let (index, id) = (meta.start.index, meta.id());
    let (ready, wanted) = (Arc::clone(&files), meta.clone());
    let machine: Option<Machine> = blocking(move || snapshot::make_ready(&*ready, &store, &wanted)).await?;
    let Some(machine) = machine else {
        warn!("the snapshot as of {index} is not what it should be: it is fetched again");
        return Ok(Done::Tell(Input::SnapshotRefused(id)));
    };
    state.call(move |conn| snapshot::put_in_place(conn, &*files)).await.map_err(flatten)?;
    info!("the tables are those of a snapshot as of {index}, {} bytes", meta.bytes);
    Ok(Done::Tell(Input::SnapshotInstalled(meta, Box::new(machine))))
}

/// On a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(ended) => Err(StorageError::Damaged(format!("the storage thread ended: {ended}"))),
    })
}
