//! The form that submits a job.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{popup, put, span};
use crate::console::{
    dialog::{FIELD_NAMES, completion},
    model::{Form, Model},
    text::width,
    theme::Tone,
};

pub(super) fn draw(model: &Model, form: &Form, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let inner = popup(model, "Submit a job", 70, 9, area, buf);
    let room = usize::from(inner.width).saturating_sub(12);
    for (at, (field, name)) in form.fields.iter().zip(FIELD_NAMES).enumerate() {
        let here = at == form.at;
        let (before, after) = field.halves();
        let mut line = vec![span(skin, if here { Tone::Key } else { Tone::Dim }, format!("{name:<10}"))];
        // What is left of the cursor scrolls out when the field is full.
        let mut shown = before;
        while width(&shown) >= room && !shown.is_empty() {
            shown.remove(0);
        }
        line.push(Span::raw(shown));
        if here {
            let mut rest = after.chars();
            let under = rest.next().map_or(" ".to_owned(), String::from);
            line.push(span(skin, Tone::Cursor, under));
            line.push(Span::raw(rest.collect::<String>()));
        } else {
            line.push(Span::raw(after));
        }
        match (at, completion(form, &model.handlers)) {
            (0, Some(whole)) if here => {
                line.push(span(skin, Tone::Dim, format!("  {whole} (right: take)")));
            }
            (2, _) if field.text().is_empty() => line.push(span(skin, Tone::Dim, " default")),
            _ => {}
        }
        put(buf, inner, 1 + at, &Line::from(line));
    }
    let known = format!("known: {}", model.handlers.join(" "));
    if !model.handlers.is_empty() {
        put(buf, inner, 5, &Line::from(span(skin, Tone::Dim, known)));
    }
    put(buf, inner, 6, &Line::from(span(skin, Tone::Dim, "enter: submit   tab: next field   esc: cancel")));
}
