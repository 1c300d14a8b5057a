//! Consensus and its messages, without a disk.

use std::{hint::black_box, time::Duration};

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use raftdeck_node::transport;
use raftdeck_raft::{
    Append, Body, Config, Entry, EntryKind, Envelope, GroupId, Index, Membership, NodeId, Raft, Restart, RoleKind,
    StorageId, Term,
};
use raftdeck_shared::wire::RaftMessage;

use crate::turns::{Work, timed};

const STEPS: u32 = 500;

fn payload() -> Bytes {
    vec![7; 200].into()
}

/// A leader proposes a command, a follower takes it, and both know that it is committed.
pub(crate) struct Step {
    leader: Raft,
    follower: Raft,
}

impl Step {
    pub(crate) fn new() -> Step {
        let raft = |id: u64| {
            let members = Membership::of([NodeId(1), NodeId(2)]);
            Raft::new(Config::new(NodeId(id), StorageId(id.into()), members, id), Restart::default())
        };
        let mut step = Step { leader: raft(1), follower: raft(2) };
        while step.leader.role() != RoleKind::Leader {
            step.leader.tick();
            settle(&mut step.leader, &mut step.follower);
        }
        step
    }
}

/// Carries out what both want until neither wants anything: every write is durable at once.
fn settle(one: &mut Raft, other: &mut Raft) {
    let mut is_quiet = false;
    while !is_quiet {
        is_quiet = !carry(one, other);
        is_quiet &= !carry(other, one);
    }
}

fn carry(from: &mut Raft, to: &mut Raft) -> bool {
    let output = from.take_output();
    black_box(&output.committed);
    let did = output.write.is_some() || !output.send_now.is_empty() || !output.send_durable.is_empty();
    if let Some(write) = &output.write {
        from.persisted(write.seq);
    }
    output.send_now.into_iter().chain(output.send_durable).for_each(|envelope| to.receive(envelope));
    did
}

impl Work for Step {
    fn run(&mut self) -> (u32, Duration) {
        let (mut leader, mut follower) = (self.leader.clone(), self.follower.clone());
        let commit = leader.commit();
        let took = timed(STEPS, || {
            for _ in 0..STEPS {
                leader.propose(vec![payload()]).expect("it leads");
                settle(&mut leader, &mut follower);
            }
        });
        assert_eq!(leader.commit().0 - commit.0, u64::from(STEPS), "not all was committed");
        took
    }
}

/// An append of 64 entries of 200 bytes: to the wire's bytes and back.
pub(crate) struct Frame(Envelope);

impl Frame {
    pub(crate) fn new() -> Frame {
        let entry = |index| Entry { index: Index(index), term: Term(2), kind: EntryKind::Command(payload()) };
        let append = Append { prev: (Index(9), Term(2)), entries: (10..74).map(entry).collect(), commit: Index(9) };
        let (from, storage, to) = (NodeId(1), StorageId(1), NodeId(2));
        Frame(Envelope { id: 1, from, storage, to, term: Term(2), body: Body::Append(append) })
    }
}

impl Work for Frame {
    fn run(&mut self) -> (u32, Duration) {
        let mut back = None;
        let took = timed(STEPS, || {
            for _ in 0..STEPS {
                let mut bytes = BytesMut::new();
                transport::encode(GroupId::FIRST, self.0.clone()).encode(&mut bytes).expect("a buffer grows");
                let message = RaftMessage::decode(black_box(bytes.freeze())).expect("it was encoded just now");
                back = Some(transport::decode(message, self.0.storage));
            }
        });
        assert_eq!(back, Some(Ok((GroupId::FIRST, self.0.clone()))));
        took
    }
}
