//! A node's disk: two SQLite files and a mark.
//!
//! ```text
//! DATA/log.db     the log, term and vote      synchronous=FULL: what was acknowledged is here
//! DATA/mark       what log.db must hold       two slots, written after log.db and before any acknowledgement
//! DATA/state.db   jobs, queues, keys          synchronous=NORMAL: written behind, rebuilt from the log
//! DATA.id         names this directory        so that an emptied or exchanged one is not taken for a new one
//! ```
//!
//! Facts that force this shape (each measured on the bundled SQLite): one flipped bit in a write-ahead log makes SQLite
//! drop acknowledged commits without an error; a flipped bit in a blob passes its integrity check; after a failed fsync
//! it carries on. So every row has a checksum of ours, log entries are chained by hash, the mark says how far the log
//! must reach, and any error of a write or fsync ends the process: a page that a failed fsync marked clean is gone, and
//! trying again would only hide it (Rebello et al., ATC 2020).
//!
//! Each file has one connection and one thread ([`tokio_rusqlite`]), called once for each batch. The functions here are
//! plain: they take a `&mut Connection` and block. The simulator calls the very same ones inline.
//!
//! Beside the directory lies its witness, `DATA.id`: it names the directory that was once filled here, so that an emptied
//! or replaced one is not taken for a new one. A node that forgot its votes and its log would vote again, and one such
//! node of three is enough to lose what was acknowledged.
//!
//! CAVEATS. A node that finds its directory damaged refuses to start and says why; it is not refilled by its peers. An
//! old copy of a whole directory, put in its place, is not noticed by the node alone.

mod checksum;
mod log_store;
mod mark;
mod state_store;

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

pub use log_store::{Found, LogStore};
pub use mark::{FileMark, MarkFile};
use raftdeck_raft::NodeId;
pub use state_store::{JobFilter, StateStore, load as load_state};
use thiserror::Error;
use tokio_rusqlite::rusqlite::{self, Connection};

/// The oldest SQLite without the write-ahead-log reset bug.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

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
    /// The log does not hold what was acknowledged: this node must not vote with it.
    #[error("the log lost entries that were acknowledged: {0}")]
    LogLost(String),
    /// The directory is another node's.
    #[error("this data directory belongs to {found}, not to {wanted}")]
    OtherNode {
        /// Whose it is.
        found: Identity,
        /// Who asked.
        wanted: Identity,
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
}

/// The files of a data directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    witness: PathBuf,
}

impl Directory {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<Directory, StorageError> {
        let error = StorageError::io("data directory");
        fs::create_dir_all(path).map_err(&error)?;
        let path = path.canonicalize().map_err(&error)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".id");
        Ok(Directory { witness: path.with_file_name(name), path })
    }

    /// Whether a log may be started here: there was never one.
    ///
    /// # Errors
    /// There was one, and it is gone.
    pub fn is_new(&self) -> Result<bool, StorageError> {
        match (self.log().exists(), self.witness.exists()) {
            (true, witnessed) => Ok(!witnessed),
            (false, false) if self.state().exists() => {
                Err(StorageError::LogLost("log.db is gone, state.db is not".into()))
            }
            (false, false) => Ok(true),
            (false, true) => {
                let witness = self.witness.display();
                Err(StorageError::LogLost(format!("the directory was emptied, {witness} says that there was a log")))
            }
        }
    }

    /// Makes sure that this is the directory that was always here, and leaves a witness of it.
    ///
    /// # Errors
    /// It is another.
    pub fn witness(&self, storage_id: &str) -> Result<(), StorageError> {
        let error = StorageError::io("the directory's witness");
        match fs::read_to_string(&self.witness) {
            Ok(known) if known.trim() == storage_id => Ok(()),
            Ok(known) => Err(StorageError::LogLost(format!(
                "this is directory {storage_id}, {} says that {} was here",
                self.witness.display(),
                known.trim()
            ))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut file = fs::File::create(&self.witness).map_err(&error)?;
                io::Write::write_all(&mut file, format!("{storage_id}\n").as_bytes()).map_err(&error)?;
                file.sync_all().map_err(&error)
            }
            Err(e) => Err(error(e)),
        }
    }

    /// Which files these are, to see later whether they still are.
    ///
    /// # Errors
    /// One is not there.
    pub fn inodes(&self) -> io::Result<[(u64, u64); 3]> {
        let inode = |path: PathBuf| fs::metadata(path).map(|m| (m.dev(), m.ino()));
        Ok([inode(self.log())?, inode(self.mark())?, inode(self.state())?])
    }

    /// The log's file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log.db")
    }

    /// The mark's file.
    #[must_use]
    pub fn mark(&self) -> PathBuf {
        self.path.join("mark")
    }

    /// The state tables' file.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// Removes the state tables: they will be rebuilt from the log.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn forget_state(&self) -> Result<(), StorageError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = self.path.join(format!("state.db{suffix}"));
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StorageError::io("state.db")(e)),
            }
        }
        Ok(())
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
