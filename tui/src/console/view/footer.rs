//! The two last lines: what the console has to say, and the keys that work here and now.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{put, span};
use crate::console::{keys, model::Model, theme::Tone};

/// The toast; without one, what is under way.
pub(super) fn toast(model: &Model, area: Rect, buf: &mut Buffer) {
    let (tone, text) = match (&model.toast, model.pending.values().next_back()) {
        (Some(toast), _) => (toast.tone, toast.text.clone()),
        (None, Some(what)) => (Tone::Dim, format!("{what} ...")),
        (None, None) => return,
    };
    put(buf, area, 0, &Line::from(span(&model.skin, tone, format!(" {text}"))));
}

pub(super) fn keys(model: &Model, area: Rect, buf: &mut Buffer) {
    let usable = keys::TABLE.iter().filter(|row| row.when.is_none_or(|pane| pane == model.focus));
    let mut line: Vec<Span<'static>> = Vec::new();
    let mut wide = 0;
    for row in usable.filter(|row| !(row.danger && model.read_only)) {
        let Some(word) = row.footer else { continue };
        wide += row.label.len() + word.len() + 3;
        if wide > usize::from(area.width) {
            break;
        }
        line.push(Span::raw(" "));
        line.push(span(&model.skin, Tone::Key, row.label));
        line.push(Span::raw(format!(" {word} ")));
    }
    put(buf, area, 0, &Line::from(line));
}
