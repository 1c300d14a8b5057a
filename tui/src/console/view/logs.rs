//! The logs side by side, by index: what each node has stored, what it knows to be committed, and where it differs.
//!
//! `[7]` committed, `(7)` stored only, `!6!` differs from the leader's entry at that index, ` . ` missing; the digit is
//! the term modulo ten, and the background is the term's colour. An index a node has but does not show (its status holds
//! only the tail) stays blank: nothing is guessed.

use raftdeck_shared::ids::Index;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{framed, listed, put, span};
use crate::console::{
    model::{Model, Pane},
    msg::Slot,
    picture::Picture,
    status::Status,
    text::{fit, width},
    theme::Tone,
    world::Node,
};

/// Cells of one entry, with the space behind it.
const ENTRY: usize = 4;

/// Free places kept at the right while following, so that the next entry is seen to come.
const AHEAD: u64 = 2;

/// Every so many indexes one is named above.
const RULER: u64 = 4;

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    if area.height < 3 {
        return;
    }
    let right = match model.log_held {
        Some(held) => {
            vec![span(&model.skin, Tone::Warn, format!(" up to {held}, newest {} (G) ", model.shown().last_index()))]
        }
        None => legend(model, area),
    };
    let inner = framed(model, Pane::Logs, right, area, buf);
    let names = model.shown().nodes.iter().map(|n| width(&n.name)).max().unwrap_or(2).clamp(2, 12);
    let label = names + 4;
    let room = usize::from(inner.width).saturating_sub(label) / ENTRY;
    let last = model.log_held.unwrap_or(Index(model.shown().last_index().0.saturating_add(AHEAD)));
    let first = last.0.saturating_sub(room as u64 - u64::from(room > 0)).max(1);
    let shown: Vec<u64> = (first..=last.0).take(room).collect();
    let count = model.shown().nodes.len();
    let ruler = usize::from(usize::from(inner.height) > count);
    if ruler == 1 {
        put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, " ".repeat(label) + &numbers(&shown))));
    }
    let rows = usize::from(inner.height) - ruler;
    for (at, slot) in listed(model, picture, rows).into_iter().enumerate() {
        let Some(node) = model.shown().node(slot) else { continue };
        let mut line = vec![head(model, picture, slot, node, names)];
        line.extend(entries(model, picture, node, &shown));
        put(buf, inner, at + ruler, &Line::from(line));
    }
}

fn legend(model: &Model, area: Rect) -> Vec<Span<'static>> {
    let skin = &model.skin;
    let missing = skin.glyphs.missing;
    if area.width < 100 {
        return vec![span(skin, Tone::Dim, " [7] committed (7) stored !6! conflict ")];
    }
    let long =
        format!(" colour = term  [7] committed  (7) stored only  !6! conflicts with the leader  {missing} missing ");
    vec![span(skin, Tone::Dim, long)]
}

/// Index numbers, each above the entry it names.
fn numbers(shown: &[u64]) -> String {
    let mut line = String::new();
    for (at, index) in shown.iter().enumerate() {
        if (index % RULER == 0 || *index == 1) && line.len() <= at * ENTRY {
            line.push_str(&" ".repeat(at * ENTRY - line.len()));
            line.push_str(&index.to_string());
        }
    }
    line
}

fn head(model: &Model, picture: &Picture, slot: Slot, node: &Node, names: usize) -> Span<'static> {
    let glyphs = &model.skin.glyphs;
    let (mark, tone) = if picture.leader == Some(slot) {
        (glyphs.leader, Tone::Good)
    } else if node.failed && !model.shown().gone(node) {
        (glyphs.down, Tone::Bad)
    } else if node.word().is_some_and(|s| !s.faults.is_empty()) {
        (glyphs.cut, Tone::Bad)
    } else {
        (" ", Tone::Plain)
    };
    let cursor = if slot.0 == model.cursor && model.focus == Pane::Logs { glyphs.cursor } else { " " };
    span(&model.skin, tone, format!("{cursor}{} {mark} ", fit(&node.name, names, false)))
}

fn entries(model: &Model, picture: &Picture, node: &Node, shown: &[u64]) -> Vec<Span<'static>> {
    let Some(status) = node.word() else { return Vec::new() };
    let leader = picture.leader.and_then(|slot| model.shown().node(slot)?.word());
    let mut spans = Vec::new();
    for index in shown {
        let (text, tone) = entry(model, status, leader, Index(*index));
        spans.push(span(&model.skin, tone, text));
        spans.push(Span::raw(" "));
    }
    spans
}

fn entry(model: &Model, status: &Status, leader: Option<&Status>, index: Index) -> (String, Tone) {
    let Some(term) = status.tail.term_at(index) else {
        let missing = index > status.last;
        let text = if missing { format!(" {} ", model.skin.glyphs.missing) } else { "   ".to_owned() };
        return (text, Tone::Dim);
    };
    let digit = term.0 % 10;
    let differs = leader.and_then(|l| l.tail.term_at(index)).is_some_and(|there| there != term);
    // Stored where the leader has nothing at all is in conflict too, once the leader is of a later term.
    let beyond = leader.is_some_and(|l| index > l.last && l.term > term);
    let text = match (differs || beyond, index <= status.commit) {
        (true, _) => format!("!{digit}!"),
        (false, true) => format!("[{digit}]"),
        (false, false) => format!("({digit})"),
    };
    (text, Tone::Term(term.0))
}
