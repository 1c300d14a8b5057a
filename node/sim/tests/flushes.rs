//! When is something on the disk? What reaches a node's drive, operation by operation, before anybody is told "done".
//!
//! Other tests crash a node and look whether something is missing. These count: a flush too few is a lost job on a bad
//! day, and a flush too many is what the queue's rate is made of.

use std::collections::BTreeMap;

use raftdeck_jobs::{NewJob, Op, Reply};
use raftdeck_node::{
    replica::Applied,
    storage::{self, Identity, MARK, Opened},
};
use raftdeck_raft::{Entry, EntryKind, GroupId, HardState, Index, NodeId, Term, Write, WriteSeq};
use raftdeck_sim::{
    Cluster, Happening, Options,
    vfs::{Drive, Operation, Survivors},
};

/// SQLite's log of the log's database: what a commit writes and syncs.
const WAL: &str = "log.db-wal";

/// What was done to the log and the mark, repetitions taken together.
fn steps(drive: &Drive) -> Vec<(Operation, String)> {
    let mut steps = drive.watched();
    steps.retain(|(_, name)| name != "state.db-wal");
    steps.dedup_by(|later, first| later == first && first.0 == Operation::Write);
    steps
}

fn flush_of(name: &str) -> [(Operation, String); 2] {
    [Operation::Write, Operation::Sync].map(|operation| (operation, name.to_owned()))
}

/// A write of one entry of 200 bytes.
fn write(seq: u64, index: u64, term: u64) -> Write {
    let hard = HardState { term: Term(term), ..HardState::default() };
    let kind = EntryKind::Command(vec![7; 200].into());
    let entry = Entry { index: Index(index), term: Term(term), kind };
    Write { seq: WriteSeq(seq), hard, start: None, from: Index(index), entries: vec![entry] }
}

fn open(drive: &Drive, cluster_id: &str, node: NodeId) -> Opened {
    storage::open(drive, GroupId::FIRST, &Identity { cluster_id: cluster_id.into(), node }).unwrap()
}

#[test]
fn an_append_returns_after_one_flush_of_the_log_and_then_one_of_the_mark_however_long_it_is() {
    let drive = Drive::new(1);
    let Opened { mut log, mut log_store, .. } = open(&drive, "test", NodeId(1));
    let mut last = 0;
    drive.watched();
    for batch in [1, 1, 2, 10, 100, 1] {
        let writes: Vec<Write> = (last + 1..=last + batch).map(|index| write(index, index, 1)).collect();
        log_store.append(&mut log, &writes).unwrap();
        assert_eq!(steps(&drive), [flush_of(WAL), flush_of(MARK)].concat(), "a batch of {batch}");
        last += batch;
    }
}

/// A crash between the log and the mark must not find a log that is shorter than its mark.
#[test]
fn what_is_replaced_is_taken_out_of_the_mark_before_it_is_taken_out_of_the_log() {
    let drive = Drive::new(2);
    let Opened { mut log, mut log_store, .. } = open(&drive, "test", NodeId(1));
    log_store.append(&mut log, &[write(1, 1, 1), write(2, 2, 1), write(3, 3, 1)]).unwrap();
    drive.watched();
    log_store.append(&mut log, &[write(4, 2, 2)]).unwrap();
    assert_eq!(steps(&drive), [flush_of(MARK), flush_of(WAL), flush_of(MARK)].concat());
}

/// How often each of log and mark was synced, and that the mark was after its log each time.
fn flushes(drive: &Drive, when: &str) -> usize {
    let syncs: Vec<String> =
        steps(drive).into_iter().filter(|(operation, _)| *operation == Operation::Sync).map(|(_, name)| name).collect();
    assert!(syncs.chunks(2).all(|pair| pair == [WAL, MARK]), "{when}: {syncs:?}");
    syncs.len() / 2
}

fn submit() -> Op {
    let job = NewJob { handler: "echo".into(), payload: vec![7; 200].into(), ..NewJob::default() };
    Op::Submit { jobs: vec![job] }
}

