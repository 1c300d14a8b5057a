//! Paused queues in the tables.

use raftdeck_jobs::{Command, Op};

use crate::home::{Home, append, entries, start, write};

fn pause(queue: &str, paused: bool) -> Command {
    Command::of(1000, Op::PauseQueue { queue: queue.into(), paused }, None)
}

#[test]
fn paused_queues_are_rows_of_the_tables_and_come_back() {
    let home = Home::new();
    let mut node = home.open();
    append(&mut node, &[write(3, entries(1..=3, 3), 1)]);
    node.machine.apply(1, &pause("mail", true));
    node.machine.apply(2, &pause("images", true));
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(2, 3)).unwrap();
    let hash = node.machine.state_hash();
    drop(node);
    let mut node = home.open();
    assert_eq!(node.machine.state_hash(), hash);
    assert!(node.machine.paused_queues().eq(["images", "mail"]));
    node.machine.apply(3, &pause("mail", false));
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(3, 3)).unwrap();
    drop(node);
    assert!(home.open().machine.paused_queues().eq(["images"]));
}

/// An older release knew no such table, and nothing was paused there.
#[test]
fn tables_without_paused_queues_are_read_and_taken_on() {
    let home = Home::new();
    let mut node = home.open();
    append(&mut node, &[write(3, entries(1..=2, 3), 1)]);
    node.machine.apply(1, &Command::of(1000, Op::Tick, None));
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(1, 3)).unwrap();
    node.state.execute("drop table paused", []).unwrap();
    let hash = node.machine.state_hash();
    drop(node);
    let mut node = home.open();
    assert_eq!(node.machine.state_hash(), hash);
    node.machine.apply(2, &pause("mail", true));
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(2, 3)).unwrap();
    drop(node);
    assert!(home.open().machine.paused_queues().eq(["mail"]));
}
