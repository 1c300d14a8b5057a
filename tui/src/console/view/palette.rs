//! The list of `:` and `?`: what can be done, by name, with its key; and for `?` the marks of the screen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{popup, put, span, timeline, window};
use crate::console::{
    model::Model,
    palette::{self, Palette, WITH_WORD},
    text::{fit, wrap},
    theme::Tone,
};

/// Cells of a mark with its space.
const MARK: usize = 12;

pub(super) fn draw(model: &Model, palette: &Palette, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let title =
        if palette.help { "Keys (type to find, enter runs, esc closes)" } else { "Command (tab takes the name)" };
    let height = if palette.help { area.height } else { area.height.min(16) };
    let inner = popup(model, title, 92, height, area, buf);
    let (before, after) = palette.field.halves();
    let typed = vec![
        span(skin, Tone::Key, ":"),
        Span::raw(before),
        span(skin, Tone::Cursor, after.chars().next().map_or(" ".to_owned(), String::from)),
        Span::raw(after.chars().skip(1).collect::<String>()),
    ];
    put(buf, inner, 0, &Line::from(typed));
    let wide = usize::from(inner.width);
    let foot = if palette.help { marks(model, wide) } else { words(model, wide) };
    let feet = if usize::from(inner.height) > foot.len() + 8 { foot.len() } else { 0 };
    let rows = palette::rows(model, palette);
    let room = usize::from(inner.height).saturating_sub(1 + feet);
    let highlighted = palette::highlighted(model, palette);
    let start = window(rows.len(), room, highlighted.unwrap_or(palette.at));
    for (at, row) in rows.iter().enumerate().skip(start).take(room) {
        let label = if palette.help { row.labels() } else { row.label() };
        let mut line = vec![span(skin, Tone::Key, fit(&label, 12, false))];
        line.push(span(skin, Tone::Title, fit(row.binding.name, 14, false)));
        line.push(Span::raw(fit(row.binding.help, wide.saturating_sub(26), false)));
        put(buf, inner, 1 + at - start, &Line::from(line));
        if highlighted == Some(at) {
            let y = inner.y + 1 + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
    for (at, line) in foot.iter().take(feet).enumerate() {
        put(buf, inner, usize::from(inner.height) - feet + at, line);
    }
}

fn words(model: &Model, wide: usize) -> Vec<Line<'static>> {
    let list = WITH_WORD.map(|(name, _)| name).join(", ");
    let lines = wrap(&format!("with a word: {list}"), wide);
    let dim = lines.into_iter().map(|line| Line::from(span(&model.skin, Tone::Dim, line)));
    std::iter::once(Line::default()).chain(dim).collect()
}

fn marks(model: &Model, wide: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let glyphs = &skin.glyphs;
    let rows: [(&str, String); 7] = [
        ("[7] (7)", "entry of term 7: committed; stored only".to_owned()),
        ("!6!", "differs from the leader's entry at that index".into()),
        ("STALE ldr", "leads in an old term, or reaches no majority".into()),
        ("idle", "open, but two followers have nothing to say to each other".into()),
        ("unseen ?", "not reached by this console, but heard by other nodes".into()),
        (glyphs.leader, format!("leader   {} down   {} cut   {} missing", glyphs.down, glyphs.cut, glyphs.missing)),
        ("timeline", timeline::legend().into()),
    ];
    let lines = rows.into_iter().flat_map(|(mark, means)| {
        let line = |(at, means)| {
            let mark = if at == 0 { mark } else { "" };
            Line::from(vec![span(skin, Tone::Title, fit(mark, MARK, false)), Span::raw(means)])
        };
        wrap(&means, wide.saturating_sub(MARK)).into_iter().enumerate().map(line).collect::<Vec<_>>()
    });
    std::iter::once(Line::default()).chain(lines).collect()
}
