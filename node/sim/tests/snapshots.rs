//! A snapshot that rots while it is sent, or all the time: its leader makes another one, and the follower gets it.

use raftdeck_jobs::{NewJob, Op};
use raftdeck_node::storage::snapshot::SNAPSHOT;
use raftdeck_raft::NodeId;
use raftdeck_sim::{Cluster, Options, Steer};

const AWAY: NodeId = NodeId(3);

/// A follower was away for so long that it needs a snapshot, of several chunks.
fn behind(rot_snapshots: f64, seed: u64) -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(Options { rot_snapshots, ..Options::calm(3, seed) }).unwrap();
    cluster.time_out(NodeId(1)).unwrap();
    cluster.run_for(50_000).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.crash(AWAY);
    for _ in 0..40 {
        let jobs = (0..8).map(|_| NewJob { handler: "h".into(), payload: vec![7; 200].into(), ..NewJob::default() });
        cluster.request(leader, Op::Submit { jobs: jobs.collect() }).unwrap();
    }
    cluster.run_for(500_000).unwrap();
    cluster.steer(leader, Steer::Compact).unwrap();
    cluster.run_for(10_000).unwrap();
    cluster.start(AWAY).unwrap();
    (cluster, leader)
}

/// How much of it the follower has, as far as its leader knows; none when it gets none.
fn stored(cluster: &Cluster, leader: NodeId) -> Option<u64> {
    let mut followers = cluster.replica(leader).unwrap().raft().followers();
    followers.find(|(node, _)| *node == AWAY).and_then(|(_, view)| view.snapshot_offset)
}

/// Runs until the follower has what its leader has.
fn settle(cluster: &mut Cluster, leader: NodeId) {
    let of = |cluster: &Cluster, node| {
        let machine = cluster.replica(node).unwrap().machine();
        (machine.applied(), machine.state_hash())
    };
    let until = cluster.now_us() + 5_000_000;
    while of(cluster, AWAY) != of(cluster, leader) {
        assert!(cluster.now_us() < until, "{:?} is not {:?}", of(cluster, AWAY), of(cluster, leader));
        cluster.run_for(1_000).unwrap();
    }
}

#[test]
fn a_snapshot_that_rots_while_it_is_sent_is_made_anew() {
    let (mut cluster, leader) = behind(0.0, 5);
    let term = cluster.replica(leader).unwrap().raft().term();
    while stored(&cluster, leader).is_none_or(|bytes| bytes == 0) {
        cluster.step().unwrap();
    }
    let meta = cluster.replica(leader).unwrap().raft().snapshot().unwrap().clone();
    let drive = cluster.drive(leader).unwrap();
    assert!(drive.flip(SNAPSHOT, usize::try_from(meta.bytes).unwrap() - 1, 3), "its last chunk, which is not sent yet");
    settle(&mut cluster, leader);
    assert_eq!(cluster.snapshots_lost(), 1);
    let raft = cluster.replica(leader).unwrap().raft();
    assert_eq!((raft.term(), cluster.leader()), (term, Some(leader)));
    // The next one who needs it gets all of it.
    assert!(raft.snapshot().is_some_and(|next| next.start.index >= meta.start.index));
}

/// Every one of them, but rot is only found in what is still to be sent: what the follower has it keeps.
#[test]
fn snapshots_that_rot_again_and_again_are_made_again_and_again() {
    let lost = (1..=8).map(|seed| {
        let (mut cluster, leader) = behind(1.0, seed);
        settle(&mut cluster, leader);
        cluster.snapshots_lost()
    });
    let lost: Vec<u64> = lost.collect();
    assert!(lost.iter().any(|lost| *lost > 1), "{lost:?} were lost");
}
