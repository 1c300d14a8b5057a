//! The drawing: a function of the model, and of nothing else.
//!
//! The text of a cell carries the fact; its colour only repeats it. Every pane takes the area it is given, however small:
//! all areas are cut to the screen's, and nothing is drawn outside of them.

mod confirm;
mod election;
mod events;
mod faults;
mod footer;
mod form;
mod header;
mod jobs;
mod links;
mod log;
mod logs;
mod messages;
mod nodes;
mod palette;
mod queues;
mod small;
mod timeline;
mod votes;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Widget as _},
};

use super::{
    model::{Dialog, Model, Pane, View},
    msg::Slot,
    picture::Picture,
    text::{fit, width},
    theme::{Skin, Tone},
};

/// Below this only the essentials are said.
const WIDTH_MIN: u16 = 60;
const HEIGHT_MIN: u16 = 16;

/// From this width on, links and events stand side by side.
const WIDTH_WIDE: u16 = 110;

/// From this width on, the election stands beside them.
const WIDTH_LARGE: u16 = 170;

/// From this height on, the timeline is always there.
const HEIGHT_TAPE: u16 = 36;

/// Whether a terminal of this size has room for the essentials only. What would be asked could not be read there.
pub(crate) fn is_too_small(columns: u16, rows: u16) -> bool {
    columns < WIDTH_MIN || rows < HEIGHT_MIN
}

/// Draws everything.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) {
    render(model, frame.area(), frame.buffer_mut());
}

/// Draws everything into a buffer.
pub(crate) fn render(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let picture = Picture::of(model.shown());
    if is_too_small(area.width, area.height) {
        small::draw(model, &picture, area, buf);
        return;
    }
    let [top, body, toast, bottom] = rows(area, [1, area.height - 3, 1, 1]);
    header::draw(model, &picture, top, buf);
    match model.view {
        View::Cluster => panes(model, &picture, body, buf),
        view => list(view, model, &picture, body, buf),
    }
    footer::toast(model, toast, buf);
    footer::keys(model, bottom, buf);
    match &model.dialog {
        Some(Dialog::Palette(palette)) => palette::draw(model, palette, body, buf),
        Some(Dialog::Confirm(confirm)) => confirm::draw(model, confirm, body, buf),
        Some(Dialog::Form(form)) => form::draw(model, form, body, buf),
        Some(Dialog::Filter(_)) | None => {}
    }
}

/// Three layouts: narrow (one pane under the logs), wide (two side by side), and large (with the election between them). A
/// high screen has the timeline; while the past is shown, it is always there to find one's way.
fn panes(model: &Model, picture: &Picture, body: Rect, buf: &mut Buffer) {
    if model.zoom {
        pane(model.focus, model, picture, body, buf);
        return;
    }
    let tape = if body.height >= HEIGHT_TAPE { 5 } else { 2 * u16::from(model.past.is_some()) };
    let whole = body;
    let body = Rect { height: body.height - tape, ..body };
    let count = u16::try_from(model.shown().nodes.len()).unwrap_or(u16::MAX / 2);
    let nodes = (count + 3).min(whole.height * 2 / 5).max(5).min(body.height);
    let rest = body.height.saturating_sub(nodes);
    let ruler = u16::from(body.height >= 26);
    let logs = (count + 2 + ruler).min(rest / 2 + 1);
    // Too low for both: the focused one of the two.
    let logs = match (rest >= logs + 5, model.focus) {
        (true, _) => logs,
        (false, Pane::Logs) => rest,
        (false, Pane::Nodes | Pane::Links | Pane::Events) => 0,
    };
    let [top, middle, lower, last] = rows(whole, [nodes, logs, rest - logs, tape]);
    pane(Pane::Nodes, model, picture, top, buf);
    pane(Pane::Logs, model, picture, middle, buf);
    timeline::draw(model, last, buf);
    if body.width >= WIDTH_WIDE {
        let wide = links::width(model).min(body.width / 2);
        let left = Rect { width: wide, ..lower };
        let mut right = Rect { x: lower.x + wide, width: lower.width - wide, ..lower };
        if body.width >= WIDTH_LARGE {
            let votes = Rect { width: right.width * 2 / 5, ..right };
            right = Rect { x: right.x + votes.width, width: right.width - votes.width, ..right };
            election::draw(model, picture, votes, buf);
        }
        pane(Pane::Links, model, picture, left, buf);
        pane(Pane::Events, model, picture, right, buf);
    } else {
        let which = if model.focus == Pane::Links { Pane::Links } else { Pane::Events };
        pane(which, model, picture, lower, buf);
    }
}

