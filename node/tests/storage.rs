//! The disk, on real files: what is refused, what is noticed, what comes back.

use std::{fs, path::Path};

use bytes::Bytes;
use raftdeck_jobs::{Command, NewJob, Op, Reply, SessionCall, limits::SESSION_TTL_MS};
use raftdeck_node::storage::{Directory, FileMark, Found, Identity, LogStore, StorageError, load_state};
use raftdeck_raft::{Entry, EntryKind, GroupId, HardState, Index, NodeId, Term, Write, WriteSeq};
use tempfile::TempDir;
use tokio_rusqlite::rusqlite::Connection;

fn identity(node: u64) -> Identity {
    Identity { cluster_id: "test".into(), node: NodeId(node) }
}

fn open_as(dir: &Path, node: u64) -> Result<(Connection, LogStore, Found), StorageError> {
    let may_be_new = !dir.join("log.db").exists();
    let mut conn = Connection::open(dir.join("log.db")).unwrap();
    let mark = Box::new(FileMark::open(&dir.join("mark"))?);
    let (store, found) = LogStore::open(&mut conn, mark, GroupId::FIRST, &identity(node), may_be_new)?;
    Ok((conn, store, found))
}

fn open(dir: &Path) -> Result<(Connection, LogStore, Found), StorageError> {
    open_as(dir, 1)
}

fn entry(index: u64, term: u64) -> Entry {
    let payload = Bytes::from(format!("payload of {index} in {term}"));
    Entry { index: Index(index), term: Term(term), kind: EntryKind::Command(payload) }
}

fn write(seq: u64, term: u64, entries: Vec<Entry>, from: u64) -> Write {
    let hard = HardState { term: Term(term), voted_for: Some(NodeId(2)), damage: None };
    Write { seq: WriteSeq(seq), hard, start: None, from: Index(from), entries }
}

