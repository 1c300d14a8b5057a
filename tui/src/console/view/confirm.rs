//! The question before something is taken away: what it does to the quorum, now and after.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{popup, put, span};
use crate::console::{
    model::{Act, Button, Confirm, Model},
    text::{width, wrap},
    theme::Tone,
};

/// Cells of the two buttons with the space behind each.
const BUTTONS: usize = 21;

/// Cells of the words "now" and "after" with their space.
const LABEL: usize = 7;

pub(super) fn draw(model: &Model, confirm: &Confirm, area: Rect, buf: &mut Buffer) {
    let effect = confirm.act.effect(model);
    let skin = &model.skin;
    let wide = area.width.min(84);
    let room = usize::from(wide).saturating_sub(4 + LABEL);
    let mut lines: Vec<Line<'_>> = vec![Line::default()];
    for text in wrap(&effect.question, room + LABEL) {
        lines.push(Line::from(span(skin, Tone::Title, text)));
    }
    lines.push(Line::default());
    let after = if effect.quorum_lost { Tone::Bad } else { Tone::Good };
    let note = if effect.hits_leader && !effect.quorum_lost { Tone::Warn } else { after };
    for (label, text, tone) in
        [("now", &effect.now, Tone::Plain), ("after", &effect.after, after), ("", &effect.note, note)]
    {
        for (at, text) in wrap(text, room).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            lines.push(Line::from(vec![span(skin, Tone::Dim, format!("{label:<LABEL$}")), span(skin, tone, text)]));
        }
    }
    for (at, text) in wrap(&effect.undo, room).into_iter().enumerate() {
        let label = if at == 0 { "undo" } else { "" };
        lines.push(Line::from(span(skin, Tone::Dim, format!("{label:<LABEL$}{text}"))));
    }
    lines.push(Line::default());
    for (at, text) in wrap(&effect.same_as, room).into_iter().enumerate() {
        let label = if at == 0 { "same as: " } else { "         " };
        lines.push(Line::from(span(skin, Tone::Dim, format!("{label}{text}"))));
    }
    if matches!(confirm.act, Act::Cut { .. }) {
        lines.push(Line::from(span(skin, Tone::Dim, "up, down: how long it lasts")));
    }
    lines.push(Line::default());
    let chosen = confirm.chosen(&effect);
    let mut last = Vec::new();
    if effect.quorum_lost {
        last.extend([
            Span::raw("type "),
            span(skin, Tone::Bad, effect.phrase.clone()),
            Span::raw(" to go on: "),
            span(skin, Tone::Title, confirm.typed.text()),
            span(skin, Tone::Cursor, " "),
            Span::raw("  "),
        ]);
    }
    let used: usize = last.iter().map(|s| width(&s.content)).sum();
    last.push(Span::raw(" ".repeat((room + LABEL).saturating_sub(used + BUTTONS))));
    for (button, text) in [(Button::Cancel, "[ Cancel ]"), (Button::Go, "[ Do it ]")] {
        let tone = if chosen == Some(button) { Tone::Cursor } else { Tone::Plain };
        last.extend([span(skin, tone, text), Span::raw(" ")]);
    }
    lines.push(Line::from(last));
    let height = u16::try_from(lines.len() + 2).unwrap_or(area.height);
    let inner = popup(model, "Confirm", wide, height, area, buf);
    // Too low for all: the last line, with the buttons, stays.
    let cut = lines.len().saturating_sub(usize::from(inner.height));
    for (at, line) in lines.iter().skip(cut).enumerate() {
        put(buf, inner, at, line);
    }
}
