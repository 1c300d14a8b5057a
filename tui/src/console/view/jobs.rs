//! The jobs, the newest first or in another order; and one of them with its history and its output.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, span, window};
use crate::console::{
    browse,
    jobs::{Job, Step},
    model::{Model, Source, View},
    text::{clock_ms, fit, minute_ms, wrap},
    theme::Tone,
};

/// From this width on, names have more room.
const WIDE: usize = 100;

pub(super) fn list(model: &Model, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let page = model.shown().jobs.as_deref();
    let jobs = browse::jobs(model);
    let more = if page.is_some_and(|p| p.more) { "the newest " } else { "" };
    let of = page.map_or(0, |p| p.jobs.len());
    let wanted = model.filter().map_or(String::new(), |f| format!("/{}  ", f.text));
    let way = if model.browse.jobs_reversed { ", reversed" } else { "" };
    let marked = match model.browse.jobs_marked.len() {
        0 => String::new(),
        n => format!("{n} marked  "),
    };
    let at = page.map_or(String::new(), |p| format!("  as of entry {}", p.applied));
    let by = model.browse.jobs_by.name();
    let state = format!("{marked}{wanted}{} of {more}{of}, by {by}{way}{at} ", jobs.len());
    let inner = boxed(model, "Jobs", &state, area, buf);
    if jobs.is_empty() {
        let hint = match (page, model.filter()) {
            (None, _) => asked(model),
            (Some(_), Some(_)) => " no job fits the filter; esc takes it away",
            (Some(_), None) => " there are no jobs yet: s submits one",
        };
        put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, hint)));
        return;
    }
    let wide = usize::from(inner.width);
    let (queue, handler) = if wide < WIDE { (9, 10) } else { (14, 16) };
    let head = format!(
        "  {:>7} {:<10} {:<queue$} {:<handler$} {:>4} {:>7}  {:<10}",
        "id", "state", "queue", "handler", "prio", "attempt", "submitted"
    );
    put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, head.clone() + "worker, error")));
    let rows = usize::from(inner.height).saturating_sub(1);
    let cursor = model.browse.row(View::Jobs).min(jobs.len() - 1);
    let start = window(jobs.len(), rows, cursor);
    for (at, job) in jobs.iter().enumerate().skip(start).take(rows) {
        let mark = if model.browse.jobs_marked.contains(&job.id) { skin.glyphs.marked } else { " " };
        let pointer = if at == cursor { skin.glyphs.cursor } else { " " };
        let why = if job.error.is_empty() { job.worker.clone() } else { format!("{} {}", job.worker, job.error) };
        let line = vec![
            Span::raw(pointer),
            span(skin, Tone::You, mark),
            Span::raw(format!("{:>7} ", job.id)),
            span(skin, tone(&job.state), fit(&job.state, 10, false)),
            Span::raw(format!(" {} {}", fit(&job.queue, queue, false), fit(&job.handler, handler, false))),
            Span::raw(format!(" {:>4} {:>7}  ", job.priority, format!("{}/{}", job.attempt, job.max_attempts))),
            span(skin, Tone::Dim, fit(&minute_ms(job.submitted_at_ms), 10, false)),
            Span::raw(fit(&why, wide.saturating_sub(head.len()), false)),
        ];
        put(buf, inner, 1 + at - start, &Line::from(line));
        if at == cursor {
            let y = inner.y + 1 + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "running" => Tone::Focus,
        "completed" => Tone::Good,
        "retryable" => Tone::Warn,
        "cancelled" | "discarded" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Why there is nothing to see.
fn asked(model: &Model) -> &'static str {
    match model.source {
        Source::Cluster => " the leader is being asked",
        Source::Recording => " nobody looked at jobs before this moment of the recording",
        Source::Simulation(_) => " a simulation tells of its queues, not of each job",
    }
}

pub(super) fn detail(model: &Model, area: Rect, buf: &mut Buffer) {
    let id = model.browse.job;
    let inner = boxed(model, &format!("Job {id}"), "esc: all jobs   y: copy the command ", area, buf);
    let Some(job) = model.shown().job.as_deref().filter(|job| job.id == id) else {
        put(buf, inner, 0, &Line::from(span(&model.skin, Tone::Dim, asked(model))));
        return;
    };
    let lines = whole(model, job, usize::from(inner.width).saturating_sub(2));
    let room = usize::from(inner.height);
    let from = model.browse.row(View::Job).min(lines.len().saturating_sub(room));
    for (at, line) in lines.iter().skip(from).enumerate() {
        put(buf, inner, at, line);
    }
}

fn whole(model: &Model, job: &Job, room: usize) -> Vec<Line<'static>> {
    let skin = &model.skin;
    let label = |text: &str| span(skin, Tone::Dim, format!(" {text:<10}"));
    let mut lines = vec![Line::from(vec![
        label("state"),
        span(skin, tone(&job.state), job.state.clone()),
        Span::raw(format!("   attempt {} of {}   priority {}", job.attempt, job.max_attempts, job.priority)),
    ])];
    lines.push(Line::from(vec![label("handler"), Span::raw(format!("{}   queue {}", job.handler, job.queue))]));
    let token = job.token.map_or(String::new(), |t| format!("   token {t}"));
    let worker = if job.worker.is_empty() { String::new() } else { format!("   worker {}", job.worker) };
    let at = format!("{} as entry {}{worker}{token}", clock_ms(job.submitted_at_ms), job.submit_index);
    lines.push(Line::from(vec![label("submitted"), Span::raw(at)]));
    for (name, text, tone) in
        [("payload", &job.payload, Tone::Plain), ("output", &job.result, Tone::Good), ("error", &job.error, Tone::Bad)]
    {
        if text.is_empty() {
            continue;
        }
        for (at, part) in wrap(text, room.saturating_sub(11)).into_iter().take(12).enumerate() {
            lines.push(Line::from(vec![label(if at == 0 { name } else { "" }), span(skin, tone, part)]));
        }
    }
    lines.push(Line::default());
    lines.push(Line::from(span(skin, Tone::Title, " history")));
    let mut before = job.submitted_at_ms;
    for Step { at_ms, index, attempt, what, note } in &job.history {
        let after = format!("+{}ms", at_ms.saturating_sub(before));
        before = *at_ms;
        let text = format!(" {} {after:>9}  entry {index:<7} attempt {attempt:<3} {what}", clock_ms(*at_ms));
        let note = if note.is_empty() { String::new() } else { format!("  {note}") };
        lines.push(Line::from(vec![Span::raw(text), span(skin, Tone::Dim, note)]));
    }
    lines
}
