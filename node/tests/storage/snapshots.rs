//! Copies of the tables as files: out of one directory, into another.

use std::fs;

use raftdeck_node::storage::{
    Directory, Files, Opened,
    snapshot::{self, Sealed},
};
use raftdeck_raft::{Chunk, SnapshotMeta, Write};

use crate::home::{Home, append, entries, entry, finish_jobs, remember, start, with_entries, write};

/// Where chunks are read from.
pub(crate) struct Source {
    files: Directory,
    sealed: Sealed,
}

impl Source {
    fn read(&self, offset: u64) -> Option<Chunk> {
        snapshot::read_chunk(&self.files, &self.sealed, offset).unwrap()
    }
}

/// A leader's tables as of an index, in term 9, and the snapshot made of them.
pub(crate) fn taken(until: u64) -> (Home, Opened, Source, SnapshotMeta) {
    let (home, mut opened) = with_entries(0);
    remember(&mut opened, until, 9);
    // Some megabytes that are in nobody's memory.
    opened.state.execute("create table ballast (bytes blob)", []).unwrap();
    opened.state.execute("insert into ballast values (randomblob(3000000))", []).unwrap();
    let files = Directory::open(&home.data()).unwrap();
    snapshot::copy(&opened.state, &files).unwrap();
    remember(&mut opened, until + 5, 9);
    let sealed = snapshot::seal(&files, snapshot::CHUNK_BYTES).unwrap();
    assert_eq!(sealed.id.index.0, until, "as of the copy, not of its end");
    let meta = SnapshotMeta { start: start(until, 9), bytes: sealed.bytes, checksum: sealed.id.checksum };
    (home, opened, Source { files, sealed }, meta)
}

fn send(from: &Source, to: &dyn Files, chunks: std::ops::Range<u64>) {
    for i in chunks {
        let offset = i * snapshot::CHUNK_BYTES as u64;
        let chunk = from.read(offset).unwrap();
        assert_eq!(snapshot::store(to, &chunk).unwrap(), offset + chunk.bytes.len() as u64);
    }
}

/// All of it, into the place of another directory's tables.
pub(crate) fn install(source: &Source, meta: &SnapshotMeta, files: &dyn Files, opened: &mut Opened) {
    snapshot::begin(files, meta, snapshot::CHUNK_BYTES).unwrap();
    send(source, files, 0..chunks_of(meta));
    let machine = snapshot::make_ready(files, &opened.state_store, meta).unwrap().unwrap();
    assert_eq!(machine.applied(), meta.start.index.0);
    snapshot::put_in_place(&mut opened.state, files).unwrap();
}

fn chunks_of(meta: &SnapshotMeta) -> u64 {
    meta.bytes.div_ceil(snapshot::CHUNK_BYTES as u64)
}

#[test]
fn a_snapshot_that_comes_in_goes_on_where_it_was() {
    let (_leader, _open, source, meta) = taken(40);
    assert!(chunks_of(&meta) >= 3);
    let (home, opened) = with_entries(3);
    let files = Directory::open(&home.data()).unwrap();
    assert_eq!(snapshot::begin(&files, &meta, snapshot::CHUNK_BYTES).unwrap(), 0);
    send(&source, &files, 0..2);
    assert_eq!(snapshot::begin(&files, &meta, snapshot::CHUNK_BYTES).unwrap(), 2 << 20);
    drop((opened, files));
    let opened = home.open();
    let files = Directory::open(&home.data()).unwrap();
    assert_eq!(snapshot::begin(&files, &meta, snapshot::CHUNK_BYTES).unwrap(), 2 << 20, "a restart forgets nothing");
    // Half a chunk is none.
    let path = home.data().join("incoming.db");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((1 << 20) + 7).unwrap();
    assert_eq!(snapshot::begin(&files, &meta, snapshot::CHUNK_BYTES).unwrap(), 1 << 20);
    // A chunk that was spoilt on its way is not stored.
    let chunk = source.read(1 << 20).unwrap();
    assert_eq!(snapshot::store(&files, &Chunk { checksum: !chunk.checksum, ..chunk }).unwrap(), 1 << 20);
    assert_eq!(fs::metadata(&path).unwrap().len(), (1 << 20) + 7);
    // Another snapshot has nothing of this one.
    let other = SnapshotMeta { checksum: !meta.checksum, ..meta.clone() };
    assert_eq!(snapshot::begin(&files, &other, snapshot::CHUNK_BYTES).unwrap(), 0);
    // What is not as a whole what it should be is thrown away.
    send(&source, &files, 0..chunks_of(&meta));
    assert!(snapshot::make_ready(&files, &opened.state_store, &other).unwrap().is_none());
    assert_eq!(snapshot::begin(&files, &other, snapshot::CHUNK_BYTES).unwrap(), 0);
}

