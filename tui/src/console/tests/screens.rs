//! Every screen as text, at five sizes. `TestBackend` shows characters only, so the meaning of cells (which are drawn as
//! bad, as selected, as of which term) is checked by a second map where it matters.

use std::sync::Arc;

use crossterm::event::KeyCode;
use raftdeck_shared::wire;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Modifier},
};

use super::fixture::{Desk, UNIX_MS, election, job, jobs, split, status};
use crate::console::{
    dump,
    jobs::{Job, Page},
    model::{Model, View},
    msg::{Body, Slot},
    theme::{ASCII, Theme, Tone},
    view,
    world::Fact,
};

const SIZES: [(u16, u16); 5] = [(80, 24), (120, 40), (200, 60), (40, 10), (1, 1)];

pub(super) fn buffer(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test backend does not fail");
    terminal.draw(|frame| view::draw(model, frame)).expect("a test backend does not fail");
    terminal.backend().buffer().clone()
}

pub(super) fn text(model: &Model, width: u16, height: u16) -> String {
    dump::text(&buffer(model, width, height))
}

/// What each cell means, a letter each: `.` plain, `b` bold, `d` dim, `g` good, `w` warning, `x` bad, `f` focus or key, `y`
/// done by you, `C` cursor, digits: the colour of a term.
fn roles(model: &Model, width: u16, height: u16) -> String {
    let buffer = buffer(model, width, height);
    let tones = [
        ('d', Tone::Dim),
        ('f', Tone::Focus),
        ('g', Tone::Good),
        ('w', Tone::Warn),
        ('x', Tone::Bad),
        ('y', Tone::You),
        ('b', Tone::Title),
        ('0', Tone::Term(0)),
        ('1', Tone::Term(1)),
        ('2', Tone::Term(2)),
        ('3', Tone::Term(3)),
        ('4', Tone::Term(4)),
        ('5', Tone::Term(5)),
    ];
    let letter = |x: u16, y: u16| {
        let cell = &buffer[(x, y)];
        if cell.modifier.contains(Modifier::REVERSED) {
            return 'C';
        }
        let same = |tone: Tone| {
            let style = model.skin.style(tone);
            let (fg, bg) = (style.fg.unwrap_or(Color::Reset), style.bg.unwrap_or(Color::Reset));
            (fg, bg, style.add_modifier) == (cell.fg, cell.bg, cell.modifier)
        };
        tones.iter().find(|(_, tone)| same(*tone)).map_or('.', |(letter, _)| *letter)
    };
    let lines = (0..height).map(|y| (0..width).map(|x| letter(x, y)).collect::<String>() + "\n");
    lines.collect()
}

pub(super) fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name.to_owned(), text);
    });
}

/// Several states at each size, one file a size.
fn all_sizes(name: &str, states: &[(&str, &Model)]) {
    for (width, height) in SIZES {
        let screens = states.iter().map(|(state, model)| format!("== {state}\n{}", text(model, width, height)));
        snapshot(&format!("{name}_{width}x{height}"), &screens.collect::<String>());
    }
}

fn observed(mut desk: Desk) -> Desk {
    election().into_iter().for_each(|o| desk.observe(o));
    desk
}

fn node_down() -> Desk {
    let mut desk = observed(Desk::whole());
    desk.run_ms = 100;
    desk.lose(5);
    desk.run_ms = 1_340;
    desk.tell(Body::Tick);
    desk
}

fn no_leader() -> Desk {
    let mut desk = node_down();
    for id in 1..=4 {
        let role = if id == 3 { wire::Role::Candidate } else { wire::Role::Follower };
        desk.status(wire::NodeStatus { role: role.into(), leader: 0, term: 8, ..status(id) });
    }
    desk.run_ms = 1_900;
    desk.tell(Body::Tick);
    desk
}

fn fifty() -> Desk {
    let mut desk = Desk::new(50);
    for id in 1..=50 {
        let mut raw = status(id);
        raw.voters = (1..=50).collect();
        desk.snapshot(raw);
    }
    desk
}

/// The past of a split cluster, three seconds before its present.
fn past() -> Desk {
    let mut desk = split();
    desk.keys("p");
    for _ in 0..30 {
        desk.keys(",");
    }
    desk
}

#[test]
fn cluster() {
    let desks = [
        ("normal", observed(Desk::whole())),
        ("no data", Desk::new(5)),
        ("node down", node_down()),
        ("no leader", no_leader()),
        ("split, with a stale leader", observed(split())),
        ("fifty nodes", fifty()),
        ("the past", past()),
    ];
    let states: Vec<(&str, &Model)> = desks.iter().map(|(name, desk)| (*name, &desk.model)).collect();
    all_sizes("cluster", &states);
}

