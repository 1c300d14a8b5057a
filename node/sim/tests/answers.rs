//! Whoever steers a group is answered: whatever else comes in the same round, and when too many ask at once.

use raftdeck_jobs::Machine;
use raftdeck_node::{
    compaction::Retention,
    replica::{Effects, Input, Refused, Replica, Ticket},
    status::replica_status,
};
use raftdeck_raft::{Config, GroupId, Index, Membership, NodeId, Restart, RoleKind, StorageId};

const READS_MAX: usize = 3;

fn replica(id: u64) -> Replica {
    let usual = Config::new(NodeId(id), StorageId(id.into()), Membership::of([NodeId(1), NodeId(2)]), id);
    let config = Config { reads_max: READS_MAX, ..usual };
    Replica::new(GroupId::FIRST, config, Restart::default(), Machine::new(), Retention::default())
}

/// Carries out what one of two replicas wants, and what follows from it.
fn settle(replicas: &mut [Replica; 2], from: usize, effects: Effects) {
    let written = effects.write.map(|write| Input::Persisted(write.seq));
    for envelope in effects.send {
        let to = usize::try_from(envelope.to.0 - 1).unwrap();
        let effects = replicas[to].handle(0, [Input::Message(envelope)]);
        settle(replicas, to, effects);
    }
    if let Some(written) = written {
        let effects = replicas[from].handle(0, [written]);
        settle(replicas, from, effects);
    }
}

/// Of two, the first of which leads.
fn led() -> [Replica; 2] {
    let mut replicas = [replica(1), replica(2)];
    while replicas[0].raft().role() != RoleKind::Leader {
        let effects = replicas[0].handle(0, [Input::Tick]);
        settle(&mut replicas, 0, effects);
    }
    replicas
}

/// The second comes in the very round in which the first one's time is over: before its outcome was taken.
#[test]
fn a_transfer_that_ends_in_the_round_of_the_next_one_is_answered() {
    let mut replicas = led();
    // From here on, the other one is silent.
    let election_ticks_min = 30;
    let leader = &mut replicas[0];
    let mut steered = leader.handle(0, [Input::Transfer(Ticket(1), NodeId(2))]).steered;
    for _ in 1..election_ticks_min {
        steered.extend(leader.handle(0, [Input::Tick]).steered);
    }
    assert_eq!(steered, [], "its time is not over yet");
    let told = leader.handle(0, [Input::Tick, Input::Transfer(Ticket(2), NodeId(2))]).steered;
    let of = |ticket| told.iter().find(|(t, _)| *t == Ticket(ticket)).map(|(_, answer)| answer);
    assert!(matches!(of(1), Some(Err(Refused::NotNow(_)))), "the first: {told:?}");
    assert!(matches!(of(2), Some(Err(Refused::AskAgain(_)))), "the second: {told:?}");
    assert_eq!(leader.unanswered(), 0);
}

/// One read more than may wait is refused at once, with the limit; those that wait are answered, and make room.
#[test]
fn a_read_too_many_is_refused_with_the_limit() {
    let mut replicas = led();
    let mut ask = |tickets: std::ops::RangeInclusive<u64>| {
        let reads: Vec<Input> = tickets.map(|ticket| Input::Read(Ticket(ticket))).collect();
        replicas[0].handle(0, reads)
    };
    let asked = ask(1..=4);
    assert_eq!(asked.steered, [(Ticket(4), Err(Refused::AskAgain(format!("more than {READS_MAX} reads wait"))))]);
    let asked_again = ask(5..=5);
    assert!(matches!(asked_again.steered[..], [(Ticket(5), Err(Refused::AskAgain(_)))]), "{:?}", asked_again.steered);
    let mut answered = Vec::new();
    for envelope in asked.send {
        let heard = replicas[1].handle(0, [Input::Message(envelope)]);
        let replies = heard.send.into_iter().map(Input::Message);
        answered.extend(replicas[0].handle(0, replies.collect::<Vec<_>>()).steered);
    }
    assert_eq!(answered.iter().map(|(ticket, _)| ticket.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(answered.iter().all(|(_, answer)| answer.is_ok()), "{answered:?}");
    assert_eq!(replicas[0].handle(0, [Input::Read(Ticket(6))]).steered, [], "there is room again");
}

/// What a console measures the time without a leader by.
#[test]
fn a_follower_says_since_when_there_was_no_sign_of_its_leader() {
    let [_, mut follower] = led();
    let mut pass = |inputs: &[Input]| {
        let inputs = inputs.iter().cloned().chain([Input::Tick, Input::Tick]);
        let _ = follower.handle(0, inputs);
        replica_status(&follower, Index(0), 10).heard_ms
    };
    let (first, second) = (pass(&[]), pass(&[]));
    assert_eq!(second - first, 20, "it hears nothing");
    assert_eq!(pass(&[Input::PeerGone(NodeId(1))]), 20, "its process went just before, and was seen to");
}