/// A directory with ten entries, written one by one, and closed without a checkpoint: all of it is in the WAL.
fn ten_entries() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    let (mut conn, mut store, _) = open(source.path()).unwrap();
    for i in 1..=10 {
        store.append(&mut conn, &[write(i, 3, vec![entry(i, 3)], i)]).unwrap();
    }
    // Closing the last connection folds the WAL into the file; a crash does not. So copy while it is open.
    for file in ["log.db", "log.db-wal", "mark"] {
        fs::copy(source.path().join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn copy_of(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn what_was_written_comes_back() {
    let dir = ten_entries();
    let (mut conn, mut store, found) = open(dir.path()).unwrap();
    assert_eq!(found.entries, (1..=10).map(|i| entry(i, 3)).collect::<Vec<_>>());
    assert_eq!(found.hard, HardState { term: Term(3), voted_for: Some(NodeId(2)), damage: None });
    let storage_id = found.storage_id;
    // A newer leader replaces the end; several writes become one transaction.
    let replaced = [write(11, 4, vec![entry(8, 4), entry(9, 4)], 8), write(12, 5, vec![], 10)];
    assert_eq!(store.append(&mut conn, &replaced).unwrap(), WriteSeq(12));
    drop((conn, store));
    let (_, _, found) = open(dir.path()).unwrap();
    assert_eq!(found.entries.len(), 9);
    assert_eq!(found.entries[6..], [entry(7, 3), entry(8, 4), entry(9, 4)]);
    assert_eq!(found.hard.term, Term(5));
    assert_eq!(found.storage_id, storage_id);
}

#[test]
fn another_nodes_directory_is_refused() {
    let dir = ten_entries();
    let error = open_as(dir.path(), 2).unwrap_err().to_string();
    assert_eq!(error, "this data directory belongs to node n1 of cluster test, not to node n2 of cluster test");
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = ten_entries();
    let held = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StorageError::InUse("log.db"))));
    drop(held);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_lost_mark_or_a_lost_log_is_noticed() {
    for lost in ["mark", "log.db-wal"] {
        let dir = ten_entries();
        fs::remove_file(dir.path().join(lost)).unwrap();
        assert!(matches!(open(dir.path()), Err(StorageError::Damaged(_))), "without {lost}");
    }
    let dir = ten_entries();
    fs::write(dir.path().join("mark"), [7; 8192]).unwrap();
    assert!(matches!(open(dir.path()), Err(StorageError::Damaged(_))), "a mark of nonsense");
}

/// SQLite takes a frame with a bad checksum for the end of its write-ahead log and forgets what follows, without an
/// error. Here, each flip is either without consequence or noticed.
#[test]
fn no_flipped_bit_loses_an_acknowledged_entry_in_silence() {
    let dir = ten_entries();
    let whole = open(copy_of(&dir).path()).unwrap().2.entries;
    let (mut noticed, mut harmless) = (0, 0);
    for file in ["log.db", "log.db-wal", "mark"] {
        let length = fs::metadata(dir.path().join(file)).unwrap().len();
        // Primes, so that they walk through the structure of pages and slots. Every bit of a slot is flipped where the
        // mark is tested alone.
        let step = if file == "mark" { 23 } else { 331 };
        for (place, at) in (0..length).step_by(step).enumerate() {
            let copy = copy_of(&dir);
            let path = copy.path().join(file);
            let mut bytes = fs::read(&path).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= 1 << (place % 8);
            fs::write(&path, bytes).unwrap();
            match open(copy.path()) {
                Ok((_, _, found)) => {
                    assert_eq!(found.entries, whole, "{file} byte {at}: served what was not written");
                    harmless += 1;
                }
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > 50 && harmless > 0, "noticed {noticed}, harmless {harmless}");
}

#[test]
fn an_emptied_or_exchanged_directory_is_not_taken_for_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("n1");
    let start = || -> Result<(), StorageError> {
        let directory = Directory::open(&data)?;
        let may_be_new = directory.is_new()?;
        let mut conn = Connection::open(directory.log()).unwrap();
        let mark = Box::new(FileMark::open(&directory.mark())?);
        let (mut store, found) = LogStore::open(&mut conn, mark, GroupId::FIRST, &identity(1), may_be_new)?;
        directory.witness(&found.storage_id)?;
        if found.entries.is_empty() {
            store.append(&mut conn, &[write(1, 1, vec![entry(1, 1)], 1)])?;
        }
        Ok(())
    };
    start().unwrap();
    start().unwrap();
    let kept = home.path().join("kept");
    fs::rename(&data, &kept).unwrap();
    assert!(matches!(start(), Err(StorageError::LogLost(_))), "emptied");
    // Another directory of the same node, as an old copy of an earlier cluster would be.
    fs::remove_dir_all(&data).unwrap();
    let witness = home.path().join("n1.id");
    let id = fs::read_to_string(&witness).unwrap();
    fs::remove_file(&witness).unwrap();
    start().unwrap();
    fs::write(&witness, id).unwrap();
    assert!(matches!(start(), Err(StorageError::LogLost(_))), "exchanged");
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&kept, &data).unwrap();
    start().unwrap();
}

#[test]
fn tables_that_know_more_than_the_log_are_the_witness_of_a_lost_log() {
    let mut conn = Connection::open_in_memory().unwrap();
    let (store, mut machine) = load_state(&mut conn, "ours", 0).unwrap();
    for index in 1..=3 {
        machine.apply_nothing(index);
    }
    store.write(&mut conn, &machine.take_changes()).unwrap();
    assert_eq!(load_state(&mut conn, "ours", 3).unwrap().1.applied(), 3);
    assert!(matches!(load_state(&mut conn, "ours", 2), Err(StorageError::LogLost(_))));
    assert!(matches!(load_state(&mut conn, "other", 3), Err(StorageError::LogLost(_))));
}

#[test]
fn sessions_are_rows_of_the_tables_and_come_back() {
    let mut conn = Connection::open_in_memory().unwrap();
    let (store, mut machine) = load_state(&mut conn, "ours", 0).unwrap();
    let opened = machine.apply(1, &Command { stamp_ms: 1000, op: Op::OpenSession, session: None });
    let Reply::SessionOpened { session } = opened else { panic!("{opened:?}") };
    let submit = |stamp_ms| Command {
        stamp_ms,
        op: Op::Submit { jobs: vec![NewJob { handler: "h".into(), ..NewJob::default() }] },
        session: Some(SessionCall { session, seq: 1 }),
    };
    let first = machine.apply(2, &submit(1001));
    store.write(&mut conn, &machine.take_changes()).unwrap();
    let (_, mut restored) = load_state(&mut conn, "ours", 2).unwrap();
    assert_eq!(restored.state_hash(), machine.state_hash());
    assert_eq!(restored.apply(3, &submit(1002)), Reply::Repeated { index: 2, reply: Box::new(first) });
    assert_eq!(restored.live_count(), 1);
    // The time of the log passes: another session's opening takes the first one out of memory, and out of the tables.
    restored.apply(4, &Command { stamp_ms: 1002 + SESSION_TTL_MS, op: Op::OpenSession, session: None });
    store.write(&mut conn, &restored.take_changes()).unwrap();
    let ids: Vec<i64> = conn
        .prepare("select id from sessions")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(ids, [4]);
    assert_eq!(load_state(&mut conn, "ours", 4).unwrap().1.state_hash(), restored.state_hash());
}