#[test]
fn dialogs() {
    let opened = |mut desk: Desk, keys: &str| {
        desk.keys(keys);
        desk
    };
    let desks = [
        ("confirm that loses the quorum", opened(opened(split(), "K"), "kill n")),
        ("cut", opened(Desk::whole(), "x")),
        ("submit", opened(Desk::whole(), "sec")),
        ("weather on a link", opened(Desk::whole(), "W")),
        ("trouble with a disk, wrong", {
            let mut desk = opened(Desk::whole(), "D50");
            desk.press(KeyCode::Enter);
            desk
        }),
        ("one way, said in words", {
            let mut desk = opened(Desk::whole(), ":cut n2 / n1,n3,n4 --one-way --for 30s");
            desk.press(KeyCode::Enter);
            desk
        }),
        ("palette", opened(Desk::whole(), ":ev")),
        ("help", opened(Desk::whole(), "?")),
        ("filter", opened(observed(Desk::whole()), "/votes !n3")),
        ("zoom on events", {
            let mut desk = observed(Desk::whole());
            desk.press(KeyCode::BackTab);
            opened(desk, "z")
        }),
    ];
    let states: Vec<(&str, &Model)> = desks.iter().map(|(name, desk)| (*name, &desk.model)).collect();
    all_sizes("dialogs", &states);
}

/// The desk with a view open and all that it asks for answered.
fn viewing(mut desk: Desk, keys: &str) -> Desk {
    let view = View::ALL[keys[..1].parse::<usize>().expect("a digit") - 1];
    desk.keys(keys);
    assert_eq!(desk.model.view, view);
    desk.tell(Body::Jobs(Ok(Arc::new(Page::from_wire(&jobs())))));
    let lines = (1..=60).map(|n| format!("2026-11-21T14:32:{n:02}Z  INFO link to n{} open", n % 5 + 1));
    let lines = lines.chain(["2026-11-21T14:33:01Z  WARN killed by a fault: console".to_owned()]);
    desk.tell(Body::Log(Slot(0), Ok(lines.collect())));
    desk
}

#[test]
fn views() {
    let mut desks: Vec<(String, Desk)> = Vec::new();
    for view in ["2", "3", "4", "5", "6", "7"] {
        let name = View::ALL[view.parse::<usize>().expect("a digit") - 1].name();
        desks.push((format!("{name}, nothing known"), {
            let mut desk = Desk::new(5);
            desk.keys(view);
            desk
        }));
        for (state, desk) in [
            ("normal", observed(Desk::whole())),
            ("node down", node_down()),
            ("no leader", no_leader()),
            ("split, with a stale leader", observed(split())),
            ("fifty nodes", fifty()),
        ] {
            desks.push((format!("{name}, {state}"), viewing(desk, view)));
        }
    }
    desks.push(("messages, held, without appends".into(), viewing(observed(split()), "2akkk")));
    desks.push(("messages, the past".into(), viewing(observed(past()), "2")));
    desks.push(("jobs, filtered, ordered, marked".into(), {
        let mut desk = viewing(observed(Desk::whole()), "4");
        desk.keys("oj j /!completed");
        desk.press(KeyCode::Enter);
        desk
    }));
    desks.push(("election of fifty".into(), viewing(observed(fifty()), "3")));
    desks.push(("messages of fifty, one is far down the list".into(), {
        let mut desk = observed(fifty());
        desk.observe(wire::Observation {
            seq: 9,
            node: 44,
            term: 7,
            peer: 2,
            granted: true,
            at_ms: UNIX_MS - 4_000,
            kind: wire::ObservationKind::VoteCast.into(),
            ..Default::default()
        });
        viewing(desk, "2")
    }));
    desks.push(("job, whole".into(), {
        let mut desk = viewing(Desk::whole(), "4");
        desk.press(KeyCode::Enter);
        desk.tell(Body::Job(Ok(Arc::new(Job::from_wire(&job())))));
        desk
    }));
    desks.push(("log, searched".into(), {
        let mut desk = viewing(Desk::whole(), "6");
        desk.keys("/n3");
        desk.press(KeyCode::Enter);
        desk.keys("NN");
        desk
    }));
    desks.push(("faults, measured".into(), {
        let mut desk = node_down();
        desk.press(KeyCode::Esc);
        viewing(desk, "7")
    }));
    let states: Vec<(&str, &Model)> = desks.iter().map(|(name, desk)| (name.as_str(), &desk.model)).collect();
    all_sizes("views", &states);
}

