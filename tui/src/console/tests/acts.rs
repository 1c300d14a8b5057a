//! Acts that are said in words: forms, palette, and what is asked before they are done.

use clap::Parser as _;
use crossterm::event::KeyCode;
use raftdeck_shared::{
    faults,
    wire::{self, fault_spec::Fault},
};

use super::{
    fixture::{Desk, set_link, split, status},
    screens::text,
};
use crate::{
    cli::args::{Call, Remove, Verb},
    console::{
        acts::Effect,
        form::Sheet,
        hands::Steering,
        keys::Action,
        model::{Dialog, View},
        msg::{Cmd, Slot},
        palette, update,
    },
};

fn toast(desk: &Desk) -> &str {
    desk.model.toast.as_ref().map_or("", |t| &t.text)
}

/// What the open question says.
fn effect(desk: &Desk) -> Effect {
    let Some(Dialog::Confirm(confirm)) = &desk.model.dialog else { panic!("no question: {:?}", desk.model.dialog) };
    confirm.act.effect(&desk.model)
}

/// Says yes to the question, which must not be one that wants a phrase.
fn yes(desk: &mut Desk) -> Vec<Cmd> {
    desk.press(KeyCode::Tab);
    desk.press(KeyCode::Enter)
}

fn say(desk: &mut Desk, line: &str) -> Vec<Cmd> {
    desk.model.dialog = None;
    desk.keys(":");
    desk.keys(line);
    desk.press(KeyCode::Enter)
}

#[test]
fn a_link_form_becomes_faults_at_both_ends() {
    let mut desk = Desk::whole();
    desk.keys(" jj W");
    let Some(Dialog::Form(form)) = &desk.model.dialog else { panic!("no form") };
    assert_eq!(form.words(), ["link", "n1", "n3", "--for", "60s"], "filled in from the marks");
    desk.keys("50ms");
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Down);
    desk.keys("0.5%");
    assert_eq!(desk.press(KeyCode::Enter), []);
    let asked = effect(&desk);
    assert_eq!(asked.question, "From n1 to n3, and back: delay 50 ms, loss 0.5 %?");
    assert_eq!(asked.same_as, "raftdeck link n1 n3 --delay 50ms --loss 0.5% --for 60s");
    assert_eq!(asked.note, "A majority does without: no commit has to wait for this.");
    let cmds = yes(&mut desk);
    let [Cmd::Strike { faults, ttl_ms: 60_000, .. }] = &cmds[..] else { panic!("{cmds:?}") };
    let fault = |peer| Fault::Link(wire::LinkFault { peer, delay_ms: 50, loss_ppm: 5_000, ..Default::default() });
    assert_eq!(faults[..], [(Slot(0), fault(3)), (Slot(2), fault(1))]);
    assert!(desk.model.marked.is_empty());
    assert_eq!(desk.model.same_as, asked.same_as);
}

/// The row that stands out is the one that Enter runs; where Enter runs nothing that is listed, none does.
#[test]
fn only_what_enter_would_run_is_highlighted() {
    let highlighted = |desk: &Desk| {
        let Some(Dialog::Palette(palette)) = &desk.model.dialog else { panic!("no palette") };
        palette::rows(&desk.model, palette)
            .into_iter()
            .zip(0..)
            .find_map(|(row, at)| (palette::highlighted(&desk.model, palette) == Some(at)).then_some(row.binding.name))
    };
    for (typed, row) in [
        ("", None),
        ("kl", None),
        ("kill", Some("kill")),
        ("exit", None),
        ("dum", Some("dump")),
        ("kill n3", None),
        ("zzz", None),
    ] {
        let mut desk = Desk::whole();
        desk.keys(":");
        desk.keys(typed);
        assert_eq!(highlighted(&desk), row, "{typed:?}");
    }
    let mut desk = Desk::whole();
    desk.keys(":");
    desk.press(KeyCode::Down);
    assert_eq!(highlighted(&desk), Some("kill"), "the first row");
    desk.press(KeyCode::Down);
    assert_eq!(highlighted(&desk), Some("cut"));
    desk.press(KeyCode::Up);
    assert_eq!(highlighted(&desk), Some("kill"));
    for (typed, taken) in [("kl", "kill"), ("unt", "until"), ("thm", "theme")] {
        let mut desk = Desk::whole();
        desk.keys(":");
        desk.keys(typed);
        desk.press(KeyCode::Tab);
        let Some(Dialog::Palette(palette)) = &desk.model.dialog else { panic!("no palette") };
        assert_eq!(palette.field.text(), format!("{taken} "), "{typed:?}");
    }
}

