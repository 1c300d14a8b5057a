//! Random sessions on random screens: whatever comes, the console draws and does not fall.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use raftdeck_shared::wire;

use super::{
    fixture::{Desk, split},
    screens::buffer,
};
use crate::console::{
    jobs::{Job, Page},
    msg::{ActId, Body, NodeMsg, Slot},
    picture::{Picture, leader_and_jobs},
    status::Status,
    text::clean,
};

/// Small numbers that collide, and those at the end of the range.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..8u64, 2 => 1830..1850u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just("demo-5".to_owned()), Just("n1".to_owned()), any::<String>()]
}

prop_compose! {
    fn statuses()(
        n in proptest::collection::vec(numbers(), 16),
        text in texts(),
        boot in 0..3u8,
        role in -1..6i32,
        peers in proptest::collection::vec((numbers(), numbers(), any::<Option<u64>>(), -1..5i32), 0..7),
        tail in proptest::collection::vec((numbers(), numbers()), 0..40),
    ) -> wire::NodeStatus {
        wire::NodeStatus {
            node: n[0], name: text.clone(), cluster_id: if text.len() > 6 { text } else { "demo-5".into() },
            boot_id: boot.to_string(), at_ms: n[1], role, term: n[2], voted_for: n[3], leader: n[4], first: n[5],
            last: n[6], commit: n[7], applied: n[8], state_hash: n[9], voters: vec![n[0], n[10], n[11], 1, 2, 3],
            heard_ms: n[12], election_left_ms: n[13], election_timeout_ms: n[14], executing: n[15],
            peers: peers.into_iter().map(|(node, match_index, heard_ms, link)| {
                wire::PeerStatus { node, match_index, heard_ms, link, ..Default::default() }
            }).collect(),
            log_tail: tail.into_iter().map(|(index, term)| wire::LogCell { index, term }).collect(),
            queues: vec![wire::QueueStatus { available: n[1], completed: n[2], discarded: n[3], ..Default::default() }; 2],
            faults: vec![wire::Fault { id: n[0], left_ms: n[1], ..Default::default() }],
            ..Default::default()
        }
    }
}

prop_compose! {
    fn observations()(n in proptest::collection::vec(numbers(), 9), kind in -1..20i32, role in -1..6i32,
        granted in any::<bool>(), pre in any::<bool>(), cause in texts(), logical in any::<u32>()
    ) -> wire::Observation {
        wire::Observation {
            seq: n[0], at_ms: n[1], logical, node: n[2], term: n[3], kind, peer: n[4], index: n[5], last_index: n[6],
            role, granted, pre, job: n[7], fault: n[8], cause, ..Default::default()
        }
    }
}

fn keys() -> impl Strategy<Value = Body> {
    let code = prop_oneof![
        6 => proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        4 => proptest::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::F(1),
        ]),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    (code, 0..8u8).prop_map(|(code, m)| {
        Body::Key(KeyEvent::new(code, KeyModifiers::from_bits_truncate(if m < 5 { 0 } else { m })))
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let news = prop_oneof![
        1 => Just(NodeMsg::Connecting),
        3 => statuses().prop_map(|s| NodeMsg::Snapshot(Arc::new(Status::from_wire(s)))),
        3 => statuses().prop_map(|s| NodeMsg::Status(Arc::new(Status::from_wire(s)))),
        3 => observations().prop_map(|o| NodeMsg::Observed(Arc::new(o))),
        1 => numbers().prop_map(NodeMsg::Dropped),
        1 => (numbers(), texts()).prop_map(|(at_run_ms, why)| NodeMsg::Retrying { at_run_ms, why }),
    ];
    prop_oneof![
        4 => (0..7usize, news).prop_map(|(slot, news)| Body::Node(Slot(slot), news)),
        4 => keys(),
        1 => Just(Body::Tick),
        1 => (-9..9isize).prop_map(Body::Wheel),
        1 => (proptest::collection::vec((numbers(), texts(), -1..9i32), 0..9), numbers()).prop_map(|(jobs, applied)| {
            let job = |(id, text, state): (u64, String, i32)| wire::Job {
                id, state, queue: text.clone(), error: text, submitted_at_ms: id, ..Default::default()
            };
            let reply = wire::ListReply { jobs: jobs.into_iter().map(job).collect(), applied, more: true };
            Body::Jobs(Ok(Arc::new(Page::from_wire(&reply))))
        }),
        1 => (numbers(), texts()).prop_map(|(n, text)| {
            let step = wire::JobEvent { at_ms: n, index: n, what: text.clone(), note: text.clone(), ..Default::default() };
            let job = wire::Job { id: n, payload: text.into(), history: vec![step; 3], ..Default::default() };
            Body::Job(Ok(Arc::new(Job::from_wire(&job))))
        }),
        1 => (0..7usize, proptest::collection::vec(texts(), 0..9)).prop_map(|(slot, lines)| {
            Body::Log(Slot(slot), Ok(lines.iter().map(|l| clean(l)).collect()))
        }),
        1 => texts().prop_map(Body::Paste),
        1 => (numbers(), texts(), any::<bool>()).prop_map(|(id, t, ok)| Body::Done(ActId(id), if ok { Ok(t) } else { Err(t) })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nothing_makes_it_fall(
        from_split in any::<bool>(),
        session in proptest::collection::vec((bodies(), numbers()), 1..60),
        sizes in proptest::collection::vec((1..250u16, 1..80u16), 1..4),
    ) {
        let mut desk = if from_split { split() } else { Desk::new(5) };
        for (at, (body, ms)) in session.into_iter().enumerate() {
            desk.run_ms = desk.run_ms.saturating_add(ms % 1000);
            desk.tell(body);
            let whole = Picture::of(&desk.model.live);
            let (leader, jobs) = leader_and_jobs(&desk.model.live);
            prop_assert_eq!((leader, jobs.unwrap_or_default()), (whole.leader, whole.jobs), "the short way is the long one");
            if at % 8 == 0 {
                let (width, height) = sizes[at % sizes.len()];
                buffer(&desk.model, width, height);
            }
        }
        for (width, height) in sizes.into_iter().chain([(1, 1), (60, 16), (80, 24), (249, 79)]) {
            buffer(&desk.model, width, height);
        }
    }
}

#[test]
fn a_screen_without_cells_is_drawn() {
    buffer(&split().model, 0, 0);
    buffer(&split().model, 80, 0);
}
