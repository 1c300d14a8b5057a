//! Messages in, model and commands out.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use raftdeck_shared::{
    faults,
    ids::NodeId,
    wire::{self, fault_spec::Fault},
};

use super::fixture::{Desk, UNIX_MS, election, jobs, set_link, split, status};
use crate::console::{
    events::Reading,
    hands::Upkeep,
    jobs::Page,
    model::{Dialog, Pane, View},
    msg::{ActId, Body, Cmd, NodeMsg, Slot},
    picture::Picture,
    trace::Row,
    world::Conn,
};

fn events(desk: &Desk) -> Vec<String> {
    desk.model.live.events.lines(desk.model.every).into_iter().map(|l| l.text).collect()
}

fn toast(desk: &Desk) -> &str {
    desk.model.toast.as_ref().map_or("", |t| &t.text)
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
    // n3 heard the leader last of all: 1 ms before it says so. A pre-candidate no longer knows whom it heard.
    desk.status(wire::NodeStatus { at_ms: UNIX_MS + 61, heard_ms: 1, ..status(3) });
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

#[test]
fn kill_asks_first_and_stands_on_cancel() {
    let mut desk = Desk::whole();
    assert_eq!(desk.keys("K"), []);
    assert!(matches!(desk.model.dialog, Some(Dialog::Confirm(_))));
    assert_eq!(desk.press(KeyCode::Enter), [], "the focus is on Cancel");
    assert!(desk.model.dialog.is_none());
    desk.keys("K");
    desk.press(KeyCode::Tab);
    assert_eq!(desk.press(KeyCode::Enter), [Cmd::Kill { act: ActId(1), slot: Slot(0) }]);
    assert_eq!(events(&desk), ["YOU kill n1 (pid 5191)"]);
    desk.tell(Body::Done(ActId(1), Err("faults are not enabled on n1".into())));
    assert_eq!(toast(&desk), "kill n1 failed: faults are not enabled on n1");
    assert!(desk.model.pending.is_empty());
}

#[test]
fn losing_the_quorum_wants_its_name_typed() {
    let mut desk = split();
    desk.keys("K");
    let Some(Dialog::Confirm(confirm)) = desk.model.dialog.clone() else { panic!("no dialog") };
    let effect = confirm.act.effect(&desk.model);
    assert_eq!(effect.now, "{n1 n2 n3} can talk: 3 of 5, quorum kept; apart {n4}; down n5");
    assert_eq!(effect.after, "{n2 n3} can talk: 2 of 5, NO QUORUM; apart {n4}; down n1 n5");
    assert_eq!(effect.note, "No job is accepted until you restart enough of n1 n5.");
    desk.press(KeyCode::Tab);
    desk.keys("kill n");
    assert_eq!(desk.press(KeyCode::Enter), [], "not the whole phrase");
    assert_eq!(desk.keys("1"), []);
    assert_eq!(desk.press(KeyCode::Enter), [Cmd::Kill { act: ActId(1), slot: Slot(0) }]);
}

#[test]
fn a_cut_goes_to_both_ends_of_every_link() {
    let mut desk = Desk::whole();
    desk.lose(5);
    desk.keys(" ");
    desk.press(KeyCode::Down);
    desk.keys(" x");
    desk.press(KeyCode::Up);
    desk.press(KeyCode::Tab);
    let cmds = desk.press(KeyCode::Enter);
    let [Cmd::Strike { faults, ttl_ms: 120_000, .. }] = &cmds[..] else { panic!("{cmds:?}") };
    let ends: Vec<(usize, u64)> =
        faults.iter().map(|(slot, fault)| (slot.0 + 1, faults::peer(fault).unwrap_or_default())).collect();
    assert!(faults.iter().all(|(_, fault)| matches!(fault, Fault::Cut(_))));
    assert_eq!(ends, [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (3, 1), (3, 2), (4, 1), (4, 2)]);
    assert_eq!(events(&desk).last().map(String::as_str), Some("YOU cut n1 n2 from n3 n4 n5 for 2m"));
}

#[test]
fn a_cut_needs_two_sides() {
    let mut desk = Desk::new(1);
    desk.keys("x");
    assert!(desk.model.dialog.is_none());
    assert!(toast(&desk).starts_with("a cut needs two sides"));
    let mut desk = Desk::new(5);
    desk.keys("x");
    assert!(desk.model.dialog.is_none());
    assert_eq!(toast(&desk), "nothing can be broken from here: no node can be reached");
}

#[test]
fn nodes_without_faults_are_not_asked_for_any() {
    let mut desk = Desk::whole();
    for id in 1..=5 {
        desk.status(wire::NodeStatus { faults_enabled: false, ..status(id) });
    }
    for (key, said) in [("K", "n1 refuses faults"), ("x", "the nodes refuse faults")] {
        desk.keys(key);
        assert!(desk.model.dialog.is_none());
        assert!(toast(&desk).starts_with(said), "{}", toast(&desk));
    }
}

#[test]
fn heal_and_restart_say_what_stands_against_them() {
    let mut desk = Desk::whole();
    assert!(
        matches!(desk.keys("H")[..], [Cmd::Heal { ref at, .. }] if at.len() == 5 && at.values().all(Vec::is_empty))
    );
    assert_eq!(desk.keys("r"), []);
    assert!(toast(&desk).contains("does not own the processes"));
    desk.model.can_restart = true;
    assert_eq!(desk.keys("r"), []);
    assert_eq!(toast(&desk), "restart: n1 is running; kill n1 first");
    desk.lose(1);
    assert!(matches!(desk.keys("r")[..], [Cmd::Upkeep { node: NodeId(1), what: Upkeep::Restart, .. }]));
}

#[test]
fn read_only_leaves_no_way_to_change_the_cluster() {
    let mut desk = split();
    desk.model.read_only = true;
    for key in "KxHrs".chars() {
        assert_eq!(desk.press(KeyCode::Char(key)), []);
        assert!(desk.model.dialog.is_none());
        assert!(toast(&desk).starts_with("read-only"), "{key}");
    }
}

#[test]
fn submit_fills_in_a_known_handler() {
    let mut desk = Desk::whole();
    desk.keys("sec");
    desk.press(KeyCode::Right);
    desk.press(KeyCode::Tab);
    desk.keys("hello quick k");
    let cmds = desk.press(KeyCode::Enter);
    let [Cmd::Submit { job, .. }] = &cmds[..] else { panic!("{cmds:?}") };
    assert_eq!((job.handler.as_str(), &job.payload[..]), ("echo", &b"hello quick k"[..]));
    desk.tell(Body::Done(ActId(1), Ok("job 313 is available, at index 1844".into())));
    assert_eq!(toast(&desk), "submit echo: job 313 is available, at index 1844");
    desk.keys("s");
    assert_eq!(desk.press(KeyCode::Enter), []);
    let Some(Dialog::Form(form)) = &desk.model.dialog else { panic!("the form stays") };
    assert_eq!(form.wrong, "name a handler");
}

#[test]
fn quit_works_in_every_state() {
    for keys in ["", "K", "s", "?", ":", "/", "p"] {
        let mut desk = split();
        desk.keys(keys);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        desk.model.keys.set("quit", Vec::new()).unwrap();
        desk.model.keys.set("suspend", Vec::new()).unwrap();
        let control_z = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
        assert_eq!(desk.tell(Body::Key(control_z)), [Cmd::Suspend], "whatever the config says");
        assert_eq!(desk.tell(Body::Key(control_c)), [Cmd::Quit], "after {keys:?}");
    }
}

#[test]
fn scrolling_up_stops_following() {
    let mut desk = Desk::whole();
    election().into_iter().for_each(|o| desk.observe(o));
    desk.press(KeyCode::BackTab);
    desk.press(KeyCode::Up);
    assert!(matches!(desk.model.reading, Reading::Held(_)));
    desk.keys("G");
    assert_eq!(desk.model.reading, Reading::Follow);
    desk.press(KeyCode::BackTab);
    desk.press(KeyCode::BackTab);
    desk.press(KeyCode::Left);
    assert_eq!(desk.model.log_held.map(|i| i.0), Some(1842));
    desk.press(KeyCode::Right);
    assert_eq!(desk.model.log_held, None);
}

#[test]
fn focus_goes_round() {
    let mut desk = Desk::whole();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(desk.model.focus);
        desk.press(KeyCode::Tab);
    }
    assert_eq!(seen, Pane::ALL);
    desk.press(KeyCode::BackTab);
    assert_eq!(desk.model.focus, Pane::Events);
}

