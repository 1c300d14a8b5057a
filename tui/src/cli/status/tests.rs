//! The view from given answers: who leads, and the exact JSON.

use raftdeck_shared::wire::{PeerStatus, QueueStatus};

use super::*;

fn status(node: u64, role: Role, term: u64, leader: u64) -> NodeStatus {
    NodeStatus {
        node,
        name: format!("n{node}"),
        pid: 100 + node as u32,
        role: role.into(),
        term,
        leader,
        last: 9,
        commit: 8,
        applied: 7,
        state_hash: 0xab,
        voters: vec![1, 2, 3],
        ..NodeStatus::default()
    }
}

fn view(statuses: [Option<NodeStatus>; 3]) -> View {
    let rows = statuses.into_iter().zip(1..).map(|(status, id)| Row {
        member: Member {
            name: Some(format!("n{id}")),
            id: Some(id),
            api: format!("127.0.0.1:710{id}"),
            peer: Some(format!("127.0.0.1:720{id}")),
        },
        status,
    });
    View { rows: rows.collect() }
}

#[test]
fn a_leader_that_the_others_follow_leads() {
    let all = view([
        Some(status(1, Role::Follower, 4, 2)),
        Some(status(2, Role::Leader, 4, 2)),
        Some(status(3, Role::Follower, 4, 2)),
    ]);
    assert_eq!(all.leader().map(|s| s.node), Some(2));
}

#[test]
fn a_stale_leader_does_not_hide_the_new_one() {
    let cut = view([
        Some(status(1, Role::Leader, 4, 1)),
        Some(status(2, Role::Leader, 6, 2)),
        Some(status(3, Role::Follower, 6, 2)),
    ]);
    assert_eq!(cut.leader().map(|s| s.node), Some(2));
}

#[test]
fn a_leader_that_only_believes_in_itself_does_not_lead() {
    let cut = view([
        Some(status(1, Role::Leader, 4, 1)),
        Some(status(2, Role::Candidate, 5, 0)),
        Some(status(3, Role::Follower, 5, 0)),
    ]);
    assert!(cut.leader().is_none());
    let report = cut.report();
    assert_eq!((report.leader, report.term), (None, 5));
    let alone = view([Some(status(1, Role::Leader, 4, 1)), None, None]);
    assert!(alone.leader().is_none());
    assert!(!alone.report().quorum.ok);
}

#[test]
fn a_dead_leader_does_not_lead_although_its_followers_believe_in_it() {
    let dead = view([None, Some(status(2, Role::Follower, 4, 1)), Some(status(3, Role::Follower, 4, 1))]);
    assert_eq!(dead.leader_id(), None);
}

#[test]
fn of_nodes_that_were_not_asked_the_others_tell() {
    let peer = |node: u64, link: LinkState| PeerStatus { node, link: link.into(), ..PeerStatus::default() };
    let peers = vec![peer(1, LinkState::Up), peer(3, LinkState::Down)];
    let follower = NodeStatus { peers, ..status(2, Role::Follower, 4, 1) };
    let member = Member { name: None, id: None, api: "h:2".into(), peer: None };
    let report = View { rows: vec![Row { member, status: Some(follower) }] }.report();
    assert_eq!((report.leader.as_deref(), report.quorum.up, report.quorum.ok), (Some("n1"), 2, true));
}

#[test]
fn the_json_shape_is_exact_and_a_node_that_is_down_is_nulls() {
    let mut leader = status(1, Role::Leader, 4, 1);
    let queue = QueueStatus { name: "default".into(), available: 1, running: 2, ..QueueStatus::default() };
    leader.queues = vec![QueueStatus {
        completed: 3,
        cancelled: 4,
        discarded: 5,
        scheduled: 6,
        retryable: 7,
        paused: true,
        ..queue
    }];
    let report = view([Some(leader), Some(status(2, Role::Follower, 4, 1)), None]).report();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        concat!(
            r#"{"nodes":[{"id":"n1","api":"127.0.0.1:7101","peer":"127.0.0.1:7201","pid":101,"up":true,"role":"leader","#,
            r#""term":4,"leader":"n1","last":9,"commit":8,"applied":7,"state_hash":"00000000000000ab"},"#,
            r#"{"id":"n2","api":"127.0.0.1:7102","peer":"127.0.0.1:7202","pid":102,"up":true,"role":"follower","#,
            r#""term":4,"leader":"n1","last":9,"commit":8,"applied":7,"state_hash":"00000000000000ab"},"#,
            r#"{"id":"n3","api":"127.0.0.1:7103","peer":"127.0.0.1:7203","pid":null,"up":false,"role":null,"#,
            r#""term":null,"leader":null,"last":null,"commit":null,"applied":null,"state_hash":null}],"#,
            r#""leader":"n1","term":4,"quorum":{"needed":2,"up":2,"ok":true},"queues":[{"name":"default","#,
            r#""available":1,"running":2,"scheduled":6,"retryable":7,"completed":3,"cancelled":4,"discarded":5,"paused":true}]}"#,
        )
    );
}

