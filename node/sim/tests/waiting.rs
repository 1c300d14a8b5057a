//! Claims that wait for a job at the leader.

use raftdeck_jobs::{
    Command, Name, NewJob, Op, Reply, SessionCall,
    limits::{NAME_BYTES_MAX, NAMES_MAX},
};
use raftdeck_node::replica::{Refused, Ticket};
use raftdeck_raft::{Entry, EntryKind, Index, NodeId};
use raftdeck_sim::{Cluster, Happening, Options};

/// Ticks of ten milliseconds.
const LONG: u64 = 500;

fn cluster() -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(Options::calm(3, 21)).unwrap();
    cluster.run_for(2_000_000).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.take_happenings();
    (cluster, leader)
}

fn claim(max_jobs: u32) -> Op {
    let handlers = vec!["echo".into()];
    Op::Claim { worker: "w".into(), queues: Vec::new(), handlers, max_jobs, lease_ms: 10_000 }
}

fn submit(cluster: &mut Cluster, leader: NodeId, jobs: usize) {
    let job = NewJob { handler: "echo".into(), ..NewJob::default() };
    cluster.request(leader, Op::Submit { jobs: vec![job; jobs] }).unwrap();
}

/// Who was answered since the last time, and with how many jobs; claims only.
fn claimed(cluster: &mut Cluster) -> Vec<(Ticket, Result<usize, Refused>)> {
    let answered = cluster.take_happenings().into_iter().filter_map(|(_, happening)| match happening {
        Happening::Answered(ticket, Some(Ok(applied))) => match applied.reply {
            Reply::Claimed(jobs) => Some((ticket, Ok(jobs.len()))),
            _ => None,
        },
        Happening::Answered(ticket, Some(Err(refused))) => Some((ticket, Err(refused))),
        _ => None,
    });
    answered.collect()
}

#[test]
fn each_job_goes_to_the_one_who_has_waited_longest() {
    let (mut cluster, leader) = cluster();
    let first = cluster.wait(leader, claim(1), None, LONG).unwrap();
    let second = cluster.wait(leader, claim(1), None, LONG).unwrap();
    let third = cluster.wait(leader, claim(5), None, LONG).unwrap();
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [], "there is nothing to do");
    let before = cluster.replica(leader).unwrap().raft().log().last().0.0;
    submit(&mut cluster, leader, 1);
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(first, Ok(1))]);
    let entries = cluster.replica(leader).unwrap().raft().log().last().0.0 - before;
    assert_eq!(entries, 1, "the submit, and in the same entry one claim: nobody else asked");
    submit(&mut cluster, leader, 4);
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(second, Ok(1)), (third, Ok(3))]);
}

#[test]
fn who_waits_in_vain_is_told_in_time() {
    let (mut cluster, leader) = cluster();
    let ticket = cluster.wait(leader, claim(1), None, 50).unwrap();
    cluster.run_for(480_000).unwrap();
    assert_eq!(claimed(&mut cluster), []);
    cluster.run_for(40_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(ticket, Ok(0))]);
}

#[test]
fn who_waits_at_a_leader_that_is_left_alone_is_told() {
    let (mut cluster, leader) = cluster();
    let ticket = cluster.wait(leader, claim(1), None, LONG).unwrap();
    for id in cluster.ids().into_iter().filter(|id| *id != leader) {
        cluster.cut(leader, id);
    }
    cluster.run_for(1_500_000).unwrap();
    let told = claimed(&mut cluster);
    assert!(matches!(told[..], [(t, Err(Refused::NoMajority | Refused::NotLeader { .. }))] if t == ticket), "{told:?}");
}

/// The jobs that they were proposed for had been submitted before: nobody gets one, and nobody loses his place.
#[test]
fn who_got_nothing_waits_on_in_his_old_place() {
    let (mut cluster, leader) = cluster();
    let keyed = |key: &str| NewJob { idempotency_key: Some(key.into()), handler: "echo".into(), ..NewJob::default() };
    let jobs: Vec<NewJob> = ["a", "b", "c"].map(keyed).into();
    cluster.request(leader, Op::Submit { jobs: jobs.clone() }).unwrap();
    cluster.wait(leader, claim(3), None, LONG).unwrap();
    cluster.run_for(100_000).unwrap();
    let waiting = [(); 3].map(|()| cluster.wait(leader, claim(1), None, LONG).unwrap());
    cluster.run_for(100_000).unwrap();
    cluster.take_happenings();
    let before = cluster.replica(leader).unwrap().raft().log().bytes();
    cluster.request(leader, Op::Submit { jobs }).unwrap();
    cluster.run_for(100_000).unwrap();
    assert!(cluster.replica(leader).unwrap().raft().log().bytes() > before, "the claims followed the submit");
    assert_eq!(claimed(&mut cluster), []);
    for ticket in waiting {
        submit(&mut cluster, leader, 1);
        cluster.run_for(100_000).unwrap();
        assert_eq!(claimed(&mut cluster), [(ticket, Ok(1))]);
    }
}

