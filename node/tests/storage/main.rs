//! The disk, on real files: what is refused, what is noticed, what comes back.

mod crash;
mod flips;
mod home;
mod paused;
mod sessions;
mod snapshots;

use std::{fs, os::unix::fs::FileExt as _};

use raftdeck_jobs::{CancelOutcome, Command, JobId, Op, Reply};
use raftdeck_node::storage::{Directory, StorageError};
use raftdeck_raft::{Entry, EntryKind, HardState, Index, LogStart, Write, WriteSeq};
use tokio_rusqlite::rusqlite::{Connection, params};

use crate::home::{Home, append, damage, entries, entry, hard, remember, start, with_entries, write};

#[test]
fn what_was_written_comes_back() {
    let (home, opened) = with_entries(20);
    let home = home.copy();
    drop(opened);
    let mut opened = home.open();
    assert_eq!(opened.found.entries, entries(1..=20, 3));
    assert_eq!((opened.found.hard, opened.found.joins), (hard(3), false));
    let id = opened.found.storage_id.clone();
    // A newer leader replaces the end; several writes become one transaction.
    let seq = opened.log_store.append(&mut opened.log, &[write(4, entries(8..=9, 4), 8), write(5, vec![], 10)]);
    assert_eq!(seq.unwrap(), WriteSeq(10));
    drop(opened);
    let found = home.open().found;
    assert_eq!(found.entries[6..], [entry(7, 3), entry(8, 4), entry(9, 4)]);
    assert_eq!((found.hard, found.storage_id), (hard(5), id));
}

#[test]
fn a_log_that_was_cut_comes_back_and_goes_on() {
    let (home, mut opened) = with_entries(20);
    remember(&mut opened, 12, 3);
    let cut = |index| Write { start: Some(start(index, 3)), ..write(3, vec![], 21) };
    append(&mut opened, &[cut(5), Write { entries: vec![entry(21, 3)], ..cut(12) }]);
    // A truncation back to the start, and a start in the same transaction as one.
    let copy = home.copy();
    drop(opened);
    for home in [&home, &copy] {
        let mut opened = home.open();
        assert_eq!((opened.found.start.clone(), opened.found.hard), (start(12, 3), hard(3)));
        assert_eq!(opened.found.entries, entries(13..=21, 3));
        assert_eq!(opened.machine.applied(), 12);
        let rows: i64 = opened.log.query_row("select count(*) from entries", [], |r| r.get(0)).unwrap();
        assert_eq!(rows, 9, "the rows are gone, not just skipped");
        append(&mut opened, &[write(4, entries(13..=14, 4), 13)]);
    }
    let mut opened = home.open();
    assert_eq!(opened.found.entries, entries(13..=14, 4));
    remember(&mut opened, 14, 4);
    append(
        &mut opened,
        &[write(5, entries(14..=16, 5), 14), Write { start: Some(start(14, 5)), ..write(5, vec![], 17) }],
    );
    remember(&mut opened, 15, 5);
    drop(opened);
    let opened = home.open();
    assert_eq!((opened.found.start, opened.found.entries), (start(14, 5), entries(15..=16, 5)));
    assert_eq!(opened.found.hard.damage, None);
}

#[test]
fn a_snapshot_takes_the_place_of_a_log_that_does_not_lead_to_it() {
    // Beyond the end of the log, and in the middle of it with another term there.
    for at in [50, 7] {
        let (home, mut opened) = with_entries(10);
        append(&mut opened, &[Write { start: Some(start(at, 9)), ..write(9, entries(at + 1..=at + 2, 9), at + 1) }]);
        remember(&mut opened, at + 1, 9);
        let copy = home.copy();
        drop(opened);
        for home in [home, copy] {
            let mut opened = home.open();
            assert_eq!((&opened.found.start, opened.found.hard), (&start(at, 9), hard(9)), "at {at}");
            assert_eq!(opened.found.entries, entries(at + 1..=at + 2, 9));
            append(&mut opened, &[write(9, vec![entry(at + 2, 9)], at + 2)]);
        }
    }
}

