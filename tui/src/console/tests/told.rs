//! What nodes say, and what the console makes of it.

use raftdeck_shared::{ids::NodeId, wire};

use super::fixture::{Desk, UNIX_MS, election, set_link, split, status};
use crate::console::{
    msg::{NodeMsg, Slot},
    picture::Picture,
    world::Conn,
};

fn events(desk: &Desk) -> Vec<String> {
    desk.model.live.wanted(desk.model.every, None).into_iter().map(|l| l.text).collect()
}

#[test]
fn a_lost_node_keeps_its_last_word() {
    let mut desk = Desk::whole();
    desk.lose(5);
    let node = &desk.model.live.nodes[4];
    assert!(!node.live());
    assert_eq!(node.word().map(|s| s.commit.0), Some(1841));
    assert_eq!(events(&desk), ["console: lost n5: connection refused"]);
    desk.node(5, NodeMsg::Connecting);
    desk.lose(5);
    assert_eq!(events(&desk).len(), 1, "each further try is not news");
    desk.snapshot(wire::NodeStatus { boot_id: "boot-5b".into(), ..status(5) });
    assert_eq!(events(&desk)[1], "console: n5 is back, as a new process");
}

#[test]
fn a_late_status_of_a_lost_node_does_not_revive_it() {
    let mut desk = Desk::whole();
    desk.lose(5);
    desk.status(wire::NodeStatus { commit: 1843, ..status(5) });
    assert!(!desk.model.live.nodes[4].live());
    assert_eq!(
        desk.model.live.nodes[4].word().map(|s| s.commit.0),
        Some(1841),
        "its last word is what it said while live"
    );
}

#[test]
fn observations_are_taken_once_and_in_causal_order() {
    let mut desk = Desk::whole();
    for o in election().into_iter().chain(election()) {
        desk.observe(o);
    }
    assert_eq!(
        events(&desk),
        [
            "n2 starts an election for T7: heard no leader for 287 ms",
            "n1 votes for n2 in T7",
            "n3 votes for n2 in T7",
            "n4 refuses its vote to n2 in T7: its log ends at 1839/T6, mine at 1841/T6",
            "n2 LEADS T7: votes of n1 n2 n3",
            "n2 commits 1840..1841; job 312: completed",
        ]
    );
}

#[test]
fn one_that_no_longer_leads_does_not_tell_the_commits_of_its_successor() {
    let mut desk = Desk::whole();
    let commit = |seq, term| wire::Observation {
        seq,
        node: 2,
        term,
        index: 1843 + seq,
        kind: wire::ObservationKind::Committed.into(),
        ..Default::default()
    };
    desk.observe(commit(1, 7));
    desk.observe(commit(2, 8));
    assert_eq!(events(&desk), ["n2 commits 1844 in T7"], "its status still says that it leads T7");
}

#[test]
fn a_new_boot_starts_its_sequence_over() {
    let mut desk = Desk::whole();
    let started = |seq| wire::Observation {
        seq,
        node: 3,
        kind: wire::ObservationKind::Node.into(),
        cause: format!("started {seq}"),
        ..Default::default()
    };
    desk.observe(started(900));
    desk.observe(started(1));
    assert_eq!(events(&desk).len(), 1);
    desk.snapshot(wire::NodeStatus { boot_id: "boot-3b".into(), ..status(3) });
    desk.observe(started(1));
    assert_eq!(events(&desk).len(), 2);
}

#[test]
fn what_was_dropped_is_said() {
    let mut desk = Desk::whole();
    desk.node(2, NodeMsg::Dropped(40));
    assert_eq!(events(&desk), ["-- 40 events of n2 not received --"]);
    assert_eq!(desk.model.live.nodes[1].dropped, 40);
}

#[test]
fn a_leader_in_an_old_term_or_without_a_majority_is_stale() {
    let desk = split();
    let picture = Picture::of(&desk.model.live);
    assert_eq!(picture.leader, Some(Slot(1)));
    assert_eq!(picture.stale.into_iter().collect::<Vec<_>>(), [Slot(3)]);
    let mut desk = Desk::whole();
    let mut alone = status(2);
    (1..=5).for_each(|p| set_link(&mut alone, p, wire::LinkState::Cut));
    desk.status(alone);
    let picture = Picture::of(&desk.model.live);
    assert_eq!(picture.leader, None);
    assert!(picture.stale.contains(&Slot(1)), "the highest term, but nobody hears it");
    assert!(picture.reach.has_quorum(), "the four others can talk");
}

#[test]
fn a_node_that_only_the_console_cannot_reach_still_counts() {
    let mut desk = Desk::whole();
    desk.lose(5);
    assert!(Picture::of(&desk.model.live).up(NodeId(5)), "n1 to n4 hear it");
    for id in 1..=4 {
        let mut raw = status(id);
        set_link(&mut raw, 5, wire::LinkState::Down);
        desk.status(raw);
    }
    assert!(!Picture::of(&desk.model.live).up(NodeId(5)));
}