#[test]
fn what_cells_mean() {
    let mut help = Desk::whole();
    help.keys("?");
    let map = format!(
        "{}\n{}\n{}",
        roles(&observed(split()).model, 120, 40),
        roles(&past().model, 80, 24),
        roles(&help.model, 80, 24)
    );
    snapshot("roles", &map);
}

#[test]
fn ascii_has_no_other_characters() {
    let mut desk = observed(split());
    desk.model.skin.glyphs = ASCII;
    for keys in ["", "K", "W", "?", ":", "2", "3", "4", "5", "6", "7"] {
        desk.model.dialog = None;
        desk.keys(keys);
        let screen = text(&desk.model, 120, 40);
        assert!(screen.is_ascii(), "{screen}");
    }
}

#[test]
fn mono_has_no_colours_and_shows_the_cursor() {
    let mut desk = split();
    desk.model.skin.theme = Theme::Mono;
    let buffer = buffer(&desk.model, 120, 40);
    assert!(buffer.content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    let reversed = |y| buffer[(5, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!((1..8).filter(|y| reversed(*y)).count(), 1);
}

#[test]
fn colour_repeats_what_the_text_says() {
    let model = split().model;
    let buffer = buffer(&model, 120, 40);
    for y in 0..40 {
        for x in 1..118 {
            let term = |cell: char| cell.to_digit(10).map(|t| model.skin.style(Tone::Term(t.into())).bg);
            let left = buffer[(x - 1, y)].symbol();
            let digit = buffer[(x, y)].symbol().chars().next().unwrap_or(' ');
            let right = buffer[(x + 1, y)].symbol();
            let entry = matches!((left, right), ("[", "]") | ("(", ")") | ("!", "!"));
            if let (true, Some(back)) = (entry && (10..16).contains(&y), term(digit)) {
                assert_eq!(buffer[(x, y)].style().bg, back, "at {x},{y}");
            }
        }
    }
}

#[test]
fn a_broken_law_is_shown_even_where_room_is_short() {
    let mut desk = Desk::whole();
    let mut wrong = status(3);
    wrong.state_hash = 1;
    desk.status(wrong);
    let screen = text(&desk.model, 80, 24);
    assert!(screen.contains("BROKEN state after 1841: 9f2c11aa00427731 on n1, 0000000000000001 on n3"), "{screen}");
}

#[test]
fn fifty_nodes_scroll_under_the_cursor() {
    let mut desk = Desk::new(50);
    desk.model.cursor = 49;
    let screen = text(&desk.model, 120, 40);
    assert!(screen.contains("▶ n50"), "{screen}");
    assert!(desk.model.live.node(Slot(49)).is_some());
}

#[test]
fn a_restart_is_an_r_on_the_timeline() {
    let mut desk = Desk::whole();
    desk.run_ms = 5_000;
    desk.tell(Body::Tick);
    desk.model.tell(Fact::Own(Tone::You, "YOU restart n5".into()));
    desk.run_ms = 10_000;
    desk.tell(Body::Tick);
    let screen = text(&desk.model, 120, 40);
    let faults = screen.lines().find(|line| line.contains(" faults ")).unwrap();
    assert!(faults.contains('R') && !faults.contains('H'), "{faults}");
}

#[test]
fn keys_that_are_off_are_not_offered() {
    let mut desk = Desk::whole();
    assert!(text(&desk.model, 120, 40).contains("K kills a node"));
    desk.model.read_only = true;
    let screen = text(&desk.model, 120, 40);
    assert!(screen.contains("nothing happened yet") && !screen.contains("kills a node"), "{screen}");
}

#[test]
fn a_cluster_that_is_all_down_keeps_its_term() {
    let mut desk = Desk::whole();
    (1..=5).for_each(|id| desk.lose(id));
    for (width, height) in [(120, 40), (40, 10)] {
        let screen = text(&desk.model, width, height);
        assert!(screen.contains(" T7 ") && !screen.contains("T0"), "{screen}");
    }
}

#[test]
fn the_legend_of_the_timeline_is_whole() {
    let mut desk = Desk::whole();
    desk.keys("?");
    let screen = text(&desk.model, 120, 40);
    for mark in ["K kill", "X cut", "H healed", "R restart", "E election", "! a node lost", "? no leader"] {
        assert!(screen.contains(mark), "{mark}\n{screen}");
    }
}
