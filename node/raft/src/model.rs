//! The production core, explored exhaustively.
mod host;
mod laws;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use self::world::{Bounds, Reached, Times};
use crate::{Membership, NodeId};

fn explore(bounds: Bounds) {
    let what = format!("{}: {:?}", bounds.name, bounds.at_most);
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
    assert!(checker.is_done());
    checker.assert_properties();
}

fn group(voters: u64) -> Bounds {
    let all: Vec<NodeId> = (1..=voters).map(NodeId).collect();
    Bounds {
        name: "",
        nodes: voters,
        bootstrap: bound(all.iter().copied()),
        led: false,
        slow_disk: false,
        may_time_out: all.clone(),
        may_crash: all,
        changes: Vec::new(),
        at_most: Times::default(),
        messages_max: usize::MAX,
        reached: vec![Reached::Leader],
    }
}

/// These voters, each bound to its directory.
fn bound(voters: impl Iterator<Item = NodeId> + Clone) -> Membership {
    let storages = voters.clone().map(|n| (n, world::storage(n))).collect();
    Membership { storages, ..Membership::of(voters) }
}

#[test]
fn a_elections() {
    let at_most = Times { timeouts: 2, ..Times::default() };
    explore(Bounds { name: "elections", at_most, ..group(3) });
}

#[test]
fn b_elections_slow() {
    let at_most = Times { timeouts: 2, ..Times::default() };
    explore(Bounds { name: "elections slow", at_most, slow_disk: true, ..group(3) });
}

#[test]
fn c_led() {
    let at_most = Times { timeouts: 1, proposals: 1, crashes: 1, ..Times::default() };
    explore(Bounds { name: "led", at_most, led: true, ..group(3) });
}
