//! A crash between any two steps of a write: what is found is what was before, or what was to be.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use raftdeck_node::storage::{Directory, Files, MarkFile, StorageError, open};
use raftdeck_raft::{GroupId, LogStart, Write};
use tokio_rusqlite::rusqlite::Connection;

use crate::{
    home::{entries, entry, identity, remember, start, with_entries, write},
    snapshots::{install, taken},
};

/// A drive that fails at a write of the mark; what was written before it stays.
#[derive(Debug)]
struct Failing {
    files: Directory,
    /// So many writes of the mark go well.
    left: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct FailingMark(Box<dyn MarkFile>, Arc<AtomicUsize>);

impl MarkFile for FailingMark {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.0.read()
    }

    fn write_durably(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| io::Error::other("the drive fails"))?;
        self.0.write_durably(offset, bytes)
    }
}

impl Files for Failing {
    fn sql_path(&self, name: &str) -> String {
        self.files.sql_path(name)
    }

    fn connect(&self, name: &str) -> Result<Connection, StorageError> {
        self.files.connect(name)
    }

    fn mark(&self) -> Result<Box<dyn MarkFile>, StorageError> {
        Ok(Box::new(FailingMark(self.files.mark()?, Arc::clone(&self.left))))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        self.files.size(name)
    }

    fn read_at(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.files.read_at(name, offset, bytes_max)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.write_at(name, offset, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.files.sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn witness(&self) -> io::Result<Option<String>> {
        self.files.witness()
    }

    fn set_witness(&self, storage_id: &str) -> io::Result<()> {
        self.files.set_witness(storage_id)
    }
}

/// Every kind of write, ended before each of its writes of the mark: no crash looks like a loss.
#[test]
fn a_crash_in_the_middle_of_a_write_is_no_damage() {
    let replaced = |at| [entries(1..=at - 1, 3), entries(at..=at + 1, 4)].concat();
    let after = |at| Write { start: Some(start(at, 9)), ..write(9, vec![entry(at + 1, 9)], at + 1) };
    let cut = Write { start: Some(start(6, 3)), ..write(4, vec![], 11) };
    let none = LogStart::default;
    let kinds = [
        ("an append", write(4, entries(11..=12, 4), 11), vec![(none(), entries(1..=10, 3)), (none(), replaced(11))]),
        ("a truncation", write(4, entries(8..=9, 4), 8), vec![(none(), entries(1..=10, 3)), (none(), replaced(8))]),
        ("a cut", cut, vec![(none(), entries(1..=10, 3)), (start(6, 3), entries(7..=10, 3))]),
        // The tables are there already: the log begins after them in any case.
        ("a snapshot beyond", after(20), vec![(start(20, 9), vec![]), (start(20, 9), vec![entry(21, 9)])]),
        ("a snapshot within", after(8), vec![(start(8, 9), vec![]), (start(8, 9), vec![entry(9, 9)])]),
    ];
    for (what, write, outcomes) in kinds {
        for fails_at in 0.. {
            let (home, opened) = with_entries(10);
            drop(opened);
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let files = Failing { files: Directory::open(&home.data()).unwrap(), left: Arc::clone(&left) };
            let mut opened = open(&files, GroupId::FIRST, &identity(1)).unwrap();
            match &write.start {
                Some(start) if start.term.0 == 9 => {
                    let (_leader, _open, source, meta) = taken(start.index.0);
                    install(&source, &meta, &files, &mut opened);
                }
                Some(_) | None => remember(&mut opened, 6, 3),
            }
            left.store(fails_at, Ordering::Relaxed);
            let written = opened.log_store.append(&mut opened.log, std::slice::from_ref(&write));
            drop((opened, files));
            let found = home.open().found;
            assert_eq!(found.hard.damage, None, "{what}, without write {fails_at} of the mark");
            let found = (found.start, found.entries);
            if written.is_ok() {
                assert_eq!(found, outcomes[1], "{what}");
                break;
            }
            assert!(outcomes.contains(&found), "{what}, without write {fails_at} of the mark: {found:?}");
        }
    }
}
