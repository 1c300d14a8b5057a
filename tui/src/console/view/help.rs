//! The keys and the marks, out of the tables that the console itself works with.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{popup, put, span};
use crate::console::{keys, model::Model, text::fit, theme::Tone};

pub(super) fn draw(model: &Model, from: usize, area: Rect, buf: &mut Buffer) {
    let lines = lines(model);
    let height = u16::try_from(lines.len() + 2).unwrap_or(area.height);
    let title = if height > area.height { "Keys (up, down: more; esc: close)" } else { "Keys (esc: close)" };
    let inner = popup(model, title, 76, height, area, buf);
    let from = from.min(lines.len().saturating_sub(usize::from(inner.height)));
    for (at, line) in lines.iter().skip(from).enumerate() {
        put(buf, inner, at, line);
    }
}

fn lines(model: &Model) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let glyphs = &skin.glyphs;
    let mut lines: Vec<Line<'static>> = Vec::new();
    for row in keys::TABLE {
        let off = if row.danger && model.read_only { " (off: read-only)" } else { "" };
        let key = span(skin, Tone::Key, fit(row.label, 11, false));
        lines.push(Line::from(vec![key, Span::raw(format!("{}{off}", row.help))]));
    }
    lines.push(Line::default());
    for (mark, means) in [
        ("[7] (7)", "entry of term 7: committed; stored only".to_owned()),
        ("!6!", "differs from the leader's entry at that index".into()),
        ("STALE ldr", "leads in an old term, or reaches no majority".into()),
        ("idle", "open, but two followers have nothing to say to each other".into()),
        ("unseen ?", "not reached by this console, but heard by other nodes".into()),
        (glyphs.leader, format!("leader   {} down   {} cut   {} missing", glyphs.down, glyphs.cut, glyphs.missing)),
    ] {
        lines.push(Line::from(vec![span(skin, Tone::Title, fit(mark, 11, false)), Span::raw(means)]));
    }
    lines
}
