//! A moment of the past is one moment: what is listed, what the nodes say of themselves and their logs are all as of T.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use raftdeck_shared::wire;

use super::fixture::{Desk, UNIX_MS, status};
use crate::console::{
    deck,
    events::Stamp,
    keys::Way,
    model::Model,
    msg::{Body, Msg, NodeMsg, Slot, Time},
    past, record, replayed,
    run::Stop,
    status::{Role, Status},
    theme::{Skin, Theme, UNICODE},
    world::Fact,
};

/// What the observations of one node say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    role: Option<Role>,
    term: Option<u64>,
    commit: Option<u64>,
    last: Option<u64>,
}

/// What is told of each node up to a moment, of the process that it runs as then; and the stamps of all that is told.
fn told(facts: &[(Time, Fact)], model: &Model) -> (BTreeMap<usize, Told>, Vec<Stamp>) {
    let shown_ms = model.past.as_ref().expect("the past is shown").shown_ms();
    let mut boots: BTreeMap<usize, String> = BTreeMap::new();
    let mut seen: BTreeMap<usize, Vec<&wire::Observation>> = BTreeMap::new();
    for (at, fact) in facts {
        match fact {
            Fact::Node(slot, NodeMsg::Snapshot(s)) if boots.get(&slot.0) != Some(&s.boot_id) => {
                boots.insert(slot.0, s.boot_id.clone());
                seen.remove(&slot.0);
            }
            Fact::Node(slot, NodeMsg::Observed(o)) if o.at_ms <= shown_ms => {
                seen.entry(slot.0).or_default().push(o);
            }
            _ => {}
        }
        // Nothing that came later can be of a moment before this: the two clocks are one machine's.
        if at.unix_ms > shown_ms + 1_000 {
            break;
        }
    }
    let mut nodes: BTreeMap<usize, Told> = BTreeMap::new();
    let mut stamps = Vec::new();
    for (slot, of_node) in seen {
        let node = nodes.entry(slot).or_default();
        for o in of_node {
            stamps.push(Stamp::of(o));
            match o.kind() {
                wire::ObservationKind::Role => {
                    node.role = Some(match o.role() {
                        wire::Role::Leader => Role::Leader,
                        wire::Role::Candidate => Role::Candidate,
                        wire::Role::PreCandidate => Role::PreCandidate,
                        wire::Role::Follower | wire::Role::Unspecified => Role::Follower,
                    });
                    node.term = Some(o.term);
                }
                wire::ObservationKind::Term => node.term = Some(o.term),
                wire::ObservationKind::Committed => node.commit = Some(o.index),
                wire::ObservationKind::Appended => node.last = Some(o.last_index),
                _ => {}
            }
        }
    }
    (nodes, stamps)
}

/// What is on the screen is as of the time in its header, at every place.
fn is_of_one_moment(facts: &[(Time, Fact)], model: &Model) {
    let past = model.past.as_ref().expect("the past is shown");
    let (nodes, stamps) = told(facts, model);
    let listed = model.shown().wanted(true, None);
    let newest = listed.iter().map(|line| line.stamp).max().unwrap_or_default();
    assert!(newest.at_ms <= past.shown_ms(), "{newest:?} is listed at {}", past.shown_ms());
    let missing = stamps.iter().find(|stamp| !listed.iter().any(|line| line.stamp == **stamp));
    assert_eq!(missing, None, "happened before {}", past.shown_ms());
    for (slot, told) in nodes {
        let node = &model.shown().nodes[slot];
        let Some(word) = node.word().filter(|_| node.live()) else { continue };
        let shown = Told {
            role: told.role.map(|_| word.role),
            term: told.term.map(|_| word.term.0),
            commit: told.commit.map(|_| word.commit.0),
            last: told.last.map(|_| word.last.0),
        };
        assert_eq!(shown, told, "{} at {}", node.name, past.shown_ms());
    }
}

fn recorded(file: &str) -> (Vec<(Time, Fact)>, Model) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let records = record::read(&path).unwrap();
    let facts = records.iter().map(|record| (record.at, record.fact.clone())).collect();
    let mut model = Model::new(String::new(), Skin::new(Theme::Dark, UNICODE));
    replayed(&mut model, records, 0);
    past::pause(&mut model);
    (facts, model)
}

#[test]
fn every_step_through_a_recording_is_one_moment() {
    for file in ["src/console/tests/three.jsonl", "screens/demo.jsonl"] {
        let (facts, mut model) = recorded(file);
        past::to(&mut model, u64::MAX);
        let mut steps = 0;
        loop {
            let before = model.past.as_ref().unwrap().at_ms();
            past::step(&mut model, Way::Back);
            is_of_one_moment(&facts, &model);
            steps += 1;
            if model.past.as_ref().unwrap().at_ms() == before {
                break;
            }
        }
        for stop in [Stop::Event, Stop::Turn] {
            past::to(&mut model, 0);
            while model.toast.take().is_none() {
                past::jump(&mut model, Way::On, stop);
                let upto = model.shown().wanted(true, None).last().map(|line| line.stamp).unwrap_or_default();
                assert!(upto.at_ms <= model.past.as_ref().unwrap().shown_ms());
                steps += 1;
            }
        }
        assert!(steps > 100, "{file}: {steps}");
    }
}

