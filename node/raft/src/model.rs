//! The core itself, explored exhaustively: not a model *of* it, but the value that runs in production, in every state that
//! a small group can come to within bounds.
//!
//! A state is all nodes, each with its disk and the writes and messages that wait for it, and the messages on their way.
//! From each state everything that can happen next is tried: a message arrives, a write is done, a clock runs out, a node
//! crashes, a command or a change is asked for. After each step the laws are looked at (file `laws`), those that look
//! back over the whole history among them.
//!
//! # What is left out, and why nothing is lost by it
//!
//! - *Time.* No tick passes by itself: that a clock runs out is one action, that a leader was not heard lately when
//!   somebody asks for votes is another. So every order of timeouts is tried, also those that no real clocks would give,
//!   and all times and counters are set back after each step ([`Raft::count_anew`](crate::Raft)): states that differ only in
//!   their age are one.
//! - *Chance.* The election timeout is a range of one number.
//! - *Loss.* Whatever has not arrived when an exploration ends is lost. Links keep their order, as streams do; a loss
//!   before something that arrives, and a message that comes twice or too early, are actions with a limit.
//! - A crash and the start after it are one action: a node that is down is one that nothing arrives at.
//!
//! # CAVEATS
//!
//! The bounds are small: one or two crashes, changes or elections beside a leader. Snapshots and compaction, batches of
//! writes that complete together and state machines that remember are left to the simulator. An exploration says nothing
//! about progress, only that what must never happen does not, and that the good was reached somewhere.

mod bounds;
mod host;
mod laws;
mod world;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use self::bounds::{Bounds, Prelude, Reached, Times};
pub(crate) use self::laws::always_meet;
use crate::{Learner, Membership, NodeId};

fn explore(bounds: Bounds) {
    let what = format!("{}: timeouts {:?}, {:?}", bounds.name, bounds.timeouts, bounds.at_most);
    let began = std::time::Instant::now();
    let checker = bounds.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    println!(
        "{what}\n{} states ({} with repeats), depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32(),
    );
    for law in checker.model().properties() {
        let found = checker.discovery(law.name);
        match law.expectation {
            Expectation::Sometimes => assert!(found.is_some(), "never: {}", law.name),
            Expectation::Always | Expectation::Eventually => {
                if let Some(path) = found {
                    let broken = path.last_state().broken;
                    path.into_actions().iter().for_each(|action| println!("  {action:?}"));
                    panic!("not always: {} ({broken:?})", law.name);
                }
            }
        }
    }
    assert!(checker.is_done(), "the exploration was cut off");
}

fn group(voters: u64) -> Bounds {
    let all: Vec<NodeId> = (1..=voters).map(NodeId).collect();
    Bounds {
        name: "",
        nodes: voters,
        bootstrap: bound(all.iter().copied()),
        prelude: Prelude::Nothing,
        slow_disk: false,
        timeouts: Vec::new(),
        may_crash: all,
        changes: Vec::new(),
        at_most: Times::default(),
        batch_entries_max: 8,
        reached: vec![Reached::Leader],
    }
}

/// These voters, each bound to its directory.
fn bound(voters: impl Iterator<Item = NodeId> + Clone) -> Membership {
    let storages = voters.clone().map(|n| (n, bounds::storage(n))).collect();
    Membership { storages, ..Membership::of(voters) }
}

fn nodes<const N: usize>(ids: [u64; N]) -> Vec<NodeId> {
    ids.map(NodeId).to_vec()
}

/// A group of three with node 1 in office.
fn led() -> Bounds {
    Bounds { prelude: Prelude::Led, ..group(3) }
}

#[test]
fn elections() {
    let at_most = Times { losses: 1, ..Times::default() };
    let timeouts = vec![nodes([1]), nodes([1, 2])];
    explore(Bounds { name: "elections", at_most, timeouts, reached: vec![Reached::SecondLeader], ..group(3) });
}

#[test]
fn elections_on_slow_disks_with_a_crash() {
    let at_most = Times { crashes: 1, ..Times::default() };
    let (timeouts, may_crash) = (vec![nodes([1]); 2], nodes([1]));
    explore(Bounds { name: "slow disks", at_most, slow_disk: true, timeouts, may_crash, ..group(3) });
}

#[test]
fn a_leader_is_replaced_with_entries_under_way() {
    let at_most = Times { proposals: 2, ..Times::default() };
    let reached = vec![Reached::SecondLeader, Reached::Command];
    let timeouts = vec![nodes([2])];
    explore(Bounds { name: "replaced", at_most, timeouts, reached, ..led() });
}

#[test]
fn writes_of_a_leader_and_its_successor_cross() {
    let at_most = Times { proposals: 1, crashes: 1, ..Times::default() };
    let reached = vec![Reached::SecondLeader, Reached::Command];
    let (timeouts, may_crash) = (vec![nodes([2])], nodes([1, 3]));
    explore(Bounds { name: "writes", at_most, slow_disk: true, timeouts, may_crash, reached, ..led() });
}

#[test]
fn figure_8() {
    let reached = vec![Reached::SecondLeader, Reached::Command];
    let (prelude, timeouts) = (Prelude::Divided, vec![nodes([1]), nodes([1, 2]), nodes([2])]);
    explore(Bounds { name: "figure 8", prelude, timeouts, batch_entries_max: 1, reached, ..led() });
}

