//! Sessions in the tables.

use raftdeck_jobs::{Command, NewJob, Op, Reply, SessionCall, limits::SESSION_TTL_MS};

use crate::home::{Home, append, entries, start, write};

#[test]
fn sessions_are_rows_of_the_tables_and_come_back() {
    let home = Home::new();
    let mut node = home.open();
    append(&mut node, &[write(3, entries(1..=4, 3), 1)]);
    let opened = node.machine.apply(1, &Command::of(1000, Op::OpenSession, None));
    let [Reply::SessionOpened { session }] = opened[..] else { panic!("{opened:?}") };
    let submit = |stamp_ms| {
        let jobs = vec![NewJob { handler: "h".into(), ..NewJob::default() }];
        Command::of(stamp_ms, Op::Submit { jobs }, Some(SessionCall { session, seq: 1 }))
    };
    let first = node.machine.apply(2, &submit(1001)).remove(0);
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(2, 3)).unwrap();
    let hash = node.machine.state_hash();
    drop(node);
    let mut node = home.open();
    assert_eq!(node.machine.state_hash(), hash);
    let again = Reply::Repeated { index: 2, reply: Box::new(first) };
    assert_eq!(node.machine.apply(3, &submit(1002)), [again]);
    assert_eq!(node.machine.live_count(), 1);
    // The time of the log passes: another session's opening takes the first one out of memory, and out of the tables.
    node.machine.apply(4, &Command::of(1002 + SESSION_TTL_MS, Op::OpenSession, None));
    let changes = node.machine.take_changes();
    node.state_store.write(&mut node.state, &changes, &start(4, 3)).unwrap();
    let ids: Vec<i64> = node
        .state
        .prepare("select id from sessions")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(ids, [4]);
    let hash = node.machine.state_hash();
    drop(node);
    assert_eq!(home.open().machine.state_hash(), hash);
}
