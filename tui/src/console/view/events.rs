//! What happened, newest at the bottom, and under it what is checked all the time.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{framed, put, span};
use crate::console::{
    events::View,
    model::{Model, Pane},
    text::{count, fit, minute_ms},
    theme::Tone,
};

/// Below this height the checks are only shown when one is broken.
const CHECKS_FROM: u16 = 9;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let lines = model.events.lines();
    let newer = model.events.newer(&lines);
    let skin = &model.skin;
    let form = if model.events.every { "every observation" } else { "story" };
    let state = match model.events.view {
        View::Follow => span(skin, Tone::Dim, format!(" {form}, follows {} ", skin.glyphs.live)),
        View::Held(_) => span(skin, Tone::Warn, format!(" {form}, held: +{newer} new (G) ")),
    };
    let inner = framed(model, Pane::Events, vec![state], area, buf);
    let checks = checks(model, usize::from(inner.width));
    let checked = if area.height >= CHECKS_FROM || !model.checks.broken.is_empty() { checks.len() } else { 0 };
    let rows = usize::from(inner.height).saturating_sub(checked);
    if model.events.is_empty() {
        put(
            buf,
            inner,
            0,
            &Line::from(span(skin, Tone::Dim, " nothing happened yet: k kills a node, x cuts links, s submits a job")),
        );
    }
    let end = lines.len() - newer;
    for (at, line) in lines[end.saturating_sub(rows)..end].iter().enumerate() {
        let text = fit(&line.text, usize::from(inner.width).saturating_sub(11), false);
        let stamp = span(skin, Tone::Dim, format!("{} ", minute_ms(line.stamp.at_ms)));
        put(buf, inner, at, &Line::from(vec![stamp, span(skin, line.tone, text.trim_end().to_owned())]));
    }
    for (at, line) in checks.iter().take(checked).enumerate() {
        put(buf, inner, rows + at, line);
    }
}

fn checks(model: &Model, room: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let checks = &model.checks;
    if checks.broken.is_empty() {
        let good = skin.glyphs.good;
        let ok = |text: String| [span(skin, Tone::Good, good), Span::raw(format!(" {text}  "))];
        let seen = checks.terms_seen();
        let mut first = vec![span(skin, Tone::Dim, "checks ")];
        first.extend(ok(format!("one leader a term ({seen} seen)")));
        first.extend(ok("commit never falls".into()));
        let mut second = vec![Span::raw("       ")];
        second.extend(ok(format!("same state at same index ({} pairs)", count(checks.states_agreed))));
        second.extend(ok("committed logs agree".into()));
        return vec![Line::from(first), Line::from(second)];
    }
    let bad = skin.glyphs.bad;
    let evidence = checks.broken.iter().take(2);
    evidence.map(|e| Line::from(span(skin, Tone::Bad, fit(&format!("{bad} BROKEN {e}"), room, false)))).collect()
}