/// Into a log that ends before it, one that has another entry there, and one that leads to it; with a crash before and
/// after the last step.
#[test]
fn a_snapshot_takes_the_place_of_the_tables_at_once_or_not_at_all() {
    let (_leader, _open, source, meta) = taken(40);
    let hash = {
        let (_home, mut opened) = with_entries(0);
        remember(&mut opened, 40, 9);
        opened.machine.state_hash()
    };
    for (ends, term) in [(10, 3), (45, 3), (45, 9)] {
        let (home, mut opened) = with_entries(0);
        append(&mut opened, &[write(term, entries(1..=ends, term), 1)]);
        remember(&mut opened, 5, term);
        let files = Directory::open(&home.data()).unwrap();
        snapshot::begin(&files, &meta, snapshot::CHUNK_BYTES).unwrap();
        send(&source, &files, 0..chunks_of(&meta));
        let machine = snapshot::make_ready(&files, &opened.state_store, &meta).unwrap().unwrap();
        assert_eq!((machine.applied(), machine.state_hash()), (40, hash));

        let before = home.copy().open();
        assert_eq!((before.machine.applied(), before.found.entries.len() as u64), (5, ends));
        assert_eq!(before.found.hard.damage, None);

        snapshot::put_in_place(&mut opened.state, &files).unwrap();
        let after = home.copy();
        drop((opened, files));
        for home in [after, home] {
            let mut opened = home.open();
            assert_eq!((opened.machine.applied(), opened.machine.state_hash()), (40, hash));
            assert_eq!(opened.found.hard.damage, None, "log up to {ends} in {term}");
            if term == 9 {
                assert_eq!(opened.found.entries, entries(1..=45, 9), "it leads there");
            } else {
                assert_eq!((&opened.found.start, opened.found.entries.len()), (&start(40, 9), 0));
            }
            // The log knows it now; the next write of the tables says so.
            let next = opened.found.start.index.0.max(opened.found.entries.len() as u64) + 1;
            append(&mut opened, &[Write { start: Some(start(40, 9)), ..write(9, vec![entry(next, 9)], next) }]);
            remember(&mut opened, 41, 9);
            drop(opened);
            let opened = home.open();
            assert_eq!((&opened.found.start, opened.found.hard.damage), (&start(40, 9), None));
            assert_eq!(opened.machine.applied(), 41);
        }
    }
}

#[test]
fn a_copy_with_a_rotten_record_is_not_sent() {
    let (home, mut opened) = with_entries(0);
    remember(&mut opened, 40, 9);
    // Of a finished job, which no machine misses.
    opened.state.execute("insert into finished values (1000, 5, 'default', 'echo', x'00', 1)", []).unwrap();
    let files = Directory::open(&home.data()).unwrap();
    snapshot::copy(&opened.state, &files).unwrap();
    assert!(snapshot::seal(&files, snapshot::CHUNK_BYTES).is_err());
}

/// A write that the drive lost leaves pages that are in order: what is missing, only the sum over all jobs can say.
#[test]
fn a_copy_that_lacks_a_finished_job_is_not_sent() {
    let lost = [
        "delete from finished where id = 2",
        "update finished set (record, crc) = (select record, crc from finished where id = 1) where id = 2",
    ];
    for lost in lost {
        let (home, mut opened) = with_entries(0);
        finish_jobs(&mut opened, 3);
        let files = Directory::open(&home.data()).unwrap();
        snapshot::copy(&opened.state, &files).unwrap();
        snapshot::seal(&files, snapshot::CHUNK_BYTES).unwrap();
        assert_eq!(opened.state.execute(lost, []).unwrap(), 1);
        snapshot::copy(&opened.state, &files).unwrap();
        assert!(snapshot::seal(&files, snapshot::CHUNK_BYTES).is_err(), "{lost}");
    }
}

/// One bit, one byte too few: that chunk is not sent. The others are, from wherever they are asked for.
#[test]
fn a_chunk_that_is_not_what_it_was_is_not_sent() {
    let (home, _open, source, meta) = taken(40);
    let path = home.data().join("snapshot.db");
    let good = fs::read(&path).unwrap();
    let mut rotten = good.clone();
    rotten[(1 << 20) + 5] ^= 1;
    fs::write(&path, &rotten).unwrap();
    assert_eq!(source.read(1 << 20), None);
    assert_eq!(source.read((1 << 20) + 6), None, "what is left of it is right, but nobody can know");
    assert_eq!(source.read(7).unwrap().bytes, good[7..1 << 20]);
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert_eq!(source.read((chunks_of(&meta) - 1) << 20), None);
    assert_eq!(source.read(meta.bytes + (1 << 20)), None, "there is no such chunk");
    fs::write(&path, &good).unwrap();
    assert!((0..chunks_of(&meta)).all(|i| source.read(i << 20).is_some()));
}

/// An older release knew no paused queues, and sends tables without them.
#[test]
fn a_snapshot_without_paused_queues_is_taken() {
    let (home, mut opened) = with_entries(0);
    remember(&mut opened, 40, 9);
    opened.state.execute("drop table paused", []).unwrap();
    let files = Directory::open(&home.data()).unwrap();
    snapshot::copy(&opened.state, &files).unwrap();
    let sealed = snapshot::seal(&files, snapshot::CHUNK_BYTES).unwrap();
    let meta = SnapshotMeta { start: start(40, 9), bytes: sealed.bytes, checksum: sealed.id.checksum };
    let source = Source { files, sealed };
    let (other, mut taker) = with_entries(0);
    install(&source, &meta, &Directory::open(&other.data()).unwrap(), &mut taker);
    drop(taker);
    let taken = other.open();
    assert_eq!(taken.machine.state_hash(), opened.machine.state_hash());
    let paused: i64 = taken.state.query_row("select count(*) from paused", [], |r| r.get(0)).unwrap();
    assert_eq!(paused, 0, "and has a table for those to come");
}