#[test]
fn a_node_of_another_cluster_is_shown_and_not_believed() {
    let mut desk = Desk::new(3);
    desk.snapshot(wire::NodeStatus { cluster_id: "prod".into(), ..status(2) });
    assert_eq!(desk.model.live.nodes[1].conn, Conn::Foreign("prod".into()));
    assert!(desk.model.live.nodes[1].word().is_none());
}

#[test]
fn toasts_go_and_then_nothing_ages() {
    let mut desk = Desk::whole();
    assert!(!desk.model.ages(), "an idle, whole cluster needs no tick");
    desk.keys("r");
    assert!(desk.model.ages());
    desk.run_ms += 60_000;
    desk.tell(Body::Tick);
    assert!(desk.model.toast.is_none() && !desk.model.ages());
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
fn the_palette_finds_and_runs() {
    let mut desk = split();
    desk.keys(":kill n2");
    desk.press(KeyCode::Enter);
    assert!(matches!(&desk.model.dialog, Some(Dialog::Confirm(_))), "{:?}", desk.model.toast);
    assert_eq!(desk.model.cursor, 1);
    desk.press(KeyCode::Esc);
    desk.keys(":hea");
    assert!(matches!(desk.press(KeyCode::Enter)[..], [Cmd::Heal { .. }]));
    desk.keys(":kill n9");
    desk.press(KeyCode::Enter);
    assert_eq!(toast(&desk), "no node \"n9\": there is n1 n2 n3 n4 n5");
    desk.keys(":xyzzy");
    desk.press(KeyCode::Enter);
    assert_eq!(toast(&desk), "\"xyzzy\" is no command: `?` lists them");
    desk.keys("?zoom");
    desk.press(KeyCode::Enter);
    assert!(desk.model.zoom);
    desk.model.read_only = true;
    for text in [":kill n2", ":heal", ":cut n1"] {
        desk.keys(text);
        assert_eq!(desk.press(KeyCode::Enter), [], "{text}");
        assert!(desk.model.dialog.is_none(), "{text}");
        desk.model.dialog = None;
    }
}

#[test]
fn letters_move_and_the_cursor_stays_on_its_node() {
    let mut desk = Desk::whole();
    desk.keys("jjj");
    assert_eq!(desk.model.cursor, 3);
    desk.keys("k");
    assert_eq!(desk.model.cursor, 2);
    desk.keys(":sort role");
    desk.press(KeyCode::Enter);
    assert_eq!(desk.model.cursor, 2, "whatever row it is in now");
    desk.keys("g");
    assert_eq!(desk.model.cursor, 1, "the leader is first");
    desk.keys("O");
    desk.keys("G");
    assert_eq!(desk.model.cursor, 1, "and now last");
}

#[test]
fn a_filter_holds_while_it_is_typed_and_goes_with_esc() {
    let mut desk = Desk::whole();
    election().into_iter().for_each(|o| desk.observe(o));
    let shown = |desk: &Desk| desk.model.live.events.wanted(desk.model.every, desk.model.filter()).len();
    assert_eq!(shown(&desk), 6);
    desk.keys("/votes");
    assert_eq!(shown(&desk), 3);
    desk.keys(" node:n4");
    desk.press(KeyCode::Enter);
    assert_eq!((shown(&desk), desk.model.dialog.is_none()), (0, true), "n4 refuses its vote");
    desk.press(KeyCode::Esc);
    assert_eq!(shown(&desk), 6);
}

#[test]
fn what_is_copied_is_the_command_that_was_asked_for() {
    let mut desk = Desk::whole();
    assert_eq!(desk.keys("y"), [Cmd::Copy("n1 127.0.0.1:7101".into())]);
    desk.keys("K");
    assert_eq!(desk.keys("y"), [Cmd::Copy("raftdeck kill n1".into())]);
    assert!(desk.model.dialog.is_some(), "the question stays");
}

#[test]
fn what_is_wrong_in_the_config_file_is_told_one_after_the_other() {
    let mut desk = Desk::whole();
    desk.model.to_say = vec!["c.toml:1: a".into(), "c.toml:2: b".into()];
    desk.tell(Body::Tick);
    assert_eq!(toast(&desk), "c.toml:1: a");
    desk.run_ms += 13_000;
    desk.tell(Body::Tick);
    assert_eq!(toast(&desk), "c.toml:2: b");
}

#[test]
fn views_ask_for_what_they_show_once_a_second_while_they_are_looked_at() {
    let mut desk = Desk::whole();
    assert_eq!(desk.keys("4"), [Cmd::List]);
    assert!(desk.model.ages());
    desk.run_ms = 400;
    assert_eq!(desk.tell(Body::Tick), []);
    desk.run_ms = 1_000;
    assert_eq!(desk.tell(Body::Tick), [Cmd::List]);
    assert_eq!(desk.keys("6"), [Cmd::ReadLog { slot: Slot(0), id: NodeId(1) }]);
    assert_eq!(desk.press(KeyCode::Tab), [Cmd::ReadLog { slot: Slot(1), id: NodeId(2) }]);
    desk.tell(Body::Log(Slot(0), Ok(vec!["late, and of another node".into()])));
    assert!(desk.model.browse.log.lines.is_empty());
    desk.keys("1");
    desk.run_ms = 5_000;
    assert_eq!(desk.tell(Body::Tick), []);
    desk.keys("p4");
    assert_eq!(desk.tell(Body::Tick), [], "the past asks nobody");
}

#[test]
fn marked_jobs_are_cancelled_together_after_a_question() {
    let mut desk = Desk::whole();
    desk.keys("4");
    assert_eq!(desk.keys("c"), []);
    assert_eq!(toast(&desk), "there is no job to cancel");
    desk.tell(Body::Jobs(Ok(std::sync::Arc::new(Page::from_wire(&jobs())))));
    desk.keys("/queue:mail");
    desk.press(KeyCode::Enter);
    desk.keys("  c");
    desk.press(KeyCode::Tab);
    let cmds = desk.press(KeyCode::Enter);
    assert!(matches!(&cmds[..], [Cmd::CancelJobs { ids, .. }] if *ids == [309, 312]), "{cmds:?}");
    desk.keys("k");
    assert_eq!(desk.press(KeyCode::Enter), [Cmd::Get(309)]);
    assert_eq!(desk.model.view, View::Job);
    desk.press(KeyCode::Esc);
    assert_eq!(desk.model.view, View::Jobs);
}

#[test]
fn messages_lead_to_their_cause() {
    let mut desk = Desk::whole();
    election().into_iter().for_each(|o| desk.observe(o));
    desk.keys("2aw");
    let rows = crate::console::browse::messages(&desk.model).len();
    assert_eq!(rows, 5, "appends and work are hidden");
    desk.keys("k");
    let Row::Heard(voted) = crate::console::browse::messages(&desk.model)[rows - 2] else { panic!("it was heard") };
    assert_eq!((voted.node, voted.granted), (4, false));
    desk.press(KeyCode::Enter);
    let held = desk.model.browse.message.expect("it is held");
    assert_eq!((held.node, held.at_ms), (2, UNIX_MS - 5_000 + 402), "n2 stood");
    desk.press(KeyCode::Enter);
    assert!(toast(&desk).starts_with("its cause was not observed"));
    desk.keys("G");
    assert_eq!(desk.model.browse.message, None);
}

#[test]
fn an_incident_is_where_one_can_go() {
    let mut desk = Desk::whole();
    desk.run_ms = 2_000;
    desk.lose(5);
    desk.run_ms = 9_000;
    desk.tell(Body::Tick);
    desk.status(status(2));
    desk.keys("7");
    desk.press(KeyCode::Enter);
    assert_eq!((desk.model.view, desk.model.shown().now.run_ms), (View::Cluster, 2_000));
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