/// n3's stream is 40 ms behind that of n2: what it tells late belongs to where it happened.
#[test]
fn what_comes_late_is_shown_where_it_happened() {
    let mut desk = Desk::whole();
    let o = |seq, node, at, role: wire::Role| wire::Observation {
        seq,
        node,
        at_ms: UNIX_MS + at,
        term: 8,
        kind: wire::ObservationKind::Role.into(),
        role: role.into(),
        ..Default::default()
    };
    desk.run_ms = 100;
    desk.observe(o(1, 2, 100, wire::Role::Candidate));
    desk.run_ms = 120;
    desk.observe(o(2, 2, 120, wire::Role::Leader));
    desk.keys("p");
    let roles = |desk: &Desk| [1, 2].map(|at: usize| desk.model.shown().nodes[at].word().map(|s| (s.role, s.term.0)));
    let lines = |desk: &Desk| desk.model.shown().wanted(true, None).iter().filter(|l| l.stamp.node != 0).count();
    assert_eq!((roles(&desk), lines(&desk)), ([Some((Role::Leader, 8)), Some((Role::Follower, 7))], 2));
    desk.run_ms = 145;
    desk.observe(o(1, 3, 105, wire::Role::Follower));
    assert_eq!((roles(&desk), lines(&desk)), ([Some((Role::Leader, 8)), Some((Role::Follower, 8))], 3), "still at 120");
    desk.observe(o(2, 3, 140, wire::Role::Candidate));
    assert_eq!((roles(&desk)[1], lines(&desk)), (Some((Role::Follower, 8)), 3), "that is after it");
    desk.model.every = true;
    desk.keys("[");
    assert_eq!(roles(&desk), [Some((Role::Candidate, 8)), Some((Role::Follower, 8))]);
    desk.keys("[");
    assert_eq!(roles(&desk), [Some((Role::Candidate, 8)), Some((Role::Follower, 7))]);
    desk.keys("]]]");
    assert_eq!(roles(&desk), [Some((Role::Leader, 8)), Some((Role::Candidate, 8))]);
}

/// A status tells which observations it knows of. One that knows of more than have come waits for them; one that knows of less
/// takes nothing back.
#[test]
fn a_status_is_never_ahead_of_the_events_nor_behind_them() {
    let mut desk = Desk::new(5);
    (1..=5).for_each(|id| desk.snapshot(wire::NodeStatus { observation_seq: 10, ..status(id) }));
    let committed = |seq, index| wire::Observation {
        seq,
        node: 3,
        at_ms: UNIX_MS,
        term: 7,
        index,
        kind: wire::ObservationKind::Committed.into(),
        ..Default::default()
    };
    let word = |seq, commit, executing| wire::NodeStatus { observation_seq: seq, commit, executing, ..status(3) };
    let shown = |desk: &Desk| desk.model.shown().nodes[2].word().map(|s| (s.commit.0, s.executing));
    desk.observe(committed(11, 1842));
    assert_eq!(shown(&desk), Some((1842, 1)));
    desk.status(word(13, 1844, 3));
    assert_eq!(shown(&desk), Some((1842, 1)), "two events have not come yet");
    desk.observe(committed(12, 1843));
    assert_eq!(shown(&desk), Some((1843, 1)));
    desk.observe(committed(13, 1844));
    assert_eq!(shown(&desk), Some((1844, 3)));
    desk.observe(committed(14, 1845));
    desk.status(word(13, 1844, 4));
    assert_eq!(shown(&desk), Some((1845, 4)), "it was told before the last commit");
    // What it waits for may never come: then the next one says how it is.
    desk.status(word(20, 1850, 5));
    desk.status(word(21, 1851, 6));
    assert_eq!(shown(&desk), Some((1850, 5)));
    desk.node(3, NodeMsg::Dropped(7));
    assert_eq!(shown(&desk), Some((1851, 6)));
}

/// The console stood still while n3 began anew: what it said last is not taken for a word of the process before.
#[test]
fn a_status_is_not_before_the_first_word_of_its_stream() {
    let mut desk = Desk::new(5);
    (1..=5).for_each(|id| desk.snapshot(wire::NodeStatus { observation_seq: 10, ..status(id) }));
    let reborn = |observation_seq| {
        let raw = wire::NodeStatus { boot_id: "boot-3b".into(), observation_seq, ..status(3) };
        Arc::new(Status::from_wire(raw))
    };
    let at = desk.at();
    let msg = |news| Msg { at, body: Body::Node(Slot(2), news) };
    let queue = vec![
        msg(NodeMsg::Retrying { at_run_ms: 0, why: "the connection broke".into() }),
        msg(NodeMsg::Connecting),
        msg(NodeMsg::Snapshot(reborn(4))),
    ];
    let statuses = vec![msg(NodeMsg::Status(reborn(6)))];
    for msg in deck::in_order(&desk.model.live, statuses, queue) {
        desk.tell(msg.body);
    }
    desk.observe(wire::Observation {
        seq: 7,
        node: 3,
        at_ms: UNIX_MS,
        term: 7,
        index: 1850,
        kind: wire::ObservationKind::Committed.into(),
        ..Default::default()
    });
    assert_eq!(desk.model.shown().nodes[2].word().map(|s| s.commit.0), Some(1850));
}

/// n3's stream was broken for a minute: what it then tells of the beginning is shown there, and time does not run ahead of it.
#[test]
fn what_comes_a_minute_late_does_not_take_the_past_ahead_of_its_time() {
    let mut desk = Desk::whole();
    let o = |seq, node, at| wire::Observation {
        seq,
        node,
        at_ms: UNIX_MS + at,
        term: 7,
        index: 1842 + seq,
        kind: wire::ObservationKind::Committed.into(),
        ..Default::default()
    };
    for second in 1..=60 {
        desk.run_ms = 1_000 * second;
        desk.observe(o(second, 2, 1_000 * second));
    }
    desk.run_ms = 60_500;
    desk.observe(o(1, 3, 5_500));
    desk.keys("p");
    for at_ms in [5_600, 30_000, 60_000] {
        past::to(&mut desk.model, at_ms);
        assert_eq!(desk.model.shown().now.run_ms, at_ms);
    }
}