/// A directory as version 0.1.0 left it: made by its own SQL, with nothing of what came later.
#[test]
fn a_directory_of_version_0_1_0_is_taken_over() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    fs::write(home.0.path().join("n1.id"), format!("{id}\n")).unwrap();
    let log = Connection::open(home.data().join("log.db")).unwrap();
    log.execute_batch(
        "create table identity (
             one integer primary key check (one = 1), format integer not null, cluster_id text not null,
             node integer not null, storage_id text not null
         ) strict;
         create table hard (
             grp integer primary key, term integer not null, voted_for integer not null, crc integer not null
         ) strict;
         create table entries (
             key integer primary key, term integer not null, kind integer not null, payload blob not null,
             crc integer not null, chain blob not null
         ) strict;
         insert into identity values (1, 1, 'test', 1, '0123456789abcdef0123456789abcdef');",
    )
    .unwrap();
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let crc = crc32fast::hash(&numbers(&[1, 3, 2]));
    log.execute("insert into hard values (1, 3, 2, ?)", [crc]).unwrap();
    let mut chain = [0_u8; 16];
    let written: Vec<Entry> =
        entries(2..=6, 3).into_iter().zip(1..).map(|(e, i)| Entry { index: Index(i), ..e }).collect();
    for entry in &written {
        let EntryKind::Command(payload) = &entry.kind else { panic!("commands only") };
        let place = numbers(&[entry.index.0, 3]);
        let row = [&place[..], &[2], payload].concat();
        let crc = crc32fast::hash(&[&numbers(&[1])[..], &row].concat());
        chain = blake3::hash(&[&chain[..], &row].concat()).as_bytes()[..16].try_into().unwrap();
        let key = 1_i64 << 48 | entry.index.0.cast_signed();
        log.execute("insert into entries values (?, 3, 2, ?, ?, ?)", params![key, &payload[..], crc, &chain[..]])
            .unwrap();
    }
    drop(log);
    let mut mark = b"RDMARK\0\x01".to_vec();
    mark.extend(numbers(&[1, 1, 5, 3]));
    mark.extend(chain);
    mark.extend(numbers(&[3, 2]));
    mark.extend(crc32fast::hash(&mark).to_le_bytes());
    fs::write(home.data().join("mark"), [vec![0; 4096], mark].concat()).unwrap();

    let mut opened = home.open();
    assert!(!home.data().join("log.db.damaged").exists(), "nothing is wrong with it");
    assert_eq!((&opened.found.entries, opened.found.hard), (&written, hard(3)));
    assert_eq!((&opened.found.start, opened.found.storage_id.as_str()), (&LogStart::default(), id));
    append(&mut opened, &[Write { start: Some(start(2, 3)), ..write(3, vec![entry(6, 3)], 6) }]);
    let changes = {
        opened.machine.apply_nothing(1);
        opened.machine.apply_nothing(2);
        opened.machine.take_changes()
    };
    opened.state_store.write(&mut opened.state, &changes, &start(2, 3)).unwrap();
    drop(opened);
    let found = home.open().found;
    assert_eq!((found.start, &found.entries[..3], found.entries.len()), (start(2, 3), &written[2..], 4));
    assert_eq!(found.hard, hard(3));
}

#[test]
fn another_nodes_directory_is_refused_and_left_as_it_is() {
    let (home, opened) = with_entries(3);
    drop(opened);
    let error = home.open_as(2).unwrap_err().to_string();
    assert_eq!(error, "this data directory belongs to node n1 of cluster test, not to node n2 of cluster test");
    let log = Connection::open(home.data().join("log.db")).unwrap();
    log.execute("update identity set format = 3", []).unwrap();
    drop(log);
    // Not what a newer program would write: its sum would be right.
    assert_eq!(home.copy().open().found.entries, entries(1..=3, 3));
    let log = Connection::open(home.data().join("log.db")).unwrap();
    let id = fs::read_to_string(home.0.path().join("n1.id")).unwrap();
    let crc = crc32fast::hash(format!("3 test n1 {} false ", id.trim()).as_bytes());
    log.execute("update identity set crc = ?", [crc]).unwrap();
    drop(log);
    let error = home.open_as(1).unwrap_err().to_string();
    assert_eq!(error, "log.db has format 3, this program reads formats up to 2");
}

#[test]
fn a_directory_in_use_is_refused() {
    let (home, opened) = with_entries(3);
    assert!(matches!(home.open_as(1), Err(StorageError::InUse("the data directory"))));
    drop(opened);
    assert_eq!(home.open().found.entries.len(), 3);
}

/// The row is whole, but not the one that was written there: what comes before it is certain, and no more.
#[test]
fn an_entry_that_does_not_follow_from_the_one_before_it_is_noticed() {
    let (home, opened) = with_entries(10);
    drop(opened);
    let log = Connection::open(home.data().join("log.db")).unwrap();
    let of_5: Vec<u8> = log.query_row("select payload from entries where key & 0xffff = 5", [], |r| r.get(0)).unwrap();
    let place = [1_u64, 6, 3].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let crc = crc32fast::hash(&[&place[..], &[2], &of_5].concat());
    log.execute("update entries set payload = ?, crc = ? where key & 0xffff = 6", params![of_5, crc]).unwrap();
    drop(log);
    let found = home.open().found;
    assert_eq!((found.entries, found.hard.damage), (entries(1..=5, 3), damage(10, 3)));
}

