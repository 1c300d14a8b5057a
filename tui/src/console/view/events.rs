//! What happened, newest at the bottom, and under it what is checked all the time.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{framed, put, span};
use crate::console::{
    events::{self, Reading},
    model::{Model, Pane, Source},
    text::{count, fit, minute_ms, wrap},
    theme::Tone,
};

/// Cells of the time in front of a line.
const STAMP: usize = 10;

/// Below this height the checks are only shown when one is broken.
const CHECKS_FROM: u16 = 9;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let lines = model.shown().wanted(model.every, model.filter());
    let newer = model.reading.newer(&lines);
    let skin = &model.skin;
    let form = if model.every { "every observation" } else { "story" };
    let wanted = model.filter().map_or(String::new(), |f| format!(" /{}", f.text));
    let state = match model.reading {
        Reading::Follow => span(skin, Tone::Dim, format!("{wanted} {form}, follows {} ", skin.glyphs.live)),
        Reading::Held(_) => span(skin, Tone::Warn, format!("{wanted} {form}, held: +{newer} new (G) ")),
    };
    let inner = framed(model, Pane::Events, vec![state], area, buf);
    let checks = checks(model, usize::from(inner.width));
    let checked = if area.height >= CHECKS_FROM || !model.shown().checks.broken.is_empty() { checks.len() } else { 0 };
    let rows = usize::from(inner.height).saturating_sub(checked);
    if lines.is_empty() && model.filter().is_some() {
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, " no event fits the filter; esc takes it away")));
    } else if model.shown().events.is_empty() {
        let hint = match model.shown().live() {
            0 => " no node answers yet, the console keeps trying; raftdeck up starts nodes",
            _ if model.read_only => " nothing happened yet",
            _ => match model.source {
                Source::Cluster => " nothing happened yet: K kills a node, x cuts links, s submits a job",
                Source::Recording | Source::Simulation(_) => " nothing happened yet",
            },
        };
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, hint)));
    }
    let end = lines.len() - newer;
    let told = rows_of(model, &lines[..end], usize::from(inner.width), rows);
    for (at, line) in told.iter().enumerate() {
        put(buf, inner, at, line);
    }
    for (at, line) in checks.iter().take(checked).enumerate() {
        put(buf, inner, rows + at, line);
    }
}

/// The newest lines, wrapped, as the rows that fit; a long line that fits only in part shows its end.
fn rows_of(model: &Model, lines: &[events::Line], room: usize, rows: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let mut up: Vec<Line<'static>> = Vec::new();
    for line in lines.iter().rev() {
        if up.len() >= rows {
            break;
        }
        let mut told: Vec<Line<'static>> = Vec::new();
        for (at, text) in wrap(&line.text, room.saturating_sub(STAMP)).into_iter().enumerate() {
            let stamp = if at == 0 { minute_ms(line.stamp.at_ms) } else { String::new() };
            told.push(Line::from(vec![span(skin, Tone::Dim, format!("{stamp:<STAMP$}")), span(skin, line.tone, text)]));
        }
        up.extend(told.into_iter().rev());
    }
    up.truncate(rows);
    up.reverse();
    up
}

/// What is checked, and over how much. A check that has compared nothing yet is not "good".
fn checks(model: &Model, room: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let checks = &model.shown().checks;
    if checks.broken.is_empty() {
        let check = |compared: u64, text: String| {
            let (tone, mark) = if compared > 0 { (Tone::Good, skin.glyphs.good) } else { (Tone::Dim, "-") };
            [span(skin, tone, mark), Span::raw(format!(" {text}  "))]
        };
        let (terms, commits, entries) = (checks.terms_seen(), checks.commits_compared, checks.entries_agreed);
        let states = checks.states_agreed;
        let mut first = vec![span(skin, Tone::Dim, "checks ")];
        first.extend(check(terms, format!("one leader a term ({})", count(terms))));
        first.extend(check(commits, "commit never falls".into()));
        let mut second = vec![Span::raw("       ")];
        second.extend(check(states, format!("same index, same state ({})", count(states))));
        second.extend(check(entries, format!("committed logs agree ({})", count(entries))));
        return vec![Line::from(first), Line::from(second)];
    }
    let bad = skin.glyphs.bad;
    let evidence = checks.broken.iter().take(2);
    evidence.map(|e| Line::from(span(skin, Tone::Bad, fit(&format!("{bad} BROKEN {e}"), room, false)))).collect()
}