/// A view that is one list; while the past is shown, with the timeline below.
fn list(view: View, model: &Model, picture: &Picture, body: Rect, buf: &mut Buffer) {
    let tape = 2 * u16::from(model.past.is_some());
    let [upper, lower] = rows(body, [body.height - tape, tape]);
    match view {
        View::Messages => messages::draw(model, picture, upper, buf),
        View::Election => election::draw(model, picture, upper, buf),
        View::Jobs => jobs::list(model, upper, buf),
        View::Job => jobs::detail(model, upper, buf),
        View::Queues => queues::draw(model, upper, buf),
        View::Log => log::draw(model, upper, buf),
        View::Faults => faults::draw(model, upper, buf),
        View::Cluster => {}
    }
    timeline::draw(model, lower, buf);
}

fn pane(which: Pane, model: &Model, picture: &Picture, area: Rect, buf: &mut Buffer) {
    match which {
        Pane::Nodes => nodes::draw(model, picture, area, buf),
        Pane::Logs => logs::draw(model, picture, area, buf),
        Pane::Links => links::draw(model, picture, area, buf),
        Pane::Events => events::draw(model, area, buf),
    }
}

/// Cuts an area into rows of these heights, from the top.
fn rows<const N: usize>(area: Rect, heights: [u16; N]) -> [Rect; N] {
    let mut y = area.y;
    heights.map(|height| {
        let row = Rect { y, height, ..area }.intersection(area);
        y = y.saturating_add(height);
        row
    })
}

/// Puts a line into a row of an area, if it is there.
fn put(buf: &mut Buffer, area: Rect, row: usize, line: &Line<'_>) {
    let area = area.intersection(buf.area);
    if let Ok(row) = u16::try_from(row)
        && row < area.height
    {
        buf.set_line(area.x, area.y + row, line, area.width);
    }
}

/// Draws the frame of a pane and gives back what is inside.
fn framed(model: &Model, which: Pane, right: Vec<Span<'_>>, area: Rect, buf: &mut Buffer) -> Rect {
    let tone = if model.focus == which { Tone::Focus } else { Tone::Dim };
    let title = if model.focus == which { Tone::Focus } else { Tone::Title };
    let title = Line::from(vec![Span::raw(" "), span(&model.skin, title, which.title()), Span::raw(" ")]);
    let room = usize::from(area.width).saturating_sub(title.width() + 4);
    let mut block =
        Block::bordered().border_set(model.skin.glyphs.border).border_style(model.skin.style(tone)).title(title);
    let right = Line::from(right);
    if right.width() > 0 && right.width() <= room {
        block = block.title(right.right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// Draws the frame of a view and gives back what is inside.
fn boxed(model: &Model, title: &str, right: &str, area: Rect, buf: &mut Buffer) -> Rect {
    let skin = &model.skin;
    let room = usize::from(area.width).saturating_sub(5);
    // What is shown of the list matters more than the words about it.
    let short = title.split("  ").next().unwrap_or(title);
    let title = if width(title) + width(right) + 3 <= room { title } else { short };
    let right = fit(right, width(right).min(room.saturating_sub(width(title) + 3)), false);
    let mut block = Block::bordered().border_set(skin.glyphs.border).border_style(skin.style(Tone::Dim));
    block = block.title(Line::from(span(skin, Tone::Focus, format!(" {title} "))));
    if !right.is_empty() {
        block = block.title(Line::from(span(skin, Tone::Dim, format!(" {right}"))).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// Draws an empty box in the middle, over what is there, and gives back what is inside.
fn popup(model: &Model, title: &str, width: u16, height: u16, area: Rect, buf: &mut Buffer) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let area = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(area, buf);
    let block = Block::bordered()
        .border_set(model.skin.glyphs.border)
        .border_style(model.skin.style(Tone::Focus))
        .title(Line::from(span(&model.skin, Tone::Focus, format!(" {title} "))));
    let inner = block.inner(area);
    block.render(area, buf);
    Rect { x: inner.x + 1.min(inner.width), width: inner.width.saturating_sub(2), ..inner }
}

fn span<'a>(skin: &Skin, tone: Tone, text: impl Into<std::borrow::Cow<'a, str>>) -> Span<'a> {
    Span::styled(text, skin.style(tone))
}

/// The nodes that have room in so many rows, in the chosen order, the one under the cursor among them.
fn listed(model: &Model, picture: &Picture, rows: usize) -> Vec<Slot> {
    let order = model.order.of(model.shown(), picture);
    let at = order.iter().position(|slot| slot.0 == model.cursor).unwrap_or_default();
    let start = window(order.len(), rows, at);
    order.into_iter().skip(start).take(rows).collect()
}

/// The first of `rows` rows to show so that the one under the cursor is among them.
fn window(count: usize, rows: usize, cursor: usize) -> usize {
    cursor.saturating_sub(rows / 2).min(count.saturating_sub(rows))
}
