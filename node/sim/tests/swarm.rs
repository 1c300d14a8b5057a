//! A few seeds at every run of the tests; the command line runs as many as one likes.

use raftdeck_sim::{SwarmOptions, run_seed};

#[test]
fn seeds_hold_every_law() {
    let options = SwarmOptions { seconds: 10, nodes: None, only: None, tells: false };
    let (mut leaders, mut snapshots_lost) = (0, 0);
    for seed in 1..=60 {
        let outcome = run_seed(seed, &options);
        assert_eq!(outcome.violation, None, "raftdeck sim --seeds {seed}..{seed} --seconds 10");
        leaders += outcome.counts.reached["elected"];
        snapshots_lost += outcome.counts.reached["snapshot-lost"];
    }
    assert!(leaders > 60, "seeds that elect nobody anew prove nothing: {leaders}");
    assert!(snapshots_lost > 0, "no snapshot rotted where it was read");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || run_seed(7, &SwarmOptions { seconds: 10, nodes: Some(5), only: None, tells: false }).counts;
    assert_eq!(run(), run());
}

/// Each of these ended badly once, and is run again with every run of the tests.
#[test]
fn seeds_that_found_something_stay_well() {
    // A snapshot dropped entries behind it that were appended and not written yet: what was proven to be equal was then
    // beyond the log's end, and an acknowledgement under way vouched for what the next write removed.
    let snapshot = [(458, 60), (943, 60)];
    // A sync failed, the node came back and went on with what only the cache still had; a power cut took it much later.
    let cache = [(1376, 20), (221, 60), (490, 60), (646, 60)];
    // A message of a directory that was lost came again, and the leader replaced the member that works by the one that is gone.
    let stranger = [(9997, 60)];
    // A learner that was removed and came back was promoted for how far it had been before.
    let comeback = [(84, 20)];
    for (seed, seconds) in snapshot.into_iter().chain(cache).chain(stranger).chain(comeback) {
        let outcome = run_seed(seed, &SwarmOptions { seconds, nodes: None, only: None, tells: false });
        assert_eq!(outcome.violation, None, "raftdeck sim --seeds {seed}..{seed} --seconds {seconds}");
    }
}

/// Understood and not mended yet. A page of the tables that rots and is not read at the start ends the node at the first write
/// that meets it; the next start does not read it either, and so on for ever. The tables would have to be made anew.
#[test]
#[ignore = "open: it fails"]
fn a_rotten_page_that_only_a_write_meets_does_not_end_the_node_for_ever() {
    let outcome = run_seed(9270, &SwarmOptions { seconds: 60, nodes: None, only: None, tells: false });
    assert_eq!(outcome.violation, None, "raftdeck sim --seeds 9270..9270 --seconds 60");
}

/// Not explained yet; most likely wrong resets of all connections to a leader, whose next heartbeat came too late.
#[test]
#[ignore = "open: it fails"]
fn a_leader_that_a_majority_hears_is_not_deposed() {
    let outcome = run_seed(6889, &SwarmOptions { seconds: 60, nodes: None, only: None, tells: false });
    assert_eq!(outcome.violation, None, "raftdeck sim --seeds 6889..6889 --seconds 60");
}
