//! One bit at a time: nothing acknowledged is lost in silence.

use std::fs;

use raftdeck_node::storage::Opened;
use raftdeck_raft::{NodeId, Term, Write};

use crate::home::{Home, append, damage, entries, remember, start, with_entries, write};

/// SQLite takes a frame with a bad checksum for the end of its write-ahead log and forgets what follows, without an
/// error; a flipped bit of a payload passes its integrity check. Here each flip is without consequence, or noticed.
fn flip(places: impl Fn(&str, u64) -> Vec<(u64, u8)>) -> (usize, usize) {
    let (home, mut opened) = with_entries(0);
    for first in (1..=400).step_by(10) {
        append(&mut opened, &[write(3, entries(first..=first + 9, 3), first)]);
        match first {
            201 => append(&mut opened, &[write(3, entries(205..=210, 3), 205)]),
            // Half of it is in the file, half in its write-ahead log.
            231 => {
                let _: i64 = opened.log.query_row("pragma wal_checkpoint(truncate)", [], |r| r.get(0)).unwrap();
                remember(&mut opened, 60, 3);
                append(&mut opened, &[Write { start: Some(start(50, 3)), ..write(3, vec![], first + 10) }]);
            }
            _ => {}
        }
    }
    let whole = entries(51..=400, 3);
    let source = home.copy();
    let (mut damaged, mut harmless) = (0, 0);
    for file in ["mark", "log.db", "log.db-wal"] {
        let good = fs::read(source.data().join(file)).unwrap();
        println!("{file}: {} bytes", good.len());
        for (at, bit) in places(file, good.len() as u64) {
            let copy = source.copy_to(Home::light());
            let mut bytes = good.clone();
            bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
            fs::write(copy.data().join(file), bytes).unwrap();
            let Opened { found, machine, .. } = copy.open();
            let here = format!("{file} byte {at} bit {bit}");
            let first = found.start.index.next().0;
            // Of a damaged log, a beginning: from its start or from an earlier one.
            let served = entries(first..=found.start.index.0 + found.entries.len() as u64, 3);
            assert_eq!(found.entries, served, "{here}: served what was not written");
            assert!(machine.applied() >= found.start.index.0, "{here}");
            assert!(found.hard.term == Term(3) && found.hard.voted_for == Some(NodeId(2)), "{here}: forgot its vote");
            if found.hard.damage.is_some() {
                assert_eq!(found.hard.damage, damage(400, 3), "{here}");
                damaged += 1;
            } else {
                assert_eq!((&found.start, &found.entries), (&start(50, 3), &whole), "{here}: lost in silence");
                harmless += 1;
            }
        }
    }
    println!("{damaged} flips noticed as damage, {harmless} without consequence");
    (damaged, harmless)
}

/// Every bit of both slots of the mark.
fn of_the_mark() -> Vec<(u64, u8)> {
    let slot = |at: u64| (at..at + 92).flat_map(|at| (0..8).map(move |bit| (at, bit)));
    slot(0).chain(slot(4096)).collect()
}

#[test]
fn no_flipped_bit_loses_an_acknowledged_entry_in_silence() {
    let (damaged, harmless) = flip(|file, length| match file {
        "mark" => of_the_mark().into_iter().step_by(3).collect(),
        // A prime, so that it walks through the structure of pages.
        _ => (0..length).step_by(101).zip((0..8).cycle()).collect(),
    });
    assert!(damaged > 50 && harmless > 50, "{damaged} noticed, {harmless} harmless");
}

#[test]
#[ignore = "takes many minutes: every bit of the mark, every seventh byte of the log"]
fn no_flipped_bit_at_any_place_loses_an_acknowledged_entry_in_silence() {
    let (damaged, harmless) = flip(|file, length| match file {
        "mark" => of_the_mark(),
        _ => (0..length).step_by(7).zip((0..8).cycle()).collect(),
    });
    assert!(damaged > 50 && harmless > 50, "{damaged} noticed, {harmless} harmless");
}