#[test]
fn the_time_without_a_leader_is_measured_by_the_nodes() {
    let mut desk = Desk::whole();
    desk.run_ms = 1_000;
    // n1 and n3 heard the leader last of those that are a majority with it; n5 hears it still, and it alone. A pre-candidate no
    // longer knows whom it heard.
    desk.status(wire::NodeStatus { at_ms: UNIX_MS + 61, heard_ms: 1, ..status(3) });
    desk.status(wire::NodeStatus { at_ms: UNIX_MS + 800, heard_ms: 1, ..status(5) });
    desk.lose(2);
    assert!(desk.model.live.reign.lost.is_some());
    desk.status(wire::NodeStatus {
        role: wire::Role::PreCandidate.into(),
        at_ms: UNIX_MS + 900,
        heard_ms: 0,
        ..status(4)
    });
    desk.observe(wire::Observation {
        seq: 1,
        node: 3,
        term: 8,
        at_ms: UNIX_MS + 1_360,
        kind: wire::ObservationKind::Role.into(),
        role: wire::Role::Leader.into(),
        ..Default::default()
    });
    // Its status comes late.
    desk.run_ms = 4_000;
    desk.status(wire::NodeStatus { role: wire::Role::Leader.into(), term: 8, at_ms: UNIX_MS + 3_000, ..status(3) });
    assert_eq!(
        events(&desk).last().map(String::as_str),
        Some("console: n3 leads T8; the cluster had no leader for 1.3s")
    );
    assert!(desk.model.live.reign.lost.is_none());
}

/// Statuses come ten times a second; that the connections to a process broke is told at once.
#[test]
fn a_leader_was_there_until_the_connections_to_it_broke() {
    let mut desk = Desk::whole();
    for (seq, node) in [(1, 1), (2, 3)] {
        let kind = wire::ObservationKind::Link.into();
        desk.observe(wire::Observation { seq, node, peer: 2, at_ms: UNIX_MS + 460, kind, ..Default::default() });
    }
    desk.lose(2);
    desk.status(wire::NodeStatus { role: wire::Role::Leader.into(), term: 8, at_ms: UNIX_MS + 500, ..status(3) });
    assert_eq!(
        events(&desk).last().map(String::as_str),
        Some("console: n3 leads T8; the cluster had no leader for 40ms")
    );
}

#[test]
fn a_node_of_another_cluster_is_shown_and_not_believed() {
    let mut desk = Desk::new(3);
    desk.snapshot(wire::NodeStatus { cluster_id: "prod".into(), ..status(2) });
    assert_eq!(desk.model.live.nodes[1].conn, Conn::Foreign("prod".into()));
    assert!(desk.model.live.nodes[1].word().is_none());
}

#[test]
fn checks_find_what_must_not_be() {
    let mut desk = Desk::whole();
    assert!(desk.model.live.checks.broken.is_empty());
    desk.status(wire::NodeStatus { role: wire::Role::Leader.into(), ..status(3) });
    desk.status(wire::NodeStatus { commit: 1700, ..status(1) });
    let mut forked = status(4);
    forked.log_tail[60].term = 9;
    forked.commit = 1841;
    desk.status(forked);
    assert_eq!(
        desk.model.live.checks.broken,
        ["T7: both n2 and n3 lead", "n1: commit fell from 1841 to 1700", "entry 1838: T6 committed on n1, T9 on n4",]
    );
}

#[test]
fn a_clock_that_jumps_back_takes_nothing_back() {
    let mut desk = Desk::whole();
    desk.run_ms = 5_000;
    desk.lose(5);
    let now = desk.model.live.now;
    desk.run_ms = 1_000;
    desk.status(wire::NodeStatus { at_ms: UNIX_MS - 3_600_000, commit: 1842, ..status(2) });
    assert_eq!(desk.model.live.now, now);
    assert_eq!(desk.model.live.nodes[1].word().map(|s| s.commit.0), Some(1842), "the word itself is taken");
    desk.keys("p,,");
    assert!(desk.model.past.is_some());
}

#[test]
fn a_node_to_which_nothing_happened_has_only_aged() {
    let word = |raw: wire::NodeStatus| crate::console::status::Status::from_wire(raw);
    let before = word(status(3));
    let mut later = status(3);
    (later.at_ms, later.heard_ms, later.election_left_ms, later.election_timeout_ms) = (UNIX_MS + 1_000, 2, 90, 480);
    later.peers.iter_mut().for_each(|peer| peer.heard_ms = Some(1));
    assert!(word(later.clone()).has_only_aged(&before));
    let changes: [fn(&mut wire::NodeStatus); 5] = [
        |raw| raw.commit += 1,
        |raw| raw.executing += 1,
        |raw| raw.leader = 0,
        |raw| raw.queues[0].available += 1,
        |raw| set_link(raw, 2, wire::LinkState::Down),
    ];
    for change in changes {
        let mut raw = later.clone();
        change(&mut raw);
        assert!(!word(raw).has_only_aged(&before));
    }
}
