//! A leader, and followers that are played by the test.

use super::*;
use crate::{Config, Envelope, Learner, Membership, Output, ReadRound, Restart, StorageId, Term};

const LEADER: NodeId = NodeId(1);
const FOLLOWERS: [NodeId; 2] = [NodeId(2), NodeId(3)];

/// The only voter, with a log that begins after index 3, and two learners that have nothing of it.
fn leader() -> Raft {
    let mut membership = Membership::of([LEADER]);
    membership.learners = FOLLOWERS.map(|n| (n, Learner { promote: false, storage: None })).into();
    let mut raft = Raft::new(Config::new(LEADER, StorageId(1), membership, 1), Restart::default());
    while raft.leader() != Some(LEADER) {
        raft.tick();
        let _ = carry_out(&mut raft);
    }
    raft.propose(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]).unwrap();
    let _ = (carry_out(&mut raft), carry_out(&mut raft));
    assert_eq!(raft.commit(), Index(3));
    raft.compact(Index(3));
    raft
}

/// Its disk is fast.
fn carry_out(raft: &mut Raft) -> Output {
    let output = raft.take_output();
    if let Some(write) = &output.write {
        raft.persisted(write.seq);
    }
    output
}

fn say(raft: &mut Raft, from: NodeId, body: Body) {
    let term = raft.term();
    raft.receive(Envelope { id: 1, from, storage: StorageId(from.0.into()), to: LEADER, term, body });
}

fn meta(raft: &Raft, checksum: u128) -> SnapshotMeta {
    let start = LogStart { index: Index(3), term: Term(1), membership: raft.membership().clone() };
    SnapshotMeta { start, bytes: 100, checksum }
}

/// What it would have done with snapshots.
fn tasks(raft: &mut Raft) -> Vec<SnapshotTask> {
    carry_out(raft).snapshots
}

/// To whom it offers which.
fn offers(raft: &mut Raft) -> Vec<(NodeId, u128)> {
    let offered = |e: Envelope| match e.body {
        Body::SnapshotOffer(meta) => Some((e.to, meta.checksum)),
        _ => None,
    };
    carry_out(raft).send_now.into_iter().filter_map(offered).collect()
}

/// Both followers need what is gone, and are offered the snapshot that was made of it.
fn offering(checksum: u128) -> Raft {
    let mut raft = leader();
    for follower in FOLLOWERS {
        say(&mut raft, follower, Body::HeartbeatReply { read: ReadRound(0), damaged: false });
        raft.link_lost(follower);
    }
    assert_eq!(tasks(&mut raft), [SnapshotTask::Take { at_least: Index(3) }], "one for both");
    raft.snapshot_taken(meta(&raft, checksum));
    assert_eq!(offers(&mut raft), FOLLOWERS.map(|n| (n, checksum)));
    raft
}

#[test]
fn a_snapshot_that_is_lost_is_made_anew_for_all_who_wait() {
    let mut raft = offering(7);
    let id = meta(&raft, 7).id();
    for (follower, offset) in FOLLOWERS.into_iter().zip([60, 0]) {
        say(&mut raft, follower, Body::SnapshotWanted { id, offset });
    }
    assert_eq!(tasks(&mut raft).len(), 2, "a chunk for each");
    raft.snapshot_lost(id);
    assert_eq!(raft.snapshot(), None);
    assert_eq!(tasks(&mut raft), [SnapshotTask::Take { at_least: Index(3) }], "at once, and one for both");
    // Whoever asks meanwhile waits, and no other is made for him.
    say(&mut raft, FOLLOWERS[0], Body::SnapshotWanted { id, offset: 60 });
    assert_eq!(tasks(&mut raft), []);
    // It may be the same, byte for byte: then what the followers have of it is still good.
    raft.snapshot_taken(meta(&raft, 7));
    assert_eq!(offers(&mut raft), FOLLOWERS.map(|n| (n, 7)));
    say(&mut raft, FOLLOWERS[0], Body::SnapshotWanted { id, offset: 60 });
    assert_eq!(tasks(&mut raft), [SnapshotTask::Read { to: FOLLOWERS[0], id, offset: 60 }]);
}

#[test]
fn a_snapshot_that_is_lost_late_takes_no_newer_one_with_it() {
    let mut raft = offering(7);
    let old = meta(&raft, 7).id();
    raft.snapshot_taken(meta(&raft, 8));
    raft.snapshot_lost(old);
    assert_eq!(raft.snapshot().map(SnapshotMeta::id), Some(meta(&raft, 8).id()));
    assert_eq!(tasks(&mut raft), []);
}
