//! What the core wants done with snapshots, done one after the other, beside everything else the driver does.
//!
//! Copies are made on the state thread, which also writes the tables; sums and chunks are read and written on threads of
//! their own. While a snapshot is being put in place, nothing else is written to the tables.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use raftdeck_jobs::Machine;
use raftdeck_raft::{NodeId, SnapshotId, SnapshotMeta, SnapshotTask};
use tokio_rusqlite::Connection;
use tracing::{info, warn};

use crate::{
    driver::flatten,
    replica::Input,
    storage::{Files, StateStore, StorageError, snapshot},
};

/// Tasks that wait. Chunks beyond it are not read: whoever wants one asks again.
const WAITING_MAX: usize = 64;

/// A snapshot that could not be made is not tried again at once: the reason is most likely still there.
const RETRY_AFTER: Duration = Duration::from_secs(2);

type Work = Pin<Box<dyn Future<Output = Result<Option<Input>, StorageError>> + Send>>;

/// The tasks of one node, and what they work on.
#[derive(Debug)]
pub(crate) struct Snapshots {
    files: Arc<dyn Files>,
    state: Connection,
    store: StateStore,
    waiting: VecDeque<SnapshotTask>,
    /// The one that can be read from.
    sealed: Option<SnapshotId>,
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
            SnapshotTask::Read { to, id, offset } if self.sealed == Some(id) => Box::pin(read(files, to, id, offset)),
            SnapshotTask::Read { .. } => Box::pin(async { Ok(None) }),
            SnapshotTask::Begin(meta) => Box::pin(async move {
                let id = meta.id();
                let stored = blocking(move || snapshot::begin(&*files, &meta, snapshot::CHUNK_BYTES)).await?;
                if stored > 0 {
                    info!("a snapshot as of {} comes in: goes on at byte {stored}", id.index);
                }
                Ok(Some(Input::ChunkStored(id, stored)))
            }),
            SnapshotTask::Store(chunk) => Box::pin(async move {
                let id = chunk.id;
                let stored = blocking(move || snapshot::store(&*files, &chunk)).await?;
                Ok(Some(Input::ChunkStored(id, stored)))
            }),
            SnapshotTask::Install(meta) => {
                self.installing = true;
                Box::pin(install(files, self.state.clone(), self.store.clone(), meta))
            }
        })
    }

    /// It is done, with this outcome.
    pub(crate) fn done(&mut self, outcome: &Option<Input>) {
        match outcome {
            Some(Input::SnapshotTaken(taken)) => {
                self.sealed = taken.map(|(index, _, checksum)| SnapshotId { index, checksum });
            }
            Some(Input::SnapshotInstalled(..) | Input::SnapshotRefused(_)) => self.installing = false,
            Some(_) | None => {}
        }
    }
}

async fn take(files: Arc<dyn Files>, state: Connection) -> Result<Option<Input>, StorageError> {
    let started = tokio::time::Instant::now();
    let copied = Arc::clone(&files);
    let made = match state.call(move |conn| snapshot::copy(conn, &*copied)).await.map_err(flatten) {
        Ok(()) => blocking(move || snapshot::seal(&*files)).await,
        Err(error) => Err(error),
    };
    match made {
        Ok((id, bytes)) => {
            info!("made a snapshot as of {}: {bytes} bytes in {} ms", id.index, started.elapsed().as_millis());
            Ok(Some(Input::SnapshotTaken(Some((id.index, bytes, id.checksum)))))
        }
        Err(error) => {
            warn!("no snapshot could be made: {error}");
            tokio::time::sleep(RETRY_AFTER).await;
            Ok(Some(Input::SnapshotTaken(None)))
        }
    }
}

async fn read(files: Arc<dyn Files>, to: NodeId, id: SnapshotId, offset: u64) -> Result<Option<Input>, StorageError> {
    match blocking(move || snapshot::read_chunk(&*files, id, offset, snapshot::CHUNK_BYTES)).await {
        Ok(chunk) => Ok(Some(Input::ChunkRead(to, chunk))),
        Err(error) => {
            warn!("a chunk of a snapshot could not be read: {error}");
            Ok(None)
        }
    }
}

async fn install(
    files: Arc<dyn Files>,
    state: Connection,
    store: StateStore,
    meta: SnapshotMeta,
) -> Result<Option<Input>, StorageError> {
    let (index, id) = (meta.start.index, meta.id());
    let (ready, wanted) = (Arc::clone(&files), meta.clone());
    let machine: Option<Machine> = blocking(move || snapshot::make_ready(&*ready, &store, &wanted)).await?;
    let Some(machine) = machine else {
        warn!("the snapshot as of {index} is not what it should be: it is fetched again");
        return Ok(Some(Input::SnapshotRefused(id)));
    };
    state.call(move |conn| snapshot::put_in_place(conn, &*files)).await.map_err(flatten)?;
    info!("the tables are those of a snapshot as of {index}, {} bytes", meta.bytes);
    Ok(Some(Input::SnapshotInstalled(meta, Box::new(machine))))
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
