//! The files of a node: what storage needs of a drive, and the real one.
//!
//! Beside the directory lies its witness, `DATA.id`: it names the directory that was once filled here, so that an emptied
//! or replaced one is not taken for a new one.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio_rusqlite::rusqlite::{self, Connection};

use super::{FileMark, MarkFile, StorageError};

/// Term, vote and log.
pub const LOG: &str = "log.db";
/// What the log must hold.
pub const MARK: &str = "mark";
/// The job tables.
pub const STATE: &str = "state.db";

/// The files of one node, by name. The simulator has a drive of its own.
pub trait Files: Send + Sync + fmt::Debug {
    /// What SQLite knows a file by.
    fn sql_path(&self, name: &str) -> String;

    /// Opens a database, or makes it.
    ///
    /// # Errors
    /// It cannot be opened. That it is none is found later.
    fn connect(&self, name: &str) -> Result<Connection, StorageError>;

    /// The mark.
    ///
    /// # Errors
    /// Of the file.
    fn mark(&self) -> Result<Box<dyn MarkFile>, StorageError>;

    /// How long a file is; none if there is none.
    ///
    /// # Errors
    /// It cannot be said.
    fn size(&self, name: &str) -> io::Result<Option<u64>>;

    /// What stands at a place; fewer bytes at the end of the file.
    ///
    /// # Errors
    /// Of the file.
    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Writes at a place; makes the file if there is none. Not durable until [`Files::sync`].
    ///
    /// # Errors
    /// Of the file.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    ///
    /// # Errors
    /// Of the file. After one, nothing is known about its content.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in the place of whatever had it. Durable when it returns.
    ///
    /// # Errors
    /// Of the directory.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if there is one. Durable when it returns.
    ///
    /// # Errors
    /// Of the directory.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Which directory was once filled here; none if none was.
    ///
    /// # Errors
    /// Of the witness.
    fn witness(&self) -> io::Result<Option<String>>;

    /// Says which directory is filled here. Durable when it returns.
    ///
    /// # Errors
    /// Of the witness.
    fn set_witness(&self, storage_id: &str) -> io::Result<()>;
}

/// Which file it is, whatever its name.
type Inode = (u64, u64);

/// A real directory.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    witness: PathBuf,
    /// Of the databases and the mark, as this process has them open.
    known: Arc<Mutex<Option<[Inode; 3]>>>,
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
        Ok(Directory { witness: path.with_file_name(name), path, known: Arc::default() })
    }

    /// From here on, the files are expected to stay those that they are.
    ///
    /// # Errors
    /// One is not there.
    pub fn know(&self) -> io::Result<()> {
        let mut known = self.known.lock().expect("no holder panics");
        *known = Some(self.inodes()?);
        Ok(())
    }

    /// Whether the files are those that are open: what is written to a removed file is gone with the process.
    ///
    /// # Errors
    /// They are not, in words.
    pub fn check(&self) -> Result<(), StorageError> {
        let known = self.known.lock().expect("no holder panics");
        let why = match (&*known, self.inodes()) {
            (Some(known), Ok(now)) if *known == now => return Ok(()),
            (None, Ok(_)) => return Ok(()),
            (Some(_), Ok(_)) => "they were replaced".to_owned(),
            (_, Err(error)) => error.to_string(),
        };
        Err(StorageError::LogLost(format!("the files are not those that this node has open: {why}")))
    }

    fn inodes(&self) -> io::Result<[Inode; 3]> {
        let inode = |name| fs::metadata(self.path.join(name)).map(|m| (m.dev(), m.ino()));
        Ok([inode(LOG)?, inode(MARK)?, inode(STATE)?])
    }

    fn sync_names(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

impl Files for Directory {
    fn sql_path(&self, name: &str) -> String {
        self.path.join(name).to_string_lossy().into_owned()
    }

    fn connect(&self, name: &str) -> Result<Connection, StorageError> {
        let path = self.path.join(name);
        // SQLite would open a file that may not be written as one to read only, and fail at the first write.
        match fs::OpenOptions::new().read(true).write(true).open(&path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StorageError::Io { file: "data directory", source }),
        }
        Connection::open(path).map_err(|source| StorageError::Sqlite { file: "data directory", source })
    }

    fn mark(&self) -> Result<Box<dyn MarkFile>, StorageError> {
        Ok(Box::new(FileMark::open(&self.path.join(MARK))?))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let file = fs::File::open(self.path.join(name))?;
        let (mut bytes, mut filled) = (vec![0; bytes_max], 0);
        while filled < bytes_max {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join(name))?;
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.path.join(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut known = self.known.lock().expect("no holder panics");
        fs::rename(self.path.join(from), self.path.join(to))?;
        if let Some([.., state]) = known.as_mut().filter(|_| to == STATE) {
            *state = self.inodes()?[2];
        }
        self.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => self.sync_names(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn witness(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.witness) {
            Ok(id) => Ok(Some(id.trim().to_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn set_witness(&self, storage_id: &str) -> io::Result<()> {
        let mut next = self.witness.clone().into_os_string();
        next.push(".next");
        let mut file = fs::File::create(&next)?;
        file.write_all(format!("{storage_id}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, &self.witness)?;
        fs::File::open(self.witness.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// Keeps a database or the mark for whoever wants to look at it, out of the way. The file goes before its write-ahead log: what
/// a crash leaves behind is a log without a file, which SQLite throws away, and never a file without its log, which would be
/// taken for whole.
pub(super) fn put_aside(files: &dyn Files, name: &str) -> Result<(), StorageError> {
    let error = StorageError::io("data directory");
    for suffix in ["", "-wal"] {
        let (from, to) = (format!("{name}{suffix}"), format!("{name}.damaged{suffix}"));
        if files.size(&from).map_err(&error)?.is_some() {
            files.rename(&from, &to).map_err(&error)?;
        }
    }
    files.remove(&format!("{name}-journal")).map_err(error)
}

/// Whether an error of SQLite says that the file is not what it should be, rather than that the machine fails.
pub(super) fn says_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::{ErrorCode as Code, ffi};
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return true; // A value of another type than was written.
    };
    match failure.code {
        Code::DatabaseBusy | Code::DatabaseLocked => false,
        // Of a file that ends too early. Any other is the drive's.
        Code::SystemIoFailure => failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ,
        Code::DiskFull
        | Code::CannotOpen
        | Code::PermissionDenied
        | Code::OutOfMemory
        | Code::NoLargeFileSupport
        | Code::OperationInterrupted
        | Code::OperationAborted
        | Code::AuthorizationForStatementDenied
        | Code::ApiMisuse
        | Code::FileLockingProtocolFailed => false,
        // A flipped byte of the header makes a file one that may only be read: whether it may was asked before.
        Code::ReadOnly
        | Code::InternalMalfunction
        | Code::DatabaseCorrupt
        | Code::NotFound
        | Code::SchemaChanged
        | Code::TooBig
        | Code::ConstraintViolation
        | Code::TypeMismatch
        | Code::ParameterOutOfRange
        | Code::NotADatabase
        | Code::Unknown => true,
        _ => true,
    }
}
