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

/// The keys. Where not all have room, the last two (help, quit) stay.
pub(super) fn keys(model: &Model, area: Rect, buf: &mut Buffer) {
    let usable = keys::TABLE.iter().filter(|row| row.when.is_none_or(|pane| pane == model.focus));
    let usable = usable.filter(|row| !(row.danger && model.read_only));
    let mut rows: Vec<(&str, &str)> = usable.filter_map(|row| Some((row.label, row.footer?))).collect();
    let wide = |rows: &[(&str, &str)], gap: usize| -> usize {
        rows.iter().map(|(label, word)| label.len() + word.len() + 1 + gap).sum()
    };
    let room = usize::from(area.width);
    let gap = if wide(&rows, 2) <= room { 2 } else { 1 };
    while rows.len() > 2 && wide(&rows, gap) > room {
        rows.remove(rows.len() - 3);
    }
    let spans = rows.into_iter().flat_map(|(label, word)| {
        [Span::raw(" "), span(&model.skin, Tone::Key, label), Span::raw(format!(" {word}{}", " ".repeat(gap - 1)))]
    });
    put(buf, area, 0, &Line::from(spans.collect::<Vec<_>>()));
}
