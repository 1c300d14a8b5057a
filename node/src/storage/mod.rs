//! A node's disk: two SQLite files and a mark.
//!
//! ```text
//! DATA/log.db        the log, term and vote      what was acknowledged is here
//! DATA/mark          what log.db must hold       two slots, written after log.db and before any acknowledgement
//! DATA/state.db      jobs, queues, keys          written behind; with the log after it, it is the whole state
//! DATA/snapshot.db   a copy of state.db          made for followers that lag; gone at the next start
//! DATA/incoming.db   such a copy, coming in      with `incoming`, which says of what
//! DATA/*.damaged     what had to be replaced     the newest of each, for whoever wants to look
//! DATA.id            names this directory        so that an emptied or exchanged one is not taken for a new one
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `opening` | what a node makes of what it finds: whole, damaged, or a stranger |
//! | `log_store`, `log_read` | the log: written, and read as far as it can be trusted |
//! | `mark` | what the log must hold |
//! | `state_store` | the tables |
//! | `snapshot` | copies of the tables, out and in |
//! | `checksum` | sums of rows, and the chain of the log |
//! | `directory` | what is needed of a drive, and the real one |
//!
//! Facts that force this shape (each measured on the bundled SQLite): one flipped bit in a write-ahead log makes SQLite
//! drop acknowledged commits without an error; a flipped bit in a blob passes its integrity check; after a failed fsync
//! it carries on. So every row has a checksum of ours, log entries are chained by hash, the mark says how far the log
//! must reach, and any error of a write or fsync ends the process: a page that a failed fsync marked clean is gone, and
//! trying again would only hide it (Rebello et al., ATC 2020).
//!
//! Each database has one connection and one thread ([`tokio_rusqlite`]), called once for each batch. The functions here
//! are plain: they take a `&mut Connection` or [`Files`], and block. The simulator calls the very same ones inline.
//!
//! CAVEATS. An old copy of a whole directory, put in its place, is not noticed by the node alone. Finished jobs are
//! checked when they are read and when a snapshot is made, not at the start.

mod checksum;
mod directory;
mod log_read;
mod log_store;
mod mark;
mod opening;
pub mod snapshot;
mod state_store;

use std::{fmt, io};

pub use directory::{Directory, Files, LOG, MARK, STATE};
pub use log_store::{Found, LogStore};
pub use mark::{FileMark, MarkFile};
pub use opening::{Opened, open};
use raftdeck_raft::NodeId;
pub use state_store::{JobFilter, StateStore};
use thiserror::Error;
use tokio_rusqlite::rusqlite::{self, Connection};

/// The oldest SQLite without the write-ahead-log reset bug.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Pages of a database that SQLite keeps in memory, KiB.
const CACHE_KIB: i64 = 16 << 10;

/// Whose directory this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster_id)
    }
}

/// Why the disk cannot be used.
#[derive(Debug, Error)]
pub enum StorageError {
    /// SQLite failed.
    #[error("{file}: {source}")]
    Sqlite {
        /// Which file.
        file: &'static str,
        /// How.
        source: rusqlite::Error,
    },
    /// The mark, or the directory, failed.
    #[error("{file}: {source}")]
    Io {
        /// Which file.
        file: &'static str,
        /// How.
        source: io::Error,
    },
    /// What is here is not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The files are not those that belong together.
    #[error("the files do not belong together: {0}")]
    LogLost(String),
    /// The directory is another node's.
    #[error("this data directory belongs to {found}, not to {wanted}")]
    OtherNode {
        /// Whose it is.
        found: Identity,
        /// Who asked.
        wanted: Identity,
    },
    /// A newer program wrote it.
    #[error("{file} has format {found}, this program reads formats up to {newest}")]
    Format {
        /// Which file.
        file: &'static str,
        /// Its format.
        found: i64,
        /// Ours.
        newest: i64,
    },
    /// Another process has the files open.
    #[error("{0} is in use by another process")]
    InUse(&'static str),
}

impl StorageError {
    fn sqlite(file: &'static str) -> impl Fn(rusqlite::Error) -> StorageError {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StorageError::InUse(file),
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                StorageError::Damaged(format!("{file}: {source}"))
            }
            _ => StorageError::Sqlite { file, source },
        }
    }

    fn io(file: &'static str) -> impl Fn(io::Error) -> StorageError {
        move |source| StorageError::Io { file, source }
    }

    /// What SQLite says of a full disk, by this fault.
    pub(crate) fn as_if_full(fault: u64) -> StorageError {
        StorageError::by_fault(rusqlite::ffi::SQLITE_FULL, format!("database or disk is full (by fault {fault})"))
    }

    /// What SQLite says after a failed fsync, by this fault.
    pub(crate) fn as_if_unsynced(fault: u64) -> StorageError {
        StorageError::by_fault(rusqlite::ffi::SQLITE_IOERR_FSYNC, format!("fsync failed (by fault {fault})"))
    }

    fn by_fault(code: i32, words: String) -> StorageError {
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(words));
        StorageError::Sqlite { file: LOG, source }
    }

    /// Whether what is here is not what was written; else the directory is not this node's, or the machine fails.
    fn is_damage(&self) -> bool {
        match self {
            StorageError::Damaged(_) => true,
            StorageError::Sqlite { source, .. } => directory::says_damage(source),
            StorageError::Io { .. }
            | StorageError::LogLost(_)
            | StorageError::OtherNode { .. }
            | StorageError::Format { .. }
            | StorageError::InUse(_) => false,
        }
    }
}

/// Settings that every connection gets first. `locking_mode` before `journal_mode`: then no shared-memory file exists,
/// and no other process, not even the `sqlite3` shell, can open the file beside the node.
fn prepare(conn: &Connection, file: &'static str, synchronous: &str) -> Result<(), StorageError> {
    let version = rusqlite::version_number();
    assert!(version >= SQLITE_VERSION_MIN, "SQLite {version} is older than {SQLITE_VERSION_MIN}");
    let error = StorageError::sqlite(file);
    conn.busy_timeout(std::time::Duration::from_millis(200)).map_err(&error)?;
    for (pragma, value) in [("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL"), ("synchronous", synchronous)] {
        conn.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(no_row).map_err(&error)?;
    }
    // Pages that were written stay at hand: a node reads little but what it has just written.
    conn.pragma_update_and_check(None, "cache_size", -CACHE_KIB, |_| Ok(())).or_else(no_row).map_err(&error)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Some pragmas answer with a row and some do not.
fn no_row(error: rusqlite::Error) -> Result<(), rusqlite::Error> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    }
}