/// Without its mark, a node may have promised anything: it comes back as another.
#[test]
fn who_lost_the_mark_is_a_stranger() {
    let without = |home: &Home| home.remove("mark");
    let nonsense = |home: &Home| home.spoil("mark");
    let emptied = |home: &Home| fs::remove_dir_all(home.data()).unwrap();
    let ways: [fn(&Home); 3] = [without, nonsense, emptied];
    for (way, harm) in ways.into_iter().enumerate() {
        let (home, mut opened) = with_entries(10);
        remember(&mut opened, 5, 3);
        let id = opened.found.storage_id.clone();
        drop(opened);
        harm(&home);
        let opened = home.open();
        assert!(opened.found.joins && opened.found.entries.is_empty(), "way {way}");
        assert_eq!((opened.found.hard, opened.machine.applied()), (HardState::default(), 0));
        let new_id = opened.found.storage_id.clone();
        assert_ne!(new_id, id);
        assert_eq!(fs::read_to_string(home.0.path().join("n1.id")).unwrap().trim(), new_id);
        let kept = home.data().join("log.db.damaged").exists();
        assert_eq!(kept, way < 2, "what was here is kept");
        drop(opened);
        // It knows that it is one until its log says otherwise, and for good what it is called.
        let mut opened = home.open();
        assert_eq!((opened.found.joins, &opened.found.storage_id), (true, &new_id));
        append(&mut opened, &[write(4, entries(1..=2, 4), 1)]);
        drop(opened);
        let found = home.open().found;
        assert_eq!((found.entries.len(), found.joins, found.hard), (2, true, hard(4)));
        // The process may have ended before the witness knew.
        fs::write(home.0.path().join("n1.id"), &id).unwrap();
        assert_eq!(home.open().found.storage_id, new_id);
    }
}

#[test]
fn an_exchanged_directory_is_refused() {
    let (home, opened) = with_entries(3);
    drop(opened);
    let witness = home.0.path().join("n1.id");
    let (_, id) = (fs::rename(home.data(), home.0.path().join("kept")).unwrap(), fs::read_to_string(&witness).unwrap());
    fs::remove_file(&witness).unwrap();
    drop(home.open());
    fs::write(&witness, id).unwrap();
    assert!(matches!(home.open_as(1), Err(StorageError::LogLost(_))));
    fs::remove_dir_all(home.data()).unwrap();
    fs::rename(home.0.path().join("kept"), home.data()).unwrap();
    assert_eq!(home.open().found.entries.len(), 3);
}

