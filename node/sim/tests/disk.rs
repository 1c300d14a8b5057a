//! The node's own storage code on the simulated disk: what a crash after any operation leaves, and what other faults do.

mod disk {
    pub(crate) mod script;
}

use std::{fs, path::Path};

use disk::script::{Place, Script, run};
use raftdeck_jobs::{NewJob, Op};
use raftdeck_node::storage::{Opened, StorageError};
use raftdeck_raft::NodeId;
use raftdeck_sim::{
    Cluster, Options,
    vfs::{Drive, Image, Operation, Survivors},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// What a crash leaves of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The process was killed, the machine runs on.
    Killed,
    NothingSurvives,
    AllSurvives,
    Drawn,
    /// Drawn, and crashed once more while it recovers from that.
    Twice,
}

const ALL_FATES: [Fate; 7] =
    [Fate::Killed, Fate::NothingSurvives, Fate::AllSurvives, Fate::Drawn, Fate::Drawn, Fate::Drawn, Fate::Twice];

/// A node that ran a script until it was killed; `told` of the calls had returned.
struct Killed<'a> {
    script: &'a Script,
    drive: Drive,
    told: usize,
}

impl Killed<'_> {
    /// Starts from each of the disks that the crash may leave.
    fn recover_all(&self, fates: &[Fate], rng: &mut StdRng, point: u64) -> usize {
        for fate in fates {
            let drive = self.drive.fork();
            match fate {
                Fate::Killed => drive.kill(),
                Fate::NothingSurvives => drive.crash(Survivors::None),
                Fate::AllSurvives => drive.crash(Survivors::All),
                Fate::Drawn => drive.crash(Survivors::Drawn(rng)),
                Fate::Twice => {
                    drive.crash(Survivors::Drawn(rng));
                    drive.reopen();
                    drive.kill_after(rng.random_range(0..12));
                    drop(Place::Drive(&drive).open());
                    drive.crash(Survivors::Drawn(rng));
                }
            }
            self.recover(&drive, &format!("operation {point}, {fate:?}"));
        }
        fates.len()
    }

    fn recover(&self, drive: &Drive, when: &str) {
        drive.reopen();
        let open = Place::Drive(drive).open().unwrap_or_else(|e| panic!("{when}: {e}"));
        let known = [self.told, self.told + 1].map(|calls| self.script.logs.get(calls));
        let found = (open.found.hard, &open.found.entries);
        let fits = known.iter().flatten().any(|(hard, entries)| (*hard, entries) == found);
        assert!(fits, "{when}: neither what {} calls wrote nor one more: {found:?}", self.told);
        let hash = self.script.hashes.get(&open.machine.applied());
        assert_eq!(hash, Some(&open.machine.state_hash()), "{when}: the tables are of no moment");
    }
}

/// Crashes a script after every operation, from a drive that ran the calls before it: the number of recoveries.
fn crash_everywhere(base: &Drive, script: &Script, done: usize, fates: &[Fate], seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut recoveries = 0;
    for point in 0.. {
        let drive = base.fork();
        drive.reopen();
        drive.kill_after(point);
        let mut killed = Killed { script, drive, told: done };
        let mut open = Place::Drive(&killed.drive).open();
        if let Ok(open) = &mut open {
            killed.told += run(open, &script.calls[done..]).0;
        }
        let is_over = !killed.drive.is_dead();
        // SQLite writes when it is closed, and a dead process does not.
        killed.drive.kill();
        drop(open);
        recoveries += killed.recover_all(fates, &mut rng, point);
        if is_over {
            return recoveries;
        }
    }
    unreachable!("a script is finite")
}

/// What is on a drive that ran the rest of a script.
fn finish(base: &Drive, script: &Script, done: usize) -> Image {
    let drive = base.fork();
    drive.reopen();
    let mut open = Place::Drive(&drive).open().unwrap();
    assert_eq!(run(&mut open, &script.calls[done..]).0, script.calls.len() - done);
    drive.kill();
    drive.save()
}

/// A drive that ran so much of a script that the next few calls make SQLite fold a log of its own into the database.
fn almost_folded(script: &Script, wal: &str) -> (Drive, usize) {
    let drive = Drive::new(5);
    let mut open = Place::Drive(&drive).open().unwrap();
    for done in 0..script.calls.len() {
        if drive.file_bytes(wal).is_some_and(|bytes| bytes > 994 * 4_120) {
            drive.kill();
            return (drive, done);
        }
        assert_eq!(run(&mut open, &script.calls[done..=done]).0, 1);
    }
    panic!("{wal} never grew so long");
}