/// The nodes on whose drives an entry is after the power failed for all of them in this moment.
fn who_would_keep(cluster: &Cluster, index: Index) -> Vec<NodeId> {
    let keeps = |id: &NodeId| {
        let drive = cluster.drive(*id).unwrap().fork();
        drive.crash(Survivors::None);
        drive.reopen();
        let found = open(&drive, "sim", *id).found;
        let has = found.entries.iter().any(|entry| entry.index == index) || found.start.index >= index;
        has && !found.joins && found.hard.damage.is_none()
    };
    cluster.ids().into_iter().filter(keeps).collect()
}

/// The entries of the submits that were answered since the last time.
fn answered(cluster: &mut Cluster) -> Vec<Index> {
    let done = cluster.take_happenings().into_iter().filter_map(|(_, happening)| match happening {
        Happening::Answered(_, Some(Ok(Applied { index, reply: Reply::Submitted(Ok(_)) }))) => Some(index),
        _ => None,
    });
    done.collect()
}

/// Disks of very different speed, so that each node is the last one now and then, the leader too.
#[test]
fn whoever_is_told_done_has_the_job_on_the_disks_of_a_majority_should_the_power_fail_in_this_moment() {
    let mut kept_by = BTreeMap::<usize, usize>::new();
    for seed in 1..=6 {
        let options = Options { disk_us: 50..=8_000, ..Options::calm(3, seed) };
        let mut cluster = Cluster::new(options).unwrap();
        cluster.run_for(2_000_000).unwrap();
        let leader = cluster.leader().unwrap();
        cluster.take_happenings();
        for asked in 1..=20 {
            cluster.request(leader, submit()).unwrap();
            let mut done = Vec::new();
            while done.is_empty() {
                cluster.step().unwrap();
                done = answered(&mut cluster);
            }
            for index in done {
                let keepers = who_would_keep(&cluster, index);
                assert!(keepers.len() >= 2, "seed {seed}, submit {asked}: entry {index} is kept by {keepers:?} only");
                *kept_by.entry(keepers.len()).or_default() += 1;
            }
        }
    }
    assert!(kept_by.get(&2).is_some_and(|answers| *answers > 20), "nobody was ever late: {kept_by:?}");
}

/// The flushes of each node, more and more of them.
fn add_flushes(all: &mut BTreeMap<NodeId, usize>, cluster: &Cluster, when: &str) {
    for id in cluster.ids() {
        *all.entry(id).or_default() += flushes(cluster.drive(id).unwrap(), &format!("{when}, {id}"));
    }
}

#[test]
fn calls_that_come_together_share_the_flushes_of_every_node() {
    let mut cluster = Cluster::new(Options::calm(3, 7)).unwrap();
    cluster.run_for(2_000_000).unwrap();
    let leader = cluster.leader().unwrap();
    // The leader writes the first call at once; all others gather meanwhile and are one transaction. A follower may hear of
    // them in two parts: so many messages as there are calls do not go out before the first is answered.
    for (calls, of_the_leader, of_followers) in [(1, 1, 1..=1), (50, 2, 2..=3), (1, 1, 1..=1)] {
        let when = format!("{calls} calls");
        cluster.take_happenings();
        cluster.ids().iter().for_each(|id| drop(cluster.drive(*id).unwrap().watched()));
        for _ in 0..calls {
            cluster.request(leader, submit()).unwrap();
        }
        let (mut flushed, mut done) = (BTreeMap::new(), 0);
        while done < calls {
            cluster.step().unwrap();
            let now = answered(&mut cluster).len();
            if now > 0 && done == 0 {
                add_flushes(&mut flushed, &cluster, &when);
                let nodes = flushed.values().filter(|flushes| **flushes > 0).count();
                assert!(nodes >= 2, "{when}: the first answer came when so many nodes had flushed: {flushed:?}");
            }
            done += now;
        }
        cluster.run_for(20_000).unwrap();
        add_flushes(&mut flushed, &cluster, &when);
        assert_eq!(flushed.remove(&leader), Some(of_the_leader), "{when}");
        assert!(flushed.values().all(|flushes| of_followers.contains(flushes)), "{when}: {flushed:?}");
    }
}
