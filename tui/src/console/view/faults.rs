//! Faults: what is in force and for how long, and what each one cost, as the nodes measured it.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, rows, span, window};
use crate::console::{
    browse::{self, InForce},
    model::{Model, View},
    msg::NEVER,
    outage::Incident,
    text::{clock, fit, span_ms},
    theme::Tone,
};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let active = browse::faults(model.shown());
    let height = u16::try_from(active.len().max(1) + 2).unwrap_or(area.height).min(area.height / 2);
    let [upper, lower] = rows(area, [height, area.height - height]);
    let inner = boxed(model, "In force", "e: heal this one  H: heal all ", upper, buf);
    if active.is_empty() {
        put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, " no fault is in force")));
    }
    let cursor = model.browse.row(View::Faults);
    let room = usize::from(inner.height);
    let start = window(active.len(), room, cursor);
    for (at, InForce { what, left_ms, .. }) in active.iter().enumerate().skip(start).take(room) {
        let left = match *left_ms {
            NEVER => "until it is healed".into(),
            left_ms => format!("ends by itself in {}", span_ms(left_ms)),
        };
        let widest = usize::from(inner.width).saturating_sub(31).max(39);
        let mark = if at == cursor { model.skin.glyphs.cursor } else { " " };
        let line = vec![
            Span::raw(mark),
            span(&model.skin, Tone::Bad, format!("{} ", model.skin.glyphs.cut)),
            Span::raw(fit(what, what.chars().count().clamp(39, widest), false) + " "),
            span(&model.skin, Tone::Dim, left),
        ];
        put(buf, inner, at - start, &Line::from(line));
        if at == cursor {
            let y = inner.y + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), model.skin.style(Tone::Cursor));
        }
    }
    measured(model, cursor.checked_sub(active.len()), lower, buf);
}

/// Its causes; and that what is measured is not its effect alone.
fn what(incident: &Incident) -> String {
    let overlaps = if incident.overlaps { "overlaps another: " } else { "" };
    format!("{overlaps}{}", incident.causes.join("; "))
}

/// The incidents. The cursor is in them only behind the faults in force.
fn measured(model: &Model, cursor: Option<usize>, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let incidents: Vec<&Incident> = model.shown().outages.newest().collect();
    let inner = boxed(model, "Measured, by the nodes' own clocks", "enter: go there ", area, buf);
    if incidents.is_empty() {
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, " nothing has gone wrong since this console looks")));
        return;
    }
    let wide = usize::from(inner.width);
    let head = format!(
        "  {:<9}{:>10}{:>9}{:>10}{:>9}{:>9}  what",
        "at", "no leader", "stalled", "recovered", "refused", "over"
    );
    put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, head.clone())));
    let rows = usize::from(inner.height).saturating_sub(2);
    let cursor = cursor.map(|at| at.min(incidents.len() - 1));
    let start = window(incidents.len(), rows, cursor.unwrap_or_default());
    for (at, incident) in incidents.iter().enumerate().skip(start).take(rows) {
        let maybe = |ms: Option<u64>| ms.map_or("-".to_owned(), span_ms);
        let leaderless = if incident.leaderless_ms == 0 { "none".into() } else { span_ms(incident.leaderless_ms) };
        let hurt = if incident.leaderless_ms > 0 { Tone::Warn } else { Tone::Good };
        let over = incident.over_ms.map_or("not yet".into(), span_ms);
        let line = vec![
            Span::raw(format!(
                "{} {:<9}",
                if Some(at) == cursor { skin.glyphs.cursor } else { " " },
                clock(incident.at_ms)
            )),
            span(skin, hurt, format!("{leaderless:>10}")),
            Span::raw(format!("{:>9}{:>10}", maybe(incident.stall_ms), maybe(incident.recovered_ms))),
            Span::raw(format!("{:>9}{over:>9}  ", incident.refused)),
            span(skin, Tone::Title, fit(&what(incident), wide.saturating_sub(head.len() - 4), false)),
        ];
        put(buf, inner, 1 + at - start, &Line::from(line));
        if Some(at) == cursor {
            let y = inner.y + 1 + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
    let legend =
        " stalled: longest time between two commits   refused: submits of this console   -: nothing was committed";
    put(buf, inner, usize::from(inner.height).saturating_sub(1), &Line::from(span(skin, Tone::Dim, legend)));
}
