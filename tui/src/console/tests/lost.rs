//! What never arrived, whom the leader answered, and who left.

use crossterm::event::KeyCode;
use raftdeck_shared::wire::{self, ObservationKind as Kind};

use super::{
    fixture::{Desk, UNIX_MS, election, set_link, status},
    screens::text,
};
use crate::console::{browse, msg::Body, trace::Row};

fn lost(desk: &Desk) -> Vec<String> {
    let name = |id| desk.model.live.name(id);
    let rows = browse::messages(&desk.model).into_iter();
    let sentence = |row| match row {
        Row::Lost(lost) => Some(lost.sentence(&name)),
        Row::Heard(_) => None,
    };
    rows.filter_map(sentence).collect()
}

/// The cut of n1 towards n4 has dropped so many.
fn dropped(count: u64, at_ms: u64) -> wire::NodeStatus {
    let fault = Some(wire::fault_spec::Fault::Cut(wire::CutFault { peer: 4 }));
    let effect = Some(wire::FaultEffect { dropped: count, ..Default::default() });
    let fault = wire::Fault { id: 1, spec: Some(wire::FaultSpec { fault }), effect, ..Default::default() };
    wire::NodeStatus { faults: vec![fault], at_ms: UNIX_MS + at_ms, ..status(1) }
}

#[test]
fn a_request_that_nobody_answers_is_lost_after_a_second_and_no_sooner() {
    let mut desk = Desk::whole();
    let mut cut = status(2);
    cut.faults = dropped(0, 0).faults;
    desk.status(cut);
    desk.lose(5);
    for id in 1..=4 {
        let mut raw = status(id);
        set_link(&mut raw, 5, wire::LinkState::Down);
        raw.faults = if id == 2 { dropped(0, 0).faults } else { Vec::new() };
        desk.status(raw);
    }
    election().into_iter().filter(|o| (o.node, o.kind()) != (4, Kind::VoteCast)).for_each(|o| desk.observe(o));
    desk.run_ms = 999;
    desk.tell(Body::Tick);
    assert_eq!(lost(&desk), [] as [&str; 0]);
    assert!(desk.model.ages().is_some(), "something is waited for");
    desk.run_ms = 1_000;
    desk.tell(Body::Tick);
    let both = [
        "the request of n2 for the vote of n4 in T7 is lost: cut",
        "the request of n2 for the vote of n5 in T7 is lost: n5 is down",
    ];
    assert_eq!(lost(&desk), both);
    // Each row can be stood on, and leads to its cause.
    desk.keys("2");
    let rows = browse::messages(&desk.model).len();
    let stood: Vec<_> = (0..rows)
        .map(|_| {
            desk.press(KeyCode::Up);
            desk.model.browse.message
        })
        .collect();
    assert_eq!(stood.iter().collect::<std::collections::BTreeSet<_>>().len(), rows - 1, "{stood:?}");
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Enter);
    let held = desk.model.browse.message.expect("it is held");
    assert_eq!((held.node, held.seq), (2, 1), "n2 stood");
    // It comes all the same: it was told late.
    election().into_iter().filter(|o| (o.node, o.kind()) == (4, Kind::VoteCast)).for_each(|o| desk.observe(o));
    assert_eq!(lost(&desk), both[1..]);
    desk.keys("v");
    assert_eq!(lost(&desk), [] as [&str; 0], "they are hidden with the votes");
}

#[test]
fn one_that_only_this_console_does_not_see_may_have_answered() {
    let mut desk = Desk::whole();
    desk.lose(5);
    election().into_iter().for_each(|o| desk.observe(o));
    desk.run_ms = 5_000;
    desk.tell(Body::Tick);
    assert_eq!(lost(&desk), [] as [&str; 0], "n1 to n4 hear n5");
}

