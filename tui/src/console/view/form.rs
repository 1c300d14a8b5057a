//! A form, whichever it is: its fields, what is wrong with it, and the command that it stands for as it is filled in.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{popup, put, span};
use crate::console::{
    deed,
    form::{self, Form, Sheet},
    model::Model,
    text::{fit, width, wrap},
    theme::Tone,
};

/// Cells of a label with its space.
const LABEL: usize = 13;

/// Cells of the whole box.
const WIDE: u16 = 74;

pub(super) fn draw(model: &Model, form: &Form, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let spec = form.sheet.spec();
    let count = spec.asks.len();
    let height = u16::try_from(count + 7).unwrap_or(area.height);
    let inner = popup(model, spec.title, WIDE, height, area, buf);
    let wide = usize::from(inner.width);
    // Too low for all: the fields around the one that is filled in stay.
    let room = usize::from(inner.height).saturating_sub(2).min(count);
    let start = super::window(count, room, form.at);
    for at in start..start + room {
        put(buf, inner, 1 + at - start, &field(model, form, at, wide.saturating_sub(LABEL)));
    }
    let names = form::known(model, spec.asks[form.at].known);
    let below = match form.sheet {
        _ if !form.wrong.is_empty() => (Tone::Bad, form.wrong.clone()),
        _ if !names.is_empty() => (Tone::Dim, format!("known: {}", names.join(" "))),
        Sheet::Submit => (Tone::Dim, String::new()),
        Sheet::OneWay | Sheet::Link | Sheet::Disk | Sheet::Pause | Sheet::Clock | Sheet::Add => {
            let words = form.words();
            let same_as = || format!("same as: raftdeck {}", words.join(" "));
            (Tone::Dim, if deed::is_whole(&words) { same_as() } else { String::new() })
        }
    };
    for (at, text) in wrap(&below.1, wide).into_iter().take(2).enumerate() {
        put(buf, inner, 2 + count + at, &Line::from(span(skin, below.0, text)));
    }
    put(buf, inner, 4 + count, &Line::from(span(skin, Tone::Dim, "enter: go on   tab: next field   esc: cancel")));
}

fn field(model: &Model, form: &Form, at: usize, room: usize) -> Line<'static> {
    let skin = &model.skin;
    let (ask, field, here) = (&form.sheet.spec().asks[at], &form.fields[at], at == form.at);
    let (before, after) = field.halves();
    let mut line = vec![span(skin, if here { Tone::Key } else { Tone::Dim }, format!("{:<LABEL$}", ask.label))];
    // What is left of the cursor scrolls out when the field is full.
    let mut shown = before;
    while width(&shown) >= room && !shown.is_empty() {
        shown.remove(0);
    }
    let mut used = width(&shown);
    line.push(Span::raw(shown));
    if here {
        let mut rest = after.chars();
        line.push(span(skin, Tone::Cursor, rest.next().map_or(" ".to_owned(), String::from)));
        line.push(Span::raw(rest.collect::<String>()));
    } else {
        line.push(Span::raw(after.clone()));
    }
    used += width(&after).max(1);
    let aside = match form.completion(model) {
        Some(whole) if here => format!("  {whole} (right: take)"),
        Some(_) | None if field.text().is_empty() => format!(" {}", ask.hint),
        Some(_) | None => String::new(),
    };
    line.push(span(skin, Tone::Dim, fit(&aside, width(&aside).min(room.saturating_sub(used)), false)));
    Line::from(line)
}
