use bytes::Bytes;

use super::*;
use crate::{Config, Envelope, ReadRound, Restart, RoleKind};

const MEMBERS: [u64; 3] = [1, 2, 3];

/// The leader n1 of three members that are bound to their directories, which have the same numbers.
struct Led {
    raft: Raft,
}

impl Led {
    fn new() -> Led {
        let voters = Membership::of(MEMBERS.map(NodeId));
        let storages = MEMBERS.map(|id| (NodeId(id), StorageId(id.into()))).into();
        let config = Config::new(NodeId(1), StorageId(1), Membership { storages, ..voters }, 7);
        let mut led = Led { raft: Raft::new(config, Restart::default()) };
        while led.raft.role() != RoleKind::Leader {
            led.raft.tick();
            led.settle();
        }
        led.commit();
        led
    }

    /// Its disk is done with everything, and n2 grants what it is asked.
    fn settle(&mut self) {
        let output = self.raft.take_output();
        self.raft.persisted(output.after);
        for Envelope { to, term, body, .. } in output.send_now.into_iter().chain(output.send_durable) {
            if let (NodeId(2), Body::RequestVote { pre, .. }) = (to, body) {
                self.hear(
                    2,
                    2,
                    if pre { self.raft.term() } else { term },
                    Body::Vote { pre, asked: term, refused: None },
                );
            }
        }
    }

    fn hear(&mut self, from: u64, storage: u128, term: Term, body: Body) {
        let (from, storage) = (NodeId(from), StorageId(storage));
        self.raft.receive(Envelope { id: 1, from, storage, to: NodeId(1), term, body });
    }

    /// n2 has all of the log.
    fn commit(&mut self) {
        self.settle();
        let (index, term) = (self.raft.log().last().0, self.raft.term());
        self.hear(2, 2, term, Body::Appended { index, damaged: false });
        self.settle();
        assert_eq!(self.raft.commit(), index);
    }

    fn answers(&mut self, from: u64, storage: u128, read: u64) {
        let term = self.raft.term();
        self.hear(from, storage, term, Body::HeartbeatReply { read: ReadRound(read), damaged: false });
    }
}

/// Two processes have the name n3, and the leader stood still for a while: that it heard nobody meanwhile says nothing of the
/// one that works.
#[test]
fn a_leader_that_slept_replaces_nobody_before_it_could_hear_him() {
    let mut led = Led::new();
    for _ in 0..=led.raft.config.election_ticks_max {
        led.answers(2, 2, 0);
        led.answers(3, 3, 0);
        led.raft.tick();
        led.settle();
    }
    led.answers(3, 33, 0);
    led.raft.tick();
    led.settle();
    let asked = 1;
    led.answers(3, 33, asked);
    led.raft.slept();
    led.raft.tick();
    led.settle();
    let members = |led: &Led| led.raft.membership().voters.len();
    assert_eq!(members(&led), 3, "n3 could not speak yet");
    // Nor is n3 protected for ever: it is silent, and the other directory is there.
    for _ in 0..=2 * led.raft.config.election_ticks_max {
        led.answers(2, 2, 0);
        led.answers(3, 33, asked);
        led.raft.tick();
        led.settle();
    }
    assert_eq!(members(&led), 2, "n3 was given time to speak, and did not");
    assert!(led.raft.propose(vec![Bytes::new()]).is_ok());
}
