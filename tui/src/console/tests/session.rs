//! Keys in, model and commands out.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use raftdeck_shared::{
    faults,
    ids::NodeId,
    wire::{self, fault_spec::Fault},
};

use super::{
    fixture::{Desk, UNIX_MS, election, jobs, split, status},
    screens::text,
};
use crate::console::{
    events::Reading,
    hands::Upkeep,
    jobs::Page,
    model::{Dialog, Pane, View},
    msg::{ActId, Body, Cmd, Slot},
    trace::Row,
};

fn events(desk: &Desk) -> Vec<String> {
    desk.model.live.wanted(desk.model.every, None).into_iter().map(|l| l.text).collect()
}

fn toast(desk: &Desk) -> &str {
    desk.model.toast.as_ref().map_or("", |t| &t.text)
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
fn toasts_go_and_then_nothing_ages() {
    let mut desk = Desk::whole();
    assert!(desk.model.ages().is_none(), "an idle, whole cluster needs no tick");
    desk.keys("r");
    assert!(desk.model.ages().is_some());
    desk.run_ms += 60_000;
    desk.tell(Body::Tick);
    assert!(desk.model.toast.is_none() && desk.model.ages().is_none());
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
    assert_eq!(toast(&desk), "no such command: xyzzy");
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
    let shown = |desk: &Desk| desk.model.live.wanted(desk.model.every, desk.model.filter()).len();
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
fn what_is_no_filter_is_told_at_the_prompt_and_the_last_one_stays() {
    let mut desk = Desk::whole();
    election().into_iter().for_each(|o| desk.observe(o));
    let shown = |desk: &Desk| desk.model.live.wanted(desk.model.every, desk.model.filter()).len();
    desk.keys("/votes");
    assert_eq!(shown(&desk), 3);
    for typed in [" term>", "abc"] {
        desk.keys(typed);
        assert_eq!(shown(&desk), 3, "votes is the last good one");
        let screen = super::screens::text(&desk.model, 100, 30);
        let prompt = screen.lines().last().unwrap_or_default();
        assert!(prompt.contains("is no filter: write term:6, term>6 or term<6"), "{prompt}");
    }
    desk.press(KeyCode::Enter);
    assert!(desk.model.dialog.is_some(), "the prompt stays");
    (0..3).for_each(|_| drop(desk.press(KeyCode::Backspace)));
    desk.keys("99");
    assert_eq!(shown(&desk), 0);
    desk.press(KeyCode::Enter);
    assert!(desk.model.dialog.is_none());
    desk.keys(":filter state:flying");
    desk.press(KeyCode::Enter);
    assert_eq!(shown(&desk), 0, "of jobs: here it is a text");
    desk.keys("4:filter state:flying");
    desk.press(KeyCode::Enter);
    assert!(toast(&desk).starts_with("state:flying is no filter: write state: and one of "), "{}", toast(&desk));
    assert!(desk.model.filter().is_none());
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
    assert!(desk.model.ages().is_some());
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

/// Law: what cannot be seen cannot be done. The question that a kill waits on would not be on the screen.
#[test]
fn a_screen_too_small_takes_no_key_but_quit() {
    let mut desk = Desk::whole();
    desk.tell(Body::Resize(40, 10));
    let before = (desk.model.view, desk.model.focus, desk.model.cursor);
    for cmds in [desk.keys("4jK"), desk.press(KeyCode::Tab), desk.press(KeyCode::Enter), desk.keys("H")] {
        assert!(cmds.is_empty(), "{cmds:?}");
    }
    desk.tell(Body::Wheel(3));
    assert_eq!((desk.model.view, desk.model.focus, desk.model.cursor), before);
    assert!(desk.model.dialog.is_none());
    assert_eq!(desk.keys("q"), [Cmd::Quit]);
    desk.tell(Body::Resize(120, 40));
    desk.keys("K");
    assert!(desk.model.dialog.is_none(), "larger, but nothing was drawn yet");
    desk.model.drawn(120, 40);
    desk.keys("K");
    assert!(desk.model.dialog.is_some());
    desk.tell(Body::Resize(59, 40));
    desk.tell(Body::Paste("kill n1".into()));
    assert_eq!([desk.press(KeyCode::Tab), desk.press(KeyCode::Enter)], [[], []], "a question that went out of sight");
    assert_eq!(desk.keys("q"), [Cmd::Quit]);
    desk.model.drawn(59, 40);
    assert_eq!(desk.press(KeyCode::Enter), []);
    desk.model.drawn(60, 16);
    desk.press(KeyCode::Tab);
    assert_eq!(desk.press(KeyCode::Enter), [Cmd::Kill { act: ActId(1), slot: Slot(0) }], "as it was left");
}

/// Law: a word that is no command does nothing. What only resembles it is run when it was gone to.
#[test]
fn the_palette_guesses_nothing() {
    let mut desk = Desk::whole();
    for typed in ["nodes", "stop", "rm", "reset", "ex", "lk", "heall", "leader"] {
        desk.keys(":");
        desk.keys(typed);
        assert_eq!(desk.press(KeyCode::Enter), [], "{typed}");
        assert!(desk.model.dialog.is_none(), "{typed}");
        assert_eq!(toast(&desk), format!("no such command: {typed}"));
    }
    desk.keys(":");
    assert_eq!(desk.press(KeyCode::Enter), []);
    assert!(desk.model.dialog.is_none(), "nothing was said, nothing is asked");
    desk.keys(":until");
    assert_eq!(desk.press(KeyCode::Enter), []);
    assert!(toast(&desk).starts_with("until wants a word: election, leader"), "{}", toast(&desk));
    desk.keys(":nodes");
    desk.press(KeyCode::Up);
    let found = desk.press(KeyCode::Enter);
    assert!(matches!(&found[..], [Cmd::Heal { .. }]), "gone to: {found:?}");
    desk.keys(":nodes");
    desk.press(KeyCode::Up);
    desk.press(KeyCode::Backspace);
    assert_eq!(desk.press(KeyCode::Enter), [], "typing chooses anew");
    for (typed, cmd) in [("exit", Cmd::Quit), ("quit", Cmd::Quit), ("REPAINT", Cmd::Repaint), ("du", Cmd::Dump)] {
        desk.keys(":");
        desk.keys(typed);
        assert_eq!(desk.press(KeyCode::Enter), [cmd], "{typed}");
    }
}

#[test]
fn marks_are_seen_and_end_with_the_act_with_esc_and_with_their_view() {
    let footer = |desk: &Desk| text(&desk.model, 80, 24).lines().last().unwrap_or_default().to_owned();
    let marked = || {
        let mut desk = Desk::whole();
        desk.press(KeyCode::Char(' '));
        desk.press(KeyCode::Down);
        desk.press(KeyCode::Char(' '));
        assert!(footer(&desk).contains(" 2 marked "), "{}", footer(&desk));
        desk
    };
    let mut desk = marked();
    desk.press(KeyCode::Esc);
    assert!(desk.model.marked.is_empty() && !footer(&desk).contains("marked"));
    let mut desk = marked();
    desk.keys("4");
    assert!(desk.model.marked.is_empty() && !footer(&desk).contains("marked"));
    let mut desk = marked();
    desk.keys("K");
    desk.press(KeyCode::Tab);
    desk.press(KeyCode::Enter);
    assert!(!desk.model.pending.is_empty() && desk.model.marked.is_empty(), "the kill has begun");
}