#[test]
fn a_link_breaks_while_logs_differ() {
    let at_most = Times { broken_links: 2, heartbeats: 1, ..Times::default() };
    let prelude = Prelude::Divided;
    let reached = vec![Reached::SecondLeader];
    explore(Bounds { name: "broken link", prelude, at_most, batch_entries_max: 1, reached, ..led() });
}

#[test]
fn the_leader_is_removed() {
    let at_most = Times { changes: 1, losses: 1, crashes: 1, ..Times::default() };
    let changes = vec![bound(nodes([2, 3]).into_iter())];
    let reached = vec![Reached::Change, Reached::SecondLeader];
    explore(Bounds { name: "removed", at_most, changes, timeouts: vec![nodes([2])], reached, ..led() });
}

#[test]
fn a_voter_is_replaced() {
    let at_most = Times { changes: 1, losses: 1, ..Times::default() };
    let changes = vec![bound(nodes([1, 3]).into_iter())];
    let reached = vec![Reached::Change, Reached::SecondLeader];
    let two = Bounds { nodes: 3, bootstrap: bound(nodes([1, 2]).into_iter()), ..led() };
    explore(Bounds { name: "replace", at_most, changes, timeouts: vec![nodes([1]), nodes([2, 3])], reached, ..two });
}

/// From three voters to two of whom the others know one: each side could decide alone, were it not for the joint state.
#[test]
#[ignore = "takes minutes"]
fn most_voters_are_replaced() {
    let at_most = Times { changes: 1, proposals: 1, ..Times::default() };
    let changes = vec![bound(nodes([1, 4]).into_iter())];
    let reached = vec![Reached::SecondLeader, Reached::Command];
    explore(Bounds { name: "most replaced", nodes: 4, at_most, changes, timeouts: vec![nodes([2])], reached, ..led() });
}

#[test]
fn a_learner_is_promoted() {
    let at_most = Times { heartbeats: 2, changes: 1, losses: 1, ..Times::default() };
    let mut next = bound(nodes([1, 2]).into_iter());
    next.learners.insert(NodeId(3), Learner { promote: true, storage: None });
    let reached = vec![Reached::Change, Reached::Promotion];
    let two = Bounds { nodes: 3, bootstrap: bound(nodes([1, 2]).into_iter()), ..led() };
    explore(Bounds { name: "learner", at_most, changes: vec![next], timeouts: vec![nodes([2, 3])], reached, ..two });
}

#[test]
fn a_disk_is_damaged() {
    let at_most = Times { damages: 1, proposals: 1, ..Times::default() };
    let reached = vec![Reached::SecondLeader, Reached::Command, Reached::Refill];
    let (timeouts, may_crash) = (vec![nodes([2])], nodes([3]));
    explore(Bounds { name: "damage", at_most, timeouts, may_crash, batch_entries_max: 1, reached, ..led() });
}

#[test]
fn a_disk_is_lost() {
    let at_most = Times { wipes: 1, proposals: 1, ..Times::default() };
    let reached = vec![Reached::SecondLeader, Reached::Command];
    let (timeouts, may_crash) = (vec![nodes([2])], nodes([3]));
    explore(Bounds { name: "wiped", at_most, timeouts, may_crash, reached, ..led() });
}

#[test]
fn leadership_is_handed_over_while_reads_wait() {
    let at_most = Times { transfers: 1, reads: 1, ..Times::default() };
    let reached = vec![Reached::Transfer, Reached::Read];
    explore(Bounds { name: "transfer", at_most, reached, ..led() });
}

#[test]
fn a_deposed_leader_is_asked_for_a_read() {
    let at_most = Times { proposals: 1, reads: 1, ..Times::default() };
    let reached = vec![Reached::Read, Reached::Command];
    explore(Bounds { name: "read", at_most, timeouts: vec![nodes([2])], reached, ..led() });
}

#[test]
fn two_changes_follow_each_other() {
    let at_most = Times { changes: 2, proposals: 1, ..Times::default() };
    // Two voters and one: they have nobody in common.
    let changes = vec![bound(nodes([3]).into_iter()), bound(nodes([2, 3]).into_iter())];
    let reached = vec![Reached::Change, Reached::SecondLeader];
    let two = Bounds { nodes: 3, bootstrap: bound(nodes([1, 2]).into_iter()), ..led() };
    explore(Bounds { name: "two changes", at_most, changes, timeouts: vec![nodes([2, 3])], reached, ..two });
}

/// Minutes, in release mode, like the other long ones: `cargo test --release -p raftdeck-raft model:: -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn far_with_slow_disks() {
    let at_most = Times { proposals: 2, crashes: 1, ..Times::default() };
    let (timeouts, may_crash) = (vec![nodes([2])], nodes([1, 2, 3]));
    let reached = vec![Reached::SecondLeader, Reached::Command];
    explore(Bounds { name: "far: slow disks", slow_disk: true, at_most, timeouts, may_crash, reached, ..led() });
}

#[test]
#[ignore = "takes minutes"]
fn far_with_damage() {
    let at_most = Times { proposals: 1, damages: 1, crashes: 1, ..Times::default() };
    let (timeouts, may_crash) = (vec![nodes([2]), nodes([1])], nodes([3]));
    let reached = vec![Reached::SecondLeader, Reached::Command, Reached::Refill];
    explore(Bounds { name: "far: damage", at_most, timeouts, may_crash, reached, ..led() });
}
