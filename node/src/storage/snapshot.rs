//! Snapshots as files: copies of the tables, made here for followers that lag, or come in from a leader.
//!
//! ```text
//! out:  state.db ──vacuum into──> snapshot.db.next ──checked, synced──> snapshot.db ──chunks──>
//! in:   ──chunks──> incoming.db ──checked, renamed──> installing.db ──adopted, synced──> state.db
//! ```
//!
//! A copy is as of one index, whatever goes on meanwhile. One that comes in lies beside `incoming`, which says of what it
//! is a part: so a restart goes on where it stopped. Nothing of it is believed before its checksum is right as a whole.
//!
//! Laws:
//! - before the last rename, a crash leaves the tables as they were; after it, the tables say themselves that they came as
//!   a snapshot, and `opening` begins the log after them;
//! - a copy with a rotten record is neither sent nor put in place. The tables that it was made of stay in use: what is rotten
//!   in them is history, and they may be the last that have the rest;
//! - a chunk that is not what it was when the copy was made is not sent, and the copy is given up: the follower would find
//!   out at the end only, and ask for the same bytes again.

use bytes::Bytes;
use raftdeck_jobs::Machine;
use raftdeck_raft::{Chunk, Index, SnapshotId, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio_rusqlite::rusqlite::Connection;

use super::{Files, STATE, StateStore, StorageError, prepare, state_store};

/// Bytes sent at a time.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The copy that is sent.
pub const SNAPSHOT: &str = "snapshot.db";

const NEXT: &str = "snapshot.db.next";
const INCOMING: &str = "incoming.db";
const INCOMING_OF: &str = "incoming";
const INSTALLING: &str = "installing.db";

/// What the file beside an incoming snapshot says, behind a checksum.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct IncomingOf {
    index: u64,
    checksum: u128,
    bytes: u64,
}

impl From<&SnapshotMeta> for IncomingOf {
    fn from(meta: &SnapshotMeta) -> IncomingOf {
        IncomingOf { index: meta.start.index.0, checksum: meta.checksum, bytes: meta.bytes }
    }
}

impl IncomingOf {
    fn to_bytes(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("three numbers can be written as bytes");
        [&crc32fast::hash(&body).to_le_bytes()[..], &body].concat()
    }
}

fn io(source: std::io::Error) -> StorageError {
    StorageError::Io { file: "snapshot", source }
}

/// Removes what an earlier life left: a snapshot that nobody will ask for, and one that was not quite put in place. One
/// that comes in stays.
pub(super) fn sweep(files: &dyn Files) -> Result<(), StorageError> {
    for name in [SNAPSHOT, NEXT, INSTALLING] {
        for suffix in ["", "-journal", "-wal"] {
            files.remove(&format!("{name}{suffix}")).map_err(io)?;
        }
    }
    Ok(())
}

/// Copies the tables, on their own thread: a moment of them, whatever the machine in memory does.
///
/// # Errors
/// The copy cannot be made. The tables are as they were.
pub fn copy(conn: &Connection, files: &dyn Files) -> Result<(), StorageError> {
    files.remove(NEXT).map_err(io)?;
    let copied = conn.execute("vacuum into ?", [files.sql_path(NEXT)]);
    copied.map(|_| ()).map_err(StorageError::sqlite(STATE)).inspect_err(|_| {
        let _ = files.remove(NEXT); // What it took of a full disk is needed by the log.
    })
}

/// A snapshot that can be sent, as it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub id: SnapshotId,
    /// Its size.
    pub bytes: u64,
    /// Of its chunks, in order.
    checksums: Vec<u32>,
    chunk_bytes: usize,
}

/// Checks a copy and puts it in the place of the one before, to be sent in chunks of `chunk_bytes`. Needs no thread of its
/// own.
///
/// # Errors
/// The copy is of no use.
pub fn seal(files: &dyn Files, chunk_bytes: usize) -> Result<Sealed, StorageError> {
    let conn = files.connect(NEXT)?;
    state_store::check_records(&conn)?;
    let index = Index(state_store::read_prepared(&conn)?.machine.applied());
    close(conn)?;
    files.sync(NEXT).map_err(io)?;
    files.rename(NEXT, SNAPSHOT).map_err(io)?;
    let mut checksums = Vec::new();
    let (bytes, checksum) = sum(files, SNAPSHOT, chunk_bytes, |chunk| checksums.push(crc32fast::hash(chunk)))?;
    Ok(Sealed { id: SnapshotId { index, checksum }, bytes, checksums, chunk_bytes })
}

/// What stands from `offset` to the end of its chunk in the snapshot that was sealed last. None: the chunk is not what it
/// was.
///
/// # Errors
/// Of the file.
pub fn read_chunk(files: &dyn Files, sealed: &Sealed, offset: u64) -> Result<Option<Chunk>, StorageError> {
    let within = offset % sealed.chunk_bytes as u64;
    let mut bytes = Bytes::from(files.read_at(SNAPSHOT, offset - within, sealed.chunk_bytes).map_err(io)?);
    let place = usize::try_from(offset / sealed.chunk_bytes as u64).ok();
    let checksum = place.and_then(|place| sealed.checksums.get(place));
    if checksum != Some(&crc32fast::hash(&bytes)) {
        return Ok(None);
    }
    // A chunk that is right is as long as it was; `within` is below its nominal size only.
    let bytes = bytes.split_off(bytes.len().min(usize::try_from(within).unwrap_or(usize::MAX)));
    Ok(Some(Chunk { id: sealed.id, offset, checksum: crc32fast::hash(&bytes), bytes }))
}