#[test]
fn what_a_fault_drops_is_a_row_for_each_second() {
    let mut desk = Desk::whole();
    for (at, count) in [(0, 0), (100, 2), (400, 5), (900, 5), (1_100, 6), (1_300, 6)] {
        desk.run_ms = at;
        desk.status(dropped(count, at));
    }
    assert_eq!(lost(&desk), ["5 messages of n1 to n4 are lost: cut", "1 message of n1 to n4 is lost: cut"]);
    // Another process counts anew.
    desk.snapshot(wire::NodeStatus { boot_id: "boot-1b".into(), ..dropped(0, 5_000) });
    desk.run_ms = 5_000;
    desk.status(wire::NodeStatus { boot_id: "boot-1b".into(), ..dropped(3, 5_000) });
    assert_eq!(lost(&desk).last().map(String::as_str), Some("3 messages of n1 to n4 are lost: cut"));
    desk.keys("2");
    let screen = text(&desk.model, 120, 40);
    assert!(screen.contains("───── 3 lost: cut ──────"), "{screen}");
    assert!(screen.contains("3 messages of n1 to n4 are lost: cut"), "the box below says it: {screen}");
}

#[test]
fn clients_are_drawn_when_the_leader_answers_them() {
    let mut desk = Desk::whole();
    // Who leads is known by its own word, also to a console that was not there at the election.
    desk.status(status(2));
    let told = |seq, node, cause: &str| wire::Observation {
        seq,
        node,
        term: 7,
        at_ms: UNIX_MS + seq,
        kind: Kind::Job.into(),
        cause: cause.into(),
        ..Default::default()
    };
    desk.observe(told(20, 2, "job 9 submitted"));
    desk.observe(told(21, 3, "job 9 submitted"));
    desk.observe(told(22, 2, "job 9 claimed by n4"));
    desk.observe(told(23, 2, "time moved 2 jobs on"));
    desk.keys("2");
    let screen = text(&desk.model, 120, 40);
    let line = |words: &str| screen.lines().filter(|l| l.contains(words)).collect::<Vec<_>>();
    let submitted = line("job 9 submitted");
    assert!(submitted[0].contains("◀") && submitted[0].find('◀') < submitted[0].find("job 9"), "{screen}");
    assert!(!submitted[1].contains('◀') && submitted[1].contains("■"), "what n3 applies answers nobody: {screen}");
    assert!(line("job 9 claimed")[0].contains('▶'), "to the executor in n4: {screen}");
    assert!(line("time moved")[0].contains('■'), "{screen}");
}

#[test]
fn one_that_left_is_gone_and_not_down() {
    let mut desk = Desk::whole();
    let members = |voters: std::ops::RangeInclusive<u64>| {
        Some(wire::Membership { voters: voters.collect(), ..Default::default() })
    };
    for id in 1..=4 {
        desk.status(wire::NodeStatus { membership: members(1..=4), voters: (1..=4).collect(), ..status(id) });
    }
    desk.lose(5);
    let told = desk.model.live.wanted(false, None).into_iter().map(|l| l.text).collect::<Vec<_>>();
    assert_eq!(told, ["console: n5 has left the cluster"]);
    desk.run_ms = 60_000;
    desk.tell(Body::Tick);
    let screen = text(&desk.model, 120, 40);
    let row = screen.lines().find(|l| l.contains(" n5 ")).unwrap_or_default();
    assert!(row.contains("gone") && row.contains("left the cluster") && !row.contains("down"), "{screen}");
    assert!(
        screen.lines().next().is_some_and(|l| l.contains("● LIVE as of 12")),
        "all that belong to it are live: {screen}"
    );
    assert!(desk.model.ages().is_none(), "nobody is waited for");
    assert_eq!(desk.model.live.outages.newest().count(), 0, "a leave is no outage");
    // One that is a member and falls silent is down.
    desk.lose(4);
    let told = desk.model.live.wanted(false, None).into_iter().map(|l| l.text).collect::<Vec<_>>();
    assert_eq!(told[1], "console: lost n4: connection refused");
}

/// A fault on one link says which: the node speaks to all others.
#[test]
fn a_fault_on_one_link_names_the_other_end() {
    let fault = wire::fault_spec::Fault::Link(wire::LinkFault { peer: 4, delay_ms: 50, ..Default::default() });
    let spec = Some(wire::FaultSpec { fault: Some(fault) });
    let mut desk = Desk::whole();
    desk.status(wire::NodeStatus { faults: vec![wire::Fault { id: 1, spec, ..Default::default() }], ..status(1) });
    let screen = text(&desk.model, 120, 40);
    assert!(screen.contains("n4: delay"), "{screen}");
}
