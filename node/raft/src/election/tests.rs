use super::*;
use crate::{Config, Envelope, Membership, ReadRound, Restart};

const LEADER: NodeId = NodeId(1);

/// A follower of three that hears its leader.
fn follower(seed: u64) -> Raft {
    let members = Membership::of([1, 2, 3].map(NodeId));
    let mut raft = Raft::new(Config::new(NodeId(2), StorageId(2), members, seed), Restart::default());
    let body = Body::Heartbeat { commit: Index(0), read: ReadRound(0) };
    raft.receive(Envelope { id: 1, from: LEADER, storage: StorageId(1), to: NodeId(2), term: Term(1), body });
    raft
}

fn ticks_to_pre_vote(raft: &mut Raft, limit: u64, mut each: impl FnMut(&mut Raft, u64)) -> Option<u64> {
    (1..=limit).find(|tick| {
        each(raft, *tick);
        raft.tick();
        raft.role() != RoleKind::Follower
    })
}

/// A host that takes connections and resets them at once: each of them says again that the leader is gone.
#[test]
fn resets_that_go_on_do_not_put_off_the_election() {
    for seed in 0..20 {
        let max = u64::from(follower(seed).config.election_ticks_max);
        let once = ticks_to_pre_vote(&mut follower(seed), max, |raft, tick| {
            if tick == 1 {
                raft.peer_gone(LEADER);
            }
        });
        for every in [1, 3, 5] {
            let took = ticks_to_pre_vote(&mut follower(seed), 10 * max, |raft, tick| {
                if tick % every == 1 % every {
                    raft.peer_gone(LEADER);
                }
            });
            assert!(took.is_some() && took <= once, "seed {seed}, every {every} ticks: {took:?}, after one {once:?}");
        }
    }
}

/// It was silent already when the reset came: what is left of the timeout is not prolonged.
#[test]
fn a_reset_never_prolongs_the_wait_for_a_leader() {
    for seed in 0..20 {
        let mut raft = follower(seed);
        let (left, _) = raft.election_clock().expect("it follows");
        for _ in 1..left {
            raft.tick();
        }
        raft.peer_gone(LEADER);
        raft.tick();
        assert_eq!(raft.role(), RoleKind::PreCandidate, "seed {seed}");
    }
}
