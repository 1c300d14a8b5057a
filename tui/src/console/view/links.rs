//! Who hears whom: a row for each node, a column for each peer, as the row's node tells it; and below, who votes for whom.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{framed, put, span, votes, window};
use crate::console::{
    model::{Model, Pane},
    msg::Slot,
    picture::Picture,
    status::{Link, SLOW_MS},
    text::{fit, span_ms, width as cells},
    theme::Tone,
    world::Node,
};

/// Cells of one column, with the space before it.
pub(super) const COLUMN: usize = 7;

/// The width that shows all nodes of a small cluster.
pub(super) fn width(model: &Model) -> u16 {
    let wanted = label(model) + model.shown().nodes.len() * COLUMN + 4;
    u16::try_from(wanted.clamp(46, 120)).unwrap_or(46)
}

fn label(model: &Model) -> usize {
    model.shown().nodes.iter().map(|n| cells(&n.name)).max().unwrap_or(2).clamp(2, 12) + 3
}

pub(super) fn draw(model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    let label = label(model);
    // Whole columns only, the one of the node under the cursor among them.
    let all = model.shown().nodes.len();
    let fits = usize::from(area.width).saturating_sub(2 + label) / COLUMN;
    let columns: Vec<Slot> = (0..all).map(Slot).skip(window(all, fits.min(all), model.cursor)).take(fits).collect();
    let said = match all - columns.len() {
        0 => " row hears column, ms ago ".to_owned(),
        more => format!(" row hears column; {more} of {all} columns not shown "),
    };
    let inner = framed(model, Pane::Links, vec![span(&model.skin, Tone::Dim, said)], area, buf);
    let mut head = " ".repeat(label);
    for node in columns.iter().filter_map(|slot| model.shown().node(*slot)) {
        head.push_str(&fit(&node.name, COLUMN - 1, true));
        head.push(' ');
    }
    put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, head)));
    let feet = feet(model);
    let room = usize::from(inner.height).saturating_sub(1);
    let rows = model.shown().nodes.len().min(room);
    let start = window(model.shown().nodes.len(), rows, model.cursor);
    for (at, (slot, node)) in model.shown().slots().skip(start).take(rows).enumerate() {
        let cursor = if slot.0 == model.cursor && model.focus == Pane::Links { model.skin.glyphs.cursor } else { " " };
        let mut line = vec![span(&model.skin, Tone::Title, format!("{cursor}{}", fit(&node.name, label - 1, false)))];
        for other in columns.iter().filter_map(|slot| model.shown().node(*slot)) {
            let (text, tone) = link(model, picture, node, other);
            line.push(span(&model.skin, tone, fit(&text, COLUMN - 1, true)));
            line.push(Span::raw(" "));
        }
        put(buf, inner, at + 1, &Line::from(line));
    }
    // Below the matrix, as far as there is room: the votes, with a free line before them, and the legend.
    let from = usize::from(inner.height).saturating_sub(feet.len()).max(rows + 2);
    // A large screen has the election beside this.
    let beside = buf.area.width >= super::WIDTH_LARGE && !model.zoom;
    let votes =
        if beside { Vec::new() } else { votes::lines(model, picture, label, usize::from(inner.width), &columns) };
    for (at, line) in votes.iter().take(from.saturating_sub(rows + 3)).enumerate() {
        put(buf, inner, rows + 2 + at, line);
    }
    for (at, line) in feet.iter().enumerate() {
        put(buf, inner, from + at, line);
    }
}

fn link(model: &Model, picture: &Picture, node: &Node, other: &Node) -> (String, Tone) {
    let glyphs = &model.skin.glyphs;
    let (Some(id), Some(far)) = (node.id, other.id) else { return ("?".into(), Tone::Dim) };
    if id == far {
        return (glyphs.own.into(), Tone::Dim);
    }
    if model.shown().gone(node) || model.shown().gone(other) {
        return ("gone".into(), Tone::Dim);
    }
    let down = (glyphs.down.to_owned(), Tone::Bad);
    let Some(peer) = node.word().filter(|_| node.live()).and_then(|s| s.peer(far)) else {
        return if picture.up(id) { ("?".into(), Tone::Dim) } else { down };
    };
    match (peer.link, peer.heard_ms) {
        (Link::Cut, _) => (glyphs.cut.into(), Tone::Bad),
        (Link::Down, _) => down,
        (Link::Up | Link::Unknown, Some(ms)) if ms <= SLOW_MS => (ms.to_string(), Tone::Plain),
        (Link::Up | Link::Unknown, heard) => {
            let leads = |n: &Node| {
                picture.leader.and_then(|slot| model.shown().node(slot)?.id).is_some_and(|id| n.id == Some(id))
            };
            match heard {
                Some(ms) if leads(node) || leads(other) => (format!("!{}", span_ms(ms)), Tone::Warn),
                Some(_) | None => ("idle".into(), Tone::Dim),
            }
        }
    }
}

fn feet(model: &Model) -> Vec<Line<'static>> {
    let glyphs = &model.skin.glyphs;
    let legend = format!(" {} cut   {} down   ! slow   ? not known", glyphs.cut, glyphs.down);
    let dropped = model.shown().nodes.iter().fold(0_u64, |sum, n| sum.saturating_add(n.dropped));
    let tone = if dropped > 0 { Tone::Warn } else { Tone::Dim };
    vec![
        Line::from(span(&model.skin, Tone::Dim, legend)),
        Line::from(span(&model.skin, tone, format!(" {dropped} events dropped on the way here"))),
    ]
}
