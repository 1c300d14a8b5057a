//! What a node writes to its log, followed; with the lines marked that have what is searched for. Where the console does
//! not see the node's files, what the node observed stands in for it.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{boxed, put, span};
use crate::console::{
    filter::Filter,
    model::{Model, Source},
    msg::Slot,
    text::{fit, minute_ms},
    theme::Tone,
};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let log = &model.browse.log;
    let name = model.shown().node(Slot(model.cursor)).map_or("?", |n| &n.name);
    let search = model.filter().map_or(String::new(), |f| format!("/{}  ", f.text));
    let state = match log.held {
        None => format!("{search}follows {} ", skin.glyphs.live),
        Some(at) => format!("{search}held at line {} of {} (G) ", at + 1, log.lines.len()),
    };
    if !log.why.is_empty() || !matches!(model.source, Source::Cluster) {
        observed(model, name, area, buf);
        return;
    }
    let inner = boxed(model, &format!("Log of {name}"), &state, area, buf);
    if log.lines.is_empty() {
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, " nothing is written there yet")));
    }
    let rows = usize::from(inner.height);
    let end = log.held.map_or(log.lines.len(), |at| (at + 1 + rows / 2).max(rows).min(log.lines.len()));
    let start = end.saturating_sub(rows);
    for (at, text) in log.lines[start..end].iter().enumerate() {
        let hit = model.filter().is_some_and(|f| hits(f, text));
        let bad = text.contains("ERROR") || text.contains("error:");
        let tone = match (hit, bad, text.contains("WARN")) {
            (true, _, _) => Tone::You,
            (_, true, _) => Tone::Bad,
            (_, _, true) => Tone::Warn,
            _ => Tone::Plain,
        };
        put(buf, inner, at, &Line::from(span(skin, tone, fit(text, usize::from(inner.width), false))));
        if log.held == Some(start + at) {
            let y = inner.y + at as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
}

fn hits(filter: &Filter, text: &str) -> bool {
    filter.wants(text, |_| None)
}

fn observed(model: &Model, name: &str, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let why = if model.browse.log.why.is_empty() { "a recording has no logs" } else { &model.browse.log.why };
    let inner = boxed(model, &format!("What {name} observed"), &format!("{why} "), area, buf);
    let own = format!("{name} ");
    let lines = model.shown().wanted(true, model.filter());
    let lines: Vec<_> = lines.iter().filter(|line| line.text.starts_with(&own)).collect();
    let start = lines.len().saturating_sub(usize::from(inner.height));
    for (at, line) in lines[start..].iter().enumerate() {
        let text = fit(&line.text, usize::from(inner.width).saturating_sub(11), false);
        let stamp = span(skin, Tone::Dim, format!(" {} ", minute_ms(line.stamp.at_ms)));
        put(buf, inner, at, &Line::from(vec![stamp, span(skin, line.tone, text)]));
    }
}
