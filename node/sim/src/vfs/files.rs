//! A drive as the node's storage sees one.
//!
//! Names are durable when a call returns, as the node's own directory makes them; what is in a file is not, before it was
//! synced. The witness lies beside the drive: it stays when the drive is wiped, unless it is lost as well.

use std::io;

use raftdeck_node::storage::{Files, MARK, MarkFile, StorageError};
use tokio_rusqlite::rusqlite::Connection;

use super::{Drive, Operation, Shared};

impl Drive {
    /// Does something in the present life of the process.
    fn with<T>(&self, work: impl FnOnce(&mut Shared, u64) -> io::Result<T>) -> io::Result<T> {
        let mut shared = self.shared();
        let life = shared.life;
        shared.check(life)?;
        work(&mut shared, life)
    }
}

impl Files for Drive {
    fn sql_path(&self, name: &str) -> String {
        format!("/{}/{name}", self.number)
    }

    fn connect(&self, name: &str) -> Result<Connection, StorageError> {
        Drive::connect(self, name).map_err(|source| StorageError::Sqlite { file: "data directory", source })
    }

    fn mark(&self) -> Result<Box<dyn MarkFile>, StorageError> {
        let mark = Drive::mark(self, MARK).map_err(|source| StorageError::Io { file: "mark", source })?;
        Ok(Box::new(mark))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        self.with(|shared, _| Ok(shared.files.get(name).map(|file| file.bytes().len() as u64)))
    }

    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.with(|shared, life| {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let left = shared.file(name)?.bytes().len().saturating_sub(offset);
            let mut bytes = vec![0; bytes_max.min(left)];
            let read = shared.read(name, life, offset, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        })
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|shared, life| {
            if !shared.files.contains_key(name) {
                shared.create(name, life)?;
            }
            shared.write(name, life, None, usize::try_from(offset).map_err(io::Error::other)?, bytes)
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with(|shared, life| shared.sync(name, life).map(|()| shared.sync_directory()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|shared, life| {
            shared.begin(Operation::Delete, from, life)?;
            let file = shared.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            shared.files.insert(to.into(), file);
            shared.sync_directory();
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|shared, life| {
            if shared.files.contains_key(name) {
                shared.delete(name, life)?;
                shared.sync_directory();
            }
            Ok(())
        })
    }

    fn witness(&self) -> io::Result<Option<String>> {
        self.with(|shared, _| Ok(shared.witness.clone()))
    }

    fn set_witness(&self, storage_id: &str) -> io::Result<()> {
        self.with(|shared, life| {
            shared.begin(Operation::Write, "witness", life)?;
            shared.witness = Some(storage_id.into());
            Ok(())
        })
    }
}