/// How much of this snapshot is here already, in whole chunks of `chunk_bytes`; forgets any other.
///
/// # Errors
/// Of the files.
pub fn begin(files: &dyn Files, meta: &SnapshotMeta, chunk_bytes: usize) -> Result<u64, StorageError> {
    let said = IncomingOf::from(meta).to_bytes();
    let known = files.size(INCOMING_OF).map_err(io)?.is_some()
        && files.read_at(INCOMING_OF, 0, 2 * said.len()).map_err(io)? == said;
    if known {
        let stored = files.size(INCOMING).map_err(io)?.unwrap_or(0);
        // The last chunk may have been cut by a crash; after the whole there is nothing.
        let whole_chunks = stored - stored % chunk_bytes as u64;
        match stored.cmp(&meta.bytes) {
            std::cmp::Ordering::Less => return Ok(whole_chunks),
            std::cmp::Ordering::Equal => return Ok(stored),
            std::cmp::Ordering::Greater => {}
        }
    }
    forget(files)?;
    files.write_at(INCOMING_OF, 0, &said).and_then(|()| files.sync(INCOMING_OF)).map_err(io)?;
    Ok(0)
}

/// Stores a chunk; how much there is then. One with a wrong checksum is left out.
///
/// # Errors
/// Of the file.
pub fn store(files: &dyn Files, chunk: &Chunk) -> Result<u64, StorageError> {
    if crc32fast::hash(&chunk.bytes) != chunk.checksum {
        return Ok(chunk.offset);
    }
    files.write_at(INCOMING, chunk.offset, &chunk.bytes).map_err(io)?;
    Ok(chunk.offset + chunk.bytes.len() as u64)
}

/// Checks a snapshot that is whole and makes it ready: the machine that is in it. None: it is not what it should be, and
/// is gone.
///
/// # Errors
/// Of the files.
pub fn make_ready(files: &dyn Files, store: &StateStore, meta: &SnapshotMeta) -> Result<Option<Machine>, StorageError> {
    let is_whole = files.size(INCOMING).map_err(io)?.is_some()
        && sum(files, INCOMING, CHUNK_BYTES, |_| ())? == (meta.bytes, meta.checksum);
    if !is_whole {
        forget(files)?;
        return Ok(None);
    }
    files.rename(INCOMING, INSTALLING).map_err(io)?; // From here on its bytes change.
    forget(files)?;
    let conn = files.connect(INSTALLING)?;
    match adopt(&conn, store, meta) {
        Ok(machine) => {
            close(conn)?;
            files.sync(INSTALLING).map_err(io)?;
            Ok(Some(machine))
        }
        Err(error) if error.is_damage() => {
            drop(conn);
            sweep(files)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn adopt(conn: &Connection, store: &StateStore, meta: &SnapshotMeta) -> Result<Machine, StorageError> {
    state_store::check_records(conn)?;
    let read = state_store::read_prepared(conn)?;
    let applied = read.machine.applied();
    if Index(applied) != meta.start.index {
        return Err(StorageError::Damaged(format!(
            "a snapshot as of {applied} that was to be as of {}",
            meta.start.index
        )));
    }
    state_store::adopt(conn, store.storage_id(), &meta.start)?;
    Ok(read.machine)
}

/// Puts a snapshot that was made ready in the place of the tables, on their own thread: `conn` is theirs then.
///
/// # Errors
/// Of the files: the process must end.
pub fn put_in_place(conn: &mut Connection, files: &dyn Files) -> Result<(), StorageError> {
    let placeholder = Connection::open_in_memory().map_err(StorageError::sqlite(STATE))?;
    // The close would do the same and not say whether it could: without its log, a file that is half folded is none.
    fold(conn)?;
    close(std::mem::replace(conn, placeholder))?;
    // SQLite would take a log of the old tables for one of the new.
    for suffix in ["-wal", "-journal"] {
        files.remove(&format!("{STATE}{suffix}")).map_err(io)?;
    }
    files.rename(INSTALLING, STATE).map_err(io)?;
    *conn = files.connect(STATE)?;
    prepare(conn, STATE, "FULL")
}

fn forget(files: &dyn Files) -> Result<(), StorageError> {
    [INCOMING, INCOMING_OF].into_iter().try_for_each(|name| files.remove(name)).map_err(io)
}

fn fold(conn: &Connection) -> Result<(), StorageError> {
    let busy: i64 =
        conn.query_row("pragma wal_checkpoint(truncate)", [], |r| r.get(0)).map_err(StorageError::sqlite(STATE))?;
    if busy == 0 { Ok(()) } else { Err(StorageError::InUse(STATE)) }
}

fn close(conn: Connection) -> Result<(), StorageError> {
    conn.close().map_err(|(_, error)| StorageError::sqlite(STATE)(error))
}

/// A file's size, and the first 16 bytes of its BLAKE3. Each chunk is shown to `look`.
fn sum(
    files: &dyn Files,
    name: &str,
    chunk_bytes: usize,
    mut look: impl FnMut(&[u8]),
) -> Result<(u64, u128), StorageError> {
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    loop {
        let bytes = files.read_at(name, at, chunk_bytes).map_err(io)?;
        if bytes.is_empty() {
            let mut first = [0; 16];
            first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
            return Ok((at, u128::from_le_bytes(first)));
        }
        look(&bytes);
        hasher.update(&bytes);
        at += bytes.len() as u64;
    }
}