/// An act is about what is under a cursor: where that is not on the screen, it is not begun.
#[test]
fn an_act_on_a_node_is_only_taken_where_its_cursor_is_seen() {
    let keys = "KxrXWDPCTf ";
    let names = ["kill", "cut", "restart", "transfer", "remove", "tab", "close-tab", "mark"];
    for (view, zoomed) in [("2", ""), ("3", ""), ("5", ""), ("6", ""), ("7", ""), ("1", "z")] {
        // P is about the queue under the cursor in view 5.
        for key in keys.chars().filter(|key| (view, *key) != ("5", 'P')) {
            let mut desk = Desk::whole();
            desk.keys(view);
            if !zoomed.is_empty() {
                (0..3).for_each(|_| drop(desk.press(KeyCode::Tab)));
                desk.keys(zoomed);
            }
            assert_eq!(desk.press(KeyCode::Char(key)), [], "{view} {key:?}");
            assert!(desk.model.dialog.is_none() && desk.model.marked.is_empty(), "{view} {key:?}");
            let where_to =
                if zoomed.is_empty() { "in the cluster view: 1" } else { "beside the nodes: z ends the zoom" };
            assert!(toast(&desk).ends_with(where_to), "{view} {key:?}: {}", toast(&desk));
        }
        for name in names {
            let mut desk = Desk::whole();
            desk.keys(view);
            assert_eq!(say(&mut desk, name), [], "{name}");
            let is_asked = matches!(desk.model.dialog, Some(Dialog::Confirm(_)));
            assert_eq!(
                is_asked,
                view == "1" && matches!(name, "kill" | "cut" | "remove" | "transfer"),
                "{view} {name}"
            );
        }
    }
    // Zoomed, these panes have the cursor of the nodes on them.
    for tabs in 0..3 {
        let mut desk = Desk::whole();
        (0..tabs).for_each(|_| drop(desk.press(KeyCode::Tab)));
        desk.keys("zK");
        assert!(desk.model.dialog.is_some(), "{tabs}");
    }
    // A node that is named needs no cursor; a job has one of its own.
    let mut desk = Desk::whole();
    desk.keys("2");
    say(&mut desk, "kill n3");
    assert_eq!(effect(&desk).same_as, "raftdeck kill n3");
    for (view, name, wants) in [("1", "cancel", "in the jobs view: 4"), ("1", "heal-one", "in the faults view: 7")] {
        let mut desk = Desk::whole();
        desk.keys(view);
        say(&mut desk, name);
        assert!(toast(&desk).ends_with(wants), "{name}: {}", toast(&desk));
    }
}