#[test]
fn the_words_are_a_table() {
    let words =
        view([Some(status(1, Role::Leader, 4, 1)), Some(status(2, Role::Follower, 4, 1)), None]).report().words(None);
    assert_eq!(
        words,
        "\
NODE  API             PEER            PID  ROLE      TERM  LEADER  LAST  COMMIT  APPLIED  STATE
n1    127.0.0.1:7101  127.0.0.1:7201  101  leader       4  n1         9       8        7  00000000000000ab
n2    127.0.0.1:7102  127.0.0.1:7202  102  follower     4  n1         9       8        7  00000000000000ab
n3    127.0.0.1:7103  127.0.0.1:7203    -  down         -  -          -       -        -  -
leader n1 in term 4; quorum: 2 up, 2 needed"
    );
}

/// A cluster that has run for a while: no line is wider than the terminal, and a pipe gets all of it.
#[test]
fn the_tables_fit_the_terminal() {
    let queue = |name: &str| QueueStatus { name: name.into(), completed: 12_345_678, ..QueueStatus::default() };
    let grown = |node: u64, role: Role| NodeStatus {
        pid: 1_234_567,
        last: 1_234_567,
        commit: 1_234_567,
        applied: 1_234_567,
        queues: vec![queue("default"), queue("a-queue-of-a-long-name")],
        ..status(node, role, 12, 1)
    };
    let report = view([Role::Leader, Role::Follower, Role::Follower].map({
        let mut node = 0;
        move |role| {
            node += 1;
            Some(grown(node, role))
        }
    }))
    .report();
    let whole = report.words(None);
    let widest = |words: &str| words.lines().map(|line| line.chars().count()).max();
    assert!(widest(&whole) > Some(80), "{whole}");
    assert_eq!(report.words(Some(200)), whole);
    let narrow = report.words(Some(80));
    assert!(widest(&narrow) <= Some(80), "{narrow}");
    assert!(
        narrow.starts_with(
            "\
NODE  API             ROLE      TERM  LEADER     LAST   COMMIT  APPLIED
"
        ),
        "{narrow}"
    );
    for kept in ["a-queue-of-a-long-name", "without PEER, PID, STATE; all of it: raftdeck status | cat"] {
        assert!(narrow.contains(kept), "{narrow}");
    }
    assert!(widest(&report.words(Some(64))) <= Some(64), "{}", report.words(Some(64)));
}

#[test]
fn nobody_reachable_names_what_was_tried() {
    let error = view([None, None, None]).reached().unwrap_err();
    assert_eq!(
        error,
        Failure::Refused("no node reachable: tried 127.0.0.1:7101, 127.0.0.1:7102, 127.0.0.1:7103".into())
    );
}

#[test]
fn nodes_given_by_address_take_the_names_they_say() {
    let member = |api: &str| Member { name: None, id: None, api: api.into(), peer: None };
    let rows = vec![
        Row { member: member("h:1"), status: Some(status(2, Role::Leader, 4, 2)) },
        Row { member: member("h:2"), status: None },
    ];
    let view = View { rows };
    assert_eq!(view.row("n2").unwrap().id(), Some(2));
    assert_eq!(view.row("h:2").unwrap().id(), None);
    assert_eq!(view.row("n9").unwrap_err(), Failure::Refused("no node \"n9\": the cluster has n2, h:2".into()));
}
