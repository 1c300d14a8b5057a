//! SQLite's calls, as calls on a drive.
//!
//! One file system is registered for the whole process, once. A database `/7/log.db` on it is the file `log.db` of the
//! drive number 7; which drive that is, a table knows for as long as the drive lives.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, Once, Weak},
    time::Duration,
};

use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenKind, OpenOptions, Vfs, WalDisabled};
use tokio_rusqlite::rusqlite::{self, Connection, OpenFlags};

use super::{Shared, draw, lock, wal};

const NAME: &str = "raftdeck-sim";

/// A file that SQLite makes for itself and forgets: it is on no drive.
const SCRATCH: &str = "scratch";

struct Drives {
    next: u64,
    /// Never iterated.
    plugged_in: HashMap<u64, Weak<Mutex<Shared>>>,
}

static DRIVES: Mutex<Option<Drives>> = Mutex::new(None);

fn with_drives<T>(work: impl FnOnce(&mut Drives) -> T) -> T {
    let mut drives = DRIVES.lock().expect("no holder panics");
    work(drives.get_or_insert_with(|| Drives { next: 1, plugged_in: HashMap::new() }))
}

/// Makes a drive known: its number.
pub(super) fn plug_in(drive: &Arc<Mutex<Shared>>) -> u64 {
    with_drives(|drives| {
        let number = drives.next;
        drives.next += 1;
        drives.plugged_in.insert(number, Arc::downgrade(drive));
        number
    })
}

pub(super) fn unplug(number: u64) {
    with_drives(|drives| drives.plugged_in.remove(&number));
}

pub(super) fn connect(number: u64, file: &str) -> rusqlite::Result<Connection> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| sqlite_vfs::register(NAME, FileSystem, false).expect("SQLite takes a file system"));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(format!("/{number}/{file}"), flags, NAME)
}

/// The drive of a path, and the file's name on it.
fn find(path: &str) -> io::Result<(Arc<Mutex<Shared>>, &str)> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let found = parts.and_then(|(number, file)| {
        let number: u64 = number.parse().ok()?;
        Some((with_drives(|drives| drives.plugged_in.get(&number).and_then(Weak::upgrade))?, file))
    });
    found.ok_or_else(|| io::Error::other(format!("{path} is on no drive")))
}

struct FileSystem;

impl Vfs for FileSystem {
    type Handle = Handle;

    fn open(&self, path: &str, options: OpenOptions) -> io::Result<Handle> {
        if path == SCRATCH {
            return Ok(Handle::Scratch(Vec::new()));
        }
        let (drive, name) = find(path)?;
        let mut shared = lock(&drive);
        let life = shared.life;
        shared.check(life)?;
        match (shared.files.contains_key(name), options.access) {
            (true, OpenAccess::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (true, OpenAccess::Read | OpenAccess::Write | OpenAccess::Create) => {}
            (false, OpenAccess::Read | OpenAccess::Write) => return Err(io::ErrorKind::NotFound.into()),
            (false, OpenAccess::Create | OpenAccess::CreateNew) => shared.create(name, life)?,
        }
        let is_wal = options.kind == OpenKind::Wal;
        let names_directory = is_wal || matches!(options.kind, OpenKind::MainJournal | OpenKind::SuperJournal);
        drop(shared);
        let wal = is_wal.then(wal::Writer::default);
        Ok(Handle::File(Open { name: name.into(), drive, life, wal, names_directory, lock: LockKind::None }))
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        if path == SCRATCH {
            return Ok(());
        }
        let (drive, name) = find(path)?;
        let mut shared = lock(&drive);
        let life = shared.life;
        shared.delete(name, life)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let (drive, name) = find(path)?;
        // SQLite takes an empty file for none.
        Ok(lock(&drive).files.get(name).is_some_and(|file| !file.bytes().is_empty()))
    }

    fn temporary_name(&self) -> String {
        SCRATCH.into()
    }

    /// Asked only if this were the process's default file system, which it is not.
    fn random(&self, buffer: &mut [i8]) {
        let mut seed = 1;
        buffer.fill_with(|| draw(&mut seed).to_le_bytes()[0].cast_signed());
    }

    /// Nothing here ever needs to be waited for.
    fn sleep(&self, duration: Duration) -> Duration {
        duration
    }
}

enum Handle {
    File(Open),
    Scratch(Vec<u8>),
}

struct Open {
    drive: Arc<Mutex<Shared>>,
    name: String,
    life: u64,
    wal: Option<wal::Writer>,
    /// The first sync also syncs the directory.
    names_directory: bool,
    lock: LockKind,
}

impl DatabaseHandle for Handle {
    type WalIndex = WalDisabled;

    fn size(&self) -> io::Result<u64> {
        match self {
            Handle::Scratch(bytes) => Ok(bytes.len() as u64),
            Handle::File(open) => {
                let mut shared = lock(&open.drive);
                shared.check(open.life)?;
                Ok(shared.file(&open.name)?.bytes().len() as u64)
            }
        }
    }

    fn read_exact_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = place(offset)?;
        let read = match self {
            Handle::Scratch(bytes) => {
                let found = bytes.get(offset..(offset + buf.len()).min(bytes.len())).unwrap_or_default();
                buf[..found.len()].copy_from_slice(found);
                found.len()
            }
            Handle::File(open) => lock(&open.drive).read(&open.name, open.life, offset, buf)?,
        };
        if read == buf.len() {
            return Ok(());
        }
        // SQLite goes on after a short read, and wants zeros in the rest.
        buf[read..].fill(0);
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let offset = place(offset)?;
        match self {
            Handle::Scratch(bytes) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[offset..offset + data.len()].copy_from_slice(data);
                Ok(())
            }
            Handle::File(open) => {
                let written = lock(&open.drive).write(&open.name, open.life, open.wal.as_mut(), offset, data);
                // The kind that is handed on to SQLite as "disk full".
                written.map_err(|e| match e.kind() {
                    io::ErrorKind::StorageFull => io::ErrorKind::WriteZero.into(),
                    _ => e,
                })
            }
        }
    }

    fn sync(&mut self, _data_only: bool) -> io::Result<()> {
        match self {
            Handle::Scratch(_) => Ok(()),
            Handle::File(open) => {
                let mut shared = lock(&open.drive);
                shared.sync(&open.name, open.life)?;
                if std::mem::take(&mut open.names_directory) {
                    shared.sync_directory();
                }
                Ok(())
            }
        }
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        let len = place(size)?;
        match self {
            Handle::Scratch(bytes) => {
                bytes.truncate(len);
                Ok(())
            }
            Handle::File(open) => {
                let mut shared = lock(&open.drive);
                // A hint of how long it will become is no operation.
                if shared.file(&open.name)?.bytes().len() > len {
                    shared.shorten(&open.name, open.life, len)?;
                }
                Ok(())
            }
        }
    }

    fn lock(&mut self, lock: LockKind) -> io::Result<bool> {
        if let Handle::File(open) = self {
            // SQLite takes a lock before it folds and deletes a log on closing: a dead process must get none.
            if lock != LockKind::None {
                super::lock(&open.drive).check(open.life)?;
            }
            open.lock = lock;
        }
        Ok(true)
    }

    fn reserved(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(match self {
            Handle::File(open) => open.lock,
            Handle::Scratch(_) => LockKind::None,
        })
    }

    fn wal_index(&self, _readonly: bool) -> io::Result<WalDisabled> {
        Ok(WalDisabled)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