#[test]
fn what_a_form_cannot_mean_is_said_in_it() {
    let mut desk = Desk::whole();
    for (keys, down, typed, wrong) in [
        ("W", 2, "", "say at least one of delay, jitter, loss, duplicate, reorder"),
        ("W", 1, "-5ms", "delay: \"-5ms\" begins with -"),
        ("D", 1, "", "say one of stall, full, fail fsync"),
        ("C", 1, "", "fill in: offset"),
        ("C", 0, "-5s", ""),
        ("P", 1, "", ""),
        ("P", 1, "s", "invalid value '60ss' for '--for <DURATION>'"),
        ("W", 1, "5ms", "fill in: to"),
        ("A", 1, "", "fill in: name"),
        ("D", 0, "50", "invalid value '50' for '--stall <DURATION>'"),
        ("D", 0, "50s", ""),
        ("C", 0, "soon", "invalid value 'soon' for '--offset <[-]DURATION>'"),
    ] {
        desk.model.dialog = None;
        desk.keys(keys);
        (0..down).for_each(|_| drop(desk.press(KeyCode::Down)));
        desk.keys(typed);
        desk.press(KeyCode::Enter);
        match &desk.model.dialog {
            Some(Dialog::Form(form)) => assert!(form.wrong.starts_with(wrong) && !wrong.is_empty(), "{}", form.wrong),
            Some(Dialog::Confirm(_)) => assert_eq!(wrong, "", "{keys} {typed}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Law: what is shown as "same as" is taken by the command line and means what will be sent.
#[test]
fn same_as_is_what_the_command_line_takes() {
    for line in [
        "cut n1 / n2,n3 --one-way --for 30s",
        "cut n1,n2 / n3,n4,n5",
        "link n2 n3 --delay 20ms --jitter 5ms --one-way",
        "disk n3 --stall 200ms",
        "disk n3 --full",
        "disk n3 --fail-fsync --for 2m",
        "pause-node n4 --for 10s",
        "clock n1 --offset -5s",
        "transfer n3",
        "remove n5",
        "add n6 --peer 127.0.0.1:1 --api 127.0.0.1:2",
        "retry 307 309",
        "pause mail",
        "resume mail",
    ] {
        let mut desk = Desk::whole();
        assert_eq!(say(&mut desk, line), [], "{line}: {}", toast(&desk));
        let same_as = effect(&desk).same_as;
        assert_eq!(same_as, format!("raftdeck {line}"));
        let call = Call::try_parse_from(same_as.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
        let cmds = yes(&mut desk);
        match (call.verb, &cmds[..]) {
            (Some(Verb::Link(args)), [Cmd::Strike { faults, .. }]) => {
                assert_eq!(faults[..], [(Slot(1), args.towards(3))]);
            }
            (Some(Verb::Disk(args)), [Cmd::Strike { faults, .. }]) => {
                assert_eq!(faults[..], [(Slot(2), args.fault())]);
            }
            (Some(Verb::Clock { offset, .. }), [Cmd::Strike { faults, .. }]) => {
                assert_eq!(faults[..], [(Slot(0), Fault::Clock(wire::ClockFault { offset_ms: offset }))]);
            }
            (Some(Verb::PauseNode { ttl, .. }), [Cmd::Strike { faults, ttl_ms, .. }]) => {
                assert_eq!((faults[..].len(), *ttl_ms), (1, ttl.ttl.as_millis() as u64));
                assert_eq!(faults[0], (Slot(3), Fault::Pause(wire::PauseFault {})));
            }
            (Some(Verb::Cut { one_way, .. }), [Cmd::Strike { faults, .. }]) => {
                let told: Vec<(usize, u64, bool)> = faults
                    .iter()
                    .map(|(slot, f)| (slot.0 + 1, faults::peer(f).unwrap_or(0), matches!(f, Fault::OneWayCut(_))))
                    .collect();
                let wanted = if one_way { vec![(1, 2, true), (1, 3, true)] } else { told.clone() };
                assert_eq!(told, wanted);
                assert_eq!(told.len(), if one_way { 2 } else { 12 });
            }
            (Some(Verb::Transfer { node }), [Cmd::Steer { steering, .. }]) => {
                assert_eq!(*steering, Steering::Transfer(node));
            }
            (Some(Verb::Add(args)), [Cmd::Steer { steering, .. }]) => assert_eq!(*steering, Steering::Add(args)),
            (Some(Verb::Remove(args)), [Cmd::Steer { steering, .. }]) => {
                assert_eq!(*steering, Steering::Remove(args));
            }
            (Some(Verb::Retry { ids: said }), [Cmd::RetryJobs { ids, .. }]) => assert_eq!(*ids, said),
            (Some(Verb::Pause { queue: said }), [Cmd::PauseQueue { queue, paused: true, .. }]) => {
                assert_eq!(*queue, said);
            }
            (Some(Verb::Resume { queue: said }), [Cmd::PauseQueue { queue, paused: false, .. }]) => {
                assert_eq!(*queue, said);
            }
            (verb, cmds) => panic!("{line}: {verb:?}, {cmds:?}"),
        }
    }
}

#[test]
fn each_says_what_it_does_to_the_quorum() {
    let keeps = "The leader keeps its majority: work goes on.";
    let hits = "This hits the leader: no job is accepted until the others have elected a new one.";
    for (line, after, note) in [
        ("cut n2 / n1,n3,n4,n5 --one-way", "{n1 n3 n4 n5} can talk: 4 of 5, quorum kept; apart {n2}", hits),
        ("cut n3 / n4 --one-way", "{n1 n2 n3 n4 n5} can talk: 5 of 5, quorum kept", keeps),
        ("pause-node n2", "{n1 n3 n4 n5} can talk: 4 of 5, quorum kept; down n2", hits),
        ("disk n4 --full", "{n1 n2 n3 n5} can talk: 4 of 5, quorum kept; down n4", keeps),
        (
            "disk n4 --stall 100ms",
            "{n1 n2 n3 n4 n5} can talk: 5 of 5, quorum kept",
            "A majority does without: no commit has to wait for this.",
        ),
        (
            "disk n4 --stall 520ms",
            "{n1 n2 n3 n5} can talk: 4 of 5, quorum kept; down n4",
            "A majority does without: no commit has to wait for this.",
        ),
        (
            "clock n4 --offset 5s",
            "{n1 n2 n3 n4 n5} can talk: 5 of 5, quorum kept",
            "Only times of jobs are wrong, and only while it leads.",
        ),
        (
            "link n2 n3 --loss 100%",
            "{n1 n2 n3 n4 n5} can talk: 5 of 5, quorum kept",
            "A majority does without: no commit has to wait for this.",
        ),
        (
            "add west --peer 127.0.0.1:1 --api 127.0.0.1:2",
            "{n1 n2 n3 n4 n5 west} can talk: 6 of 6, quorum kept",
            "It gets its vote when it has caught up; then 4 are needed.",
        ),
        (
            "remove n2",
            "{n1 n3 n4 n5} can talk: 4 of 4, quorum kept",
            "It leads: it hands over when its removal is committed.",
        ),
    ] {
        let mut desk = Desk::whole();
        say(&mut desk, line);
        let asked = effect(&desk);
        assert!(asked.after.starts_with(after), "{line}: {}", asked.after);
        assert_eq!((asked.note.as_str(), asked.quorum_lost), (note, false), "{line}");
        assert!(!asked.undo.is_empty(), "{line}");
    }
}

#[test]
fn a_slow_disk_counts_when_no_majority_does_without_it() {
    let mut desk = Desk::whole();
    for id in [4, 5] {
        for at in 1..=3 {
            let mut raw = status(at);
            set_link(&mut raw, 4, wire::LinkState::Down);
            set_link(&mut raw, 5, wire::LinkState::Down);
            desk.status(raw);
        }
        desk.lose(id);
    }
    say(&mut desk, "disk n3 --stall 100ms");
    assert_eq!(effect(&desk).note, "Every commit has to wait for this: jobs become slower.");
    say(&mut desk, "pause-node n3");
    let asked = effect(&desk);
    assert!(asked.quorum_lost);
    assert_eq!(asked.note, "No job is accepted until you heal it (H).");
    desk.press(KeyCode::Tab);
    assert_eq!(desk.press(KeyCode::Enter), [], "its name has to be typed");
    say(&mut desk, "pause-node n3");
    desk.keys("pause-node n3");
    assert!(matches!(desk.press(KeyCode::Enter)[..], [Cmd::Strike { .. }]));
}

#[test]
fn a_removal_that_breaks_the_cluster_is_forced_only_when_typed() {
    let mut desk = split();
    say(&mut desk, "remove n1");
    let asked = effect(&desk);
    assert_eq!(asked.after, "{n2 n3} can talk: 2 of 4, NO QUORUM; apart {n4}; down n5");
    assert_eq!((asked.phrase.as_str(), asked.same_as.as_str()), ("remove n1", "raftdeck remove n1 --force"));
    desk.keys("remove n1");
    let cmds = desk.press(KeyCode::Enter);
    let [Cmd::Steer { steering: Steering::Remove(Remove { force, .. }), .. }] = &cmds[..] else { panic!("{cmds:?}") };
    assert!(force);
}

#[test]
fn what_would_be_refused_is_said_before_it_is_asked() {
    let mut desk = Desk::whole();
    desk.status(wire::NodeStatus { faults_enabled: false, ..status(3) });
    desk.lose(5);
    for (line, why) in [
        ("disk n3 --full", "n3 refuses faults: it was started without --enable-faults"),
        ("link n1 n3 --delay 1ms", "n3 refuses faults: it was started without --enable-faults"),
        ("pause-node n5", "the console does not reach n5: it takes no fault"),
        ("cut n5 / n1 --one-way", "the console does not reach n5: nothing can be cut there"),
        ("cut n1 / n2 / n4 --one-way", "a one-way cut is from one side to another, not between 3 sides"),
        ("link n1 n1 --delay 1ms", "n1 has no link to itself"),
        ("pause-node n9", "no node \"n9\": there is n1 n2 n3 n4 n5"),
        ("transfer n2", "n2 leads already"),
        ("heal n5:3", "the console does not reach n5: nothing can be healed there"),
        ("add n6", "this console does not own the processes: start the node, and give its peer and api"),
        ("add n3 --peer h:1 --api h:2", "n3 is a member already"),
        ("add n3 --learner --peer h:1 --api h:2", "n3 is a member already"),
        ("add a/b --peer h:1 --api h:2", "node name \"a/b\""),
        ("transfer n3 --connect h:1", "it is done to the cluster of this console: leave out where that is"),
    ] {
        assert_eq!(say(&mut desk, line), [], "{line}");
        assert!(desk.model.dialog.is_none(), "{line}");
        assert!(toast(&desk).starts_with(why), "{line}: {}", toast(&desk));
    }
    for id in 1..=4 {
        desk.status(wire::NodeStatus { faults_enabled: false, ..status(id) });
    }
    for key in ["X", "W", "D", "P", "C"] {
        desk.keys(key);
        assert!(desk.model.dialog.is_none());
        assert_eq!(toast(&desk), "the nodes refuse faults: they were started without --enable-faults", "{key}");
    }
}

#[test]
fn one_fault_is_healed_where_it_is_listed_and_at_both_ends() {
    let mut desk = split();
    desk.keys("7");
    desk.press(KeyCode::Down);
    let cmds = desk.keys("e");
    let [Cmd::Heal { at, .. }] = &cmds[..] else { panic!("{cmds:?}") };
    let told: Vec<(usize, &[u64])> = at.iter().map(|(slot, ids)| (slot.0 + 1, &ids[..])).collect();
    assert_eq!(told, [(2, &[2][..]), (4, &[12][..])], "the link n2 - n4, at both ends");
    assert_eq!(desk.model.same_as, "raftdeck heal n2:2 n4:12");
    desk.keys("G");
    assert_eq!(desk.keys("e"), []);
    assert_eq!(toast(&desk), "the cursor is on no fault in force");
    assert_eq!(desk.model.view, View::Faults);
}

#[test]
fn neither_read_only_nor_the_past_leaves_a_way() {
    let acts = [Sheet::OneWay, Sheet::Link, Sheet::Disk, Sheet::Pause, Sheet::Clock, Sheet::Add].map(Action::Form);
    let acts = acts.into_iter().chain([
        Action::Transfer,
        Action::Remove,
        Action::HealOne,
        Action::RetryJobs,
        Action::PauseQueue,
    ]);
    let mut desk = split();
    desk.model.read_only = true;
    for action in acts.clone() {
        assert_eq!(update::act(&mut desk.model, action), [], "{action:?}");
        assert!(toast(&desk).starts_with("read-only"), "{action:?}");
    }
    for line in [
        "pause-node n1",
        "transfer n3",
        "heal n1:1",
        "cut n1 / n2 --one-way",
        "link n1 n2 --delay 1s",
        "retry 7",
        "pause mail",
        "resume mail",
    ] {
        assert_eq!(say(&mut desk, line), []);
        assert!(desk.model.dialog.is_none() && toast(&desk).starts_with("read-only"), "{line}");
    }
    let mut desk = split();
    desk.keys("p");
    for action in acts {
        assert_eq!(update::act(&mut desk.model, action), [], "{action:?}");
        assert!(toast(&desk).contains("you look at the past"), "{action:?}: {}", toast(&desk));
    }
    assert_eq!(say(&mut desk, "heal n1:1"), []);
    assert!(desk.model.dialog.is_none() && toast(&desk).contains("you look at the past"));
}

#[test]
fn the_node_under_the_cursor_is_handed_the_lead_or_let_go() {
    let mut desk = Desk::whole();
    desk.keys("jjT");
    assert_eq!(effect(&desk).question, "Hand leadership over to n3?");
    assert_eq!(effect(&desk).undo, "transfer n2");
    assert!(matches!(&yes(&mut desk)[..], [Cmd::Steer { steering: Steering::Transfer(n), .. }] if n == "n3"));
    desk.keys(":remove");
    desk.press(KeyCode::Enter);
    assert_eq!(effect(&desk).question, "Let n3 go?");
}

#[test]
fn a_flag_is_a_yes_or_nothing_and_names_are_completed() {
    let mut desk = Desk::whole();
    desk.keys("D");
    desk.press(KeyCode::Down);
    desk.keys("x");
    desk.keys(" ");
    let words = |desk: &Desk| match &desk.model.dialog {
        Some(Dialog::Form(form)) => form.words().join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(words(&desk), "disk n1 --full --for 60s");
    desk.keys(" ");
    assert_eq!(words(&desk), "disk n1 --for 60s");
    let mut desk = Desk::whole();
    desk.keys("X");
    desk.press(KeyCode::Down);
    (0..40).for_each(|_| drop(desk.press(KeyCode::Backspace)));
    desk.keys("n4,n");
    desk.press(KeyCode::Right);
    assert_eq!(words(&desk), "cut n1 / n4,n1 --for 60s --one-way");
}

/// Law: only what the command line takes is shown as "same as".
#[test]
fn same_as_waits_for_a_whole_command() {
    let mut desk = Desk::whole();
    let shown = |desk: &Desk| text(&desk.model, 120, 40).contains("same as: raftdeck link n1 n2 --loss 5%");
    desk.keys(" j W");
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Down);
    assert!(!text(&desk.model, 120, 40).contains("same as"), "{}", text(&desk.model, 120, 40));
    desk.keys("5");
    assert!(!shown(&desk));
    desk.keys("%");
    assert!(shown(&desk));
}