/// An entry is sent whole, and a frame between nodes has a limit: the names that claims bring count like everything else.
#[test]
fn claims_with_many_long_names_do_not_all_share_an_entry() {
    let (mut cluster, leader) = cluster();
    let name = |kind: &str, n: usize| format!("{kind}{n:0>width$}", width = NAME_BYTES_MAX - kind.len()).into();
    let mut handlers: Vec<Name> = (1..NAMES_MAX).map(|n| name("h", n)).collect();
    handlers.push("echo".into());
    let mut queues: Vec<Name> = (1..NAMES_MAX).map(|n| name("q", n)).collect();
    queues.push("default".into());
    let claim = Op::Claim { worker: name("w", 0), queues, handlers, max_jobs: 1, lease_ms: 10_000 };
    claim.validate().unwrap();
    for _ in 0..300 {
        cluster.wait(leader, claim.clone(), None, LONG).unwrap();
    }
    submit(&mut cluster, leader, 300);
    cluster.run_for(1_000_000).unwrap();
    assert_eq!(claimed(&mut cluster).iter().filter(|(_, got)| *got == Ok(1)).count(), 300);
    let log = cluster.replica(leader).unwrap().raft().log();
    let largest = log.range(Index(1), log.last().0).iter().map(Entry::weight_bytes).max();
    assert!(largest < Some(256 << 10), "an entry of {largest:?} bytes");
}

/// Its first answer was lost on the way: the job goes to the second asking, and nobody is left waiting.
#[test]
fn a_call_that_is_sent_again_takes_the_place_of_the_first() {
    let (mut cluster, leader) = cluster();
    cluster.request(leader, Op::OpenSession).unwrap();
    cluster.run_for(100_000).unwrap();
    let session = cluster.take_happenings().into_iter().find_map(|(_, happening)| match happening {
        Happening::Answered(_, Some(Ok(applied))) => match applied.reply {
            Reply::SessionOpened { session } => Some(session),
            _ => None,
        },
        _ => None,
    });
    let call = Some(SessionCall { session: session.unwrap(), seq: 1 });
    let first = cluster.wait(leader, claim(1), call, LONG).unwrap();
    cluster.run_for(50_000).unwrap();
    let again = cluster.wait(leader, claim(1), call, LONG).unwrap();
    submit(&mut cluster, leader, 1);
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(first, Err(Refused::Unknown)), (again, Ok(1))]);
    cluster.all_answered().unwrap();
}

/// What the leader's log grew by, in entries.
fn entries_since(cluster: &Cluster, leader: NodeId, before: u64) -> u64 {
    cluster.replica(leader).unwrap().raft().log().last().0.0 - before
}

#[test]
fn who_waits_gets_the_jobs_of_a_paused_queue_when_it_is_resumed_and_is_not_asked_for_before() {
    let (mut cluster, leader) = cluster();
    let pause = |paused| Op::PauseQueue { queue: "default".into(), paused };
    cluster.request(leader, pause(true)).unwrap();
    cluster.run_for(100_000).unwrap();
    let first = cluster.wait(leader, claim(1), None, LONG).unwrap();
    let second = cluster.wait(leader, claim(1), None, LONG).unwrap();
    cluster.run_for(100_000).unwrap();
    let told = |happening: &Happening| matches!(happening, Happening::Jobs(.., what) if what == "queue default paused");
    assert!(cluster.take_happenings().iter().any(|(_, happening)| told(happening)));

    let before = cluster.replica(leader).unwrap().raft().log().last().0.0;
    submit(&mut cluster, leader, 2);
    cluster.run_for(1_000_000).unwrap();
    assert_eq!(claimed(&mut cluster), [], "nobody is given a job");
    assert_eq!(entries_since(&cluster, leader, before), 1, "the submit");
    let replica = cluster.replica(leader).unwrap();
    let entry = replica.raft().log().get(Index(before + 1)).unwrap();
    let EntryKind::Command(bytes) = &entry.kind else { panic!("{entry:?}") };
    assert_eq!(Command::decode(bytes).unwrap().calls.len(), 1, "no claim beside it");
    assert!(!replica.has_work_for_parked(), "or its driver would come back for it with everything that happens");

    let before = before + 1;
    cluster.request(leader, pause(false)).unwrap();
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(first, Ok(1)), (second, Ok(1))]);
    assert_eq!(entries_since(&cluster, leader, before), 2, "the resume, and one entry of claims");
}

/// The pause is in the log and not applied when the job comes: the claim that follows the job gets nothing, and waits on.
#[test]
fn a_claim_that_a_pause_overtook_waits_on_and_is_not_proposed_again() {
    let (mut cluster, leader) = cluster();
    let ticket = cluster.wait(leader, claim(1), None, LONG).unwrap();
    cluster.run_for(100_000).unwrap();
    let before = cluster.replica(leader).unwrap().raft().log().last().0.0;
    cluster.request(leader, Op::PauseQueue { queue: "default".into(), paused: true }).unwrap();
    submit(&mut cluster, leader, 1);
    cluster.run_for(1_000_000).unwrap();
    assert_eq!(claimed(&mut cluster), []);
    let entries = entries_since(&cluster, leader, before);
    assert!(entries <= 2, "{entries} entries: a claim was proposed again and again");
    cluster.request(leader, Op::PauseQueue { queue: "default".into(), paused: false }).unwrap();
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(ticket, Ok(1))]);
}

#[test]
fn who_waits_gets_a_job_that_is_retried() {
    let (mut cluster, leader) = cluster();
    let job = NewJob { handler: "echo".into(), delay_ms: 3_600_000, ..NewJob::default() };
    let made = cluster.request(leader, Op::Submit { jobs: vec![job] }).unwrap();
    let ticket = cluster.wait(leader, claim(1), None, LONG).unwrap();
    cluster.run_for(100_000).unwrap();
    let id = cluster.take_happenings().into_iter().find_map(|(_, happening)| match happening {
        Happening::Answered(of, Some(Ok(applied))) if of == made => match applied.reply {
            Reply::Submitted(Ok(jobs)) => Some(jobs[0].id),
            _ => None,
        },
        _ => None,
    });
    cluster.request(leader, Op::Retry { job: id.unwrap() }).unwrap();
    cluster.run_for(100_000).unwrap();
    assert_eq!(claimed(&mut cluster), [(ticket, Ok(1))]);
}