#[test]
fn a_crash_after_any_operation_loses_nothing_that_was_acknowledged() {
    let recoveries: usize = [(1, 14), (2, 14), (3, 14)]
        .map(|(seed, calls)| crash_everywhere(&Drive::new(seed), &Script::draw(seed, calls, 4), 0, &ALL_FATES, seed))
        .iter()
        .sum();
    println!("{recoveries} recoveries");
    assert!(recoveries > 3_000, "only {recoveries}: the script became too short to prove much");
}

#[test]
fn a_crash_while_a_log_is_folded_into_its_database_loses_nothing() {
    // Few entries: what is written matters, not what is read back.
    let script = Script::draw(3, 1_500, 2);
    for wal in ["log.db-wal", "state.db-wal"] {
        let (base, done) = almost_folded(&script, wal);
        let few = Script { calls: script.calls[..done + 6].to_vec(), ..script.clone() };
        let (before, after) = (base.save(), finish(&base, &few, done));
        let database = wal.trim_end_matches("-wal");
        assert!(before[database] != after[database], "{wal} was not folded");
        let recoveries = crash_everywhere(&base, &few, done, &[Fate::NothingSurvives, Fate::Drawn, Fate::Twice], 4);
        println!("{wal}: {recoveries} recoveries");
        assert!(recoveries > 150, "{wal}: only {recoveries}");
    }
}