type Harm = (&'static str, fn(&Home));

#[test]
fn who_lost_the_log_starts_damaged_and_knows_it_until_it_is_refilled() {
    let harms: [Harm; 5] = [
        ("its end", |home| home.remove("log.db-wal")),
        ("all of it", |home| {
            home.remove("log.db-wal");
            home.remove("log.db");
        }),
        ("its length", |home| {
            home.remove("log.db-wal");
            fs::write(home.data().join("log.db"), []).unwrap();
        }),
        ("its sense", |home| {
            home.spoil("log.db-wal");
            home.spoil("log.db");
        }),
        ("a row", |home| {
            let log = Connection::open(home.data().join("log.db")).unwrap();
            log.execute("update entries set payload = x'00' where key & 0xffff = 8", []).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let (source, opened) = with_entries(10);
        let home = source.copy();
        let id = opened.found.storage_id.clone();
        harm(&home);
        for again in [false, true] {
            let found = home.open().found;
            assert_eq!(found.hard, HardState { damage: damage(10, 3), ..hard(3) }, "{what}, again: {again}");
            assert_eq!(found.entries, entries(1..=found.entries.len() as u64, 3), "{what}: a beginning of what was");
            assert_eq!(found.entries.len(), if what == "a row" { 7 } else { 0 }, "{what}");
            assert_eq!((&found.storage_id, found.joins), (&id, false));
            // What was begun anew is sound: nothing is put aside again.
            let aside = home.data().join("log.db.damaged");
            assert!(!again || !aside.exists(), "{what}");
            fs::remove_file(aside).unwrap_or_default();
        }
        // Half refilled, with the damage still on; then settled.
        let mut opened = home.open();
        let (from, damaged) = (opened.found.entries.len() as u64 + 1, HardState { damage: damage(10, 3), ..hard(4) });
        append(&mut opened, &[Write { hard: damaged, ..write(4, entries(from..=9, 4), from) }]);
        drop(opened);
        let mut opened = home.open();
        assert_eq!((opened.found.hard, opened.found.entries.len()), (damaged, 9));
        append(&mut opened, &[write(4, entries(10..=11, 4), 10)]);
        drop(opened);
        let opened = home.open();
        assert_eq!((opened.found.hard, opened.found.entries.len()), (hard(4), 11));
    }
}

#[test]
fn tables_that_are_whole_stand_for_a_log_that_is_lost() {
    let (home, mut opened) = with_entries(10);
    remember(&mut opened, 6, 3);
    let hash = opened.machine.state_hash();
    drop(opened);
    let harmed = home.copy();
    harmed.remove("log.db");
    let opened = harmed.open();
    assert_eq!((opened.found.start, opened.found.entries.len()), (start(6, 3), 0));
    assert_eq!((opened.found.hard.damage, opened.machine.state_hash()), (damage(10, 3), hash));
    drop((opened.log, opened.state));
    // As much as the mark says: nothing is lost.
    let mut opened = home.open();
    remember(&mut opened, 10, 3);
    drop(opened);
    home.remove("log.db");
    let opened = home.open();
    assert_eq!((opened.found.start, opened.found.hard), (start(10, 3), hard(3)));
}

#[test]
fn tables_that_know_more_than_the_log_are_the_witness_of_a_lost_log() {
    let (home, mut opened) = with_entries(10);
    remember(&mut opened, 12, 3);
    drop(opened);
    let opened = home.open();
    assert_eq!((opened.found.start, opened.found.entries.len()), (start(12, 3), 0));
    assert_eq!(opened.found.hard.damage, damage(12, 3));
}

#[test]
fn sick_tables_are_built_anew_from_the_log_or_from_a_leader() {
    let (home, mut opened) = with_entries(10);
    remember(&mut opened, 6, 3);
    drop(opened);
    home.spoil("state.db");
    let mut opened = home.open();
    assert_eq!((opened.found.entries.len(), opened.found.hard), (10, hard(3)));
    assert_eq!(opened.machine.applied(), 0);
    remember(&mut opened, 6, 3);
    append(&mut opened, &[Write { start: Some(start(4, 3)), ..write(3, vec![], 11) }]);
    drop(opened);
    home.spoil("state.db");
    let opened = home.open();
    assert_eq!((opened.found.start, opened.found.entries.len()), (LogStart::default(), 0));
    assert_eq!((opened.found.hard.damage, opened.machine.applied()), (damage(10, 3), 0));
}

/// A start reads the live jobs, not the finished ones: their pages may turn out to be rotten much later.
#[test]
fn tables_found_sick_at_work_are_built_anew_by_the_next_start() {
    let (home, mut opened) = with_entries(40);
    remember(&mut opened, 6, 3);
    let _: i64 = opened.state.query_row("pragma wal_checkpoint(truncate)", [], |r| r.get(0)).unwrap();
    let sql = "select rootpage, (select page_size from pragma_page_size) from sqlite_master where name = 'finished'";
    let (page, bytes): (u32, u32) = opened.state.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    drop(opened);
    let spoil = || {
        let file = fs::OpenOptions::new().write(true).open(home.data().join("state.db")).unwrap();
        file.write_all_at(&[0xa5; 100], u64::from((page - 1) * bytes)).unwrap();
    };
    spoil();
    let mut opened = home.open();
    assert_eq!(opened.machine.applied(), 6, "nothing is noticed yet");
    let files = Directory::open(&home.data()).unwrap();
    let cancel = Command::of(2, Op::Cancel { job: JobId(2) }, None);
    assert!(matches!(opened.machine.apply(7, &cancel)[..], [Reply::Cancelled(Ok(CancelOutcome::Cancelled))]));
    let (changes, upto) = (opened.machine.take_changes(), start(opened.machine.applied(), 3));
    let error = opened.state_store.remember(&mut opened.state, &files, &changes, &upto).unwrap_err();
    assert_eq!(error.to_string(), "damaged: state.db: database disk image is malformed");
    assert!(home.data().join("state.db.damaged").exists(), "what was here is kept");
    drop(opened);
    let mut opened = home.open();
    assert_eq!((opened.machine.applied(), opened.found.entries.len(), opened.found.hard), (0, 40, hard(3)));
    remember(&mut opened, 40, 3);
}
