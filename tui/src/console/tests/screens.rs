//! Every screen as text, at five sizes. `TestBackend` shows characters only, so the meaning of cells (which are drawn as
//! bad, as selected, as of which term) is checked by a second map where it matters.

use crossterm::event::KeyCode;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::fixture::{Desk, election, split, status};
use crate::console::{
    model::Model,
    msg::{Body, Slot},
    theme::{ASCII, Theme},
    view,
};

const SIZES: [(u16, u16); 5] = [(80, 24), (120, 40), (200, 60), (40, 10), (1, 1)];

pub(super) fn buffer(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test backend does not fail");
    terminal.draw(|frame| view::draw(model, frame)).expect("a test backend does not fail");
    terminal.backend().buffer().clone()
}

/// The characters of a screen, without the spaces at the ends of its lines.
pub(super) fn text(model: &Model, width: u16, height: u16) -> String {
    let buffer = buffer(model, width, height);
    let lines = (0..height).map(|y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn all_sizes(state: &str, model: &Model) {
    for (width, height) in SIZES {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{state}_{width}x{height}"), text(model, width, height));
        });
    }
}

fn observed(mut desk: Desk) -> Desk {
    election().into_iter().for_each(|o| desk.observe(o));
    desk
}

#[test]
fn normal() {
    all_sizes("normal", &observed(Desk::whole()).model);
}

#[test]
fn no_data() {
    all_sizes("no_data", &Desk::new(5).model);
}

#[test]
fn node_down() {
    let mut desk = observed(Desk::whole());
    desk.run_ms = 100;
    desk.lose(5);
    desk.run_ms = 1_340;
    desk.tell(Body::Tick);
    all_sizes("node_down", &desk.model);
}

#[test]
fn split_with_a_stale_leader() {
    all_sizes("split", &observed(split()).model);
}

#[test]
fn confirm_that_loses_the_quorum() {
    let mut desk = split();
    desk.keys("k");
    desk.keys("kill n");
    all_sizes("confirm", &desk.model);
}

#[test]
fn the_other_dialogs() {
    let mut desk = Desk::whole();
    desk.keys("?");
    all_sizes("help", &desk.model);
    desk.keys("?sec");
    all_sizes("submit", &desk.model);
    desk.press(KeyCode::Esc);
    desk.keys("x");
    all_sizes("cut", &desk.model);
}

#[test]
fn ascii_has_no_other_characters() {
    let mut desk = observed(split());
    desk.model.skin.glyphs = ASCII;
    for keys in ["", "k", "?"] {
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
    let reversed = |y| buffer[(5, y)].modifier.contains(ratatui::style::Modifier::REVERSED);
    assert_eq!((1..8).filter(|y| reversed(*y)).count(), 1);
}

#[test]
fn colour_repeats_what_the_text_says() {
    let model = split().model;
    let buffer = buffer(&model, 120, 40);
    for y in 0..40 {
        for x in 1..118 {
            let term = |cell: char| {
                cell.to_digit(10).map(|t| Theme::Colour.style(crate::console::theme::Tone::Term(t.into())).bg)
            };
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
    assert!(desk.model.node(Slot(49)).is_some());
}
