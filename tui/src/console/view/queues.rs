//! The queues: how much waits in each, how what has ended ended, and which are paused.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{boxed, put, span, window};
use crate::console::{
    browse,
    model::{Model, View},
    text::{count, fit},
    theme::Tone,
};

/// From this width on, states have their full names.
const WIDE: u16 = 110;

/// Cells of the bar.
const BAR: usize = 10;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let skin = &model.skin;
    let inner = boxed(model, "Queues", "enter: its jobs ", area, buf);
    let queues = browse::queues(model);
    if queues.is_empty() {
        put(
            buf,
            inner,
            0,
            &Line::from(span(skin, Tone::Dim, " there are no queues yet: the first job of one makes it")),
        );
        return;
    }
    let long = ["scheduled", "available", "running", "retryable", "completed", "cancelled", "discarded"];
    let short = ["sched", "avail", "run", "retry", "done", "cancel", "dead"];
    let (names, wide) = if inner.width < WIDE { (short, 6) } else { (long, 9) };
    let titles: String = names.iter().map(|name| format!(" {name:>wide$}")).collect();
    let head = format!("  {:<16}{titles}  waiting", "queue");
    put(buf, inner, 0, &Line::from(span(skin, Tone::Dim, head)));
    let most = queues.iter().map(|q| q.jobs.waiting()).max().unwrap_or(0).max(1);
    let rows = usize::from(inner.height).saturating_sub(1);
    let cursor = model.browse.row(View::Queues).min(queues.len() - 1);
    let start = window(queues.len(), rows, cursor);
    for (at, queue) in queues.iter().enumerate().skip(start).take(rows) {
        let jobs = &queue.jobs;
        let pointer = if at == cursor { skin.glyphs.cursor } else { " " };
        let number = |n: u64, tone| span(skin, if n == 0 { Tone::Dim } else { tone }, format!(" {:>wide$}", count(n)));
        let filled = usize::try_from(jobs.waiting().saturating_mul(BAR as u64).div_ceil(most)).unwrap_or(BAR).min(BAR);
        let line = vec![
            Span::raw(format!("{pointer} ")),
            span(skin, Tone::Title, fit(&queue.name, 16, false)),
            number(jobs.scheduled, Tone::Plain),
            number(jobs.available, Tone::Plain),
            number(jobs.running, Tone::Focus),
            number(jobs.retryable, Tone::Warn),
            number(jobs.completed, Tone::Good),
            number(jobs.cancelled, Tone::Plain),
            number(jobs.discarded, Tone::Bad),
            Span::raw("  "),
            span(skin, Tone::Bad, if queue.paused { "paused " } else { "" }),
            span(skin, Tone::Warn, skin.glyphs.eighths[8].repeat(filled)),
        ];
        put(buf, inner, 1 + at - start, &Line::from(line));
        if at == cursor {
            let y = inner.y + 1 + (at - start) as u16;
            buf.set_style(Rect { y, height: 1, ..inner }.intersection(inner), skin.style(Tone::Cursor));
        }
    }
}