#[test]
fn the_drive_and_a_real_disk_give_back_the_same() {
    let script = Script::draw(6, 120, 4);
    let (drive, dir) = (Drive::new(6), tempfile::tempdir().unwrap());
    let mut path = dir.path().join("0");
    fs::create_dir(&path).unwrap();
    let mut rng = StdRng::seed_from_u64(6);
    let mut done = 0;
    while done < script.calls.len() {
        let (mut on_drive, mut on_disk) = (Place::Drive(&drive).open().unwrap(), Place::Dir(&path).open().unwrap());
        assert_eq!(what(&on_drive), what(&on_disk), "after {done} calls");
        let next = (done + rng.random_range(1..12)).min(script.calls.len());
        for open in [&mut on_drive, &mut on_disk] {
            assert_eq!(run(open, &script.calls[done..next]).0, next - done);
        }
        done = next;
        if rng.random_bool(0.5) {
            // The process is killed: what it leaves is what the files are now.
            drive.kill();
            let copy = dir.path().join(done.to_string());
            copy_files(&path, &copy);
            fs::copy(path.with_extension("id"), copy.with_extension("id")).unwrap();
            path = copy;
        }
        drop((on_drive, on_disk));
        drive.reopen();
        let names: Vec<String> = drive.save().into_keys().collect();
        let mut files: Vec<String> =
            fs::read_dir(&path).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(names, files, "after {done} calls");
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|f| f.unwrap()) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What the storage code says of a directory, but for the id that each draws for itself.
fn what(open: &Opened) -> impl PartialEq + std::fmt::Debug {
    (open.found.hard, open.found.entries.clone(), open.machine.applied(), open.machine.state_hash())
}

#[test]
fn the_same_calls_on_a_drive_of_the_same_seed_write_the_same_bytes() {
    let script = Script::draw(7, 600, 4);
    // The storage id is the node's to draw: begin behind it.
    let first = Drive::new(1);
    Place::Drive(&first).open().unwrap();
    let image = first.save();
    let run = |seed| {
        let drive = Drive::new(seed);
        drive.restore(&image);
        drive.reopen();
        let mut open = Place::Drive(&drive).open().unwrap();
        for (number, call) in script.calls.iter().enumerate() {
            assert_eq!(run(&mut open, std::slice::from_ref(call)).0, 1);
            if number % 50 == 0 {
                drive.crash(Survivors::Drawn(&mut StdRng::seed_from_u64(number as u64)));
                drop(open);
                drive.reopen();
                open = Place::Drive(&drive).open().unwrap();
            }
        }
        drive.kill();
        drive.save()
    };
    let (one, same, other) = (run(1), run(1), run(2));
    assert!(one["log.db"].len() > 4_096, "the log was never folded into its database");
    assert!(one == same, "the bytes differ");
    assert!(one["log.db-wal"] != other["log.db-wal"], "another seed has other salts");
}

/// A node that wrote all of a script, killed.
fn full(script: &Script, seed: u64) -> Drive {
    let drive = Drive::new(seed);
    let mut open = Place::Drive(&drive).open().unwrap();
    assert_eq!(run(&mut open, &script.calls).0, script.calls.len());
    drive.kill();
    drive
}

#[test]
fn a_connection_of_a_dead_process_touches_nothing_when_it_is_closed() {
    let script = Script::draw(13, 6, 4);
    let drive = Drive::new(13);
    Place::Drive(&drive).open().unwrap();
    // Nothing to fold: SQLite would only delete its log, by name.
    let old = Place::Drive(&drive).open().unwrap();
    drive.kill();
    drive.reopen();
    let mut new = Place::Drive(&drive).open().unwrap();
    assert_eq!(run(&mut new, &script.calls).0, script.calls.len());
    let (files, operations) = (drive.save(), drive.operations());
    drop(old);
    assert!(files == drive.save(), "it changed files");
    assert_eq!(operations, drive.operations(), "it tried to");
}

#[test]
fn a_flipped_bit_is_noticed_or_does_not_matter() {
    let script = Script::draw(8, 40, 4);
    let killed = full(&script, 8);
    // Closed in peace: everything is in the databases, and nothing in their logs.
    let closed = killed.fork();
    closed.reopen();
    Place::Drive(&closed).open().unwrap();
    assert_eq!(closed.save().into_keys().collect::<Vec<_>>(), ["log.db", "mark", "state.db"]);
    let mut rng = StdRng::seed_from_u64(8);
    let mut noticed = 0;
    for number in 0..1_000 {
        let drive = if number % 2 == 0 { killed.fork() } else { closed.fork() };
        let files: Vec<(String, Vec<u8>)> = drive.save().into_iter().collect();
        let (name, len) = files.get(rng.random_range(0..files.len())).map(|(n, bytes)| (n, bytes.len())).unwrap();
        let (byte, bit) = (rng.random_range(0..len), rng.random_range(0..8));
        assert!(drive.flip(name, byte, bit));
        drive.reopen();
        match Place::Drive(&drive).open() {
            Err(_) => noticed += 1,
            Ok(open) if open.found.joins || open.found.hard.damage.is_some() => noticed += 1,
            Ok(open) => {
                let (hard, entries) = &script.logs[script.calls.len()];
                let when = format!("bit {bit} of byte {byte} of {name}");
                assert_eq!((*hard, entries), (open.found.hard, &open.found.entries), "{when}");
                assert_eq!(script.hashes.get(&open.machine.applied()), Some(&open.machine.state_hash()), "{when}");
            }
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed: these bits are nowhere");
}

#[test]
fn a_failed_write_or_sync_is_an_error_and_takes_nothing_with_it_that_was_acknowledged() {
    let script = Script::draw(9, 12, 4);
    let mut failures = 0;
    for operation in [Operation::Write, Operation::Sync] {
        for nth in 1.. {
            let drive = Drive::new(9);
            let mut open = Place::Drive(&drive).open().unwrap();
            drive.fail_nth(operation, nth);
            let (told, error) = run(&mut open, &script.calls);
            // The process ends; its cache lives on, until it forgets what it takes for clean.
            drive.kill();
            drop(open);
            let Some(error) = error else { break };
            assert!(matches!(error, StorageError::Sqlite { .. } | StorageError::Io { .. }), "{error}");
            failures += 1;
            let killed = Killed { script: &script, drive, told };
            killed.recover(&killed.drive.fork(), &format!("{operation:?} {nth}"));
            let evicted = killed.drive.fork();
            evicted.evict();
            killed.recover(&evicted, &format!("{operation:?} {nth}, evicted"));
            killed.recover_all(&ALL_FATES, &mut StdRng::seed_from_u64(nth), nth);
        }
    }
    assert!(failures > 50, "only {failures} failed");
}

/// A failed sync leaves pages that are read as if they were on the disk. Whoever reads them must write them again before
/// anything rests on them: a power cut comes long after.
#[test]
fn what_is_found_after_a_failed_sync_is_on_the_disk_before_the_node_goes_on() {
    let script = Script::draw(14, 16, 4);
    let found = |drive: &Drive| {
        drive.reopen();
        let open = Place::Drive(drive).open().unwrap();
        let found = (open.found.clone(), open.machine.state_hash());
        drive.kill();
        found
    };
    let mut failures = 0;
    for nth in 1.. {
        let drive = Drive::new(14);
        let mut open = Place::Drive(&drive).open().unwrap();
        drive.fail_nth(Operation::Sync, nth);
        let (_, error) = run(&mut open, &script.calls);
        drive.kill();
        drop(open);
        if error.is_none() {
            break;
        }
        failures += 1;
        let before = found(&drive);
        assert_eq!(before.0.hard.damage, None);
        drive.evict();
        assert_eq!(found(&drive), before, "sync {nth}, evicted");
        drive.crash(Survivors::None);
        assert_eq!(found(&drive), before, "sync {nth}, power lost");
    }
    assert!(failures > 20, "only {failures} failed");
}

#[test]
fn a_full_disk_is_an_error_and_takes_nothing_with_it() {
    let script = Script::draw(10, 40, 4);
    let drive = Drive::new(10);
    let mut open = Place::Drive(&drive).open().unwrap();
    drive.limit(Some(200_000));
    let (told, error) = run(&mut open, &script.calls);
    let error = error.expect("200 kB are not enough").to_string();
    assert!(error.contains("full"), "{error}");
    drive.kill();
    drop(open);
    drive.limit(None);
    Killed { script: &script, drive: drive.fork(), told }.recover(&drive, "full");
}

#[test]
fn a_log_cut_short_or_wiped_is_damage_and_an_old_copy_is_what_it_was() {
    let script = Script::draw(11, 20, 4);
    let base = full(&script, 11);
    let cut = |file: &str, len: usize| {
        let drive = base.fork();
        drive.shorten(file, len);
        drive.reopen();
        let found = Place::Drive(&drive).open().unwrap().found;
        (found.joins, found.hard.damage.is_some())
    };
    for (file, len, verdict) in [
        ("log.db-wal", 0, (false, true)),
        ("log.db-wal", 20_000, (false, true)),
        ("mark", 0, (true, false)),
        ("mark", 5, (true, false)),
    ] {
        assert_eq!(cut(file, len), verdict, "{file} cut to {len}: (a stranger, damaged)");
    }
    let (image, old) = (base.save(), base.fork());
    base.wipe();
    assert!(base.save().is_empty());
    base.reopen();
    assert!(Place::Drive(&base).open().unwrap().found.joins, "it knows nothing of its past");
    old.wipe();
    old.restore(&image);
    Killed { script: &script, drive: old.fork(), told: script.calls.len() }.recover(&old, "old");
}

#[test]
fn a_node_of_a_cluster_starts_from_what_its_drive_holds() {
    let mut cluster = Cluster::new(Options::calm(3, 12)).unwrap();
    cluster.run_for(1_000_000).unwrap();
    let node = NodeId(2);
    cluster.crash(node);
    cluster.start(node).unwrap();
    cluster.run_for(100_000).unwrap();
    // In the log, and not in the tables yet.
    let leader = cluster.leader().unwrap();
    let jobs = vec![NewJob { handler: "echo".into(), ..NewJob::default() }];
    cluster.request(leader, Op::Submit { jobs }).unwrap();
    cluster.run_for(20_000).unwrap();
    cluster.crash(node);
    let drive = cluster.drive(node).unwrap();
    let whole = drive.save();
    assert_eq!(whole.keys().next().map(String::as_str), Some("log.db"));
    drive.shorten("log.db", 4_096);
    cluster.note_hurt(node, false);
    cluster.start(node).unwrap();
    assert!(cluster.replica(node).unwrap().raft().is_damaged());
    cluster.run_for(2_000_000).unwrap();
    assert!(!cluster.replica(node).unwrap().raft().is_damaged(), "its leader has refilled it");
    cluster.crash(node);
    cluster.drive(node).unwrap().wipe();
    cluster.start(node).unwrap();
    cluster.run_for(5_000_000).unwrap();
    let raft = cluster.replica(node).unwrap().raft();
    assert!(raft.membership().counts(node, raft.storage()), "the group has taken it in anew");
}
